/** What can be done with one message; one menu for the whole dialogue, placed where it was asked for. */
import { Menu } from '@mantine/core'
import { copyText } from '../clipboard'
import { useDesk } from '../hooks'
import { t } from '../i18n'
import { isHistory } from '../store/dialogues'
import type { Message } from '../wire'
import { CopyIcon, ReplyIcon, RetryIcon, TrailIcon, TrashIcon, UnreadIcon } from './icons'
import styles from './messages.module.css'

export interface MenuPlace {
  message: Message
  opener: HTMLElement
  /** Within the frame of the messages, CSS pixels. */
  left: number
  top: number
}

interface MessageMenuProps {
  place: MenuPlace
  onClose: () => void
  onReply: (message: Message) => void
  onTrail: (message: Message) => void
}

export function MessageMenu({ place, onClose, onReply, onTrail }: MessageMenuProps) {
  const { deeds, store } = useDesk()
  const { message, opener } = place
  const out = message.direction === 'out'
  const stuck = out && !message.deleted && !isHistory(message) && (message.state === 'failed' || message.state === 'unknown' || message.state === 'queued')
  const close = () => {
    onClose()
    opener.focus({ preventScroll: true })
  }
  const copy = () => copyText(store, message.text, t.dialogue.copied)
  return (
    <Menu opened onChange={(opened) => { if (!opened) close() }} position={out ? 'bottom-end' : 'bottom-start'} width={264} withinPortal={false}
      withInitialFocusPlaceholder={false} transitionProps={{ duration: 0 }} returnFocus={false}>
      <Menu.Target><span className={styles.anchor} style={{ left: place.left, top: place.top }} /></Menu.Target>
      <Menu.Dropdown data-testid="message-actions">
        {message.text && !message.deleted && <Menu.Item leftSection={<CopyIcon size={18} />} onClick={() => void copy()}>{t.dialogue.copy}</Menu.Item>}
        {(message.direction === 'in' || out) && !message.deleted && !stuck && (
          <Menu.Item leftSection={<ReplyIcon size={18} />} onClick={() => onReply(message)}>{t.dialogue.reply}</Menu.Item>
        )}
        {message.direction === 'in' && !isHistory(message) && (
          <Menu.Item leftSection={<UnreadIcon size={18} />} onClick={() => void deeds.unread(message.conversation_id, message)}>{t.dialogue.unreadFrom}</Menu.Item>
        )}
        {stuck && message.state === 'failed' && (
          <Menu.Item leftSection={<RetryIcon size={18} />} onClick={() => void deeds.retry(message)}>{t.dialogue.retry}</Menu.Item>
        )}
        <Menu.Item leftSection={<TrailIcon size={18} />} onClick={() => onTrail(message)}>{t.dialogue.trail}</Menu.Item>
        {stuck && <Menu.Item color="red" leftSection={<TrashIcon size={18} />} onClick={() => void deeds.withdraw(message)}>{t.dialogue.remove}</Menu.Item>}
      </Menu.Dropdown>
    </Menu>
  )
}
