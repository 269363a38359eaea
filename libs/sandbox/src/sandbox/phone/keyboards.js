// What can be pressed: buttons under a message, a list that unfolds, grids of Viber, rows of Telegram.

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function pressable(label, onclick) {
  const made = element("button", "", label);
  made.type = "button";
  made.onclick = onclick;
  return made;
}

const open = (url) => window.open(url, "_blank", "noopener");

function inlineButton(message, button, presses, act) {
  const made = pressable(button.url ? `${button.text} ↗` : button.text, () =>
    button.url ? open(button.url) : act("press", { provider_id: message.provider_id, text: button.text }),
  );
  if (button.description) made.append(element("small", "about", button.description));
  if (button.callback_data && presses.some((p) => p.data === button.callback_data)) {
    made.classList.add("waiting");
    made.setAttribute("aria-busy", "true");
  }
  return made;
}

export function inlineKeyboard(message, presses, act) {
  const rows = message.keyboard.inline_keyboard.map((buttons) => buttons.map((b) => inlineButton(message, b, presses, act)));
  if (message.list_button) {
    const list = element("details", "list");
    list.append(element("summary", "", message.list_button), ...rows.flat());
    list.addEventListener("click", (event) => {
      if (event.target.closest("button")) list.open = false;
    });
    return list;
  }
  const box = element("div", "inline");
  for (const buttons of rows) {
    const line = element("div");
    line.append(...buttons);
    box.append(line);
  }
  return box;
}

export function viberButtons(keyboard, act) {
  const grid = element("div", "grid");
  for (const button of keyboard.Buttons) {
    const opens = button.ActionType === "open-url";
    const made = pressable(opens ? `${button.label} ↗` : button.label, () =>
      opens ? open(button.ActionBody) : act("press", { text: button.label, data: button.ActionBody }),
    );
    made.style.gridColumn = `span ${button.Columns ?? 6}`;
    made.style.gridRow = `span ${button.Rows ?? 1}`;
    if (button.BgColor) made.style.backgroundColor = button.BgColor;
    grid.append(made);
  }
  return grid;
}

export function replyButtons(rows, act) {
  return rows.map((buttons) => {
    const line = element("div");
    line.append(...buttons.map((button) => pressable(button.text, () => act("press", { text: button.text }))));
    return line;
  });
}
