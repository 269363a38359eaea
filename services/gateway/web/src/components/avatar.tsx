/** Initials on a colour of the chat's own, with the channel's letter in the corner. */
import { hue, initials } from '../format'
import { cx } from '../hooks'
import { t } from '../i18n'
import styles from './avatar.module.css'

const HUES = 8
const LETTERS: Record<string, string> = {
  telegram_bot: 'T', telegram_number: 'T', telegram_business: 'T', viber_bot: 'V', facebook: 'F', instagram: 'I', whatsapp: 'W',
}

interface AvatarProps {
  id: string
  name: string
  channel?: { kind: string; title: string }
  large?: boolean
  small?: boolean
}

export function Avatar({ id, name, channel, large = false, small = false }: AvatarProps) {
  return (
    <span className={cx(styles.avatar, large && styles.large, small && styles.small)} data-hue={hue(id, HUES)}>
      <span aria-hidden="true">{initials(name)}</span>
      {channel && (
        <span className={styles.mark} data-kind={channel.kind} role="img"
          aria-label={`${t.channelKind(channel.kind)}, ${channel.title}`} title={`${t.channelKind(channel.kind)}: ${channel.title}`}>
          {LETTERS[channel.kind] ?? channel.kind.charAt(0).toUpperCase()}
        </span>
      )}
    </span>
  )
}
