/** Where a message has been: each step with its time, its state and a number to give to support. */
import { Loader } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { dayAndTime } from '../format'
import { useDesk, useNow } from '../hooks'
import { t } from '../i18n'
import type { Message } from '../wire'
import { Question } from './question'
import styles from './trail.module.css'

export default function TrailDialog({ message, onClose }: { message: Message; onClose: () => void }) {
  const { api } = useDesk()
  const now = useNow()
  const trail = useQuery({ queryKey: ['trail', message.id, message.rev], queryFn: () => api.trail(message.id) })
  return (
    <Question title={t.trail.title} onClose={onClose}>
      {trail.isPending && <Loader size="sm" aria-label={t.starting} />}
      {trail.isError && <p role="alert">{t.deeds.loadFailed}</p>}
      {trail.data?.steps.length === 0 && <p>{t.trail.empty}</p>}
      <ol className={styles.steps} data-testid="trail">
        {trail.data?.steps.map((step, i) => (
          <li key={i} className={styles.step}>
            <span className={styles.what}>
              {step.detail ?? t.trail.event(step.event)}
            </span>
            <time className={styles.when} dateTime={step.at}>{dayAndTime(Date.parse(step.at), now)}</time>
            {step.author && <span className={styles.detail}>{step.author}</span>}
            {step.trace_id && <span className={styles.trace}>{t.trail.trace}: <code>{step.trace_id}</code></span>}
          </li>
        ))}
      </ol>
    </Question>
  )
}
