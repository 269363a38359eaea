/** How far an answer has come: ◷, ✓, ✓✓, blue ✓✓, or that it has not. The shape tells it too, not only the colour. */
import { t } from '../i18n'
import { AlertIcon, CheckIcon, ChecksIcon, ClockIcon, QuestionIcon } from './icons'
import styles from './tick.module.css'

/** @param state a state of the wire, or `pending` for what has not left the window yet. */
export function Tick({ state }: { state: string }) {
  const label = state in t.states ? t.states[state as keyof typeof t.states] : state === 'pending' ? t.states.sending : t.states.failed
  const icon = () => {
    switch (state) {
      case 'pending':
      case 'queued':
      case 'sending': return <ClockIcon size={14} />
      case 'sent': return <CheckIcon size={16} />
      case 'delivered':
      case 'read': return <ChecksIcon size={18} />
      case 'unknown': return <QuestionIcon size={15} />
      default: return <AlertIcon size={15} />
    }
  }
  return <span className={styles.tick} data-state={state} role="img" aria-label={label} title={label}>{icon()}</span>
}
