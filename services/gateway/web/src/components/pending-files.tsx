/** Files of a message on its way, with how much has gone; each can still be stopped. */
import { useDesk, useStore } from '../hooks'
import { fileSize, t } from '../i18n'
import type { Pending, PendingFile } from '../store/outbox'
import { Frame } from './photo'
import { ClearIcon, FileIcon } from './icons'
import { albumOf, placeOf } from '../shapes'
import styles from './media.module.css'

export function PendingFiles({ pending, files }: { pending: Pending; files: readonly PendingFile[] }) {
  const pictures = files.filter((file) => file.kind === 'image' || file.kind === 'video')
  const others = files.filter((file) => !pictures.includes(file))
  return (
    <>
      {pictures.length > 1
        ? <div className={styles.album} data-columns={albumOf(pictures.length).columns}>{pictures.map((file) => <Picture key={file.key} pending={pending} file={file} cell />)}</div>
        : pictures.map((file) => <Picture key={file.key} pending={pending} file={file} cell={false} />)}
      {others.map((file) => <Other key={file.key} pending={pending} file={file} />)}
    </>
  )
}

interface FileProps {
  pending: Pending
  file: PendingFile
}

function Picture({ pending, file, cell }: FileProps & { cell: boolean }) {
  const task = useTask(pending, file)
  return (
    <Frame shape={placeOf({ ...file, ...(task ? { width: task.width, height: task.height } : {}) })} cell={cell}>
      {task?.preview ? <img className={styles.under} src={task.preview} alt={t.media.photoOf(file.name)} /> : <span className={styles.coming}>{file.name}</span>}
      <Progress pending={pending} file={file} />
    </Frame>
  )
}

function Other({ pending, file }: FileProps) {
  return (
    <div className={styles.file}>
      <Progress pending={pending} file={file} />
      <div className={styles.fileBody}>
        <span className={styles.fileName} title={file.name}>{file.name}</span>
        <span className={styles.fileNote}>{fileSize(file.size)}</span>
      </div>
    </div>
  )
}

const ROUND = 2 * Math.PI * 17

function Progress({ pending, file }: FileProps) {
  const { sending } = useDesk()
  const task = useTask(pending, file)
  const share = task?.progress ?? 0
  if (pending.state !== 'uploading' || !task || task.state === 'ready') return <span className={styles.round} aria-hidden="true"><FileIcon size={20} /></span>
  return (
    <button type="button" className={styles.progress} aria-label={`${t.media.cancel}: ${file.name}`} title={t.media.cancel} data-testid="cancel-upload"
      onClick={() => sending.dropFile(pending.client_msg_id, file.key)}>
      <svg width="44" height="44" viewBox="0 0 44 44" role="progressbar" aria-valuenow={Math.round(share * 100)} aria-valuemin={0} aria-valuemax={100} aria-label={t.media.sending(Math.round(share * 100))}>
        <circle cx="22" cy="22" r="17" fill="none" stroke="currentColor" strokeOpacity="0.3" strokeWidth="3" />
        <circle cx="22" cy="22" r="17" fill="none" stroke="currentColor" strokeWidth="3" strokeLinecap="round" transform="rotate(-90 22 22)"
          strokeDasharray={ROUND} strokeDashoffset={ROUND * (1 - Math.max(0.03, share))} />
      </svg>
      <span className={styles.stop}><ClearIcon size={18} /></span>
    </button>
  )
}

function useTask({ conversation_id }: Pending, { key }: PendingFile) {
  const { uploads } = useDesk()
  return useStore(`u:${conversation_id}`, () => uploads.find(key))
}
