/** One connected account: its state in words, its trouble with the fix, and what can be done with it. */
import { ActionIcon, Button, Menu } from '@mantine/core'
import { useState } from 'react'
import { why } from '../../deeds'
import { dayAndTime } from '../../format'
import { cx, useDesk, useNow } from '../../hooks'
import { t } from '../../i18n'
import type { ChannelDetails } from '../../wire'
import { Avatar } from '../avatar'
import { AlertIcon, MoreIcon } from '../icons'
import { c } from './channel-texts'
import type { Task } from './channels-screen'
import styles from './channels.module.css'

interface ChannelCardProps {
  channel: ChannelDetails
  onTask: (task: Task) => void
  onChanged: (text: string) => void
}

export function ChannelCard({ channel, onTask, onChanged }: ChannelCardProps) {
  const { api, store } = useDesk()
  const now = useNow()
  const [busy, setBusy] = useState(false)
  const { id, title, kind } = channel
  const off = channel.state === 'disabled'
  const state = off ? 'disabled' : channel.state === 'pending' ? 'pending' : channel.connected ? 'working' : 'broken'

  const run = async (work: () => Promise<string>) => {
    if (busy) return
    setBusy(true)
    try {
      onChanged(await work())
    } catch (error) {
      store.notices.say(why(error), 'trouble')
    } finally {
      setBusy(false)
    }
  }
  const toggle = () => run(async () => {
    await api.changeChannel(id, { enabled: off })
    return off ? c.turnedOn : c.turnedOff
  })
  const check = () => run(async () => {
    const health = await api.channelHealth(id)
    return health.problem ?? (health.receiving ? `${c.checked}: ${health.receiving === 'polling' ? c.polling : c.webhook}` : c.checked)
  })
  // Switching on what is on registers it anew: the fix for all but a refused key.
  const again = () => run(async () => {
    const after = await api.changeChannel(id, { enabled: true })
    return after.problem ?? c.connectedAgain
  })
  const rotate = () => run(async () => {
    await api.rotateSecret(id)
    return c.rotated
  })

  return (
    <article className={styles.card} data-testid="channel" data-id={id} data-state={state} aria-busy={busy}>
      <div className={styles.cardHead}>
        <Avatar id={id} name={title} channel={{ id, kind, title }} />
        <div className={styles.names}>
          <h3 className={styles.name}>{title}</h3>
          <p className={styles.kind}>{[channel.kind_title ?? t.channelKind(kind), channel.account_name].filter(Boolean).join(' · ')}</p>
        </div>
        <span className={cx(styles.state, styles[state])}>{c[state]}</span>
        <Menu position="bottom-end" width={240} withinPortal={false} withInitialFocusPlaceholder={false} returnFocus transitionProps={{ duration: 0 }}>
          <Menu.Target>
            <ActionIcon variant="subtle" color="gray" size="lg" className={styles.more} aria-label={c.actions(title)} loading={busy} data-testid="channel-menu"><MoreIcon /></ActionIcon>
          </Menu.Target>
          <Menu.Dropdown>
            {!off && <Menu.Item onClick={() => void check()}>{c.check}</Menu.Item>}
            <Menu.Item onClick={() => onTask({ name: 'settings', channel })}>{c.settings}</Menu.Item>
            <Menu.Item onClick={() => onTask({ name: 'key', channel })}>{c.changeKey}</Menu.Item>
            {!off && <Menu.Item onClick={() => void rotate()}>{c.rotate}</Menu.Item>}
            <Menu.Item onClick={() => void toggle()}>{off ? c.enable : c.disable}</Menu.Item>
            <Menu.Divider />
            <Menu.Item color="red" onClick={() => onTask({ name: 'remove', channel })}>{c.remove}</Menu.Item>
          </Menu.Dropdown>
        </Menu>
      </div>
      {(state === 'broken' || (state === 'working' && channel.problem)) && (
        <div className={styles.problem} role="status">
          <AlertIcon size={18} /> <span>{channel.problem ?? c.broken}</span>
          <span className={styles.fixes}>
            <Button size="xs" variant="default" onClick={() => void again()} data-testid="reconnect">{c.reconnect}</Button>
            {state === 'broken' && <Button size="xs" variant="default" onClick={() => onTask({ name: 'key', channel })}>{c.changeKey}</Button>}
          </span>
        </div>
      )}
      <dl className={styles.facts}>
        {channel.credentials_hint && <div><dt>{c.key}</dt><dd>•••• {channel.credentials_hint.replace(/^[•*.…]+/, '')}</dd></div>}
        <div><dt>{c.since}</dt><dd>{dayAndTime(Date.parse(channel.created_at), now)}</dd></div>
      </dl>
    </article>
  )
}
