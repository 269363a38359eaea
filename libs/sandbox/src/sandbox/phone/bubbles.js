// What is inside a bubble: photos, films, recordings, files, places, contacts, albums.

export const KIND_TITLES = {
  photo: "🖼 Фото", video: "🎬 Відео", video_note: "🎬 Відеоповідомлення", animation: "🎬 Анімація", audio: "🎵 Аудіо",
  voice: "🎤 Голосове повідомлення", document: "📎 Файл", sticker: "🙂 Стікер", location: "📍 Місце на мапі",
  contact: "📱 Контакт", url: "🔗 Посилання", keyboard: "⌨ Кнопки внизу", rich_media: "🗂 Картка з кнопками",
  unsupported: "Інше повідомлення", ephemeral: "👁 Фото для одного перегляду", like: "❤️", post: "📰 Допис", reel: "🎞 Reels",
  story_reply: "⭕ Відповідь на сторіс", story_mention: "⭕ Згадка в сторіс", appointment: "📅 Запис на час",
};
const POINTS = {
  story_reply: "Відповідь на сторіс", story_mention: "Згадка в сторіс", post: "Допис", reel: "Відео Reels",
  link: "Посилання", product: "Товар", ad: "Прийшов із реклами",
};

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// The day too, if that is another one.
export function timeOf(iso) {
  const at = new Date(iso);
  const day = at.toDateString() === new Date().toDateString() ? {} : { day: "numeric", month: "short" };
  return at.toLocaleString("uk-UA", { ...day, hour: "2-digit", minute: "2-digit" });
}

export function bubbleContent(message, openPhoto) {
  const content = document.createDocumentFragment();
  const draw = DRAWN[message.kind];
  if (message.point) content.append(point(message.point, openPhoto));
  if (message.files) content.append(mosaic(message.files.map((file) => ({ kind: file.kind, file })), openPhoto));
  else if (draw) content.append(draw(message, openPhoto));
  else if (message.kind !== "text" && !message.point) content.append(element("span", "kind", message.emoji ?? KIND_TITLES[message.kind] ?? message.kind));
  return content;
}

// What the message is about: a story it answers, a post or a film that was shared.
function point(about, openPhoto) {
  const box = element("span", `point ${about.kind}`);
  box.append(element("b", "", POINTS[about.kind] ?? about.kind));
  if (about.file?.mime.startsWith("video/")) box.append(film({ kind: "video", file: about.file }));
  else if (about.file) box.append(photo({ text: about.title ?? POINTS[about.kind], file: about.file }, openPhoto));
  if (about.title) box.append(element("span", "", about.title));
  if (about.url) box.append(link(about));
  return box;
}

export function mosaic(messages, openPhoto) {
  const seen = messages.every((m) => m.kind === "photo" || m.kind === "video");
  const box = element("div", seen ? `mosaic of-${Math.min(messages.length, 4)}` : "stack");
  box.append(...messages.map((m) => bubbleContent(m, openPhoto)));
  return box;
}

function sized(node, file) {
  if (file.width && file.height) {
    node.width = file.width;
    node.height = file.height;
  }
  return node;
}

function photo(message, openPhoto) {
  const button = element("button", "photo");
  button.type = "button";
  button.setAttribute("aria-label", message.text ? `Фото: ${message.text}` : "Фото");
  const image = sized(element("img"), message.file);
  image.src = message.file.url;
  image.alt = "";
  image.addEventListener("error", () => button.replaceWith(element("span", "kind", "🖼 Фото не читається")));
  button.append(image);
  button.onclick = () => openPhoto(message.file.url);
  return button;
}

function film(message) {
  const video = sized(element("video", message.kind === "video_note" ? "note" : "film"), message.file);
  video.src = message.file.url;
  if (message.file.thumb_url) video.poster = message.file.thumb_url;
  video.setAttribute("aria-label", KIND_TITLES[message.kind].slice(3));
  video.preload = "metadata";
  if (message.kind === "animation") video.loop = video.muted = video.autoplay = true;
  else video.controls = true;
  return video;
}

function recording(message) {
  const box = element("div", "recording");
  const name = message.kind === "voice" ? KIND_TITLES.voice : `🎵 ${message.file.name ?? "Аудіо"}`;
  const audio = element("audio");
  audio.src = message.file.url;
  audio.controls = true;
  audio.preload = "metadata";
  audio.setAttribute("aria-label", name.slice(3));
  box.append(element("span", "kind", name), audio);
  return box;
}

function attachment(message) {
  const link = element("a", "file");
  link.href = message.file.url;
  link.download = message.file.name ?? "файл";
  const words = element("span", "file-words");
  words.append(element("b", "", message.file.name ?? "Файл"), element("small", "", size(message.file.size)));
  const icon = element("span", "file-icon", extension(message.file.name));
  icon.setAttribute("aria-hidden", "true");
  link.append(icon, words);
  return link;
}

function sticker(message) {
  const image = sized(element("img", "sticker"), message.file);
  image.src = message.file.url;
  image.alt = "Стікер";
  image.addEventListener("error", () => image.replaceWith(element("span", "kind", KIND_TITLES.sticker)));
  return image;
}

function place(message) {
  const box = element("div", "place");
  const map = element("div", "map", "📍");
  map.setAttribute("aria-hidden", "true");
  const { latitude, longitude } = message.location;
  box.append(map, element("span", "", `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`));
  return box;
}

function link(message) {
  const made = element("a", "link", message.url);
  made.href = /^https?:/.test(message.url) ? message.url : "#";
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

function contact(message) {
  const { first_name: first, last_name: last, phone_number: number } = message.contact;
  const name = last ? `${first} ${last}` : first;
  const box = element("div", "card");
  const avatar = element("span", "avatar", name.slice(0, 1));
  avatar.setAttribute("aria-hidden", "true");
  const words = element("span", "file-words");
  words.append(element("b", "", name), element("small", "", number.startsWith("+") ? number : `+${number}`));
  box.append(avatar, words);
  return box;
}

const DRAWN = {
  photo, video: film, video_note: film, animation: film, audio: recording, voice: recording, document: attachment,
  sticker, location: place, contact, url: link,
};

function extension(name) {
  const found = /\.([A-Za-z0-9]{1,4})$/.exec(name ?? "");
  return found ? found[1].toUpperCase() : "📄";
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} Б`;
  if (bytes < 1024 * 1024) return `${Math.round(bytes / 1024)} КБ`;
  return `${(bytes / 1024 / 1024).toLocaleString("uk-UA", { maximumFractionDigits: 1 })} МБ`;
}
