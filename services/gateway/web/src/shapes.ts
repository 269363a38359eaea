/** How large a picture stands in the dialogue: known from its measures before a byte of it has come. Pure. */
import type { Message } from './wire'

export interface Shape {
  width: number
  height: number
}

const MOST: Shape = { width: 340, height: 380 }
const LEAST = 96
const UNKNOWN: Shape = { width: 300, height: 220 }

/** The frame in CSS pixels: the picture's own ratio, inside our bounds; without measures a usual one. */
export function frameOf(width: number | null | undefined, height: number | null | undefined, most: Shape = MOST): Shape {
  if (!width || !height || width <= 0 || height <= 0) return UNKNOWN
  const scale = Math.min(1, most.width / width, most.height / height)
  return { width: Math.round(Math.max(LEAST, width * scale)), height: Math.round(Math.max(LEAST, height * scale)) }
}

const BLIND: Shape = { width: 260, height: 150 }

/** What is only pointed at: the story that was answered stands small above the answer. */
const POINTED: Shape = { width: 150, height: 190 }
/** Upright, as stories are. */
const STORY: Shape = { width: 107, height: 190 }

/** A video without a picture of it needs no large empty place. */
export function placeOf(file: { kind: string; width?: number | null; height?: number | null; thumb_url?: string | null }, pointed = false): Shape {
  if (pointed) return file.width && file.height ? frameOf(file.width, file.height, POINTED) : STORY
  return file.kind === 'video' && !file.thumb_url ? BLIND : frameOf(file.width, file.height)
}

/** Whether a message's picture is that of the story it answers. */
export function isPointed({ shared_link }: Pick<Message, 'shared_link'>): boolean {
  return shared_link?.kind === 'story_reply'
}

const CELL = 168
const GAP = 3

/** The grid of an album: columns and its whole height. */
export function albumOf(count: number): { columns: number; height: number } {
  const columns = count > 4 ? 3 : 2
  const cell = columns === 3 ? 118 : CELL
  const rows = Math.ceil(count / columns)
  return { columns, height: rows * cell + (rows - 1) * GAP }
}

/** Where a file's row stands in the dialogue before it is measured. */
export const FILE_PX = 60
export const PLAYER_PX = 52
export const PLACE_PX = 150
export const CARD_PX = 64
export const LINK_PX = 48
export const REACTIONS_PX = 25
