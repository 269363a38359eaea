/** The virtual list of messages: opens at the first unread, grows upwards without a jump, notices what was read. */
import { useVirtualizer } from '@tanstack/react-virtual'
import { lazy, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent, type UIEvent } from 'react'
import { dayTitle } from '../format'
import { useDesk, useNow, useStore } from '../hooks'
import { t } from '../i18n'
import { SeenWatch } from '../seen'
import type { Conversation } from '../store/conversations'
import { firstUnread, readUpTo, type Dialogue } from '../store/dialogues'
import { heightOf, timeline, type Row } from '../timeline'
import type { Message } from '../wire'
import { isPicture } from './attachments'
import { Bubble, SystemLine, type OpenMenu } from './bubble'
import { DownIcon } from './icons'
import { Later } from './later'
import { LightboxContext } from './lightbox-context'
import { MessageMenu, type MenuPlace } from './message-menu'
import styles from './messages.module.css'

/** This near to the end new messages are followed. */
const END_PX = 80
/** The floating day stays this long after the last scroll; at rest it would only hide text. */
const DAY_SHOWN_MS = 1_200

const Lightbox = lazy(() => import('./lightbox'))
const TrailDialog = lazy(() => import('./trail'))

interface MessagesProps {
  row: Conversation
  dialogue: Dialogue
  onReply: (message: Message) => void
}

export function Messages({ row, dialogue, onReply }: MessagesProps) {
  const { loading, reading, setAnchor } = useAll()
  const chat = row.id
  const me = useStore('me', (store) => store.me)?.id ?? ''
  const pending = useStore(`o:${chat}`, (store) => store.outbox.of(chat))
  const now = useNow()
  // The divider keeps its message while the chat stays open; an index would break with the first page above it.
  const [divider] = useState(() => {
    if (row.unread === 0) return null
    return dialogue.hasAfter ? (row.first_unread_id ?? null) : (firstUnread(dialogue.items, row)?.id ?? null)
  })
  const rows = useMemo(
    () => timeline(dialogue.items, pending, divider, dialogue.hasBefore, me),
    [dialogue.items, pending, divider, dialogue.hasBefore, me],
  )
  const scroller = useRef<HTMLDivElement>(null)
  const virtualizer = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: useCallback((index: number) => heightOf(rows[index]), [rows]),
    getItemKey: useCallback((index: number) => rows[index]?.key ?? index, [rows]),
    anchorTo: 'end',
    followOnAppend: true,
    scrollEndThreshold: END_PX,
    overscan: 8,
    paddingStart: 12,
    paddingEnd: 12,
    scrollPaddingStart: 44,
  })
  const items = virtualizer.getVirtualItems()
  const offset = virtualizer.scrollOffset ?? 0
  const height = virtualizer.scrollRect?.height ?? 0
  const width = virtualizer.scrollRect?.width ?? 0
  const atEnd = !dialogue.hasAfter && virtualizer.isAtEnd(END_PX)

  const [moved, setMoved] = useState(false)
  const stuck = useRef(false)
  const touch = useCallback(() => setMoved(true), [])

  // First place: the divider near the top, else the end.
  useLayoutEffect(() => {
    const at = rows.findIndex((entry) => entry.type === 'unread')
    if (at >= 0) virtualizer.scrollToIndex(at, { align: 'start' })
    else virtualizer.scrollToEnd()
    stuck.current = at < 0
    // Only once: later rows find their place by the anchor.
  }, [])

  // The composer grows, a phone's keyboard opens: whoever was at the end stays there.
  const [scrolling, setScrolling] = useState(false)
  const settle = useRef<ReturnType<typeof setTimeout>>(undefined)
  const onScroll = useCallback(({ currentTarget: view }: UIEvent<HTMLElement>) => {
    // From the element itself: the virtualizer hears of this scroll only after us.
    stuck.current = view.scrollHeight - view.scrollTop - view.clientHeight <= END_PX
    setScrolling(true)
    clearTimeout(settle.current)
    settle.current = setTimeout(() => setScrolling(false), DAY_SHOWN_MS)
  }, [])
  useEffect(() => () => clearTimeout(settle.current), [])
  useLayoutEffect(() => {
    if (stuck.current) virtualizer.scrollToEnd()
  }, [height, width])

  // A text of one's own is always followed, wherever one was reading.
  const newest = pending.at(-1)
  const [followed, setFollowed] = useState(newest?.created_ms ?? 0)
  const [wanted, setWanted] = useState(false)
  useEffect(() => {
    if (!newest || newest.created_ms <= followed) return
    setFollowed(newest.created_ms)
    setWanted(true)
    if (dialogue.hasAfter) void loading.tail(chat)
  }, [newest, followed, dialogue.hasAfter, loading, chat])
  useLayoutEffect(() => {
    if (!wanted || dialogue.hasAfter) return
    setWanted(false)
    virtualizer.scrollToEnd()
  }, [wanted, dialogue.hasAfter, virtualizer])

  // Nothing is fetched before the operator moves: the first layout is no wish for history.
  const nearStart = items.length > 0 && offset < height
  const nearEnd = items.length > 0 && virtualizer.getTotalSize() - offset - height < height
  useEffect(() => {
    if (!moved) return
    if (nearStart && dialogue.hasBefore) void loading.older(chat)
    if (nearEnd && dialogue.hasAfter) void loading.newer(chat)
  }, [moved, nearStart, nearEnd, dialogue, loading, chat])

  const topRow = rows[items.find((item) => item.end > offset + 1)?.index ?? -1]
  const top = useRef<string | null>(null)
  top.current = topRow?.type === 'message' ? topRow.message.id : null
  useEffect(() => setAnchor(() => top.current), [setAnchor])

  const watch = useSeen(row, dialogue, (n) => reading.seen(chat, n))

  const toEnd = () => {
    if (dialogue.hasAfter) {
      setWanted(true)
      void loading.tail(chat)
    } else virtualizer.scrollToEnd({ behavior: 'smooth' })
  }

  const [menu, setMenu] = useState<MenuPlace | null>(null)
  const [trail, setTrail] = useState<Message | null>(null)
  const [large, setLarge] = useState<string | null>(null)
  const frame = useRef<HTMLDivElement>(null)
  const onMenu: OpenMenu = useCallback((message, opener) => {
    const outer = frame.current?.getBoundingClientRect()
    const inner = opener.getBoundingClientRect()
    if (outer) setMenu({ message, opener, left: inner.left - outer.left + inner.width / 2, top: Math.min(inner.bottom, outer.bottom - 24) - outer.top })
  }, [])
  const pictures = useMemo(() => large === null ? [] : dialogue.items.flatMap((message) => message.deleted ? [] : (message.attachments ?? [])
    .filter((attachment) => isPicture(attachment) && attachment.state === 'ready').map((attachment) => ({ message, attachment }))), [dialogue.items, large])

  const onKeyDown = (event: KeyboardEvent) => {
    touch()
    if (event.key !== 'End' || !event.ctrlKey) return
    event.preventDefault()
    toEnd()
  }

  const floating = scrolling && moved && topRow && topRow.type !== 'day' && topRow.type !== 'unread' && offset > 4 ? dayTitle(topRow.ms, now) : ''
  return (
    <LightboxContext value={setLarge}>
    <div ref={frame} className={styles.frame}>
      {floating && <div className={styles.floating} aria-hidden="true"><span className={styles.day}>{floating}</span></div>}
      <div ref={scroller} className={styles.scroller} tabIndex={0} role="region" aria-label={t.dialogue.messages(row.title)}
        data-testid="messages" onWheel={touch} onTouchMove={touch} onKeyDown={onKeyDown} onPointerDown={touch} onScroll={onScroll}>
        {rows.length === 0 && <p className={styles.empty}>{t.dialogue.empty}</p>}
        <div className={styles.sizer} role="list" style={{ height: virtualizer.getTotalSize() }}>
          {items.map((item) => {
            const entry = rows[item.index]!
            return (
              <div key={item.key} data-index={item.index} ref={virtualizer.measureElement} className={styles.place}
                style={{ transform: `translateY(${item.start}px)` }} role="listitem">
                <Entry entry={entry} me={me} now={now} watch={watch} onMenu={onMenu} />
              </div>
            )
          })}
        </div>
      </div>
      {!atEnd && moved && (
        <button type="button" className={styles.down} onClick={toEnd} data-testid="to-end">
          <DownIcon size={17} /> {t.dialogue.toEnd(row.unread)}
        </button>
      )}
      <Arrivals dialogue={dialogue} name={row.title} />
      {menu && <MessageMenu key={menu.message.id} place={menu} onClose={() => setMenu(null)} onReply={onReply} onTrail={setTrail} />}
      {trail && <Later><TrailDialog message={trail} onClose={() => setTrail(null)} /></Later>}
      {large !== null && <Later><Lightbox all={pictures} start={large} onClose={() => setLarge(null)} /></Later>}
    </div>
    </LightboxContext>
  )
}

function useAll() {
  const desk = useDesk()
  const { loading, reading } = desk
  return { loading, reading, setAnchor: useCallback((anchor: () => string | null) => desk.setAnchor(anchor), [desk]) }
}

export type Watch = (element: HTMLElement | null, id: string) => (() => void) | undefined

/** Lets unread inbound messages be watched; what was seen is told once as the highest `n` that is read for sure. */
function useSeen(row: Conversation, dialogue: Dialogue, onRead: (n: number) => void): Watch {
  const latest = useRef({ dialogue, onRead })
  latest.current = { dialogue, onRead }
  const watcher = useRef<SeenWatch | null>(null)
  // Looking into a bot's dialogue changes nothing.
  const counts = row.handler === 'operator'
  useEffect(() => () => {
    watcher.current?.stop()
    watcher.current = null
  }, [counts])
  return useCallback((element: HTMLElement | null, id: string) => {
    const root = element?.closest<HTMLElement>('[data-testid="messages"]')
    if (!counts || !element || !root) return undefined
    watcher.current ??= new SeenWatch(root, (seen) => {
      const { items } = latest.current.dialogue
      const n = readUpTo(items, items.findIndex((message) => message.id === seen))
      if (n > 0) latest.current.onRead(n)
    })
    return watcher.current.observe(element, id)
  }, [counts])
}

interface EntryProps {
  entry: Row
  me: string
  now: number
  watch: Watch
  onMenu: OpenMenu
}

function Entry({ entry, me, now, watch, onMenu }: EntryProps) {
  switch (entry.type) {
    case 'day': return <div className={styles.separator}><span className={styles.day}>{dayTitle(entry.ms, now)}</span></div>
    case 'unread': return <div className={styles.unread} data-testid="unread-divider"><span>{t.dialogue.unread}</span></div>
    case 'message':
      if (entry.message.direction === 'system') return <SystemLine message={entry.message} />
      return <Bubble message={entry.message} album={entry.album} ms={entry.ms} first={entry.first} last={entry.last} me={me} watch={watch} onMenu={onMenu} />
    case 'pending':
      return <Bubble pending={entry.pending} ms={entry.ms} first={entry.first} last={entry.last} me={me} watch={watch} onMenu={onMenu} />
  }
}

/** Reads out only what really arrives now; scrolling up mounts old messages and must stay silent. */
function Arrivals({ dialogue, name }: { dialogue: Dialogue; name: string }) {
  const last = dialogue.hasAfter ? undefined : dialogue.items.findLast((message) => message.direction === 'in')
  const [silent] = useState(() => last?.in_seq ?? 0)
  return (
    <div className="visually-hidden" role="log" aria-live="polite">
      {last && last.in_seq > silent && <p key={last.id}>{t.dialogue.arrived(name, last.text || t.kinds[last.kind])}</p>}
    </div>
  )
}
