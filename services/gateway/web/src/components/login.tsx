/** The login page, and the same form over an expired session. */
import { Button, PasswordInput, TextInput } from '@mantine/core'
import { useId, useState, type FormEvent } from 'react'
import { useDesk } from '../hooks'
import { t } from '../i18n'
import { Refused, Unreachable } from '../session'
import { ChatsIcon } from './icons'
import styles from './login.module.css'

export function LoginPage() {
  return (
    <main className={styles.page}>
      <div className={styles.card}>
        <div className={styles.brand}><ChatsIcon size={34} /></div>
        <h1 className={styles.title}>{t.login.title}</h1>
        <p className={styles.lead}>{t.login.lead}</p>
        <LoginForm />
      </div>
    </main>
  )
}

export function LoginForm() {
  const { session } = useDesk()
  const [login, setLogin] = useState('')
  const [password, setPassword] = useState('')
  const [error, setError] = useState('')
  const [busy, setBusy] = useState(false)
  const errorId = useId()

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (busy) return
    setBusy(true)
    setError('')
    try {
      await session.login(login.trim(), password)
    } catch (refusal) {
      setError(reason(refusal))
      setBusy(false)
    }
  }

  return (
    <form className={styles.form} data-testid="login-form" onSubmit={(event) => void submit(event)} noValidate>
      <TextInput label={t.login.login} name="login" autoComplete="username" autoCapitalize="none" spellCheck={false} size="md" required
        withAsterisk={false} autoFocus value={login} onChange={(event) => setLogin(event.currentTarget.value)} aria-describedby={errorId} />
      <PasswordInput label={t.login.password} name="password" autoComplete="current-password" size="md" required withAsterisk={false}
        value={password} onChange={(event) => setPassword(event.currentTarget.value)}
        visibilityToggleButtonProps={{ 'aria-label': t.login.show }} aria-describedby={errorId} />
      <p id={errorId} role="alert" className={styles.error} data-testid="login-error">{error}</p>
      <Button type="submit" size="md" fullWidth loading={busy} disabled={!login.trim() || !password}>{t.login.submit}</Button>
    </form>
  )
}

export function NoAccessPage() {
  const desk = useDesk()
  return (
    <main className={styles.page}>
      <div className={styles.card} data-testid="no-access">
        <h1 className={styles.title}>{t.login.noAccess}</h1>
        <p className={styles.lead}>{t.login.noAccessHint}</p>
        <div className={styles.buttons}>
          <Button variant="light" onClick={() => desk.restart()}>{t.login.again}</Button>
          <Button onClick={() => void desk.session.logout().catch(() => undefined)}>{t.login.out}</Button>
        </div>
      </div>
    </main>
  )
}

function reason(refusal: unknown): string {
  if (refusal instanceof Unreachable) return t.login.unreachable
  if (!(refusal instanceof Refused)) return t.login.failed
  switch (refusal.status) {
    case 400:
    case 401:
    case 422: return t.login.wrong
    case 403: return t.login.noAccess
    case 429: return t.login.tooMany(refusal.retryAfterSeconds)
    default: return t.login.failed
  }
}
