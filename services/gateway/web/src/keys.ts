/** The keys of the whole window: between chats, between regions, to the list of keys itself. */
import { useEffect } from 'react'
import { useDesk } from './hooks'
import { deedOf } from './shortcuts'

/** Regions in the order F6 walks them: the list, the messages, the composer, the panel. */
const REGIONS = ['#chat-list', '[data-testid="messages"]', '#composer', '[data-testid="client-panel"]']

export function useWindowKeys(onHelp: () => void): void {
  const desk = useDesk()
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      // A dialog or a menu has the keyboard for itself.
      if (event.defaultPrevented || event.isComposing || document.querySelector('[role="dialog"], [role="menu"]')) return
      const deed = deedOf(event, isTyping(event.target), desk.keys.letters)
      if (deed === null) return
      const { list, chat, screen } = desk.router.current
      if (deed === 'help') onHelp()
      else if (screen) return
      else if (deed === 'region' || deed === 'regionBack') walk(deed === 'region' ? 1 : -1)
      else if (deed === 'back') {
        // Only where the dialogue hides the list there is something to go back to.
        if (chat === null || isShown('#chat-list')) return
        desk.router.go({ list, chat: null })
      } else {
        const row = chat === null ? undefined : desk.store.conversations.get(chat)
        const { ids } = desk.store.conversations.list(list)
        const at = chat === null ? -1 : ids.indexOf(chat)
        const open = (id: string | undefined) => {
          if (id === undefined || id === chat) return
          desk.wantsComposer = true
          desk.router.go({ list, chat: id })
        }
        switch (deed) {
          case 'next': open(ids[at + 1]); break
          case 'previous': open(ids[at < 0 ? 0 : at - 1]); break
          case 'unread': open([...ids.slice(at + 1), ...ids.slice(0, at + 1)].find((id) => (desk.store.conversations.get(id)?.unread ?? 0) > 0)); break
          case 'close': if (row && row.status !== 'closed') void desk.deeds.close(row); break
          case 'wait': if (row && row.status === 'open') void desk.deeds.wait(row); break
        }
      }
      event.preventDefault()
    }
    window.addEventListener('keydown', onKeyDown)
    return () => window.removeEventListener('keydown', onKeyDown)
  }, [desk, onHelp])
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches('input, textarea, select'))
}

function isShown(selector: string): boolean {
  return document.querySelector(selector)?.checkVisibility() ?? false
}

function walk(by: number): void {
  const regions = REGIONS.map((selector) => document.querySelector<HTMLElement>(selector)).filter((element) => element?.checkVisibility() ?? false)
  if (regions.length === 0) return
  const at = regions.findIndex((region) => region?.contains(document.activeElement))
  const next = at < 0 ? (by > 0 ? 0 : regions.length - 1) : (at + by + regions.length) % regions.length
  regions[next]?.focus()
}
