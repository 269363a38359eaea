/** Which key does what: by its place on the keyboard, since a Ukrainian layout has other letters there. Pure. */
import type { Shelf } from './store/outbox'

export type KeyDeed = 'next' | 'previous' | 'unread' | 'close' | 'wait' | 'help' | 'region' | 'regionBack' | 'back'

type Pressed = Pick<KeyboardEvent, 'key' | 'code' | 'altKey' | 'ctrlKey' | 'metaKey' | 'shiftKey'>

const ALT: Record<string, KeyDeed> = { KeyJ: 'next', KeyK: 'previous', KeyU: 'unread', KeyE: 'close', KeyW: 'wait' }

/**
 * What a pressed key asks for; null for all that is no business of the window's.
 *
 * @param typing whether a text is being written: then a single character is only that character.
 * @param letters whether the keys with letters are on; the others cannot be switched off, they disturb nobody.
 */
export function deedOf(event: Pressed, typing: boolean, letters: boolean): KeyDeed | null {
  const { altKey, ctrlKey, metaKey, shiftKey } = event
  if (event.key === 'F6' && !altKey && !ctrlKey && !metaKey) return shiftKey ? 'regionBack' : 'region'
  if (event.key === 'Escape' && !typing) return 'back'
  if ((ctrlKey || metaKey) && !altKey && !shiftKey && event.code === 'Slash') return 'help'
  if (!letters || ctrlKey || metaKey) return null
  if (!altKey && !typing && event.key === '?') return 'help'
  return altKey && !shiftKey ? (ALT[event.code] ?? null) : null
}

const KEY = 'rozmova.keys'

/** Whoever drives the computer by voice needs the letter keys off; kept in this browser. */
export class KeyChoice {
  readonly #shelf: Pick<Shelf, 'getItem' | 'setItem' | 'removeItem'>

  constructor(shelf: Pick<Shelf, 'getItem' | 'setItem' | 'removeItem'>) {
    this.#shelf = shelf
  }

  get letters(): boolean {
    return this.#shelf.getItem(KEY) !== 'off'
  }

  set letters(on: boolean) {
    if (on) this.#shelf.removeItem(KEY)
    else this.#shelf.setItem(KEY, 'off')
  }
}
