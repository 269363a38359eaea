// The small buttons beside a bubble: reply, react, change, take back.

function button(label, text, onclick) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.title = label;
  made.setAttribute("aria-label", label);
  made.onclick = onclick;
  return made;
}

function emojiRow(message, emojis, act) {
  const box = document.createElement("div");
  box.className = "emojis";
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Реакція");
  const mine = message.reactions?.client;
  for (const emoji of emojis) {
    const made = button(emoji, emoji, () => {
      box.remove();
      act("react", { provider_id: message.provider_id, emoji: emoji === mine ? "" : emoji });
    });
    made.setAttribute("aria-pressed", String(emoji === mine));
    box.append(made);
  }
  return box;
}

// `can`: emojis, and of the client's own messages edit and remove, the name of taking back or nothing.
export function bubbleActs(row, message, can, doing) {
  const box = document.createElement("div");
  box.className = "acts";
  box.append(button("Відповісти", "↩", () => doing.reply(message)));
  if (message.direction === "out") {
    const react = () => {
      const shown = row.querySelector(".emojis");
      if (shown) shown.remove();
      else row.append(emojiRow(message, can.emojis, doing.act));
    };
    box.append(button("Реакція", "🙂", react));
    row.querySelector(".bubble").addEventListener("contextmenu", (event) => {
      event.preventDefault(); // a long press, as on a phone
      react();
    });
  } else {
    if (can.edit && message.text) box.append(button("Змінити", "✎", () => doing.edit(message)));
    if (can.remove) box.append(button(can.remove, "🗑", () => doing.act("delete", { provider_id: message.provider_id })));
  }
  row.append(box);
}
