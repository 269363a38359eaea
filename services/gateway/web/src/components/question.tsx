/** A dialog over the window. Its title stands in the body: Mantine's own header would be a second page banner. */
import { Modal } from '@mantine/core'
import type { ReactNode } from 'react'
import { useReturnFocus } from '../hooks'
import styles from './question.module.css'

interface QuestionProps {
  title: string
  /** `null`: it must be answered. */
  onClose: (() => void) | null
  /** How wide, in CSS pixels, where there is room. */
  size?: number
  children: ReactNode
}

export function Question({ title, onClose, size = 500, children }: QuestionProps) {
  useReturnFocus()
  const closable = onClose !== null
  return (
    <Modal.Root opened onClose={() => onClose?.()} size={size} centered lockScroll={false} closeOnEscape={closable} closeOnClickOutside={closable}
      transitionProps={{ duration: 0 }} returnFocus={false}>
      <Modal.Overlay />
      <Modal.Content>
        <Modal.Body>
          <Modal.Title className={styles.title}>{title}</Modal.Title>
          {children}
        </Modal.Body>
      </Modal.Content>
    </Modal.Root>
  )
}
