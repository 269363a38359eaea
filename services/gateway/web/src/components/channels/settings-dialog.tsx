/** What an administrator decides about a connected channel: its name, who works with it, how it greets. */
import { Button, TextInput, Textarea } from '@mantine/core'
import { useState } from 'react'
import { useDesk } from '../../hooks'
import { t } from '../../i18n'
import { lengthIn, textLimit } from '../../limits'
import type { ChannelButton, ChannelDetails } from '../../wire'
import { ClearIcon, PlusIcon } from '../icons'
import { Question } from '../question'
import { c } from './channel-texts'
import { DialogForm, type DialogProps } from './dialog-form'
import { HumanAgent } from './human-agent'
import { MOST_BUTTONS, changesOf, drawn, halfFilled, type Draft } from './settings'
import styles from './channels.module.css'

export function SettingsDialog({ channel, onClose, onDone }: DialogProps & { channel: ChannelDetails }) {
  const { api } = useDesk()
  const [draft, setDraft] = useState(() => drawn(channel))
  const put = (change: Partial<Draft>) => setDraft({ ...draft, ...change })
  // Without a bot in the messenger nobody could say the welcome.
  const greets = channel.abilities?.bot === true
  const limit = textLimit(channel)
  const over = limit ? lengthIn(limit.unit, draft.welcome.trim()) - limit.most : 0
  const changes = changesOf(channel, draft)
  const ready = draft.title.trim() !== '' && over <= 0 && !halfFilled(draft) && Object.keys(changes).length > 0
  const submit = async () => {
    await api.changeChannel(channel.id, changes)
    onDone(c.saved)
  }
  const button = (at: number, change: Partial<ChannelButton>) =>
    put({ buttons: draft.buttons.map((known, i) => (i === at ? { ...known, ...change } : known)) })
  return (
    <Question title={c.settingsTitle(channel.title)} onClose={onClose}>
      <DialogForm onSubmit={submit} onClose={onClose} label={c.save} ready={ready}>
        <TextInput label={c.name} name="title" maxLength={100} value={draft.title} onChange={(event) => put({ title: event.currentTarget.value })} data-autofocus />
        <TextInput label={c.roles} description={c.rolesHint} placeholder={c.rolesPlaceholder} name="roles" value={draft.roles} spellCheck={false}
          onChange={(event) => put({ roles: event.currentTarget.value })} />
        {channel.webhook_url && (
          <TextInput label={c.webhookAddress} description={c.webhookAddressHint} name="webhook" value={channel.webhook_url} readOnly spellCheck={false}
            onFocus={(event) => event.currentTarget.select()} />
        )}
        {channel.human_reply_window_hours && <HumanAgent hours={channel.human_reply_window_hours} on={draft.humanAgent} onChange={(humanAgent) => put({ humanAgent })} />}
        {greets && (
          <>
            <Textarea label={c.welcome} description={c.welcomeHint} placeholder={c.welcomePlaceholder} name="welcome" autosize minRows={2} maxRows={6} value={draft.welcome}
              error={over > 0 && limit ? t.composer.over(over, limit.unit) : undefined} onChange={(event) => put({ welcome: event.currentTarget.value })} />
            {channel.abilities?.buttons === true && (
              <fieldset className={styles.kinds} data-testid="welcome-buttons">
                <legend>{c.buttons}</legend>
                {draft.buttons.length > 0 && <p className={styles.hint}>{c.buttonsHint}</p>}
                {draft.buttons.map((known, i) => (
                  <div key={i} className={styles.button}>
                    <TextInput aria-label={c.buttonText(i + 1)} placeholder={c.buttonTextPlaceholder} maxLength={100} value={known.text}
                      onChange={(event) => button(i, { text: event.currentTarget.value })} />
                    <TextInput aria-label={c.buttonValue(i + 1)} placeholder={known.text.trim() || c.buttonValuePlaceholder} maxLength={200} value={known.value}
                      onChange={(event) => button(i, { value: event.currentTarget.value })} />
                    <button type="button" className={styles.drop} aria-label={c.dropButton(i + 1)} title={c.dropButton(i + 1)}
                      onClick={() => put({ buttons: draft.buttons.filter((_, j) => j !== i) })}><ClearIcon size={17} /></button>
                  </div>
                ))}
                {draft.buttons.length < MOST_BUTTONS && (
                  <Button variant="default" size="xs" leftSection={<PlusIcon size={15} />} className={styles.add}
                    onClick={() => put({ buttons: [...draft.buttons, { text: '', value: '' }] })}>{c.addButton}</Button>
                )}
              </fieldset>
            )}
          </>
        )}
      </DialogForm>
    </Question>
  )
}
