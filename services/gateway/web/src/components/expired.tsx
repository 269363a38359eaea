/** The session is over: the login over the window, so that nothing written is lost. */
import { t } from '../i18n'
import { LoginForm } from './login'
import { Question } from './question'
import styles from './login.module.css'

export default function Expired() {
  return (
    <Question title={t.login.expired} onClose={null}>
      <p className={styles.lead}>{t.login.expiredHint}</p>
      <LoginForm />
    </Question>
  )
}
