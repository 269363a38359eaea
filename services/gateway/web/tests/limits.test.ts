import { describe, expect, it } from 'vitest'
import { isOver, lengthIn, textLimit } from '../src/limits'
import type { Channel } from '../src/wire'

const channel = (over: Partial<Channel>): Channel => ({ id: 'ch', kind: 'any', title: 'Бот', ...over })

describe('the length of a text is the messenger’s, not ours', () => {
  it('counts a hand as two units, one character, four bytes', () => {
    expect([lengthIn('utf16_units', '👋'), lengthIn('chars', '👋'), lengthIn('bytes', '👋')]).toEqual([2, 1, 4])
    expect([lengthIn('utf16_units', 'її'), lengthIn('chars', 'її'), lengthIn('bytes', 'її')]).toEqual([2, 2, 4])
  })

  it('takes limit and unit from the channel', () => {
    const viber = channel({ limits: { text: 7000 }, limit_units: { text: 'chars' } })
    expect(textLimit(viber)).toEqual({ most: 7000, unit: 'chars' })
    expect(isOver(textLimit(viber), '👋'.repeat(7000))).toBe(false)
    expect(isOver(textLimit(viber), '👋'.repeat(7001))).toBe(true)
  })

  it('measures what stands under a file by the caption, with the caption’s own unit', () => {
    const both = channel({ limits: { text: 4096, caption: 768 }, limit_units: { text: 'utf16_units', caption: 'chars' } })
    expect(textLimit(both, 'caption')).toEqual({ most: 768, unit: 'chars' })
    expect(isOver(textLimit(channel({ limits: { text: 4096 } }), 'caption'), 'a'.repeat(9000))).toBe(false)
  })

  it('limits nothing where nothing is known, and counts units where no unit is told', () => {
    expect(textLimit(channel({}))).toBeNull()
    expect(textLimit(channel({ limits: { text: 10 } }))).toEqual({ most: 10, unit: 'utf16_units' })
  })
})
