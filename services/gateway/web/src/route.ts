/** The address of the screen: `#/active/c/<id>`, `#/channels`. Reload and Back restore it under any mount path. */
import { LIST_NAMES, type ListName } from './wire'

export interface Route {
  list: ListName
  chat: string | null
  /** The administrator's screen over the chats. */
  screen?: 'channels'
}

export function parseRoute(hash: string): Route {
  const [, list, c, chat] = hash.replace(/^#/, '').split('/')
  if (list === 'channels') return { list: 'active', chat: null, screen: 'channels' }
  return {
    list: LIST_NAMES.find((name) => name === list) ?? 'active',
    chat: c === 'c' && chat ? decode(chat) : null,
  }
}

export function formatRoute({ list, chat, screen }: Route): string {
  if (screen) return `#/${screen}`
  return chat === null ? `#/${list}` : `#/${list}/c/${encodeURIComponent(chat)}`
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}

export class Router {
  #route = parseRoute(location.hash)
  readonly #listeners = new Set<() => void>()

  constructor() {
    window.addEventListener('hashchange', () => {
      this.#route = parseRoute(location.hash)
      for (const listener of [...this.#listeners]) listener()
    })
  }

  get current(): Route { return this.#route }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  go(route: Route): void {
    location.hash = formatRoute(route)
  }
}
