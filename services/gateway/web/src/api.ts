/** The gateway's REST calls, by name. */
import type { Session } from './session'
import type { Bootstrap, ConversationPage, ConversationRow, ListName, Message, MessagePage, SendBody } from './wire'

const PAGE = 50

export type Place = { before: string } | { after: string } | { around: string } | Record<string, never>

export class Api {
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  bootstrap(): Promise<Bootstrap> {
    return this.#session.call('GET', '/bootstrap') as Promise<Bootstrap>
  }

  conversations(list: ListName, cursor: string | null, q = ''): Promise<ConversationPage> {
    const query = new URLSearchParams({ list, limit: String(PAGE) })
    if (cursor) query.set('cursor', cursor)
    if (q) query.set('q', q)
    return this.#session.call('GET', `/conversations?${query}`) as Promise<ConversationPage>
  }

  conversation(id: string): Promise<ConversationRow> {
    return this.#session.call('GET', `/conversations/${encodeURIComponent(id)}`) as Promise<ConversationRow>
  }

  messages(id: string, place: Place = {}): Promise<MessagePage> {
    const query = new URLSearchParams({ limit: String(PAGE), ...place })
    return this.#session.call('GET', `/conversations/${encodeURIComponent(id)}/messages?${query}`) as Promise<MessagePage>
  }

  send(id: string, body: SendBody, force: boolean): Promise<Message> {
    const path = `/conversations/${encodeURIComponent(id)}/messages`
    return this.#session.call('POST', path, force ? { ...body, force } : body) as Promise<Message>
  }

  retry(messageId: string): Promise<Message> {
    return this.#session.call('POST', `/messages/${encodeURIComponent(messageId)}/retry`, {}) as Promise<Message>
  }

  read(id: string, n: number): Promise<{ in_seq?: number } | null> {
    return this.#session.call('POST', `/conversations/${encodeURIComponent(id)}/read`, { n }) as Promise<{ in_seq?: number } | null>
  }

  async ticket(): Promise<string> {
    return ((await this.#session.call('POST', '/ws-ticket', {})) as { ticket: string }).ticket
  }
}
