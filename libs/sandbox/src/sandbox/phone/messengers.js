// What differs between the messengers on this page; everything else the phones have in common.

const hello = (act) => act("messages", { text: "Добрий день!" });
const meet = (act, name) => act("messages", { name, text: "Добрий день!" });
const writes = { start: "Почати", block: "Заблокувати", unblock: "Розблокувати", edits: false, writesWhenBlocked: false, begin: hello, meet };

export const MESSENGERS = {
  telegram_bot: {
    title: "Telegram", start: "Почати", block: "Заблокувати", unblock: "Перезапустити бота",
    line: (bot) => `@${bot.username} · бот`, edits: true, writesWhenBlocked: false,
    begin: (act) => act("messages", { text: "/start" }), meet: (act, name) => act("messages", { name, text: "/start" }),
  },
  viber_bot: {
    title: "Viber", start: "Відкрити чат", block: "Відписатися", unblock: "Підписатися знову",
    line: (bot) => `${bot.username} · бот Viber`, edits: false, writesWhenBlocked: true, delivered: "Доставлено боту",
    begin: (act) => act("open"), meet: (act, name) => act("open", { name }),
  },
  whatsapp: { ...writes, title: "WhatsApp", line: (bot) => `${bot.username} · компанія в WhatsApp` },
  facebook: { ...writes, title: "Messenger", line: () => "Сторінка у Facebook", hasDesk: true },
  instagram: { ...writes, title: "Instagram", line: (bot) => `@${bot.username}`, hasDesk: true },
};
