/** Which screen: waiting, login, no access, or the desk with its three panes. */
import { Loader } from '@mantine/core'
import { useMediaQuery } from '@mantine/hooks'
import { lazy, useCallback, useEffect, useState, useSyncExternalStore } from 'react'
import { Expired, fetchAhead, PanelDrawer } from './components/ahead'
import { ChatList } from './components/chat-list'
import { ClientPanel } from './components/client-panel'
import { focusComposer } from './components/composer'
import { ConnectionStrip } from './components/connection-strip'
import { Dialogue } from './components/dialogue'
import { Header } from './components/header'
import { Later } from './components/later'
import { ListTabs } from './components/list-tabs'
import { LoginPage, NoAccessPage } from './components/login'
import { Notices } from './components/notices'
import { cx, useDesk, useRoute } from './hooks'
import { t } from './i18n'
import { useWindowKeys } from './keys'
import styles from './app.module.css'

const KeysHelp = lazy(() => import('./components/keys-help'))
const ChannelsScreen = lazy(() => import('./components/channels/channels-screen'))

export function App() {
  const desk = useDesk()
  const session = useSyncExternalStore(desk.session.subscribe, () => desk.session.state)
  const phase = useSyncExternalStore((changed) => desk.store.signals.subscribe('phase', changed), () => desk.phase)
  if (session === 'anonymous') return <LoginPage />
  if (phase === 'no-access') return <NoAccessPage />
  if (phase !== 'ready') return <Starting text={phase === 'unreachable' ? t.offlineStart : t.starting} />
  return (
    <>
      <Window />
      <Notices />
      {session === 'active' ? <ConnectionStrip /> : <Later><Expired /></Later>}
    </>
  )
}

function Window() {
  const desk = useDesk()
  const { list, chat, screen } = useRoute()
  const [help, setHelp] = useState(false)
  const openHelp = useCallback(() => setHelp(true), [])
  useWindowKeys(openHelp)
  useEffect(fetchAhead, [])
  const wide = useMediaQuery('(min-width: 1181px)', true, { getInitialValueInEffect: false })
  const [panel, setPanel] = useState(false)
  const open = useCallback((id: string) => {
    // On a touch screen the keyboard would cover what one came to read.
    const typing = matchMedia('(pointer: fine)').matches
    if (desk.router.current.chat === id) {
      if (typing) focusComposer()
      return
    }
    desk.wantsComposer = typing
    desk.router.go({ list: desk.router.current.list, chat: id })
  }, [desk])
  if (screen === 'channels') {
    return (
      <div className={cx(styles.window, styles.alone)}>
        <div className={styles.header}><Header onKeys={openHelp} /></div>
        <Later meanwhile={<Starting text={t.starting} />}><ChannelsScreen /></Later>
        {help && <Later><KeysHelp onClose={() => setHelp(false)} /></Later>}
      </div>
    )
  }
  return (
    <div className={cx(styles.window, chat !== null && styles.opened)}>
      <div className={styles.header}><Header onKeys={openHelp} /></div>
      <nav className={styles.lists} data-list={list} aria-label={t.list.landmark}>
        <ListTabs />
        <ChatList onOpen={open} />
      </nav>
      <Dialogue onPanel={wide ? null : () => setPanel(true)} />
      {wide && <aside className={styles.panel} aria-label={t.panel.landmark}><ClientPanel /></aside>}
      {!wide && panel && chat !== null && <Later><PanelDrawer onClose={() => setPanel(false)} /></Later>}
      {help && <Later><KeysHelp onClose={() => setHelp(false)} /></Later>}
    </div>
  )
}

function Starting({ text }: { text: string }) {
  return (
    <main className={styles.starting} aria-busy="true">
      <Loader size="sm" />
      <p role="status">{text}</p>
    </main>
  )
}
