/** Which screen: waiting, login, no access, or the desk with its three panes. */
import { Drawer, Loader } from '@mantine/core'
import { useMediaQuery } from '@mantine/hooks'
import { lazy, Suspense, useCallback, useState, useSyncExternalStore } from 'react'
import { ChatList } from './components/chat-list'
import { ClientPanel } from './components/client-panel'
import { focusComposer } from './components/composer'
import { ConnectionStrip } from './components/connection-strip'
import { Dialogue } from './components/dialogue'
import { Header } from './components/header'
import { ListTabs } from './components/list-tabs'
import { LoginForm, LoginPage, NoAccessPage } from './components/login'
import { Notices } from './components/notices'
import { Question } from './components/question'
import { cx, useDesk, useRoute } from './hooks'
import { t } from './i18n'
import { useWindowKeys } from './keys'
import styles from './app.module.css'

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
      {session === 'active' ? <ConnectionStrip /> : (
        <Question title={t.login.expired} onClose={null}>
          <p className={styles.hint}>{t.login.expiredHint}</p>
          <LoginForm />
        </Question>
      )}
    </>
  )
}

function Window() {
  const desk = useDesk()
  const { list, chat, screen } = useRoute()
  useWindowKeys()
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
        <div className={styles.header}><Header /></div>
        <Suspense fallback={<Starting text={t.starting} />}><ChannelsScreen /></Suspense>
      </div>
    )
  }
  return (
    <div className={cx(styles.window, chat !== null && styles.opened)}>
      <div className={styles.header}><Header /></div>
      <nav className={styles.lists} data-list={list} aria-label={t.list.landmark}>
        <ListTabs />
        <ChatList onOpen={open} />
      </nav>
      <Dialogue onPanel={wide ? null : () => setPanel(true)} />
      {wide && <aside className={styles.panel} aria-label={t.panel.landmark}><ClientPanel /></aside>}
      {!wide && (
        <Drawer.Root opened={panel && chat !== null} onClose={() => setPanel(false)} position="right" size={360} lockScroll={false}>
          <Drawer.Overlay />
          <Drawer.Content>
            <Drawer.Body>
              <div className={styles.drawerHead}>
                <Drawer.Title>{t.panel.landmark}</Drawer.Title>
                <Drawer.CloseButton aria-label={t.panel.close} />
              </div>
              <ClientPanel />
            </Drawer.Body>
          </Drawer.Content>
        </Drawer.Root>
      )}
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
