/** What the dialogue shows, row by row: days, the unread divider, messages grouped by author, texts on their way. */
import { dayKey } from './format'
import type { Pending } from './store/outbox'
import type { Message } from './wire'

export type Row =
  | { type: 'day'; key: string; ms: number }
  | { type: 'unread'; key: string }
  | { type: 'message'; key: string; ms: number; message: Message; first: boolean; last: boolean }
  | { type: 'pending'; key: string; ms: number; pending: Pending; first: boolean; last: boolean }

interface Before {
  day: string
  author: string
  ms: number
  /** The message above, when the next may join its group. */
  row: { last: boolean } | null
}

const GROUP_MS = 5 * 60_000

/**
 * Keys never change: a text of ours keeps its client id when the server's id comes, and the first loaded message
 * gets no day row while older ones may follow, since that row would move when they are prepended.
 */
export function timeline(
  items: readonly Message[], pending: readonly Pending[], firstUnreadId: string | null, hasBefore: boolean, me: string,
): Row[] {
  const rows: Row[] = []
  let before = null as Before | null
  const sent = new Set(items.map((message) => message.client_msg_id).filter(Boolean))
  const entries = [
    ...items.map((message) => ({ message, pending: null, ms: Date.parse(message.pos_at) })),
    ...pending.filter((text) => !sent.has(text.client_msg_id)).map((text) => ({ message: null, pending: text, ms: text.created_ms })),
  ]
  for (const { message, pending: text, ms } of entries) {
    // A text on its way stands at the end whenever it was written, so it opens no day of its own.
    const day: string = text && before ? before.day : dayKey(ms)
    if (before ? before.day !== day : !hasBefore) {
      rows.push({ type: 'day', key: `day:${day}`, ms })
      before = null
    }
    if (message && message.id === firstUnreadId) {
      rows.push({ type: 'unread', key: 'unread' })
      if (before) before.author = ''
    }
    const author: string = text ? `out:operator:${me}` : authorOf(message)
    const above: { last: boolean } | null = before?.author === author && ms - before.ms < GROUP_MS ? before.row : null
    if (above) above.last = false
    const joined = above !== null
    const row: Row = text
      ? { type: 'pending', key: text.client_msg_id, ms, pending: text, first: !joined, last: true }
      : { type: 'message', key: message.client_msg_id ?? message.id, ms, message, first: !joined, last: true }
    rows.push(row)
    before = { day, author, ms, row: message?.direction === 'system' ? null : row }
  }
  return rows
}

function authorOf(message: Message): string {
  return `${message.direction}:${message.author.kind}:${message.author.id ?? message.author.name ?? ''}`
}
