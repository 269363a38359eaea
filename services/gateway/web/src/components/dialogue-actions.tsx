/** What an operator does with a chat as a whole: take, hand over, hold, finish. */
import { ActionIcon, Button, Menu } from '@mantine/core'
import { useMediaQuery } from '@mantine/hooks'
import { lazy, useState } from 'react'
import { useDesk, useStore } from '../hooks'
import { t } from '../i18n'
import type { Conversation } from '../store/conversations'
import { BotIcon, CheckIcon, ForwardIcon, HandIcon, LogoutIcon, MoreIcon, PauseChatIcon, RetryIcon } from './icons'
import { Later } from './later'
import styles from './dialogue.module.css'

const AssignDialog = lazy(() => import('./assign-dialog'))

export function DialogueActions({ row }: { row: Conversation }) {
  const { deeds } = useDesk()
  const me = useStore('me', (store) => store.me)
  const roomy = useMediaQuery('(min-width: 900px)', true, { getInitialValueInEffect: false })
  const hasBot = useStore('channels', (store) => store.channel(row.channel.id))?.abilities?.bot === true
  const [assigning, setAssigning] = useState(false)
  const mine = row.assignee !== null && row.assignee.id === me?.id
  const closed = row.status === 'closed'
  const withBot = row.handler === 'bot' && !closed
  const free = row.assignee === null
  const main = closed
    ? { label: t.deeds.reopen, Icon: RetryIcon, run: () => deeds.reopen(row), look: 'default' }
    : withBot
      ? { label: t.deeds.takeover, Icon: HandIcon, run: () => deeds.claim(row), look: 'filled' }
      : free
        ? { label: t.deeds.claim, Icon: HandIcon, run: () => deeds.claim(row), look: 'soft' }
        : { label: t.deeds.close, Icon: CheckIcon, run: () => deeds.close(row), look: 'default' }
  return (
    <div className={styles.actions}>
      {roomy
        ? <Button size="sm" variant={main.look === 'soft' ? 'default' : main.look} className={main.look === 'soft' ? styles.soft : undefined} leftSection={<main.Icon size={17} />} onClick={() => void main.run()} data-testid="main-action">{main.label}</Button>
        : (
          <ActionIcon variant="default" className={styles.softIcon} size="lg" aria-label={main.label} title={main.label} onClick={() => void main.run()} data-testid="main-action">
            <main.Icon />
          </ActionIcon>
        )}
      <Menu position="bottom-end" width={230} withinPortal={false} withInitialFocusPlaceholder={false} returnFocus transitionProps={{ duration: 0 }}>
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" size="lg" className={styles.panel} aria-label={t.deeds.more} title={t.deeds.more} data-testid="chat-menu">
            <MoreIcon />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {!closed && !mine && !free && !withBot && <Menu.Item leftSection={<HandIcon size={18} />} onClick={() => { if (me) void deeds.assign(row, me) }}>{t.deeds.claim}</Menu.Item>}
          {!closed && <Menu.Item leftSection={<ForwardIcon size={18} />} onClick={() => setAssigning(true)}>{t.deeds.assign}</Menu.Item>}
          {!closed && !free && <Menu.Item leftSection={<LogoutIcon size={18} />} onClick={() => void deeds.release(row)}>{t.deeds.release}</Menu.Item>}
          {row.status === 'open' && !withBot && <Menu.Item leftSection={<PauseChatIcon size={18} />} onClick={() => void deeds.wait(row)}>{t.deeds.wait}</Menu.Item>}
          {row.status === 'waiting' && <Menu.Item leftSection={<RetryIcon size={18} />} onClick={() => void deeds.reopen(row)}>{t.deeds.reopen}</Menu.Item>}
          {row.handler === 'operator' && !closed && hasBot && (
            <Menu.Item leftSection={<BotIcon size={18} />} onClick={() => void deeds.returnToBot(row)}>{t.deeds.toBot}</Menu.Item>
          )}
          {closed
            ? <Menu.Item leftSection={<RetryIcon size={18} />} onClick={() => void deeds.reopen(row)}>{t.deeds.reopen}</Menu.Item>
            : <Menu.Item leftSection={<CheckIcon size={18} />} onClick={() => void deeds.close(row)}>{t.deeds.close}</Menu.Item>}
        </Menu.Dropdown>
      </Menu>
      {assigning && (
        <Later><AssignDialog onClose={() => setAssigning(false)} onChoose={(person) => { setAssigning(false); void deeds.assign(row, person) }} holder={row.assignee} /></Later>
      )}
    </div>
  )
}
