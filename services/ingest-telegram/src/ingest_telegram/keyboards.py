"""Our buttons become Telegram's: under the message, or in place of the keyboard. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ingest_telegram.payloads import CALLBACK_MAX_BYTES
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundButton
from msgkit.contracts.words import FailureCode

_UNDER_THE_MESSAGE = frozenset({"callback", "url"})
_URL = re.compile(r"(?:https?|tg)://\S+", re.IGNORECASE)
"""Source: core.telegram.org/bots/api#inlinekeyboardbutton."""


def to_markup(rows: Sequence[Sequence[OutboundButton]]) -> dict[str, Any] | None:
    """The `reply_markup` of these buttons; None without any.

    Raises:
        MessageRejected: buttons of both sorts, or one Telegram does not take.

    Source: core.telegram.org/bots/api#inlinekeyboardmarkup, #replykeyboardmarkup; fact sheet 1.7.
    """
    buttons = [button for row in rows for button in row]
    if not buttons:
        return None
    if any(not button.text.strip() for button in buttons):
        raise MessageRejected(FailureCode.REJECTED, "Кнопка без напису: додайте текст на кнопку.")
    under = [button.action in _UNDER_THE_MESSAGE for button in buttons]
    if all(under):
        return {"inline_keyboard": [[_inline(button) for button in row] for row in rows if row]}
    if any(under):
        raise MessageRejected(
            FailureCode.UNSUPPORTED_KIND,
            "Telegram не змішує кнопки під повідомленням із кнопками клавіатури: залиште один вид.",
        )
    return {
        "keyboard": [[_key(button) for button in row] for row in rows if row],
        "resize_keyboard": True,
        "one_time_keyboard": True,
    }


def _inline(button: OutboundButton) -> dict[str, Any]:
    if button.action == "url":
        if not _URL.fullmatch(button.value):
            raise MessageRejected(
                FailureCode.REJECTED,
                "Посилання кнопки має починатися з https://: виправте адресу.",
            )
        return {"text": button.text, "url": button.value}
    if not button.value:
        raise MessageRejected(FailureCode.REJECTED, "Кнопка без значення: задайте, що вона означає.")
    if len(button.value.encode()) > CALLBACK_MAX_BYTES:
        raise MessageRejected(
            FailureCode.TOO_LONG,
            f"Значення кнопки задовге для Telegram: найбільше {CALLBACK_MAX_BYTES} байти.",
        )
    return {"text": button.text, "callback_data": button.value}


def _key(button: OutboundButton) -> dict[str, Any]:
    key: dict[str, Any] = {"text": button.text}
    if button.action == "share_phone":
        key["request_contact"] = True
    elif button.action == "share_location":
        key["request_location"] = True
    return key
