/** What the dialogue shows, row by row: days, the unread divider, messages grouped by author, texts on their way. */
import { dayKey } from './format'
import { albumOf, CARD_PX, FILE_PX, isPointed, LINK_PX, placeOf, PLACE_PX, PLAYER_PX, REACTIONS_PX } from './shapes'
import type { Pending } from './store/outbox'
import type { Message } from './wire'

export type Row =
  | { type: 'day'; key: string; ms: number }
  | { type: 'unread'; key: string }
  | { type: 'message'; key: string; ms: number; message: Message; album: readonly Message[] | null; first: boolean; last: boolean }
  | { type: 'pending'; key: string; ms: number; pending: Pending; first: boolean; last: boolean }

/** One bubble: a message, or all messages of an album that follow each other. */
interface Entry {
  message: Message | null
  album: Message[] | null
  pending: Pending | null
  ms: number
}

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
  const entries: Entry[] = [
    ...albums(items, firstUnreadId),
    ...pending.filter((text) => !sent.has(text.client_msg_id)).map((text) => ({ message: null, album: null, pending: text, ms: text.created_ms })),
  ]
  for (const { message, album, pending: text, ms } of entries) {
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
    const author: string = text ? `${text.note ? 'note' : 'out'}:operator:${me}` : message ? authorOf(message) : ''
    const above: { last: boolean } | null = before?.author === author && ms - before.ms < GROUP_MS ? before.row : null
    if (above) above.last = false
    const joined = above !== null
    let row: Extract<Row, { last: boolean }>
    if (text) row = { type: 'pending', key: text.client_msg_id, ms, pending: text, first: !joined, last: true }
    else if (message) row = { type: 'message', key: message.client_msg_id ?? message.id, ms, message, album, first: !joined, last: true }
    else continue
    rows.push(row)
    before = { day, author, ms, row: message?.direction === 'system' ? null : row }
  }
  return rows
}

/** An album that the divider cuts stays two: what is new must stand below it. */
function albums(items: readonly Message[], firstUnreadId: string | null): Entry[] {
  const entries: Entry[] = []
  for (const message of items) {
    const above = entries.at(-1)
    const head = above?.message
    if (above && head && message.group_id && head.group_id === message.group_id && head.direction === message.direction
      && !message.deleted && !head.deleted && message.id !== firstUnreadId) {
      above.album = [...(above.album ?? [head]), message]
    } else entries.push({ message, album: null, pending: null, ms: Date.parse(message.pos_at) })
  }
  return entries
}

function authorOf(message: Message): string {
  return `${message.direction}:${message.author.kind}:${message.author.id ?? message.author.name ?? ''}`
}

/** How high a row will be, in CSS pixels, before it is drawn and measured: near enough that nothing jumps. */
export function heightOf(row: Row | undefined): number {
  switch (row?.type) {
    case 'message': {
      const parts = row.album ?? [row.message]
      const text = parts.map((part) => part.text).filter(Boolean).join('\n')
      const files = parts.flatMap((part) => part.attachments ?? [])
      const cards = parts.reduce((sum, part) => sum + (part.place ? PLACE_PX : 0) + (part.shared_contact ? CARD_PX : 0) + (part.shared_link ? LINK_PX : 0), 0)
      const signs = parts.some((part) => (part.reactions?.length ?? 0) > 0) ? REACTIONS_PX : 0
      return bubbleHeight(text, row.last) + filesHeight(files, isPointed(row.message)) + cards + signs
    }
    case 'pending': return bubbleHeight(row.pending.text, row.last) + filesHeight(row.pending.files ?? [])
    default: return 44
  }
}

type Sized = Parameters<typeof placeOf>[0]

function filesHeight(files: readonly Sized[], pointed = false): number {
  const pictures = files.filter((file) => file.kind === 'image' || file.kind === 'video')
  const first = pictures[0]
  const grid = pictures.length > 1 ? albumOf(pictures.length).height : first ? placeOf(first, pointed).height : 0
  return files.reduce((sum, { kind }) => {
    if (kind === 'image' || kind === 'video') return sum
    return sum + (kind === 'sticker' ? 160 : kind === 'voice' || kind === 'audio' ? PLAYER_PX : FILE_PX)
  }, grid + (grid > 0 ? 6 : 0))
}

function bubbleHeight(text: string, last: boolean): number {
  const lines = text ? text.split('\n').reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / 58)), 0) : 0
  return 18 + lines * 21 + 16 + (last ? 8 : 2)
}
