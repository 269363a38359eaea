/** A colleague was quicker: what he wrote is shown, and the operator decides about his own text. */
import { Button } from '@mantine/core'
import { timeOfDay, wordsOf } from '../format'
import { t } from '../i18n'
import type { Pending } from '../store/outbox'
import type { Message } from '../wire'
import { Question } from './question'
import styles from './composer.module.css'

export default function Collision({ pending, onSend, onEdit }: { pending: Pending; onSend: () => void; onEdit: () => void }) {
  const unseen = (pending.unseen ?? []).filter((message) => message.direction !== 'system')
  const colleague = unseen.find((message) => message.direction === 'out' && message.author.name)?.author.name ?? ''
  return (
    <Question title={t.collision.title} onClose={onEdit}>
      <div data-testid="collision">
        <p className={styles.question}>{t.collision.text(colleague)}</p>
        {unseen.length > 0 && <p className={styles.caption}>{t.collision.unseen}</p>}
        <ul className={styles.unseen}>{unseen.slice(-5).map((message) => <Unseen key={message.id} message={message} />)}</ul>
        <p className={styles.yours}><span>{t.collision.yours}</span> {pending.text || t.media.album(pending.files?.length ?? 0)}</p>
        <div className={styles.buttons}>
          <Button variant="default" onClick={onEdit}>{pending.template ? t.collision.drop : t.collision.edit}</Button>
          <Button onClick={onSend} data-testid="send-anyway" data-autofocus>{t.collision.send}</Button>
        </div>
      </div>
    </Question>
  )
}

function Unseen({ message }: { message: Message }) {
  return (
    <li className={message.direction === 'in' ? styles.theirs : styles.ours}>
      <strong>{message.author.name ?? (message.direction === 'in' ? t.dialogue.inbound : t.dialogue.operator)}</strong>
      <time dateTime={message.pos_at}>{timeOfDay(Date.parse(message.pos_at))}</time>
      <span>{wordsOf(message)}</span>
    </li>
  )
}
