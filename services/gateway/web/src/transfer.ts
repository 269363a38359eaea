/** One file to the server by XMLHttpRequest: only it tells how much has gone. Photos are measured here too. */
import { parse, refusal, Unreachable, type Session } from './session'
import type { Transfer } from './uploads'
import type { Upload } from './wire'

/** Without a byte of progress for so long the connection is dead. */
const STALLED_MS = 60_000

export function sender(session: Session, address: string): (file: File, mime: string, onProgress: (share: number) => void) => Transfer {
  return (file, mime, onProgress) => {
    const request = new XMLHttpRequest()
    const done = (async () => {
      const token = await session.token()
      return await new Promise<Upload>((resolve, reject) => {
        let stalled = setTimeout(() => request.abort(), STALLED_MS)
        const alive = () => {
          clearTimeout(stalled)
          stalled = setTimeout(() => request.abort(), STALLED_MS)
        }
        const lost = () => reject(new Unreachable('POST /uploads'))
        request.upload.onprogress = ({ loaded, total }) => { alive(); onProgress(total > 0 ? loaded / total : 0) }
        request.onload = () => {
          if (request.status >= 200 && request.status < 300) resolve(parse(request.responseText) as Upload)
          else reject(refusal(request.status, request.responseText, request.getResponseHeader('Retry-After')))
        }
        request.onerror = request.onabort = lost
        request.onloadend = () => clearTimeout(stalled)
        request.open('POST', address)
        request.setRequestHeader('Authorization', `Bearer ${token}`)
        request.setRequestHeader('Accept', 'application/json')
        request.setRequestHeader('Content-Type', mime)
        request.setRequestHeader('X-File-Name', encodeURIComponent(file.name))
        request.send(file)
      })
    })()
    return { done, abort: () => request.abort() }
  }
}

/** Null for what this browser cannot decode; the server decides about it anyway. */
export async function lookAtPhoto(file: File): Promise<{ width: number; height: number; preview: string } | null> {
  try {
    const bitmap = await createImageBitmap(file)
    const { width, height } = bitmap
    bitmap.close()
    return { width, height, preview: URL.createObjectURL(file) }
  } catch {
    return null
  }
}
