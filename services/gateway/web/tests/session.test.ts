import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Refused, Unreachable } from '../src/session'
import { FakeGateway, newSession, tokens } from './gateway'

beforeEach(() => { vi.useFakeTimers() })
afterEach(() => { vi.useRealTimers() })

function alive(seconds = 600): FakeGateway {
  let given = 0
  return new FakeGateway()
    .on('POST', /refresh/, () => tokens(`t${++given}`, seconds))
    .on('GET', /thing/, () => ({ status: 200, body: { ok: true } }))
}

describe('the session', () => {
  it('is restored from the cookie, or asks to log in', async () => {
    const session = newSession(alive())
    await session.refresh()
    expect(session.state).toBe('active')
    const stranger = newSession(new FakeGateway().on('POST', /refresh/, () => ({ status: 401, body: { code: 'unauthorized' } })))
    await stranger.refresh()
    expect(stranger.state).toBe('anonymous')
  })

  it('renews once for many calls that meet 401 together, and repeats them', async () => {
    const gateway = alive()
    let valid = 't1'
    gateway.on('GET', /thing/, () => (gateway.calls.at(-1)?.token === `Bearer ${valid}` ? { status: 200, body: 1 } : { status: 401, body: {} }))
    const session = newSession(gateway)
    await session.refresh()
    valid = 't2'
    await expect(Promise.all([1, 2, 3, 4].map(() => session.call('GET', '/thing')))).resolves.toEqual([1, 1, 1, 1])
    expect(gateway.count(/refresh/)).toBe(2)
  })

  it('renews before the end, by itself and before a call', async () => {
    const gateway = alive(100)
    const session = newSession(gateway)
    await session.refresh()
    await vi.advanceTimersByTimeAsync(80_000)
    expect(gateway.count(/refresh/)).toBe(2)
    gateway.on('POST', /refresh/, () => 'lost')
    await vi.advanceTimersByTimeAsync(95_000)
    gateway.on('POST', /refresh/, () => tokens('later', 100))
    await session.call('GET', '/thing')
    expect(gateway.calls.at(-1)?.token).toBe('Bearer later')
  })

  it('expires without losing what is on the screen when the cookie is refused', async () => {
    const gateway = alive()
    const session = newSession(gateway)
    await session.refresh()
    gateway.on('GET', /thing/, () => ({ status: 401, body: {} })).on('POST', /refresh/, () => ({ status: 401, body: {} }))
    await expect(session.call('GET', '/thing')).rejects.toMatchObject({ status: 401 })
    expect(session.state).toBe('expired')
  })

  it('does not end because the server is away or busy', async () => {
    const gateway = alive()
    const session = newSession(gateway)
    await session.refresh()
    for (const answer of ['lost', { status: 503, body: {} }, { status: 429, body: {} }] as const) {
      gateway.on('POST', /refresh/, () => answer)
      await expect(session.refresh()).rejects.toThrow()
      expect(session.state).toBe('active')
    }
  })

  it('tells a refusal with its code and patience from no answer at all', async () => {
    const gateway = new FakeGateway()
      .on('POST', /login/, () => ({ status: 429, body: { code: 'rate_limited' }, headers: { 'Retry-After': '42' } }))
    const session = newSession(gateway)
    await expect(session.login('a', 'b')).rejects.toEqual(new Refused(429, 'rate_limited', 42, { code: 'rate_limited' }))
    gateway.on('POST', /login/, () => 'lost')
    await expect(session.login('a', 'b')).rejects.toBeInstanceOf(Unreachable)
  })

  it('forgets the token on logout even when the server is away', async () => {
    const gateway = alive().on('POST', /logout/, () => 'lost')
    const session = newSession(gateway)
    await session.refresh()
    await expect(session.logout()).rejects.toBeInstanceOf(Unreachable)
    expect(session.state).toBe('anonymous')
  })
})
