/** Where the answer is written: draft, limit, the reasons why one cannot write, and the guard against double answers. */
import { Button, Textarea } from '@mantine/core'
import { useEffect, useRef, useState, type KeyboardEvent } from 'react'
import { useDesk, useStore } from '../hooks'
import { t } from '../i18n'
import type { Conversation } from '../store/conversations'
import { lastN } from '../store/dialogues'
import type { Pending } from '../store/outbox'
import { BlockedIcon, SendIcon } from './icons'
import { Question } from './question'
import styles from './composer.module.css'

const COMPOSER_ID = 'composer'
/** The counter appears at this share of the channel's limit. */
const COUNT_FROM = 0.8

export function focusComposer(): void {
  document.getElementById(COMPOSER_ID)?.focus()
}

export function Composer({ row }: { row: Conversation }) {
  const desk = useDesk()
  const { store, sending } = desk
  const chat = row.id
  const channel = useStore('channels', (whole) => whole.channel(row.channel.id))
  const asking = useStore(`o:${chat}`, (whole) => whole.outbox.of(chat)).find((pending) => pending.state === 'asking')
  const [text, setText] = useState(() => store.drafts.get(chat))
  const field = useRef<HTMLTextAreaElement>(null)
  const seen = () => lastN(store.dialogues.get(chat)?.items ?? [])
  // What the author had seen when this text was begun; an answer that comes while one types is not seen by that.
  const begun = useRef<number | null>(null)
  const limit = channel?.limits?.text ?? null
  const tooLong = limit !== null && text.length > limit
  const ready = text.trim() !== '' && !tooLong

  useEffect(() => {
    if (desk.wantsComposer) field.current?.focus()
    desk.wantsComposer = false
  }, [desk])

  const change = (next: string) => {
    if (text === '' && next !== '') begun.current = seen()
    setText(next)
    store.drafts.set(chat, next)
  }

  const send = () => {
    if (!ready) return
    sending.write(chat, text.trim(), begun.current ?? seen())
    begun.current = null
    change('')
    field.current?.focus()
  }

  const onKeyDown = (event: KeyboardEvent) => {
    // While an input method composes, Enter picks a word and must not send.
    if (event.nativeEvent.isComposing || event.keyCode === 229) return
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault()
      send()
    } else if (event.key === 'Escape') {
      field.current?.blur()
      document.getElementById('chat-list')?.focus()
    }
  }

  if (row.contact.blocked) {
    return (
      <div className={styles.banner} data-testid="blocked" role="status">
        <BlockedIcon /> <span><strong>{t.composer.blocked}</strong> {t.composer.blockedHint}</span>
      </div>
    )
  }
  if (channel?.connected === false) return <div className={styles.banner} role="status">{t.composer.disconnected}</div>
  if (row.window?.open === false) return <div className={styles.banner} role="status">{t.composer.windowClosed}</div>

  return (
    <div className={styles.composer} data-testid="composer">
      {row.handler === 'bot' && row.status !== 'closed' && <p className={styles.note}>{t.composer.withBot}</p>}
      {row.status === 'closed' && <p className={styles.note}>{t.composer.closed}</p>}
      <form className={styles.form} onSubmit={(event) => { event.preventDefault(); send() }}>
        <Textarea ref={field} id={COMPOSER_ID} className={styles.field} aria-label={t.composer.label} placeholder={t.composer.placeholder}
          title={t.composer.hint} autosize minRows={1} maxRows={8} size="md" value={text} onChange={(event) => change(event.currentTarget.value)}
          onKeyDown={onKeyDown} error={tooLong} />
        <Button type="submit" size="md" className={styles.send} data-testid="send" aria-label={t.composer.send} disabled={!ready}>
          <span className={styles.word}>{t.composer.send}</span><SendIcon size={19} />
        </Button>
      </form>
      {limit !== null && text.length >= limit * COUNT_FROM && (
        <p className={tooLong ? styles.over : styles.count} role="status">
          {text.length} / {limit}. {tooLong ? t.composer.over(text.length - limit) : t.composer.left(limit - text.length)}
        </p>
      )}
      {asking && (
        <Collision pending={asking}
          onSend={() => { sending.again(asking.client_msg_id, true); focusComposer() }}
          onEdit={() => {
            sending.discard(asking.client_msg_id)
            const next = text ? `${asking.text}\n${text}` : asking.text
            setText(next)
            store.drafts.set(chat, next)
            // The colleague's answer has been shown by now.
            begun.current = seen()
            focusComposer()
          }} />
      )}
    </div>
  )
}

function Collision({ pending, onSend, onEdit }: { pending: Pending; onSend: () => void; onEdit: () => void }) {
  return (
    <Question title={t.collision.title} onClose={onEdit}>
      <div data-testid="collision">
        <p className={styles.question}>{t.collision.text(pending.colleague ?? '')}</p>
        <p className={styles.yours}><span>{t.collision.yours}</span> {pending.text}</p>
        <div className={styles.buttons}>
          <Button variant="default" onClick={onEdit}>{t.collision.edit}</Button>
          <Button onClick={onSend} data-testid="send-anyway" data-autofocus>{t.collision.send}</Button>
        </div>
      </div>
    </Question>
  )
}
