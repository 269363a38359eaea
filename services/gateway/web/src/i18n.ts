/** Every word the operator reads. `uk` is the type; another language must have the same keys. */
import type { TextUnit } from './limits'
import type { LinkKind, ListName, MessageKind, SendState } from './wire'

type Forms = { one: string; few: string; many: string }

const rules = new Intl.PluralRules('uk')

/** Ukrainian plural: 1 чат, 2 чати, 5 чатів. */
export function plural(count: number, forms: Forms): string {
  const form = rules.select(count)
  return `${count} ${form === 'one' ? forms.one : form === 'few' ? forms.few : forms.many}`
}

const lists: Record<ListName, string> = {
  active: 'Активні',
  mine: 'Мої',
  new: 'Нові',
  bot: 'З ботом',
  done: 'Завершені',
  waiting: 'В очікуванні',
}

const emptyHints: Record<ListName, string> = {
  active: 'Щойно клієнт напише, чат з\'явиться тут.',
  mine: 'Чат стане вашим, коли ви візьмете його собі.',
  new: 'Усім клієнтам уже відповіли.',
  bot: 'Бот зараз ні з ким не спілкується.',
  done: 'Тут будуть чати, які ви завершите.',
  waiting: 'Відкладіть чат, якщо відповідь буде пізніше.',
}

const kinds: Record<MessageKind, string> = {
  text: 'Повідомлення',
  image: 'Фото',
  video: 'Відео',
  audio: 'Аудіо',
  voice: 'Голосове повідомлення',
  file: 'Файл',
  sticker: 'Стікер',
  location: 'Геолокація',
  contact: 'Контакт',
  unsupported: 'Непідтримуваний тип повідомлення',
}

const links: Record<LinkKind, string> = {
  story_reply: 'Відповідь на вашу історію',
  story_mention: 'Згадка в історії',
  post: 'Допис',
  reel: 'Reels',
  link: 'Посилання',
  product: 'Товар',
  ad: 'Реклама',
}

const states: Record<SendState, string> = {
  queued: 'Надсилається',
  sending: 'Надсилається',
  sent: 'Надіслано',
  delivered: 'Доставлено',
  read: 'Прочитано',
  failed: 'Не надіслано',
  unknown: 'Невідомо, чи надіслано',
}

const channelKinds: Record<string, string> = {
  telegram_bot: 'Telegram-бот',
  telegram_number: 'Telegram за номером',
  telegram_business: 'Telegram Business',
  viber_bot: 'Viber-бот',
  facebook: 'Facebook Messenger',
  instagram: 'Instagram Direct',
  whatsapp: 'WhatsApp',
}

/** Why a text was not sent: the closed list of the contract, and what the server may say before sending. */
const failures: Record<string, string> = {
  bot_blocked: 'Клієнт заблокував бота',
  window_closed: 'Час для відповіді в цьому каналі минув',
  channel_disconnected: 'Канал відключено. Зверніться до адміністратора',
  rate_limited: 'Месенджер просить зачекати. Спробуйте за хвилину',
  too_long: 'Текст задовгий для цього каналу. Поділіть його на частини',
  file_too_big: 'Файл завеликий для цього каналу',
  unsupported_kind: 'Канал не приймає такий тип повідомлень',
  recipient_unavailable: 'Отримувач недоступний у месенджері',
  rejected: 'Месенджер відхилив повідомлення',
  temporary: 'Тимчасова помилка месенджера. Спробуйте ще раз',
  unreachable: 'Немає зв\'язку із сервером. Спробуйте ще раз',
  not_found: 'Чат більше недоступний',
  http_404: 'Чат більше недоступний',
  forbidden: 'Немає прав на цей чат',
  upload_failed: 'Файл не вдалося завантажити. Спробуйте ще раз',
  unknown_upload: 'Файл більше не зберігається. Прикріпіть його знову',
  too_large: 'Файл завеликий',
  http_413: 'Файл завеликий',
}

/** What happened to a message, in the log's words. */
const trailEvents: Record<string, string> = {
  'message.came': 'Надійшло від клієнта',
  'message.edited': 'Змінено клієнтом',
  'answer.ordered': 'Прийнято до надсилання',
  'answer.reordered': 'Надсилається ще раз',
  'answer.deleted': 'Видалено',
  'note.written': 'Нотатка',
  'delivery.changed': 'Стан доставки',
  'fate.decided': 'Рішення оператора',
  'attachment.settled': 'Файл оброблено',
  'dialogue.taken_over': 'Надсилання скасовано',
}

const chars: Forms = { one: 'символ', few: 'символи', many: 'символів' }
const bytes: Forms = { one: 'байт', few: 'байти', many: 'байтів' }

/** WhatsApp's kinds of templates: what the salon pays for each differs. */
const templateCategories: Record<string, string> = { UTILITY: 'Сервісний', MARKETING: 'Рекламний', AUTHENTICATION: 'Підтвердження' }

/** 3 год 20 хв, 3 год, 20 хв. */
function hoursAndMinutes(minutes: number): string {
  if (minutes < 1) return 'менше хвилини'
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60]
  return [hours > 0 && `${hours} год`, rest > 0 && `${rest} хв`].filter(Boolean).join(' ')
}

let languages: Intl.DisplayNames | null = null

/** «українська», «англійська (Сполучені Штати)»; a code nobody knows stays a code. */
export function languageName(code: string): string {
  languages ??= new Intl.DisplayNames('uk', { type: 'language', languageDisplay: 'standard' })
  try {
    return languages.of(code.replace('_', '-')) ?? code
  } catch {
    return code
  }
}

const UNITS = ['Б', 'КБ', 'МБ', 'ГБ']

/** 950 КБ, 4,8 МБ, 25 МБ. */
export function fileSize(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${value.toLocaleString('uk-UA', { maximumFractionDigits: unit > 1 && value < 10 ? 1 : 0 })} ${UNITS[unit]}`
}

/** «Світлана», «Світлана та Олег», «Світлана, Олег та ще 2». */
function together(names: readonly string[]): string {
  if (names.length <= 1) return names[0] ?? ''
  if (names.length === 2) return `${names[0]} та ${names[1]}`
  return names.length === 3 ? `${names[0]}, ${names[1]} та ${names[2]}` : `${names[0]}, ${names[1]} та ще ${names.length - 2}`
}

const typing = (names: readonly string[]) => `${together(names)} ${names.length > 1 ? 'друкують' : 'друкує'}`

export const uk = {
  title: 'Чати',
  lists,
  kinds,
  links,
  states,
  channelKind: (kind: string) => channelKinds[kind] ?? kind,
  failure: (code: string | undefined, said?: string | null) => failures[code ?? ''] ?? said ?? 'Не вдалося надіслати. Спробуйте ще раз',
  typing,
  you: 'Ви:',
  byBot: 'Бот:',
  login: {
    title: 'Вхід до чатів',
    lead: 'Усі месенджери в одному вікні',
    login: 'Логін',
    password: 'Пароль',
    submit: 'Увійти',
    show: 'Показати або сховати пароль',
    wrong: 'Невірний логін або пароль. Перевірте розкладку клавіатури й спробуйте ще раз.',
    noAccess: 'Немає доступу до чатів',
    noAccessHint: 'Вашій ролі не відкрито жодного каналу. Попросіть адміністратора додати роль у налаштуваннях каналу.',
    tooMany: (seconds: number | null) =>
      seconds === null
        ? 'Забагато спроб. Зачекайте хвилину й спробуйте ще раз.'
        : `Забагато спроб. Спробуйте за ${plural(seconds, { one: 'секунду', few: 'секунди', many: 'секунд' })}.`,
    unreachable: 'Сервер не відповідає. Перевірте з\'єднання й спробуйте ще раз.',
    failed: 'Не вдалося увійти. Спробуйте ще раз.',
    expired: 'Увійдіть знову',
    expiredHint: 'Сеанс завершився. Написане не втрачено.',
    out: 'Вийти',
    again: 'Перевірити ще раз',
  },
  starting: 'Завантаження…',
  offlineStart: 'Сервер не відповідає. Пробуємо ще раз…',
  offline: 'Немає з\'єднання. Відновлюємо…',
  newBuild: 'Є нова версія. Оновити',
  broken: {
    part: 'Не вдалося відкрити. Оновіть сторінку: написане збережеться.',
    whole: 'У вікні сталася помилка. Оновіть сторінку: написане збережеться.',
    reload: 'Оновити',
  },
  header: {
    open: (count: string) => `Відкриті чати: ${count}`,
    unread: (count: string) => `Чати з новими повідомленнями: ${count}`,
    openWord: 'Відкриті',
    unreadWord: 'Непрочитані',
    theme: 'Тема',
    system: 'Як у системі',
    light: 'Світла',
    dark: 'Темна',
    account: 'Обліковий запис',
    channels: 'Канали',
    keys: 'Клавіші',
  },
  list: {
    landmark: 'Списки чатів',
    rows: (name: string) => `Чати: ${name}`,
    search: 'Пошук у чатах',
    clear: 'Очистити пошук',
    empty: 'Тут порожньо',
    emptyHint: emptyHints,
    nothing: 'Нічого не знайдено',
    failed: 'Не вдалося завантажити чати.',
    again: 'Повторити',
    draft: 'Чернетка:',
    unlinked: 'Не прив\'язано до картки клієнта',
    blocked: 'Бот заблоковано',
    lastFailed: 'Останнє повідомлення не надіслано',
    unread: (count: number) => plural(count, { one: 'нове повідомлення', few: 'нові повідомлення', many: 'нових повідомлень' }),
    newOnTop: (count: number) => `↑ Нові (${count})`,
    noText: 'Повідомлень ще немає',
    timeLeft: (minutes: number) => `Час для відповіді спливає: залишилося ${hoursAndMinutes(minutes)}`,
  },
  dialogue: {
    landmark: 'Діалог',
    messages: (name: string) => `Повідомлення: ${name}`,
    choose: 'Оберіть чат у списку ліворуч',
    chooseHint: 'Стрілки ↑ ↓ ведуть списком, Enter відкриває чат. Усі клавіші: Ctrl+/',
    failed: 'Не вдалося завантажити повідомлення.',
    gone: 'Цей чат недоступний. Можливо, змінився доступ до каналу.',
    again: 'Повторити',
    empty: 'Тут ще немає повідомлень',
    unread: 'Нові повідомлення',
    toEnd: (count: number) => (count > 0 ? `До останніх (${count})` : 'До останніх'),
    edited: 'Змінено',
    deleted: 'Повідомлення видалено',
    late: (time: string) => `надіслано о ${time}`,
    note: 'Нотатка',
    today: 'Сьогодні',
    yesterday: 'Вчора',
    back: 'До списку',
    panel: 'Про клієнта',
    retry: 'Повторити',
    remove: 'Видалити',
    send: 'Надіслати',
    held: 'Не надіслано вчасно. Надіслати зараз?',
    lostFiles: 'Не надіслано: сторінку перезавантажили раніше, ніж файли дійшли. Прикріпіть їх знову.',
    takeBack: 'Повернути текст',
    unknown: 'Невідомо, чи дійшло. Перевірте в месенджері й вирішіть:',
    asSent: 'Вважати надісланим',
    sendAgain: 'Надіслати ще раз',
    asFailed: 'Вважати ненадісланим',
    resolveHint: 'Месенджер не відповів. Якщо надіслати ще раз, клієнт може отримати повідомлення двічі.',
    buttons: 'Кнопки під повідомленням',
    more: 'Дії з повідомленням',
    copy: 'Копіювати',
    copied: 'Скопійовано',
    notCopied: 'Браузер не дав скопіювати. Виділіть і скопіюйте вручну.',
    reactions: (signs: readonly string[]) => `Реакції: ${signs.join(', ')}`,
    reply: 'Відповісти',
    unreadFrom: 'Позначити непрочитаним звідси',
    trail: 'Шлях повідомлення',
    drop: 'Перетягніть файли сюди',
    dropHint: 'Вони підуть до клієнта разом із вашим текстом',
    you: 'Ви',
    bot: 'Бот',
    autoresponder: 'Автовідповідь',
    system: 'Система',
    operator: 'Оператор',
    inbound: 'Клієнт',
    arrived: (name: string, text: string) => `${name}: ${text}`,
    request: (number: number) => `Звернення № ${number}`,
  },
  media: {
    photoOf: (name: string) => `Фото: ${name}`,
    photo: 'Фото',
    open: 'Відкрити фото',
    video: 'Відео',
    playVideo: 'Дивитися відео',
    play: 'Слухати',
    pause: 'Пауза',
    position: 'Перемотати',
    download: 'Завантажити',
    pending: 'Файл завантажується…',
    lost: (why: string | null | undefined) => `Файл втрачено: ${why || 'месенджер його більше не зберігає'}`,
    gone: 'Файл недоступний',
    failed: 'Не вдалося відкрити файл.',
    again: 'Повторити',
    noName: 'Файл без назви',
    sticker: 'Стікер',
    location: 'Геолокація',
    onMap: 'Відкрити на карті',
    openAt: (host: string) => `Відкрити на ${host}`,
    provedPhone: 'підтверджений номер',
    noPhone: 'без номера',
    close: 'Закрити',
    previous: 'Попереднє фото',
    next: 'Наступне фото',
    ofAll: (at: number, all: number) => `${at} з ${all}`,
    sending: (percent: number) => `Надсилається файл: ${percent} %`,
    cancel: 'Скасувати надсилання файлу',
    album: (count: number) => plural(count, { one: 'файл', few: 'файли', many: 'файлів' }),
  },
  attach: {
    button: 'Прикріпити файли',
    more: 'Файли та шаблони',
    files: 'Файли…',
    tray: 'Файли до повідомлення',
    remove: (name: string) => `Прибрати ${name}`,
    retry: (name: string) => `Повторити ${name}`,
    uploading: (percent: number) => `${percent} %`,
    waiting: 'у черзі',
    checking: 'перевіряється',
    failed: 'не завантажено',
    empty: (name: string) => `«${name}» порожній. Оберіть інший файл.`,
    tooBig: (name: string, limit: string) => `«${name}» завеликий: цей канал приймає до ${limit}. Стисніть файл або надішліть посилання.`,
    tooBigForUs: (name: string, limit: string) => `«${name}» завеликий: надсилаємо файли до ${limit}. Стисніть файл або надішліть посилання.`,
    unsupported: (name: string) => `«${name}»: цей канал не приймає такі файли.`,
    tooMany: (limit: number) => `До одного повідомлення можна додати ${plural(limit, { one: 'файл', few: 'файли', many: 'файлів' })}. Решту надішліть наступним.`,
    noteOnly: 'До нотатки файли не додаються. Поверніться до відповіді клієнту.',
  },
  deeds: {
    claim: 'Взяти собі',
    takeover: 'Прийняти чат',
    assign: 'Передати…',
    release: 'Відпустити',
    wait: 'В очікування',
    close: 'Завершити',
    reopen: 'Відкрити знову',
    toBot: 'Повернути боту',
    more: 'Дії з чатом',
    mine: 'Відповідаєте ви',
    heldBy: (name: string) => `Відповідає ${name}`,
    assigned: (name: string) => `Чат передано: ${name}`,
    released: 'Чат відпущено',
    returned: 'Чат повернуто боту',
    waiting: 'Чат перенесено в очікування',
    closed: 'Чат завершено',
    undo: 'Скасувати',
    failed: 'Не вдалося. Спробуйте ще раз.',
    forbidden: 'Немає прав на цю дію.',
    assignTitle: 'Кому передати чат?',
    findPerson: 'Ім\'я співробітника',
    noPeople: 'Нікого не знайдено',
    since: (time: string) => `Так із ${time}.`,
    loadFailed: 'Не вдалося завантажити. Спробуйте ще раз.',
    viewers: (names: readonly string[]) => `Зараз у чаті: ${together(names)}`,
  },
  trail: {
    title: 'Шлях повідомлення',
    event: (event: string) => trailEvents[event] ?? event,
    trace: 'Номер для підтримки',
    empty: 'Кроків ще немає',
  },
  notices: { landmark: 'Сповіщення', close: 'Закрити сповіщення' },
  composer: {
    label: 'Повідомлення',
    noteLabel: 'Нотатка для колег',
    notePlaceholder: 'Нотатка для колег. Клієнт її не побачить…',
    noteMode: 'Нотатка',
    noteOn: 'Писати нотатку для колег',
    noteOff: 'Повернутися до відповіді клієнту',
    saveNote: 'Нотатка: зберегти для колег',
    replying: (name: string) => `Відповідь: ${name}`,
    cancelReply: 'Не відповідати на це повідомлення',
    placeholder: 'Повідомлення…',
    send: 'Відправити',
    hint: 'Enter надсилає, Shift+Enter: новий рядок',
    blocked: 'Бот заблоковано користувачем!',
    blockedHint: 'Писати можна буде, щойно клієнт повернеться.',
    windowClosed: (when: string | null) => `Час для відповіді в цьому каналі минув${when ? ` ${when}` : ''}. Дочекайтеся нового повідомлення клієнта.`,
    templateOnly: (when: string | null) =>
      when ? `Час для відповіді минув ${when}. Тепер можна надіслати лише шаблон.` : 'Зараз сюди можна надіслати лише шаблон.',
    windowLeft: (minutes: number) => `Можна відповідати ще ${hoursAndMinutes(minutes)}`,
    windowUntil: (when: string) => `Можна відповідати до ${when}`,
    tooLate: 'Час для відповіді минув, тож текст не надіслано. Він зберігся в чернетці.',
    draftKept: (text: string) => `Чернетку збережено: «${text}»`,
    disconnected: 'Канал відключено',
    disconnectedHint: 'Підключити його знову може адміністратор.',
    toChannels: 'До каналів',
    withBot: 'З клієнтом спілкується бот. Ваша відповідь передасть чат вам.',
    closed: 'Чат завершено.',
    apart: 'Текст задовгий для підпису, тож піде окремим повідомленням.',
    left: (left: number, unit: TextUnit) => `Залишилося ${plural(left, unit === 'bytes' ? bytes : chars)}`,
    over: (over: number, unit: TextUnit) => `Забагато на ${plural(over, unit === 'bytes' ? bytes : chars)}. Скоротіть текст або надішліть частинами`,
  },
  templates: {
    choose: 'Обрати шаблон',
    menu: 'Шаблон…',
    title: 'Шаблон повідомлення',
    search: 'Назва або слова шаблону',
    list: 'Шаблони',
    loading: 'Завантажуємо шаблони…',
    none: 'Схвалених шаблонів ще немає. Створіть їх у кабінеті месенджера: після схвалення вони з\'являться тут.',
    nothing: 'Нічого не знайдено. Змініть слова пошуку.',
    category: (category: string) => templateCategories[category.toUpperCase()] ?? category,
    number: (number: string) => `місце ${number}`,
    place: (place: { part: string; name: string | null }, number: number, button: string) => {
      if (place.part === 'button') return button ? `Адреса кнопки «${button}»` : 'Адреса кнопки'
      return `${place.part === 'header' ? 'Заголовок' : 'Текст'}: ${place.name ?? `місце ${number}`}`
    },
    example: (example: string) => `Наприклад: ${example}`,
    preview: 'Так побачить клієнт',
    buttons: (titles: readonly string[]) => `Кнопки: ${titles.join(', ')}`,
    unusable: 'Звідси не надіслати.',
    fill: (count: number) => `Заповніть ще ${plural(count, { one: 'місце', few: 'місця', many: 'місць' })}`,
    send: 'Надіслати шаблон',
    cancel: 'Скасувати',
  },
  collision: {
    title: 'Клієнту вже відповіли',
    text: (name: string) => `${name ? `Щойно відповіли: ${name}` : 'Колега щойно відповів'}. Надіслати все одно?`,
    unseen: 'Чого ви ще не бачили:',
    yours: 'Ваш текст:',
    send: 'Надіслати все одно',
    edit: 'Повернути в чернетку',
    drop: 'Не надсилати',
  },
  panel: {
    landmark: 'Про клієнта',
    close: 'Закрити',
    unlinked: 'Картку клієнта не прив\'язано',
    unlinkedHint: 'Ім\'я взято з месенджера.',
    phone: 'Телефон',
    copyPhone: 'Копіювати номер',
    phoneCopied: 'Номер скопійовано',
    username: 'Ім\'я в месенджері',
    channel: 'Канал',
    request: 'Звернення',
    opened: 'Відкрито',
    status: 'Стан',
    assignee: 'Відповідальний',
    nobody: 'Немає',
    unreadable: 'Оберіть чат, щоб побачити дані клієнта',
    contact: 'Контакт',
    dialogue: 'Діалог',
  },
  status: { new: 'Новий', active: 'Активний', bot: 'З ботом', waiting: 'В очікуванні', done: 'Завершений' },
}

export type Texts = typeof uk

export const t: Texts = uk
