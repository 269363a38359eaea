/** Messages on their way: kept until the server has them, also over a reload. */
import type { Message, MessageKind, SendBody } from '../wire'
import type { Signals } from './signals'

/** A file of a message on its way. The bytes themselves do not survive a reload. */
export interface PendingFile {
  key: string
  name: string
  size: number
  kind: MessageKind
  width: number | null
  height: number | null
}

export interface Pending extends SendBody {
  conversation_id: string
  created_ms: number
  /**
   * `uploading`: its files are not at the server yet. `held`: too old to go by itself after a reload; the operator
   * decides. `asking`: a colleague answered meanwhile. `lost`: a reload took the files that were not yet uploaded.
   */
  state: 'uploading' | 'sending' | 'failed' | 'held' | 'asking' | 'lost'
  files?: PendingFile[]
  /** What the answer says to, for the bubble. */
  quote?: { text: string; author: string }
  code?: string
  reason?: string
  /** What the author had not seen. */
  unseen?: Message[]
  force?: boolean
}

const NONE: readonly Pending[] = []

/** What localStorage offers; a test passes its own. */
export type Shelf = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>

export class Outbox {
  readonly #signals: Signals
  readonly #shelf: Shelf
  readonly #pending = new Map<string, readonly Pending[]>()
  #prefix = ''

  constructor(signals: Signals, shelf: Shelf) {
    this.#signals = signals
    this.#shelf = shelf
  }

  /** Reads what this user left unsent. Each message has a key of its own, so two tabs never overwrite each other. */
  load(userId: string, now: number, freshMs: number): void {
    this.#prefix = `rozmova.outbox.${userId}.`
    this.#pending.clear()
    for (let i = 0; i < this.#shelf.length; i++) {
      const key = this.#shelf.key(i)
      if (!key?.startsWith(this.#prefix)) continue
      const pending = parse(this.#shelf.getItem(key))
      if (!pending) continue
      const young = now - pending.created_ms < freshMs
      if (pending.files && !pending.attachments) this.#put({ ...pending, state: 'lost' })
      else this.#put(pending.state === 'sending' && !young ? { ...pending, state: 'held' } : pending)
    }
  }

  of(conversationId: string): readonly Pending[] {
    return this.#pending.get(conversationId) ?? NONE
  }

  all(): Pending[] {
    return [...this.#pending.values()].flat()
  }

  find(clientMsgId: string): Pending | undefined {
    return this.all().find((pending) => pending.client_msg_id === clientMsgId)
  }

  put(pending: Pending): void {
    this.#shelf.setItem(this.#prefix + pending.client_msg_id, JSON.stringify(pending))
    this.#put(pending)
  }

  remove(clientMsgId: string): void {
    for (const [id, list] of this.#pending) {
      if (!list.some((pending) => pending.client_msg_id === clientMsgId)) continue
      this.#shelf.removeItem(this.#prefix + clientMsgId)
      const rest = list.filter((pending) => pending.client_msg_id !== clientMsgId)
      if (rest.length > 0) this.#pending.set(id, rest)
      else this.#pending.delete(id)
      this.#signals.touch(`o:${id}`)
    }
  }

  #put(pending: Pending): void {
    const others = this.of(pending.conversation_id).filter((other) => other.client_msg_id !== pending.client_msg_id)
    const list = [...others, pending].sort((a, b) => a.created_ms - b.created_ms)
    this.#pending.set(pending.conversation_id, list)
    this.#signals.touch(`o:${pending.conversation_id}`)
  }
}

function parse(text: string | null): Pending | null {
  try {
    const value = JSON.parse(text ?? '') as Pending
    return typeof value.client_msg_id === 'string' && typeof value.conversation_id === 'string' ? value : null
  } catch {
    return null
  }
}
