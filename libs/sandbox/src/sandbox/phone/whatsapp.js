// What only WhatsApp has on this page: whose number shows, the window of 24 hours, reactions, taking words back.

const EMOJIS = ["👍", "❤️", "😂", "😮", "😢", "🙏"];
const HIDDEN = ["user_id_only", "user_id_in_from", "empty_wa_id"];
const $ = (id) => document.getElementById(id);

function button(label, text, onclick) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.title = label;
  made.setAttribute("aria-label", label);
  made.onclick = onclick;
  return made;
}

export function drawTools(phone) {
  $("window-line").textContent = phone.window_open
    ? "Компанія може відповідати вільно."
    : "Вікно відповіді закрите: компанія може надіслати лише шаблон.";
  $("identity").value = phone.identity;
  const number = `+${phone.phone_number}`;
  $("identity-line").textContent = HIDDEN.includes(phone.identity)
    ? `Компанія знає лише ${phone.username ? `@${phone.username}` : "id"}; номер ${number} їй не видно.`
    : `Компанія бачить ${number}.`;
  $("power").textContent = phone.offline ? "Увімкнути телефон" : "Вимкнути телефон";
  $("owner").hidden = !phone.coexistence;
}

export const isChosenLate = () => $("late").checked;

export function bindTools(view, act) {
  $("identity").addEventListener("change", () => {
    const variant = $("identity").value;
    const username = HIDDEN.includes(variant) ? view.phone.username || `${view.client}_wa` : "";
    act("identity", { variant, username });
  });
  $("change-number").addEventListener("click", () => act("change-number"));
  $("wait").addEventListener("click", () => act("wait", { hours: 25 }));
  $("power").addEventListener("click", () => act(view.phone.offline ? "online" : "offline"));
  $("owner").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = $("owner-words").value.trim();
    if (text && (await act("echo", { text })) !== null) $("owner-words").value = "";
  });
}

function emojis(message, act) {
  const box = document.createElement("div");
  box.className = "emojis";
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Реакція");
  const mine = message.reactions?.client;
  for (const emoji of EMOJIS) {
    const made = button(emoji, emoji, () => {
      box.remove();
      act("react", { provider_id: message.provider_id, emoji: emoji === mine ? "" : emoji });
    });
    made.setAttribute("aria-pressed", String(emoji === mine));
    box.append(made);
  }
  return box;
}

export function bubbleActs(row, message, phone, doing) {
  const box = document.createElement("div");
  box.className = "acts";
  box.append(button("Відповісти", "↩", () => doing.reply(message)));
  if (message.direction === "out") {
    const react = () => {
      const shown = row.querySelector(".emojis");
      if (shown) shown.remove();
      else row.append(emojis(message, doing.act));
    };
    box.append(button("Реакція", "🙂", react));
    row.querySelector(".bubble").addEventListener("contextmenu", (event) => {
      event.preventDefault(); // a long press, as on a phone
      react();
    });
  } else if (phone.coexistence) {
    // Other numbers hear nothing of it, or only that there was something.
    if (message.text) box.append(button("Змінити", "✎", () => doing.edit(message)));
    box.append(button("Видалити", "🗑", () => doing.act("delete", { provider_id: message.provider_id })));
  }
  row.append(box);
}

export function words(message) {
  const said = document.createElement("span");
  said.className = "words";
  for (const [part, tag] of [["header", "b"], ["body", "span"], ["footer", "small"]]) {
    if (!message.words[part]) continue;
    const made = document.createElement(tag);
    made.textContent = message.words[part];
    said.append(made);
  }
  return said;
}
