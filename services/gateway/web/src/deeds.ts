/** What an operator decides about a chat: taken only if nothing has changed since, else told who and when. */
import type { Action, Api } from './api'
import { timeOfDay } from './format'
import { t } from './i18n'
import { Refused, Unreachable } from './session'
import type { Store } from './store/store'
import type { ConversationRow, Message, Person } from './wire'

export interface DeedsParts {
  api: Api
  store: Store
  /** Marks of reading fall only here. */
  onUnread: (chat: string, inSeq: number) => void
}

export class Deeds {
  readonly #parts: DeedsParts
  /** A second click on the same thing is not a second deed. */
  readonly #busy = new Set<string>()

  constructor(parts: DeedsParts) {
    this.#parts = parts
  }

  claim(row: ConversationRow): Promise<boolean> {
    return this.#act(row, row.handler === 'bot' ? 'takeover' : 'claim')
  }

  /** From whoever holds it to this operator; asked for by name, so never by accident. */
  assign(row: ConversationRow, person: Person): Promise<boolean> {
    return this.#act(row, 'assign', { user_id: person.id }, t.deeds.assigned(person.name))
  }

  release(row: ConversationRow): Promise<boolean> {
    return this.#act(row, 'release', {}, t.deeds.released)
  }

  returnToBot(row: ConversationRow): Promise<boolean> {
    return this.#act(row, 'return-to-bot', {}, t.deeds.returned)
  }

  wait(row: ConversationRow): Promise<boolean> {
    return this.#act(row, 'status', { status: 'waiting' }, t.deeds.waiting)
  }

  reopen(row: ConversationRow): Promise<boolean> {
    return this.#act(row, 'status', { status: 'open' })
  }

  async close(row: ConversationRow): Promise<boolean> {
    const before = row.status
    const closed = await this.#act(row, 'status', { status: 'closed' })
    if (!closed) return false
    this.#parts.store.notices.say(t.deeds.closed, 'plain', {
      label: t.deeds.undo,
      run: () => void this.#unclose(row.id, before === 'waiting'),
    })
    return true
  }

  /** Back to how it was; a closed chat can only be opened, and then put on hold again. */
  async #unclose(id: string, waited: boolean): Promise<void> {
    const { conversations } = this.#parts.store
    const closed = conversations.get(id)
    if (!closed || !(await this.reopen(closed)) || !waited) return
    const open = conversations.get(id)
    if (open) await this.#act(open, 'status', { status: 'waiting' })
  }

  /** «Непрочитане звідси»: the mark falls to before this message. */
  async unread(chat: string, message: Message): Promise<boolean> {
    return await this.#do(`unread ${chat}`, async () => {
      const answer = await this.#parts.api.unread(chat, message.n)
      if (typeof answer?.in_seq === 'number') this.#parts.onUnread(chat, answer.in_seq)
    })
  }

  async resolve(message: Message, as: 'sent' | 'failed' | 'resend'): Promise<boolean> {
    return await this.#do(message.id, async () => this.#parts.store.dialogues.put(await this.#parts.api.resolve(message.id, as)))
  }

  async withdraw(message: Message): Promise<boolean> {
    return await this.#do(message.id, () => this.#parts.api.withdraw(message.id))
  }

  async retry(message: Message): Promise<boolean> {
    return await this.#do(message.id, async () => this.#parts.store.dialogues.put(await this.#parts.api.retry(message.id)))
  }

  async #act(row: ConversationRow, action: Action, body: unknown = {}, said?: string): Promise<boolean> {
    const { api, store } = this.#parts
    return await this.#do(`chat ${row.id}`, async () => {
      try {
        store.conversations.upsert(await api.act(row.id, row.v, action, body))
      } catch (error) {
        // Nothing is overwritten in silence: the window shows how it is now, the notice says why it did not go.
        if (error instanceof Refused && error.status === 409) await this.#refresh(row.id, error)
        throw error
      }
      if (said) store.notices.say(said)
    })
  }

  async #refresh(id: string, { body }: Refused): Promise<void> {
    const { api, store } = this.#parts
    const given = body['current'] as ConversationRow | undefined
    if (given && typeof given === 'object' && given.id === id) store.conversations.upsert(given)
    else {
      try {
        store.conversations.upsert(await api.conversation(id))
      } catch {
        // The refusal itself is what must be told.
      }
    }
  }

  async #do(key: string, work: () => Promise<void>): Promise<boolean> {
    if (this.#busy.has(key)) return false
    this.#busy.add(key)
    try {
      await work()
      return true
    } catch (error) {
      this.#parts.store.notices.say(why(error), 'trouble')
      return false
    } finally {
      this.#busy.delete(key)
    }
  }
}

/** The server's own sentence, else ours. */
export function why(error: unknown): string {
  if (error instanceof Unreachable) return t.failure('unreachable')
  if (!(error instanceof Refused)) return t.deeds.failed
  const said = error.body['detail']
  const since = error.body['claimed_at']
  if (typeof said === 'string' && said) return typeof since === 'string' ? `${said} ${t.deeds.since(timeOfDay(Date.parse(since)))}` : said
  return error.status === 403 ? t.deeds.forbidden : t.deeds.failed
}
