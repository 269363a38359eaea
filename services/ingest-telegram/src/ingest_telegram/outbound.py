"""Our message becomes Telegram's requests: plain text, split by its limit. Pure."""

from __future__ import annotations

from typing import Any

from ingest_telegram.payloads import CALLBACK_MAX_BYTES, TEXT_MAX_UNITS, SendText
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundButton, SendMessage
from msgkit.contracts.words import FailureCode

_BORDERS = ("\n\n", "\n", " ")
"""Where a long text is cut, the best first: between paragraphs, lines, words."""


def to_requests(message: SendMessage) -> list[SendText]:
    """The sendMessage calls for one answer: the reply mark on the first part, the buttons on the last.

    Raises:
        MessageRejected: nothing to say, an unusable recipient, or buttons Telegram does not have.

    Source: core.telegram.org/bots/api#sendmessage; fact sheet 1.7.
    """
    parts = split_text(message.text)
    if not parts:
        raise MessageRejected(FailureCode.REJECTED, "Порожнє повідомлення: напишіть текст.")
    try:
        chat_id = int(message.contact_key)
    except ValueError:
        raise MessageRejected(FailureCode.RECIPIENT_UNAVAILABLE, "Невідомий отримувач у Telegram.") from None
    reply_to = message.reply_to_provider_id
    markup = _markup(message.buttons)
    last = len(parts) - 1
    return [
        SendText(
            chat_id=chat_id,
            text=part,
            reply_to_message_id=int(reply_to) if n == 0 and reply_to and reply_to.isdecimal() else None,
            reply_markup=markup if n == last else None,
        )
        for n, part in enumerate(parts)
    ]


def split_text(text: str, max_units: int = TEXT_MAX_UNITS) -> list[str]:
    """Parts of at most `max_units` UTF-16 code units, cut at paragraphs, lines or words where there are any.

    Blanks at a cut go: Telegram would strip them. A character outside the basic plane counts two units and
    is never cut.

    Args:
        text: any text.
        max_units: Telegram's limit of one message, in UTF-16 code units.
    """
    parts = []
    rest = text.strip()
    while rest:
        fits = _fitting_chars(rest, max_units)
        if fits < len(rest):
            fits = _border(rest, fits)
        part = rest[:fits].rstrip()
        if part:
            parts.append(part)
        rest = rest[fits:].lstrip()
    return parts


def _fitting_chars(text: str, max_units: int) -> int:
    """How many characters from the start fit."""
    if len(text) * 2 <= max_units:
        return len(text)
    units = 0
    for n, char in enumerate(text):
        units += 2 if char > "\uffff" else 1
        if units > max_units:
            return n
    return len(text)


def _border(text: str, fits: int) -> int:
    for border in _BORDERS:
        # A border right after what fits is a good cut too. In the first half it would make crumbs.
        at = text.rfind(border, fits // 2, fits + len(border))
        if at > 0:
            return at
    return fits


def _markup(rows: list[list[OutboundButton]]) -> dict[str, Any] | None:
    buttons = [button for row in rows for button in row]
    if not buttons:
        return None
    if all(button.action in {"callback", "url"} for button in buttons):
        return {"inline_keyboard": [[_inline(button) for button in row] for row in rows if row]}
    if any(button.action in {"callback", "url"} for button in buttons):
        raise MessageRejected(
            FailureCode.UNSUPPORTED_KIND,
            "Telegram не змішує кнопки під повідомленням із кнопками клавіатури.",
        )
    return {
        "keyboard": [[_key(button) for button in row] for row in rows if row],
        "resize_keyboard": True,
        "one_time_keyboard": True,
    }


def _inline(button: OutboundButton) -> dict[str, Any]:
    if button.action == "url":
        return {"text": button.text, "url": button.value}
    if len(button.value.encode()) > CALLBACK_MAX_BYTES:
        raise MessageRejected(FailureCode.TOO_LONG, "Значення кнопки задовге для Telegram.")
    return {"text": button.text, "callback_data": button.value}


def _key(button: OutboundButton) -> dict[str, Any]:
    key: dict[str, Any] = {"text": button.text}
    if button.action == "share_phone":
        key["request_contact"] = True
    elif button.action == "share_location":
        key["request_location"] = True
    return key
