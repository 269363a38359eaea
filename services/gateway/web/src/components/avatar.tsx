/** Initials on a colour of the chat's own, with the channel's letter in the corner. */
import { hue, initials } from '../format'
import { cx, useStore } from '../hooks'
import styles from './avatar.module.css'

const HUES = 8
/** A letter and a colour (avatar.module.css) for the messengers everybody knows; any other gets its own first letter in grey. */
const LETTERS: Record<string, string> = {
  telegram_bot: 'T', telegram_number: 'T', telegram_business: 'T', viber_bot: 'V', facebook: 'F', instagram: 'I', whatsapp: 'W',
}

interface AvatarProps {
  id: string
  name: string
  channel?: { id: string; kind: string; title: string }
  large?: boolean
  small?: boolean
}

export function Avatar({ id, name, channel, large = false, small = false }: AvatarProps) {
  return (
    <span className={cx(styles.avatar, large && styles.large, small && styles.small)} data-hue={hue(id, HUES)}>
      <span aria-hidden="true">{initials(name)}</span>
      {channel && <Mark channel={channel} />}
    </span>
  )
}

function Mark({ channel: { id, kind, title } }: { channel: { id: string; kind: string; title: string } }) {
  const messenger = useStore('channels', (store) => store.kindTitle(kind, id))
  return (
    <span className={styles.mark} data-kind={kind} role="img" aria-label={`${messenger}, ${title}`} title={`${messenger}: ${title}`}>
      {LETTERS[kind] ?? messenger.charAt(0).toUpperCase()}
    </span>
  )
}
