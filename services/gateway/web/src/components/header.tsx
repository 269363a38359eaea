/** The top bar: whose desk this is, the two counts, theme and logout. */
import { ActionIcon, Menu, useComputedColorScheme, useMantineColorScheme } from '@mantine/core'
import { useEffect } from 'react'
import { badge, counter } from '../format'
import { useDesk, useStore } from '../hooks'
import { t } from '../i18n'
import { ChatsIcon, CheckIcon, KeyboardIcon, LogoutIcon, MoonIcon, PersonIcon, PlugIcon, ScreenIcon, SunIcon } from './icons'
import styles from './header.module.css'

const THEMES = [
  { value: 'auto', label: t.header.system, Icon: ScreenIcon },
  { value: 'light', label: t.header.light, Icon: SunIcon },
  { value: 'dark', label: t.header.dark, Icon: MoonIcon },
] as const

export function Header({ onKeys }: { onKeys: () => void }) {
  const { session, router } = useDesk()
  const me = useStore('me', (store) => store.me)
  const { red, blue } = useStore('counters', (store) => store.counters)
  const newBuild = useStore('build', (store) => store.newBuild)
  // Without keepTransitions Mantine writes a style element, which the strict CSP forbids.
  const { colorScheme, setColorScheme } = useMantineColorScheme({ keepTransitions: true })
  const dark = useComputedColorScheme('light') === 'dark'

  useEffect(() => {
    document.title = blue > 0 ? `(${badge(blue)}) ${t.title}` : t.title
  }, [blue])

  return (
    <header className={styles.header}>
      <span className={styles.brand}><ChatsIcon size={22} /></span>
      <h1 className={styles.title}>{t.title}</h1>
      <span className={styles.tenant} title={me?.tenant.title}>{me?.tenant.title}</span>
      <span className={styles.space} />
      {newBuild && <button type="button" className={styles.build} onClick={() => location.reload()}>{t.newBuild}</button>}
      <Count name="red" className={styles.red} text={counter(red)} label={t.header.open(counter(red))} word={t.header.openWord} />
      <Count name="blue" className={styles.blue} text={counter(blue)} label={t.header.unread(counter(blue))} word={t.header.unreadWord} />
      <Menu position="bottom-end" width={240} withinPortal={false} withInitialFocusPlaceholder={false} returnFocus transitionProps={{ duration: 0 }} classNames={{ label: styles.label ?? '' }}>
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" size="lg" className={styles.action} aria-label={t.header.account}>
            <PersonIcon />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Label>{me?.name}</Menu.Label>
          {me?.roles.includes('admin') && (
            <Menu.Item leftSection={<PlugIcon size={18} />} onClick={() => router.go({ list: 'active', chat: null, screen: 'channels' })}>
              {t.header.channels}
            </Menu.Item>
          )}
          <Menu.Divider />
          <Menu.Label>{t.header.theme}</Menu.Label>
          {THEMES.map(({ value, label, Icon }) => (
            <Menu.Item key={value} leftSection={<Icon size={18} />} rightSection={colorScheme === value ? <CheckIcon size={16} /> : null}
              aria-current={colorScheme === value} onClick={() => setColorScheme(value)}>
              {label}
            </Menu.Item>
          ))}
          <Menu.Divider />
          <Menu.Item leftSection={<KeyboardIcon size={18} />} rightSection={<span className={styles.chord}>Ctrl+/</span>} onClick={onKeys}>{t.header.keys}</Menu.Item>
          <Menu.Item leftSection={<LogoutIcon size={18} />} onClick={() => void session.logout().catch(() => undefined)}>
            {t.login.out}
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <ActionIcon variant="subtle" color="gray" size="lg" className={styles.theme} onClick={() => setColorScheme(dark ? 'light' : 'dark')}
        aria-label={`${t.header.theme}: ${dark ? t.header.light : t.header.dark}`} title={dark ? t.header.light : t.header.dark}>
        {dark ? <SunIcon /> : <MoonIcon />}
      </ActionIcon>
    </header>
  )
}

interface CountProps {
  name: string
  className: string | undefined
  text: string
  label: string
  /** Beside the number where there is room. */
  word: string
}

function Count({ name, className, text, label, word }: CountProps) {
  return (
    <>
      <span className={styles.word} aria-hidden="true">{word}</span>
      <span className={className} data-testid={`counter-${name}`} title={label}>
        <span aria-hidden="true">{text}</span>
        <span className="visually-hidden">{label}</span>
      </span>
    </>
  )
}
