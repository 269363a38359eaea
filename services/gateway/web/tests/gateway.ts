/** A gateway at the level of HTTP, for Session and everything above it. */
import { Session } from '../src/session'

type Handler = (body: unknown, path: string) => { status: number; body?: unknown; headers?: Record<string, string> } | 'lost' | Promise<never>

export class FakeGateway {
  readonly calls: { method: string; path: string; body: unknown; token: string | null }[] = []
  readonly #handlers: [string, RegExp, Handler][] = []

  on(method: string, path: RegExp, handler: Handler): this {
    this.#handlers.unshift([method, path, handler])
    return this
  }

  count(path: RegExp): number {
    return this.calls.filter((call) => path.test(call.path)).length
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const path = String(input).replace('http://gw', '')
    const method = init?.method ?? 'GET'
    const body: unknown = typeof init?.body === 'string' ? JSON.parse(init.body) : undefined
    const token = new Headers(init?.headers).get('Authorization')
    this.calls.push({ method, path, body, token })
    const found = this.#handlers.find(([verb, pattern]) => verb === method && pattern.test(path))
    if (!found) throw new Error(`The test has no answer for ${method} ${path}: add one with on()`)
    const answer = await found[2](body, path)
    if (answer === 'lost') throw new TypeError('network')
    return new Response(answer.body === undefined ? null : JSON.stringify(answer.body), {
      status: answer.status, ...(answer.headers ? { headers: answer.headers } : {}),
    })
  }
}

export function tokens(name: string, seconds = 600): { status: number; body: unknown } {
  return { status: 200, body: { access_token: name, expires_in: seconds } }
}

export function newSession(gateway: FakeGateway, now: () => number = () => Date.now()): Session {
  return new Session({ root: 'http://gw', fetch: gateway.fetch, now, exclusively: (work) => work() })
}
