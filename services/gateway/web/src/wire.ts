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

export interface Channel {
  id: string
  kind: string
  title: string
  connected?: boolean
  /** `text`: the longest message, in UTF-16 code units. */
  limits?: { text?: number }
  abilities?: Record<string, unknown>
}

export interface Bootstrap {
  me: Me
  settings: Record<string, unknown>
  counters: Counters
  channels: Channel[]
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

export interface Message {
  id: string
  n: number
  pos_at: string
  conversation_id: string
  request_id?: string | null
  client_msg_id?: string | null
  direction: Direction
  author: { kind: 'client' | 'operator' | 'bot' | 'autoresponder' | 'system'; id?: string | null; name?: string | null }
  kind: MessageKind
  text: string
  created_at: string
  provider_time?: string | null
  late?: boolean
  state: SendState
  failure?: { code: string; text?: string | null } | null
  edited?: boolean
  deleted?: boolean
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

export interface SendBody {
  client_msg_id: string
  text: string
  /** The largest `n` the author had seen when this text was begun. */
  seen_n: number
}

export type LiveEvent =
  | { type: 'message.created' | 'message.updated'; data: Message }
  | { type: 'conversation.upserted'; data: ConversationRow }
  | { type: 'conversation.removed'; data: { id: string } }
  | { type: 'read.updated'; data: { conversation_id: string; in_seq: number } }
  | { type: 'counters.updated'; data: Counters }
  | { type: 'channel.updated'; data: Channel }
  | { type: 'session.revoked'; data?: unknown }
  | { type: 'build.changed'; data?: unknown }

export type ServerFrame =
  | { type: 'ready'; mode: 'fresh' | 'resumed' | 'resync'; epoch: string; pos: number; id?: string | null; heartbeat_s: number }
  | { type: 'batch'; events: LiveEvent[]; pos: number; id?: string | null; prev: number }
  | { type: 'pos'; pos: number; id?: string | null }
  | { type: 'ping' }
  | { type: 'error'; code: string }
  | { type: 'bye'; code: string; reconnect_after_ms?: number }

export type ClientFrame =
  | { type: 'hello'; ticket: string; epoch?: string; pos?: number; id?: string | null; client_id: string; build: string }
  | { type: 'pong' }
