import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Presenting } from '../src/presenting'
import { Store } from '../src/store/store'
import type { ClientFrame } from '../src/wire'
import { MemoryShelf, message } from './fixtures'

const svitlana = { id: 's', name: 'Світлана' }
const oleh = { id: 'o', name: 'Олег' }
let store: Store

beforeEach(() => {
  vi.useFakeTimers()
  store = new Store(new MemoryShelf(), (flush) => flush())
  store.presence.setMe('me')
})
afterEach(() => { vi.useRealTimers() })

describe('typing of colleagues', () => {
  it('lasts six seconds after the last signal', () => {
    store.apply({ type: 'typing', data: { conversation_id: 'c', user: svitlana, ttl_s: 6 } })
    vi.advanceTimersByTime(5_000)
    store.apply({ type: 'typing', data: { conversation_id: 'c', user: svitlana, ttl_s: 6 } })
    store.apply({ type: 'typing', data: { conversation_id: 'c', user: oleh, ttl_s: 6 } })
    vi.advanceTimersByTime(5_900)
    expect(store.presence.typing('c')).toEqual([svitlana, oleh])
    vi.advanceTimersByTime(200)
    expect(store.presence.typing('c')).toEqual([])
  })

  it('ends when the message comes, and is never shown for oneself', () => {
    store.apply({ type: 'typing', data: { conversation_id: 'c', user: svitlana, ttl_s: 6 } })
    store.apply({ type: 'typing', data: { conversation_id: 'c', user: { id: 'me', name: 'Я' }, ttl_s: 6 } })
    expect(store.presence.typing('c')).toEqual([svitlana])
    store.apply({ type: 'message.created', data: message(2, { direction: 'out', author: { kind: 'operator', ...svitlana } }) })
    expect(store.presence.typing('c')).toEqual([])
  })
})

describe('viewers', () => {
  it('are the colleagues, not oneself, and nobody without a connection', () => {
    store.apply({ type: 'presence', data: { conversation_id: 'c', viewers: [svitlana, { id: 'me', name: 'Я' }] } })
    expect(store.presence.viewers('c')).toEqual([svitlana])
    store.presence.clear()
    expect(store.presence.viewers('c')).toEqual([])
  })
})

describe('own signals', () => {
  it('go at most every three seconds and again after a send', () => {
    const told: ClientFrame[] = []
    const presenting = new Presenting((frame) => told.push(frame), () => Date.now())
    presenting.types('c')
    vi.advanceTimersByTime(2_900)
    presenting.types('c')
    expect(told).toEqual([{ type: 'typing', conversation_id: 'c' }])
    vi.advanceTimersByTime(200)
    presenting.types('c')
    presenting.rests('c')
    presenting.types('c')
    expect(told).toHaveLength(3)
  })

  it('tell where one looks once, and again to a new connection', () => {
    const told: ClientFrame[] = []
    const presenting = new Presenting((frame) => told.push(frame), () => Date.now())
    presenting.looks('c')
    presenting.looks('c')
    presenting.again()
    presenting.looks(null)
    expect(told).toEqual([
      { type: 'viewing', conversation_id: 'c' }, { type: 'viewing', conversation_id: 'c' }, { type: 'viewing', conversation_id: null },
    ])
  })
})
