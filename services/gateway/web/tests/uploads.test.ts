import { beforeEach, describe, expect, it } from 'vitest'
import { Sending } from '../src/sending'
import { Refused, Unreachable } from '../src/session'
import { Store } from '../src/store/store'
import type { Api } from '../src/api'
import type { Message, SendBody } from '../src/wire'
import { boot, MemoryShelf, message, page, settle } from './fixtures'
import { file, Slip } from './slip'

const MB = 1024 * 1024
let shelf: MemoryShelf
let store: Store
let slip: Slip
let sending: Sending
let bodies: (SendBody & { force?: boolean })[]
let answer: (body: SendBody) => Promise<Message>

function open(): void {
  store = new Store(shelf, (flush) => flush())
  store.refill({ boot: boot(), list: { name: 'active', page: { items: [], next_cursor: null } }, open: null })
  store.own('me', Date.now(), 60_000)
  store.dialogues.open('c')
  store.dialogues.replace('c', page([message(1)]))
  slip = new Slip(store.signals)
  let ids = 0
  const api = { send: (_id: string, body: SendBody, force: boolean) => { bodies.push({ ...body, force }); return answer(body) } }
  sending = new Sending({ api: api as unknown as Api, store, uploads: slip.uploads, now: () => Date.now(), newId: () => `k${++ids}` })
}

beforeEach(() => {
  shelf = new MemoryShelf()
  bodies = []
  answer = (body) => Promise.resolve(message(5, { client_msg_id: body.client_msg_id, text: body.text, direction: 'out', state: 'queued' }))
  open()
})

describe('files in the composer', () => {
  it('are checked before a byte is sent', () => {
    const refused = slip.uploads.add('c', [file('добре.jpg'), file('велике.jpg', 'image/jpeg', 3 * MB), file('порожнє.txt', 'text/plain', 0)], { image: MB, file: 2 * MB }, null)
    expect(refused).toEqual([
      { name: 'велике.jpg', code: 'file_too_big', limit: 2 * MB, by: 'channel' },
      { name: 'порожнє.txt', code: 'empty' },
    ])
    expect(slip.sent.map((sent) => sent.file.name)).toEqual(['добре.jpg'])
  })

  it('are held to the smaller of the channel’s limit and the server’s', () => {
    const large = file('кіно.mp4', 'video/mp4', 3 * MB)
    expect(slip.uploads.add('c', [large], { file: 5 * MB }, null, 2 * MB)).toEqual([{ name: 'кіно.mp4', code: 'file_too_big', limit: 2 * MB, by: 'server' }])
    expect(slip.uploads.add('c', [large], {}, null, 2 * MB)).toEqual([{ name: 'кіно.mp4', code: 'file_too_big', limit: 2 * MB, by: 'server' }])
    expect(slip.uploads.add('c', [large], { file: 5 * MB }, null, 4 * MB)).toEqual([])
  })

  it('are refused when the channel takes no such kind, or no more of them', () => {
    expect(slip.uploads.add('c', [file('рух.mp4', 'video/mp4')], {}, ['text', 'image'])).toEqual([{ name: 'рух.mp4', code: 'unsupported_kind' }])
    const many = Array.from({ length: 12 }, (_, i) => file(`${i}.jpg`))
    expect(slip.uploads.add('c', many, { album: 10 }, null)).toHaveLength(2)
    expect(slip.uploads.tray('c')).toHaveLength(10)
  })

  it('go two at a time and tell how far they are', async () => {
    slip.uploads.add('c', [file('1.jpg'), file('2.jpg'), file('3.jpg')], {}, null)
    await settle()
    expect(slip.uploads.tray('c').map((task) => task.state)).toEqual(['uploading', 'uploading', 'waiting'])
    slip.sent[0]!.progress(0.5)
    expect(slip.uploads.tray('c')[0]).toMatchObject({ progress: 0.5, width: 400, preview: 'blob:1.jpg' })
    slip.sent[0]!.finish()
    await settle()
    expect(slip.uploads.tray('c').map((task) => task.state)).toEqual(['ready', 'uploading', 'uploading'])
  })

  it('can be cancelled, and a late answer does not bring them back', async () => {
    slip.uploads.add('c', [file('1.jpg')], {}, null)
    await settle()
    slip.uploads.cancel('f1')
    slip.sent[0]!.finish()
    await settle()
    expect(slip.sent[0]!.aborted).toBe(true)
    expect(slip.uploads.tray('c')).toEqual([])
    expect(slip.uploads.find('f1')).toBeUndefined()
    expect(slip.released).toEqual(['blob:1.jpg'])
  })

  it('say why they failed and go again, by hand or when the network is back', async () => {
    slip.uploads.add('c', [file('1.jpg'), file('2.jpg')], {}, null)
    slip.sent[0]!.fail(new Refused(413, 'too_large', null, { detail: 'Файл більший за 25 МБ.' }))
    slip.sent[1]!.fail(new Unreachable('net'))
    await settle()
    expect(slip.uploads.tray('c')).toMatchObject([{ state: 'failed', reason: 'Файл більший за 25 МБ.' }, { state: 'failed', code: 'unreachable' }])
    slip.uploads.resume()
    await settle()
    expect(slip.uploads.tray('c').map((task) => task.state)).toEqual(['failed', 'uploading'])
    slip.uploads.retry('f1')
    expect(slip.sent).toHaveLength(4)
  })
})

describe('a message with files', () => {
  it('stands at once, waits for its files, and lets later texts pass', async () => {
    slip.uploads.add('c', [file('1.jpg')], {}, null)
    await settle()
    sending.write('c', 'підпис', 1)
    sending.write('c', 'ще текст', 1)
    await settle()
    expect(store.outbox.of('c')).toMatchObject([{ text: 'підпис', state: 'uploading', files: [{ name: '1.jpg', width: 400 }] }])
    expect(slip.uploads.tray('c')).toEqual([])
    expect(bodies.map((body) => body.text)).toEqual(['ще текст'])
    slip.sent[0]!.finish()
    await settle()
    expect(bodies.at(-1)).toMatchObject({ client_msg_id: 'k1', text: 'підпис', attachments: ['up-1.jpg'] })
    expect(store.outbox.all()).toEqual([])
    expect(slip.uploads.preview('k1', 0), 'until the thumbnail comes').toBe('blob:1.jpg')
  })

  it('fails when a file does, and goes with the same id when it was repeated', async () => {
    slip.uploads.add('c', [file('1.jpg')], {}, null)
    sending.write('c', '', 1)
    slip.sent[0]!.fail(new Refused(415, 'unsupported_kind', null, {}))
    await settle()
    expect(store.outbox.of('c')).toMatchObject([{ state: 'failed', code: 'unsupported_kind' }])
    sending.again('k1')
    slip.sent[1]!.finish()
    await settle()
    expect(bodies).toMatchObject([{ client_msg_id: 'k1', attachments: ['up-1.jpg'] }])
  })

  it('loses one file without the others, and goes back into the draft with the last', async () => {
    slip.uploads.add('c', [file('1.jpg'), file('2.jpg')], {}, null)
    sending.write('c', '', 1)
    sending.dropFile('k1', 'f1')
    slip.sent[1]!.finish()
    await settle()
    expect(bodies).toMatchObject([{ attachments: ['up-2.jpg'] }])
    slip.uploads.add('c', [file('3.jpg')], {}, null)
    sending.write('c', 'підпис', 1)
    sending.dropFile('k2', 'f3')
    await settle()
    expect(store.outbox.all()).toEqual([])
    expect(store.drafts.get('c')).toBe('підпис')
    expect(bodies).toHaveLength(1)
  })

  it('comes back into the composer with its files when a colleague was quicker', async () => {
    answer = () => Promise.reject(new Refused(409, 'colleague_replied', null, { messages: [message(2, { author: { kind: 'operator', name: 'Іван' } })] }))
    slip.uploads.add('c', [file('1.jpg')], {}, null)
    slip.sent[0]!.finish()
    sending.write('c', 'підпис', 1)
    await settle()
    expect(store.outbox.of('c')).toMatchObject([{ state: 'asking', unseen: [{ author: { name: 'Іван' } }] }])
    expect(sending.takeBack('k1')).toBe('підпис')
    expect(slip.uploads.tray('c')).toMatchObject([{ name: '1.jpg', state: 'ready' }])
  })

  it('says after a reload that its files are gone, unless the server already had them', async () => {
    slip.uploads.add('c', [file('1.jpg')], {}, null)
    sending.write('c', 'лишився текст', 1)
    answer = () => new Promise(() => undefined)
    slip.uploads.add('c', [file('2.jpg')], {}, null)
    slip.sent[1]!.finish()
    await settle()
    sending.write('c', 'вже на сервері', 1)
    await settle()
    open()
    expect(store.outbox.all()).toMatchObject([
      { text: 'лишився текст', state: 'lost' },
      { text: 'вже на сервері', state: 'sending', attachments: ['up-2.jpg'] },
    ])
  })

  it('leaves the files in the composer when a note is written', async () => {
    slip.uploads.add('c', [file('1.jpg')], {}, null)
    sending.write('c', 'для своїх', 1, { note: true })
    await settle()
    expect(bodies).toMatchObject([{ text: 'для своїх', note: true }])
    expect(slip.uploads.tray('c')).toHaveLength(1)
  })
})
