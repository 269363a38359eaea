/** Sends what the operator wrote: at once on the screen, in order per chat, never twice. */
import type { Api } from './api'
import { wordsOf } from './format'
import { Refused, Unreachable } from './session'
import type { Pending } from './store/outbox'
import type { Store } from './store/store'
import type { Uploads } from './uploads'
import { t } from './i18n'
import type { ChosenTemplate, ConversationRow, Message } from './wire'

/** A text this young goes by itself after a lost connection or a reload; an older one asks first. */
export const FRESH_MS = 5 * 60_000
const FIRST_DELAY_MS = 500
const LONGEST_DELAY_MS = 15_000

export interface SendingParts {
  api: Api
  store: Store
  uploads: Uploads
  now: () => number
  newId: () => string
}

/** What may go with a text. */
export interface Written {
  note?: boolean
  /** Sent instead of the text, which is how it reads. */
  template?: ChosenTemplate
  replyTo?: Message
  /** How the window names whoever is quoted. */
  quoted?: string
}

export class Sending {
  readonly #parts: SendingParts
  /** Chats with a send under way: the next text waits for the answer to the one before, so order is kept. */
  readonly #busy = new Set<string>()
  #wake: (() => void)[] = []

  constructor(parts: SendingParts) {
    this.#parts = parts
    parts.uploads.onSettled((chat) => this.#uploaded(chat))
  }

  /** Sends a text with the files that lie in the composer; the bubble stands at once, the files may still be on their way. */
  write(conversationId: string, text: string, seenN: number, { note, template, replyTo, quoted }: Written = {}): void {
    const { store, uploads, now, newId } = this.#parts
    const files = note || template ? [] : uploads.take(conversationId)
    store.outbox.put({
      client_msg_id: newId(), text, seen_n: seenN, conversation_id: conversationId, created_ms: now(),
      state: files.length > 0 ? 'uploading' : 'sending',
      ...(files.length > 0 ? { files: files.map(({ key, name, size, kind, width, height }) => ({ key, name, size, kind, width, height })) } : {}),
      ...(note ? { note } : {}),
      ...(template ? { template } : {}),
      ...(replyTo ? { reply_to: replyTo.id, quote: { text: wordsOf(replyTo), author: quoted ?? '' } } : {}),
    })
    this.#uploaded(conversationId)
    void this.#drain(conversationId)
  }

  /** «Повторити», «Надіслати все одно»: the same client id, so the server can never make two of it. */
  again(clientMsgId: string, force = false): void {
    const { store, uploads, now } = this.#parts
    const pending = store.outbox.find(clientMsgId)
    if (!pending) return
    const { code: _code, reason: _reason, unseen: _unseen, ...rest } = pending
    const uploading = pending.files !== undefined && pending.attachments === undefined
    store.outbox.put({ ...rest, state: uploading ? 'uploading' : 'sending', created_ms: now(), ...(force ? { force } : {}) })
    if (uploading) {
      for (const file of pending.files ?? []) uploads.retry(file.key)
      this.#uploaded(pending.conversation_id)
    }
    void this.#drain(pending.conversation_id)
  }

  discard(clientMsgId: string): void {
    const { store, uploads } = this.#parts
    for (const file of store.outbox.find(clientMsgId)?.files ?? []) uploads.cancel(file.key)
    store.outbox.remove(clientMsgId)
  }

  /** Takes an unsent message back for editing: its files return into the composer. Returns its text. */
  takeBack(clientMsgId: string): string {
    const { store, uploads } = this.#parts
    const pending = store.outbox.find(clientMsgId)
    if (!pending) return ''
    uploads.giveBack(pending.conversation_id, (pending.files ?? []).map((file) => file.key))
    store.outbox.remove(clientMsgId)
    return pending.text
  }

  /** One file of a message on its way is not wanted after all. With the last one the whole message stops; its text is kept. */
  dropFile(clientMsgId: string, key: string): void {
    const { store, uploads } = this.#parts
    const pending = store.outbox.find(clientMsgId)
    if (!pending?.files || pending.attachments) return
    uploads.cancel(key)
    const files = pending.files.filter((file) => file.key !== key)
    if (files.length === 0) {
      const chat = pending.conversation_id
      store.outbox.remove(clientMsgId)
      store.drafts.set(chat, [pending.text, store.drafts.get(chat)].filter(Boolean).join('\n'))
      return
    }
    store.outbox.put({ ...pending, files })
    this.#uploaded(pending.conversation_id)
  }

  /** After start and reconnect: everything waiting goes now. */
  resume(): void {
    const wake = this.#wake
    this.#wake = []
    for (const go of wake) go()
    this.#parts.uploads.resume()
    for (const pending of this.#parts.store.outbox.all()) void this.#drain(pending.conversation_id)
  }

  /** Messages whose files have all been taken in may go; one that failed stops its message. */
  #uploaded(chat: string): void {
    const { outbox } = this.#parts.store
    for (const pending of outbox.of(chat)) {
      if (!pending.files || (pending.state !== 'uploading' && pending.state !== 'failed') || pending.attachments) continue
      const tasks = pending.files.map((file) => this.#parts.uploads.find(file.key))
      const failed = tasks.find((task) => task?.state === 'failed')
      if (tasks.every((task) => task?.state === 'ready')) {
        const { code: _code, reason: _reason, ...rest } = pending
        this.#parts.uploads.remember(pending.client_msg_id, pending.files.map((file) => file.key))
        // The ids are kept with the message: from here on even a reload loses nothing.
        outbox.put({ ...rest, state: 'sending', attachments: tasks.map((task) => task?.upload?.id ?? '') })
        void this.#drain(chat)
      } else if (failed && failed.code !== 'unreachable' && pending.state === 'uploading') {
        outbox.put({ ...pending, state: 'failed', code: failed.code ?? 'failed', ...(failed.reason ? { reason: failed.reason } : {}) })
      }
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
    const { api, store, uploads, now } = this.#parts
    const { client_msg_id, text, seen_n, conversation_id, attachments, reply_to, note, template } = pending
    const body = template ? { client_msg_id, text: '', seen_n, template } : { client_msg_id, text, seen_n, ...(attachments ? { attachments } : {}), ...(reply_to ? { reply_to } : {}), ...(note ? { note } : {}) }
    try {
      const message = await api.send(conversation_id, body, pending.force === true)
      if (pending.files) uploads.sent(pending.files.map((file) => file.key))
      store.dialogues.put(message)
      store.outbox.remove(client_msg_id)
      return null
    } catch (error) {
      // The socket may have brought the message before the answer got lost.
      if (!store.outbox.find(client_msg_id)) return null
      if (error instanceof Refused && error.status === 409 && error.code === 'colleague_replied') {
        store.outbox.put({ ...pending, state: 'asking', unseen: unseen(error.body) })
        return null
      }
      if (error instanceof Refused && error.status === 409 && error.code === 'window_closed' && !template) {
        this.#tooLate(conversation_id, error.body)
        return null
      }
      const passing = error instanceof Unreachable || (error instanceof Refused && (error.status >= 500 || error.status === 429 || error.status === 401))
      if (passing && now() - pending.created_ms < FRESH_MS) {
        const asked = error instanceof Refused ? error.retryAfterSeconds : null
        return asked === null ? Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures) : asked * 1000
      }
      const said = error instanceof Refused ? error.body['detail'] : null
      store.outbox.put({
        ...pending, state: 'failed', code: error instanceof Refused ? error.code : 'unreachable', ...(typeof said === 'string' ? { reason: said } : {}),
      })
      return null
    }
  }

  /** The time to answer ended meanwhile: the composer turns, and the words wait in it as a draft. */
  #tooLate(chat: string, body: Record<string, unknown>): void {
    const { conversations, drafts, notices, outbox } = this.#parts.store
    const current = body['current'] as ConversationRow | undefined
    if (current && typeof current === 'object' && current.id === chat) conversations.upsert(current)
    conversations.shut(chat)
    const late = outbox.of(chat).filter(({ state, note, template }) => (state === 'sending' || state === 'uploading') && !note && !template)
    const words = late.map((pending) => this.takeBack(pending.client_msg_id))
    drafts.set(chat, [...words, drafts.get(chat)].filter(Boolean).join('\n'))
    notices.say(t.composer.tooLate, 'trouble')
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake.push(() => { clearTimeout(timer); resolve() })
    })
  }
}

function unseen(body: Record<string, unknown>): Message[] {
  return Array.isArray(body['messages']) ? (body['messages'] as Message[]) : []
}
