/** How long one may still answer: said by the server, and over by the clock without another word of it. Pure. */
import type { ConversationRow } from './wire'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_HOURS = 24

export interface ReplyTime {
  closed: boolean
  /** When it ends, or ended; null where it never does or nobody knows: the messenger may end it before we counted. */
  until_ms: number | null
  /** How long is left, in milliseconds, once that is worth saying. */
  left_ms: number | null
  /** Whether little is left: of a long time a day, of a day two hours. */
  is_short: boolean
  /** After how many milliseconds this will read otherwise; null: not by itself. */
  next_ms: number | null
}

/** @param hours how long the messenger lets one answer: of a long time the last day is counted, of a day four hours. */
export function replyTime(window: ConversationRow['window'], hours: number | null, now: number): ReplyTime {
  const until = window?.until ? Date.parse(window.until) : null
  const left = until === null ? Infinity : until - now
  if (window?.open === false || left <= 0) return { closed: true, until_ms: left <= 0 ? until : null, left_ms: null, is_short: false, next_ms: null }
  if (until === null) return { closed: false, until_ms: null, left_ms: null, is_short: false, next_ms: null }
  const counted = (isLong(hours) ? DAY_HOURS : 4) * HOUR_MS
  if (left > counted) return { closed: false, until_ms: until, left_ms: null, is_short: false, next_ms: left - counted }
  const is_short = left <= (isLong(hours) ? DAY_HOURS : 2) * HOUR_MS
  return { closed: false, until_ms: until, left_ms: left, is_short, next_ms: left % MINUTE_MS || MINUTE_MS }
}

/** Longer than one day: then it is worth saying until which day, too. */
export function isLong(hours: number | null): boolean {
  return hours !== null && hours > DAY_HOURS
}
