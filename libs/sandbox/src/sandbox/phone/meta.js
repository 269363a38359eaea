// What only Messenger and Instagram have on this page: windows by author, quick replies, the story, «seen».

const $ = (id) => document.getElementById(id);
const MINUTE_MS = 60_000;
const TITLES = { facebook: "Messenger", instagram: "Instagram" };
const AD = { ad_id: "6045246247433", source: "ADS", type: "OPEN_THREAD", ads_context_data: { ad_title: "Осінній манікюр −20 %" } };
// How a new client comes: what he does, and with what.
const CLUES = {
  ad: () => ["messages", { text: "Добрий день! Я з вашої реклами", referral: AD }],
  link: (kind) =>
    kind === "facebook"
      ? ["start", { ref: "vizytka" }] // the button under an empty chat
      : ["messages", { text: "Добрий день! Я за посиланням", referral: { ref: "vizytka", type: "OPEN_THREAD" } }],
};
const SEEN = { sent: "Надіслано", delivered: "Доставлено", read: "Переглянуто" };

export const pageCan = () => ({ emojis: ["❤️", "😂", "😮", "😢", "😡", "👍"], edit: true, remove: null });
export const instagramCan = () => ({ emojis: ["❤️", "😂", "😮", "😢", "😡", "👍"], edit: true, remove: "Скасувати надсилання" });

// The messenger got it that long ago, and its webhook comes only now; nothing chosen: it was written just now.
export function chosenTime() {
  const minutes = Number($("written").value);
  return minutes ? { sent_at: Date.now() - minutes * MINUTE_MS } : {};
}

function left(iso) {
  const minutes = Math.floor((Date.parse(iso) - Date.now()) / MINUTE_MS);
  if (minutes >= 48 * 60) return `${Math.floor(minutes / 1440)} дн. ${Math.floor((minutes % 1440) / 60)} год`;
  return minutes >= 60 ? `${Math.floor(minutes / 60)} год ${minutes % 60} хв` : `${Math.max(0, minutes)} хв`;
}

function windowLine(phone) {
  const { everybody, people } = phone.window;
  if (!everybody) return "Клієнт іще не писав: компанія не може написати першою.";
  if (Date.parse(everybody) > Date.now()) return `Вікно відповіді відкрите для всіх ще ${left(everybody)}.`;
  if (Date.parse(people) <= Date.now()) return "Вікно закрите для всіх: компанія чекає, поки клієнт напише.";
  return phone.human_agent
    ? `Минуло 24 години: бот уже не може, людина — ще ${left(people)} (мітка HUMAN_AGENT).`
    : "Минуло 24 години, а мітки HUMAN_AGENT у застосунку компанії немає: вікно закрите.";
}

const refreshLine = (phone) => {
  $("meta-window").textContent = windowLine(phone);
};

let shown = null;

export function drawTools(phone) {
  shown = phone;
  $("meta-title").textContent = `Клієнт у ${TITLES[phone.messenger]}`;
  refreshLine(phone);
  $("meta-grant").setAttribute("aria-pressed", String(phone.human_agent));
  drawQuick(phone);
  const hasStory = phone.messenger === "instagram";
  $("story-ring").hidden = !hasStory;
  $("avatar").hidden = hasStory;
  $("story-initial").textContent = phone.bot.name.slice(0, 1);
  $("story-ring").setAttribute("aria-label", `Сторіс акаунта ${phone.bot.name}: переглянути`);
}

export function hide() {
  for (const id of ["quick", "story-ring"]) $(id).hidden = true;
  $("avatar").hidden = false;
}

function drawQuick(phone) {
  const last = phone.messages.at(-1);
  const offered = phone.blocked || last?.direction !== "out" ? [] : (last.quick_replies ?? []);
  $("quick").hidden = offered.length === 0;
  $("quick").replaceChildren(
    ...offered.map((answer) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = answer.text;
      made.onclick = () => pressing("press", { provider_id: last.provider_id, text: answer.text });
      return made;
    }),
  );
}

// Below everything, while the company types.
export function typingLine(phone) {
  if (!phone.typing) return null;
  const dots = document.createElement("p");
  dots.className = "dots";
  dots.setAttribute("aria-hidden", "true"); // the head of the phone says it in words
  dots.append(...[0, 1, 2].map(() => document.createElement("i")));
  return dots;
}

// Under the client's newest message, while the company has not answered it.
export function seenLine(phone) {
  const last = phone.messages.at(-1);
  if (last?.direction !== "in" || !SEEN[last.state]) return null;
  const line = document.createElement("p");
  line.className = "seen";
  line.textContent = SEEN[last.state];
  return line;
}

let pressing = null;

// Meta drops an app from the account after an hour of failures; our side notices and subscribes again.
export function drawSubscription(channel) {
  $("meta-lost").hidden = channel?.connected !== false;
  $("meta-lose").disabled = channel?.connected === false;
}

export function bindTools(view, act, change) {
  pressing = act;
  setInterval(() => {
    if (!$("meta-tools").hidden && shown) refreshLine(shown); // the time left goes by with nothing happening
  }, MINUTE_MS / 2);
  $("story-ring").addEventListener("click", async () => {
    const story = await act("story");
    if (story === null) return;
    $("story-picture").src = story.url;
    $("story-title").textContent = view.phone.bot.name;
    $("story-caption").textContent = story.title;
    $("story-view").showModal();
    $("story-words").focus();
  });
  const answer = async (text) => {
    if (!text || (await act("messages", { kind: "story_reply", text, ...chosenTime() })) === null) return;
    $("story-words").value = "";
    $("story-view").close();
  };
  $("story-form").addEventListener("submit", (event) => {
    event.preventDefault();
    answer($("story-words").value.trim());
  });
  $("story-emojis").addEventListener("click", (event) => {
    const emoji = event.target.closest("button");
    if (emoji) answer(emoji.textContent);
  });
  $("story-close").addEventListener("click", () => $("story-view").close());
  $("story-view").addEventListener("click", (event) => {
    if (event.target === $("story-view")) $("story-view").close();
  });
  $("written").addEventListener("change", () => {
    $("written-late").hidden = $("written").value === "0";
  });
  $("meta-lose").addEventListener("click", async () => {
    if ((await change({ unsubscribe: true })) !== null) drawSubscription({ connected: false });
  });
  $("meta-grant").addEventListener("click", async () => {
    const granted = !view.phone.human_agent;
    if ((await change({ human_agent: granted })) === null) return;
    drawTools({ ...view.phone, human_agent: (view.phone.human_agent = granted) }); // no dialogue changed, so the phone is not told
  });
  $("clue").addEventListener("change", async () => {
    const clue = CLUES[$("clue").value]?.(view.kind);
    $("clue").value = "";
    if (clue) await act(clue[0], { ...clue[1], ...chosenTime() });
  });
}
