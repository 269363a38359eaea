/** Notices which messages the operator has really had before the eyes: in view for a second in a visible tab. */

const SEEN_MS = 1_000
/** Half of the message, or for a long one half of the view. */
const ENOUGH = 0.5
const STEPS = [0, 0.25, 0.5, 0.75, 1]

export class SeenWatch {
  readonly #observer: IntersectionObserver
  readonly #onSeen: (id: string) => void
  readonly #ids = new WeakMap<Element, string>()
  readonly #inView = new Set<Element>()
  readonly #timers = new Map<Element, ReturnType<typeof setTimeout>>()

  constructor(root: HTMLElement, onSeen: (id: string) => void) {
    this.#onSeen = onSeen
    this.#observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const inView = entry.intersectionRatio >= ENOUGH || entry.intersectionRect.height >= root.clientHeight * ENOUGH
        if (inView) this.#inView.add(entry.target)
        else this.#inView.delete(entry.target)
      }
      this.#count()
    }, { root, threshold: STEPS })
    document.addEventListener('visibilitychange', this.#count)
  }

  observe(element: Element, id: string): () => void {
    this.#ids.set(element, id)
    this.#observer.observe(element)
    return () => {
      this.#observer.unobserve(element)
      this.#inView.delete(element)
      this.#count()
    }
  }

  stop(): void {
    this.#observer.disconnect()
    document.removeEventListener('visibilitychange', this.#count)
    for (const timer of this.#timers.values()) clearTimeout(timer)
  }

  /** Starts the second for what came into view, stops it for what left or when the tab is hidden. */
  readonly #count = (): void => {
    for (const [element, timer] of this.#timers) {
      if (!document.hidden && this.#inView.has(element)) continue
      clearTimeout(timer)
      this.#timers.delete(element)
    }
    if (document.hidden) return
    for (const element of this.#inView) {
      if (this.#timers.has(element)) continue
      this.#timers.set(element, setTimeout(() => {
        const id = this.#ids.get(element)
        if (id !== undefined) this.#onSeen(id)
      }, SEEN_MS))
    }
  }
}
