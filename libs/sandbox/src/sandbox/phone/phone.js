// The phone page: one client, one bot; the server sends the whole state of the phone at each change.

const DEMO_CLIENTS = [
  { client: "olena", name: "Олена" },
  { client: "taras", name: "Тарас" },
  { client: "maria", name: "Марія" },
];
const KIND_TITLES = {
  image: "🖼 Фото", video: "🎬 Відео", video_note: "🎬 Відеоповідомлення", audio: "🎵 Аудіо", voice: "🎤 Голосове повідомлення",
  file: "📎 Файл", sticker: "👍 Стікер", location: "📍 Місце на мапі", contact: "📱 Контакт", unsupported: "Інше повідомлення",
};
const CHANNELS_EVERY_MS = 2000;

const $ = (id) => document.getElementById(id);
const view = { channel: null, client: "olena", clients: [...DEMO_CLIENTS], phone: null, editing: null, offline: false };
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
  const request = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
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

const act = (action, body = {}) =>
  call(`/control/${view.channel}/clients/${view.client}/${action}`, body);

async function refreshChannels() {
  const channels = await call("/control/channels");
  if (channels === null) return;
  const select = $("channel");
  const known = [...select.options].map((o) => o.value).join();
  if (known !== channels.map((c) => c.channel_id).join()) {
    select.replaceChildren(
      ...channels.map((c) => new Option(`Telegram · ${c.title}`, c.channel_id)),
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
  const met = (await call(`/control/${channel}/clients`)) ?? [];
  const added = view.clients.filter((c) => c.added);
  const known = [...DEMO_CLIENTS, ...added];
  const others = met.filter((m) => !known.some((c) => c.client === m.client)).slice(0, 50);
  view.clients = [...known, ...others];
  pickClient(view.client);
}

function pickClient(client) {
  view.client = client;
  stopEditing();
  drawClients();
  listen();
}

function listen() {
  live?.close();
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
  const bubbles = $("bubbles");
  const atEnd = bubbles.scrollHeight - bubbles.scrollTop - bubbles.clientHeight < 60;
  view.phone = phone;
  $("avatar").textContent = phone.bot.name.slice(0, 1);
  $("bot-name").textContent = phone.bot.name;
  $("bot-line").textContent = phone.typing ? "друкує…" : `@${phone.bot.username} · бот`;
  const rows = phone.messages.map(bubbleRow);
  bubbles.replaceChildren(...(rows.length ? rows : [element("p", "empty", "Тут ще немає повідомлень")]));
  if (atEnd) bubbles.scrollTop = bubbles.scrollHeight;
  $("notice").textContent = phone.notice ?? "";
  $("notice").hidden = !phone.notice;
  $("block").hidden = phone.blocked || !phone.started;
  $("composer").hidden = phone.blocked || !phone.started;
  $("start").hidden = phone.blocked || phone.started;
  $("unblock").hidden = !phone.blocked;
  drawKeyboard(phone);
}

function bubbleRow(message) {
  const row = element("div", `row ${message.direction}`);
  const bubble = element("div", "bubble");
  if (message.reply_to) {
    const quoted = view.phone.messages.find((m) => m.provider_id === message.reply_to);
    if (quoted) bubble.append(element("span", "quote", quoted.text || KIND_TITLES[quoted.kind] || ""));
  }
  if (message.kind !== "text") bubble.append(element("span", "kind", KIND_TITLES[message.kind] ?? message.kind));
  if (message.text) bubble.append(element("span", "", message.text));
  const time = new Date(message.at).toLocaleTimeString("uk-UA", { hour: "2-digit", minute: "2-digit" });
  bubble.append(element("span", "meta", message.edited ? `змінено ${time}` : time));
  row.append(bubble);
  if (message.keyboard?.inline_keyboard) row.append(inlineKeyboard(message));
  if (message.direction === "in" && message.kind === "text" && !view.phone.blocked) {
    const change = element("button", "change", "Змінити");
    change.type = "button";
    change.onclick = () => startEditing(message);
    row.append(change);
  }
  return row;
}

function inlineKeyboard(message) {
  const box = element("div", "inline");
  for (const buttons of message.keyboard.inline_keyboard) {
    const line = element("div");
    for (const button of buttons) {
      const made = element("button", "", button.url ? `${button.text} ↗` : button.text);
      made.type = "button";
      made.onclick = () => act("press", { provider_id: message.provider_id, text: button.text });
      line.append(made);
    }
    box.append(line);
  }
  return box;
}

function drawKeyboard(phone) {
  const rows = phone.blocked ? [] : (phone.keyboard?.keyboard ?? []);
  $("keyboard").hidden = rows.length === 0;
  $("keyboard").replaceChildren(
    ...rows.map((buttons) => {
      const line = element("div");
      for (const button of buttons) {
        const made = element("button", "", button.text);
        made.type = "button";
        made.onclick = () => act("press", { text: button.text });
        line.append(made);
      }
      return line;
    }),
  );
}

function startEditing(message) {
  view.editing = message.provider_id;
  $("edit-strip").hidden = false;
  $("kind").value = "text";
  $("text").value = message.text;
  $("text").focus();
}

function stopEditing() {
  view.editing = null;
  $("edit-strip").hidden = true;
  $("text").value = "";
}

async function send() {
  const text = $("text").value;
  const kind = $("kind").value;
  if (!view.channel || (kind === "text" && !text.trim())) return;
  let done;
  if (view.editing) done = await act("edit", { provider_id: view.editing, text });
  else if (kind === "share") done = await act("share-contact");
  else done = await act("messages", text.trim() ? { kind, text } : { kind });
  if (done === null) return; // what was typed stays
  stopEditing();
  $("kind").value = "text";
  $("bubbles").scrollTop = $("bubbles").scrollHeight;
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
$("block").addEventListener("click", () => act("block"));
$("unblock").addEventListener("click", () => act("unblock"));
$("start").addEventListener("click", () => act("messages", { text: "/start" }));
$("new-client").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = $("new-name").value.trim();
  if (!name || !view.channel) return;
  const client = `n${Date.now().toString(36)}`;
  view.client = client;
  if ((await act("messages", { name, text: "/start" })) === null) return;
  view.clients.push({ client, name, added: true });
  $("new-name").value = "";
  pickClient(client);
});

drawClients();
await refreshChannels();
setInterval(refreshChannels, CHANNELS_EVERY_MS);
