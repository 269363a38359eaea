/** The six lists with the server's counts. */
import { counter } from '../format'
import { useDesk, useRoute, useStore } from '../hooks'
import { t } from '../i18n'
import { LIST_NAMES } from '../wire'
import styles from './list-tabs.module.css'

export function ListTabs() {
  const { router } = useDesk()
  const { list, chat } = useRoute()
  const counters = useStore('counters', (store) => store.counters)
  return (
    <div className={styles.tabs}>
      {LIST_NAMES.map((name) => {
        const count = counter(counters.lists[name])
        return (
          <button key={name} type="button" className={styles.tab} data-testid={`list-${name}`}
            aria-current={name === list ? 'true' : undefined} onClick={() => router.go({ list: name, chat })}>
            <span className={styles.name}>{t.lists[name]}</span>
            <span className={styles.count} data-testid={`counter-${name}`}>{count}</span>
          </button>
        )
      })}
    </div>
  )
}
