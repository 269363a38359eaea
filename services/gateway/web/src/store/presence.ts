/** What colleagues do right now: who writes where, who looks at what. Nothing of it is kept. */
import type { Person, TypingSignal, ViewersSignal } from '../wire'
import type { Signals } from './signals'

const NOBODY: readonly Person[] = []

export class Presence {
  readonly #signals: Signals
  readonly #typing = new Map<string, readonly Person[]>()
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>()
  readonly #viewers = new Map<string, readonly Person[]>()
  #me = ''

  constructor(signals: Signals) {
    this.#signals = signals
  }

  setMe(id: string): void {
    this.#me = id
  }

  typing(chat: string): readonly Person[] {
    return this.#typing.get(chat) ?? NOBODY
  }

  viewers(chat: string): readonly Person[] {
    return this.#viewers.get(chat) ?? NOBODY
  }

  types({ conversation_id: chat, user, ttl_s }: TypingSignal): void {
    if (user.id === this.#me) return
    const key = `${chat} ${user.id}`
    clearTimeout(this.#timers.get(key))
    this.#timers.set(key, setTimeout(() => this.stops(chat, user.id), ttl_s * 1000))
    const others = this.typing(chat)
    if (others.some((other) => other.id === user.id)) return
    this.#typing.set(chat, [...others, user])
    this.#signals.touch(`p:${chat}`)
  }

  /** The signal ran out, or the message it announced has come. */
  stops(chat: string, userId: string): void {
    const key = `${chat} ${userId}`
    clearTimeout(this.#timers.get(key))
    this.#timers.delete(key)
    const typing = this.typing(chat)
    const rest = typing.filter((other) => other.id !== userId)
    if (rest.length === typing.length) return
    if (rest.length > 0) this.#typing.set(chat, rest)
    else this.#typing.delete(chat)
    this.#signals.touch(`p:${chat}`)
  }

  looks({ conversation_id: chat, viewers }: ViewersSignal): void {
    const others = viewers.filter((viewer) => viewer.id !== this.#me)
    if (others.length > 0) this.#viewers.set(chat, others)
    else this.#viewers.delete(chat)
    this.#signals.touch(`p:${chat}`)
  }

  /** Without a connection nobody knows. */
  clear(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
    const chats = new Set([...this.#typing.keys(), ...this.#viewers.keys()])
    this.#typing.clear()
    this.#viewers.clear()
    for (const chat of chats) this.#signals.touch(`p:${chat}`)
  }
}
