/** How a messenger measures what it accepts: a number and the unit it counts in, both from its connector. Pure. */
import type { Channel } from './wire'

export type TextUnit = 'utf16_units' | 'chars' | 'bytes'

export interface TextLimit {
  most: number
  unit: TextUnit
}

const encoder = new TextEncoder()

/** How long a text is for this messenger: «👋» is two UTF-16 units, one character or four bytes. */
export function lengthIn(unit: TextUnit, text: string): number {
  switch (unit) {
    case 'utf16_units': return text.length
    case 'chars': {
      let count = 0
      for (const _char of text) count += 1
      return count
    }
    case 'bytes': return encoder.encode(text).length
  }
}

/** The limit of a text in this channel, or of one under a file; null where nothing is known. */
export function textLimit({ limits, limit_units: units }: Channel, name: 'text' | 'caption' = 'text'): TextLimit | null {
  const most = limits?.[name]
  if (most === undefined) return null
  const unit = units?.[name]
  return { most, unit: unit === 'chars' || unit === 'bytes' ? unit : 'utf16_units' }
}

export function isOver(limit: TextLimit | null, text: string): boolean {
  return limit !== null && lengthIn(limit.unit, text) > limit.most
}
