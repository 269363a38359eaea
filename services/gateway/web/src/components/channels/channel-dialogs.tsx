/** Connecting an account, giving it a new key, removing it. */
import { NativeSelect, PasswordInput, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useDesk } from '../../hooks'
import { t } from '../../i18n'
import type { ChannelDetails, ChannelKind } from '../../wire'
import { Question } from '../question'
import { c } from './channel-texts'
import { filled, given } from './credentials'
import { DialogForm, type DialogProps } from './dialog-form'
import { HumanAgent } from './human-agent'
import styles from './channels.module.css'

export function ConnectDialog({ onClose, onDone }: DialogProps) {
  const { api } = useDesk()
  const kinds = useQuery({ queryKey: ['channel-kinds'], queryFn: () => api.channelKinds() })
  const [chosen, setChosen] = useState<string | null>(null)
  const [title, setTitle] = useState('')
  const [credentials, setCredentials] = useState<Record<string, string>>({})
  const [base, setBase] = useState('')
  const [late, setLate] = useState<boolean | null>(null)
  const kind = kinds.data?.find((known) => known.kind === chosen) ?? kinds.data?.find((known) => known.available) ?? null
  const bases = kind?.credentials_schema['x-api-bases'] ?? []
  const choose = (name: string) => {
    setChosen(name)
    // The key of one messenger is no key of another, even where the field has the same name.
    setCredentials({})
    setBase('')
    setLate(null)
  }
  const complete = kind !== null && title.trim() !== '' && filled(kind, credentials)
  const submit = async () => {
    if (!kind) return
    await api.connect({ kind: kind.kind, title: title.trim(), credentials: given(kind, credentials), ...(base ? { api_base: base } : {}),
      ...(late === null ? {} : { settings: { human_agent: late } }) })
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
              <input type="radio" name="kind" value={known.kind} checked={known.kind === kind?.kind} disabled={!known.available} onChange={() => choose(known.kind)} />
              <span>{known.title}{!known.available && ` (${c.away})`}</span>
            </label>
          ))}
        </fieldset>
        <TextInput label={c.name} placeholder={c.namePlaceholder} name="title" maxLength={100} value={title} onChange={(event) => setTitle(event.currentTarget.value)} data-autofocus />
        {kind && <CredentialFields kind={kind} values={credentials} onChange={setCredentials} />}
        {kind?.human_reply_window_hours && <HumanAgent hours={kind.human_reply_window_hours} on={late ?? kind.human_agent_by_default ?? false} onChange={setLate} />}
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
    if (!kind) return
    await api.changeChannel(channel.id, { credentials: given(kind, credentials) })
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

interface CredentialFieldsProps {
  kind: ChannelKind
  values: Record<string, string>
  onChange: (values: Record<string, string>) => void
}

function CredentialFields({ kind, values, onChange }: CredentialFieldsProps) {
  const { properties = {}, required = [] } = kind.credentials_schema
  return Object.entries(properties).map(([name, field]) => {
    const value = values[name] ?? field.default ?? ''
    const label = field.title ?? name
    const shared = {
      name, value, description: field.description, label: required.includes(name) ? label : `${label} ${c.optional}`,
      onChange: (event: { currentTarget: { value: string } }) => onChange({ ...values, [name]: event.currentTarget.value }),
    }
    if (field.enum) return <NativeSelect key={name} {...shared} data={required.includes(name) ? field.enum : ['', ...field.enum]} />
    const text = { ...shared, placeholder: field.examples?.[0], maxLength: field.maxLength, autoComplete: 'off', spellCheck: false }
    return field.writeOnly
      ? <PasswordInput key={name} {...text} visibilityToggleButtonProps={{ 'aria-label': t.login.show }} />
      : <TextInput key={name} {...text} />
  })
}
