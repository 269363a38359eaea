/** One message: its text (never HTML), author, time, state, and what can be done when it did not go. */
import { memo, useCallback, useState } from 'react'
import { pieces, timeOfDay } from '../format'
import { cx, useDesk } from '../hooks'
import { t } from '../i18n'
import type { Pending } from '../store/outbox'
import type { Message } from '../wire'
import { AlertIcon, CheckIcon, ChecksIcon, ClockIcon, QuestionIcon } from './icons'
import type { Watch } from './messages'
import styles from './bubble.module.css'

type BubbleProps = { ms: number; first: boolean; last: boolean; me: string; watch: Watch } & (
  | { message: Message; pending?: never }
  | { pending: Pending; message?: never }
)

/** A text on its way and the same text answered by the server are one component, so nothing blinks between. */
export const Bubble = memo(function Bubble({ message, pending, ms, first, last, me, watch }: BubbleProps) {
  const direction = message?.direction ?? 'out'
  const id = message?.id ?? pending?.client_msg_id ?? ''
  const state = message?.state ?? (pending?.state === 'sending' || pending?.state === 'asking' ? 'pending' : (pending?.state ?? ''))
  const author = message && first ? authorName(message, me) : ''
  const watched = direction === 'in'
  const ref = useCallback((element: HTMLDivElement | null) => (watched ? watch(element, id) : undefined), [watch, watched, id])
  return (
    <div className={cx(styles.line, direction !== 'in' && styles.out, last && styles.lastLine)}>
      <div ref={ref} className={cx(styles.bubble, look(message), first && styles.first)} data-testid="message" data-id={id} data-state={state}
        data-direction={direction}>
        {author && <div className={styles.author}>{author}</div>}
        {message?.deleted ? <div className={styles.quiet}>{t.dialogue.deleted}</div> : <Content message={message} pending={pending} />}
        <div className={styles.meta}>
          {message?.edited && !message.deleted && <span>{t.dialogue.edited}</span>}
          {message?.late && message.provider_time && <span>{t.dialogue.late(timeOfDay(Date.parse(message.provider_time)))}</span>}
          <time dateTime={new Date(ms).toISOString()}>{timeOfDay(ms)}</time>
          {direction === 'out' && <Tick state={state} />}
        </div>
      </div>
      {message?.state === 'failed' && direction === 'out' && <FailedMessage message={message} />}
      {pending && pending.state !== 'sending' && <Unsent pending={pending} />}
    </div>
  )
})

export function SystemLine({ message }: { message: Message }) {
  return (
    <div className={styles.system} data-testid="message" data-id={message.id} data-state={message.state} data-direction="system">
      {message.text} <time dateTime={message.pos_at}>{timeOfDay(Date.parse(message.pos_at))}</time>
    </div>
  )
}

function Content({ message, pending }: { message: Message | undefined; pending: Pending | undefined }) {
  const text = message?.text ?? pending?.text ?? ''
  const kind = message?.kind ?? 'text'
  return (
    <>
      {kind !== 'text' && <div className={styles.quiet}>{t.kinds[kind] ?? t.kinds.unsupported}</div>}
      {text && (
        <div className={styles.text}>
          {pieces(text).map((piece, i) => (
            piece.href ? <a key={i} href={piece.href} target="_blank" rel="noopener noreferrer">{piece.text}</a> : piece.text
          ))}
        </div>
      )}
    </>
  )
}

function Tick({ state }: { state: string }) {
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

function FailedMessage({ message }: { message: Message }) {
  const { sending } = useDesk()
  const [refused, setRefused] = useState(false)
  const retry = async () => setRefused(!(await sending.retry(message)))
  return (
    <div className={styles.trouble} role="alert">
      <span>{refused ? t.dialogue.cannotRetry : `${t.states.failed}. ${t.failure(message.failure?.code)}`}</span>
      {!refused && <button type="button" onClick={() => void retry()}>{t.dialogue.retry}</button>}
    </div>
  )
}

function Unsent({ pending }: { pending: Pending }) {
  const { sending } = useDesk()
  const held = pending.state === 'held'
  if (pending.state === 'asking') return null
  return (
    <div className={styles.trouble} role="alert">
      <span>{held ? t.dialogue.held : `${t.states.failed}. ${t.failure(pending.code)}`}</span>
      <button type="button" onClick={() => sending.again(pending.client_msg_id)}>{held ? t.dialogue.send : t.dialogue.retry}</button>
      <button type="button" onClick={() => sending.discard(pending.client_msg_id)}>{t.dialogue.remove}</button>
    </div>
  )
}

function look(message: Message | undefined): string | undefined {
  if (message?.direction === 'in') return styles.inbound
  if (message?.direction === 'note') return styles.note
  return message && message.author.kind !== 'operator' ? styles.bot : styles.outbound
}

/** Own texts need no name, the client's stands above; colleagues, the bot and the system are named. */
function authorName(message: Message, me: string): string {
  const { kind, id, name } = message.author
  const prefix = message.direction === 'note' ? `${t.dialogue.note}: ` : ''
  switch (kind) {
    case 'client': return ''
    case 'operator': return id === me ? prefix && prefix + t.dialogue.you : prefix + (name || t.dialogue.operator)
    case 'bot': return t.dialogue.bot
    case 'autoresponder': return t.dialogue.autoresponder
    case 'system': return t.dialogue.system
  }
}
