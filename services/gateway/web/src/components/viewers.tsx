/** Colleagues who look at this chat now, and who of them writes. */
import { useStore } from '../hooks'
import { t } from '../i18n'
import { Avatar } from './avatar'
import styles from './viewers.module.css'

const SHOWN = 3

export function Viewers({ chat }: { chat: string }) {
  const viewers = useStore(`p:${chat}`, (store) => store.presence.viewers(chat))
  if (viewers.length === 0) return null
  const label = t.deeds.viewers(viewers.map((viewer) => viewer.name))
  return (
    <span className={styles.viewers} role="img" aria-label={label} title={label} data-testid="viewers">
      {viewers.slice(0, SHOWN).map((viewer) => <Avatar key={viewer.id} id={viewer.id} name={viewer.name} small />)}
      {viewers.length > SHOWN && <span className={styles.more}>+{viewers.length - SHOWN}</span>}
    </span>
  )
}

/** Its place is kept when nobody writes, so that the dialogue does not jump. */
export function Typing({ chat }: { chat: string }) {
  const typing = useStore(`p:${chat}`, (store) => store.presence.typing(chat))
  return (
    <p className={styles.typing} role="status" data-testid="typing">
      {typing.length > 0 && <><span className={styles.dots} aria-hidden="true"><i /><i /><i /></span>{t.typing(typing.map((person) => person.name))}</>}
    </p>
  )
}
