/** Files on their way to the server: checked first, two at a time, with progress, cancel and retry. */
import { Refused, Unreachable } from './session'
import type { Signals } from './store/signals'
import type { Limits, MessageKind, Upload } from './wire'

export interface UploadTask {
  /** Of this window only; the server's id comes with the upload. */
  key: string
  chat: string
  name: string
  size: number
  mime: string
  kind: MessageKind
  width: number | null
  height: number | null
  /** A `blob:` address of a photo, shown until the server's own thumbnail can be. */
  preview: string | null
  state: 'waiting' | 'uploading' | 'ready' | 'failed'
  /** 0 … 1. */
  progress: number
  code?: string
  /** What the server said, for the operator. */
  reason?: string
  upload: Upload | null
}

/** Why a file is not even tried. */
export type Obstacle = { name: string } & (
  | { code: 'empty' | 'unsupported_kind' }
  /** `server`: ours is the smaller limit, whatever the channel could carry. */
  | { code: 'file_too_big'; limit: number; by: 'channel' | 'server' }
  | { code: 'too_many'; limit: number }
)

export interface Transfer {
  done: Promise<Upload>
  abort: () => void
}

export interface UploadsParts {
  signals: Signals
  send: (file: File, mime: string, onProgress: (share: number) => void) => Transfer
  /** Reads a photo's measures and makes its preview; null for what the browser cannot show. */
  look: (file: File) => Promise<{ width: number; height: number; preview: string } | null>
  release: (preview: string) => void
  newKey: () => string
}

const AT_ONCE = 2
const MOST_FILES = 10
/** Previews of what was sent are kept for so many messages: until then the server's picture has come. */
const PREVIEWS_KEPT = 30
const NONE: readonly UploadTask[] = []

export class Uploads {
  readonly #parts: UploadsParts
  readonly #tasks = new Map<string, UploadTask>()
  readonly #files = new Map<string, File>()
  readonly #transfers = new Map<string, Transfer>()
  /** Keys of what lies in the composer, per chat. */
  readonly #trays = new Map<string, readonly string[]>()
  readonly #shown = new Map<string, readonly UploadTask[]>()
  readonly #sent = new Map<string, readonly (string | null)[]>()
  #onSettled: (chat: string) => void = () => undefined

  constructor(parts: UploadsParts) {
    this.#parts = parts
  }

  /** Tells whenever a file of a chat is taken in or has failed. */
  onSettled(listener: (chat: string) => void): void {
    this.#onSettled = listener
  }

  find(key: string): UploadTask | undefined {
    return this.#tasks.get(key)
  }

  /** The files in the composer; the same array while nothing changed. */
  tray(chat: string): readonly UploadTask[] {
    return this.#shown.get(chat) ?? NONE
  }

  /** Puts files into the composer and begins to send them; says which were refused and why. */
  add(chat: string, files: readonly File[], limits: Limits, kinds: readonly string[] | null, serverMost = Infinity): Obstacle[] {
    const obstacles: Obstacle[] = []
    const most = Math.min(MOST_FILES, limits.album ?? MOST_FILES)
    for (const file of files) {
      const kind = kindOf(file.type)
      const obstacle = this.#obstacle(file, kind, limits, kinds, serverMost) ?? (this.tray(chat).length >= most ? { name: file.name, code: 'too_many' as const, limit: most } : null)
      if (obstacle) {
        obstacles.push(obstacle)
        continue
      }
      const key = this.#parts.newKey()
      this.#files.set(key, file)
      this.#trays.set(chat, [...(this.#trays.get(chat) ?? []), key])
      this.#put({
        key, chat, name: file.name || 'file', size: file.size, mime: file.type || 'application/octet-stream', kind, width: null, height: null,
        preview: null, state: 'waiting', progress: 0, upload: null,
      })
      if (kind === 'image') void this.#look(key, file)
    }
    this.#next()
    return obstacles
  }

  /** Takes the files out of the composer for a message; they go on uploading. */
  take(chat: string): UploadTask[] {
    const taken = [...this.tray(chat)]
    this.#trays.delete(chat)
    this.#show(chat)
    return taken
  }

  /** Back into the composer: «Повернути в чернетку». */
  giveBack(chat: string, keys: readonly string[]): void {
    const known = keys.filter((key) => this.#tasks.has(key))
    this.#trays.set(chat, [...known, ...(this.#trays.get(chat) ?? [])])
    this.#show(chat)
  }

  /** Stops and forgets a file. */
  cancel(key: string): void {
    const task = this.#tasks.get(key)
    if (!task) return
    this.#transfers.get(key)?.abort()
    this.#drop(task)
    if (task.preview) this.#parts.release(task.preview)
    this.#next()
  }

  retry(key: string): void {
    const task = this.#tasks.get(key)
    if (task?.state !== 'failed') return
    const { code: _code, reason: _reason, ...rest } = task
    this.#put({ ...rest, state: 'waiting', progress: 0 })
    this.#next()
  }

  /** The network came back: what only the network had stopped goes on. */
  resume(): void {
    for (const task of [...this.#tasks.values()]) if (task.code === 'unreachable') this.retry(task.key)
  }

  /** The message has them: only the previews stay. */
  sent(keys: readonly string[]): void {
    for (const key of keys) {
      const task = this.#tasks.get(key)
      if (task) this.#drop(task)
    }
  }

  /** Keeps the previews of a message that goes now, so that nothing blinks until the server's pictures are shown. */
  remember(clientMsgId: string, keys: readonly string[]): void {
    this.#sent.set(clientMsgId, keys.map((key) => this.#tasks.get(key)?.preview ?? null))
    for (const [id, previews] of this.#sent) {
      if (this.#sent.size <= PREVIEWS_KEPT) break
      for (const preview of previews) if (preview) this.#parts.release(preview)
      this.#sent.delete(id)
    }
  }

  preview(clientMsgId: string, index: number): string | null {
    return this.#sent.get(clientMsgId)?.[index] ?? null
  }

  clear(): void {
    for (const key of [...this.#tasks.keys()]) this.cancel(key)
  }

  #obstacle(file: File, kind: MessageKind, limits: Limits, kinds: readonly string[] | null, serverMost: number): Obstacle | null {
    const { name } = file
    if (file.size === 0) return { name, code: 'empty' }
    if (kinds && !kinds.includes(kind) && !kinds.includes('file')) return { name, code: 'unsupported_kind' }
    // What is too large for its kind goes as a plain file, if the channel takes it so.
    const carried = Math.max(limits[kind] ?? 0, limits.file ?? 0) || Infinity
    const by = carried <= serverMost ? 'channel' : 'server'
    const limit = Math.min(carried, serverMost)
    return file.size > limit ? { name, code: 'file_too_big', limit, by } : null
  }

  async #look(key: string, file: File): Promise<void> {
    const seen = await this.#parts.look(file)
    const task = this.#tasks.get(key)
    if (seen && task) this.#put({ ...task, ...seen })
    else if (seen) this.#parts.release(seen.preview)
  }

  #next(): void {
    for (const task of [...this.#tasks.values()]) {
      if (this.#transfers.size >= AT_ONCE) return
      if (task.state === 'waiting') void this.#upload(task)
    }
  }

  async #upload({ key, chat, mime }: UploadTask): Promise<void> {
    const file = this.#files.get(key)
    if (!file) return
    const transfer = this.#parts.send(file, mime, (progress) => this.#change(key, { progress }))
    this.#transfers.set(key, transfer)
    this.#change(key, { state: 'uploading' })
    try {
      const upload = await transfer.done
      this.#change(key, { state: 'ready', progress: 1, upload, kind: upload.kind })
    } catch (error) {
      const refused = error instanceof Refused ? error : null
      const said = refused?.body['detail']
      this.#change(key, {
        state: 'failed', code: refused?.code ?? (error instanceof Unreachable ? 'unreachable' : 'failed'),
        ...(typeof said === 'string' ? { reason: said } : {}),
      })
    } finally {
      if (this.#transfers.get(key) === transfer) this.#transfers.delete(key)
    }
    if (this.#tasks.has(key)) this.#onSettled(chat)
    this.#next()
  }

  /** Nothing comes back to life here: an answer to a cancelled file changes nothing. */
  #change(key: string, change: Partial<UploadTask>): void {
    const task = this.#tasks.get(key)
    if (task) this.#put({ ...task, ...change })
  }

  #put(task: UploadTask): void {
    this.#tasks.set(task.key, task)
    this.#show(task.chat)
  }

  #drop(task: UploadTask): void {
    this.#tasks.delete(task.key)
    this.#files.delete(task.key)
    this.#transfers.delete(task.key)
    this.#trays.set(task.chat, (this.#trays.get(task.chat) ?? []).filter((key) => key !== task.key))
    this.#show(task.chat)
  }

  #show(chat: string): void {
    const tasks = (this.#trays.get(chat) ?? []).map((key) => this.#tasks.get(key)).filter((task) => task !== undefined)
    this.#shown.set(chat, tasks)
    this.#parts.signals.touch(`u:${chat}`)
  }
}

/** How a file is shown before the server has looked at its bytes. SVG is no photo anywhere. */
export function kindOf(mime: string): MessageKind {
  if (mime.startsWith('image/') && mime !== 'image/svg+xml') return 'image'
  if (mime.startsWith('video/')) return 'video'
  if (mime.startsWith('audio/')) return 'audio'
  return 'file'
}
