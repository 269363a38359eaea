// The phone page: one client, one bot; the server sends the whole state of the phone at each change.
import { bubbleContent, KIND_TITLES, mosaic } from "/bubbles.js";
import { inlineKeyboard, replyButtons, viberButtons } from "/keyboards.js";
import { bindTools, bubbleActs, drawTools, isChosenLate, words } from "/whatsapp.js";

const DEMO_CLIENTS = [
  { client: "olena", name: "Олена" },
  { client: "taras", name: "Тарас" },
  { client: "maria", name: "Марія" },
];
const ACTIONS = {
  typing: "друкує…", upload_photo: "надсилає фото…", upload_video: "надсилає відео…", upload_document: "надсилає файл…",
  record_voice: "записує голосове…", upload_voice: "надсилає голосове…", choose_sticker: "обирає стікер…",
};
const CHANNELS_EVERY_MS = 2000;
// What differs between the messengers on this page; everything else the phones have in common.
const MESSENGERS = {
  telegram_bot: {
    title: "Telegram", start: "Почати", block: "Заблокувати", unblock: "Перезапустити бота",
    line: (bot) => `@${bot.username} · бот`, edits: true, writesWhenBlocked: false,
    begin: () => act("messages", { text: "/start" }), meet: (name) => act("messages", { name, text: "/start" }),
  },
  viber_bot: {
    title: "Viber", start: "Відкрити чат", block: "Відписатися", unblock: "Підписатися знову",
    line: (bot) => `${bot.username} · бот Viber`, edits: false, writesWhenBlocked: true, delivered: "Доставлено боту",
    begin: () => act("open"), meet: (name) => act("open", { name }),
  },
  whatsapp: {
    title: "WhatsApp", start: "Почати", block: "Заблокувати", unblock: "Розблокувати",
    line: (bot) => `${bot.username} · компанія в WhatsApp`, edits: false, writesWhenBlocked: false,
    begin: () => act("messages", { text: "Добрий день!" }), meet: (name) => act("messages", { name, text: "Добрий день!" }),
  },
};

const $ = (id) => document.getElementById(id);
const view = { channel: null, client: "olena", clients: [...DEMO_CLIENTS], kind: "telegram_bot", phone: null, editing: null, replying: null, offline: false, atEnd: true, reading: false };
const tray = []; // files picked and not sent yet: {file, url}
let rows = new Map(); // what is drawn, by the JSON it was drawn from: a song goes on playing when something else changes
let live = null;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = text === "";
}

async function call(path, body) {
  const form = body instanceof FormData;
  const request = body === undefined ? {} : { method: "POST", body: form ? body : JSON.stringify(body) };
  try {
    const answer = await fetch(path, request);
    const data = await answer.json();
    if (!answer.ok) {
      trouble(data.detail ?? `Пісочниця відповіла ${answer.status}.`);
      return null;
    }
    // Reading in the background must not wipe away why an action failed.
    if (body !== undefined || view.offline) trouble("");
    view.offline = false;
    return data;
  } catch {
    view.offline = true;
    trouble("Пісочниця не відповідає: перевірте, чи вона працює (make status).");
    return null;
  }
}

const messenger = () => MESSENGERS[view.kind];

const act = (action, body = {}) =>
  call(`/control/${view.channel}/clients/${view.client}/${action}`, body);

async function refreshChannels() {
  const channels = await call("/control/channels");
  if (channels === null) return;
  const select = $("channel");
  view.channels = channels;
  const known = [...select.options].map((o) => o.value).join();
  if (known !== channels.map((c) => c.channel_id).join()) {
    select.replaceChildren(
      ...channels.map((c) => new Option(`${MESSENGERS[c.kind].title} · ${c.title}`, c.channel_id)),
    );
    const wanted = channels.find((c) => c.channel_id === view.channel) ?? channels[0];
    if (wanted) {
      select.value = wanted.channel_id;
      await pickChannel(wanted.channel_id);
    }
  }
  $("no-channel").hidden = channels.length > 0;
}

async function pickChannel(channel) {
  view.channel = channel;
  view.kind = view.channels.find((c) => c.channel_id === channel)?.kind ?? view.kind;
  drawMessenger();
  const met = (await call(`/control/${channel}/clients`)) ?? [];
  const added = view.clients.filter((c) => c.added);
  const known = [...DEMO_CLIENTS, ...added];
  const others = met.filter((m) => !known.some((c) => c.client === m.client)).slice(0, 50);
  view.clients = [...known, ...others];
  pickClient(view.client);
}

function drawMessenger() {
  document.body.dataset.messenger = view.kind;
  $("block").textContent = messenger().block;
  $("start").textContent = messenger().start;
  $("unblock").textContent = messenger().unblock;
  for (const item of document.querySelectorAll("[data-only]")) item.hidden = !item.dataset.only.split(" ").includes(view.kind);
}

function pickClient(client) {
  view.client = client;
  view.atEnd = true;
  stopEditing();
  stopReplying();
  emptyTray();
  drawClients();
  listen();
}

function listen() {
  live?.close();
  rows = new Map();
  $("bubbles").replaceChildren(); // nobody may read one client's words under another one's name
  if (!view.channel) return;
  live = new EventSource(`/control/${view.channel}/clients/${view.client}/phone/live`);
  live.onmessage = (event) => draw(JSON.parse(event.data));
}

function drawClients() {
  $("clients").replaceChildren(
    ...view.clients.map((c) => {
      const button = element("button");
      button.type = "button";
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", String(c.client === view.client));
      const avatar = element("span", "avatar", c.name.slice(0, 1));
      avatar.setAttribute("aria-hidden", "true");
      button.append(avatar, element("span", "", c.name));
      button.onclick = () => pickClient(c.client);
      return button;
    }),
  );
}

function draw(phone) {
  view.phone = phone;
  $("avatar").textContent = phone.bot.name.slice(0, 1);
  $("bot-name").textContent = phone.bot.name;
  $("bot-line").textContent = phone.typing ? (ACTIONS[phone.action] ?? "друкує…") : messenger().line(phone.bot);
  drawBubbles(phone);
  toEnd();
  $("notice").textContent = phone.notice ?? "";
  $("notice").hidden = !phone.notice;
  $("block").hidden = phone.blocked || !phone.started;
  $("composer").hidden = !phone.started || (phone.blocked && !messenger().writesWhenBlocked);
  $("start").hidden = phone.blocked || phone.started;
  $("unblock").hidden = !phone.blocked;
  $("commands").hidden = phone.commands.length === 0;
  drawKeyboard(phone);
  if (view.kind === "whatsapp") drawTools(phone);
  readWhatIsSeen();
}

async function readWhatIsSeen() {
  // Telegram tells bots nothing of it; Viber's and WhatsApp's phones say so once the client looks at the chat.
  if (!view.phone?.unread || view.reading || document.visibilityState !== "visible") return;
  view.reading = true;
  await fetch(`/control/${view.channel}/clients/${view.client}/read`, { method: "POST", body: "{}" }).catch(() => null);
  view.reading = false;
}

function drawBubbles(phone) {
  const drawn = new Map();
  for (const messages of grouped(phone.messages)) {
    const presses = phone.presses.filter((p) => messages.some((m) => m.provider_id === p.provider_id) && !p.answered);
    // How far a message came changes its ticks alone: nothing is loaded or played anew for it.
    const lasting = messages.map(({ state, ...rest }) => rest);
    const key = JSON.stringify([lasting, presses, phone.blocked]);
    const row = rows.get(key) ?? bubbleRow(messages, presses);
    drawTicks(row, messages[0]);
    drawn.set(key, row);
  }
  rows = drawn;
  const wanted = drawn.size ? [...drawn.values()] : [element("p", "empty", "Тут ще немає повідомлень")];
  const shown = new Set(wanted);
  for (const node of [...$("bubbles").children]) if (!shown.has(node)) node.remove();
  wanted.forEach((node, place) => {
    // A node that stays where it is keeps playing.
    const here = $("bubbles").children[place];
    if (here !== node) $("bubbles").insertBefore(node, here ?? null);
  });
}

function grouped(messages) {
  const groups = [];
  for (const message of messages) {
    const last = groups.at(-1);
    if (message.group && last?.[0].group === message.group) last.push(message);
    else groups.push([message]);
  }
  return groups;
}

function bubbleRow(messages, presses) {
  const message = messages[0];
  const row = element("div", `row ${message.direction}`);
  const bubble = element("div", `bubble ${message.kind}`);
  if (message.reply_to) {
    const quoted = view.phone.messages.find((m) => m.provider_id === message.reply_to);
    if (quoted) bubble.append(element("span", "quote", quoted.text || KIND_TITLES[quoted.kind] || ""));
  }
  bubble.append(messages.length > 1 ? mosaic(messages, openPhoto) : bubbleContent(message, openPhoto));
  const text = messages.map((m) => m.text).filter(Boolean).join("\n");
  if (text) bubble.append(message.words ? words(message) : element("span", "words", text));
  const time = new Date(message.at).toLocaleTimeString("uk-UA", { hour: "2-digit", minute: "2-digit" });
  bubble.append(element("span", "meta", message.edited ? `змінено ${time}` : time));
  const reactions = Object.values(message.reactions ?? {});
  if (reactions.length) bubble.append(element("span", "reactions", reactions.join(" ")));
  row.append(bubble);
  if (message.keyboard?.inline_keyboard) row.append(inlineKeyboard(message, presses, act));
  if (message.rich_media) row.append(viberButtons(message.rich_media, act));
  if (messenger().edits && message.direction === "in" && message.text && !view.phone.blocked) {
    const change = element("button", "change", "Змінити");
    change.type = "button";
    change.onclick = () => startEditing(message);
    row.append(change);
  }
  if (view.kind === "whatsapp" && !view.phone.blocked) bubbleActs(row, message, view.phone, { act, edit: startEditing, reply: startReplying });
  return row;
}

function drawTicks(row, message) {
  if (message.direction !== "in" || !message.state) return;
  const mark = row.querySelector(".ticks") ?? row.querySelector(".meta").appendChild(element("span", "ticks"));
  mark.textContent = message.state === "sent" ? "✓" : "✓✓";
  mark.classList.toggle("read", message.state === "read");
  const delivered = messenger().delivered ?? "Доставлено";
  mark.title = { sent: "Надіслано", delivered, read: "Прочитано" }[message.state] ?? "";
}

function toEnd() {
  if (view.atEnd) $("bubbles").scrollTop = $("bubbles").scrollHeight;
}

function openPhoto(url) {
  $("viewer-image").src = url;
  $("viewer").showModal();
}

function drawKeyboard(phone) {
  const keyboard = phone.blocked ? null : phone.keyboard;
  const drawn = keyboard?.Buttons ? [viberButtons(keyboard, act)] : replyButtons(keyboard?.keyboard ?? [], act);
  $("keyboard").hidden = drawn.length === 0;
  $("keyboard").replaceChildren(...drawn);
}

function startReplying(message) {
  if (view.editing) stopEditing();
  view.replying = message.provider_id;
  $("reply-words").textContent = message.text || KIND_TITLES[message.kind] || "";
  $("reply-strip").hidden = false;
  $("text").focus();
}

function stopReplying() {
  view.replying = null;
  $("reply-strip").hidden = true;
}

function startEditing(message) {
  stopReplying();
  view.editing = message.provider_id;
  $("edit-strip").hidden = false;
  emptyTray();
  $("text").value = message.text;
  $("text").focus();
}

function stopEditing() {
  view.editing = null;
  $("edit-strip").hidden = true;
  $("text").value = "";
}

function drawTray() {
  $("tray").hidden = tray.length === 0;
  $("previews").replaceChildren(
    ...tray.map((picked) => {
      const box = element("div", "preview");
      if (picked.file.type.startsWith("image/")) {
        const image = element("img");
        image.src = picked.url;
        image.alt = picked.file.name;
        box.append(image);
      } else {
        box.append(element("span", "", picked.file.name));
      }
      const away = element("button", "", "✕");
      away.type = "button";
      away.setAttribute("aria-label", `Прибрати ${picked.file.name}`);
      away.onclick = () => {
        URL.revokeObjectURL(picked.url);
        tray.splice(tray.indexOf(picked), 1);
        drawTray();
      };
      box.append(away);
      return box;
    }),
  );
}

function pickFiles(files) {
  if (view.editing) stopEditing();
  for (const file of files) tray.push({ file, url: URL.createObjectURL(file) });
  if (tray.length > 10) {
    trouble("В альбомі не більше 10 файлів: зайві прибрано.");
    for (const picked of tray.splice(10)) URL.revokeObjectURL(picked.url);
  }
  drawTray();
  $("text").focus();
}

function emptyTray() {
  for (const picked of tray.splice(0)) URL.revokeObjectURL(picked.url);
  $("as-file").checked = false;
  drawTray();
}

function filesForm(text) {
  const form = new FormData();
  if (text.trim()) form.append("caption", text);
  if (view.replying) form.append("reply_to", view.replying);
  if (isLate()) form.append("hours_ago", "25");
  if ($("as-file").checked) form.append("kind", "document");
  for (const picked of tray) form.append("file", picked.file, picked.file.name);
  return form;
}

const isLate = () => view.kind === "whatsapp" && isChosenLate();

async function send() {
  const text = $("text").value;
  if (!view.channel || (!text.trim() && tray.length === 0)) return;
  let done;
  $("send").disabled = true;
  if (view.editing) done = await act("edit", { provider_id: view.editing, text });
  else if (tray.length) done = await act("messages", filesForm(text));
  else done = await act("messages", { text, reply_to: view.replying ?? undefined, hours_ago: isLate() ? 25 : undefined });
  $("send").disabled = false;
  if (done === null) return; // what was typed and picked stays
  stopEditing();
  stopReplying();
  emptyTray();
  view.atEnd = true;
  toEnd();
}

function toggleMenu(menu) {
  for (const other of ["attach-menu", "commands-menu"]) $(other).hidden = other !== menu || !$(other).hidden;
  if (menu && !$(menu).hidden) $(menu).querySelector("button")?.focus();
}

function drawCommands() {
  $("commands-menu").replaceChildren(
    ...view.phone.commands.map((c) => {
      const made = element("button");
      made.type = "button";
      made.setAttribute("role", "menuitem");
      made.append(element("b", "", `/${c.command}`), element("span", "about", c.description));
      made.onclick = () => {
        toggleMenu(null);
        act("messages", { text: `/${c.command}` });
      };
      return made;
    }),
  );
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});
$("channel").addEventListener("change", (event) => pickChannel(event.target.value));
$("edit-cancel").addEventListener("click", stopEditing);
$("reply-cancel").addEventListener("click", stopReplying);
bindTools(view, act);
$("attach").addEventListener("click", () => toggleMenu("attach-menu"));
$("commands").addEventListener("click", () => {
  drawCommands();
  toggleMenu("commands-menu");
});
$("attach-menu").addEventListener("click", (event) => {
  const { pick, kind, act: action } = event.target.closest("button")?.dataset ?? {};
  toggleMenu(null);
  if (pick) $("files").click();
  else if (kind) act("messages", { kind });
  else if (action) act(action);
});
$("files").addEventListener("change", () => {
  pickFiles($("files").files);
  $("files").value = "";
});
for (const loaded of ["load", "loadedmetadata"]) {
  // A picture that was unknown in size must not push the newest message out of view.
  $("bubbles").addEventListener(loaded, toEnd, true);
}
$("bubbles").addEventListener("scroll", (event) => {
  const bubbles = event.target;
  view.atEnd = bubbles.scrollHeight - bubbles.scrollTop - bubbles.clientHeight < 60;
});
new ResizeObserver(toEnd).observe($("bubbles")); // a keyboard or a tray took some of the room
$("text").addEventListener("paste", (event) => {
  if (event.clipboardData.files.length === 0) return;
  event.preventDefault();
  pickFiles(event.clipboardData.files);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") toggleMenu(null);
});
$("viewer-close").addEventListener("click", () => $("viewer").close());
$("viewer").addEventListener("click", (event) => {
  if (event.target === $("viewer")) $("viewer").close();
});
$("block").addEventListener("click", () => act("block"));
$("unblock").addEventListener("click", () => act("unblock"));
$("start").addEventListener("click", () => messenger().begin());
document.addEventListener("visibilitychange", readWhatIsSeen);
$("new-client").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = $("new-name").value.trim();
  if (!name || !view.channel) return;
  const client = `n${Date.now().toString(36)}`;
  view.client = client;
  if ((await messenger().meet(name)) === null) return;
  view.clients.push({ client, name, added: true });
  $("new-name").value = "";
  pickClient(client);
});

drawClients();
await refreshChannels();
setInterval(refreshChannels, CHANNELS_EVERY_MS);
