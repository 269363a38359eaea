/** How a picture in a bubble asks to be shown large. */
import { createContext } from 'react'

export const LightboxContext = createContext<(attachmentId: string) => void>(() => undefined)
