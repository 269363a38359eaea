/** A client's number as people read it here, and a button that copies it as machines do. */
import { copyText } from '../clipboard'
import { phoneNumber } from '../format'
import { useDesk } from '../hooks'
import { t } from '../i18n'
import { CopyIcon } from './icons'
import styles from './phone.module.css'

export function Phone({ phone, call }: { phone: string; call?: boolean }) {
  const { store } = useDesk()
  const shown = phoneNumber(phone)
  return (
    <span className={styles.phone} data-testid="phone">
      {call ? <a href={`tel:${phone.replace(/[^\d+]/g, '')}`} className={styles.link}>{shown}</a> : shown}
      <button type="button" className={styles.copy} aria-label={t.panel.copyPhone} title={t.panel.copyPhone} onClick={() => void copyText(store, phone, t.panel.phoneCopied)}>
        <CopyIcon size={15} />
      </button>
    </span>
  )
}
