/** Line icons of the window, drawn here; each is decoration beside a text or an aria-label. */
import type { ReactNode } from 'react'

function icon(children: ReactNode) {
  return function Icon({ size = 20 }: { size?: number }) {
    return (
      <svg width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.8"
        strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
        {children}
      </svg>
    )
  }
}

export const SendIcon = icon(<path d="M4 12 20 4.5 15.5 20l-4-6.5L4 12Zm7.5 1.5L20 4.5" />)
export const BackIcon = icon(<path d="M14.5 5.5 8 12l6.5 6.5" />)
export const DownIcon = icon(<path d="M12 5v14m-6-6 6 6 6-6" />)
export const PersonIcon = icon(<><circle cx="12" cy="8" r="4" /><path d="M4.5 20c1-4 4-6 7.5-6s6.5 2 7.5 6" /></>)
export const SearchIcon = icon(<><circle cx="10.5" cy="10.5" r="6" /><path d="m15 15 5 5" /></>)
export const ClearIcon = icon(<path d="m6 6 12 12M18 6 6 18" />)
export const SunIcon = icon(<><circle cx="12" cy="12" r="4" /><path d="M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4" /></>)
export const MoonIcon = icon(<path d="M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5Z" />)
export const ScreenIcon = icon(<><rect x="3.5" y="4.5" width="17" height="12" rx="2" /><path d="M9 20h6" /></>)
export const LogoutIcon = icon(<path d="M14 4.5H6.5a2 2 0 0 0-2 2v11a2 2 0 0 0 2 2H14M10 12h10.5m-4-4 4 4-4 4" />)
export const ClockIcon = icon(<><circle cx="12" cy="12" r="8.5" /><path d="M12 7v5l3.5 2" /></>)
export const CheckIcon = icon(<path d="m6 12.5 4 4L18 7.5" />)
export const ChecksIcon = icon(<path d="m2.5 12.5 4 4L14 8m-3 7 1.5 1.5L21 8" />)
export const AlertIcon = icon(<><circle cx="12" cy="12" r="8.5" /><path d="M12 7.5v5.5m0 3v.1" /></>)
export const QuestionIcon = icon(<><circle cx="12" cy="12" r="8.5" /><path d="M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8m0 2.6v.1" /></>)
export const BlockedIcon = icon(<><circle cx="12" cy="12" r="8.5" /><path d="m6 6 12 12" /></>)
export const UnlinkedIcon = icon(<><circle cx="9" cy="8" r="3.800" /><path d="M2.500 19.500c.8-3.800 3.300-5.500 6.500-5.500 1.300 0 2.500.3 3.500.9M16.300 12.200a2.200 2.200 0 1 1 3.100 2c-.8.4-1.100.9-1.100 1.700m0 2.900v.1" /></>)
export const ForwardIcon = icon(<path d="M9.5 5.5 16 12l-6.5 6.5" />)
export const PlayIcon = icon(<path d="M8 5.5v13l10.5-6.5L8 5.5Z" fill="currentColor" />)
export const PauseIcon = icon(<path d="M8.5 6v12m7-12v12" strokeWidth="3" />)
export const FileIcon = icon(<path d="M13.5 3.5H7a2 2 0 0 0-2 2v13a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2V9l-5.5-5.5Zm0 0V9H19" />)
export const DownloadIcon = icon(<path d="M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 19.5h14" />)
export const PinIcon = icon(<><path d="M12 21c4.5-4.6 6.8-8 6.8-11.2A6.8 6.8 0 0 0 5.2 9.800C5.200 13 7.500 16.400 12 21Z" /><circle cx="12" cy="9.800" r="2.400" /></>)
export const ClipIcon = icon(<path d="m19.500 11.500-7.600 7.600a4.600 4.600 0 0 1-6.500-6.500l8-8a3.100 3.100 0 0 1 4.400 4.400l-7.900 7.900a1.500 1.500 0 0 1-2.200-2.200l7.200-7.200" />)
export const MoreIcon = icon(<path d="M5.500 12h.01M12 12h.01M18.500 12h.01" strokeWidth="3" />)
export const NoteIcon = icon(<path d="M14 20H6.500A1.500 1.500 0 0 1 5 18.500v-13A1.500 1.500 0 0 1 6.500 4h11A1.500 1.500 0 0 1 19 5.500V15l-5 5Zm0 0v-5h5M8.500 8.500h7m-7 3.500h4" />)
export const TemplateIcon = icon(<><rect x="4" y="4.500" width="16" height="15" rx="2.500" /><path d="M8 9h8M8 12.500h3m2.500 0H16M8 16h5" /></>)
export const RetryIcon = icon(<path d="M19.500 12a7.500 7.500 0 1 1-2.300-5.400M19.500 3.500v4h-4" />)
export const ReplyIcon = icon(<path d="M9.500 6 4 11.500 9.500 17M4.500 11.500H14a6 6 0 0 1 6 6v1" />)
export const CopyIcon = icon(<><rect x="8.500" y="8.500" width="11" height="11" rx="2" /><path d="M15.500 8.500V6a1.500 1.500 0 0 0-1.500-1.500H6A1.500 1.500 0 0 0 4.500 6v8A1.500 1.500 0 0 0 6 15.500h2.500" /></>)
export const TrailIcon = icon(<><circle cx="6" cy="5.500" r="2" /><circle cx="18" cy="18.500" r="2" /><path d="M8 5.500h7a3.250 3.250 0 0 1 0 6.500H9a3.250 3.250 0 0 0 0 6.500h7" /></>)
export const UnreadIcon = icon(<><path d="M12.500 6H6a1.800 1.800 0 0 0-1.800 1.800v9A1.800 1.800 0 0 0 6 18.500h12a1.800 1.800 0 0 0 1.800-1.800V12M4.500 8l7.500 5.500 2.500-1.800" /><circle cx="18.500" cy="6" r="2.600" fill="currentColor" /></>)
export const TrashIcon = icon(<path d="M5 7h14M9.500 7V4.500h5V7M7 7l.8 12.500h8.400L17 7M10.500 11v5m3-5v5" />)
export const HandIcon = icon(<path d="M12 20.500a7 7 0 0 1-7-7V11l3 2.500V5.800a1.400 1.400 0 0 1 2.800 0V11V4.400a1.400 1.400 0 0 1 2.800 0V11V5.800a1.400 1.400 0 0 1 2.800 0V12V8.800a1.300 1.300 0 0 1 2.600 0v4.700a7 7 0 0 1-7 7Z" />)
export const PauseChatIcon = icon(<><circle cx="12" cy="12" r="8.500" /><path d="M10 9v6m4-6v6" /></>)
export const BotIcon = icon(<><rect x="5" y="8.500" width="14" height="10" rx="3" /><path d="M12 8.500V5m-3 8h.01m5.990 0H15m-6 3h6M3 12.500v3m18-3v3" /></>)
export const PlugIcon = icon(<path d="M8.500 3.500v4m7-4v4M6 7.500h12V11a6 6 0 0 1-12 0V7.500ZM12 17v3.500" />)
export const PlusIcon = icon(<path d="M12 5v14M5 12h14" />)
export const KeyboardIcon = icon(<><rect x="2.5" y="6" width="19" height="12" rx="2.5" /><path d="M6.500 10h.01m3.600 0h.01m3.600 0h.01m3.600 0h.01M8 14h8" /></>)
export const ChatsIcon = icon(<path d="M5 4.5h14a2.5 2.5 0 0 1 2.5 2.5v8a2.5 2.5 0 0 1-2.5 2.5h-7L7 21v-3.5H5A2.5 2.5 0 0 1 2.5 15V7A2.5 2.5 0 0 1 5 4.5ZM7.5 9.5h9m-9 3.5h5.5" />)
