/** The words of the wire: what REST and the socket carry. Times are RFC 3339 UTC, ids are opaque. */

export type ListName = 'active' | 'mine' | 'new' | 'bot' | 'done' | 'waiting'
export const LIST_NAMES: readonly ListName[] = ['active', 'mine', 'new', 'bot', 'done', 'waiting']

export interface Person {
  id: string
  name: string
}

export interface Me extends Person {
  roles: string[]
  tenant: { id: string; title: string }
}

/** Absolute counts, capped by the server at 1,000; «Завершені» has none. */
export interface Counters {
  lists: Partial<Record<ListName, number>>
  red: number
  blue: number
}

/** `text` and `caption` count what `limit_units` says, `album` files, all else bytes: `file` for any, `image` for photos … */
export type Limits = Partial<Record<'text' | 'caption' | 'album' | 'file' | MessageKind, number>>

export interface Channel {
  id: string
  kind: string
  /** The messenger's name as its connector says it. */
  kind_title?: string | null
  title: string
  connected?: boolean
  /** What is wrong and the one fix, for whoever may mend it. */
  problem?: string | null
  limits?: Limits
  limit_units?: Partial<Record<keyof Limits, string>>
  abilities?: { bot?: boolean; buttons?: boolean; typing?: boolean; receipts?: boolean; templates?: boolean; media_kinds?: string[] } | null
  /** How long after the client's last message one may answer; null: always. */
  reply_window_hours?: number | null
  /** How long with the setting `human_agent`; null: it changes nothing with this messenger. */
  human_reply_window_hours?: number | null
}

/** A place of a template that must be filled in. */
export interface TemplatePlace {
  key: string
  part: 'header' | 'body' | 'button'
  /** The button's, from 0. */
  index: number
  /** null: it has a number, its turn among the nameless ones of its part. */
  name: string | null
  example: string
}

/** What the messenger approved and lets out at any time; `{{1}}` or `{{name}}` stand for the places. */
export interface MessageTemplate {
  name: string
  language: string
  category: string
  header: string | null
  body: string
  footer: string | null
  buttons: string[]
  places: TemplatePlace[]
  /** Why it cannot be sent from here. */
  unusable: string | null
}

/** A template chosen and filled in; `values` by the keys of its places. */
export interface ChosenTemplate {
  name: string
  language: string
  values: Record<string, string>
}

export interface ChannelButton {
  text: string
  /** What comes back as the client's text, or an address to open. */
  value: string
}

/** What the tenant decides about a channel; more stands in the answer than this window shows. */
export interface ChannelSettings {
  /** `null`: the tenant's usual roles. */
  roles: string[] | null
  welcome: { text: string; buttons: ChannelButton[] }
  /** People may answer as long as `human_reply_window_hours` says. */
  human_agent: boolean
}

/** A channel as its administrator sees it. Credentials never come back, only their end. */
export interface ChannelDetails extends Channel {
  state: string
  account_name: string | null
  credentials_hint: string | null
  webhook_url: string | null
  settings: ChannelSettings
  created_at: string
  rev: number
}

export interface ChannelHealth {
  state: string
  connected: boolean
  receiving?: 'webhook' | 'polling' | null
  problem: string | null
  checked_at: string
}

export interface CredentialField {
  title?: string
  description?: string
  writeOnly?: boolean
  default?: string
  enum?: string[]
  examples?: string[]
  maxLength?: number
}

export interface ChannelKind {
  kind: string
  title: string
  available: boolean
  reply_window_hours?: number | null
  human_reply_window_hours?: number | null
  human_agent_by_default?: boolean
  /** `x-api-bases`: other addresses of the messenger's API that may be chosen; a demo offers its sandbox. */
  credentials_schema: { required?: string[]; properties?: Record<string, CredentialField>; 'x-api-bases'?: string[] }
}

export interface NewChannel {
  kind: string
  title: string
  credentials: Record<string, string>
  api_base?: string
  settings?: Partial<ChannelSettings>
}

export interface ChannelChange {
  title?: string
  settings?: Partial<ChannelSettings>
  credentials?: Record<string, string>
  enabled?: boolean
}

export interface Bootstrap {
  me: Me
  settings: Record<string, unknown>
  counters: Counters
  channels: Channel[]
  upload_max_bytes?: number
  epoch: string
  pos: number
  id?: string | null
}

export type Box = 'new' | 'active' | 'bot' | 'waiting' | 'done'

export interface LastMessage {
  id: string
  n: number
  text: string
  kind: MessageKind
  direction: Direction
  author?: Author
  at: string
  state?: SendState
}

export interface ConversationRow {
  id: string
  v: number
  rev: number
  title: string
  channel: { id: string; kind: string; title: string }
  contact: { name: string; username?: string | null; phone?: string | null; avatar_url?: string | null; blocked: boolean }
  client: { id: string; name: string; status?: string | null } | null
  handler: 'bot' | 'operator'
  status: 'open' | 'waiting' | 'closed'
  box: Box
  assignee: Person | null
  request: { id: string; number: number; opened_at: string; first_reply_at?: string | null } | null
  last_message: LastMessage | null
  activity_at: string
  in_seq: number
  answered_seq: number
  window?: { open: boolean; until?: string | null; code?: string | null }
  /** Per viewer, over REST only; on the socket they are absent. */
  unread?: number
  first_unread_id?: string | null
  mark_in_seq?: number
}

export interface ConversationPage {
  items: ConversationRow[]
  next_cursor: string | null
}

export type Direction = 'in' | 'out' | 'system' | 'note'
export type SendState = 'queued' | 'sending' | 'sent' | 'delivered' | 'read' | 'failed' | 'unknown'
export type MessageKind =
  | 'text' | 'image' | 'video' | 'audio' | 'voice' | 'file' | 'sticker' | 'location' | 'contact' | 'unsupported'

export interface Author {
  kind: 'client' | 'operator' | 'bot' | 'autoresponder' | 'system'
  id?: string | null
  name?: string | null
}

/** A file of a message. `url` and `thumb_url` are API paths that give a signed reading address. */
export interface Attachment {
  id: string
  kind: MessageKind
  name?: string | null
  mime?: string | null
  /** Bytes. */
  size?: number | null
  width?: number | null
  height?: number | null
  duration_s?: number | null
  state: 'pending' | 'ready' | 'lost'
  problem?: string | null
  url?: string | null
  thumb_url?: string | null
}

export interface MapPlace {
  latitude: number
  longitude: number
  title: string | null
  address: string | null
}

export interface SharedContact {
  name: string
  phone: string | null
  /** The messenger proves that it is the sender's own number. */
  is_own: boolean
}

export type LinkKind = 'story_reply' | 'story_mention' | 'post' | 'reel' | 'link' | 'product' | 'ad'

/** What a message points at beside its words; its picture is an attachment. */
export interface SharedLink {
  kind: LinkKind
  title: string | null
  url: string | null
}

export interface MessageButton {
  text: string
  url?: string | null
}

export interface Message {
  id: string
  n: number
  /** Counts the client's messages up to here; what a messenger brings of an older history counts as none. */
  in_seq: number
  pos_at: string
  conversation_id: string
  /** Empty for history. */
  request_id?: string | null
  client_msg_id?: string | null
  direction: Direction
  author: Author
  kind: MessageKind
  text: string
  attachments?: Attachment[]
  place?: MapPlace | null
  shared_contact?: SharedContact | null
  shared_link?: SharedLink | null
  /** Rows of buttons under a message of ours. */
  buttons?: MessageButton[][]
  /** Messages of one album. */
  group_id?: string | null
  quote?: { text: string; author: string } | null
  /** Signs put on this message, one for each who put one. */
  reactions?: string[]
  versions?: { text: string; at: string }[]
  created_at: string
  provider_time?: string | null
  late?: boolean
  state: SendState
  failure?: { code: string; text?: string | null } | null
  edited?: boolean
  deleted?: boolean
  /** The answer of ours this turned out to be: only that one is shown. */
  replaced_by?: string | null
  rev: number
}

export interface MessagePage {
  items: Message[]
  has_before: boolean
  has_after: boolean
}

export interface Tokens {
  access_token: string
  /** Seconds. */
  expires_in: number
}

export interface Trail {
  message_id: string
  steps: { at: string; event: string; state: string | null; author: string | null; detail: string | null; trace_id: string | null }[]
}

/** A file the server has taken in for an answer. */
export interface Upload {
  id: string
  kind: MessageKind
  name: string
  mime: string
  size: number
  width?: number | null
  height?: number | null
  duration_s?: number | null
  thumb_url?: string | null
}

export interface SignedAddress {
  url: string
  expires_at: string
}

export interface SendBody {
  client_msg_id: string
  /** With a template: how it reads; the server makes that itself. */
  text: string
  template?: ChosenTemplate
  /** Ids of uploads. */
  attachments?: string[]
  reply_to?: string
  /** Only for colleagues; never goes to the client. */
  note?: boolean
  /** The largest `n` the author had seen when this text was begun. */
  seen_n: number
}

/** A colleague writes in a chat, for so many seconds from now. */
export interface TypingSignal {
  conversation_id: string
  user: Person
  ttl_s: number
}

/** Which colleagues look at a chat now. */
export interface ViewersSignal {
  conversation_id: string
  viewers: Person[]
}

export type LiveEvent =
  | { type: 'message.created' | 'message.updated'; data: Message }
  | { type: 'conversation.upserted'; data: ConversationRow }
  | { type: 'conversation.removed'; data: { id: string } }
  | { type: 'read.updated'; data: { conversation_id: string; in_seq: number } }
  | { type: 'counters.updated'; data: Counters }
  | { type: 'channel.updated'; data: Channel }
  | { type: 'typing'; data: TypingSignal }
  | { type: 'presence'; data: ViewersSignal }
  | { type: 'session.revoked'; data?: unknown }
  | { type: 'build.changed'; data?: unknown }

export type ServerFrame =
  | { type: 'ready'; mode: 'fresh' | 'resumed' | 'resync'; epoch: string; pos: number; id?: string | null; heartbeat_s: number }
  | { type: 'batch'; events: LiveEvent[]; pos: number; id?: string | null; prev: number }
  | { type: 'pos'; pos: number; id?: string | null }
  | { type: 'ping' }
  // What has no place in the stream may come as a frame of its own.
  | ({ type: 'typing'; data?: TypingSignal } & Partial<TypingSignal>)
  | ({ type: 'presence'; data?: ViewersSignal } & Partial<ViewersSignal>)
  | { type: 'error'; code: string }
  | { type: 'bye'; code: string; reconnect_after_ms?: number }

export type ClientFrame =
  | { type: 'hello'; ticket: string; epoch?: string; pos?: number; id?: string | null; client_id: string; build: string }
  | { type: 'pong' }
  | { type: 'typing'; conversation_id: string }
  | { type: 'viewing'; conversation_id: string | null }
