/** A template instead of words: found, filled in, seen as the client will see it, sent. The keyboard alone is enough. */
import { Button, Loader, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useEffect, useId, useRef, useState, type FormEvent, type KeyboardEvent } from 'react'
import { why } from '../deeds'
import { oneLine } from '../format'
import { cx, useDesk } from '../hooks'
import { languageName, t } from '../i18n'
import { cleanValue, emptyPlaces, findTemplates, piecesOf, templateText, VALUE_MAX_CHARS, type TemplateValues } from '../template-text'
import type { ChosenTemplate, MessageTemplate } from '../wire'
import { Question } from './question'
import styles from './template-picker.module.css'

/** What was filled in so far, by template: a dialog closed by mistake takes no words with it. */
export type KeptValues = Map<string, TemplateValues>

interface TemplatePickerProps {
  channel: string
  kept: KeptValues
  onSend: (template: ChosenTemplate, text: string) => void
  onClose: () => void
}

const idOf = ({ name, language }: MessageTemplate) => `${name} ${language}`

export default function TemplatePicker({ channel, kept, onSend, onClose }: TemplatePickerProps) {
  const { api } = useDesk()
  const asked = useQuery({ queryKey: ['templates', channel], queryFn: () => api.templates(channel), staleTime: 60_000, retry: 1 })
  const [wanted, setWanted] = useState('')
  const [chosen, setChosen] = useState<string | null>(null)
  const list = useId()
  const form = useRef<HTMLFormElement>(null)
  const found = findTemplates(asked.data ?? [], wanted)
  const at = Math.max(0, found.findIndex((template) => idOf(template) === chosen))
  const template = found[at]

  const move = (event: KeyboardEvent) => {
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 5, PageUp: at - 5 }[event.key]
    if (to !== undefined && found.length > 0) {
      event.preventDefault()
      const next = found[Math.min(found.length - 1, Math.max(0, to))]
      if (next) setChosen(idOf(next))
    } else if (event.key === 'Enter') {
      event.preventDefault()
      form.current?.querySelector<HTMLElement>('input, button[type=submit]:not(:disabled)')?.focus()
    }
  }

  return (
    <Question title={t.templates.title} onClose={onClose} size={900}>
      <div className={styles.picker} data-testid="template-picker">
        <div className={styles.choice}>
          <TextInput value={wanted} onChange={(event) => setWanted(event.currentTarget.value)} onKeyDown={move} placeholder={t.templates.search}
            aria-label={t.templates.search} role="combobox" aria-expanded aria-controls={list} aria-autocomplete="list"
            aria-activedescendant={template ? `${list}-${at}` : undefined} data-autofocus />
          {asked.isPending && <p className={styles.note}><Loader size="sm" aria-label={t.templates.loading} /></p>}
          {asked.isError && (
            <div className={styles.note} role="alert">
              <p>{why(asked.error)}</p>
              <Button variant="light" size="xs" onClick={() => void asked.refetch()}>{t.list.again}</Button>
            </div>
          )}
          {asked.data?.length === 0 && <p className={styles.note}>{t.templates.none}</p>}
          {asked.data && asked.data.length > 0 && found.length === 0 && <p className={styles.note} role="status">{t.templates.nothing}</p>}
          <ul id={list} role="listbox" aria-label={t.templates.list} className={styles.list} tabIndex={found.length > 0 ? 0 : -1} onKeyDown={move}
            aria-activedescendant={template ? `${list}-${at}` : undefined}>
            {found.map((one, i) => <Choice key={idOf(one)} id={`${list}-${i}`} template={one} active={i === at} onChoose={() => setChosen(idOf(one))} />)}
          </ul>
        </div>
        {template && (
          <Filling key={idOf(template)} template={template} form={form} kept={kept}
            onSend={(values) => onSend({ name: template.name, language: template.language, values }, templateText(template, values))} onClose={onClose} />
        )}
      </div>
    </Question>
  )
}

function Choice({ id, template, active, onChoose }: { id: string; template: MessageTemplate; active: boolean; onChoose: () => void }) {
  const item = useRef<HTMLLIElement>(null)
  useEffect(() => { if (active) item.current?.scrollIntoView({ block: 'nearest' }) }, [active])
  return (
    <li ref={item} id={id} role="option" aria-selected={active} aria-disabled={template.unusable !== null}
      className={cx(styles.option, active && styles.active, template.unusable !== null && styles.unusable)} onClick={onChoose} data-testid="template">
      <span className={styles.name}>{template.name.replaceAll('_', ' ')}</span>
      <span className={styles.kind}>{languageName(template.language)} · {t.templates.category(template.category)}</span>
      <span className={styles.line}>{firstLine(template)}</span>
      {template.unusable !== null && <span className={styles.reason}>{template.unusable}</span>}
    </li>
  )
}

interface FillingProps {
  template: MessageTemplate
  form: React.RefObject<HTMLFormElement | null>
  kept: KeptValues
  onSend: (values: Record<string, string>) => void
  onClose: () => void
}

function Filling({ template, form, kept, onSend, onClose }: FillingProps) {
  const [values, setValues] = useState<TemplateValues>(() => kept.get(idOf(template)) ?? {})
  const empty = emptyPlaces(template, values)
  const ready = template.unusable === null && empty.length === 0
  const change = (key: string, value: string) => {
    const next = { ...values, [key]: value }
    kept.set(idOf(template), next)
    setValues(next)
  }
  const submit = (event: FormEvent) => {
    event.preventDefault()
    const first = empty[0]
    if (template.unusable !== null) return
    if (first) form.current?.querySelector<HTMLElement>(`[name="${CSS.escape(first.key)}"]`)?.focus()
    else {
      kept.delete(idOf(template))
      onSend(Object.fromEntries(template.places.map(({ key }) => [key, cleanValue(values[key] ?? '')])))
    }
  }
  // While the button waits for the last place, the browser would let Enter do nothing.
  const onEnter = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || event.nativeEvent.isComposing) return
    event.preventDefault()
    form.current?.requestSubmit()
  }
  return (
    <form ref={form} className={styles.filling} onSubmit={submit} noValidate>
      <p className={styles.caption}>{t.templates.preview}</p>
      <div className={styles.stage}>
        <div className={styles.bubble} data-testid="template-preview">
          {template.header && <p className={styles.header}><Words template={template} part="header" values={values} /></p>}
          <p className={styles.body}><Words template={template} part="body" values={values} /></p>
          {template.footer && <p className={styles.footer}>{template.footer}</p>}
        </div>
        {template.buttons.length > 0 && (
          <div className={styles.buttons} role="group" aria-label={t.dialogue.buttons}>
            {template.buttons.map((title, i) => <span key={i}>{title}</span>)}
          </div>
        )}
      </div>
      {template.unusable !== null
        ? <p className={styles.refusal} role="status"><strong>{t.templates.unusable}</strong> {template.unusable}</p>
        : template.places.map((place) => (
          <TextInput key={place.key} name={place.key} label={labelOf(template, place)} placeholder={place.example ? t.templates.example(place.example) : ''}
            value={values[place.key] ?? ''} maxLength={VALUE_MAX_CHARS} autoComplete="off" onChange={(event) => change(place.key, event.currentTarget.value)}
            onKeyDown={onEnter} />
        ))}
      <div className={styles.ways}>
        {!ready && template.unusable === null && <span className={styles.left} role="status">{t.templates.fill(empty.length)}</span>}
        <Button variant="default" onClick={onClose}>{t.templates.cancel}</Button>
        <Button type="submit" disabled={!ready} data-testid="send-template">{t.templates.send}</Button>
      </div>
    </form>
  )
}

function Words({ template, part, values }: { template: MessageTemplate; part: 'header' | 'body'; values: TemplateValues }) {
  return piecesOf(template, part).map(({ text, place }, i) => {
    if (!place) return <span key={i}>{text}</span>
    const value = cleanValue(values[place.key] ?? '')
    return value ? <strong key={i} className={styles.filled}>{value}</strong> : <span key={i} className={styles.hole}>{place.name ?? t.templates.number(text.replace(/\D/g, ''))}</span>
  })
}

/** What a template begins with; braces mean nothing to whoever reads it. */
function firstLine(template: MessageTemplate): string {
  return oneLine(piecesOf(template, 'body').map(({ text, place }) => (place ? '…' : text)).join('').split('\n')[0] ?? '')
}

function labelOf(template: MessageTemplate, place: MessageTemplate['places'][number]): string {
  const alike = template.places.filter(({ part, name }) => part === place.part && name === null)
  return t.templates.place(place, alike.indexOf(place) + 1, template.buttons[place.index] ?? '')
}
