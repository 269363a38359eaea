/** Signed reading addresses of files: asked for when a file comes into view, kept until they expire. */
import type { Api } from './api'
import { Refused } from './session'
import type { Signals } from './store/signals'

export type Reading = { state: 'loading' | 'failed' | 'gone'; url: null } | { state: 'ready'; url: string }

interface Known {
  reading: Reading
  endsMs: number
}

/** An address this close to its end is asked for anew before it is handed out. */
const SPARE_MS = 30_000
const KEPT = 500
const LOADING: Reading = { state: 'loading', url: null }

export class Media {
  readonly #api: Pick<Api, 'signed'>
  readonly #signals: Signals
  readonly #now: () => number
  readonly #root: string
  readonly #known = new Map<string, Known>()
  readonly #asking = new Map<string, Promise<void>>()

  /** @param root where the window lives; addresses are relative to it, so it works under any mount path. */
  constructor(api: Pick<Api, 'signed'>, signals: Signals, now: () => number, root: string) {
    this.#api = api
    this.#signals = signals
    this.#now = now
    this.#root = root
  }

  of(path: string): Reading {
    return this.#known.get(path)?.reading ?? LOADING
  }

  /** A file came into view: its address will be there soon, and will hold for a while. */
  want(path: string): void {
    const known = this.#known.get(path)
    if (!known || (known.reading.state === 'ready' ? known.endsMs - this.#now() < SPARE_MS : known.reading.state === 'failed')) {
      void this.#ask(path)
    }
  }

  /** The browser could not read it: if its address has run out, a fresh one is asked for. */
  broken(path: string): void {
    const known = this.#known.get(path)
    if (known && this.#now() >= known.endsMs - SPARE_MS) void this.#ask(path)
    else this.#put(path, { reading: { state: 'failed', url: null }, endsMs: 0 })
  }

  /** An address for a download or a new tab, certainly fresh. */
  async fresh(path: string): Promise<string | null> {
    const known = this.#known.get(path)
    if (known?.reading.state === 'ready' && known.endsMs - this.#now() >= SPARE_MS) return known.reading.url
    await this.#ask(path)
    return this.of(path).url
  }

  clear(): void {
    this.#known.clear()
  }

  #ask(path: string): Promise<void> {
    const under = this.#asking.get(path)
    if (under) return under
    const asked = this.#fetch(path).finally(() => this.#asking.delete(path))
    this.#asking.set(path, asked)
    return asked
  }

  async #fetch(path: string): Promise<void> {
    try {
      const { url, expires_at } = await this.#api.signed(path)
      this.#put(path, { reading: { state: 'ready', url: new URL(url.replace(/^\//, ''), this.#root).href }, endsMs: Date.parse(expires_at) })
    } catch (error) {
      const gone = error instanceof Refused && (error.status === 404 || error.status === 410)
      this.#put(path, { reading: { state: gone ? 'gone' : 'failed', url: null }, endsMs: 0 })
    }
  }

  #put(path: string, known: Known): void {
    this.#known.delete(path)
    this.#known.set(path, known)
    for (const old of this.#known.keys()) {
      if (this.#known.size <= KEPT) break
      this.#known.delete(old)
    }
    this.#signals.touch(`m:${path}`)
  }
}
