/** The form of a channel's dialog: one question, one yes, and the refusal beside what must be mended. */
import { Button } from '@mantine/core'
import { useId, useState, type FormEvent, type ReactNode } from 'react'
import { why } from '../../deeds'
import { c } from './channel-texts'
import styles from './channels.module.css'

export interface DialogProps {
  onClose: () => void
  onDone: (text: string) => void
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
export function DialogForm({ onSubmit, onClose, label, ready, hint, danger = false, children }: DialogFormProps) {
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
