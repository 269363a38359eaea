/** Sends what the operator wrote: at once on the screen, in order per chat, never twice. */
import type { Api } from './api'
import { Refused, Unreachable } from './session'
import { lastN } from './store/dialogues'
import type { Pending } from './store/outbox'
import type { Store } from './store/store'
import type { Message } from './wire'

/** A text this young goes by itself after a lost connection or a reload; an older one asks first. */
export const FRESH_MS = 5 * 60_000
const FIRST_DELAY_MS = 500
const LONGEST_DELAY_MS = 15_000

export interface SendingParts {
  api: Api
  store: Store
  now: () => number
  newId: () => string
}

export class Sending {
  readonly #parts: SendingParts
  /** Chats with a send under way: the next text waits for the answer to the one before, so order is kept. */
  readonly #busy = new Set<string>()
  #wake: (() => void)[] = []

  constructor(parts: SendingParts) {
    this.#parts = parts
  }

  write(conversationId: string, text: string, seenN: number): void {
    const { store, now, newId } = this.#parts
    store.outbox.put({
      client_msg_id: newId(), text, seen_n: seenN, conversation_id: conversationId, created_ms: now(), state: 'sending',
    })
    void this.#drain(conversationId)
  }

  /** «Повторити», «Надіслати все одно»: the same client id, so the server can never make two of it. */
  again(clientMsgId: string, force = false): void {
    const pending = this.#parts.store.outbox.find(clientMsgId)
    if (!pending) return
    const { code: _code, colleague: _colleague, ...rest } = pending
    this.#parts.store.outbox.put({ ...rest, state: 'sending', created_ms: this.#parts.now(), ...(force ? { force } : {}) })
    void this.#drain(pending.conversation_id)
  }

  discard(clientMsgId: string): void {
    this.#parts.store.outbox.remove(clientMsgId)
  }

  /** After start and reconnect: everything waiting goes now. */
  resume(): void {
    const wake = this.#wake
    this.#wake = []
    for (const go of wake) go()
    for (const pending of this.#parts.store.outbox.all()) void this.#drain(pending.conversation_id)
  }

  /** Sends a failed message again: the same one where the server can, else its text as a new one. False if neither went. */
  async retry(message: Message): Promise<boolean> {
    const { api, store } = this.#parts
    try {
      store.dialogues.put(await api.retry(message.id))
      return true
    } catch (error) {
      const unknown = error instanceof Refused && (error.status === 404 || error.status === 405)
      if (!unknown || !message.text) return false
      this.write(message.conversation_id, message.text, lastN(store.dialogues.get(message.conversation_id)?.items ?? []))
      return true
    }
  }

  async #drain(id: string): Promise<void> {
    if (this.#busy.has(id)) return
    this.#busy.add(id)
    const { outbox } = this.#parts.store
    let failures = 0
    for (;;) {
      const next = outbox.of(id).find((pending) => pending.state === 'sending')
      if (!next) break
      const wait = await this.#send(next, failures)
      failures = wait === null ? 0 : failures + 1
      if (wait !== null) await this.#pause(wait)
    }
    this.#busy.delete(id)
  }

  /** One try. Returns how long to wait before the next one, or null when this text is settled. */
  async #send(pending: Pending, failures: number): Promise<number | null> {
    const { api, store, now } = this.#parts
    const { client_msg_id, text, seen_n, conversation_id } = pending
    try {
      const message = await api.send(conversation_id, { client_msg_id, text, seen_n }, pending.force === true)
      store.dialogues.put(message)
      store.outbox.remove(client_msg_id)
      return null
    } catch (error) {
      // The socket may have brought the message before the answer got lost.
      if (!store.outbox.find(client_msg_id)) return null
      if (error instanceof Refused && error.status === 409 && error.code === 'colleague_replied') {
        store.outbox.put({ ...pending, state: 'asking', colleague: colleague(error.body) })
        return null
      }
      const passing = error instanceof Unreachable || (error instanceof Refused && (error.status >= 500 || error.status === 429 || error.status === 401))
      if (passing && now() - pending.created_ms < FRESH_MS) {
        const asked = error instanceof Refused ? error.retryAfterSeconds : null
        return asked === null ? Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures) : asked * 1000
      }
      store.outbox.put({ ...pending, state: 'failed', code: error instanceof Refused ? error.code : 'unreachable' })
      return null
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake.push(() => { clearTimeout(timer); resolve() })
    })
  }
}

function colleague(body: Record<string, unknown>): string {
  const messages = Array.isArray(body['messages']) ? (body['messages'] as Message[]) : []
  return messages.find((message) => message.author.name)?.author.name ?? ''
}
