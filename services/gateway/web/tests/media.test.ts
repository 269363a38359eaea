import { describe, expect, it } from 'vitest'
import { Media } from '../src/media'
import { Refused } from '../src/session'
import { albumOf, frameOf } from '../src/shapes'
import { Signals } from '../src/store/signals'
import { heightOf, timeline } from '../src/timeline'
import type { SignedAddress } from '../src/wire'
import { START, message, settle } from './fixtures'

const PATH = '/api/v1/media/a1/url'

function newMedia(answer: () => Promise<SignedAddress>) {
  const clock = { ms: START }
  const asked: string[] = []
  const media = new Media({ signed: (path) => { asked.push(path); return answer() } }, new Signals((flush) => flush()), () => clock.ms, 'http://host/chat/')
  return { media, asked, clock }
}

const tenMinutes = (clock: () => number) => Promise.resolve({ url: '/files/token/photo.jpg', expires_at: new Date(clock() + 600_000).toISOString() })

describe('signed addresses', () => {
  it('are asked for once, kept under the mount path, and renewed when they end', async () => {
    const { media, asked, clock } = newMedia(() => tenMinutes(() => clock.ms))
    media.want(PATH)
    media.want(PATH)
    await settle()
    expect(media.of(PATH)).toEqual({ state: 'ready', url: 'http://host/chat/files/token/photo.jpg' })
    media.want(PATH)
    expect(asked).toHaveLength(1)
    clock.ms += 595_000
    media.want(PATH)
    expect(asked).toHaveLength(2)
    await settle()
    clock.ms += 595_000
    expect(await media.fresh(PATH)).toContain('/files/token/')
    expect(asked).toHaveLength(3)
  })

  it('say that a file is gone, and try again after a passing error', async () => {
    let failure: unknown = new Refused(404, 'not_found', null, {})
    const { media, asked } = newMedia(() => Promise.reject(failure))
    media.want(PATH)
    await settle()
    expect(media.of(PATH).state).toBe('gone')
    media.want(PATH)
    await settle()
    expect(asked).toHaveLength(1)
    failure = new Refused(503, 'away', null, {})
    await media.fresh(PATH)
    expect(media.of(PATH).state).toBe('failed')
    media.want(PATH)
    expect(asked).toHaveLength(3)
  })

  it('are renewed when the browser cannot read an old one, and given up when it is fresh', async () => {
    const { media, asked, clock } = newMedia(() => tenMinutes(() => clock.ms))
    media.want(PATH)
    await settle()
    clock.ms += 700_000
    media.broken(PATH)
    await settle()
    expect(asked).toHaveLength(2)
    media.broken(PATH)
    expect(media.of(PATH).state).toBe('failed')
  })
})

describe('places of pictures', () => {
  it('keep the ratio inside the bounds, whatever comes', () => {
    expect(frameOf(4000, 3000)).toEqual({ width: 340, height: 255 })
    expect(frameOf(1000, 4000)).toEqual({ width: 96, height: 380 })
    expect(frameOf(50_000, 1)).toEqual({ width: 340, height: 96 })
    expect(frameOf(null, 0)).toEqual(frameOf(undefined, undefined))
    expect(albumOf(3)).toEqual({ columns: 2, height: 339 })
    expect(albumOf(9).columns).toBe(3)
  })

  it('make an album one row, cut only by the divider of what is new', () => {
    const photo = (n: number) => message(n, { kind: 'image', text: '', group_id: 'g', attachments: [{ id: `a${n}`, kind: 'image', state: 'ready', width: 100, height: 100 }] })
    const items = [message(1), photo(2), photo(3), photo(4), message(5)]
    const whole = timeline(items, [], null, false, 'me').filter((row) => row.type === 'message')
    expect(whole.map((row) => row.album?.map((part) => part.id) ?? row.message.id)).toEqual(['m1', ['m2', 'm3', 'm4'], 'm5'])
    const cut = timeline(items, [], 'm4', false, 'me')
    expect(cut.map((row) => (row.type === 'message' ? row.message.id : row.type))).toEqual(['day', 'm1', 'm2', 'unread', 'm4', 'm5'])
    expect(heightOf(whole[1])).toBeGreaterThan(heightOf(whole[0]) + 300)
  })
})
