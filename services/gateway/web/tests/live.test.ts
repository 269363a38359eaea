import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Api } from '../src/api'
import { Live } from '../src/live'
import { Loading } from '../src/loading'
import { Reading } from '../src/reading'
import { Sending } from '../src/sending'
import { Store } from '../src/store/store'
import type { LiveEvent } from '../src/wire'
import { boot, MemoryShelf, message, page, row, settle } from './fixtures'
import { FakeGateway, newSession, tokens } from './gateway'
import { Slip } from './slip'

let gateway: FakeGateway
let store: Store
let api: Api
let live: Live
let chat: string | null
let filled: number
let refused: number
let ids: number

beforeEach(async () => {
  vi.useFakeTimers()
  gateway = new FakeGateway()
    .on('POST', /refresh/, () => tokens('t'))
    .on('GET', /bootstrap/, () => ({ status: 200, body: boot() }))
    .on('GET', /conversations\?/, () => ({ status: 200, body: { items: [row('c', { mark_in_seq: 0 })], next_cursor: null } }))
    .on('GET', /conversations\/[^/?]+$/, (_body, path) => ({ status: 200, body: row(path.split('/')[2]!, { mark_in_seq: 1 }) }))
  store = new Store(new MemoryShelf(), (flush) => flush())
  const session = newSession(gateway)
  await session.refresh()
  api = new Api(session)
  chat = null
  filled = 0
  refused = 0
  ids = 0
  live = new Live({
    api, store, shown: () => ({ list: 'active', chat }), anchor: () => null, random: () => 0.5,
    onFilled: () => { filled += 1 }, onNoAccess: () => { refused += 1 }, onRevoked: () => undefined,
  })
})
afterEach(() => { vi.useRealTimers() })

const upsert = (id: string, rev: number, over = {}): LiveEvent => ({ type: 'conversation.upserted', data: row(id, { rev, ...over }) })
const counts = (red: number): LiveEvent => ({ type: 'counters.updated', data: { lists: {}, red, blue: 0 } })

async function flush(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0)
  await settle()
}

describe('a channel whose time to answer changed', () => {
  it('makes every row say anew until when', async () => {
    await live.fill()
    const channel = boot().channels[0]!
    live.take([{ type: 'channel.updated', data: { ...channel, connected: false } }], 11)
    await flush()
    expect(store.fills).toBe(1)
    const until = '2026-11-28T10:00:00Z'
    gateway.on('GET', /conversations\?/, () => ({ status: 200, body: { items: [row('c', { mark_in_seq: 0, window: { open: true, until } })], next_cursor: null } }))
    live.take([{ type: 'channel.updated', data: { ...channel, reply_window_hours: 168 } }], 12)
    await flush()
    expect(store.fills).toBe(2)
    expect(store.conversations.get('c')?.window?.until).toBe(until)
  })
})

describe('the first fill', () => {
  it('keeps what the socket brings meanwhile and applies it afterwards; older counters are dropped', async () => {
    const done = live.fill()
    live.take([upsert('c', 5, { title: 'Нове ім’я' }), counts(77)], 9)
    live.take([upsert('d', 1)], 11)
    expect(store.conversations.get('c')).toBeUndefined()
    await done
    expect(store.conversations.get('c')).toMatchObject({ rev: 5, title: 'Нове ім’я' })
    expect(store.conversations.list('active').ids).toHaveLength(2)
    expect(store.counters.red).toBe(1)
    live.take([counts(43)], 12)
    expect(store.counters.red).toBe(43)
  })

  it('is tried until the server answers, and loses no event', async () => {
    gateway.on('GET', /bootstrap/, () => 'lost')
    void live.fill()
    live.take([upsert('d', 1)], 11)
    await vi.advanceTimersByTimeAsync(5_000)
    expect(filled).toBe(0)
    gateway.on('GET', /bootstrap/, () => ({ status: 200, body: boot() }))
    await vi.advanceTimersByTimeAsync(15_000)
    expect(filled).toBe(1)
    expect(store.conversations.get('d')).toBeDefined()
  })

  it('ends at «no access» when the role sees no channel', async () => {
    gateway.on('GET', /bootstrap/, () => ({ status: 403, body: { code: 'no_access' } }))
    await live.fill()
    expect([filled, refused]).toEqual([0, 1])
  })

  it('of an earlier connection never overwrites the later one', async () => {
    const first = live.fill()
    const second = live.fill()
    await Promise.all([first, second])
    expect(filled).toBe(1)
    expect(store.fills).toBe(1)
  })
})

describe('a resync', () => {
  it('fetches again the pages of the list and the loaded messages of the open dialogue', async () => {
    const items = Array.from({ length: 120 }, (_, i) => message(i + 1))
    gateway.on('GET', /messages/, (_body, path) => {
      const before = /before=m(\d+)/.exec(path)
      const end = before ? Number(before[1]) - 1 : items.length
      return { status: 200, body: page(items.slice(Math.max(0, end - 50), end), end > 50) }
    })
    const pages = [['x9', 'x8'], ['x7', 'c'], ['b']].map((names) => names.map((id) => row(id)))
    gateway.on('GET', /conversations\?/, (_body, path) => {
      const at = Number(/cursor=(\d)/.exec(path)?.[1] ?? 0)
      return { status: 200, body: { items: pages[at], next_cursor: at < 2 ? String(at + 1) : null } }
    })
    await live.fill()
    const loading = new Loading(api, store)
    await loading.list('active')
    expect(store.conversations.list('active').ids).toHaveLength(4)
    chat = 'c'
    await loading.dialogue('c')
    await loading.older('c')
    expect(store.dialogues.get('c')?.items).toHaveLength(100)
    items[30] = message(31, { rev: 2, edited: true, text: 'виправлено' })
    items.push(message(121))
    await live.fill()
    const dialogue = store.dialogues.get('c')!
    expect(dialogue.items.at(-1)?.n).toBe(121)
    expect(dialogue.items.find((item) => item.n === 31)?.edited).toBe(true)
    expect(dialogue.items[0]!.n).toBeLessThanOrEqual(21)
    expect(store.conversations.list('active').ids).toHaveLength(4)
  })

  it('notices that the open chat is no longer allowed', async () => {
    chat = 'c'
    await live.fill()
    gateway.on('GET', /conversations\/c$/, () => ({ status: 404, body: { code: 'not_found' } }))
      .on('GET', /conversations\?/, () => ({ status: 200, body: { items: [], next_cursor: null } }))
    await live.fill()
    expect(store.conversations.get('c')).toBeUndefined()
    expect(filled).toBe(2)
  })
})

describe('a chat first met on the socket', () => {
  it('is asked once for what this operator has read', async () => {
    await live.fill()
    live.take([upsert('known', 1, { v: 1 })], 11)
    live.take([upsert('z', 4, { v: 4, in_seq: 3 }), upsert('z', 5, { v: 5, in_seq: 3 })], 12)
    await flush()
    expect(gateway.count(/conversations\/z$/)).toBe(1)
    expect(gateway.count(/conversations\/known$/)).toBe(0)
    expect(store.conversations.get('z')).toMatchObject({ rev: 5, unread: 2 })
  })
})

describe('opening a dialogue', () => {
  it('goes where reading stopped when the unread ones reach beyond the last page', async () => {
    gateway.on('GET', /conversations\?/, () => ({ status: 200, body: { items: [row('c', { in_seq: 90, mark_in_seq: 0, first_unread_id: 'm4' })], next_cursor: null } }))
    gateway.on('GET', /messages/, (_body, path) => ({ status: 200, body: path.includes('around=m4') ? page([message(4), message(5)], true, true) : page([message(90)], true) }))
    await live.fill()
    await new Loading(api, store).dialogue('c')
    expect(store.dialogues.get('c')).toMatchObject({ hasAfter: true, state: 'ready' })
    expect(store.dialogues.get('c')?.items[0]?.id).toBe('m4')
  })

  it('that does not exist says so', async () => {
    gateway.on('GET', /conversations\/none/, () => ({ status: 404, body: { code: 'not_found' } }))
    await new Loading(api, store).dialogue('none')
    expect(store.dialogues.get('none')?.state).toBe('error')
  })
})

describe('reading', () => {
  it('lowers the badge at once, tells the server the highest only, and tells it later when offline', async () => {
    gateway.on('GET', /conversations\?/, () => ({ status: 200, body: { items: [row('c', { in_seq: 3, mark_in_seq: 0 })], next_cursor: null } }))
    gateway.on('GET', /messages/, () => ({ status: 200, body: page([message(1), message(2), message(3)]) }))
    gateway.on('POST', /read/, () => 'lost')
    await live.fill()
    await new Loading(api, store).dialogue('c')
    const reading = new Reading(api, store)
    reading.seen('c', 1)
    reading.seen('c', 2)
    await flush()
    expect(store.conversations.get('c')?.unread).toBe(1)
    gateway.on('POST', /read/, () => ({ status: 200, body: { in_seq: 2 } }))
    reading.resume()
    await flush()
    expect(gateway.calls.at(-1)).toMatchObject({ path: '/conversations/c/read', body: { n: 2 } })
    const told = gateway.count(/read/)
    reading.seen('c', 1)
    await flush()
    expect(gateway.count(/read/)).toBe(told)
  })
})

describe('sending', () => {
  let sending: Sending
  beforeEach(async () => {
    await live.fill()
    store.own('me', Date.now(), 1)
    store.dialogues.open('c')
    store.dialogues.replace('c', page([message(1)]))
    sending = new Sending({ api, store, uploads: new Slip(store.signals).uploads, now: () => Date.now(), newId: () => `k${++ids}` })
  })
  const stored = (body: unknown) => {
    const { client_msg_id, text } = body as { client_msg_id: string; text: string }
    const n = 10 + Number(client_msg_id.slice(1))
    return { status: 202, body: message(n, { client_msg_id, text, direction: 'out', state: 'queued' }) }
  }

  it('shows the text before the server answers, and the same text once afterwards', async () => {
    gateway.on('POST', /messages/, stored)
    sending.write('c', 'Вітаю', 1)
    expect(store.outbox.of('c')).toMatchObject([{ text: 'Вітаю', state: 'sending' }])
    await flush()
    expect(store.outbox.of('c')).toEqual([])
    expect(store.dialogues.get('c')?.items.at(-1)).toMatchObject({ client_msg_id: 'k1', text: 'Вітаю' })
    expect(gateway.calls.at(-1)?.body).toEqual({ client_msg_id: 'k1', text: 'Вітаю', seen_n: 1 })
  })

  it('repeats a lost one with the same id, and later texts wait for it', async () => {
    gateway.on('POST', /messages/, () => 'lost')
    sending.write('c', 'перше', 1)
    sending.write('c', 'друге', 1)
    await flush()
    expect(gateway.count(/messages/), 'one send of a chat at a time').toBe(1)
    await vi.advanceTimersByTimeAsync(3_000)
    const sent = gateway.calls.filter((call) => call.path.includes('messages')).map((call) => (call.body as { client_msg_id: string }).client_msg_id)
    expect(new Set(sent)).toEqual(new Set(['k1']))
    gateway.on('POST', /messages/, stored)
    sending.resume()
    await flush()
    expect(store.outbox.all()).toEqual([])
    expect(store.dialogues.get('c')?.items.slice(-2).map((item) => item.text)).toEqual(['перше', 'друге'])
  })

  it('gives up after five minutes and lets the operator repeat', async () => {
    gateway.on('POST', /messages/, () => ({ status: 503, body: {} }))
    sending.write('c', 'текст', 1)
    await vi.advanceTimersByTimeAsync(6 * 60_000)
    expect(store.outbox.of('c')).toMatchObject([{ state: 'failed' }])
    gateway.on('POST', /messages/, stored)
    sending.again('k1')
    sending.again('k1')
    await flush()
    expect(store.dialogues.get('c')?.items.filter((item) => item.client_msg_id === 'k1')).toHaveLength(1)
  })

  it('asks when a colleague has answered, and forces only on demand', async () => {
    gateway.on('POST', /messages/, () => ({
      status: 409, body: { code: 'colleague_replied', messages: [message(2, { direction: 'out', author: { kind: 'operator', id: 'i', name: 'Іван' } })] },
    }))
    sending.write('c', 'текст', 1)
    await flush()
    expect(store.outbox.of('c')).toMatchObject([{ state: 'asking', unseen: [{ author: { name: 'Іван' } }] }])
    gateway.on('POST', /messages/, stored)
    sending.again('k1', true)
    await flush()
    expect(gateway.calls.at(-1)?.body).toMatchObject({ client_msg_id: 'k1', force: true })
    expect(store.outbox.all()).toEqual([])
  })

  it('says why the server refused and goes on with the next text', async () => {
    gateway.on('POST', /messages/, (body) => ((body as { text: string }).text === 'погане' ? { status: 409, body: { code: 'bot_blocked' } } : stored(body)))
    sending.write('c', 'погане', 1)
    sending.write('c', 'добре', 1)
    await flush()
    expect(store.outbox.of('c')).toMatchObject([{ text: 'погане', state: 'failed', code: 'bot_blocked' }])
    expect(store.dialogues.get('c')?.items.at(-1)?.text).toBe('добре')
    sending.discard('k1')
    expect(store.outbox.all()).toEqual([])
  })
})
