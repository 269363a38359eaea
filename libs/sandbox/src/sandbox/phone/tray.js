// Files that are picked and not sent yet.

const MOST = 10;
const $ = (id) => document.getElementById(id);
const picked = []; // {file, url}

export const hasFiles = () => picked.length > 0;

// Gives false if some had to be left out.
export function addFiles(files) {
  for (const file of files) picked.push({ file, url: URL.createObjectURL(file) });
  const tooMany = picked.splice(MOST);
  for (const one of tooMany) URL.revokeObjectURL(one.url);
  drawTray();
  return tooMany.length === 0;
}

export function emptyTray() {
  for (const one of picked.splice(0)) URL.revokeObjectURL(one.url);
  $("as-file").checked = false;
  drawTray();
}

export function fillForm(form) {
  if ($("as-file").checked) form.append("kind", "document");
  for (const one of picked) form.append("file", one.file, one.file.name);
  return form;
}

function preview(one) {
  const box = document.createElement("div");
  box.className = "preview";
  const shown = document.createElement(one.file.type.startsWith("image/") ? "img" : "span");
  if (shown instanceof HTMLImageElement) {
    shown.src = one.url;
    shown.alt = one.file.name;
  } else {
    shown.textContent = one.file.name;
  }
  const away = document.createElement("button");
  away.type = "button";
  away.textContent = "✕";
  away.setAttribute("aria-label", `Прибрати ${one.file.name}`);
  away.onclick = () => {
    URL.revokeObjectURL(one.url);
    picked.splice(picked.indexOf(one), 1);
    drawTray();
  };
  box.append(shown, away);
  return box;
}

function drawTray() {
  $("tray").hidden = picked.length === 0;
  $("previews").replaceChildren(...picked.map(preview));
}
