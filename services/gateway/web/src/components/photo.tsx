/** Pictures of a message: their place is kept from the measures, the thumbnail comes first, a click opens them. */
import { useEffect, useState, useSyncExternalStore, type CSSProperties, type ReactNode } from 'react'
import { duration } from '../format'
import { cx, useDesk } from '../hooks'
import { fileSize, t } from '../i18n'
import type { Reading } from '../media'
import { placeOf, type Shape } from '../shapes'
import type { Attachment } from '../wire'
import { PlayIcon } from './icons'
import styles from './media.module.css'

const NOTHING: Reading = { state: 'loading', url: null }

/** The signed address of a file, asked for once it is wanted. The second: call when the browser could not read it. */
export function useSigned(path: string | null | undefined, wanted = true): [Reading, () => void] {
  const { media, store } = useDesk()
  const reading = useSyncExternalStore(
    (changed) => store.signals.subscribe(`m:${path}`, changed),
    () => (path ? media.of(path) : NOTHING),
  )
  useEffect(() => { if (path && wanted) media.want(path) }, [path, wanted, media])
  return [reading, () => { if (path) media.broken(path) }]
}

interface PhotoProps {
  attachment: Attachment
  /** What the sender's own browser still has of it. */
  preview: string | null
  /** In an album a cell gives the size. */
  cell?: boolean
  /** Not sent by the client but pointed at, e.g. the story they answer. */
  pointed?: boolean
  onOpen: () => void
}

export function Photo({ attachment, preview, cell = false, pointed = false, onOpen }: PhotoProps) {
  const [thumb, broken] = useSigned(attachment.thumb_url ?? attachment.url, attachment.state === 'ready')
  const label = attachment.name ? t.media.photoOf(attachment.name) : t.media.open
  const isVideo = attachment.kind === 'video'
  const readable = attachment.state === 'ready' && (!isVideo || attachment.thumb_url)
  return (
    <Frame shape={placeOf(attachment, pointed)} cell={cell}>
      {preview && !isVideo && <img className={styles.under} src={preview} alt="" />}
      {readable && thumb.url && <Picture src={thumb.url} alt={isVideo ? t.media.video : label} onError={broken} />}
      {attachment.state === 'ready' && (thumb.state === 'failed' || thumb.state === 'gone') && readable && !preview
        ? <Broken gone={thumb.state === 'gone'} onAgain={broken} />
        : attachment.state === 'ready' && (
          <button type="button" className={styles.open} onClick={onOpen} aria-label={isVideo ? t.media.playVideo : label}
            data-testid={isVideo ? 'video' : 'photo'} data-loaded={thumb.url ? 'thumb' : ''}>
            {isVideo && <span className={styles.playMark}><PlayIcon size={26} /></span>}
            {isVideo && <span className={styles.videoNote}>{[attachment.duration_s ? duration(attachment.duration_s) : '', attachment.size ? fileSize(attachment.size) : ''].filter(Boolean).join(' · ')}</span>}
          </button>
        )}
      {attachment.state === 'pending' && !preview && <span className={styles.coming} role="status">{t.media.pending}</span>}
    </Frame>
  )
}

/** Fades in when it has come, over whatever stands there meanwhile. */
function Picture({ src, alt, onError }: { src: string; alt: string; onError: () => void }) {
  const [loaded, setLoaded] = useState(false)
  return (
    <img className={cx(styles.picture, loaded && styles.loaded)} src={src} alt={alt} draggable={false} decoding="async"
      onLoad={() => setLoaded(true)} onError={onError} data-testid="thumb" />
  )
}

interface FrameProps {
  shape: Shape
  cell?: boolean
  children: ReactNode
}

export function Frame({ shape, cell = false, children }: FrameProps) {
  if (cell) return <div className={styles.cell}>{children}</div>
  const { width, height } = shape
  const style: CSSProperties = { width, aspectRatio: `${width} / ${height}` }
  return <div className={styles.frame} style={style}>{children}</div>
}

function Broken({ gone, onAgain }: { gone: boolean; onAgain: () => void }) {
  return (
    <span className={styles.coming} role="status">
      {gone ? t.media.gone : t.media.failed}
      {!gone && <button type="button" className={styles.again} onClick={onAgain}>{t.media.again}</button>}
    </span>
  )
}
