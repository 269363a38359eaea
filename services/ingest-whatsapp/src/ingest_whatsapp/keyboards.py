"""Our buttons become WhatsApp's: three under the message, a list, or a request for the number. Pure.

Source: fact sheet 2.3, 2.4; the request for the number: fact sheet 3 and PYWA client.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundButton
from msgkit.contracts.words import FailureCode

BODY_MAX_CHARS: Final = 1024
"""Of the text beside buttons. Source: fact sheet 2.4."""
BUTTONS_MAX: Final = 3
BUTTON_TITLE_MAX_CHARS: Final = 20
BUTTON_ID_MAX_CHARS: Final = 256
ROWS_MAX: Final = 10
ROW_TITLE_MAX_CHARS: Final = 24
ROW_ID_MAX_CHARS: Final = 200
ROW_DESCRIPTION_MAX_CHARS: Final = 72
"""Source: fact sheet 2.4."""

_LIST_TITLE = "Варіанти"
_LIST_BUTTON = "Обрати"
_CHOOSE = "Оберіть варіант:"
_SHARE_PHONE = "Поділіться, будь ласка, своїм номером телефону."
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_PRESSED = frozenset({"reply", "callback"})
_OURS = re.compile(r"rz[0-9](?::(.*))?", re.DOTALL)


def to_reply_id(button: OutboundButton, place: int) -> str:
    """The id of a button: WhatsApp wants them to differ, and gives the pressed one back.

    Args:
        button: of the action `reply` or `callback`.
        place: of the button within its message, from 0 to 9.
    """
    return f"rz{place}:{button.value}" if button.action == "callback" else f"rz{place}"


def read_reply_id(reply_id: str) -> str | None:
    """The value of a pressed button; None for one that only says its title.

    Another program may use the same number: an id that is none of ours is its value as it stands.
    """
    found = _OURS.fullmatch(reply_id)
    return reply_id if found is None else found.group(1)


def extra_lines(rows: Sequence[Sequence[OutboundButton]]) -> str:
    """What cannot be a button here, as words below the text; empty if everything can.

    WhatsApp has no buttons with addresses in a free message of the sheet, asks for a place by no button, and
    asks for the number only by a message without other buttons.

    Raises:
        MessageRejected: an address that is none.
    """
    buttons = [button for row in rows for button in row]
    lines = []
    for button in buttons:
        title = button.text.strip()
        if button.action == "url":
            if not _URL.fullmatch(button.value):
                raise MessageRejected(
                    FailureCode.REJECTED, "Посилання кнопки має починатися з https://: виправте адресу."
                )
            lines.append(f"{title}: {button.value}" if title else button.value)
        elif button.action == "share_location":
            lines.append(f"{title or 'Геопозиція'}: надішліть її через «Прикріпити → Місцезнаходження».")
        elif button.action == "share_phone" and _pressable(buttons):
            lines.append(f"{title or 'Номер телефону'}: напишіть його у відповідь.")
    return "\n".join(lines)


def to_interactive(rows: Sequence[Sequence[OutboundButton]], said: str) -> dict[str, Any] | None:
    """The `interactive` object of these buttons; None if none of them can be pressed.

    Args:
        rows: the buttons; up to three stand under the message, more of them in a list.
        said: the text above them, at most BODY_MAX_CHARS; empty for one of ours.

    Raises:
        MessageRejected: too many buttons, one without a title, or a value that does not fit.
    """
    buttons = [button for row in rows for button in row]
    pressable = _pressable(buttons)
    if not pressable:
        if not any(button.action == "share_phone" for button in buttons):
            return None
        return {
            "type": "request_contact_info",
            "body": {"text": said or _SHARE_PHONE},
            "action": {"name": "request_contact_info"},
        }
    if any(not button.text.strip() for button in pressable):
        raise MessageRejected(FailureCode.REJECTED, "Кнопка без напису: додайте текст на кнопку.")
    if any(button.action == "callback" and not button.value for button in pressable):
        raise MessageRejected(FailureCode.REJECTED, "Кнопка без значення: задайте, що вона означає.")
    if len(pressable) > ROWS_MAX:
        raise MessageRejected(
            FailureCode.REJECTED, f"Забагато кнопок: WhatsApp показує до {ROWS_MAX}. Залиште менше."
        )
    body = {"text": said or _CHOOSE}
    titles = [_cut(button.text, BUTTON_TITLE_MAX_CHARS) for button in pressable]
    # What reads the same after the cut needs the lines of a list, where the whole title stands below.
    if len(pressable) <= BUTTONS_MAX and len(set(titles)) == len(titles):
        return {"type": "button", "body": body, "action": {"buttons": _replies(pressable, titles)}}
    sections = [{"title": _LIST_TITLE, "rows": _rows(pressable)}]
    return {"type": "list", "body": body, "action": {"button": _LIST_BUTTON, "sections": sections}}


def _pressable(buttons: Sequence[OutboundButton]) -> list[OutboundButton]:
    return [button for button in buttons if button.action in _PRESSED]


def _replies(buttons: Sequence[OutboundButton], titles: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"type": "reply", "reply": {"id": _fitting_id(button, place, BUTTON_ID_MAX_CHARS), "title": title}}
        for place, (button, title) in enumerate(zip(buttons, titles, strict=True))
    ]


def _rows(buttons: Sequence[OutboundButton]) -> list[dict[str, Any]]:
    rows = []
    for place, button in enumerate(buttons):
        whole = " ".join(button.text.split())
        row = {
            "id": _fitting_id(button, place, ROW_ID_MAX_CHARS),
            "title": _cut(whole, ROW_TITLE_MAX_CHARS),
        }
        if len(whole) > ROW_TITLE_MAX_CHARS:
            row["description"] = _cut(whole, ROW_DESCRIPTION_MAX_CHARS)
        rows.append(row)
    return rows


def _fitting_id(button: OutboundButton, place: int, max_chars: int) -> str:
    found = to_reply_id(button, place)
    if len(found) > max_chars:
        most = max_chars - (len(found) - len(button.value))
        title = _cut(button.text, BUTTON_TITLE_MAX_CHARS)
        raise MessageRejected(
            FailureCode.TOO_LONG,
            f"Значення кнопки «{title}» задовге для WhatsApp: найбільше {most} символів.",
        )
    return found


def _cut(said: str, max_chars: int) -> str:
    """At most so many characters, cut after a word if that leaves enough to read."""
    plain = " ".join(said.split())
    if len(plain) <= max_chars:
        return plain
    kept = plain[: max_chars - 1]
    words_end = kept.rfind(" ")
    return f"{(kept[:words_end] if words_end > max_chars // 2 else kept).rstrip(' ,.:;–—-')}…"
