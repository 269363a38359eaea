/** Uploads whose transfers end when the test says so. */
import { Signals } from '../src/store/signals'
import { Uploads } from '../src/uploads'
import type { Upload } from '../src/wire'

export interface Sent {
  file: File
  progress: (share: number) => void
  finish: (upload?: Partial<Upload>) => void
  fail: (error: unknown) => void
  aborted: boolean
}

export class Slip {
  readonly sent: Sent[] = []
  readonly released: string[] = []
  readonly uploads: Uploads

  constructor(signals = new Signals((flush) => flush())) {
    let keys = 0
    this.uploads = new Uploads({
      signals,
      newKey: () => `f${++keys}`,
      look: (file) => Promise.resolve({ width: 400, height: 300, preview: `blob:${file.name}` }),
      release: (preview) => this.released.push(preview),
      send: (file, mime, progress) => {
        let resolve: (upload: Upload) => void = () => undefined
        let reject: (error: unknown) => void = () => undefined
        const promise = new Promise<Upload>((yes, no) => { resolve = yes; reject = no })
        const sent: Sent = {
          file, progress, aborted: false, fail: reject,
          finish: (upload) => resolve({ id: `up-${file.name}`, kind: mime.startsWith('image/') ? 'image' : 'file', name: file.name, mime, size: file.size, ...upload }),
        }
        this.sent.push(sent)
        return { done: promise, abort: () => { sent.aborted = true; reject(new Error('aborted')) } }
      },
    })
  }
}

export function file(name: string, type = 'image/jpeg', bytes = 10): File {
  return new File([new Uint8Array(bytes)], name, { type })
}
