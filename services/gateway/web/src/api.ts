/** The gateway's REST calls, by name. */
import type { Session } from './session'
import type {
  Bootstrap, ChannelChange, ChannelDetails, ChannelHealth, ChannelKind, ConversationPage, ConversationRow, ListName, Message,
  MessagePage, MessageTemplate, NewChannel, Person, SendBody, SignedAddress, Trail,
} from './wire'

const PAGE = 50

export type Action = 'claim' | 'takeover' | 'assign' | 'release' | 'return-to-bot' | 'status'

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

  /** What a person decides of an answer nobody knows the fate of. */
  resolve(messageId: string, as: 'sent' | 'failed' | 'resend'): Promise<Message> {
    return this.#session.call('POST', `/messages/${encodeURIComponent(messageId)}/resolve`, { as }) as Promise<Message>
  }

  async withdraw(messageId: string): Promise<void> {
    await this.#session.call('DELETE', `/messages/${encodeURIComponent(messageId)}`)
  }

  trail(messageId: string): Promise<Trail> {
    return this.#session.call('GET', `/messages/${encodeURIComponent(messageId)}/trail`) as Promise<Trail>
  }

  /** Does what decides about a chat; `v` is the version the operator saw when deciding. */
  act(id: string, v: number, action: Action, body: unknown = {}): Promise<ConversationRow> {
    const path = `/conversations/${encodeURIComponent(id)}/${action}`
    return this.#session.call('POST', path, body, { 'If-Match': `"${v}"` }) as Promise<ConversationRow>
  }

  unread(id: string, n: number): Promise<{ in_seq?: number } | null> {
    return this.#session.call('POST', `/conversations/${encodeURIComponent(id)}/unread`, { n }) as Promise<{ in_seq?: number } | null>
  }

  async users(): Promise<Person[]> {
    return ((await this.#session.call('GET', '/users')) as { items: Person[] }).items
  }

  /** @param path what a message gives as `url` or `thumb_url`, an absolute path of the API. */
  signed(path: string): Promise<SignedAddress> {
    return this.#session.call('GET', path.replace(/^.*?\/api\/v1/, '')) as Promise<SignedAddress>
  }

  channelKinds(): Promise<ChannelKind[]> {
    return this.#session.call('GET', '/channel-kinds') as Promise<ChannelKind[]>
  }

  channels(): Promise<ChannelDetails[]> {
    return this.#session.call('GET', '/channels') as Promise<ChannelDetails[]>
  }

  channelHealth(id: string): Promise<ChannelHealth> {
    return this.#session.call('GET', `/channels/${encodeURIComponent(id)}/health`) as Promise<ChannelHealth>
  }

  templates(channelId: string): Promise<MessageTemplate[]> {
    return this.#session.call('GET', `/channels/${encodeURIComponent(channelId)}/templates`) as Promise<MessageTemplate[]>
  }

  connect(channel: NewChannel): Promise<ChannelDetails> {
    return this.#session.call('POST', '/channels', channel) as Promise<ChannelDetails>
  }

  changeChannel(id: string, change: ChannelChange): Promise<ChannelDetails> {
    return this.#session.call('PATCH', `/channels/${encodeURIComponent(id)}`, change) as Promise<ChannelDetails>
  }

  async rotateSecret(id: string): Promise<void> {
    await this.#session.call('POST', `/channels/${encodeURIComponent(id)}/rotate-secret`, {})
  }

  async disconnect(id: string): Promise<void> {
    await this.#session.call('DELETE', `/channels/${encodeURIComponent(id)}`)
  }

  read(id: string, n: number): Promise<{ in_seq?: number } | null> {
    return this.#session.call('POST', `/conversations/${encodeURIComponent(id)}/read`, { n }) as Promise<{ in_seq?: number } | null>
  }

  async ticket(): Promise<string> {
    return ((await this.#session.call('POST', '/ws-ticket', {})) as { ticket: string }).ticket
  }
}
