/** Tells the server what has been read: one call per chat at a time, only ever upwards. */
import type { Api } from './api'
import { Unreachable } from './session'
import type { Store } from './store/store'

export class Reading {
  readonly #api: Api
  readonly #store: Store
  /** Highest `n` seen and highest told, per chat. */
  readonly #seen = new Map<string, number>()
  readonly #told = new Map<string, number>()
  readonly #busy = new Set<string>()

  constructor(api: Api, store: Store) {
    this.#api = api
    this.#store = store
  }

  /** A message was in view long enough. The badge falls at once when the count is certain. */
  seen(id: string, n: number): void {
    if (n <= (this.#seen.get(id) ?? 0)) return
    this.#seen.set(id, n)
    const row = this.#store.conversations.get(id)
    const dialogue = this.#store.dialogues.get(id)
    const message = dialogue?.items.find((known) => known.n === n)
    if (row && message) this.#store.conversations.mark(id, message.in_seq)
    void this.#tell(id)
  }

  /** After a reconnect: what could not be told goes now. */
  resume(): void {
    for (const id of this.#seen.keys()) void this.#tell(id)
  }

  /** The mark was taken back: what was seen before counts no more. */
  forget(id: string): void {
    this.#seen.delete(id)
    this.#told.delete(id)
  }

  clear(): void {
    this.#seen.clear()
    this.#told.clear()
  }

  async #tell(id: string): Promise<void> {
    if (this.#busy.has(id)) return
    this.#busy.add(id)
    try {
      for (;;) {
        const n = this.#seen.get(id) ?? 0
        if (n <= (this.#told.get(id) ?? 0)) break
        const answer = await this.#api.read(id, n)
        this.#told.set(id, n)
        if (typeof answer?.in_seq === 'number') this.#store.conversations.mark(id, answer.in_seq)
      }
    } catch (error) {
      // Refused: the mark is not ours to set (the bot's chat, access lost). Unreachable: resume() tries again.
      if (!(error instanceof Unreachable)) this.#told.set(id, this.#seen.get(id) ?? 0)
    } finally {
      this.#busy.delete(id)
    }
  }
}
