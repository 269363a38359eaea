/** Puts words on the clipboard and says so. */
import { t } from './i18n'
import type { Store } from './store/store'

export async function copyText(store: Store, text: string, said: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
    store.notices.say(said)
  } catch {
    // The browser keeps the clipboard to itself on plain http; the text can still be selected.
    store.notices.say(t.dialogue.notCopied, 'trouble')
  }
}
