/** Who the client is, as far as the messenger tells; the card's own data come with the CRM link. */
import type { ReactNode } from 'react'
import { dayAndTime } from '../format'
import { useNow, useRoute, useStore } from '../hooks'
import { t } from '../i18n'
import { Avatar } from './avatar'
import { UnlinkedIcon } from './icons'
import { Phone } from './phone'
import styles from './client-panel.module.css'

export function ClientPanel() {
  const { chat } = useRoute()
  const now = useNow()
  const row = useStore(`c:${chat}`, (store) => (chat === null ? undefined : store.conversations.get(chat)))
  const messenger = useStore('channels', (store) => (row ? store.kindTitle(row.channel.kind, row.channel.id) : ''))
  if (!row) return <p className={styles.empty}>{t.panel.unreadable}</p>
  const { contact, request } = row
  return (
    <div className={styles.panel} data-testid="client-panel" tabIndex={-1}>
      <div className={styles.who}>
        <Avatar id={row.id} name={row.title} large />
        <h2 className={styles.name}>{row.client?.name ?? row.title}</h2>
        {row.client?.status && <p className={styles.state}>{row.client.status}</p>}
      </div>
      {!row.client && (
        <div className={styles.unlinked}>
          <UnlinkedIcon size={18} />
          <div><p>{t.panel.unlinked}</p><p className={styles.hint}>{t.panel.unlinkedHint}</p></div>
        </div>
      )}
      <Block title={t.panel.contact}>
        {contact.name !== row.title && <Line name={t.panel.contact}>{contact.name}</Line>}
        {contact.phone && <Line name={t.panel.phone}><Phone phone={contact.phone} call /></Line>}
        {contact.username && <Line name={t.panel.username}>@{contact.username.replace(/^@/, '')}</Line>}
        <Line name={t.panel.channel}>{row.channel.title}<br /><span className={styles.hint}>{messenger}</span></Line>
      </Block>
      <Block title={t.panel.dialogue}>
        <Line name={t.panel.status}>{t.status[row.box]}</Line>
        <Line name={t.panel.assignee}>{row.assignee?.name ?? t.panel.nobody}</Line>
        {request && <Line name={t.panel.request}>№ {request.number}</Line>}
        {request && <Line name={t.panel.opened}>{dayAndTime(Date.parse(request.opened_at), now)}</Line>}
      </Block>
    </div>
  )
}

function Block({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className={styles.block}>
      <h3 className={styles.title}>{title}</h3>
      <dl className={styles.lines}>{children}</dl>
    </section>
  )
}

function Line({ name, children }: { name: string; children: ReactNode }) {
  return <div className={styles.line}><dt>{name}</dt><dd>{children}</dd></div>
}
