/** Fetches pages when the operator comes near their end: lists, dialogues, single chats. */
import type { Api } from './api'
import { firstUnread } from './store/dialogues'
import type { Store } from './store/store'
import { Refused } from './session'
import type { ListName } from './wire'

export class Loading {
  readonly #api: Api
  readonly #store: Store
  /** What is being fetched now; the same thing is never fetched twice at once. */
  readonly #busy = new Set<string>()

  constructor(api: Api, store: Store) {
    this.#api = api
    this.#store = store
  }

  /** The first page of a list, or its next one. */
  list(name: ListName): Promise<void> {
    const { conversations } = this.#store
    const { cursor, complete } = conversations.list(name)
    if (complete) return Promise.resolve()
    return this.#once(`list ${name}`, async () => {
      conversations.startLoading(name)
      try {
        const page = await this.#api.conversations(name, cursor)
        // A resync meanwhile has begun the list anew; this page would leave a hole in it.
        if (conversations.list(name).cursor === cursor) conversations.addPage(name, page)
      } catch {
        conversations.failLoading(name)
      }
    })
  }

  /** Opens a dialogue where reading goes on: around the first unread message, else at the end. */
  dialogue(id: string): Promise<void> {
    const { conversations, dialogues } = this.#store
    dialogues.open(id)
    return this.#once(`dialogue ${id}`, async () => {
      try {
        let row = conversations.get(id)
        if (!row || (row.unread > 0 && !conversations.knowsMark(id))) {
          conversations.upsert(await this.#api.conversation(id))
          row = conversations.get(id)
        }
        let page = await this.#api.messages(id)
        if (row && row.unread > 0 && page.has_before && !firstUnread(page.items, row)) {
          const first = row.first_unread_id ?? (await this.#api.conversation(id)).first_unread_id
          if (first) page = await this.#api.messages(id, { around: first })
        }
        dialogues.replace(id, page)
      } catch (error) {
        if (error instanceof Refused && error.status === 404) conversations.remove(id)
        dialogues.fail(id)
      }
    })
  }

  older(id: string): Promise<void> {
    return this.#page(id, 'before')
  }

  newer(id: string): Promise<void> {
    return this.#page(id, 'after')
  }

  /** Leaves what is loaded and goes to the end of the dialogue. */
  tail(id: string): Promise<void> {
    return this.#once(`tail ${id}`, async () => {
      this.#store.dialogues.replace(id, await this.#api.messages(id))
    })
  }

  #page(id: string, side: 'before' | 'after'): Promise<void> {
    const { dialogues } = this.#store
    const dialogue = dialogues.get(id)
    const edge = side === 'before' ? dialogue?.items[0] : dialogue?.items.at(-1)
    if (!dialogue || !edge || !(side === 'before' ? dialogue.hasBefore : dialogue.hasAfter)) return Promise.resolve()
    return this.#once(`${side} ${id}`, async () => {
      const page = await this.#api.messages(id, side === 'before' ? { before: edge.id } : { after: edge.id })
      if (dialogues.get(id)?.generation !== dialogue.generation) return
      if (side === 'before') dialogues.prepend(id, page)
      else dialogues.append(id, page)
    })
  }

  async #once(key: string, work: () => Promise<void>): Promise<void> {
    if (this.#busy.has(key)) return
    this.#busy.add(key)
    try {
      await work()
    } catch {
      // Pages of a dialogue are asked for again by the next scroll.
    } finally {
      this.#busy.delete(key)
    }
  }
}
