"""Our buttons become Viber's keyboard, and a pressed one is known again. Pure.

Viber has no buttons under a message and does not say that something was pressed: the button's body comes as
the client's text. So the body of a `callback` button carries its title and its value, sealed, and is silent:
the client does not see it as a message.
Source: developers.viber.com/docs/tools/keyboards; fact sheet 3.5, 3.6.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ingest_viber.payloads import (
    BUTTON_BODY_MAX_CHARS,
    BUTTON_TEXT_MAX_CHARS,
    KEYBOARD_COLUMNS,
    KEYBOARD_MAX_LINES,
    SHARE_MIN_API_VERSION,
)
from ingest_viber.seals import is_sealed, seal
from msgkit.connector.contract import Account
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundButton
from msgkit.contracts.words import FailureCode

LINE_MAX_BUTTONS = 3
"""More beside each other are too narrow to read: a sixth of a phone."""

_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_PRESS = re.compile(r"rz:([A-Za-z0-9_-]{22}):([0-9]{1,3}):(.*)", re.DOTALL)
_TITLE_LEAST_CHARS = 20
"""So much of a title must be left beside its value: it is what the operator reads of a press."""
_SHARES = {"share_phone": ("share-phone", "phone"), "share_location": ("location-picker", "location")}


@dataclass(frozen=True, slots=True)
class Press:
    """A pressed `callback` button."""

    title: str
    value: str


def to_keyboard(
    rows: Sequence[Sequence[OutboundButton]], account: Account, contact_key: str
) -> dict[str, Any] | None:
    """The `keyboard` of these buttons; None without any.

    Raises:
        MessageRejected: a button Viber does not take, or too many.
    """
    lines = [line for row in rows for line in _lines(row)]
    if not lines:
        return None
    if len(lines) > KEYBOARD_MAX_LINES:
        raise MessageRejected(
            FailureCode.REJECTED,
            f"Забагато кнопок: Viber показує {KEYBOARD_MAX_LINES} рядків. Залиште менше.",
        )
    return {
        "Type": "keyboard",
        "DefaultHeight": False,
        "Buttons": [
            {"Columns": KEYBOARD_COLUMNS // len(line), "Rows": 1, **_button(button, account, contact_key)}
            for line in lines
            for button in line
        ],
    }


def min_api_version(rows: Sequence[Sequence[OutboundButton]]) -> int:
    """The least version of the phone's API that these buttons need; 1 is any."""
    return SHARE_MIN_API_VERSION if any(button.action in _SHARES for row in rows for button in row) else 1


def asks_phone(rows: Sequence[Sequence[OutboundButton]]) -> bool:
    """Whether one of the buttons shares the client's number."""
    return any(button.action == "share_phone" for row in rows for button in row)


def read_press(said: str, account: Account, contact_key: str) -> Press | None:
    """The button a text stands for; None for what a person wrote, or forged."""
    found = _PRESS.fullmatch(said)
    if found is None:
        return None
    mark, length, packed = found.group(1), int(found.group(2)), found.group(3)
    value, title = packed[:length], packed[length:]
    if not is_sealed(account, contact_key, _told(title, value), mark):
        return None
    return Press(title, value)


def _lines(row: Sequence[OutboundButton]) -> Iterator[Sequence[OutboundButton]]:
    """A row cut into lines of equal buttons: the six columns divide by one, two and three."""
    if not row:
        return
    count = -(-len(row) // LINE_MAX_BUTTONS)
    least, more = divmod(len(row), count)
    start = 0
    for n in range(count):
        stop = start + least + (n < more)
        yield row[start:stop]
        start = stop


def _button(button: OutboundButton, account: Account, contact_key: str) -> dict[str, Any]:
    title = button.text.strip()[:BUTTON_TEXT_MAX_CHARS]
    if not title:
        raise MessageRejected(FailureCode.REJECTED, "Кнопка без напису: додайте текст на кнопку.")
    # The text of a button is read as HTML.
    shown = {"Text": html.escape(title, quote=False), "TextSize": "regular"}
    if button.action in _SHARES:
        action, body = _SHARES[button.action]
        return {"ActionType": action, "ActionBody": body, **shown}
    if button.action == "url":
        if not _URL.fullmatch(button.value):
            raise MessageRejected(
                FailureCode.REJECTED, "Посилання кнопки має починатися з https://: виправте адресу."
            )
        if len(button.value) > BUTTON_BODY_MAX_CHARS:
            raise MessageRejected(
                FailureCode.TOO_LONG,
                f"Посилання кнопки задовге для Viber: найбільше {BUTTON_BODY_MAX_CHARS} символів.",
            )
        return {"ActionType": "open-url", "ActionBody": button.value, "Silent": True, **shown}
    if button.action == "reply":
        return {"ActionType": "reply", "ActionBody": title, **shown}
    body = _press_body(title, button.value, account, contact_key)
    return {"ActionType": "reply", "ActionBody": body, "Silent": True, **shown}


def _press_body(title: str, value: str, account: Account, contact_key: str) -> str:
    if not value:
        raise MessageRejected(FailureCode.REJECTED, "Кнопка без значення: задайте, що вона означає.")
    room = BUTTON_BODY_MAX_CHARS - len(_packed("", value, seal(account, contact_key, "")))
    if room < min(len(title), _TITLE_LEAST_CHARS):
        most = len(value) - min(len(title), _TITLE_LEAST_CHARS) + room
        raise MessageRejected(
            FailureCode.TOO_LONG, f"Значення кнопки задовге для Viber: найбільше {most} символів."
        )
    if len(title) > room:
        title = f"{title[: room - 1]}…"
    return _packed(title, value, seal(account, contact_key, _told(title, value)))


def _packed(title: str, value: str, mark: str) -> str:
    return f"rz:{mark}:{len(value)}:{value}{title}"


def _told(title: str, value: str) -> str:
    return f"press\x1f{len(value)}\x1f{value}{title}"
