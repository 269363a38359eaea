/** One picture over the whole window: ←/→ to its neighbours, Esc back to where one was. */
import { Modal } from '@mantine/core'
import { useWindowEvent } from '@mantine/hooks'
import { useEffect, useState } from 'react'
import { dayAndTime } from '../format'
import { useDesk, useNow, useReturnFocus } from '../hooks'
import { t } from '../i18n'
import type { Attachment, Message } from '../wire'
import { download } from './attachments'
import { BackIcon, ClearIcon, DownloadIcon, ForwardIcon } from './icons'
import { useSigned } from './photo'
import styles from './lightbox.module.css'

export interface Shown {
  message: Message
  attachment: Attachment
}

export default function Lightbox({ all, start, onClose }: { all: readonly Shown[]; start: string; onClose: () => void }) {
  useReturnFocus()
  const { media } = useDesk()
  const now = useNow()
  const [id, setId] = useState(start)
  const at = Math.max(0, all.findIndex(({ attachment }) => attachment.id === id))
  const shown = all[at]
  const move = (by: number) => {
    const next = all[at + by]
    if (next) setId(next.attachment.id)
  }
  // On the window: a key pressed before the focus has come here counts too.
  useWindowEvent('keydown', (event) => {
    if (event.key === 'ArrowLeft') move(-1)
    else if (event.key === 'ArrowRight') move(1)
    else return
    event.preventDefault()
  })
  // The neighbour's address is there before one asks for it.
  const next = all[at + 1]?.attachment.url
  useEffect(() => { if (next) media.want(next) }, [next, media])
  if (!shown) return null
  const { attachment, message } = shown
  const save = async () => {
    const address = attachment.url ? await media.fresh(attachment.url) : null
    if (address) download(address, attachment.name || t.media.photo)
  }
  return (
    <Modal.Root opened onClose={onClose} fullScreen lockScroll={false} transitionProps={{ duration: 0 }} returnFocus={false} padding={0}
      classNames={{ content: styles.content ?? '', body: styles.body ?? '' }}>
      <Modal.Overlay backgroundOpacity={0.96} color="#000" />
      <Modal.Content aria-label={t.media.photo}>
        <Modal.Body>
          <div className={styles.bar}>
            <span className={styles.when}>{dayAndTime(Date.parse(message.pos_at), now)}</span>
            {all.length > 1 && <span className={styles.count} aria-live="polite">{t.media.ofAll(at + 1, all.length)}</span>}
            <span className={styles.space} />
            <button type="button" className={styles.button} onClick={() => void save()} aria-label={t.media.download} title={t.media.download}><DownloadIcon /></button>
            <button type="button" className={styles.button} onClick={onClose} aria-label={t.media.close} title={t.media.close} data-autofocus><ClearIcon /></button>
          </div>
          <div className={styles.stage} data-testid="lightbox" data-id={attachment.id} onClick={({ target, currentTarget }) => { if (target === currentTarget) onClose() }}>
            {at > 0 && <button type="button" className={styles.previous} onClick={() => move(-1)} aria-label={t.media.previous}><BackIcon size={26} /></button>}
            <Large key={attachment.id} attachment={attachment} />
            {at < all.length - 1 && <button type="button" className={styles.next} onClick={() => move(1)} aria-label={t.media.next}><ForwardIcon size={26} /></button>}
          </div>
          {message.text && <p className={styles.caption}>{message.text}</p>}
        </Modal.Body>
      </Modal.Content>
    </Modal.Root>
  )
}

function Large({ attachment }: { attachment: Attachment }) {
  const [full, broken] = useSigned(attachment.url)
  const [thumb] = useSigned(attachment.thumb_url)
  const [loaded, setLoaded] = useState(false)
  if (attachment.kind === 'video') {
    return full.url ? <video className={styles.large} src={full.url} controls autoPlay playsInline onError={broken} aria-label={t.media.video} /> : null
  }
  // The thumbnail is stretched to the photo's own place, so nothing jumps when the photo comes.
  const { width, height } = attachment
  const ratio = width && height
    ? { aspectRatio: `${width} / ${height}`, width: `min(${width}px, 100%, calc((100dvh - 150px) * ${(width / height).toFixed(4)}))` }
    : {}
  return (
    <span className={styles.holder} style={ratio}>
      {thumb.url && !loaded && <img className={styles.thumb} src={thumb.url} alt="" />}
      {full.url && (
        <img className={styles.photo} src={full.url} alt={attachment.name ?? t.media.photo} onLoad={() => setLoaded(true)} onError={broken}
          data-testid="full" data-loaded={loaded} />
      )}
      {(full.state === 'failed' || full.state === 'gone') && <span className={styles.failed} role="alert">{full.state === 'gone' ? t.media.gone : t.media.failed}</span>}
    </span>
  )
}
