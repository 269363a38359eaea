/** Keys of the whole window, by their place on the keyboard: a Ukrainian layout has other letters there. */
import { useEffect } from 'react'
import { focusComposer } from './components/composer'
import { useDesk } from './hooks'

/** Regions in the order F6 walks them: the list, the messages, the composer, the panel. */
const REGIONS = ['#chat-list', '[data-testid="messages"]', '#composer', '[data-testid="client-panel"]']

export function useWindowKeys(): void {
  const desk = useDesk()
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      // A dialog or a menu has the keyboard for itself.
      if (event.defaultPrevented || document.querySelector('[role="dialog"], [role="menu"]')) return
      if (event.key === 'F6') {
        event.preventDefault()
        return walk(event.shiftKey ? -1 : 1)
      }
      if (!event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return
      const { list, chat } = desk.router.current
      const row = chat === null ? undefined : desk.store.conversations.get(chat)
      const neighbour = (by: number) => {
        const { ids } = desk.store.conversations.list(list)
        const next = ids[chat === null ? 0 : ids.indexOf(chat) + by]
        if (next === undefined || next === chat) return
        desk.router.go({ list, chat: next })
        focusComposer()
      }
      switch (event.code) {
        case 'KeyJ': neighbour(1); break
        case 'KeyK': neighbour(-1); break
        case 'KeyE': if (row && row.status !== 'closed') void desk.deeds.close(row); break
        case 'KeyW': if (row && row.status === 'open') void desk.deeds.wait(row); break
        default: return
      }
      event.preventDefault()
    }
    window.addEventListener('keydown', onKeyDown)
    return () => window.removeEventListener('keydown', onKeyDown)
  }, [desk])
}

function walk(by: number): void {
  const regions = REGIONS.map((selector) => document.querySelector<HTMLElement>(selector)).filter((element) => element !== null)
  if (regions.length === 0) return
  const at = regions.findIndex((region) => region.contains(document.activeElement))
  const next = regions[(at + by + regions.length) % regions.length] ?? regions[0]
  next?.focus()
}
