import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Api } from '../src/api'
import { Deeds } from '../src/deeds'
import { Refused } from '../src/session'
import { Store } from '../src/store/store'
import { boot, MemoryShelf, row } from './fixtures'

let store: Store
let calls: unknown[][]
let answer: (action: string) => Promise<unknown>
let deeds: Deeds

beforeEach(() => {
  vi.useFakeTimers()
  store = new Store(new MemoryShelf(), (flush) => flush())
  store.refill({ boot: boot(), list: { name: 'active', page: { items: [row('c', { v: 4, rev: 4 })], next_cursor: null } }, open: null })
  calls = []
  answer = () => Promise.resolve(row('c', { v: 5, rev: 5, status: 'closed', box: 'done' }))
  const api = {
    act: (id: string, v: number, action: string, body: unknown) => { calls.push([id, v, action, body]); return answer(action) },
    conversation: (id: string) => { calls.push(['get', id]); return Promise.resolve(row('c', { v: 9, rev: 9, assignee: { id: 'i', name: 'Іван' } })) },
  }
  deeds = new Deeds({ api: api as unknown as Api, store, onUnread: () => undefined })
})
afterEach(() => { vi.useRealTimers() })

describe('closing', () => {
  it('names the version it saw and offers to undo for five seconds', async () => {
    expect(await deeds.close(store.conversations.get('c')!)).toBe(true)
    expect(calls).toEqual([['c', 4, 'status', { status: 'closed' }]])
    expect(store.conversations.get('c')?.status).toBe('closed')
    const undo = store.notices.shown[0]?.action
    expect(undo?.label).toBe('Скасувати')
    undo?.run()
    expect(calls.at(-1)).toEqual(['c', 5, 'status', { status: 'open' }])
    await vi.advanceTimersByTimeAsync(5_000)
    expect(store.notices.shown).toEqual([])
  })
})

it('undoing puts a chat that was waiting back on hold', async () => {
  answer = () => Promise.resolve(row('c', { v: 5, rev: 5, status: 'waiting', box: 'waiting' }))
  await deeds.wait(store.conversations.get('c')!)
  answer = () => Promise.resolve(row('c', { v: 6, rev: 6, status: 'closed', box: 'done' }))
  await deeds.close(store.conversations.get('c')!)
  answer = () => Promise.resolve(row('c', { v: 7, rev: 7 }))
  store.notices.shown.find((notice) => notice.action)?.action?.run()
  await vi.advanceTimersByTimeAsync(0)
  expect(calls.slice(2)).toEqual([['c', 6, 'status', { status: 'open' }], ['c', 7, 'status', { status: 'waiting' }]])
})

describe('a refusal', () => {
  it('is told in the server\'s words, and the window shows how it is now', async () => {
    answer = () => Promise.reject(new Refused(409, 'claimed_by_other', null, { detail: 'Чат уже веде Іван.', claimed_at: '2026-11-21T12:05:00Z' }))
    expect(await deeds.claim(store.conversations.get('c')!)).toBe(false)
    expect(store.notices.shown).toMatchObject([{ text: 'Чат уже веде Іван. Так із 14:05.', tone: 'trouble' }])
    expect(store.conversations.get('c')?.assignee?.name).toBe('Іван')
  })

  it('that carries the row needs no asking', async () => {
    answer = () => Promise.reject(new Refused(409, 'changed', null, { detail: 'Змінилося.', current: row('c', { v: 8, rev: 8, box: 'waiting', status: 'waiting' }) }))
    await deeds.wait(store.conversations.get('c')!)
    expect(store.conversations.get('c')?.status).toBe('waiting')
    expect(calls).toHaveLength(1)
  })
})

it('a second click while the first is under way is no second deed', async () => {
  const known = store.conversations.get('c')!
  await Promise.all([deeds.claim(known), deeds.claim(known)])
  expect(calls).toHaveLength(1)
})
