/** Says that the connection is lost, over the window and not instead of it. */
import { useEffect, useState } from 'react'
import { useDesk } from '../hooks'
import { t } from '../i18n'
import styles from './connection-strip.module.css'
import { useSyncExternalStore } from 'react'

/** A short break heals before anyone needs to know. */
const PATIENCE_MS = 2_000

export function ConnectionStrip() {
  const desk = useDesk()
  const connected = useSyncExternalStore((changed) => desk.store.signals.subscribe('connection', changed), () => desk.connected)
  const [late, setLate] = useState(false)
  useEffect(() => {
    setLate(false)
    if (connected) return
    const timer = setTimeout(() => setLate(true), PATIENCE_MS)
    return () => clearTimeout(timer)
  }, [connected])
  return (
    <div role="status" className={styles.holder}>
      {!connected && late && <div className={styles.strip} data-testid="connection-strip">{t.offline}</div>}
    </div>
  )
}
