/** Short sentences over the window that go away by themselves, some with one thing to do about them. */
import type { Signals } from './signals'

export interface Notice {
  id: number
  text: string
  tone: 'plain' | 'trouble'
  action?: { label: string; run: () => void }
}

const PLAIN_MS = 5_000
/** A refusal is a whole sentence to read. */
const TROUBLE_MS = 10_000
const MOST = 3
const NONE: readonly Notice[] = []

export class Notices {
  readonly #signals: Signals
  #shown = NONE
  #last = 0

  constructor(signals: Signals) {
    this.#signals = signals
  }

  get shown(): readonly Notice[] { return this.#shown }

  say(text: string, tone: Notice['tone'] = 'plain', action?: Notice['action']): void {
    const id = ++this.#last
    this.#shown = [...this.#shown.filter((other) => other.text !== text), { id, text, tone, ...(action ? { action } : {}) }].slice(-MOST)
    this.#signals.touch('notices')
    setTimeout(() => this.close(id), tone === 'trouble' ? TROUBLE_MS : PLAIN_MS)
  }

  close(id: number): void {
    this.#shown = this.#shown.filter((notice) => notice.id !== id)
    this.#signals.touch('notices')
  }
}
