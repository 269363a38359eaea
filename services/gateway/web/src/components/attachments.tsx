/** Everything a message carries beside its text: pictures, recordings, files, places, contact cards. */
import { useContext } from 'react'
import { initials, phoneNumber, safeLink } from '../format'
import { useDesk } from '../hooks'
import { fileSize, t } from '../i18n'
import { albumOf, isPointed } from '../shapes'
import type { Attachment, MapPlace, Message, SharedContact, SharedLink } from '../wire'
import { DownloadIcon, FileIcon, PinIcon } from './icons'
import { LightboxContext } from './lightbox-context'
import { Photo, useSigned } from './photo'
import { Audio, Video } from './players'
import styles from './media.module.css'

interface Carried {
  attachment: Attachment
  preview: string | null
  /** Pointed at, not sent. */
  pointed: boolean
}

/** @param messages one, or all of an album. */
export function Attachments({ messages }: { messages: readonly Message[] }) {
  const { uploads } = useDesk()
  const lightbox = useContext(LightboxContext)
  const carried: Carried[] = messages.flatMap((message) => (message.attachments ?? []).map((attachment, i) => (
    { attachment, preview: message.client_msg_id ? uploads.preview(message.client_msg_id, i) : null, pointed: isPointed(message) }
  )))
  const pictures = carried.filter(({ attachment }) => isPicture(attachment))
  const others = carried.filter(({ attachment }) => !isPicture(attachment))
  return (
    <>
      {messages.map(({ id, shared_link }) => shared_link && <LinkCard key={id} link={shared_link} />)}
      {pictures.length > 1 && (
        <div className={styles.album} data-testid="album" data-columns={albumOf(pictures.length).columns} role="group" aria-label={t.media.album(pictures.length)}>
          {pictures.map(({ attachment, preview }) => (
            <Photo key={attachment.id} attachment={attachment} preview={preview} cell onOpen={() => lightbox(attachment.id)} />
          ))}
        </div>
      )}
      {pictures.length === 1 && pictures.map(({ attachment, preview, pointed }) => (
        attachment.kind === 'video' && !pointed
          ? <Video key={attachment.id} attachment={attachment} />
          : <Photo key={attachment.id} attachment={attachment} preview={preview} pointed={pointed} onOpen={() => lightbox(attachment.id)} />
      ))}
      {others.map(({ attachment }) => <Other key={attachment.id} attachment={attachment} />)}
      {messages.map(({ id, place, shared_contact }) => (
        <div key={id} className={styles.cards}>
          {place && <MapCard place={place} />}
          {shared_contact && <ContactCard contact={shared_contact} />}
        </div>
      ))}
    </>
  )
}

function Other({ attachment }: { attachment: Attachment }) {
  if (attachment.state === 'lost') {
    return <p className={styles.lost} data-testid="lost"><FileIcon size={18} /> <span>{t.media.lost(attachment.problem)}</span></p>
  }
  switch (attachment.kind) {
    case 'sticker': return <Sticker attachment={attachment} />
    case 'voice':
    case 'audio': if (attachment.state === 'ready') return <Audio attachment={attachment} />
  }
  return <FileRow attachment={attachment} />
}

function FileRow({ attachment }: { attachment: Attachment }) {
  const { media } = useDesk()
  const name = attachment.name || t.media.noName
  const pending = attachment.state === 'pending'
  const fetchIt = async () => {
    const address = attachment.url ? await media.fresh(attachment.url) : null
    if (address) download(address, name)
  }
  return (
    <div className={styles.file} data-testid="file">
      <button type="button" className={styles.round} disabled={pending} onClick={() => void fetchIt()} aria-label={`${t.media.download}: ${name}`} title={t.media.download}>
        {pending ? <FileIcon size={20} /> : <DownloadIcon size={20} />}
      </button>
      <div className={styles.fileBody}>
        <span className={styles.fileName} title={name}>{name}</span>
        <span className={styles.fileNote} role={pending ? 'status' : undefined}>
          {pending ? t.media.pending : [extension(name), attachment.size ? fileSize(attachment.size) : ''].filter(Boolean).join(' · ')}
        </span>
      </div>
    </div>
  )
}

function Sticker({ attachment }: { attachment: Attachment }) {
  const moving = attachment.mime === 'video/webm'
  const still = attachment.thumb_url ?? (attachment.mime?.startsWith('image/') ? attachment.url : null)
  const [source, broken] = useSigned(moving ? attachment.url : still, attachment.state === 'ready')
  if (!source.url) return <p className={styles.sticker}><span className={styles.coming}>{attachment.state === 'pending' ? t.media.pending : t.media.sticker}</span></p>
  return (
    <p className={styles.sticker} data-testid="sticker">
      {moving
        ? <video src={source.url} muted loop autoPlay playsInline onError={broken} aria-label={t.media.sticker} />
        : <img src={source.url} alt={t.media.sticker} onError={broken} draggable={false} />}
    </p>
  )
}

function MapCard({ place }: { place: MapPlace }) {
  const { latitude, longitude } = place
  const at = `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`
  const link = `https://www.openstreetmap.org/?mlat=${latitude}&mlon=${longitude}#map=17/${latitude}/${longitude}`
  return (
    <a className={styles.place} href={link} target="_blank" rel="noopener noreferrer" data-testid="place">
      <span className={styles.map} aria-hidden="true"><PinIcon size={34} /></span>
      <span className={styles.placeBody}>
        <span className={styles.fileName}>{place.title || t.media.location}</span>
        <span className={styles.fileNote}>{place.address || at}</span>
        <span className={styles.mapLink}>{t.media.onMap}</span>
      </span>
    </a>
  )
}

/** What a message points at: in words, and the address only where it is one a person may open. */
function LinkCard({ link }: { link: SharedLink }) {
  const safe = safeLink(link.url)
  return (
    <div className={styles.link} data-testid="shared-link" data-kind={link.kind}>
      <span className={styles.linkKind}>{t.links[link.kind] ?? t.links.link}</span>
      {link.title && <span className={styles.fileName}>{link.title}</span>}
      {safe && <a className={styles.mapLink} href={safe.href} target="_blank" rel="noopener noreferrer" title={safe.href}>{t.media.openAt(safe.host)}</a>}
    </div>
  )
}

function ContactCard({ contact }: { contact: SharedContact }) {
  return (
    <div className={styles.contact} data-testid="contact">
      <span className={styles.initials} aria-hidden="true">{initials(contact.name)}</span>
      <span className={styles.placeBody}>
        <span className={styles.fileName}>{contact.name}</span>
        {contact.phone
          ? <a className={styles.phone} href={`tel:${contact.phone.replace(/[^\d+]/g, '')}`}>{phoneNumber(contact.phone)}</a>
          : <span className={styles.fileNote}>{t.media.noPhone}</span>}
        {contact.is_own && <span className={styles.proved}>{t.media.provedPhone}</span>}
      </span>
    </div>
  )
}

/** Photos and videos that are, or may still become, something to look at. */
export function isPicture({ kind, state }: Attachment): boolean {
  return (kind === 'image' || kind === 'video') && state !== 'lost'
}

export function download(address: string, name: string): void {
  const link = document.createElement('a')
  link.href = address
  link.download = name
  link.rel = 'noopener'
  link.click()
}

function extension(name: string): string {
  const dot = name.lastIndexOf('.')
  return dot > 0 && name.length - dot <= 6 ? name.slice(dot + 1).toUpperCase() : ''
}
