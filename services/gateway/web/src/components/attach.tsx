/** Files for an answer: chosen, dropped or pasted, checked at once, shown as chips with their progress. */
import { ActionIcon, Menu } from '@mantine/core'
import { useCallback, useEffect, useRef, useState, type ReactNode } from 'react'
import { cx, useDesk } from '../hooks'
import { fileSize, t } from '../i18n'
import type { Conversation } from '../store/conversations'
import { replyTime } from '../reply-time'
import type { Obstacle, UploadTask } from '../uploads'
import { ClearIcon, ClipIcon, FileIcon, RetryIcon, TemplateIcon } from './icons'
import styles from './attach.module.css'

/** Puts files into the composer of a chat; what the channel would refuse is said at once, before a byte is sent. */
export function useAttach(row: Conversation): (files: readonly File[]) => void {
  const { uploads, store } = useDesk()
  return useCallback((files: readonly File[]) => {
    const channel = store.channel(row.channel.id)
    const kinds = channel?.abilities?.media_kinds
    const obstacles = uploads.add(row.id, files, channel?.limits ?? {}, kinds && kinds.length > 0 ? kinds : null, store.uploadMost)
    for (const text of new Set(obstacles.map(sentence))) store.notices.say(text, 'trouble')
  }, [uploads, store, row.id, row.channel.id])
}

interface AttachButtonProps {
  onFiles: (files: readonly File[]) => void
  /** For messengers with templates: they may go at any time, so they are at hand as files are. */
  onTemplate: (() => void) | null
  disabled: boolean
}

export function AttachButton({ onFiles, onTemplate, disabled }: AttachButtonProps) {
  const input = useRef<HTMLInputElement>(null)
  const choose = () => input.current?.click()
  const label = onTemplate ? t.attach.more : t.attach.button
  const button = (
    <ActionIcon variant="subtle" color="gray" size={42} className={styles.clip} aria-label={label} title={label} disabled={disabled}
      onClick={onTemplate ? undefined : choose} data-testid="attach">
      <ClipIcon size={22} />
    </ActionIcon>
  )
  return (
    <>
      {onTemplate
        ? (
          <Menu position="top-start" width={200} withinPortal={false} withInitialFocusPlaceholder={false} returnFocus transitionProps={{ duration: 0 }}>
            <Menu.Target>{button}</Menu.Target>
            <Menu.Dropdown>
              <Menu.Item leftSection={<FileIcon size={18} />} onClick={choose}>{t.attach.files}</Menu.Item>
              <Menu.Item leftSection={<TemplateIcon size={18} />} onClick={onTemplate}>{t.templates.menu}</Menu.Item>
            </Menu.Dropdown>
          </Menu>
        )
        : button}
      <input ref={input} type="file" multiple hidden data-testid="files" onChange={({ currentTarget }) => {
        onFiles([...(currentTarget.files ?? [])])
        // The same file chosen again must be a change.
        currentTarget.value = ''
      }} />
    </>
  )
}

export function Tray({ chat, files }: { chat: string; files: readonly UploadTask[] }) {
  const { uploads } = useDesk()
  if (files.length === 0) return null
  return (
    <ul className={styles.tray} aria-label={t.attach.tray} data-testid="tray" data-chat={chat}>
      {files.map((task) => (
        <li key={task.key} className={cx(styles.chip, task.state === 'failed' && styles.failed)} data-testid="chip" data-state={task.state}>
          {task.preview ? <img className={styles.picture} src={task.preview} alt="" /> : <span className={styles.icon}><FileIcon size={22} /></span>}
          <span className={styles.words}>
            <span className={styles.name} title={task.name}>{task.name}</span>
            <span className={styles.state} role="status">{stateOf(task)}</span>
          </span>
          {task.state === 'failed' && (
            <button type="button" className={styles.button} aria-label={t.attach.retry(task.name)} title={t.dialogue.retry} onClick={() => uploads.retry(task.key)}>
              <RetryIcon size={17} />
            </button>
          )}
          <button type="button" className={styles.button} aria-label={t.attach.remove(task.name)} title={t.dialogue.remove} onClick={() => uploads.cancel(task.key)}>
            <ClearIcon size={17} />
          </button>
          {task.state === 'uploading' && <progress className={styles.bar} max={1} value={task.progress} aria-label={t.media.sending(percent(task))} />}
        </li>
      ))}
    </ul>
  )
}

/** Takes files dropped anywhere on the dialogue. */
export function DropZone({ row, children }: { row: Conversation | undefined; children: ReactNode }) {
  return row ? <Zone row={row}>{children}</Zone> : <>{children}</>
}

function Zone({ row, children }: { row: Conversation; children: ReactNode }) {
  const { store } = useDesk()
  const attach = useAttach(row)
  const [over, setOver] = useState(false)
  // Children fire enter and leave too; only when all that was entered is left, the files are gone.
  const depth = useRef(0)
  // Asked when it matters: the time to answer ends while nothing is drawn anew.
  const able = () => !row.contact.blocked && !replyTime(row.window, null, Date.now()).closed && store.channel(row.channel.id)?.connected !== false
  useEffect(() => {
    // A file dropped beside the dialogue must not replace the window by itself.
    const keep = (event: DragEvent) => { if (hasFiles(event.dataTransfer)) event.preventDefault() }
    window.addEventListener('dragover', keep)
    window.addEventListener('drop', keep)
    return () => {
      window.removeEventListener('dragover', keep)
      window.removeEventListener('drop', keep)
    }
  }, [])
  return (
    <div className={styles.zone} data-testid="drop-zone"
      onDragEnter={(event) => {
        if (!able() || !hasFiles(event.dataTransfer)) return
        depth.current += 1
        setOver(true)
      }}
      onDragLeave={() => {
        depth.current = Math.max(0, depth.current - 1)
        if (depth.current === 0) setOver(false)
      }}
      onDragOver={(event) => { if (able() && hasFiles(event.dataTransfer)) event.preventDefault() }}
      onDrop={(event) => {
        depth.current = 0
        setOver(false)
        if (!able() || !hasFiles(event.dataTransfer)) return
        event.preventDefault()
        attach([...event.dataTransfer.files])
      }}>
      {children}
      {over && (
        <div className={styles.overlay} data-testid="drop-overlay">
          <div className={styles.target}><ClipIcon size={38} /><strong>{t.dialogue.drop}</strong><span>{t.dialogue.dropHint}</span></div>
        </div>
      )}
    </div>
  )
}

function hasFiles(data: DataTransfer | null): boolean {
  return data?.types.includes('Files') ?? false
}

function percent(task: UploadTask): number {
  return Math.round(task.progress * 100)
}

function stateOf(task: UploadTask): string {
  switch (task.state) {
    case 'waiting': return `${fileSize(task.size)} · ${t.attach.waiting}`
    case 'uploading': return `${fileSize(task.size)} · ${task.progress < 1 ? t.attach.uploading(percent(task)) : t.attach.checking}`
    case 'ready': return fileSize(task.size)
    case 'failed': return task.reason ?? t.failure(task.code, t.attach.failed)
  }
}

function sentence(obstacle: Obstacle): string {
  switch (obstacle.code) {
    case 'empty': return t.attach.empty(obstacle.name)
    case 'file_too_big': return (obstacle.by === 'channel' ? t.attach.tooBig : t.attach.tooBigForUs)(obstacle.name, fileSize(obstacle.limit))
    case 'unsupported_kind': return t.attach.unsupported(obstacle.name)
    case 'too_many': return t.attach.tooMany(obstacle.limit)
  }
}
