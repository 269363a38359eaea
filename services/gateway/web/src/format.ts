/** How times, names, counts and links look. Pure; the zone is the business's, not the browser's. */
import { t } from './i18n'
import type { Message } from './wire'

const ZONE = 'Europe/Kyiv'
const HOUR_MS = 3_600_000

const clock = new Intl.DateTimeFormat('uk-UA', { timeZone: ZONE, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
const dayParts = new Intl.DateTimeFormat('en-CA', { timeZone: ZONE, year: 'numeric', month: '2-digit', day: '2-digit' })
const dayMonth = new Intl.DateTimeFormat('uk-UA', { timeZone: ZONE, day: 'numeric', month: 'long' })
const fullDay = new Intl.DateTimeFormat('uk-UA', { timeZone: ZONE, day: 'numeric', month: 'long', year: 'numeric' })

// Intl per message was the hot spot with thousands of messages; a zone's offset never changes inside an hour.
const dayByHour = new Map<number, string>()

/** The day in the business's zone, `2026-11-21`. */
export function dayKey(ms: number): string {
  const hour = Math.floor(ms / HOUR_MS)
  let day = dayByHour.get(hour)
  if (day === undefined) dayByHour.set(hour, (day = dayParts.format(hour * HOUR_MS)))
  return day
}

export function timeOfDay(ms: number): string {
  return clock.format(ms)
}

/** For a day separator: «Сьогодні», «Вчора», «3 листопада», with the year when it is another. */
export function dayTitle(ms: number, now: number): string {
  const day = dayKey(ms)
  if (day === dayKey(now)) return t.dialogue.today
  if (day === dayKey(now - 24 * HOUR_MS)) return t.dialogue.yesterday
  return day.slice(0, 4) === dayKey(now).slice(0, 4) ? dayMonth.format(ms) : fullDay.format(ms)
}

/** For a row: 14:05 today, 03.11 this year, 03.11.25 earlier. */
export function rowTime(ms: number, now: number): string {
  const day = dayKey(ms)
  if (day === dayKey(now)) return timeOfDay(ms)
  const [year, month, date] = day.split('-')
  return year === dayKey(now).slice(0, 4) ? `${date}.${month}` : `${date}.${month}.${year?.slice(2)}`
}

export function dayAndTime(ms: number, now: number): string {
  return `${dayTitle(ms, now)}, ${timeOfDay(ms)}`
}

/** For a sentence: «сьогодні о 14:05», «3 листопада об 11:30». */
export function inSentence(ms: number, now: number): string {
  const time = timeOfDay(ms)
  return `${dayTitle(ms, now).toLocaleLowerCase('uk')} ${time.startsWith('11') ? 'об' : 'о'} ${time}`
}

/** Country codes of one and of two digits; all others have three. */
const SHORT_CODES = new Set(['1', '7', '20', '27', '30', '31', '32', '33', '34', '36', '39', '40', '41', '43', '44', '45', '46', '47', '48', '49',
  '51', '52', '53', '54', '55', '56', '57', '58', '60', '61', '62', '63', '64', '65', '66', '81', '82', '84', '86', '90', '91', '92', '93', '94', '95', '98'])

/** 067 123 45 67 for Ukraine, +48 601 234 567 for others; what is no number in E.164 stays as it came. */
export function phoneNumber(phone: string): string {
  const digits = /^\+([1-9]\d{6,14})$/.exec(phone)?.[1]
  if (digits === undefined) return phone
  const ours = /^380(\d{2})(\d{3})(\d{2})(\d{2})$/.exec(digits)
  if (ours) return `0${ours.slice(1).join(' ')}`
  const code = [1, 2].map((length) => digits.slice(0, length)).find((start) => SHORT_CODES.has(start)) ?? digits.slice(0, 3)
  const rest = digits.slice(code.length)
  // In threes; one digit alone at the end would be lost.
  const cut = rest.length % 3 === 1 ? rest.length - 4 : rest.length
  return [`+${code}`, ...(rest.slice(0, cut).match(/.{1,3}/g) ?? []), rest.slice(cut)].filter(Boolean).join(' ')
}

/** The server caps counts at 1,000. */
export function counter(count: number | undefined): string {
  return count === undefined ? '' : count > 999 ? '999+' : String(count)
}

/** 0:07, 3:20, 1:02:05. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  const tail = String(rest).padStart(2, '0')
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${tail}` : `${minutes}:${tail}`
}

export function badge(count: number): string {
  return count > 99 ? '99+' : String(count)
}

export function initials(name: string): string {
  const words = name.split(/\s+/).map((word) => word.replace(/^[^\p{L}\p{N}\p{Extended_Pictographic}]+/u, '')).filter(Boolean)
  return words.slice(0, 2).map((word) => [...word][0]?.toLocaleUpperCase('uk') ?? '').join('') || '?'
}

/** One of `count` colours, always the same for the same id. */
export function hue(id: string, count: number): number {
  let sum = 0
  for (let i = 0; i < id.length; i++) sum = (sum * 31 + id.charCodeAt(i)) >>> 0
  return sum % count
}

export function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim()
}

/** What a message says in a line: its words, else what it points at, else what kind it is. */
export function wordsOf({ text, kind, shared_link: link }: Pick<Message, 'text' | 'kind' | 'shared_link'>): string {
  return oneLine(text) || (link ? link.title || (t.links[link.kind] ?? t.links.link) : t.kinds[kind])
}

/** An address from outside as a person may open it: http(s) only, with the host it really leads to. */
export function safeLink(address: string | null | undefined): { href: string; host: string } | null {
  if (!address || !URL.canParse(address)) return null
  const { protocol, host, href } = new URL(address)
  return protocol === 'https:' || protocol === 'http:' ? { href, host: host.replace(/^www\./, '') } : null
}

export type Piece = { text: string; href?: string }

const LINK = /https?:\/\/[^\s<>"«»]+/gi
const TRAILING = /[.,!?;:'’)\]}…]+$/

/** Splits a text into plain pieces and http(s) links; nothing else ever becomes an address. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = []
  let end = 0
  for (const match of text.matchAll(LINK)) {
    let link = match[0]
    const tail = TRAILING.exec(link)?.[0] ?? ''
    // A bracket that was opened inside the address belongs to it.
    const keep = tail.startsWith(')') && link.includes('(') ? 1 : 0
    link = link.slice(0, link.length - tail.length + keep)
    if (!URL.canParse(link)) continue
    if (match.index > end) found.push({ text: text.slice(end, match.index) })
    found.push({ text: link, href: link })
    end = match.index + link.length
  }
  if (end < text.length) found.push({ text: text.slice(end) })
  return found
}
