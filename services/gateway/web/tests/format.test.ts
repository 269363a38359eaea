import { describe, expect, it } from 'vitest'
import { badge, counter, dayKey, dayTitle, initials, inSentence, oneLine, phoneNumber, pieces, rowTime, safeLink, timeOfDay, wordsOf } from '../src/format'
import { languageName, plural, uk } from '../src/i18n'
import { formatRoute, parseRoute } from '../src/route'
import type { Pending } from '../src/store/outbox'
import { timeline } from '../src/timeline'
import { LIST_NAMES } from '../src/wire'
import { at, message, START } from './fixtures'

const NOW = Date.parse('2026-11-21T10:00:00Z')

describe('times', () => {
  it('are Kyiv time, over the change of clocks too', () => {
    expect(timeOfDay(Date.parse('2026-11-21T10:00:00Z'))).toBe('12:00')
    expect(timeOfDay(Date.parse('2026-07-21T10:00:00Z'))).toBe('13:00')
    expect(timeOfDay(Date.parse('2026-11-20T22:05:00Z'))).toBe('00:05')
    expect(dayKey(Date.parse('2026-11-20T22:05:00Z'))).toBe('2026-11-21')
  })

  it('are short in a row', () => {
    expect(rowTime(NOW, NOW)).toBe('12:00')
    expect(rowTime(Date.parse('2026-11-03T10:00:00Z'), NOW)).toBe('03.11')
    expect(rowTime(Date.parse('2025-11-03T10:00:00Z'), NOW)).toBe('03.11.25')
  })

  it('stand in a sentence', () => {
    expect(inSentence(NOW, NOW)).toBe('сьогодні о 12:00')
    expect(inSentence(Date.parse('2026-11-20T09:30:00Z'), NOW)).toBe('вчора об 11:30')
    expect(inSentence(Date.parse('2026-11-03T10:00:00Z'), NOW)).toBe('3 листопада о 12:00')
  })

  it('name the day in a separator', () => {
    expect(dayTitle(NOW, NOW)).toBe('Сьогодні')
    expect(dayTitle(Date.parse('2026-11-20T10:00:00Z'), NOW)).toBe('Вчора')
    expect(dayTitle(Date.parse('2026-11-03T10:00:00Z'), NOW)).toBe('3 листопада')
    expect(dayTitle(Date.parse('2025-11-03T10:00:00Z'), NOW)).toContain('2025')
  })
})

describe('phones', () => {
  const cases: [string, string][] = [
    ['+380671234567', '067 123 45 67'],
    ['+48601234567', '+48 601 234 567'],
    ['+12025550143', '+1 202 555 0143'],
    ['+37360123456', '+373 601 234 56'],
    ['+4915123456789', '+49 151 234 567 89'],
    ['+77012345678', '+7 701 234 5678'],
    ['+380', '+380'],
    ['067 123-45-67', '067 123-45-67'],
    ['+0671234567', '+0671234567'],
  ]
  it.each(cases)('%s reads %s', (phone, shown) => {
    expect(phoneNumber(phone)).toBe(shown)
    expect(phoneNumber(phone).replace(/\D/g, '')).toBe(shown.replace(/\D/g, ''))
  })
})

describe('words', () => {
  it('take the Ukrainian plural', () => {
    const forms = { one: 'чат', few: 'чати', many: 'чатів' }
    expect([1, 2, 5, 11, 21, 22, 111].map((count) => plural(count, forms)))
      .toEqual(['1 чат', '2 чати', '5 чатів', '11 чатів', '21 чат', '22 чати', '111 чатів'])
    expect(uk.list.unread(3)).toBe('3 нові повідомлення')
  })

  it('name every list', () => {
    expect(LIST_NAMES.map((name) => uk.lists[name])).toEqual(['Активні', 'Мої', 'Нові', 'З ботом', 'Завершені', 'В очікуванні'])
  })

  it('give a reason for any failure', () => {
    expect(uk.failure('window_closed')).toContain('минув')
    expect(uk.failure('something_new')).not.toBe('')
    expect(uk.failure(undefined)).not.toBe('')
  })

  it('name languages and what is left', () => {
    expect([languageName('uk'), languageName('en_US'), languageName('???')]).toEqual(['українська', 'англійська (Сполучені Штати)', '???'])
    expect([200, 180, 20, 0].map(uk.composer.windowLeft)).toEqual(
      ['3 год 20 хв', '3 год', '20 хв', 'менше хвилини'].map((left) => `Можна відповідати ще ${left}`))
  })

  it('shorten names and counts', () => {
    expect([initials('Олена Коваль'), initials('(Марко)'), initials('🌸 Квіти'), initials('  '), initials('ґанна')]).toEqual(['ОК', 'М', '🌸К', '?', 'Ґ'])
    expect([badge(99), badge(100), counter(1000), counter(undefined)]).toEqual(['99', '99+', '999+', ''])
    expect(oneLine(' а\n\n б ')).toBe('а б')
  })
})

describe('links', () => {
  const cases: [string, string[]][] = [
    ['https://a.ua', ['https://a.ua']],
    ['див. https://a.ua/x?y=1.', ['https://a.ua/x?y=1']],
    ['(https://a.ua/x)', ['https://a.ua/x']],
    ['https://a.ua/x_(y)', ['https://a.ua/x_(y)']],
    ['<a href="https://a.ua">', ['https://a.ua']],
    ['javascript:alert(1) data:text/html,x ftp://a', []],
    ['https://', []],
    ['https://a.ua\nhttp://b.ua!', ['https://a.ua', 'http://b.ua']],
  ]
  it.each(cases)('in %j', (text, links) => {
    expect(pieces(text).flatMap((piece) => piece.href ?? [])).toEqual(links)
    expect(pieces(text).map((piece) => piece.text).join('')).toBe(text)
  })
})

describe('a message in a line', () => {
  it('is its words, else what it points at, else its kind', () => {
    const story = { kind: 'story_reply', title: null, url: null } as const
    expect(wordsOf({ kind: 'image', text: ' а  скільки? ', shared_link: story })).toBe('а скільки?')
    expect(wordsOf({ kind: 'image', text: '', shared_link: story })).toBe('Відповідь на вашу історію')
    expect(wordsOf({ kind: 'text', text: '', shared_link: { kind: 'post', title: 'Нова стрижка', url: null } })).toBe('Нова стрижка')
    expect(wordsOf({ kind: 'image', text: '', shared_link: null })).toBe('Фото')
  })
})

describe('an address from outside', () => {
  it('is opened only by http, and shows where it leads', () => {
    expect(safeLink('https://www.instagram.com/stories/mavka/1')).toEqual({ href: 'https://www.instagram.com/stories/mavka/1', host: 'instagram.com' })
    expect(safeLink('http://bank.ua@evil.example:8080/x')?.host).toBe('evil.example:8080')
    for (const bad of ['javascript:alert(1)', 'data:text/html,x', ' /reel/123/', 'ftp://a.ua', '', null, undefined]) expect(safeLink(bad)).toBeNull()
  })
})

describe('the address', () => {
  it('goes there and back, whatever the id', () => {
    for (const chat of [null, 'c1', 'a/b c?#%', 'ї']) expect(parseRoute(formatRoute({ list: 'bot', chat }))).toEqual({ list: 'bot', chat })
  })

  it('falls back to the first list', () => {
    for (const hash of ['', '#', '#/nonsense', '#/active/c/', '#/active/c/%E0%A4%A']) expect(parseRoute(hash)).toEqual({ list: 'active', chat: null })
  })
})

describe('the timeline', () => {
  const pending: Pending = { client_msg_id: 'k', conversation_id: 'c', text: 'т', seen_n: 0, created_ms: START + 90_000, state: 'sending' }
  const mine = (n: number, over = {}) => message(n, { direction: 'out', author: { kind: 'operator', id: 'me' }, ...over })

  it('groups an author within five minutes and parts days', () => {
    const rows = timeline([message(1), message(2), mine(3), message(4, { pos_at: at(400) }), message(5, { pos_at: at(86_400) })], [], null, false, 'me')
    expect(rows.map((row) => (row.type === 'message' ? `${row.message.n}${row.first ? 'f' : ''}${row.last ? 'l' : ''}` : row.type)))
      .toEqual(['day', '1f', '2l', '3fl', '4fl', 'day', '5fl'])
  })

  it('puts the divider before its message, also after older ones were prepended', () => {
    const rows = timeline([message(1), message(2), message(3)], [], 'm2', true, 'me')
    expect(rows.map((row) => row.type)).toEqual(['message', 'unread', 'message', 'message'])
    expect(timeline([message(0), message(1), message(2)], [], 'm2', true, 'me').map((row) => row.type)).toEqual(['message', 'message', 'unread', 'message'])
  })

  it('gives a text one key from the first paint to the server’s answer', () => {
    const before = timeline([message(1)], [pending], null, false, 'me').at(-1)
    const after = timeline([message(1), mine(2, { client_msg_id: 'k' })], [], null, false, 'me').at(-1)
    const both = timeline([message(1), mine(2, { client_msg_id: 'k' })], [pending], null, false, 'me')
    expect([before?.key, after?.key]).toEqual(['k', 'k'])
    expect(both.filter((row) => row.key === 'k')).toHaveLength(1)
  })

  it('never repeats a key, even for a text held since yesterday', () => {
    const held = { ...pending, created_ms: START - 86_400_000 }
    const rows = timeline([message(1, { pos_at: at(-86_400) }), message(2)], [held], null, false, 'me')
    expect(new Set(rows.map((row) => row.key)).size).toBe(rows.length)
    expect(rows.at(-1)?.type).toBe('pending')
  })

  it('joins a text on its way to one’s own message above', () => {
    const rows = timeline([mine(1, { pos_at: at(60) })], [pending], null, false, 'me')
    expect(rows.slice(1)).toMatchObject([{ first: true, last: false }, { first: false, last: true }])
  })
})
