"""The one message Viber takes in answer to an opened chat, made of the channel's settings. Pure.

Source: fact sheet 3.5, conversation_started.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingest_viber import tracking
from ingest_viber.bodies import to_body, to_bytes
from ingest_viber.keyboards import to_keyboard
from ingest_viber.payloads import (
    BODY_MAX_BYTES,
    CONTEXT_MAX_CHARS,
    SENDER_NAME_MAX_CHARS,
    TEXT_MAX_CHARS,
    Request,
)
from ingest_viber.tracking import Greeting
from msgkit.connector.contract import Account
from msgkit.connector.errors import MessageRejected
from msgkit.connector.raw import INT_MAX
from msgkit.contracts.events import OutboundButton
from msgkit.contracts.internal_api import AccountSettings
from msgkit.contracts.words import FailureCode

_SOMEBODY = "x" * 24
"""As long as an id of Viber."""
_NAMELESS_BOT = "Чат"


def to_welcome(account: Account, contact_key: str, said_at_ms: int, context: str | None) -> bytes:
    """The body of the HTTP answer; empty if the tenant has no welcome.

    Args:
        account: the bot with its settings.
        contact_key: who opened the chat.
        said_at_ms: when, by Viber's clock: so the welcome stands before what the client writes then.
        context: of the deep link.
    """
    settings = account.settings
    if settings is None or not settings.welcome.text.strip():
        return b""
    try:
        return _body(settings, account, contact_key, said_at_ms, context)
    except MessageRejected:
        # Settings of before a rule of ours: an opened chat without a greeting is better than an error.
        return b""


def checked(settings: AccountSettings, account: Account) -> None:
    """Whether this welcome can be said.

    Raises:
        MessageRejected: Viber would not take it; the text names the fix.
    """
    if settings.welcome.text.strip():
        _body(settings, account, _SOMEBODY, INT_MAX, "x" * CONTEXT_MAX_CHARS)
    elif settings.welcome.buttons:
        raise MessageRejected(
            FailureCode.REJECTED, "Кнопки привітання стоять під його текстом: напишіть текст привітання."
        )


def rows_of(buttons: Sequence[tuple[str, str]]) -> list[list[OutboundButton]]:
    """Titles and values as one row; the keyboard makes lines of it."""
    return [[OutboundButton(text=title, action="callback", value=value) for title, value in buttons]]


def sender_name(account: Account) -> str:
    """Who stands above our messages on the phone."""
    return " ".join((account.account_name or "").split())[:SENDER_NAME_MAX_CHARS] or _NAMELESS_BOT


def _body(
    settings: AccountSettings, account: Account, contact_key: str, said_at_ms: int, context: str | None
) -> bytes:
    welcome = settings.welcome
    said = welcome.text.strip()
    buttons = tuple((button.text, button.value) for button in welcome.buttons)
    along = tracking.of_greeting(account, contact_key, Greeting(said_at_ms, said, buttons, context))
    if len(said) > TEXT_MAX_CHARS or along is None:
        raise MessageRejected(
            FailureCode.TOO_LONG,
            "Привітання задовге для Viber: скоротіть текст приблизно до 2000 символів або приберіть кнопки.",
        )
    request = Request(
        receiver="",
        sender_name=sender_name(account),
        tracking=along,
        keyboard=to_keyboard(rows_of(buttons), account, contact_key),
        min_api_version=1,
        text=said,
    )
    body = to_bytes(to_body(request))
    if len(body) > BODY_MAX_BYTES:
        raise MessageRejected(
            FailureCode.TOO_LONG, "Привітання задовге для Viber: приберіть кілька кнопок або скоротіть текст."
        )
    return body
