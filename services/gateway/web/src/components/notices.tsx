/** Short sentences at the bottom left; never over the composer's button, never in the way of the keyboard. */
import { cx, useDesk, useStore } from '../hooks'
import { t } from '../i18n'
import { ClearIcon } from './icons'
import styles from './notices.module.css'

export function Notices() {
  const { store } = useDesk()
  const notices = useStore('notices', (whole) => whole.notices.shown)
  return (
    <div className={styles.place} role="region" aria-label={t.notices.landmark} aria-live="polite">
      {notices.map(({ id, text, tone, action }) => (
        <div key={id} className={cx(styles.notice, tone === 'trouble' && styles.trouble)} data-testid="notice">
          <span className={styles.text}>{text}</span>
          {action && <button type="button" className={styles.action} onClick={() => { store.notices.close(id); action.run() }}>{action.label}</button>}
          <button type="button" className={styles.close} aria-label={t.notices.close} onClick={() => store.notices.close(id)}><ClearIcon size={16} /></button>
        </div>
      ))}
    </div>
  )
}
