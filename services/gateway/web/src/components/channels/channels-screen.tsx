/** The administrator's screen: what is connected, what is wrong with it and the one thing to do about it. */
import { Button, Loader } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useCallback, useEffect, useState } from 'react'
import { useDesk, useStore } from '../../hooks'
import type { ChannelDetails } from '../../wire'
import { BackIcon, PlugIcon } from '../icons'
import { ChannelCard } from './channel-card'
import { ConnectDialog, KeyDialog, RemoveDialog } from './channel-dialogs'
import { c } from './channel-texts'
import { SettingsDialog } from './settings-dialog'
import styles from './channels.module.css'

export type Task = { name: 'connect' } | { name: 'settings' | 'key' | 'remove'; channel: ChannelDetails }

export default function ChannelsScreen() {
  const { api, router, store } = useDesk()
  const me = useStore('me', (whole) => whole.me)
  const queries = useQueryClient()
  const admin = me?.roles.includes('admin') ?? false
  const channels = useQuery({ queryKey: ['channels'], queryFn: () => api.channels(), enabled: admin, refetchInterval: 30_000 })
  const [task, setTask] = useState<Task | null>(null)
  const refresh = useCallback(() => { void queries.invalidateQueries({ queryKey: ['channels'] }) }, [queries])
  // Health changes are told over the socket too; the list follows them at once.
  useEffect(() => store.signals.subscribe('channels', refresh), [store, refresh])
  const done = (text: string) => {
    setTask(null)
    store.notices.say(text)
    refresh()
  }
  return (
    <main className={styles.screen} data-testid="channels">
      <div className={styles.inner}>
        <div className={styles.head}>
          <button type="button" className={styles.back} onClick={() => router.go({ list: 'active', chat: null })} aria-label={c.back} title={c.back}><BackIcon /></button>
          <h2 className={styles.title}>{c.title}</h2>
          {admin && <Button onClick={() => setTask({ name: 'connect' })} leftSection={<PlugIcon size={18} />} data-testid="connect">{c.connect}</Button>}
        </div>
        {!admin && <p className={styles.none}>{c.notAllowed}</p>}
        {channels.isPending && admin && <p className={styles.none}><Loader size="sm" aria-label={c.title} /></p>}
        {channels.isError && (
          <p className={styles.none} role="alert">{c.failed} <Button size="xs" variant="light" onClick={() => void channels.refetch()}>{c.again}</Button></p>
        )}
        {channels.data?.length === 0 && <p className={styles.none}>{c.none}</p>}
        <ul className={styles.cards}>
          {channels.data?.map((channel) => (
            <li key={channel.id}><ChannelCard channel={channel} onTask={setTask} onChanged={done} /></li>
          ))}
        </ul>
      </div>
      {task?.name === 'connect' && <ConnectDialog onClose={() => setTask(null)} onDone={done} />}
      {task?.name === 'settings' && <SettingsDialog channel={task.channel} onClose={() => setTask(null)} onDone={done} />}
      {task?.name === 'key' && <KeyDialog channel={task.channel} onClose={() => setTask(null)} onDone={done} />}
      {task?.name === 'remove' && <RemoveDialog channel={task.channel} onClose={() => setTask(null)} onDone={done} />}
    </main>
  )
}
