/** Every word the operator reads. `uk` is the type; another language must have the same keys. */
import type { ListName, MessageKind, SendState } from './wire'

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
  facebook: 'Facebook',
  instagram: 'Instagram',
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
}

export const uk = {
  title: 'Чати',
  lists,
  kinds,
  states,
  channelKind: (kind: string) => channelKinds[kind] ?? kind,
  failure: (code: string | undefined) => failures[code ?? ''] ?? 'Не вдалося надіслати. Спробуйте ще раз',
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
  header: {
    open: (count: string) => `Відкриті чати: ${count}`,
    unread: (count: string) => `Чати з новими повідомленнями: ${count}`,
    theme: 'Тема',
    system: 'Як у системі',
    light: 'Світла',
    dark: 'Темна',
    account: 'Обліковий запис',
  },
  list: {
    landmark: 'Списки чатів',
    rows: (name: string) => `Чати: ${name}`,
    search: 'Пошук у чатах',
    clear: 'Очистити пошук',
    empty: 'Тут порожньо',
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
  },
  dialogue: {
    landmark: 'Діалог',
    messages: (name: string) => `Повідомлення: ${name}`,
    choose: 'Оберіть чат у списку ліворуч',
    chooseHint: 'Стрілки ↑ ↓ ведуть списком, Enter відкриває чат.',
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
    cannotRetry: 'Повторити не вдалося. Надішліть новим повідомленням.',
    you: 'Ви',
    bot: 'Бот',
    autoresponder: 'Автовідповідь',
    system: 'Система',
    operator: 'Оператор',
    inbound: 'Клієнт',
    arrived: (name: string, text: string) => `${name}: ${text}`,
    request: (number: number) => `Звернення № ${number}`,
  },
  composer: {
    label: 'Повідомлення',
    placeholder: 'Напишіть повідомлення…',
    send: 'Відправити',
    hint: 'Enter надсилає, Shift+Enter: новий рядок',
    blocked: 'Бот заблоковано користувачем!',
    blockedHint: 'Писати можна буде, щойно клієнт знову відкриє бота.',
    windowClosed: 'Час для відповіді в цьому каналі минув. Дочекайтеся нового повідомлення клієнта.',
    disconnected: 'Канал відключено. Підключити його знову може адміністратор.',
    withBot: 'З клієнтом спілкується бот. Ваша відповідь передасть чат вам.',
    closed: 'Чат завершено.',
    left: (left: number) => `Залишилося ${plural(left, { one: 'символ', few: 'символи', many: 'символів' })}`,
    over: (over: number) => `Забагато на ${plural(over, { one: 'символ', few: 'символи', many: 'символів' })}`,
  },
  collision: {
    title: 'Клієнту вже відповіли',
    text: (name: string) => `${name || 'Колега'} щойно відповів(ла). Надіслати все одно?`,
    yours: 'Ваш текст:',
    send: 'Надіслати все одно',
    edit: 'Повернути в чернетку',
  },
  panel: {
    landmark: 'Про клієнта',
    close: 'Закрити',
    unlinked: 'Картку клієнта не прив\'язано',
    unlinkedHint: 'Ім\'я взято з месенджера.',
    phone: 'Телефон',
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
