/** Parts that are loaded when they are wanted, and what is said when they cannot be. */
import { Component, Suspense, type ReactNode } from 'react'
import { useDesk } from '../hooks'
import { t } from '../i18n'
import styles from './later.module.css'

interface CatchProps {
  onFailed: () => void
  /** What stands in the place of the part that broke. */
  instead: ReactNode
  children: ReactNode
}

class Catch extends Component<CatchProps, { failed: boolean }> {
  override state = { failed: false }

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true }
  }

  override componentDidCatch(): void {
    this.props.onFailed()
  }

  override render(): ReactNode {
    return this.state.failed ? this.props.instead : this.props.children
  }
}

/** A new version at the server takes the old one's files away: the window stays, and says that it must be loaded anew. */
export function Later({ children, meanwhile = null }: { children: ReactNode; meanwhile?: ReactNode }) {
  const { store } = useDesk()
  const say = () => store.notices.say(t.broken.part, 'trouble', { label: t.broken.reload, run: () => location.reload() })
  return <Catch onFailed={say} instead={null}><Suspense fallback={meanwhile}>{children}</Suspense></Catch>
}

/** The last resort: a fault of ours shows a sentence and a way out, not a white page. */
export function Whole({ children }: { children: ReactNode }) {
  const instead = (
    <main className={styles.broken}>
      <p role="alert">{t.broken.whole}</p>
      <button type="button" onClick={() => location.reload()}>{t.broken.reload}</button>
    </main>
  )
  return <Catch onFailed={() => undefined} instead={instead}>{children}</Catch>
}
