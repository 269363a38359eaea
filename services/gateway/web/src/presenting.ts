/** Tells colleagues where this operator looks and writes; real input only, and not too often. */
import type { ClientFrame } from './wire'

const TYPING_EVERY_MS = 3_000

export class Presenting {
  readonly #tell: (frame: ClientFrame) => void
  readonly #now: () => number
  readonly #typed = new Map<string, number>()
  #looking: string | null = null

  constructor(tell: (frame: ClientFrame) => void, now: () => number) {
    this.#tell = tell
    this.#now = now
  }

  types(chat: string): void {
    const now = this.#now()
    if (now - (this.#typed.get(chat) ?? -Infinity) < TYPING_EVERY_MS) return
    this.#typed.set(chat, now)
    this.#tell({ type: 'typing', conversation_id: chat })
  }

  /** Sent or emptied: the next letter is news again. */
  rests(chat: string): void {
    this.#typed.delete(chat)
  }

  /** `null`: no chat is open, or the tab is hidden. */
  looks(chat: string | null): void {
    if (chat === this.#looking) return
    this.#looking = chat
    this.#tell({ type: 'viewing', conversation_id: chat })
  }

  /** A new connection knows nothing of it. */
  again(): void {
    if (this.#looking !== null) this.#tell({ type: 'viewing', conversation_id: this.#looking })
  }
}
