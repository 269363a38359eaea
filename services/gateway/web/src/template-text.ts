/** A template with its places filled in, as the client will read it; the server keeps the same rules. Pure. */
import type { MessageTemplate, TemplatePlace } from './wire'

export const VALUE_MAX_CHARS = 1024

/** A piece of a template's text; `place` for what stands in braces. */
export interface TemplatePiece {
  text: string
  place: TemplatePlace | null
}

export type TemplateValues = Readonly<Record<string, string>>

const MARK = /\{\{\s*([\p{L}\p{N}_]+)\s*\}\}/gu

/** The messenger refuses line breaks, tabs and long gaps inside a value, and nobody means them. */
export function cleanValue(value: string): string {
  return value.replace(/\s+/g, ' ').trim()
}

/** What must still be filled in. */
export function emptyPlaces(template: MessageTemplate, values: TemplateValues): TemplatePlace[] {
  return template.places.filter(({ key }) => !cleanValue(values[key] ?? ''))
}

/** The words around the places of one part, and the places between them. */
export function piecesOf(template: MessageTemplate, part: 'header' | 'body'): TemplatePiece[] {
  const pattern = (part === 'header' ? template.header : template.body) ?? ''
  const places = template.places.filter((place) => place.part === part)
  const nameless = places.filter((place) => place.name === null)
  const found: TemplatePiece[] = []
  let end = 0
  for (const mark of pattern.matchAll(MARK)) {
    const place = places.find(({ name }) => name === mark[1]) ?? nameless[Number(mark[1]) - 1]
    if (!place) continue
    if (mark.index > end) found.push({ text: pattern.slice(end, mark.index), place: null })
    found.push({ text: mark[0], place })
    end = mark.index + mark[0].length
  }
  if (end < pattern.length) found.push({ text: pattern.slice(end), place: null })
  return found
}

/** Header, body and footer, one below the other. */
export function templateText(template: MessageTemplate, values: TemplateValues): string {
  const filled = (part: 'header' | 'body') => piecesOf(template, part)
    .map(({ text, place }) => (place ? cleanValue(values[place.key] ?? '') : text)).join('')
  return [filled('header'), filled('body'), template.footer].filter(Boolean).join('\n')
}

/** By name, language or any word of it; what cannot be sent from here stands last. */
export function findTemplates(templates: readonly MessageTemplate[], wanted: string): MessageTemplate[] {
  const words = wanted.toLocaleLowerCase('uk').split(/\s+/).filter(Boolean)
  const found = templates.filter(({ name, language, header, body, footer }) => {
    const all = [name, name.replaceAll('_', ' '), language, header, body, footer].join(' ').toLocaleLowerCase('uk')
    return words.every((word) => all.includes(word))
  })
  return [...found.filter(({ unusable }) => unusable === null), ...found.filter(({ unusable }) => unusable !== null)]
}
