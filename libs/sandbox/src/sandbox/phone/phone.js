// The phone page: one client, one bot; the server sends the whole state of the phone at each change.
import { bubbleContent, KIND_TITLES, mosaic, timeOf } from "/bubbles.js";
import { inlineKeyboard, replyButtons, viberButtons } from "/keyboards.js";
import { bubbleActs } from "/acts.js";
import { desk } from "/desk.js";
import { MESSENGERS } from "/messengers.js";
import * as meta from "/meta.js";
import { addFiles, emptyTray, fillForm, hasFiles } from "/tray.js";
import { bindTools, drawTools, isChosenLate, whatsappCan, words } from "/whatsapp.js";

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
const $ = (id) => document.getElementById(id);
const view = { channel: null, client: "olena", clients: [...DEMO_CLIENTS], kind: "telegram_bot", phone: null, editing: null, replying: null, offline: false, atEnd: true, reading: false };
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

async function call(path, body, method = "POST") {
  const form = body instanceof FormData;
  const request = body === undefined ? {} : { method, body: form ? body : JSON.stringify(body) };
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
const hasDesk = () => Boolean(messenger().hasDesk);

const act = (action, body = {}) =>
  call(`/control/${view.channel}/clients/${view.client}/${action}`, body);

async function refreshChannels() {
  const channels = await call("/control/channels");
  if (channels === null) return;
  const select = $("channel");
  view.channels = channels;
  meta.drawSubscription(channels.find((c) => c.channel_id === view.channel));
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
  desk.empty();
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
  if (hasDesk()) {
    meta.drawTools(phone);
    desk.draw(phone, openPhoto);
  } else {
    meta.hide(); // what belongs to Messenger and Instagram alone
  }
  readWhatIsSeen();
}

async function readWhatIsSeen() {
  // Telegram tells bots nothing of it; the other phones say so once the client looks at the chat.
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
  if (hasDesk()) wanted.push(...[meta.seenLine(phone), meta.typingLine(phone)].filter(Boolean));
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
  const time = timeOf(message.at);
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
  const can = { whatsapp: whatsappCan, facebook: meta.pageCan, instagram: meta.instagramCan }[view.kind];
  if (can && !view.phone.blocked) bubbleActs(row, message, can(view.phone), { act, edit: startEditing, reply: startReplying });
  return row;
}

function drawTicks(row, message) {
  if (message.direction !== "in" || !message.state || hasDesk()) return;
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

function pickFiles(files) {
  if (view.editing) stopEditing();
  if (!addFiles(files)) trouble("В альбомі не більше 10 файлів: зайві прибрано.");
  $("text").focus();
}

// What goes with whatever is written: which message it answers, and how late it comes.
function circumstances() {
  const late = view.kind === "whatsapp" ? { hours_ago: isChosenLate() ? 25 : undefined } : {};
  return { reply_to: view.replying ?? undefined, ...late, ...(hasDesk() ? meta.chosenTime() : {}) };
}

function filesForm(text) {
  const form = new FormData();
  if (text.trim()) form.append("caption", text);
  for (const [key, value] of Object.entries(circumstances())) if (value !== undefined) form.append(key, String(value));
  return fillForm(form);
}

async function send() {
  const text = $("text").value;
  if (!view.channel || (!text.trim() && !hasFiles())) return;
  let done;
  $("send").disabled = true;
  if (view.editing) done = await act("edit", { provider_id: view.editing, text });
  else if (hasFiles()) done = await act("messages", filesForm(text));
  else done = await act("messages", { text, ...circumstances() });
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
meta.bindTools(view, act, (change) => call(`/control/meta/${view.channel}`, change, "PUT"));
desk.bind(act);
$("attach").addEventListener("click", () => toggleMenu("attach-menu"));
$("commands").addEventListener("click", () => {
  drawCommands();
  toggleMenu("commands-menu");
});
$("attach-menu").addEventListener("click", (event) => {
  const { pick, kind, act: action } = event.target.closest("button")?.dataset ?? {};
  toggleMenu(null);
  if (pick) $("files").click();
  else if (kind) act("messages", { kind, ...circumstances() });
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
$("start").addEventListener("click", () => messenger().begin(act));
document.addEventListener("visibilitychange", readWhatIsSeen);
$("new-client").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = $("new-name").value.trim();
  if (!name || !view.channel) return;
  const client = `n${Date.now().toString(36)}`;
  view.client = client;
  if ((await messenger().meet(act, name)) === null) return;
  view.clients.push({ client, name, added: true });
  $("new-name").value = "";
  pickClient(client);
});

drawClients();
await refreshChannels();
setInterval(refreshChannels, CHANNELS_EVERY_MS);
