// What only WhatsApp has on this page: whose number shows, the window of 24 hours, words with a head and a foot.

const EMOJIS = ["👍", "❤️", "😂", "😮", "😢", "🙏"];
const HIDDEN = ["user_id_only", "user_id_in_from", "empty_wa_id"];
const $ = (id) => document.getElementById(id);

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

// Numbers outside coexistence hear nothing of a change, or only that there was one.
export const whatsappCan = (phone) => ({ emojis: EMOJIS, edit: phone.coexistence, remove: phone.coexistence ? "Видалити" : null });

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
