/** Colleagues a chat can be handed to. */
import { Loader, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useDesk } from '../hooks'
import { t } from '../i18n'
import type { Person } from '../wire'
import { Avatar } from './avatar'
import { Question } from './question'
import styles from './assign-dialog.module.css'

interface AssignDialogProps {
  holder: Person | null
  onChoose: (person: Person) => void
  onClose: () => void
}

export default function AssignDialog({ holder, onChoose, onClose }: AssignDialogProps) {
  const { api } = useDesk()
  const users = useQuery({ queryKey: ['users'], queryFn: () => api.users(), staleTime: 60_000 })
  const [wanted, setWanted] = useState('')
  const found = users.data?.filter(({ id, name }) => id !== holder?.id && name.toLocaleLowerCase('uk').includes(wanted.trim().toLocaleLowerCase('uk')))
  return (
    <Question title={t.deeds.assignTitle} onClose={onClose}>
      <TextInput value={wanted} onChange={(event) => setWanted(event.currentTarget.value)} placeholder={t.deeds.findPerson} aria-label={t.deeds.findPerson} data-autofocus />
      {users.isPending && <p className={styles.note}><Loader size="sm" aria-label={t.starting} /></p>}
      {users.isError && <p className={styles.note} role="alert">{t.deeds.loadFailed}</p>}
      {found?.length === 0 && <p className={styles.note}>{t.deeds.noPeople}</p>}
      <ul className={styles.people}>
        {found?.map((person) => (
          <li key={person.id}>
            <button type="button" className={styles.person} onClick={() => onChoose(person)} data-testid="person">
              <Avatar id={person.id} name={person.name} small /> <span>{person.name}</span>
            </button>
          </li>
        ))}
      </ul>
    </Question>
  )
}
