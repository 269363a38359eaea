import { describe, expect, it } from 'vitest'
import { byPosition, firstUnread, readUpTo } from '../src/store/dialogues'
import { Store } from '../src/store/store'
import { LIST_NAMES, type Box, type ConversationRow, type LiveEvent } from '../src/wire'
import { at, boot, MemoryShelf, message, page, row, seeded } from './fixtures'

function newStore(): Store {
  const store = new Store(new MemoryShelf(), (flush) => flush())
  store.conversations.setMe('me')
  return store
}

function filled(rows: ConversationRow[], next: string | null = null): Store {
  const store = newStore()
  store.refill({ boot: boot(), list: { name: 'active', page: { items: rows, next_cursor: next } }, open: null })
  return store
}

describe('lists', () => {
  it('keep the order, the membership and the unread of a plain model under 10,000 random events', () => {
    const random = seeded(7)
    const pick = (count: number) => Math.floor(random() * count)
    const store = newStore()
    for (const name of LIST_NAMES) store.conversations.addPage(name, { items: [], next_cursor: null })
    const model = new Map<string, ConversationRow>()
    const marks = new Map<string, number>()
    const boxes: Box[] = ['new', 'active', 'bot', 'waiting', 'done']
    const history: LiveEvent[] = []
    for (let i = 0; i < 10_000; i++) {
      const id = `c${pick(300)}`
      if (random() < 0.1 && history.length > 0) {
        // A repeat of something old must change nothing.
        store.apply(history[pick(history.length)]!)
        continue
      }
      if (random() < 0.1 && model.has(id)) {
        const in_seq = pick(model.get(id)!.in_seq + 1)
        marks.set(id, Math.max(marks.get(id) ?? 0, in_seq))
        store.apply({ type: 'read.updated', data: { conversation_id: id, in_seq } })
        continue
      }
      const old = model.get(id)
      const box = boxes[pick(boxes.length)]!
      const in_seq = (old?.in_seq ?? 0) + pick(3)
      const next = row(id, {
        rev: (old?.rev ?? 0) + 1, v: (old?.v ?? 0) + 1, box, in_seq, answered_seq: pick(in_seq + 1), activity_at: at(i % 977),
        handler: box === 'bot' ? 'bot' : 'operator', status: box === 'done' ? 'closed' : box === 'waiting' ? 'waiting' : 'open',
        assignee: random() < 0.4 ? { id: 'me', name: 'Олена' } : null,
      })
      model.set(id, next)
      const event: LiveEvent = { type: 'conversation.upserted', data: next }
      history.push(event)
      store.apply(event)
    }
    for (const name of LIST_NAMES) {
      const expected = [...model.values()]
        .filter((known) => store.conversations.belongs(name, known))
        .sort((a, b) => Date.parse(b.activity_at) - Date.parse(a.activity_at) || (a.id < b.id ? 1 : -1))
        .map((known) => known.id)
      expect(store.conversations.list(name).ids).toEqual(expected)
    }
    for (const known of model.values()) {
      const counted = known.handler === 'operator' && known.status !== 'closed'
      const unread = counted ? Math.max(0, known.in_seq - Math.max(marks.get(known.id) ?? 0, known.answered_seq)) : 0
      expect(store.conversations.get(known.id)?.unread).toBe(unread)
    }
  })

  it('put a row of the socket only where the pages loaded so far reach', () => {
    const store = filled([row('a', { activity_at: at(100) }), row('b', { activity_at: at(50) })], 'next')
    store.apply({ type: 'conversation.upserted', data: row('old', { activity_at: at(10) }) })
    expect(store.conversations.list('active').ids).toEqual(['a', 'b'])
    store.apply({ type: 'conversation.upserted', data: row('mid', { activity_at: at(70) }) })
    expect(store.conversations.list('active').ids).toEqual(['a', 'mid', 'b'])
    store.conversations.addPage('active', { items: [row('c', { activity_at: at(5) })], next_cursor: null })
    expect(store.conversations.list('active').ids).toEqual(['a', 'mid', 'b', 'old', 'c'])
  })

  it('drop a chat that was closed and forget one that is no longer allowed', () => {
    const store = filled([row('a'), row('b')])
    store.apply({ type: 'conversation.upserted', data: row('a', { rev: 2, box: 'done', status: 'closed' }) })
    expect(store.conversations.list('active').ids).toEqual(['b'])
    store.apply({ type: 'conversation.removed', data: { id: 'b' } })
    expect(store.conversations.list('active').ids).toEqual([])
    expect(store.conversations.get('b')).toBeUndefined()
  })

  it('leave other lists unloaded until they are asked for', () => {
    const store = filled([row('a')])
    store.apply({ type: 'conversation.upserted', data: row('n', { box: 'new' }) })
    expect(store.conversations.list('new')).toMatchObject({ ids: [], state: 'idle' })
    store.conversations.addPage('new', { items: [], next_cursor: null })
    expect(store.conversations.list('new').ids).toEqual(['n'])
  })
})

describe('unread', () => {
  it('is in_seq less the larger of mark and answer', () => {
    const store = filled([row('a', { in_seq: 7, answered_seq: 2, mark_in_seq: 4 })])
    expect(store.conversations.get('a')?.unread).toBe(3)
    store.conversations.mark('a', 6)
    expect(store.conversations.get('a')?.unread).toBe(1)
    store.apply({ type: 'read.updated', data: { conversation_id: 'a', in_seq: 5 } })
    expect(store.conversations.get('a')?.unread).toBe(1)
    store.apply({ type: 'conversation.upserted', data: row('a', { rev: 2, in_seq: 8, answered_seq: 8 }) })
    expect(store.conversations.get('a')?.unread).toBe(0)
  })

  it('is nothing for a bot dialogue and a closed one', () => {
    const store = filled([row('b', { handler: 'bot', box: 'bot', in_seq: 5, mark_in_seq: 0 }), row('c', { status: 'closed', box: 'done', in_seq: 5, mark_in_seq: 0 })])
    expect(store.conversations.get('b')?.unread).toBe(0)
    expect(store.conversations.get('c')?.unread).toBe(0)
  })

  it('learns a mark from REST even when the row itself is older than the one known', () => {
    const store = newStore()
    store.apply({ type: 'conversation.upserted', data: row('a', { rev: 9, v: 9, in_seq: 5 }) })
    expect(store.conversations.knowsMark('a')).toBe(false)
    store.conversations.upsert(row('a', { rev: 8, in_seq: 4, mark_in_seq: 4 }))
    expect(store.conversations.get('a')).toMatchObject({ rev: 9, in_seq: 5, unread: 1 })
  })

  it('knows that a chat in its first commit was never read', () => {
    const store = newStore()
    store.apply({ type: 'conversation.upserted', data: row('a', { v: 1 }) })
    expect(store.conversations.knowsMark('a')).toBe(true)
    expect(store.conversations.get('a')?.unread).toBe(1)
  })

  it('begins at the oldest of the last unread messages', () => {
    const ours = { direction: 'out', in_seq: 1 } as const
    const items = [message(1), message(2, ours), message(3, { in_seq: 2 }), message(4, { direction: 'system', in_seq: 2 }), message(5, { in_seq: 3 })]
    expect(firstUnread(items, { unread: 2, in_seq: 3 })?.id).toBe('m3')
    expect(firstUnread(items, { unread: 3, in_seq: 3 })?.id).toBe('m1')
    expect(firstUnread(items.slice(1), { unread: 3, in_seq: 3 })).toBeNull()
    expect(firstUnread(items, { unread: 0, in_seq: 3 })).toBeNull()
    // The row may know of a message that is still on its way.
    expect(firstUnread(items, { unread: 3, in_seq: 4 })?.id).toBe('m3')
  })

  it('never takes history that comes later for new', () => {
    const history = (n: number, over = {}) => message(n, { in_seq: 2, pos_at: at(n - 1000), request_id: '', ...over })
    const items = [message(1), message(2), history(3), history(4, { direction: 'out' }), history(5)].sort(byPosition)
    expect(firstUnread(items, { unread: 2, in_seq: 2 })?.id).toBe('m1')
    expect(firstUnread(items, { unread: 1, in_seq: 2 })?.id).toBe('m2')
    const fresh = [history(1, { in_seq: 0 }), history(2, { in_seq: 0 })]
    expect(firstUnread(fresh, { unread: 0, in_seq: 0 })).toBeNull()
    // Seen above unread messages, it reads none of them.
    expect(readUpTo(items, items.findIndex(({ id }) => id === 'm5'))).toBe(0)
  })

  it('shows a chat that is nothing but history in «Завершені», with its messages in order', () => {
    const store = newStore()
    store.conversations.addPage('done', { items: [], next_cursor: null })
    store.dialogues.open('c')
    store.dialogues.replace('c', page([]))
    const history = { in_seq: 0, request_id: '', state: 'read' } as const
    const old = row('c', { status: 'closed', box: 'done', in_seq: 0, request: null, window: { open: false, until: null, code: 'window_closed' } })
    store.apply({ type: 'conversation.upserted', data: old })
    for (const n of [3, 1, 2]) store.apply({ type: 'message.created', data: message(n, { ...history, pos_at: at(n - 9000) }) })
    expect(store.conversations.list('done').ids).toEqual(['c'])
    expect(store.conversations.get('c')?.unread).toBe(0)
    expect(store.dialogues.get('c')?.items.map(({ id }) => id)).toEqual(['m1', 'm2', 'm3'])
  })

  it('never takes the part of a great history it is told of for all of it', () => {
    const store = newStore()
    store.dialogues.replace('c', page([message(1), message(2)]))
    const history = (n: number, seconds: number) => message(n, { in_seq: 2, request_id: '', pos_at: at(seconds) })
    for (const one of [history(3, -90), history(4, -80), history(5, -500)]) store.apply({ type: 'message.created', data: one })
    expect(store.dialogues.get('c')).toMatchObject({ hasBefore: true })
    // What lies further back is fetched as a page: there may be a hole before it.
    expect(store.dialogues.get('c')?.items.map(({ id }) => id)).toEqual(['m3', 'm4', 'm1', 'm2'])
  })

  it('closes the time to answer without a new revision, and opens it only with one', () => {
    const store = newStore()
    const until = at(60)
    store.conversations.upsert(row('a', { rev: 4, window: { open: true, until } }))
    store.conversations.upsert(row('a', { rev: 4, window: { open: false, until, code: 'window_closed' } }))
    expect(store.conversations.get('a')?.window).toMatchObject({ open: false, until })
    store.conversations.upsert(row('a', { rev: 4, window: { open: true, until } }))
    expect(store.conversations.get('a')?.window?.open).toBe(false)
    store.conversations.upsert(row('a', { rev: 5, window: { open: true, until: at(90_000) } }))
    expect(store.conversations.get('a')?.window?.open).toBe(true)
  })

  it('never marks as read what stands below the message that was seen', () => {
    const late = message(9, { pos_at: at(1) })
    const items = [message(1, { pos_at: at(0) }), late, message(5), message(6)].sort(byPosition)
    expect(readUpTo(items, items.indexOf(late))).toBe(1)
    expect(readUpTo(items, 3)).toBe(9)
  })
})

describe('dialogues', () => {
  it('stay in order and without repeats under random arrivals, edits and pages', () => {
    const random = seeded(21)
    const all = Array.from({ length: 400 }, (_, i) => message(i + 1, { pos_at: at(Math.floor(i / 2)) }))
    const store = newStore()
    store.dialogues.open('c')
    store.dialogues.replace('c', page(all.slice(200, 250), true))
    const revs = new Map<string, number>()
    for (let i = 0; i < 3_000; i++) {
      const known = all[Math.floor(random() * all.length)]!
      const rev = 1 + Math.floor(random() * 5)
      store.apply({ type: 'message.updated', data: { ...known, rev, text: `${known.id} ${rev}` } })
      if (store.dialogues.get('c')?.items.some((item) => item.id === known.id)) {
        revs.set(known.id, Math.max(revs.get(known.id) ?? 1, rev))
      }
      if (i % 500 === 499) {
        const first = store.dialogues.get('c')!.items[0]!
        const end = all.findIndex((item) => item.id === first.id)
        store.dialogues.prepend('c', page(all.slice(Math.max(0, end - 50), end), end > 50))
      }
      const now = store.dialogues.get('c')!.items
      expect(now.every((item, k) => k === 0 || byPosition(now[k - 1]!, item) < 0)).toBe(true)
    }
    for (const item of store.dialogues.get('c')!.items) if (revs.has(item.id)) expect(item.rev).toBe(revs.get(item.id))
    const items = store.dialogues.get('c')!.items
    const first = all.findIndex((item) => item.id === items[0]!.id)
    // Gapless from the oldest loaded one to the newest that came.
    expect(items.map((item) => item.id)).toEqual(all.slice(first, first + items.length).map((item) => item.id))
  })

  it('ignore what lies outside the loaded window on a side that is not loaded', () => {
    const store = newStore()
    store.dialogues.open('c')
    store.dialogues.replace('c', page([message(10), message(11)], true, true))
    store.apply({ type: 'message.created', data: message(5) })
    store.apply({ type: 'message.created', data: message(30) })
    expect(store.dialogues.get('c')?.items.map((item) => item.n)).toEqual([10, 11])
  })

  it('keep what the socket brought while the page was on its way', () => {
    const store = newStore()
    store.dialogues.open('c')
    store.apply({ type: 'message.created', data: message(3) })
    store.apply({ type: 'message.updated', data: message(2, { rev: 4, text: 'нове' }) })
    store.dialogues.replace('c', page([message(1), message(2)]))
    expect(store.dialogues.get('c')?.items.map((item) => [item.n, item.rev])).toEqual([[1, 1], [2, 4], [3, 1]])
  })

  it('forget the longest unused beyond twenty, never drafts or the outbox', () => {
    const store = newStore()
    store.own('me', 0, 1)
    store.drafts.set('c0', 'чернетка')
    for (let i = 0; i < 25; i++) store.dialogues.open(`c${i}`)
    store.dialogues.open('c5')
    expect(store.dialogues.get('c0')).toBeUndefined()
    expect(store.dialogues.get('c5')).toBeDefined()
    expect(store.drafts.get('c0')).toBe('чернетка')
  })

  it('drop an echo that turned out to be an answer of ours, and never take it in again', () => {
    const store = newStore()
    store.dialogues.open('c')
    store.dialogues.replace('c', page([message(1), message(2, { direction: 'out' }), message(3, { direction: 'out' })]))
    const gone = message(3, { direction: 'out', deleted: true, replaced_by: 'm2', rev: 2 })
    for (let time = 0; time < 2; time++) store.apply({ type: 'message.updated', data: gone })
    expect(store.dialogues.get('c')?.items.map((known) => known.id)).toEqual(['m1', 'm2'])
  })
})

describe('a resync', () => {
  it('replaces rows, counters and the open dialogue, and keeps marks, drafts and outbox', () => {
    const store = filled([row('a', { in_seq: 5, mark_in_seq: 3 }), row('gone')])
    store.own('me', 0, 1)
    store.drafts.set('a', 'чернетка')
    store.outbox.put({ client_msg_id: 'k', conversation_id: 'a', text: 'т', seen_n: 0, created_ms: 1, state: 'sending' })
    store.conversations.addPage('new', { items: [row('n', { box: 'new' })], next_cursor: null })
    store.dialogues.open('a')
    store.dialogues.open('other')
    const generation = store.dialogues.get('a')!.generation
    store.refill({
      boot: boot({ counters: { lists: { active: 9 }, red: 9, blue: 9 } }),
      list: { name: 'active', page: { items: [row('a', { rev: 2, in_seq: 6 })], next_cursor: null } },
      open: { id: 'a', row: row('a', { rev: 2, in_seq: 6 }), messages: page([message(1, { conversation_id: 'a' })]) },
    })
    expect(store.conversations.list('active').ids).toEqual(['a'])
    expect(store.conversations.list('new').state).toBe('idle')
    expect(store.conversations.get('gone')).toBeUndefined()
    expect(store.conversations.get('a')).toMatchObject({ in_seq: 6, unread: 3 })
    expect(store.counters.red).toBe(9)
    expect(store.dialogues.get('a')!.generation).toBeGreaterThan(generation)
    expect(store.dialogues.get('other')).toBeUndefined()
    expect(store.drafts.get('a')).toBe('чернетка')
    expect(store.outbox.of('a')).toHaveLength(1)
  })
})

describe('the outbox', () => {
  it('is emptied by the message itself, whichever way it comes first', () => {
    const store = newStore()
    store.own('me', 0, 1)
    store.outbox.put({ client_msg_id: 'k', conversation_id: 'c', text: 'т', seen_n: 0, created_ms: 1, state: 'sending' })
    store.apply({ type: 'message.created', data: message(1, { client_msg_id: 'k', direction: 'out' }) })
    expect(store.outbox.of('c')).toEqual([])
  })

  it('survives a reload; what is old asks first', () => {
    const shelf = new MemoryShelf()
    const store = new Store(shelf, (flush) => flush())
    store.own('me', 1_000, 500)
    store.outbox.put({ client_msg_id: 'new', conversation_id: 'c', text: 'т', seen_n: 0, created_ms: 900, state: 'sending' })
    store.outbox.put({ client_msg_id: 'old', conversation_id: 'c', text: 'т', seen_n: 0, created_ms: 100, state: 'sending' })
    shelf.setItem('rozmova.outbox.me.bad', '{')
    const again = new Store(shelf, (flush) => flush())
    again.own('me', 1_000, 500)
    expect(again.outbox.of('c').map((pending) => [pending.client_msg_id, pending.state])).toEqual([['old', 'held'], ['new', 'sending']])
    again.own('someone', 1_000, 500)
    expect(again.outbox.all()).toEqual([])
  })
})

describe('signals', () => {
  it('tell each watcher once per frame, however much changed', () => {
    const frames: (() => void)[] = []
    const store = new Store(new MemoryShelf(), (flush) => frames.push(flush))
    store.conversations.setMe('me')
    let told = 0
    store.signals.subscribe('c:a', () => { told += 1 })
    for (let rev = 1; rev <= 1_000; rev++) store.apply({ type: 'conversation.upserted', data: row('a', { rev }) })
    expect(frames).toHaveLength(1)
    frames[0]!()
    expect(told).toBe(1)
  })
})

describe('events newer than this window', () => {
  it('are passed over', () => {
    const store = filled([row('a')])
    store.apply({ type: 'note.created', data: {} } as unknown as LiveEvent)
    expect(store.conversations.list('active').ids).toEqual(['a'])
  })
})


describe('the name of a messenger', () => {
  it('is what its connector says, also for a channel that is gone, and else our own word or its kind', () => {
    const store = newStore()
    const channels = [{ id: 'ch', kind: 'pigeon_mail', kind_title: 'Голубина пошта', title: 'Дах' }]
    store.refill({ boot: boot({ channels }), list: { name: 'active', page: { items: [], next_cursor: null } }, open: null })
    expect(store.kindTitle('pigeon_mail', 'ch')).toBe('Голубина пошта')
    expect(store.kindTitle('pigeon_mail', 'removed')).toBe('Голубина пошта')
    expect(store.kindTitle('viber_bot', 'removed')).toBe('Viber-бот')
    expect(store.kindTitle('smoke_signals')).toBe('smoke_signals')
  })
})
