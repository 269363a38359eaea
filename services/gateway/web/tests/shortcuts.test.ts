import { describe, expect, it } from 'vitest'
import { deedOf, KeyChoice } from '../src/shortcuts'
import { MemoryShelf } from './fixtures'

const pressed = (over: Partial<KeyboardEvent>) => ({ key: '', code: '', altKey: false, ctrlKey: false, metaKey: false, shiftKey: false, ...over })

describe('keys', () => {
  it('go by the place of a letter: «о» of a Ukrainian layout is J', () => {
    expect(deedOf(pressed({ key: 'о', code: 'KeyJ', altKey: true }), true, true)).toBe('next')
  })

  it('leave single characters to the text that is being written', () => {
    expect(deedOf(pressed({ key: '?', code: 'Slash', shiftKey: true }), true, true)).toBeNull()
    expect(deedOf(pressed({ key: '?', code: 'Digit7', shiftKey: true }), false, true)).toBe('help')
    expect(deedOf(pressed({ key: 'Escape', code: 'Escape' }), true, true)).toBeNull()
  })

  it('are no business of ours with Ctrl, nor AltGr, which types letters', () => {
    expect(deedOf(pressed({ key: 'e', code: 'KeyE', altKey: true, ctrlKey: true }), false, true)).toBeNull()
    expect(deedOf(pressed({ key: 'k', code: 'KeyK', ctrlKey: true }), false, true)).toBeNull()
  })

  it('with letters can be switched off, and that is remembered; F6 and the list of keys stay', () => {
    const shelf = new MemoryShelf()
    new KeyChoice(shelf).letters = false
    const { letters } = new KeyChoice(shelf)
    expect(letters).toBe(false)
    expect(deedOf(pressed({ code: 'KeyJ', altKey: true }), false, letters)).toBeNull()
    expect(deedOf(pressed({ key: '?', shiftKey: true }), false, letters)).toBeNull()
    expect(deedOf(pressed({ key: '.', code: 'Slash', ctrlKey: true }), true, letters)).toBe('help')
    expect(deedOf(pressed({ key: 'F6', shiftKey: true }), true, letters)).toBe('regionBack')
  })
})
