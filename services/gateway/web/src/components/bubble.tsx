/** One message: its text (never HTML), author, time, state, and what can be done when it did not go. */
import { memo, useCallback } from 'react'
import { oneLine, pieces, timeOfDay } from '../format'
import { cx, useDesk } from '../hooks'
import { t } from '../i18n'
import { isHistory } from '../store/dialogues'
import type { Pending } from '../store/outbox'
import type { Message } from '../wire'
import { Attachments } from './attachments'
import { MoreIcon } from './icons'
import type { Watch } from './messages'
import { PendingFiles } from './pending-files'
import { Tick } from './tick'
import styles from './bubble.module.css'

/** Opens the menu of a message beside the button that asked for it. */
export type OpenMenu = (message: Message, opener: HTMLElement) => void

type BubbleProps = { ms: number; first: boolean; last: boolean; me: string; watch: Watch; onMenu: OpenMenu } & (
  | { message: Message; album: readonly Message[] | null; pending?: never }
  | { pending: Pending; message?: never; album?: never }
)

/** A text on its way and the same text answered by the server are one component, so nothing blinks between. */
export const Bubble = memo(function Bubble({ message, album, pending, ms, first, last, me, watch, onMenu }: BubbleProps) {
  const direction = message?.direction ?? (pending?.note ? 'note' : 'out')
  // Of an album the last one is watched: seen is what has been seen to its end.
  const id = album?.at(-1)?.id ?? message?.id ?? pending?.client_msg_id ?? ''
  const state = message?.state ?? (pending && onItsWay(pending) ? 'pending' : (pending?.state ?? ''))
  // One that came late stands where it was written, unless an answer of ours was there before it.
  const wrote = message?.late && message.provider_time ? timeOfDay(Date.parse(message.provider_time)) : null
  const author = message && first ? authorName(message, me) : ''
  const watched = direction === 'in'
  const ref = useCallback((element: HTMLDivElement | null) => (watched ? watch(element, id) : undefined), [watch, watched, id])
  const bare = message !== undefined && !message.deleted && message.kind === 'sticker' && message.attachments?.length === 1
  return (
    <div className={cx(styles.line, direction !== 'in' && styles.out, last && styles.lastLine)}>
      <div className={styles.row}>
        <div ref={ref} className={cx(styles.bubble, look(message, pending), first && styles.first, bare && styles.bare)} data-testid="message" data-id={id}
          data-state={state} data-direction={direction} data-kind={message?.kind ?? 'text'}
          onContextMenu={message ? (event) => {
            event.preventDefault()
            // From the button beside it, which can take the focus back.
            onMenu(message, event.currentTarget.parentElement?.querySelector('button[aria-haspopup="menu"]') ?? event.currentTarget)
          } : undefined}>
        {author && <div className={styles.author}>{author}</div>}
        {message?.deleted ? <div className={styles.quiet}>{t.dialogue.deleted}</div> : <Content message={message} album={album ?? null} pending={pending} />}
        <div className={styles.meta}>
          {message?.edited && !message.deleted && <span title={earlier(message)}>{t.dialogue.edited}</span>}
          {wrote && <span>{t.dialogue.late(wrote)}</span>}
          {wrote !== timeOfDay(ms) && <time dateTime={new Date(ms).toISOString()}>{timeOfDay(ms)}</time>}
          {(direction === 'out' || pending) && <Tick state={state} />}
        </div>
        </div>
        {message && (
          <button type="button" className={styles.more} aria-label={t.dialogue.more} title={t.dialogue.more} aria-haspopup="menu" data-testid="message-menu"
            onClick={(event) => onMenu(message, event.currentTarget)}>
            <MoreIcon size={18} />
          </button>
        )}
      </div>
      {message && <Reactions signs={(album ?? [message]).flatMap((part) => (part.deleted ? [] : (part.reactions ?? [])))} />}
      {message && !message.deleted && (message.buttons?.length ?? 0) > 0 && <Buttons message={message} />}
      {message?.state === 'failed' && direction === 'out' && !message.deleted && <FailedMessage message={message} />}
      {message?.state === 'unknown' && direction === 'out' && !message.deleted && <UnknownMessage message={message} />}
      {pending && !onItsWay(pending) && <Unsent pending={pending} />}
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

function Content({ message, album, pending }: { message: Message | undefined; album: readonly Message[] | null; pending: Pending | undefined }) {
  const parts = album ?? (message ? [message] : [])
  const text = message ? parts.map((part) => part.text).filter(Boolean).join('\n') : (pending?.text ?? '')
  const kind = message?.kind ?? 'text'
  const quote = message?.quote ?? pending?.quote
  // The emoji that comes with a sticker is its description, not a text.
  const sticker = kind === 'sticker' && message?.attachments?.[0]?.state === 'ready'
  const carried = parts.some((part) => (part.attachments?.length ?? 0) > 0 || part.place || part.shared_contact || part.shared_link)
  return (
    <>
      {quote && <div className={styles.quote}>{quote.author && <strong>{quote.author}</strong>}<span>{oneLine(quote.text)}</span></div>}
      {carried && <Attachments messages={parts} />}
      {pending?.files && <PendingFiles pending={pending} files={pending.files} />}
      {kind !== 'text' && !carried && !text && <div className={styles.quiet}>{t.kinds[kind] ?? t.kinds.unsupported}</div>}
      {kind === 'unsupported' && text && <div className={styles.quiet}>{t.kinds.unsupported}</div>}
      {text && !sticker && (
        <div className={styles.text}>
          {pieces(text).map((piece, i) => (
            piece.href ? <a key={i} href={piece.href} target="_blank" rel="noopener noreferrer">{piece.text}</a> : piece.text
          ))}
        </div>
      )}
    </>
  )
}

/** Signs put on a message, the same ones counted. */
function Reactions({ signs }: { signs: readonly string[] }) {
  if (signs.length === 0) return null
  const counts = new Map<string, number>()
  for (const sign of signs) counts.set(sign, (counts.get(sign) ?? 0) + 1)
  return (
    <div className={styles.reactions} role="img" aria-label={t.dialogue.reactions(signs)} data-testid="reactions">
      {[...counts].map(([sign, count]) => <span key={sign}>{sign}{count > 1 && <small>{count}</small>}</span>)}
    </div>
  )
}

/** What the client's phone shows under the message; only pages can be opened from here. */
function Buttons({ message }: { message: Message }) {
  return (
    <div className={styles.buttons} role="group" aria-label={t.dialogue.buttons} data-testid="buttons">
      {message.buttons?.map((row, i) => (
        <div key={i} className={styles.buttonRow}>
          {row.map((button, j) => (
            button.url && /^https?:/i.test(button.url)
              ? <a key={j} href={button.url} target="_blank" rel="noopener noreferrer">{button.text}</a>
              : <span key={j}>{button.text}</span>
          ))}
        </div>
      ))}
    </div>
  )
}

function FailedMessage({ message }: { message: Message }) {
  const { deeds } = useDesk()
  return (
    <div className={styles.trouble} role="alert" data-testid="failed">
      <span>{t.states.failed}. {message.failure?.text || t.failure(message.failure?.code)}</span>
      {!isHistory(message) && (
        <span className={styles.ways}>
          <button type="button" onClick={() => void deeds.retry(message)}>{t.dialogue.retry}</button>
          <button type="button" onClick={() => void deeds.withdraw(message)}>{t.dialogue.remove}</button>
        </span>
      )}
    </div>
  )
}

/** Nobody can know: the messenger never answered. A person looks and decides. */
function UnknownMessage({ message }: { message: Message }) {
  const { deeds } = useDesk()
  return (
    <div className={styles.doubt} role="alert" data-testid="unknown">
      <span>{t.dialogue.unknown}</span>
      <span className={styles.ways}>
        <button type="button" onClick={() => void deeds.resolve(message, 'sent')}>{t.dialogue.asSent}</button>
        <button type="button" title={t.dialogue.resolveHint} onClick={() => void deeds.resolve(message, 'resend')}>{t.dialogue.sendAgain}</button>
        <button type="button" onClick={() => void deeds.resolve(message, 'failed')}>{t.dialogue.asFailed}</button>
      </span>
    </div>
  )
}

function Unsent({ pending }: { pending: Pending }) {
  const { sending, store } = useDesk()
  const held = pending.state === 'held'
  const chat = pending.conversation_id
  if (pending.state === 'lost') {
    const takeBack = () => {
      const draft = store.drafts.get(chat)
      store.drafts.set(chat, draft ? `${pending.text}\n${draft}` : pending.text)
      store.outbox.remove(pending.client_msg_id)
    }
    return (
      <div className={styles.trouble} role="alert" data-testid="lost-files">
        <span>{t.dialogue.lostFiles}</span>
        <span className={styles.ways}>
          {pending.text && <button type="button" onClick={takeBack}>{t.dialogue.takeBack}</button>}
          <button type="button" onClick={() => sending.discard(pending.client_msg_id)}>{t.dialogue.remove}</button>
        </span>
      </div>
    )
  }
  return (
    <div className={styles.trouble} role="alert">
      <span>{held ? t.dialogue.held : `${t.states.failed}. ${t.failure(pending.code, pending.reason)}`}</span>
      <span className={styles.ways}>
        <button type="button" onClick={() => sending.again(pending.client_msg_id)}>{held ? t.dialogue.send : t.dialogue.retry}</button>
        <button type="button" onClick={() => sending.discard(pending.client_msg_id)}>{t.dialogue.remove}</button>
      </span>
    </div>
  )
}

function onItsWay({ state }: Pending): boolean {
  return state === 'sending' || state === 'uploading' || state === 'asking'
}

/** What stood there before the client changed it. */
function earlier(message: Message): string | undefined {
  return message.versions?.map((version) => `${timeOfDay(Date.parse(version.at))}  ${version.text}`).join('\n')
}

function look(message: Message | undefined, pending: Pending | undefined): string | undefined {
  if (pending?.note) return styles.note
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
