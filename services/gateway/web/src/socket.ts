/** One WebSocket that always comes back: hello, position, heartbeat, back-off. It hands on only batches in order. */
import type { ClientFrame, LiveEvent, ServerFrame } from './wire'

export type SocketState = 'off' | 'connecting' | 'live' | 'waiting'

/** The part of a browser's WebSocket used here; tests speak the same wire through their own. */
export type Wire = Pick<WebSocket, 'send' | 'close' | 'onopen' | 'onmessage' | 'onclose'>

export interface SocketParts {
  connect: () => Wire
  /** A one-time ticket; what it throws is handed to `onTicketRefused`. */
  ticket: () => Promise<string>
  clientId: string
  build: string
  random: () => number
  now: () => number
  onState: (state: SocketState) => void
  /** `false`: what was missed is not coming, everything must be fetched anew. */
  onReady: (resumed: boolean) => void
  onBatch: (events: readonly LiveEvent[], pos: number) => void
  /** What colleagues do right now: it has no position and is never replayed. */
  onGlimpse: (event: LiveEvent) => void
  /** Returns whether to go on trying. */
  onTicketRefused: (error: unknown) => boolean
  onUnauthorised: () => void
}

const FIRST_DELAY_MS = 300
const LONGEST_DELAY_MS = 15_000
/** From connecting to `ready`. */
const GREETING_MS = 10_000
/** Only a connection that lasted this long counts as good and resets the back-off. */
const STEADY_MS = 5_000
const UNAUTHORISED = 4401

interface Position {
  epoch: string
  pos: number
  id: string | null
}

type Timer = ReturnType<typeof setTimeout>

export class LiveSocket {
  readonly #parts: SocketParts
  #state: SocketState = 'off'
  #wire: Wire | null = null
  #position: Position | null = null
  #attempts = 0
  /** Rises with every connection and stop, so that late answers of an old one are ignored. */
  #turn = 0
  #heartbeatMs = 25_000
  #lastFrameMs = 0
  #retry: Timer | undefined
  #watch: Timer | undefined
  #steady: Timer | undefined

  constructor(parts: SocketParts) {
    this.#parts = parts
  }

  get state(): SocketState { return this.#state }
  get position(): Position | null { return this.#position }

  start(): void {
    if (this.#state === 'off') void this.#connect()
  }

  stop(): void {
    this.#drop()
    this.#position = null
    this.#attempts = 0
    this.#set('off')
  }

  /** Says something that is worth nothing later: without a live connection it is dropped. */
  tell(frame: ClientFrame): void {
    if (this.#state === 'live') this.#say(frame)
  }

  /** The network or the tab came back: do not sit out the back-off, do not trust a silent connection. */
  wake(): void {
    if (this.#state === 'waiting') void this.#connect()
    else if (this.#state === 'live' && this.#parts.now() - this.#lastFrameMs > this.#heartbeatMs * 1.2) this.#again(0)
  }

  async #connect(): Promise<void> {
    this.#drop()
    const turn = this.#turn
    this.#set('connecting')
    this.#watch = setTimeout(() => this.#again(), GREETING_MS)
    let ticket: string
    try {
      ticket = await this.#parts.ticket()
    } catch (error) {
      if (turn !== this.#turn) return
      if (this.#parts.onTicketRefused(error)) this.#again()
      else this.stop()
      return
    }
    if (turn !== this.#turn) return
    const wire = this.#parts.connect()
    this.#wire = wire
    wire.onopen = () => {
      const { clientId, build } = this.#parts
      this.#say({ type: 'hello', ticket, ...this.#position, client_id: clientId, build })
    }
    wire.onmessage = ({ data }) => {
      if (turn === this.#turn && typeof data === 'string') this.#hear(JSON.parse(data) as ServerFrame)
    }
    wire.onclose = ({ code }) => {
      if (turn !== this.#turn) return
      if (code === UNAUTHORISED) this.#parts.onUnauthorised()
      this.#again()
    }
  }

  #hear(frame: ServerFrame): void {
    this.#lastFrameMs = this.#parts.now()
    if (this.#state === 'live') this.#listen()
    switch (frame.type) {
      case 'ready': {
        this.#heartbeatMs = frame.heartbeat_s * 1000
        const resumed = frame.mode === 'resumed' && this.#position !== null
        if (!resumed) this.#position = { epoch: frame.epoch, pos: frame.pos, id: frame.id ?? null }
        this.#set('live')
        this.#listen()
        this.#steady = setTimeout(() => { this.#attempts = 0 }, STEADY_MS)
        this.#parts.onReady(resumed)
        break
      }
      case 'batch': {
        const mine = this.#position
        if (!mine) break
        // `prev` first: a batch of what has no place in the stream (fresh counters) begins and ends where we are.
        if (frame.prev !== mine.pos) {
          if (frame.pos <= mine.pos) break
          // A gap. The position stays, so the next hello asks for exactly what is missing.
          this.#again()
          break
        }
        this.#position = { ...mine, pos: frame.pos, id: frame.id ?? null }
        this.#parts.onBatch(frame.events, frame.pos)
        break
      }
      case 'pos': {
        if (this.#position && frame.pos > this.#position.pos) {
          this.#position = { ...this.#position, pos: frame.pos, id: frame.id ?? null }
        }
        break
      }
      case 'ping': this.#say({ type: 'pong' }); break
      case 'typing':
      case 'presence': {
        this.#parts.onGlimpse({ type: frame.type, data: frame.data ?? frame } as LiveEvent)
        break
      }
      case 'error': {
        if (frame.code === 'unauthorized') this.#parts.onUnauthorised()
        this.#again()
        break
      }
      case 'bye': this.#again(frame.reconnect_after_ms); break
    }
  }

  /** Two silent heartbeats mean a half-open connection. */
  #listen(): void {
    clearTimeout(this.#watch)
    this.#watch = setTimeout(() => this.#again(), this.#heartbeatMs * 2)
  }

  #again(delayMs?: number): void {
    this.#drop()
    const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#attempts)
    this.#attempts += 1
    this.#set('waiting')
    this.#retry = setTimeout(() => void this.#connect(), delayMs ?? this.#parts.random() * longest)
  }

  #drop(): void {
    this.#turn += 1
    clearTimeout(this.#retry)
    clearTimeout(this.#watch)
    clearTimeout(this.#steady)
    const wire = this.#wire
    this.#wire = null
    if (!wire) return
    wire.onopen = wire.onmessage = wire.onclose = null
    wire.close(1000)
  }

  #say(frame: ClientFrame): void {
    this.#wire?.send(JSON.stringify(frame))
  }

  #set(state: SocketState): void {
    if (state === this.#state) return
    this.#state = state
    this.#parts.onState(state)
  }
}
