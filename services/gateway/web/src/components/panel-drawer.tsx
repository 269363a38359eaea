/** The client's panel where it has no place of its own. */
import { Drawer } from '@mantine/core'
import { useReturnFocus } from '../hooks'
import { t } from '../i18n'
import { ClientPanel } from './client-panel'
import styles from './panel-drawer.module.css'

export default function PanelDrawer({ onClose }: { onClose: () => void }) {
  useReturnFocus()
  return (
    <Drawer.Root opened onClose={onClose} position="right" size={360} lockScroll={false} returnFocus={false} transitionProps={{ duration: 0 }}>
      <Drawer.Overlay />
      <Drawer.Content>
        <Drawer.Body>
          <div className={styles.head}>
            <Drawer.Title>{t.panel.landmark}</Drawer.Title>
            <Drawer.CloseButton aria-label={t.panel.close} />
          </div>
          <ClientPanel />
        </Drawer.Body>
      </Drawer.Content>
    </Drawer.Root>
  )
}
