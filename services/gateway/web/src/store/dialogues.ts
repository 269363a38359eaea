/** Messages of the dialogues opened last, each a gapless window of its conversation ordered by (pos_at, n). */
import type { Message, MessagePage } from '../wire'
import type { Signals } from './signals'

export interface Dialogue {
  items: readonly Message[]
  hasBefore: boolean
  hasAfter: boolean
  state: 'loading' | 'ready' | 'error'
  /** Rises whenever the loaded window is replaced as a whole, so the view knows to find its place again. */
  generation: number
}

const CACHED = 20
const EMPTY: Dialogue = { items: [], hasBefore: false, hasAfter: false, state: 'loading', generation: 0 }

export class Dialogues {
  readonly #signals: Signals
  /** In order of use: the first is the next to be forgotten. */
  readonly #cache = new Map<string, Dialogue>()
  #generation = 0

  constructor(signals: Signals) {
    this.#signals = signals
  }

  get(id: string): Dialogue | undefined {
    return this.#cache.get(id)
  }

  /** Marks a dialogue as used now; without one, or after an error, an empty loading dialogue is made. */
  open(id: string): Dialogue {
    const known = this.#cache.get(id)
    const dialogue = known && known.state !== 'error' ? known : EMPTY
    this.#cache.delete(id)
    this.#set(id, dialogue)
    for (const other of this.#cache.keys()) {
      if (this.#cache.size <= CACHED) break
      this.#cache.delete(other)
    }
    return dialogue
  }

  fail(id: string): void {
    this.#set(id, { ...(this.#cache.get(id) ?? EMPTY), state: 'error' })
  }

  /** Replaces the window: first load, a jump, a resync. Newer revisions already known are kept. */
  replace(id: string, page: MessagePage): void {
    const known = new Map(this.#cache.get(id)?.items.map((message) => [message.id, message]))
    const items = page.items.map((message) => newer(known.get(message.id), message)).sort(byPosition)
    if (!page.has_after) {
      // What the socket brought while the page was on its way lies beyond the page's end.
      const last = items.at(-1)
      const inPage = new Set(items.map((message) => message.id))
      for (const message of known.values()) {
        if (!inPage.has(message.id) && (!last || byPosition(message, last) > 0)) items.push(message)
      }
      items.sort(byPosition)
    }
    this.#generation += 1
    this.#set(id, {
      items, hasBefore: page.has_before, hasAfter: page.has_after, state: 'ready', generation: this.#generation,
    })
  }

  prepend(id: string, page: MessagePage): void {
    const dialogue = this.#cache.get(id)
    if (dialogue) this.#set(id, { ...dialogue, items: merge(dialogue.items, page.items), hasBefore: page.has_before })
  }

  append(id: string, page: MessagePage): void {
    const dialogue = this.#cache.get(id)
    if (dialogue) this.#set(id, { ...dialogue, items: merge(dialogue.items, page.items), hasAfter: page.has_after })
  }

  /** Takes one message from the socket or a send's answer, if it falls into the loaded window. */
  put(message: Message): void {
    const id = message.conversation_id
    const dialogue = this.#cache.get(id)
    if (!dialogue) return
    const { items } = dialogue
    const at = items.findLastIndex((known) => known.id === message.id)
    const known = items[at]
    if (message.replaced_by) {
      if (known) this.#set(id, { ...dialogue, items: items.toSpliced(at, 1) })
      return
    }
    if (known) {
      if (message.rev <= known.rev) return
      const next = items.with(at, message)
      this.#set(id, { ...dialogue, items: byPosition(known, message) === 0 ? next : next.sort(byPosition) })
      return
    }
    const first = items[0]
    const last = items.at(-1)
    if (dialogue.hasBefore && first && byPosition(message, first) < 0) return
    if (dialogue.hasAfter && last && byPosition(message, last) > 0) return
    // The usual case, the newest message, needs no sorting of thousands.
    const next = last && byPosition(message, last) > 0 ? [...items, message] : merge(items, [message])
    // A great history is told in part: before what is told of it there may be more to fetch.
    const hasBefore = dialogue.hasBefore || (isHistory(message) && first !== undefined && next[0] === message)
    this.#set(id, { ...dialogue, items: next, hasBefore })
  }

  /** Forgets all but one dialogue: after a resync the others may lack what was missed. */
  keepOnly(id: string | null): void {
    for (const other of [...this.#cache.keys()]) if (other !== id) this.forget(other)
  }

  forget(id: string): void {
    if (this.#cache.delete(id)) this.#signals.touch(`d:${id}`)
  }

  #set(id: string, dialogue: Dialogue): void {
    if (this.#cache.get(id) === dialogue) return
    this.#cache.set(id, dialogue)
    this.#signals.touch(`d:${id}`)
  }
}

/** The dialogue's order: display position, ties by the conversation's own number. */
export function byPosition(a: Message, b: Message): number {
  return Date.parse(a.pos_at) - Date.parse(b.pos_at) || a.n - b.n
}

/** The largest `n` loaded: what a send says its author has seen. */
export function lastN(items: readonly Message[]): number {
  return items.reduce((largest, message) => Math.max(largest, message.n), 0)
}

/** From the messenger's history, which belongs to no request: it cannot be sent again from here, nor taken away. */
export function isHistory({ request_id }: Message): boolean {
  return request_id === ''
}

/**
 * The unread message that stands highest, or null when the oldest of them is not loaded. History that a messenger
 * brings later has the number of the message before it, so it is never new.
 */
export function firstUnread(items: readonly Message[], { unread, in_seq }: { unread: number; in_seq: number }): Message | null {
  if (unread <= 0) return null
  const read = in_seq - unread
  const fresh = new Map<number, Message>()
  for (const message of items) {
    if (message.direction !== 'in' || message.in_seq <= read) continue
    const known = fresh.get(message.in_seq)
    if (!known || message.n < known.n) fresh.set(message.in_seq, message)
  }
  return fresh.has(read + 1) ? [...fresh.values()].reduce((first, message) => (byPosition(message, first) < 0 ? message : first)) : null
}

/**
 * The `n` up to which all is read once the message at `index` was seen: a late message stands higher on the
 * screen than its `n` says, so whatever is shown below the seen one caps the mark.
 */
export function readUpTo(items: readonly Message[], index: number): number {
  const inbound = (message: Message) => message.direction === 'in'
  const below = items.slice(index + 1).filter(inbound).reduce((least, message) => Math.min(least, message.n), Infinity)
  return items.slice(0, index + 1).filter((message) => inbound(message) && message.n < below)
    .reduce((largest, message) => Math.max(largest, message.n), 0)
}

function newer(known: Message | undefined, message: Message): Message {
  return known && known.rev > message.rev ? known : message
}

function merge(items: readonly Message[], more: readonly Message[]): Message[] {
  const byId = new Map(items.map((message) => [message.id, message]))
  for (const message of more) byId.set(message.id, newer(byId.get(message.id), message))
  return [...byId.values()].sort(byPosition)
}
