/** Conversation rows, the six lists over them, and what the operator has read. */
import type { ConversationPage, ConversationRow, ListName } from '../wire'
import { LIST_NAMES } from '../wire'
import type { Signals } from './signals'

/** A row as the window shows it: the wire's row and what is derived from it for this operator. */
export interface Conversation extends ConversationRow {
  activity_ms: number
  unread: number
}

export interface ListState {
  ids: readonly string[]
  state: 'idle' | 'loading' | 'ready' | 'error'
  cursor: string | null
  /** Everything is loaded: any matching row belongs here, however old. */
  complete: boolean
}

interface Edge {
  activity_ms: number
  id: string
}

/** The edge of a list nothing was served of: newer than anything. */
const NOTHING: Edge = { activity_ms: Infinity, id: '' }
const UNLOADED: ListState = { ids: [], state: 'idle', cursor: null, complete: false }

export class Conversations {
  readonly #signals: Signals
  readonly #rows = new Map<string, Conversation>()
  readonly #marks = new Map<string, number>()
  readonly #lists = new Map<ListName, ListState>()
  /** The oldest row served of a list; older rows are not loaded yet. */
  readonly #edges = new Map<ListName, Edge>()
  #me = ''

  constructor(signals: Signals) {
    this.#signals = signals
  }

  setMe(id: string): void {
    this.#me = id
  }

  get(id: string): Conversation | undefined {
    return this.#rows.get(id)
  }

  list(name: ListName): ListState {
    return this.#lists.get(name) ?? UNLOADED
  }

  knowsMark(id: string): boolean {
    return this.#marks.has(id)
  }

  /** Takes a row from REST or the socket; an older revision changes nothing but the viewer's own fields. */
  upsert(wire: ConversationRow): void {
    const known = this.#rows.get(wire.id)
    if (wire.mark_in_seq !== undefined) this.#raise(wire.id, wire.mark_in_seq)
    // Its first commit: nobody can have read it yet, so the mark needs no asking.
    else if (!known && wire.v === 1 && !this.#marks.has(wire.id)) this.#marks.set(wire.id, 0)
    if (known && wire.rev <= known.rev) {
      const first = wire.first_unread_id === undefined ? known.first_unread_id : wire.first_unread_id
      // The time to answer ends without a new revision, and never begins without one.
      const window = wire.window?.open === false ? wire.window : known.window
      if (wire.rev === known.rev && (first !== known.first_unread_id || window?.open !== known.window?.open)) {
        this.#put({ ...known, ...(first === undefined ? {} : { first_unread_id: first }), ...(window ? { window } : {}) })
      } else this.#refresh(wire.id)
      return
    }
    const row: Conversation = { ...wire, activity_ms: Date.parse(wire.activity_at), unread: 0 }
    this.#put({ ...row, unread: this.#unreadOf(row) })
    this.#place(row)
  }

  remove(id: string): void {
    if (!this.#rows.delete(id)) return
    for (const name of LIST_NAMES) this.#drop(name, id)
    this.#signals.touch(`c:${id}`)
  }

  /** Raises the operator's mark; it never falls. */
  mark(id: string, in_seq: number): void {
    this.#raise(id, in_seq)
    this.#refresh(id)
  }

  /** «Непрочитане звідси»: the only way down, by the operator's own word. */
  lower(id: string, in_seq: number): void {
    this.#marks.set(id, in_seq)
    this.#refresh(id)
  }

  /** The server refused an answer: the time for it is over, whatever our clock says. */
  shut(id: string): void {
    const row = this.#rows.get(id)
    if (row && row.window?.open !== false) this.#put({ ...row, window: { ...row.window, open: false, code: 'window_closed' } })
  }

  startLoading(name: ListName): void {
    this.#setList(name, { ...this.list(name), state: 'loading' })
  }

  failLoading(name: ListName): void {
    this.#setList(name, { ...this.list(name), state: 'error' })
  }

  /** Adds the next page of a list (the first one when nothing is loaded). */
  addPage(name: ListName, page: ConversationPage): void {
    for (const row of page.items) this.upsert(row)
    // The oldest row served, by our own order: whatever the server's ties are, no served row falls out.
    const edge = page.items.map((row) => ({ activity_ms: Date.parse(row.activity_at), id: row.id }))
      .reduce((oldest, row) => (newestFirst(row, oldest) > 0 ? row : oldest), this.#edges.get(name) ?? NOTHING)
    this.#edges.set(name, edge)
    this.#setList(name, { ids: this.list(name).ids, state: 'ready', cursor: page.next_cursor, complete: page.next_cursor === null })
    this.#rebuild(name)
  }

  /** After a resync: one list and the open chat are true anew, all else is forgotten. Marks stay. */
  reset(name: ListName, page: ConversationPage, open: ConversationRow | null): void {
    const before = [...this.#rows.keys()]
    this.#rows.clear()
    this.#edges.clear()
    for (const other of LIST_NAMES) if (other !== name) this.#setList(other, UNLOADED)
    this.#lists.set(name, UNLOADED)
    if (open) this.upsert(open)
    this.addPage(name, page)
    for (const id of before) this.#signals.touch(`c:${id}`)
  }

  clear(): void {
    for (const id of this.#rows.keys()) this.#signals.touch(`c:${id}`)
    this.#rows.clear()
    this.#marks.clear()
    this.#edges.clear()
    for (const name of LIST_NAMES) this.#setList(name, UNLOADED)
  }

  belongs(name: ListName, row: ConversationRow): boolean {
    switch (name) {
      case 'active': return row.box === 'active' || row.box === 'new'
      case 'mine': return row.assignee?.id === this.#me && row.status !== 'closed'
      default: return row.box === name
    }
  }

  /** unread = max(0, in_seq − max(mark, answered_seq)), for chats a person handles that are not closed. */
  #unreadOf(row: ConversationRow): number {
    if (row.handler !== 'operator' || row.status === 'closed') return 0
    return Math.max(0, row.in_seq - Math.max(this.#marks.get(row.id) ?? 0, row.answered_seq))
  }

  #raise(id: string, in_seq: number): void {
    this.#marks.set(id, Math.max(this.#marks.get(id) ?? 0, in_seq))
  }

  #refresh(id: string): void {
    const row = this.#rows.get(id)
    if (!row) return
    const unread = this.#unreadOf(row)
    if (unread !== row.unread) this.#put({ ...row, unread })
  }

  #put(row: Conversation): void {
    this.#rows.set(row.id, row)
    this.#signals.touch(`c:${row.id}`)
  }

  #place(row: Conversation): void {
    for (const name of LIST_NAMES) {
      const list = this.#lists.get(name)
      if (!list || !this.#edges.has(name)) continue
      if (this.belongs(name, row) && this.#isLoaded(name, list, row)) this.#insert(name, row)
      else this.#drop(name, row.id)
    }
  }

  #isLoaded(name: ListName, list: ListState, row: Edge): boolean {
    const edge = this.#edges.get(name)
    return list.complete || (edge !== undefined && newestFirst(row, edge) <= 0)
  }

  #insert(name: ListName, row: Conversation): void {
    const list = this.list(name)
    const others = list.ids.filter((id) => id !== row.id)
    let low = 0
    let high = others.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (newestFirst(this.#rows.get(others[middle]!)!, row) <= 0) low = middle + 1
      else high = middle
    }
    if (list.ids[low] === row.id && others.length < list.ids.length) return
    this.#setList(name, { ...list, ids: [...others.slice(0, low), row.id, ...others.slice(low)] })
  }

  #drop(name: ListName, id: string): void {
    const list = this.#lists.get(name)
    if (list?.ids.includes(id)) this.#setList(name, { ...list, ids: list.ids.filter((other) => other !== id) })
  }

  #rebuild(name: ListName): void {
    const list = this.list(name)
    const rows = [...this.#rows.values()].filter((row) => this.belongs(name, row) && this.#isLoaded(name, list, row))
    this.#setList(name, { ...list, ids: rows.sort(newestFirst).map((row) => row.id) })
  }

  #setList(name: ListName, list: ListState): void {
    this.#lists.set(name, list)
    this.#signals.touch(`l:${name}`)
  }
}

/** Newest first; a tie goes to the larger id, as in the server's paging. */
export function newestFirst(a: Edge, b: Edge): number {
  if (a.activity_ms !== b.activity_ms) return b.activity_ms - a.activity_ms
  return a.id === b.id ? 0 : a.id < b.id ? 1 : -1
}
