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
  /** After how many milliseconds this will read otherwise; null: not by itself. */
  next_ms: number | null
}

/** @param hours how long the messenger lets one answer: of a long time the last day is counted, of a day four hours. */
export function replyTime(window: ConversationRow['window'], hours: number | null, now: number): ReplyTime {
  const until = window?.until ? Date.parse(window.until) : null
  const left = until === null ? Infinity : until - now
  if (window?.open === false || left <= 0) return { closed: true, until_ms: left <= 0 ? until : null, left_ms: null, next_ms: null }
  if (until === null) return { closed: false, until_ms: null, left_ms: null, next_ms: null }
  const counted = (hours !== null && hours > DAY_HOURS ? DAY_HOURS : 4) * HOUR_MS
  if (left > counted) return { closed: false, until_ms: until, left_ms: null, next_ms: left - counted }
  return { closed: false, until_ms: until, left_ms: left, next_ms: left % MINUTE_MS || MINUTE_MS }
}
