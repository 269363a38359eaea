/** The list of chats: virtual, searchable, driven by arrows; it never moves under the pointer or the reader. */
import { Button, Skeleton, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useInfiniteQuery } from '@tanstack/react-query'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent, type RefObject } from 'react'
import { cx, useDesk, useNow, useRoute, useStore } from '../hooks'
import { t } from '../i18n'
import type { ListName } from '../wire'
import { ChatRow, rowId } from './chat-row'
import { ClearIcon, SearchIcon } from './icons'
import styles from './chat-list.module.css'

const ROW_PX = 72
/** The next page is asked for this many rows before the end. */
const AHEAD = 10
const HOLD_MS = 1_000

export function ChatList({ onOpen }: { onOpen: (id: string) => void }) {
  const { list } = useRoute()
  const [typed, setTyped] = useState('')
  const [debounced] = useDebouncedValue(typed.trim(), 250)
  const query = typed.trim() ? debounced : ''
  return (
    <>
      <div className={styles.search}>
        <TextInput value={typed} onChange={(event) => setTyped(event.currentTarget.value)} placeholder={t.list.search}
          aria-label={t.list.search} type="search" leftSection={<SearchIcon size={17} />} data-testid="search"
          onKeyDown={(event) => { if (event.key === 'Escape') setTyped('') }}
          rightSection={typed && (
            <button type="button" className={styles.clear} aria-label={t.list.clear} onClick={() => setTyped('')}><ClearIcon size={16} /></button>
          )} />
      </div>
      {query ? <Found key={`${list} ${query}`} list={list} query={query} onOpen={onOpen} /> : <Listed key={list} list={list} onOpen={onOpen} />}
    </>
  )
}

function Listed({ list, onOpen }: { list: ListName; onOpen: (id: string) => void }) {
  const { loading } = useDesk()
  const { ids, state, complete } = useStore(`l:${list}`, (store) => store.conversations.list(list))
  useEffect(() => { if (state === 'idle') void loading.list(list) }, [loading, list, state])
  return (
    <Rows ids={ids} name={t.lists[list]} empty={t.list.empty} hint={t.list.emptyHint[list]} state={state} onOpen={onOpen}
      onEnd={complete ? null : () => void loading.list(list)} />
  )
}

function Found({ list, query, onOpen }: { list: ListName; query: string; onOpen: (id: string) => void }) {
  const { api, store } = useDesk()
  const fills = useStore('fills', (whole) => whole.fills)
  const found = useInfiniteQuery({
    queryKey: ['search', list, query, fills],
    initialPageParam: null as string | null,
    queryFn: async ({ pageParam }) => {
      const page = await api.conversations(list, pageParam, query)
      for (const row of page.items) store.conversations.upsert(row)
      return { ids: page.items.map((row) => row.id), next: page.next_cursor }
    },
    getNextPageParam: (page) => page.next,
  })
  const ids = useMemo(() => [...new Set(found.data?.pages.flatMap((page) => page.ids))], [found.data])
  const { hasNextPage, fetchNextPage } = found
  return (
    <Rows ids={ids} name={t.list.search} empty={t.list.nothing} onOpen={onOpen}
      state={found.isError ? 'error' : found.isFetching ? 'loading' : 'ready'}
      onEnd={found.isError ? () => void found.refetch() : hasNextPage ? () => void fetchNextPage() : null} />
  )
}

interface RowsProps {
  ids: readonly string[]
  name: string
  empty: string
  hint?: string
  state: 'idle' | 'loading' | 'ready' | 'error'
  /** Loads more (or again after an error); null when everything is here. */
  onEnd: (() => void) | null
  onOpen: (id: string) => void
}

function Rows({ ids: latest, name, empty, hint, state, onEnd, onOpen }: RowsProps) {
  const { store } = useDesk()
  const { chat } = useRoute()
  const now = useNow()
  const scroller = useRef<HTMLDivElement>(null)
  const [active, setActive] = useState<string | null>(null)
  const { ids, hold } = useHeld(latest)
  const fresh = useSteadyView(scroller, ids)
  const count = ids.length
  const virtualizer = useVirtualizer({
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    getItemKey: useCallback((index: number) => ids[index] ?? index, [ids]),
    overscan: 5,
  })
  const items = virtualizer.getVirtualItems()
  const lastShown = items.at(-1)?.index ?? -1

  useEffect(() => {
    if (state === 'ready' && onEnd && lastShown >= count - AHEAD && count > 0) onEnd()
  }, [state, onEnd, lastShown, count])

  const move = (to: number) => {
    const index = Math.max(0, Math.min(count - 1, to))
    const id = ids[index]
    if (id === undefined) return
    setActive(id)
    virtualizer.scrollToIndex(index)
  }

  const onKeyDown = (event: KeyboardEvent) => {
    const at = ids.indexOf(active ?? chat ?? '')
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? ROW_PX) / ROW_PX) - 1)
    switch (event.key) {
      case 'ArrowDown': move(at + 1); break
      case 'ArrowUp': move(at < 0 ? 0 : at - 1); break
      case 'PageDown': move(at + page); break
      case 'PageUp': move(at - page); break
      case 'Home': move(0); break
      case 'End': move(count - 1); break
      case 'Enter': if (active !== null) onOpen(active); break
      case 'Escape': setActive(null); break
      default: return
    }
    event.preventDefault()
  }

  const open = useCallback((id: string) => { setActive(id); onOpen(id) }, [onOpen])

  if (count === 0) {
    if (state === 'error') return <Failed onAgain={onEnd} />
    if (state !== 'ready') return <Waiting />
    return <div className={styles.empty} data-testid="list-empty"><p>{empty}</p>{hint && <p className={styles.hint}>{hint}</p>}</div>
  }
  return (
    <div className={styles.frame}>
      {fresh > 0 && (
        <button type="button" className={styles.chip} onClick={() => scroller.current?.scrollTo({ top: 0, behavior: 'smooth' })}>
          {t.list.newOnTop(fresh)}
        </button>
      )}
      <div ref={scroller} className={styles.scroller} role="listbox" id="chat-list" tabIndex={0} aria-label={t.list.rows(name)}
        {...(active !== null && store.conversations.get(active) && ids.includes(active) ? { 'aria-activedescendant': rowId(active) } : {})}
        onKeyDown={onKeyDown} onPointerDown={hold}>
        <div className={styles.sizer} role="presentation" style={{ height: virtualizer.getTotalSize() }}>
          {items.map((item) => {
            const id = ids[item.index]!
            return (
              <div key={item.key} role="presentation" className={styles.place} style={{ transform: `translateY(${item.start}px)` }}>
                <ChatRow id={id} index={item.index} size={onEnd ? -1 : count} active={id === active} opened={id === chat} now={now} onOpen={open} />
              </div>
            )
          })}
        </div>
        {state === 'error' && <Failed onAgain={onEnd} />}
      </div>
    </div>
  )
}

/** While the pointer is pressed the order stays, at most a second: the click hits what it aimed at. */
function useHeld(latest: readonly string[]) {
  const [held, setHeld] = useState<readonly string[] | null>(null)
  const newest = useRef(latest)
  newest.current = latest
  const hold = useCallback(() => {
    setHeld(newest.current)
    const release = () => {
      clearTimeout(timer)
      removeEventListener('pointerup', release)
      removeEventListener('pointercancel', release)
      // After the click that this release makes.
      setTimeout(() => setHeld(null))
    }
    const timer = setTimeout(release, HOLD_MS)
    addEventListener('pointerup', release)
    addEventListener('pointercancel', release)
  }, [])
  return { ids: held ?? latest, hold }
}

/**
 * Keeps the rows being read where they are while others move above them.
 *
 * Returns how many chats have come to the top since the reader scrolled away from it.
 */
function useSteadyView(scroller: RefObject<HTMLDivElement | null>, ids: readonly string[]): number {
  const { store } = useDesk()
  const before = useRef(ids)
  const [topMs, setTopMs] = useState<number | null>(null)
  const first = ids[0] === undefined ? undefined : store.conversations.get(ids[0])?.activity_ms

  useLayoutEffect(() => {
    const element = scroller.current
    const old = before.current
    before.current = ids
    if (!element || old === ids || element.scrollTop < ROW_PX / 2) return
    const from = Math.floor(element.scrollTop / ROW_PX)
    const shifts = old.slice(from, from + Math.ceil(element.clientHeight / ROW_PX))
      .map((id, i) => { const at = ids.indexOf(id); return at < 0 ? null : at - (from + i) })
      .filter((shift) => shift !== null)
      .sort((a, b) => a - b)
    const shift = shifts[shifts.length >> 1]
    if (shift) element.scrollTop += shift * ROW_PX
  }, [ids, scroller])

  useEffect(() => {
    const element = scroller.current
    if (!element) return
    const onScroll = () => {
      const away = element.scrollTop > ROW_PX * 2
      setTopMs((known) => (away ? (known ?? store.conversations.get(before.current[0] ?? '')?.activity_ms ?? null) : null))
    }
    element.addEventListener('scroll', onScroll, { passive: true })
    return () => element.removeEventListener('scroll', onScroll)
  }, [scroller, store, ids.length === 0])

  if (topMs === null || first === undefined || first <= topMs) return 0
  const old = ids.findIndex((id) => (store.conversations.get(id)?.activity_ms ?? 0) <= topMs)
  return old < 0 ? ids.length : old
}

function Waiting() {
  return (
    <div className={styles.waiting} aria-busy="true" aria-label={t.starting}>
      {Array.from({ length: 8 }, (_, i) => (
        <div key={i} className={styles.skeleton}>
          <Skeleton circle height={44} width={44} />
          <div className={styles.lines}><Skeleton height={12} width={i % 2 ? '55%' : '70%'} /><Skeleton height={10} width="90%" /></div>
        </div>
      ))}
    </div>
  )
}

function Failed({ onAgain }: { onAgain: (() => void) | null }) {
  return (
    <div className={cx(styles.empty, styles.failed)} role="alert">
      {t.list.failed}
      <Button variant="light" size="xs" onClick={() => onAgain?.()}>{t.list.again}</Button>
    </div>
  )
}
