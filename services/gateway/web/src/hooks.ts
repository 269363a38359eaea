/** How components reach the desk and watch the store. */
import { createContext, useCallback, useContext, useEffect, useState, useSyncExternalStore } from 'react'
import type { Desk } from './desk'
import { replyTime, type ReplyTime } from './reply-time'
import type { Route } from './route'
import type { Store } from './store/store'
import type { ConversationRow } from './wire'

/** A sleeping computer wakes late timers late; none is ever set for longer. */
const LONGEST_MS = 60_000

export const DeskContext = createContext<Desk | null>(null)

export function useDesk(): Desk {
  const desk = useContext(DeskContext)
  if (!desk) throw new Error('useDesk works only under DeskContext: wrap the component in main.tsx')
  return desk
}

/** Watches one key of the store; `read` must return the same object while nothing changed. */
export function useStore<T>(key: string, read: (store: Store) => T): T {
  const { store } = useDesk()
  const subscribe = useCallback((changed: () => void) => store.signals.subscribe(key, changed), [store, key])
  return useSyncExternalStore(subscribe, () => read(store))
}

export function useRoute(): Route {
  const { router } = useDesk()
  return useSyncExternalStore(router.subscribe, () => router.current)
}

/** The time, renewed each minute: «Сьогодні» becomes «Вчора» in a window left open overnight. */
export function useNow(): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 60_000)
    return () => clearInterval(timer)
  }, [])
  return now
}

/** How long one may still answer in a chat; renewed by itself, to the moment it ends. */
export function useReplyTime(window: ConversationRow['window'], hours: number | null): ReplyTime {
  const [turn, setTurn] = useState(0)
  const time = replyTime(window, hours, Date.now())
  const { next_ms } = time
  useEffect(() => {
    if (next_ms === null) return undefined
    const again = () => setTurn((before) => before + 1)
    // A hair later: a timer may ring before its time.
    const timer = setTimeout(again, Math.min(LONGEST_MS, next_ms + 20))
    document.addEventListener('visibilitychange', again)
    return () => {
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', again)
    }
  }, [turn, next_ms])
  return time
}

/** A dialog gives the focus back to whatever opened it; Mantine does so only for dialogs that were there before. */
export function useReturnFocus(): void {
  const [opener] = useState(() => document.activeElement)
  useEffect(() => () => {
    if (opener instanceof HTMLElement && opener.isConnected) opener.focus({ preventScroll: true })
  }, [opener])
}

export function cx(...names: (string | false | undefined | null)[]): string {
  return names.filter(Boolean).join(' ')
}
