/** Every word of the list of keys. */

export const k = {
  title: 'Клавіші',
  close: 'Зрозуміло',
  letters: 'Скорочення з літерами ввімкнено',
  lettersHint: 'Вимкніть, якщо вони заважають голосовому керуванню чи іншій програмі.',
  // The letters are those of the Latin layout: that is what is printed on every keyboard.
  groups: [
    { title: 'Чати', lines: [
      [['Alt+J', 'Alt+K'], 'Наступний, попередній чат'],
      [['Alt+U'], 'Наступний непрочитаний'],
      [['Alt+E'], 'Завершити чат'],
      [['Alt+W'], 'В очікування'],
      [['↑', '↓', 'Enter'], 'У списку: вибрати й відкрити'],
    ] },
    { title: 'Відповідь', lines: [
      [['Enter'], 'Надіслати'],
      [['Shift+Enter'], 'Новий рядок'],
      [['Esc'], 'Закрити цитату чи нотатку, тоді вийти з поля'],
      [['Ctrl+End'], 'До останніх повідомлень'],
    ] },
    { title: 'Вікно', lines: [
      [['F6', 'Shift+F6'], 'Далі й назад: список, повідомлення, відповідь, про клієнта'],
      [['Ctrl+/', '?'], 'Цей список'],
    ] },
  ] as { title: string; lines: [string[], string][] }[],
}
