/** A channel's settings as they stand in the form, and what of them has changed. Pure. */
import type { ChannelButton, ChannelChange, ChannelDetails, ChannelSettings } from '../../wire'

/** More would not fit a phone's screen; the server takes twenty. */
export const MOST_BUTTONS = 10

export interface Draft {
  title: string
  /** Names of roles with commas between them; empty: the usual ones. */
  roles: string
  welcome: string
  buttons: readonly ChannelButton[]
  humanAgent: boolean
}

export function drawn({ title, settings }: ChannelDetails): Draft {
  return { title, roles: settings.roles?.join(', ') ?? '', welcome: settings.welcome.text, buttons: settings.welcome.buttons, humanAgent: settings.human_agent }
}

/** A button that does something and says nothing. */
export function halfFilled({ buttons }: Draft): boolean {
  return buttons.some(({ text, value }) => text.trim() === '' && value.trim() !== '')
}

/** Only what is different from how it is: a colleague's change of something else stays. */
export function changesOf(channel: ChannelDetails, draft: Draft): ChannelChange {
  const { settings } = channel
  const title = draft.title.trim()
  const roles = rolesOf(draft.roles)
  const welcome = { text: draft.welcome.trim(), buttons: draft.buttons.flatMap(asked) }
  const changed: Partial<ChannelSettings> = {
    ...(same(roles, settings.roles) ? {} : { roles }),
    ...(same(welcome, { text: settings.welcome.text, buttons: settings.welcome.buttons.map(({ text, value }) => ({ text, value })) }) ? {} : { welcome }),
    ...(draft.humanAgent === settings.human_agent ? {} : { human_agent: draft.humanAgent }),
  }
  return { ...(title === channel.title ? {} : { title }), ...(Object.keys(changed).length > 0 ? { settings: changed } : {}) }
}

function rolesOf(text: string): string[] | null {
  const roles = [...new Set(text.split(/[,;\s]+/).filter(Boolean))]
  return roles.length > 0 ? roles : null
}

/** A button without an answer of its own says its own words; an empty row is no button. */
function asked({ text, value }: ChannelButton): ChannelButton[] {
  const words = text.trim()
  return words ? [{ text: words, value: value.trim() || words }] : []
}

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
