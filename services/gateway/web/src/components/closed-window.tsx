/** Where the answer was written, once its time is over: why, until when, and what may still go. */
import { ActionIcon, Button } from '@mantine/core'
import { inSentence, oneLine } from '../format'
import { useNow } from '../hooks'
import { t } from '../i18n'
import { ClockIcon, NoteIcon, TemplateIcon } from './icons'
import styles from './composer.module.css'

interface ClosedWindowProps {
  /** Of the button, which is what F6 comes to. */
  id: string
  until_ms: number | null
  /** What was being written when the time ended. */
  draft: string
  /** null: no template goes here either. */
  onTemplate: (() => void) | null
  onNote: () => void
}

export function ClosedWindow({ id, until_ms, draft, onTemplate, onNote }: ClosedWindowProps) {
  const now = useNow()
  return (
    <div className={styles.shut} data-testid="window-closed">
      <span className={styles.clock}><ClockIcon size={22} /></span>
      <div className={styles.why}>
        <p role="status">{(onTemplate ? t.composer.templateOnly : t.composer.windowClosed)(until_ms === null ? null : inSentence(until_ms, now))}</p>
        {draft.trim() && <p className={styles.kept}>{t.composer.draftKept(oneLine(draft))}</p>}
      </div>
      <ActionIcon id={onTemplate ? undefined : id} variant="subtle" color="gray" size={42} className={styles.tool} aria-label={t.composer.noteOn} title={t.composer.noteOn} onClick={onNote}
        data-testid="note-mode">
        <NoteIcon size={22} />
      </ActionIcon>
      {onTemplate && (
        <Button id={id} size="md" className={styles.choose} onClick={onTemplate} aria-haspopup="dialog" leftSection={<TemplateIcon size={19} />} data-testid="choose-template">
          {t.templates.choose}
        </Button>
      )}
    </div>
  )
}
