/** Whether people may answer longer than bots, where the messenger knows such a thing and somebody must grant it. */
import { useId } from 'react'
import { c } from './channel-texts'
import styles from './channels.module.css'

interface HumanAgentProps {
  /** How long people may answer then. */
  hours: number
  on: boolean
  onChange: (on: boolean) => void
}

export function HumanAgent({ hours, on, onChange }: HumanAgentProps) {
  const hint = useId()
  return (
    <div className={styles.choice} data-testid="human-agent">
      <label className={styles.kindChoice}>
        <input type="checkbox" name="human_agent" checked={on} onChange={(event) => onChange(event.currentTarget.checked)} aria-describedby={hint} />
        <span>{c.humanAgent(Math.round(hours / 24))}</span>
      </label>
      <p id={hint} className={styles.hint}>{c.humanAgentHint}</p>
    </div>
  )
}
