/** Connecting an account, renaming it, giving it a new key, removing it. */
import { Button, PasswordInput, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useId, useState, type FormEvent, type ReactNode } from 'react'
import { why } from '../../deeds'
import { useDesk } from '../../hooks'
import { t } from '../../i18n'
import type { ChannelDetails, ChannelKind } from '../../wire'
import { Question } from '../question'
import { c } from './channel-texts'
import styles from './channels.module.css'

interface DialogProps {
  onClose: () => void
  onDone: (text: string) => void
}

export function ConnectDialog({ onClose, onDone }: DialogProps) {
  const { api } = useDesk()
  const kinds = useQuery({ queryKey: ['channel-kinds'], queryFn: () => api.channelKinds() })
  const [chosen, setChosen] = useState<string | null>(null)
  const [title, setTitle] = useState('')
  const [credentials, setCredentials] = useState<Record<string, string>>({})
  const [base, setBase] = useState('')
  const kind = kinds.data?.find((known) => known.kind === chosen) ?? kinds.data?.find((known) => known.available) ?? null
  const bases = kind?.credentials_schema['x-api-bases'] ?? []
  const complete = kind !== null && title.trim() !== '' && filled(kind, credentials)
  const submit = async () => {
    if (!kind) return
    await api.connect({ kind: kind.kind, title: title.trim(), credentials: trimmed(credentials), ...(base ? { api_base: base } : {}) })
    onDone(c.connected)
  }
  return (
    <Question title={c.newTitle} onClose={onClose}>
      <DialogForm onSubmit={submit} onClose={onClose} label={c.submit} ready={complete} hint={c.checking}>
        {kinds.data?.length === 0 && <p role="alert">{c.noKinds}</p>}
        <fieldset className={styles.kinds}>
          <legend>{c.kind}</legend>
          {kinds.data?.map((known) => (
            <label key={known.kind} className={styles.kindChoice}>
              <input type="radio" name="kind" value={known.kind} checked={known.kind === kind?.kind} disabled={!known.available} onChange={() => setChosen(known.kind)} />
              <span>{known.title}{!known.available && ` (${c.away})`}</span>
            </label>
          ))}
        </fieldset>
        <TextInput label={c.name} placeholder={c.namePlaceholder} name="title" maxLength={100} value={title} onChange={(event) => setTitle(event.currentTarget.value)} data-autofocus />
        {kind && <CredentialFields kind={kind} values={credentials} onChange={setCredentials} />}
        {bases.length > 0 && (
          <fieldset className={styles.kinds}>
            <legend>{c.address}</legend>
            {['', ...bases].map((address) => (
              <label key={address} className={styles.kindChoice}>
                <input type="radio" name="base" value={address} checked={base === address} onChange={() => setBase(address)} />
                <span>{address || c.ownAddress}</span>
              </label>
            ))}
          </fieldset>
        )}
      </DialogForm>
    </Question>
  )
}

export function KeyDialog({ channel, onClose, onDone }: DialogProps & { channel: ChannelDetails }) {
  const { api } = useDesk()
  const kinds = useQuery({ queryKey: ['channel-kinds'], queryFn: () => api.channelKinds() })
  const [credentials, setCredentials] = useState<Record<string, string>>({})
  const kind = kinds.data?.find((known) => known.kind === channel.kind)
  const submit = async () => {
    await api.changeChannel(channel.id, { credentials: trimmed(credentials) })
    onDone(c.changed)
  }
  return (
    <Question title={c.keyTitle(channel.title)} onClose={onClose}>
      <DialogForm onSubmit={submit} onClose={onClose} label={c.save} ready={kind !== undefined && filled(kind, credentials)} hint={c.keyHint}>
        {kind && <CredentialFields kind={kind} values={credentials} onChange={setCredentials} />}
      </DialogForm>
    </Question>
  )
}

export function RenameDialog({ channel, onClose, onDone }: DialogProps & { channel: ChannelDetails }) {
  const { api } = useDesk()
  const [title, setTitle] = useState(channel.title)
  const submit = async () => {
    await api.changeChannel(channel.id, { title: title.trim() })
    onDone(c.renamed)
  }
  return (
    <Question title={c.renameTitle} onClose={onClose}>
      <DialogForm onSubmit={submit} onClose={onClose} label={c.save} ready={title.trim() !== ''}>
        <TextInput label={c.name} name="title" maxLength={100} value={title} onChange={(event) => setTitle(event.currentTarget.value)} data-autofocus />
      </DialogForm>
    </Question>
  )
}

export function RemoveDialog({ channel, onClose, onDone }: DialogProps & { channel: ChannelDetails }) {
  const { api } = useDesk()
  const submit = async () => {
    await api.disconnect(channel.id)
    onDone(c.removed)
  }
  return (
    <Question title={c.removeTitle(channel.title)} onClose={onClose}>
      <DialogForm onSubmit={submit} onClose={onClose} label={c.removeYes} ready danger>
        <p className={styles.text}>{c.removeText}</p>
      </DialogForm>
    </Question>
  )
}

interface DialogFormProps {
  onSubmit: () => Promise<void>
  onClose: () => void
  label: string
  ready: boolean
  hint?: string
  danger?: boolean
  children: ReactNode
}

/** The messenger's own reason stands in the form, beside what must be mended. */
function DialogForm({ onSubmit, onClose, label, ready, hint, danger = false, children }: DialogFormProps) {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState('')
  const errorId = useId()
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (busy || !ready) return
    setBusy(true)
    setError('')
    try {
      await onSubmit()
    } catch (reason) {
      setError(why(reason))
      setBusy(false)
    }
  }
  return (
    <form className={styles.form} onSubmit={(event) => void submit(event)} noValidate aria-describedby={errorId} data-testid="channel-form">
      {children}
      {hint && <p className={styles.hint}>{hint}</p>}
      <p id={errorId} className={styles.error} role="alert" data-testid="channel-error">{error}</p>
      <div className={styles.buttons}>
        <Button variant="default" onClick={onClose}>{c.cancel}</Button>
        <Button type="submit" loading={busy} disabled={!ready} {...(danger ? { className: styles.danger } : {})}>{label}</Button>
      </div>
    </form>
  )
}

interface CredentialFieldsProps {
  kind: ChannelKind
  values: Record<string, string>
  onChange: (values: Record<string, string>) => void
}

function CredentialFields({ kind, values, onChange }: CredentialFieldsProps) {
  return Object.entries(kind.credentials_schema.properties ?? {}).map(([name, field]) => {
    const Input = field.writeOnly ? PasswordInput : TextInput
    return (
      <Input key={name} name={name} label={field.title ?? name} description={field.description} value={values[name] ?? ''} autoComplete="off" spellCheck={false}
        onChange={(event) => onChange({ ...values, [name]: event.currentTarget.value })}
        {...(field.writeOnly ? { visibilityToggleButtonProps: { 'aria-label': t.login.show } } : {})} />
    )
  })
}

function filled(kind: ChannelKind, values: Record<string, string>): boolean {
  return (kind.credentials_schema.required ?? []).every((name) => (values[name] ?? '').trim() !== '')
}

function trimmed(values: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value.trim()]).filter(([, value]) => value))
}
