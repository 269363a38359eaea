import { describe, expect, it } from 'vitest'
import { filled, given } from '../src/components/channels/credentials'
import { changesOf, drawn, halfFilled } from '../src/components/channels/settings'
import type { ChannelDetails, ChannelKind } from '../src/wire'

const kind: ChannelKind = {
  kind: 'any', title: 'Будь-який', available: true,
  credentials_schema: { required: ['token', 'region'], properties: { token: { writeOnly: true }, region: { default: 'eu', enum: ['eu', 'us'] }, note: {} } },
}

describe('credentials of any messenger', () => {
  it('are complete when the required ones are, defaults included', () => {
    expect(filled(kind, {})).toBe(false)
    expect(filled(kind, { token: '   ' })).toBe(false)
    expect(filled(kind, { token: 'a' })).toBe(true)
    expect(filled(kind, { token: 'a', region: '' })).toBe(false)
  })

  it('go without spaces, without empty fields and without those of another messenger', () => {
    expect(given(kind, { token: ' a\n', note: ' ', page_id: '5' })).toEqual({ token: 'a', region: 'eu' })
  })
})

const channel: ChannelDetails = {
  id: 'ch', kind: 'any', title: 'Мавка', state: 'active', account_name: null, credentials_hint: null, webhook_url: null, created_at: '', rev: 1,
  settings: { roles: ['admin', 'reception'], welcome: { text: 'Вітаємо!', buttons: [{ text: 'Так', value: 'Так' }] }, human_agent: false },
}

describe('settings of a channel', () => {
  it('change nothing that was not changed', () => {
    expect(changesOf(channel, drawn(channel))).toEqual({})
    expect(changesOf(channel, { ...drawn(channel), title: ' Мавка ', roles: 'admin,reception' })).toEqual({})
  })

  it('name only what is different', () => {
    expect(changesOf(channel, { ...drawn(channel), title: 'Калина' })).toEqual({ title: 'Калина' })
    expect(changesOf(channel, { ...drawn(channel), roles: 'admin; admin' })).toEqual({ settings: { roles: ['admin'] } })
    expect(changesOf(channel, { ...drawn(channel), roles: ' ' })).toEqual({ settings: { roles: null } })
    expect(changesOf(channel, { ...drawn(channel), humanAgent: true })).toEqual({ settings: { human_agent: true } })
  })

  it('give a button without an answer its own words, and drop an empty row', () => {
    const draft = { ...drawn(channel), buttons: [{ text: ' Ціни ', value: '' }, { text: '', value: ' ' }, { text: 'Сайт', value: 'https://a.ua' }] }
    expect(changesOf(channel, draft)).toEqual({
      settings: { welcome: { text: 'Вітаємо!', buttons: [{ text: 'Ціни', value: 'Ціни' }, { text: 'Сайт', value: 'https://a.ua' }] } },
    })
    expect(halfFilled(draft)).toBe(false)
    expect(halfFilled({ ...draft, buttons: [{ text: '', value: 'щось' }] })).toBe(true)
  })
})
