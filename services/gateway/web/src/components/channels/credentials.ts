/** What a messenger wants to know of an account, by the schema its connector announces. Pure. */
import type { ChannelKind } from '../../wire'

type Values = Readonly<Record<string, string>>

/** Whether every field that must be filled is. */
export function filled(kind: ChannelKind, values: Values): boolean {
  const { properties = {}, required = [] } = kind.credentials_schema
  return required.every((name) => (values[name] ?? properties[name]?.default ?? '').trim() !== '')
}

/** What goes to the server: only fields of this kind, without the spaces a copied key brings along. */
export function given({ credentials_schema: { properties = {} } }: ChannelKind, values: Values): Record<string, string> {
  return Object.fromEntries(Object.entries(properties)
    .map(([name, field]) => [name, (values[name] ?? field.default ?? '').trim()] as const)
    .filter(([, value]) => value !== ''))
}
