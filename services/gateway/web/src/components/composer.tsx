/** Where the answer is written: text, files, notes, drafts, the reasons why one cannot write, the guard. */
import { ActionIcon, Button, Textarea } from '@mantine/core'
import { lazy, useEffect, useRef, useState, type ClipboardEvent, type KeyboardEvent } from 'react'
import { cx, useDesk, useNow, useReplyTime, useStore } from '../hooks'
import { t } from '../i18n'
import { dayAndTime, wordsOf } from '../format'
import type { Conversation } from '../store/conversations'
import { isOver, lengthIn, textLimit } from '../limits'
import { isLong, type ReplyTime } from '../reply-time'
import { lastN } from '../store/dialogues'
import type { Message } from '../wire'
import { AttachButton, Tray, useAttach } from './attach'
import { Collision } from './ahead'
import { ClosedWindow } from './closed-window'
import { BlockedIcon, CheckIcon, ClearIcon, ClockIcon, NoteIcon, PlugIcon, ReplyIcon, SendIcon } from './icons'
import { Later } from './later'
import type { KeptValues } from './template-picker'
import { Typing } from './viewers'
import styles from './composer.module.css'

const TemplatePicker = lazy(() => import('./template-picker'))

const COMPOSER_ID = 'composer'
/** The counter appears at this share of the channel's limit. */
const COUNT_FROM = 0.8

export function focusComposer(): void {
  document.getElementById(COMPOSER_ID)?.focus()
}

interface ComposerProps {
  row: Conversation
  replyTo: Message | null
  onReplied: () => void
}

export function Composer({ row, replyTo, onReplied }: ComposerProps) {
  const desk = useDesk()
  const { store, sending, uploads, presenting } = desk
  const chat = row.id
  const channel = useStore('channels', (whole) => whole.channel(row.channel.id))
  const asking = useStore(`o:${chat}`, (whole) => whole.outbox.of(chat)).find((pending) => pending.state === 'asking')
  const files = useStore(`u:${chat}`, () => uploads.tray(chat))
  const draft = useStore(`t:${chat}`, (whole) => whole.drafts.get(chat))
  const [written, setWritten] = useState(draft)
  const [note, setNote] = useState(false)
  // When the time to answer is over, the draft waits untouched and a note is written beside it.
  const [aside, setAside] = useState('')
  const [picking, setPicking] = useState(false)
  const [kept] = useState<KeptValues>(() => new Map())
  const hours = channel?.reply_window_hours ?? null
  const time = useReplyTime(row.window, hours)
  const templates = channel?.abilities?.templates === true
  const shut = time.closed
  const isAside = note && (shut || aside !== '')
  const text = isAside ? aside : written
  const field = useRef<HTMLTextAreaElement>(null)
  const attach = useAttach(row)
  const seen = () => lastN(store.dialogues.get(chat)?.items ?? [])
  // What the author had seen when this text was begun; an answer that comes while one types is not seen by that.
  const begun = useRef<number | null>(null)
  const limit = note || !channel ? null : textLimit(channel)
  // Too long to stand under a file, it goes as a message of its own: nothing to refuse, but good to know.
  const apart = files.length > 0 && !note && channel !== undefined && isOver(textLimit(channel, 'caption'), text)
  const length = limit ? lengthIn(limit.unit, text) : 0
  const tooLong = limit !== null && length > limit.most
  const ready = (text.trim() !== '' || (files.length > 0 && !note)) && !tooLong

  useEffect(() => {
    if (desk.wantsComposer) focusComposer()
    desk.wantsComposer = false
  }, [desk])
  useEffect(() => { if (replyTo) field.current?.focus() }, [replyTo])
  // Somebody else put words into the draft: an unsent message taken back.
  const own = useRef(draft)
  useEffect(() => {
    if (draft === own.current) return
    own.current = draft
    setWritten(draft)
  }, [draft])

  const change = (next: string) => {
    if (isAside) return setAside(next)
    if (text === '' && next !== '') begun.current = seen()
    setWritten(next)
    own.current = next
    store.drafts.set(chat, next)
  }

  const send = () => {
    if (!ready) return
    sending.write(chat, text.trim(), begun.current ?? seen(), {
      ...(note ? { note } : {}),
      ...(replyTo && !note ? { replyTo, quoted: replyTo.author.name ?? (replyTo.direction === 'in' ? row.title : t.dialogue.you) } : {}),
    })
    begun.current = null
    change('')
    presenting.rests(chat)
    setNote(false)
    onReplied()
    field.current?.focus()
  }

  const onKeyDown = (event: KeyboardEvent) => {
    // While an input method composes, Enter picks a word and must not send.
    if (event.nativeEvent.isComposing || event.keyCode === 229) return
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault()
      send()
    } else if (event.key === 'Escape') {
      if (replyTo) return onReplied()
      if (note) return setNote(false)
      field.current?.blur()
      document.getElementById('chat-list')?.focus()
    }
  }

  const onPaste = (event: ClipboardEvent) => {
    const pasted = [...event.clipboardData.files]
    // Office programs put a picture of the text beside the text; the text is what was meant.
    if (pasted.length === 0 || event.clipboardData.types.includes('text/plain')) return
    event.preventDefault()
    if (note) store.notices.say(t.attach.noteOnly, 'trouble')
    else attach(pasted)
  }

  if (row.contact.blocked) {
    return (
      <div className={styles.banner} data-testid="blocked" role="status">
        <BlockedIcon /> <span><strong>{t.composer.blocked}</strong> {t.composer.blockedHint}</span>
      </div>
    )
  }
  if (channel?.connected === false) return <Disconnected problem={channel.problem ?? null} />

  const beside = (
    <>
      {picking && (
        <Later><TemplatePicker channel={row.channel.id} kept={kept} onClose={() => setPicking(false)} onSend={(template, words) => {
          setPicking(false)
          sending.write(chat, words, seen(), { template })
        }} /></Later>
      )}
      {asking && (
        <Later><Collision pending={asking}
          onSend={() => { sending.again(asking.client_msg_id, true); focusComposer() }}
          onEdit={() => {
            if (asking.template) sending.discard(asking.client_msg_id)
            else {
              const taken = sending.takeBack(asking.client_msg_id)
              change(text ? `${taken}\n${text}` : taken)
              // The colleague's answer has been shown by now.
              begun.current = seen()
            }
            focusComposer()
          }} /></Later>
      )}
    </>
  )
  if (shut && !note) {
    return (
      <div className={styles.composer} data-testid="composer" data-mode={templates ? 'template' : 'closed'}>
        <Typing chat={chat} />
        <ClosedWindow id={COMPOSER_ID} until_ms={time.until_ms} draft={written} onTemplate={templates ? () => setPicking(true) : null} onNote={() => setNote(true)} />
        {beside}
      </div>
    )
  }

  return (
    <div className={cx(styles.composer, note && styles.noting)} data-testid="composer" data-mode={note ? 'note' : 'answer'}>
      <Typing chat={chat} />
      {!note && <TimeLeft time={time} hours={hours} />}
      {row.handler === 'bot' && row.status !== 'closed' && !note && <p className={styles.note}>{t.composer.withBot}</p>}
      {row.status === 'closed' && !note && <p className={styles.note}>{t.composer.closed}</p>}
      {replyTo && !note && (
        <div className={styles.reply} data-testid="replying">
          <ReplyIcon size={18} />
          <span className={styles.replyText}><strong>{replyTo.author.name ?? row.title}</strong> {wordsOf(replyTo)}</span>
          <button type="button" className={styles.small} aria-label={t.composer.cancelReply} onClick={onReplied}><ClearIcon size={16} /></button>
        </div>
      )}
      {!note && <Tray chat={chat} files={files} />}
      <form className={styles.form} onSubmit={(event) => { event.preventDefault(); send() }}>
        <AttachButton onFiles={attach} onTemplate={templates ? () => setPicking(true) : null} disabled={note} />
        <ActionIcon variant={note ? 'filled' : 'subtle'} color={note ? 'yellow' : 'gray'} size={42} className={note ? styles.noteOn : styles.tool} aria-pressed={note}
          aria-label={t.composer.noteOn} title={note ? t.composer.noteOff : t.composer.noteOn} onClick={() => { setNote(!note); field.current?.focus() }}
          data-testid="note-mode">
          <NoteIcon size={22} />
        </ActionIcon>
        <Textarea ref={field} id={COMPOSER_ID} className={styles.field} aria-label={note ? t.composer.noteLabel : t.composer.label}
          placeholder={note ? t.composer.notePlaceholder : t.composer.placeholder} title={t.composer.hint} autosize minRows={1} maxRows={8} size="md" value={text}
          onChange={(event) => {
            change(event.currentTarget.value)
            // Colleagues need not know of notes, nor of a text that was only taken away.
            if (event.currentTarget.value && !note) presenting.types(chat)
          }}
          onKeyDown={onKeyDown} onPaste={onPaste} error={tooLong} />
        <Button type="submit" size="md" className={note ? styles.saveNote : styles.send} data-testid="send" aria-label={note ? t.composer.saveNote : t.composer.send} disabled={!ready}>
          <span className={styles.word}>{note ? t.composer.noteMode : t.composer.send}</span>{note ? <CheckIcon size={19} /> : <SendIcon size={19} />}
        </Button>
      </form>
      {apart && !tooLong && <p className={styles.count} role="status">{t.composer.apart}</p>}
      {limit !== null && length >= limit.most * COUNT_FROM && (
        <p className={tooLong ? styles.over : styles.count} role="status" data-testid="length">
          {length} / {limit.most}. {tooLong ? t.composer.over(length - limit.most, limit.unit) : t.composer.left(limit.most - length, limit.unit)}
        </p>
      )}
      {beside}
    </div>
  )
}

/** Of several days: until when, quietly; once little is left, how much, where it is seen. */
function TimeLeft({ time, hours }: { time: ReplyTime; hours: number | null }) {
  const now = useNow()
  if (time.left_ms === null) {
    if (time.until_ms === null || !isLong(hours)) return null
    return <p className={styles.time} data-testid="window-until">{t.composer.windowUntil(dayAndTime(time.until_ms, now))}</p>
  }
  return (
    <p className={cx(styles.time, time.is_short && styles.short)} data-testid="window-left">
      {time.is_short && <ClockIcon size={16} />}{t.composer.windowLeft(Math.floor(time.left_ms / 60_000))}
    </p>
  )
}

/** Says what is wrong to everybody, and leads whoever may mend it there. */
function Disconnected({ problem }: { problem: string | null }) {
  const { router } = useDesk()
  const admin = useStore('me', (store) => store.me)?.roles.includes('admin') ?? false
  return (
    <div className={styles.banner} role="status" data-testid="disconnected">
      <PlugIcon />
      <span><strong>{t.composer.disconnected}.</strong> {problem ?? ''} {!admin && t.composer.disconnectedHint}</span>
      {admin && (
        <Button size="xs" variant="default" onClick={() => router.go({ list: 'active', chat: null, screen: 'channels' })}>{t.composer.toChannels}</Button>
      )}
    </div>
  )
}
