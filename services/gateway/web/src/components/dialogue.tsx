/** The centre: whose dialogue it is, its messages, the composer. */
import { ActionIcon, Button, Loader } from '@mantine/core'
import { useMediaQuery } from '@mantine/hooks'
import { useEffect, useState } from 'react'
import { useDesk, useRoute, useStore } from '../hooks'
import { t } from '../i18n'
import type { ConversationRow, Message } from '../wire'
import { DropZone } from './attach'
import { Avatar } from './avatar'
import { Composer } from './composer'
import { DialogueActions } from './dialogue-actions'
import { BackIcon, ChatsIcon, PersonIcon } from './icons'
import { Messages } from './messages'
import { Phone } from './phone'
import { Viewers } from './viewers'
import styles from './dialogue.module.css'

interface DialogueProps {
  /** `null` where the panel is always in sight. */
  onPanel: (() => void) | null
}

export function Dialogue({ onPanel }: DialogueProps) {
  const { chat } = useRoute()
  return (
    <main className={styles.dialogue} aria-label={t.dialogue.landmark} data-testid="dialogue" data-id={chat ?? ''}>
      {chat === null ? <Nothing /> : <Open key={chat} chat={chat} onPanel={onPanel} />}
    </main>
  )
}

function Nothing() {
  return (
    <div className={styles.nothing}>
      <ChatsIcon size={44} />
      <p className={styles.choose}>{t.dialogue.choose}</p>
      <p className={styles.hint}>{t.dialogue.chooseHint}</p>
    </div>
  )
}

function Open({ chat, onPanel }: { chat: string } & DialogueProps) {
  const { loading, store } = useDesk()
  const row = useStore(`c:${chat}`, (whole) => whole.conversations.get(chat))
  const dialogue = useStore(`d:${chat}`, (whole) => whole.dialogues.get(chat))
  const known = dialogue !== undefined
  const [replyTo, setReplyTo] = useState<Message | null>(null)

  useEffect(() => {
    if (known) store.dialogues.open(chat)
    else void loading.dialogue(chat)
  }, [chat, known, loading, store])
  // A window that ends before the dialogue does is not worth keeping: the next opening finds its own place.
  useEffect(() => () => { if (store.dialogues.get(chat)?.hasAfter) store.dialogues.forget(chat) }, [chat, store])

  if (dialogue?.state === 'error') {
    return (
      <>
        <Head chat={chat} onPanel={null} />
        <div className={styles.nothing} role="alert">
          <p className={styles.choose}>{row ? t.dialogue.failed : t.dialogue.gone}</p>
          <Button variant="light" onClick={() => void loading.dialogue(chat)}>{t.dialogue.again}</Button>
        </div>
      </>
    )
  }
  return (
    <>
      <Head chat={chat} onPanel={onPanel} />
      <DropZone row={row}>
        {row && dialogue?.state === 'ready'
          ? <Messages key={chat} row={row} dialogue={dialogue} onReply={setReplyTo} />
          : <div className={styles.nothing} aria-busy="true"><Loader size="sm" aria-label={t.starting} /></div>}
        {row && <Composer key={`composer ${chat}`} row={row} replyTo={replyTo} onReplied={() => setReplyTo(null)} />}
      </DropZone>
    </>
  )
}

function Head({ chat, onPanel }: { chat: string } & DialogueProps) {
  const { router } = useDesk()
  const { list } = useRoute()
  // Alone on a narrow screen, the dialogue is the page and its name the page's heading.
  const Name = useMediaQuery('(max-width: 760px)', false, { getInitialValueInEffect: false }) ? 'h1' : 'h2'
  const row = useStore(`c:${chat}`, (whole) => whole.conversations.get(chat))
  const me = useStore('me', (whole) => whole.me)
  const reach = row && <Reach contact={row.contact} title={row.title} />
  const holder = row?.assignee && (row.assignee.id === me?.id ? t.deeds.mine : t.deeds.heldBy(row.assignee.name))
  return (
    <div className={styles.head}>
      <ActionIcon variant="subtle" color="gray" size="lg" className={styles.back} aria-label={t.dialogue.back}
        onClick={() => router.go({ list, chat: null })}>
        <BackIcon />
      </ActionIcon>
      {row && <Avatar id={chat} name={row.title} channel={row.channel} />}
      <div className={styles.who}>
        <Name className={styles.name} title={row?.title}>
          {onPanel && row ? <button type="button" className={styles.toPanel} onClick={onPanel}>{row.title}</button> : row?.title}
        </Name>
        {row && (
          <p className={styles.where}>
            {reach}
            <span className={styles.rest}>
              {[row.channel.title, row.request && t.dialogue.request(row.request.number), t.status[row.box], holder].filter(Boolean).join(' · ')}
            </span>
          </p>
        )}
      </div>
      {row && <Viewers chat={chat} />}
      {row && <DialogueActions row={row} />}
      {onPanel && row && (
        <ActionIcon variant="subtle" color="gray" size="lg" className={styles.panel} aria-label={t.dialogue.panel} title={t.dialogue.panel}
          onClick={onPanel} data-testid="open-panel">
          <PersonIcon />
        </ActionIcon>
      )}
    </div>
  )
}

/** How else the client can be reached: the number, else the messenger's name; nothing if neither is known. */
function Reach({ contact: { phone, username }, title }: { contact: ConversationRow['contact']; title: string }) {
  if (phone) return <Phone phone={phone} />
  const name = username?.replace(/^@/, '')
  return name && name !== title ? <span className={styles.username}>@{name}</span> : null
}
