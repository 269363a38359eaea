// The business's own inbox beside the phone: the messenger's own application, where the staff may answer too.
import { bubbleContent, timeOf } from "/bubbles.js";

const $ = (id) => document.getElementById(id);
const APPS = {
  facebook: { title: "Meta Business Suite", place: "Вхідні · Messenger" },
  instagram: { title: "Instagram", place: "Повідомлення акаунта компанії" },
};
let rows = new Map(); // what is drawn, by the JSON it was drawn from: a recording goes on playing
let atEnd = true;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// From this side the business is «we»: it writes on the right, and reads whether the client has seen it.
function row(message, openPhoto) {
  const ours = message.direction === "out";
  const made = element("div", `desk-row ${ours ? "ours" : "theirs"}`);
  const bubble = element("div", `desk-bubble ${message.kind}`);
  bubble.append(bubbleContent(message, openPhoto));
  if (message.text) bubble.append(element("span", "words", message.text));
  const labels = message.keyboard?.inline_keyboard?.flat() ?? message.quick_replies ?? [];
  if (labels.length) bubble.append(element("small", "desk-labels", labels.map((one) => `[${one.text}]`).join(" ")));
  const reactions = Object.values(message.reactions ?? {});
  if (reactions.length) bubble.append(element("span", "reactions", reactions.join(" ")));
  made.append(bubble);
  const time = timeOf(message.at);
  const author = ours ? (message.desk ? "написано тут" : "через підключену програму") : "";
  made.append(element("small", "desk-meta", [author, message.edited ? "змінено" : "", time].filter(Boolean).join(" · ")));
  return made;
}

function toEnd() {
  if (atEnd) $("desk-log").scrollTop = $("desk-log").scrollHeight;
}

function draw(phone, openPhoto) {
  const app = APPS[phone.messenger];
  $("desk-title").textContent = app.title;
  $("desk-place").textContent = app.place;
  $("desk-business").textContent = phone.bot.name;
  $("desk-client").textContent = phone.name;
  $("desk-avatar").textContent = phone.name.slice(0, 1);
  $("desk").setAttribute("aria-label", `Власна програма компанії: ${app.title}`);
  const drawn = new Map();
  for (const message of phone.messages) {
    const { state, ...lasting } = message;
    const key = JSON.stringify(lasting);
    drawn.set(key, rows.get(key) ?? row(message, openPhoto));
  }
  rows = drawn;
  const last = phone.messages.at(-1);
  const wanted = drawn.size ? [...drawn.values()] : [element("p", "empty", "Клієнт іще не писав")];
  if (last?.direction === "out" && last.state === "read") wanted.push(element("p", "seen", "Клієнт переглянув"));
  const shown = new Set(wanted);
  for (const node of [...$("desk-log").children]) if (!shown.has(node)) node.remove();
  wanted.forEach((node, place) => {
    const here = $("desk-log").children[place];
    if (here !== node) $("desk-log").insertBefore(node, here ?? null);
  });
  const silent = phone.messages.length === 0 || phone.blocked;
  for (const control of $("desk-form").elements) control.disabled = silent;
  toEnd();
}

function empty() {
  rows = new Map();
  atEnd = true;
  $("desk-log").replaceChildren();
  $("desk-text").value = "";
}

function bind(act) {
  const send = async () => {
    const text = $("desk-text").value.trim();
    if (!text || (await act("inbox", { text })) === null) return;
    $("desk-text").value = "";
    atEnd = true;
    toEnd();
  };
  $("desk-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("desk-text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  $("desk-photo").addEventListener("click", () => act("inbox", { kind: "photo" }));
  $("desk-log").addEventListener("scroll", (event) => {
    const log = event.target;
    atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  });
  for (const loaded of ["load", "loadedmetadata"]) $("desk-log").addEventListener(loaded, toEnd, true);
  new ResizeObserver(toEnd).observe($("desk-log"));
}

export const desk = { bind, draw, empty };
