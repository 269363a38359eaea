/** The whole state of the window: rows, lists, messages, outbox, drafts, counters. Pure data, no DOM. */
import type { Bootstrap, Channel, ConversationPage, ConversationRow, Counters, LiveEvent, Me, MessagePage } from '../wire'
import { t } from '../i18n'
import { Conversations } from './conversations'
import { Dialogues } from './dialogues'
import { Drafts } from './drafts'
import { Notices } from './notices'
import { Outbox, type Shelf } from './outbox'
import { Presence } from './presence'
import { Signals } from './signals'

export interface Fresh {
  boot: Bootstrap
  list: { name: Parameters<Conversations['reset']>[0]; page: ConversationPage }
  open: { id: string; row: ConversationRow | null; messages: MessagePage | null } | null
}

const NO_COUNTERS: Counters = { lists: {}, red: 0, blue: 0 }

export class Store {
  readonly signals: Signals
  readonly conversations: Conversations
  readonly dialogues: Dialogues
  readonly outbox: Outbox
  readonly drafts: Drafts
  readonly presence: Presence
  readonly notices: Notices
  #me: Me | null = null
  #counters = NO_COUNTERS
  #channels: ReadonlyMap<string, Channel> = new Map()
  #uploadMost = Infinity
  #newBuild = false
  #owner: string | null = null
  #fills = 0

  constructor(shelf: Shelf, schedule: (flush: () => void) => void) {
    this.signals = new Signals(schedule)
    this.conversations = new Conversations(this.signals)
    this.dialogues = new Dialogues(this.signals)
    this.outbox = new Outbox(this.signals, shelf)
    this.drafts = new Drafts(this.signals, shelf)
    this.presence = new Presence(this.signals)
    this.notices = new Notices(this.signals)
  }

  get me(): Me | null { return this.#me }
  get counters(): Counters { return this.#counters }
  /** Whose drafts and outbox are open. */
  get owner(): string | null { return this.#owner }
  get newBuild(): boolean { return this.#newBuild }
  /** Bytes of the largest file the server takes in. */
  get uploadMost(): number { return this.#uploadMost }

  channel(id: string): Channel | undefined {
    return this.#channels.get(id)
  }

  /** A messenger's name, as its connector says it; a channel may be gone while its dialogues are read. */
  kindTitle(kind: string, channelId?: string): string {
    const own = channelId === undefined ? undefined : this.#channels.get(channelId)
    const known = own?.kind_title ?? [...this.#channels.values()].find((channel) => channel.kind === kind)?.kind_title
    return known ?? t.channelKind(kind)
  }

  /** Opens what this user left in the browser. */
  own(userId: string, now: number, freshMs: number): void {
    this.#owner = userId
    this.drafts.load(userId)
    this.outbox.load(userId, now, freshMs)
  }

  /** How often the whole truth was taken: what is fetched beside the store is stale when it rises. */
  get fills(): number { return this.#fills }

  /** Takes the server's whole truth at once: the first start and every resync. */
  refill({ boot, list, open }: Fresh): void {
    this.#fills += 1
    this.#me = boot.me
    this.#counters = boot.counters
    this.#channels = new Map(boot.channels.map((channel) => [channel.id, channel]))
    this.#uploadMost = boot.upload_max_bytes ?? Infinity
    this.conversations.setMe(boot.me.id)
    this.presence.setMe(boot.me.id)
    this.conversations.reset(list.name, list.page, open?.row ?? null)
    this.dialogues.keepOnly(open?.id ?? null)
    if (open?.messages) this.dialogues.replace(open.id, open.messages)
    else if (open && !open.row) this.dialogues.forget(open.id)
    for (const key of ['me', 'counters', 'channels', 'fills']) this.signals.touch(key)
  }

  apply(event: LiveEvent): void {
    switch (event.type) {
      case 'message.created':
      case 'message.updated': {
        this.dialogues.put(event.data)
        // Whoever has just answered no longer writes.
        if (event.data.author.id) this.presence.stops(event.data.conversation_id, event.data.author.id)
        if (event.data.client_msg_id) this.outbox.remove(event.data.client_msg_id)
        break
      }
      case 'conversation.upserted': this.conversations.upsert(event.data); break
      case 'conversation.removed': {
        this.conversations.remove(event.data.id)
        this.dialogues.forget(event.data.id)
        break
      }
      case 'read.updated': this.conversations.mark(event.data.conversation_id, event.data.in_seq); break
      case 'counters.updated': {
        this.#counters = event.data
        this.signals.touch('counters')
        break
      }
      case 'channel.updated': {
        this.#channels = new Map(this.#channels).set(event.data.id, event.data)
        this.signals.touch('channels')
        break
      }
      case 'typing': this.presence.types(event.data); break
      case 'presence': this.presence.looks(event.data); break
      case 'build.changed': {
        this.#newBuild = true
        this.signals.touch('build')
        break
      }
      // Anything newer than this window is passed over; the position still advances.
    }
  }

  clear(): void {
    this.#me = null
    this.#owner = null
    this.#counters = NO_COUNTERS
    this.conversations.clear()
    this.dialogues.keepOnly(null)
    this.presence.clear()
    for (const key of ['me', 'counters']) this.signals.touch(key)
  }
}
