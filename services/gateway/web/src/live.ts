/** Keeps the store true: first fill, events in order, and a resync in place when the server cannot resume. */
import type { Api } from './api'
import type { Dialogue } from './store/dialogues'
import type { Store } from './store/store'
import { Refused } from './session'
import type { ConversationPage, LiveEvent, ListName, MessagePage } from './wire'

export interface LiveParts {
  api: Api
  store: Store
  /** The list and chat on the screen now. */
  shown: () => { list: ListName; chat: string | null }
  /** The message at the top of the open dialogue's view, to find the place again. */
  anchor: () => string | null
  /** First-fill and resync results: the window may show itself, or must say why not. */
  onFilled: () => void
  onNoAccess: () => void
  onRevoked: () => void
  random: () => number
}

/** No more than this is fetched again in place; a longer list or dialogue is cut and loads on when scrolled. */
const MOST_PAGES = 10
const FIRST_DELAY_MS = 500
const LONGEST_DELAY_MS = 15_000
/** Rows whose mark is unknown are asked for one by one; more at once would only stand in each other's way. */
const ASKING = 2

export class Live {
  readonly #parts: LiveParts
  /** Events that came while the store was being filled; null when it is true. */
  #buffer: { events: readonly LiveEvent[]; pos: number }[] | null = []
  #filling = 0
  readonly #unknown = new Set<string>()
  readonly #asking = new Set<string>()

  constructor(parts: LiveParts) {
    this.#parts = parts
  }

  /** Fetches everything shown anew; buffers events until it is there. A later call replaces an earlier one. */
  async fill(): Promise<void> {
    const turn = ++this.#filling
    this.#buffer ??= []
    for (let attempt = 0; ; attempt++) {
      try {
        const fresh = await this.#fetch()
        if (turn !== this.#filling) return
        this.#parts.store.refill(fresh)
        const buffered = this.#buffer ?? []
        this.#buffer = null
        // Rows and messages carry revisions, so an event older than the answers is harmless; counters do not.
        for (const { events, pos } of buffered) {
          for (const event of events) if (event.type !== 'counters.updated' || pos > fresh.boot.pos) this.#apply(event)
        }
        this.#parts.onFilled()
        return
      } catch (error) {
        if (turn !== this.#filling) return
        if (error instanceof Refused && error.status === 403) return this.#parts.onNoAccess()
        if (error instanceof Refused && error.status === 401) return
        const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt)
        await new Promise((resolve) => setTimeout(resolve, longest * (0.5 + this.#parts.random() / 2)))
        if (turn !== this.#filling) return
      }
    }
  }

  stop(): void {
    this.#filling += 1
    this.#buffer = []
    this.#unknown.clear()
  }

  take(events: readonly LiveEvent[], pos: number): void {
    if (this.#buffer) this.#buffer.push({ events, pos })
    else for (const event of events) this.#apply(event)
  }

  #apply(event: LiveEvent): void {
    const { store } = this.#parts
    if (event.type === 'session.revoked') return this.#parts.onRevoked()
    const before = event.type === 'channel.updated' ? store.channel(event.data.id) : undefined
    store.apply(event)
    // Until when one may answer stands in every row, and it has changed in all of them at once.
    if (before && event.type === 'channel.updated' && before.reply_window_hours !== event.data.reply_window_hours) void this.fill()
    if (event.type !== 'conversation.upserted') return
    const { id, in_seq, answered_seq } = event.data
    if (in_seq > answered_seq && !store.conversations.knowsMark(id)) {
      this.#unknown.add(id)
      void this.#ask()
    }
  }

  /** The socket never says what this operator has read; a row first met there is asked for once. */
  async #ask(): Promise<void> {
    const id = [...this.#unknown].find((waiting) => !this.#asking.has(waiting))
    if (id === undefined || this.#asking.size >= ASKING) return
    this.#asking.add(id)
    try {
      this.#parts.store.conversations.upsert(await this.#parts.api.conversation(id))
    } catch {
      // Its unread count stays an upper bound until the row is next fetched.
    }
    this.#asking.delete(id)
    this.#unknown.delete(id)
    await this.#ask()
  }

  async #fetch() {
    const { api, store, shown } = this.#parts
    const { list, chat } = shown()
    const boot = await api.bootstrap()
    const [page, open] = await Promise.all([this.#list(list, store.conversations.list(list).ids.length), chat === null ? null : this.#open(chat)])
    return { boot, list: { name: list, page }, open }
  }

  async #list(name: ListName, loaded: number): Promise<ConversationPage> {
    let { items, next_cursor } = await this.#parts.api.conversations(name, null)
    for (let pages = 1; next_cursor !== null && items.length < loaded && pages < MOST_PAGES; pages++) {
      const more = await this.#parts.api.conversations(name, next_cursor)
      items = [...items, ...more.items]
      next_cursor = more.next_cursor
    }
    return { items, next_cursor }
  }

  async #open(id: string) {
    const { api, store } = this.#parts
    const known = store.dialogues.get(id)
    try {
      const [row, messages] = await Promise.all([api.conversation(id), known?.state === 'ready' ? this.#messages(id, known) : null])
      return { id, row, messages }
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error
      return { id, row: null, messages: null }
    }
  }

  /** What is loaded of the open dialogue, fetched anew around the place being read. */
  async #messages(id: string, known: Dialogue): Promise<MessagePage> {
    const { api, anchor } = this.#parts
    const place = anchor()
    if (known.hasAfter && place) return await api.messages(id, { around: place })
    const oldest = known.items[0]
    let page = await api.messages(id)
    for (let pages = 1; oldest && page.has_before && pages < MOST_PAGES; pages++) {
      const first = page.items[0]
      if (!first || page.items.some((message) => message.id === oldest.id)) break
      const older = await api.messages(id, { before: first.id })
      page = { items: [...older.items, ...page.items], has_before: older.has_before, has_after: false }
    }
    return page
  }
}
