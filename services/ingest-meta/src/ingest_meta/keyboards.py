"""Our buttons become Meta's: quick replies under the message, addresses in a template. Pure.

Source: fact sheet 2.2, 2.4; the request for the number: fact sheet 3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ingest_meta.payloads import (
    PAYLOAD_MAX_CHARS,
    QUICK_REPLIES_MAX,
    TEMPLATE_BUTTONS_MAX,
    TEMPLATE_TEXT_MAX_CHARS,
    TITLE_MAX_CHARS,
)
from ingest_meta.texts import shortened
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundButton
from msgkit.contracts.words import FailureCode

CHOOSE: Final = "Оберіть варіант:"
SHARE_PHONE: Final = "Поділіться, будь ласка, своїм номером телефону."
OPEN_LINK: Final = "Відкрийте посилання:"

_ONLY_ITS_TITLE: Final = "rz"
"""Payload of a button that stands for its words alone: Meta wants one behind every button."""
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_PRESSED = frozenset({"reply", "callback"})


@dataclass(frozen=True, slots=True)
class Keyboard:
    """What stands under the last part of an answer."""

    quick_replies: tuple[dict[str, Any], ...]
    links: tuple[dict[str, Any], ...]
    """Buttons of a template; there are no quick replies beside them."""
    lines: str
    """What cannot be a button, as words below the text; empty if everything can."""
    prompt: str
    """The text above the buttons if there is no other."""

    @property
    def is_empty(self) -> bool:
        return not self.quick_replies and not self.links


def read_payload(payload: str) -> str | None:
    """The value of a pressed button; None for one that only says its title.

    Another program may use the same page: a payload that is none of ours is its value as it stands.
    """
    return None if payload == _ONLY_ITS_TITLE else payload


def to_keyboard(rows: Sequence[Sequence[OutboundButton]], *, is_instagram: bool) -> Keyboard:
    """How these buttons are shown.

    Addresses alone become a template, up to three of them. Beside anything else they become lines of text:
    one message has quick replies or a template, and what can be pressed matters more.

    Args:
        rows: the buttons; Meta shows them in one row.
        is_instagram: it has no button that asks for the number (fact sheet 3).

    Raises:
        MessageRejected: too many buttons, one without a title, an address or a value that does not fit.
    """
    buttons = [button for row in rows for button in row]
    links = [_link(button) for button in buttons if button.action == "url"]
    asks_phone = any(button.action == "share_phone" for button in buttons) and not is_instagram
    quick = [_quick_reply(button) for button in buttons if button.action in _PRESSED]
    if asks_phone:
        quick.append({"content_type": "user_phone_number"})
    if len(quick) > QUICK_REPLIES_MAX:
        raise MessageRejected(
            FailureCode.REJECTED,
            f"Забагато кнопок: месенджер показує до {QUICK_REPLIES_MAX}. Залиште менше.",
        )
    is_template = bool(links) and not quick and len(links) <= TEMPLATE_BUTTONS_MAX
    lines = [
        line
        for button in buttons
        if (line := _line(button, is_template=is_template, is_instagram=is_instagram))
    ]
    prompt = SHARE_PHONE if asks_phone and len(quick) == 1 else CHOOSE
    return Keyboard(
        quick_replies=tuple(quick),
        links=tuple(links) if is_template else (),
        lines="\n".join(lines),
        prompt=OPEN_LINK if is_template else prompt,
    )


def to_template(said: str, links: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A message with addresses as buttons.

    Args:
        said: the text above them, at most TEMPLATE_TEXT_MAX_CHARS.
        links: of `Keyboard`.
    """
    assert len(said) <= TEMPLATE_TEXT_MAX_CHARS
    payload = {"template_type": "button", "text": said, "buttons": list(links)}
    return {"attachment": {"type": "template", "payload": payload}}


def _quick_reply(button: OutboundButton) -> dict[str, Any]:
    title = _title(button)
    if button.action == "callback" and not button.value:
        raise MessageRejected(FailureCode.REJECTED, "Кнопка без значення: задайте, що вона означає.")
    payload = button.value if button.action == "callback" else _ONLY_ITS_TITLE
    if len(payload) > PAYLOAD_MAX_CHARS:
        raise MessageRejected(
            FailureCode.TOO_LONG,
            f"Значення кнопки «{title}» задовге: найбільше {PAYLOAD_MAX_CHARS} символів. Скоротіть його.",
        )
    return {"content_type": "text", "title": title, "payload": payload}


def _link(button: OutboundButton) -> dict[str, Any]:
    if not _URL.fullmatch(button.value):
        raise MessageRejected(
            FailureCode.REJECTED, "Посилання кнопки має починатися з https://: виправте адресу."
        )
    return {"type": "web_url", "title": _title(button), "url": button.value}


def _title(button: OutboundButton) -> str:
    if not button.text.strip():
        raise MessageRejected(FailureCode.REJECTED, "Кнопка без напису: додайте текст на кнопку.")
    return shortened(button.text, TITLE_MAX_CHARS)


def _line(button: OutboundButton, *, is_template: bool, is_instagram: bool) -> str | None:
    title = " ".join(button.text.split())
    match button.action:
        case "url" if not is_template:
            return f"{title}: {button.value}"
        case "share_location":
            return f"{title or 'Геопозиція'}: надішліть, будь ласка, адресу або місце на мапі."
        case "share_phone" if is_instagram:
            return f"{title or 'Номер телефону'}: напишіть його, будь ласка, у відповідь."
    return None
