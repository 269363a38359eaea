/** Rows, messages and a shelf for the tests. */
import type { Bootstrap, ConversationRow, Message, MessagePage } from '../src/wire'
import type { Shelf } from '../src/store/outbox'

export const START = Date.parse('2026-11-21T10:00:00Z')

export function at(seconds: number): string {
  return new Date(START + seconds * 1000).toISOString()
}

export function row(id: string, over: Partial<ConversationRow> = {}): ConversationRow {
  return {
    id, v: 1, rev: 1, title: `Клієнт ${id}`,
    channel: { id: 'ch', kind: 'telegram_bot', title: 'Бот' },
    contact: { name: `Клієнт ${id}`, blocked: false },
    client: null, handler: 'operator', status: 'open', box: 'active', assignee: null, request: null, last_message: null,
    activity_at: at(0), in_seq: 1, answered_seq: 0, ...over,
  }
}

export function message(n: number, over: Partial<Message> = {}): Message {
  return {
    id: `m${n}`, n, in_seq: n, pos_at: at(n), conversation_id: 'c', direction: 'in', author: { kind: 'client', name: 'Клієнт' }, kind: 'text',
    text: `текст ${n}`, created_at: at(n), state: 'delivered', rev: 1, ...over,
  }
}

export function page(items: Message[], has_before = false, has_after = false): MessagePage {
  return { items, has_before, has_after }
}

export function boot(over: Partial<Bootstrap> = {}): Bootstrap {
  return {
    me: { id: 'me', name: 'Олена', roles: ['admin'], tenant: { id: 'salon', title: 'Салон' } },
    settings: {}, counters: { lists: { active: 1 }, red: 1, blue: 0 },
    channels: [{ id: 'ch', kind: 'telegram_bot', title: 'Бот', connected: true, limits: { text: 4096 } }],
    epoch: 'e1', pos: 10, id: 'x10', ...over,
  }
}

export class MemoryShelf implements Shelf {
  readonly #values = new Map<string, string>()
  get length(): number { return this.#values.size }
  key(index: number): string | null { return [...this.#values.keys()][index] ?? null }
  getItem(key: string): string | null { return this.#values.get(key) ?? null }
  setItem(key: string, value: string): void { this.#values.set(key, value) }
  removeItem(key: string): void { this.#values.delete(key) }
}

/** A small generator with a seed: a failing run can be repeated. */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** Lets every promise that is ready run its course. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}
