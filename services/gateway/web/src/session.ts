/** Who is logged in: the access token in memory, renewed by the refresh cookie, one renewal at a time. */
import type { Tokens } from './wire'

export type SessionState = 'starting' | 'anonymous' | 'active' | 'expired'

/** An answer of the server that is an error. */
export class Refused extends Error {
  readonly status: number
  readonly code: string
  readonly retryAfterSeconds: number | null
  readonly body: Record<string, unknown>

  constructor(status: number, code: string, retryAfterSeconds: number | null, body: Record<string, unknown>) {
    super(`${status} ${code}`)
    this.status = status
    this.code = code
    this.retryAfterSeconds = retryAfterSeconds
    this.body = body
  }
}

/** No answer: offline, server gone, or too slow. */
export class Unreachable extends Error {}

const ANSWER_TIMEOUT_MS = 15_000
/** A token this close to its end is renewed before it is used. */
const SPARE_SECONDS = 10

export interface SessionParts {
  /** Where the API lives, without a slash at the end. */
  root: string
  fetch: typeof fetch
  now: () => number
  /** Runs one refresh at a time over all tabs, since the refresh cookie rotates. */
  exclusively: <T>(work: () => Promise<T>) => Promise<T>
}

export class Session {
  readonly #parts: SessionParts
  readonly #listeners = new Set<() => void>()
  #state: SessionState = 'starting'
  #token = ''
  #endsMs = 0
  #refreshing: Promise<void> | null = null
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(parts: SessionParts) {
    this.#parts = parts
  }

  get state(): SessionState { return this.#state }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** @throws Refused with 401 for a wrong login or password, 403 without access, 429 after too many tries. */
  async login(login: string, password: string): Promise<void> {
    this.#take(await this.#post('/auth/login', { login, password }) as Tokens)
  }

  /** Ends in `active`, in `anonymous` (first load) or `expired` (the session was alive); throws Unreachable. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#parts.exclusively(() => this.#post('/auth/refresh', {}))
      .then(
        (tokens) => this.#take(tokens as Tokens),
        (error: unknown) => {
          if (!(error instanceof Refused) || error.status === 429 || error.status >= 500) throw error
          this.end()
        },
      )
      .finally(() => { this.#refreshing = null })
    return this.#refreshing
  }

  async logout(): Promise<void> {
    try {
      await this.#post('/auth/logout', {})
    } finally {
      this.#forget('anonymous')
    }
  }

  /** The server no longer knows this session. What the operator has typed stays on the screen. */
  end(): void {
    this.#forget(this.#state === 'active' || this.#state === 'expired' ? 'expired' : 'anonymous')
  }

  /** Does one call with the token; renews it before its end, and once more on 401. */
  async call(method: string, path: string, body?: unknown, extra: Record<string, string> = {}): Promise<unknown> {
    const used = await this.token()
    try {
      return await this.#request(method, path, body, extra)
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 401) throw error
      if (used === this.#token) await this.refresh()
      if (!this.#token) throw error
      return await this.#request(method, path, body, extra)
    }
  }

  /** A token that still holds; for what cannot go through `call`, an upload with its progress. */
  async token(): Promise<string> {
    if (this.#parts.now() > this.#endsMs - SPARE_SECONDS * 1000) await this.refresh()
    if (!this.#token) throw new Refused(401, 'session_ended', null, {})
    return this.#token
  }

  #take(tokens: Tokens): void {
    this.#token = tokens.access_token
    this.#endsMs = this.#parts.now() + tokens.expires_in * 1000
    clearTimeout(this.#timer)
    // A failed renewal here is not lost: the next call renews again and tells the operator.
    this.#timer = setTimeout(() => void this.refresh().catch(() => undefined), tokens.expires_in * 800)
    this.#turn('active')
  }

  #forget(state: SessionState): void {
    this.#token = ''
    this.#endsMs = 0
    clearTimeout(this.#timer)
    this.#turn(state)
  }

  #turn(state: SessionState): void {
    if (state === this.#state) return
    this.#state = state
    for (const listener of [...this.#listeners]) listener()
  }

  #post(path: string, body: unknown): Promise<unknown> {
    return this.#request('POST', path, body)
  }

  async #request(method: string, path: string, body?: unknown, extra: Record<string, string> = {}): Promise<unknown> {
    const headers: Record<string, string> = { Accept: 'application/json', ...extra }
    if (this.#token) headers['Authorization'] = `Bearer ${this.#token}`
    if (body !== undefined) headers['Content-Type'] = 'application/json'
    let answer: Response
    let text: string
    try {
      answer = await this.#parts.fetch(this.#parts.root + path, {
        method,
        headers,
        credentials: 'same-origin',
        cache: 'no-store',
        signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      text = await answer.text()
    } catch (error) {
      throw new Unreachable(`${method} ${path}`, { cause: error })
    }
    if (answer.ok) return parse(text)
    throw refusal(answer.status, text, answer.headers.get('Retry-After'))
  }
}

/** What an answer with an error says. */
export function refusal(status: number, text: string, retryAfter: string | null): Refused {
  const value = parse(text)
  const problem = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  const code = typeof problem['code'] === 'string' ? problem['code'] : `http_${status}`
  return new Refused(status, code, Number.parseInt(retryAfter ?? '', 10) || null, problem)
}

export function parse(text: string): unknown {
  try {
    return text ? JSON.parse(text) : null
  } catch {
    return null
  }
}
