/** How components reach the desk and watch the store. */
import { createContext, useCallback, useContext, useEffect, useState, useSyncExternalStore } from 'react'
import type { Desk } from './desk'
import type { Route } from './route'
import type { Store } from './store/store'

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
