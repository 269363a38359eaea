/** Unfinished texts, one per chat, kept in this browser for this user. */
import type { Shelf } from './outbox'
import type { Signals } from './signals'

export class Drafts {
  readonly #signals: Signals
  readonly #shelf: Shelf
  #prefix = ''

  constructor(signals: Signals, shelf: Shelf) {
    this.#signals = signals
    this.#shelf = shelf
  }

  load(userId: string): void {
    this.#prefix = `rozmova.draft.${userId}.`
  }

  get(conversationId: string): string {
    return this.#prefix ? (this.#shelf.getItem(this.#prefix + conversationId) ?? '') : ''
  }

  set(conversationId: string, text: string): void {
    if (text === this.get(conversationId)) return
    if (text) this.#shelf.setItem(this.#prefix + conversationId, text)
    else this.#shelf.removeItem(this.#prefix + conversationId)
    this.#signals.touch(`t:${conversationId}`)
  }
}
