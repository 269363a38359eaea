/** One chat in the list: who, where, the last words, when, how many unread. */
import { memo } from 'react'
import { badge, oneLine, rowTime } from '../format'
import { cx, useReplyTime, useStore } from '../hooks'
import { t } from '../i18n'
import type { Conversation } from '../store/conversations'
import { Avatar } from './avatar'
import { AlertIcon, BlockedIcon, ClockIcon, UnlinkedIcon } from './icons'
import { Tick } from './tick'
import styles from './chat-row.module.css'

interface ChatRowProps {
  id: string
  index: number
  size: number
  active: boolean
  opened: boolean
  now: number
  onOpen: (id: string) => void
}

export const ChatRow = memo(function ChatRow({ id, index, size, active, opened, now, onOpen }: ChatRowProps) {
  const row = useStore(`c:${id}`, (store) => store.conversations.get(id))
  const me = useStore('me', (store) => store.me)?.id
  const typing = useStore(`p:${id}`, (store) => store.presence.typing(id))
  const draft = useStore(`t:${id}`, (store) => store.drafts.get(id))
  const hours = useStore('channels', (store) => (row ? (store.channel(row.channel.id)?.reply_window_hours ?? null) : null))
  const time = useReplyTime(row?.window, hours)
  if (!row) return <div className={styles.row} />
  const unread = row.unread > 0
  return (
    <div className={cx(styles.row, active && styles.active, opened && styles.opened, unread && styles.fresh)} role="option"
      id={rowId(id)} aria-selected={opened} aria-posinset={index + 1} aria-setsize={size} data-testid="chat-row" data-id={id}
      data-unread={row.unread} onClick={() => onOpen(id)}>
      <Avatar id={id} name={row.title} channel={row.channel} />
      <div className={styles.body}>
        <div className={styles.line}>
          <span className={styles.name} title={row.title}>{row.title}</span>
          {row.contact.blocked && <Mark label={t.list.blocked}><BlockedIcon size={15} /></Mark>}
          {!row.client && <Mark label={t.list.unlinked}><UnlinkedIcon size={15} /></Mark>}
          {time.is_short && time.left_ms !== null && row.status !== 'closed' && (
            <Mark label={t.list.timeLeft(Math.floor(time.left_ms / 60_000))} className={styles.short} testid="time-short"><ClockIcon size={15} /></Mark>
          )}
          <time className={styles.time} dateTime={row.activity_at}>{rowTime(row.activity_ms, now)}</time>
        </div>
        <div className={styles.line}>
          {typing.length > 0
            ? <span className={styles.typing}>{t.typing(typing.map((person) => person.name))}</span>
            : draft && !opened
            ? <span className={styles.last}><span className={styles.draft}>{t.list.draft}</span> {oneLine(draft)}</span>
            : <span className={styles.last}>{lastWords(row, me)}</span>}
          {row.last_message?.direction === 'out' && row.last_message.state && (row.last_message.state === 'failed'
            ? <span className={styles.failed} role="img" aria-label={t.list.lastFailed} title={t.list.lastFailed}><AlertIcon size={16} /></span>
            : typing.length === 0 && (!draft || opened) && <span className={styles.tick}><Tick state={row.last_message.state} /></span>)}
          {unread && (
            <span className={styles.badge}>
              <span aria-hidden="true">{badge(row.unread)}</span>
              <span className="visually-hidden">{t.list.unread(row.unread)}</span>
            </span>
          )}
        </div>
      </div>
    </div>
  )
})

export function rowId(id: string): string {
  return `row-${id}`
}

function Mark({ label, className, testid, children }: { label: string; className?: string | undefined; testid?: string; children: React.ReactNode }) {
  return <span className={cx(styles.mark, className)} role="img" aria-label={label} title={label} data-testid={testid}>{children}</span>
}

function lastWords(row: Conversation, me: string | undefined): string {
  const last = row.last_message
  if (!last) return t.list.noText
  const text = oneLine(last.text) || t.kinds[last.kind]
  if (last.direction === 'note') return `${t.dialogue.note}: ${text}`
  if (last.direction !== 'out') return text
  const author = last.author
  const who = author?.kind === 'bot' || author?.kind === 'autoresponder' ? t.byBot : author?.id === me ? t.you : author?.name ? `${author.name}:` : ''
  return `${who} ${text}`.trim()
}
