import { describe, expect, it } from 'vitest'
import { isLong, replyTime } from '../src/reply-time'
import { at, START } from './fixtures'

const HOUR = 3600
const open = (seconds: number) => ({ open: true, until: at(seconds) })

describe('the time to answer', () => {
  it('is always there where no messenger ends it', () => {
    for (const window of [undefined, { open: true }, { open: true, until: null }]) {
      expect(replyTime(window, null, START)).toEqual({ closed: false, until_ms: null, left_ms: null, is_short: false, next_ms: null })
    }
  })

  it('ends by the clock, though the server has not said so yet', () => {
    expect(replyTime(open(1), 24, START)).toMatchObject({ closed: false, left_ms: 1000, next_ms: 1000 })
    expect(replyTime(open(1), 24, START + 1000)).toEqual({ closed: true, until_ms: START + 1000, left_ms: null, is_short: false, next_ms: null })
  })

  it('ends by the server’s word, though our clock is late', () => {
    expect(replyTime({ open: false, until: at(-HOUR), code: 'window_closed' }, 24, START)).toMatchObject({ closed: true, until_ms: START - HOUR * 1000 })
    // Nobody may read «минув завтра»: what was counted before was wrong.
    expect(replyTime({ open: false, until: at(HOUR), code: 'window_closed' }, 24, START)).toMatchObject({ closed: true, until_ms: null })
    expect(replyTime({ open: false }, 24, START)).toMatchObject({ closed: true, until_ms: null })
  })

  it('is counted in its last four hours, of a week in its last day', () => {
    expect(replyTime(open(5 * HOUR), 24, START)).toMatchObject({ left_ms: null, next_ms: HOUR * 1000 })
    expect(replyTime(open(4 * HOUR), 24, START)).toMatchObject({ left_ms: 4 * HOUR * 1000, next_ms: 60_000 })
    expect(replyTime(open(20 * HOUR), 168, START)).toMatchObject({ left_ms: 20 * HOUR * 1000 })
    expect(replyTime(open(30 * HOUR), 168, START)).toMatchObject({ left_ms: null, next_ms: 6 * HOUR * 1000 })
  })

  it('is short in its last two hours, of a week in its last day', () => {
    const cases: [number, number, boolean][] = [[3 * HOUR, 24, false], [2 * HOUR, 24, true], [25 * HOUR, 168, false], [24 * HOUR, 168, true], [60, 168, true]]
    for (const [left, hours, short] of cases) expect(replyTime(open(left), hours, START).is_short).toBe(short)
    expect(isLong(24)).toBe(false)
    expect(isLong(168)).toBe(true)
  })

  it('reads otherwise at the full minute', () => {
    expect(replyTime(open(90), null, START).next_ms).toBe(30_000)
    expect(replyTime(open(120), null, START).next_ms).toBe(60_000)
  })
})
