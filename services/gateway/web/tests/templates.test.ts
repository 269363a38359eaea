import { readFileSync } from 'node:fs'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Api } from '../src/api'
import { Sending } from '../src/sending'
import { Refused } from '../src/session'
import { Store } from '../src/store/store'
import { cleanValue, emptyPlaces, findTemplates, piecesOf, templateText } from '../src/template-text'
import type { Message, MessageTemplate, SendBody } from '../src/wire'
import { at, boot, MemoryShelf, message, row, settle } from './fixtures'
import { Slip } from './slip'

interface Table {
  templates: Record<string, MessageTemplate>
  cases: { case: string; template: string; values: Record<string, string>; text?: string; place?: string | null }[]
}

// The server's own table: what is shown before sending and what is sent must be the same words.
const table = JSON.parse(readFileSync(new URL('../../../../tests/fixtures/gateway/templates.json', import.meta.url), 'utf8')) as Table
const { plain, numbered, named, picture } = table.templates as Record<'plain' | 'numbered' | 'named' | 'picture', MessageTemplate>

describe('a template', () => {
  it.each(table.cases.filter((one) => one.text !== undefined && !/ {2}/.test(one.text)))('reads as the server makes it: $case', ({ template, values, text }) => {
    expect(templateText(table.templates[template]!, values)).toBe(text)
    expect(emptyPlaces(table.templates[template]!, values)).toEqual([])
  })

  it('asks for what is left to fill in', () => {
    expect(emptyPlaces(numbered, { 'body.1': 'Ірино', 'header.1': ' \t ' }).map(({ key }) => key)).toEqual(['header.1', 'body.2'])
  })

  it('never holds in a value what the messenger refuses', () => {
    for (const { values } of table.cases) {
      for (const value of Object.values(values)) expect(cleanValue(value)).not.toMatch(/[\n\r\t\u2028]| {2}|^ | $/)
    }
  })

  it('shows places nobody has filled in, also one that comes twice', () => {
    expect(piecesOf(numbered, 'body').map(({ text, place }) => place?.key ?? text))
      .toEqual(['Вітаємо, ', 'body.1', '! Чекаємо на вас ', 'body.2', '. До зустрічі, ', 'body.1', '!'])
    expect(piecesOf(named, 'header')).toEqual([])
  })

  it('is found by its name, language or words; those that cannot be sent stand last', () => {
    const all = [picture, plain, numbered, named]
    expect(findTemplates(all, '').map(({ name }) => name)).toEqual([plain, numbered, named, picture].map(({ name }) => name))
    expect(findTemplates(all, 'ORDER ready')).toEqual([named])
    expect(findTemplates(all, 'вітаємо')).toEqual([numbered])
    expect(findTemplates(all, 'uk фото')).toEqual([picture])
    expect(findTemplates(all, 'немає такого')).toEqual([])
  })
})

let store: Store
let sending: Sending
let slip: Slip
let bodies: SendBody[]
let answer: (body: SendBody) => Promise<Message>

beforeEach(() => {
  store = new Store(new MemoryShelf(), (flush) => flush())
  store.refill({ boot: boot(), list: { name: 'active', page: { items: [row('c', { window: { open: true, until: at(60) } })], next_cursor: null } }, open: null })
  store.own('me', Date.now(), 60_000)
  slip = new Slip(store.signals)
  bodies = []
  answer = (body) => Promise.resolve(message(7, { direction: 'out', client_msg_id: body.client_msg_id }))
  let ids = 0
  const api = { send: (_id: string, body: SendBody) => { bodies.push(body); return answer(body) } }
  sending = new Sending({ api: api as unknown as Api, store, uploads: slip.uploads, now: () => Date.now(), newId: () => `k${++ids}` })
})

describe('sending', () => {
  const template = { name: 'order_ready', language: 'uk', values: { 'body.name': 'Марку' } }

  it('orders a template by name and values, and paints its words meanwhile', async () => {
    slip.uploads.add('c', [new File(['x'], 'прайс.pdf')], {}, null)
    sending.write('c', 'Готове, Марку.', 3, { template })
    expect(store.outbox.of('c')).toMatchObject([{ text: 'Готове, Марку.', template, state: 'sending' }])
    await settle()
    expect(bodies).toEqual([{ client_msg_id: 'k1', text: '', seen_n: 3, template }])
    expect(store.outbox.of('c')).toEqual([])
    expect(slip.uploads.tray('c'), 'a file in the composer waits for its own answer').toHaveLength(1)
  })

  it('keeps the words, in order, when the time to answer ended meanwhile', async () => {
    answer = () => Promise.reject(new Refused(409, 'window_closed', null, { code: 'window_closed', detail: 'Час минув.' }))
    sending.write('c', 'перше', 3)
    sending.write('c', 'друге', 3)
    store.drafts.set('c', 'недописане')
    await settle()
    expect(store.drafts.get('c')).toBe('перше\nдруге\nнедописане')
    expect(store.outbox.of('c')).toEqual([])
    expect(store.conversations.get('c')?.window).toMatchObject({ open: false, until: at(60), code: 'window_closed' })
    expect(bodies).toHaveLength(1)
    expect(store.notices.shown.map(({ text }) => text).join()).toContain('чернетці')
  })

  it('lets a note pass when the time to answer ended', async () => {
    answer = (body) => (body.note
      ? Promise.resolve(message(7, { direction: 'note', client_msg_id: body.client_msg_id }))
      : Promise.reject(new Refused(409, 'window_closed', null, {})))
    sending.write('c', 'для клієнта', 3)
    sending.write('c', 'для колег', 3, { note: true })
    await settle()
    expect(bodies.map(({ note }) => note)).toEqual([undefined, true])
    expect(store.drafts.get('c')).toBe('для клієнта')
    expect(store.outbox.of('c')).toEqual([])
  })

  it('shows a refused template as any answer that did not go', async () => {
    answer = () => Promise.reject(new Refused(422, 'unknown_template', null, { detail: 'Такого шаблону немає.' }))
    sending.write('c', 'Готове, Марку.', 3, { template })
    await settle()
    expect(store.outbox.of('c')).toMatchObject([{ state: 'failed', code: 'unknown_template', reason: 'Такого шаблону немає.' }])
    answer = (body) => Promise.resolve(message(7, { direction: 'out', client_msg_id: body.client_msg_id }))
    sending.again('k1')
    await settle()
    expect(store.outbox.of('c')).toEqual([])
    expect(bodies.map(({ client_msg_id }) => client_msg_id)).toEqual(['k1', 'k1'])
    expect(bodies[1]?.template).toEqual(template)
  })
})
