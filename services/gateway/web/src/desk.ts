/** The operator's desk: builds the parts of the window once and ties them together. */
import { Api } from './api'
import { Deeds } from './deeds'
import { Live } from './live'
import { Loading } from './loading'
import { Media } from './media'
import { Presenting } from './presenting'
import { Reading } from './reading'
import { Router } from './route'
import { FRESH_MS, Sending } from './sending'
import { Refused, Session, Unreachable } from './session'
import { KeyChoice } from './shortcuts'
import { LiveSocket } from './socket'
import { Store } from './store/store'
import { lookAtPhoto, sender } from './transfer'
import { Uploads } from './uploads'

declare const __BUILD__: string

/** `unreachable`: the very first answers of the server do not come; tries go on. */
export type Phase = 'starting' | 'unreachable' | 'ready' | 'no-access'

/** If the socket cannot come up at all, the window still shows what REST gives. */
const SOCKET_PATIENCE_MS = 2_500
const RESTART_MS = 3_000

export class Desk {
  readonly session: Session
  readonly store: Store
  readonly router = new Router()
  readonly api: Api
  readonly loading: Loading
  readonly sending: Sending
  readonly reading: Reading
  readonly uploads: Uploads
  readonly media: Media
  readonly deeds: Deeds
  readonly presenting: Presenting
  readonly keys = new KeyChoice(localStorage)
  /** Whoever opened the chat means to write; the composer asks when it appears. */
  wantsComposer = false
  readonly #live: Live
  readonly #socket: LiveSocket
  #phase: Phase = 'starting'
  #connected = false
  #anchor: () => string | null = () => null
  #patience: ReturnType<typeof setTimeout> | undefined

  constructor() {
    const root = new URL('./api/v1', document.baseURI)
    this.session = new Session({
      root: root.href,
      fetch: (...args) => fetch(...args),
      now: () => Date.now(),
      exclusively: (work) => ('locks' in navigator ? navigator.locks.request('rozmova.refresh', work) : work()),
    })
    this.store = new Store(localStorage, soon)
    this.api = new Api(this.session)
    this.loading = new Loading(this.api, this.store)
    this.uploads = new Uploads({
      signals: this.store.signals,
      send: sender(this.session, `${root.href}/uploads`),
      look: lookAtPhoto,
      release: (preview) => URL.revokeObjectURL(preview),
      newKey: newId,
    })
    this.sending = new Sending({ api: this.api, store: this.store, uploads: this.uploads, now: () => Date.now(), newId })
    this.reading = new Reading(this.api, this.store)
    this.media = new Media(this.api, this.store.signals, () => Date.now(), new URL('.', document.baseURI).href)
    this.deeds = new Deeds({ api: this.api, store: this.store, onUnread: (chat, inSeq) => this.#unread(chat, inSeq) })
    this.presenting = new Presenting((frame) => this.#socket.tell(frame), () => Date.now())
    this.#live = new Live({
      api: this.api,
      store: this.store,
      shown: () => this.router.current,
      anchor: () => this.#anchor(),
      onFilled: () => this.#filled(),
      onNoAccess: () => this.#noAccess(),
      onRevoked: () => this.session.end(),
      random: Math.random,
    })
    this.#socket = new LiveSocket({
      connect: () => new WebSocket(`${root.href.replace(/^http/, 'ws')}/ws`, 'rozmova.v1'),
      ticket: () => this.api.ticket(),
      clientId: newId(),
      build: __BUILD__,
      random: Math.random,
      now: () => Date.now(),
      onState: (state) => this.#connect(state === 'live'),
      onReady: (resumed) => this.#ready(resumed),
      onBatch: (events, pos) => this.#live.take(events, pos),
      onGlimpse: (event) => this.store.apply(event),
      onTicketRefused: (error) => this.#ticketRefused(error),
      onUnauthorised: () => void this.session.refresh().catch(() => undefined),
    })
  }

  get phase(): Phase { return this.#phase }
  get connected(): boolean { return this.#connected }

  /** Restores the session from its cookie; goes on trying while the server is away. */
  start(): void {
    this.session.subscribe(() => this.#sessionTurned())
    window.addEventListener('online', () => this.#wake())
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.#wake()
      this.#look()
    })
    this.router.subscribe(() => this.#look())
    void this.#restore()
  }

  /** The dialogue on the screen says where it is being read, for a resync in place. */
  setAnchor(anchor: () => string | null): () => void {
    this.#anchor = anchor
    return () => { if (this.#anchor === anchor) this.#anchor = () => null }
  }

  /** «Перевірити ще раз» on the page without access. */
  restart(): void {
    this.#enter('starting')
    this.#goLive()
  }

  async #restore(): Promise<void> {
    for (;;) {
      try {
        await this.session.refresh()
        return
      } catch {
        this.#enter('unreachable')
        await new Promise((resolve) => setTimeout(resolve, RESTART_MS))
      }
    }
  }

  #sessionTurned(): void {
    switch (this.session.state) {
      case 'active': {
        if (this.#phase === 'unreachable') this.#enter('starting')
        this.#goLive()
        break
      }
      case 'expired': this.#rest(); break
      case 'anonymous': {
        this.#rest()
        this.store.clear()
        this.reading.clear()
        this.uploads.clear()
        this.media.clear()
        this.#enter('starting')
        break
      }
      case 'starting': break
    }
  }

  #goLive(): void {
    this.#socket.start()
    clearTimeout(this.#patience)
    this.#patience = setTimeout(() => void this.#live.fill(), SOCKET_PATIENCE_MS)
  }

  #rest(): void {
    clearTimeout(this.#patience)
    this.#socket.stop()
    this.#live.stop()
  }

  #wake(): void {
    this.#socket.wake()
    if (this.#connected) this.#resume()
  }

  #ready(resumed: boolean): void {
    clearTimeout(this.#patience)
    this.presenting.again()
    this.#look()
    if (resumed && this.#phase === 'ready') this.#resume()
    else void this.#live.fill()
  }

  #filled(): void {
    const { me } = this.store
    if (!me) return
    // Somebody else logged in over an expired session: nothing of the first one may stay on the screen.
    if (this.store.owner !== null && this.store.owner !== me.id) return location.reload()
    if (this.store.owner === null) {
      this.store.own(me.id, Date.now(), FRESH_MS)
    }
    if (this.#phase !== 'ready') this.#enter('ready')
    this.#resume()
  }

  /** A hidden tab looks at nothing. */
  #look(): void {
    this.presenting.looks(document.hidden ? null : this.router.current.chat)
  }

  /** The chat is left, else its messages in view would be read again a second later. */
  #unread(chat: string, inSeq: number): void {
    this.reading.forget(chat)
    if (this.router.current.chat === chat) this.router.go({ ...this.router.current, chat: null })
    this.store.conversations.lower(chat, inSeq)
  }

  #resume(): void {
    this.sending.resume()
    this.reading.resume()
  }

  #ticketRefused(error: unknown): boolean {
    if (error instanceof Unreachable || !(error instanceof Refused)) return true
    if (error.status === 403) this.#noAccess()
    return error.status !== 401 && error.status !== 403
  }

  #noAccess(): void {
    this.#rest()
    this.#enter('no-access')
  }

  #connect(connected: boolean): void {
    this.#connected = connected
    if (!connected) this.store.presence.clear()
    this.store.signals.touch('connection')
  }

  #enter(phase: Phase): void {
    this.#phase = phase
    this.store.signals.touch('phase')
  }
}

/** Tells the screen once per frame; a hidden tab has no frames, and its title counts too. */
function soon(flush: () => void): void {
  const timer = setTimeout(flush, 100)
  requestAnimationFrame(() => {
    clearTimeout(timer)
    flush()
  })
}

/** A random id also where `crypto.randomUUID` is missing: a plain-http address in the office network. */
function newId(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID()
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
