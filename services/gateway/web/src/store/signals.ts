/** Keyed subscriptions: one row re-renders, not the list; many changes inside one frame are told once. */

export class Signals {
  readonly #listeners = new Map<string, Set<() => void>>()
  readonly #dirty = new Set<string>()
  #scheduled = false
  readonly #schedule: (flush: () => void) => void

  constructor(schedule: (flush: () => void) => void) {
    this.#schedule = schedule
  }

  subscribe(key: string, listener: () => void): () => void {
    let listeners = this.#listeners.get(key)
    if (!listeners) this.#listeners.set(key, (listeners = new Set()))
    listeners.add(listener)
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.#listeners.get(key) === listeners) this.#listeners.delete(key)
    }
  }

  touch(key: string): void {
    this.#dirty.add(key)
    if (this.#scheduled) return
    this.#scheduled = true
    this.#schedule(() => this.flush())
  }

  flush(): void {
    this.#scheduled = false
    const keys = [...this.#dirty]
    this.#dirty.clear()
    for (const key of keys) for (const listener of [...(this.#listeners.get(key) ?? [])]) listener()
  }
}
