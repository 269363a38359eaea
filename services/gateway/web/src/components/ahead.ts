/** Parts that must be there when they are wanted: fetched in a quiet moment, before a new version takes them away. */
import { lazy } from 'react'

const collision = () => import('./collision')
const expired = () => import('./expired')
const drawer = () => import('./panel-drawer')

export const Collision = lazy(collision)
export const Expired = lazy(expired)
export const PanelDrawer = lazy(drawer)

export function fetchAhead(): void {
  const quiet = 'requestIdleCallback' in window ? window.requestIdleCallback : (work: () => void) => setTimeout(work, 2_000)
  // What cannot be fetched now is asked for again when it is wanted.
  quiet(() => { for (const part of [collision, expired, drawer]) part().catch(() => undefined) })
}
