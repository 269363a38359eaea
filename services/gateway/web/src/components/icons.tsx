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
export const UnlinkedIcon = icon(<path d="M9 6.5 10.5 5a4 4 0 0 1 5.7 0l2.8 2.8a4 4 0 0 1 0 5.7L17.5 15M15 17.5 13.5 19a4 4 0 0 1-5.7 0L5 16.2a4 4 0 0 1 0-5.7L6.5 9M4 4l16 16" />)
export const ChatsIcon = icon(<path d="M5 4.5h14a2.5 2.5 0 0 1 2.5 2.5v8a2.5 2.5 0 0 1-2.5 2.5h-7L7 21v-3.5H5A2.5 2.5 0 0 1 2.5 15V7A2.5 2.5 0 0 1 5 4.5ZM7.5 9.5h9m-9 3.5h5.5" />)
