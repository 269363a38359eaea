"""A Viber callback becomes our events. Pure, and never fails: what is odd becomes a placeholder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from ingest_viber import payloads, tracking
from ingest_viber.content import to_content, to_placeholder, to_text
from ingest_viber.keyboards import Press, read_press
from ingest_viber.payloads import message_token, moment, user_id
from ingest_viber.tracking import Greeting
from ingest_viber.welcome import rows_of, to_welcome
from msgkit.connector.contract import Account, Parsed, ProviderReceipt, WebhookRequest
from msgkit.connector.errors import PayloadInvalid
from msgkit.connector.event_fields import event_fields
from msgkit.connector.raw import Node, is_node, node, short, text
from msgkit.contracts.events import (
    RAW_LIMIT_BYTES,
    ButtonPress,
    Contact,
    ContactAvailability,
    Content,
    Failure,
    MessageEchoed,
    MessageReceived,
)
from msgkit.contracts.ids import conversation_id
from msgkit.contracts.words import AuthorKind, FailureCode, MessageState

WELCOME_PREFIX = "welcome:"
"""Begins the provider id of a welcome, which has no token; Viber's own ids are numbers."""
_DESC_MAX_CHARS = 200


@dataclass(frozen=True, slots=True)
class _Callback:
    """A callback with what surrounds it."""

    whole: Node
    raw: str
    request: WebhookRequest
    account: Account

    @property
    def at(self) -> datetime:
        return moment(self.whole.get("timestamp"), self.request.received_at)


def to_parsed(request: WebhookRequest, account: Account) -> Parsed:
    """Translate one webhook.

    Args:
        request: the webhook; its signature was checked.
        account: the bot it came to.

    Raises:
        PayloadInvalid: not JSON, not a callback, or without an author we could show it under.

    Source: fact sheet 3.4, 3.5.
    """
    try:
        whole = from_json(request.body, allow_inf_nan=False)
    except ValueError as exc:
        raise PayloadInvalid(f"not readable as JSON: {str(exc)[:200]}") from None
    if not is_node(whole):
        raise PayloadInvalid("not a JSON object")
    event = text(whole.get("event"))
    if event is None:
        raise PayloadInvalid("a callback without an event")
    raw = request.body.decode() if len(request.body) <= RAW_LIMIT_BYTES else ""
    callback = _Callback(whole, raw, request, account)
    translate = _TRANSLATORS.get(event)
    if translate is not None:
        return translate(callback)
    if is_node(whole.get("message")) and _sender(callback) and message_token(whole.get("message_token")):
        # Newer than we are, but somebody wrote it.
        return _to_message(callback, unknown_as=event)
    return Parsed(counted=("unknown_event",))


def is_check(body: bytes) -> bool:
    """Whether this is Viber's own check of an address, which may come unsigned and says nothing.

    Source: fact sheet 3.2, 3.3.
    """
    try:
        whole = from_json(body, allow_inf_nan=False)
    except ValueError:
        return False
    return is_node(whole) and whole.get("event") == "webhook"


# --- messages


def _to_message(callback: _Callback, *, unknown_as: str | None = None) -> Parsed:
    contact_key = _sender(callback)
    token = message_token(callback.whole.get("message_token"))
    if contact_key is None:
        raise PayloadInvalid("a message without its sender")
    if token is None:
        raise PayloadInvalid("a message without its token")
    message, account = node(callback.whole.get("message")), callback.account
    came_back = tracking.read(account, contact_key, message.get("tracking_data"))
    said, press = message.get("text"), None
    if unknown_as is not None:
        content = to_placeholder(unknown_as, message)
    else:
        content = to_content(message, phone_asked=came_back.phone_asked)
        if message.get("type") == "text" and isinstance(said, str):
            press = read_press(said, account, contact_key)
    if press is not None:
        content = to_text(press.title)
    contact = _contact(contact_key, node(callback.whole.get("sender")), content)
    events: list[MessageEchoed | MessageReceived] = []
    greeting = came_back.greeting
    if greeting is not None:
        events.append(_echo(callback, contact, greeting))
    events.append(_received(callback, contact, token, content, greeting, press))
    return Parsed(events=tuple(events))


def _received(
    callback: _Callback,
    contact: Contact,
    token: str,
    content: Content,
    greeting: Greeting | None,
    press: Press | None,
) -> MessageReceived:
    return MessageReceived(
        **_common(callback, contact.key, f"{contact.key}:{token}", "message.received.v1"),
        contact=contact,
        provider_id=token,
        provider_seq=int(token),
        sent_at=callback.at,
        content=content,
        reply_to_provider_id=None,
        start_payload=None if greeting is None else greeting.context,
        group_id=None,
        pressed=None if press is None else ButtonPress(value=press.value, message_provider_id=None),
        is_standby=False,
    )


def _echo(callback: _Callback, contact: Contact, greeting: Greeting) -> MessageEchoed:
    """The welcome, told now because only now there is a dialogue to show it in."""
    provider_id = f"{WELCOME_PREFIX}{greeting.said_at_ms}"
    common = _common(callback, contact.key, f"{contact.key}:{provider_id}", "message.echoed.v1")
    return MessageEchoed(
        **{**common, "raw": ""},
        contact=contact,
        provider_id=provider_id,
        provider_seq=0,
        sent_at=moment(greeting.said_at_ms, callback.at),
        author_kind=AuthorKind.BOT,
        content=to_text(greeting.text),
        buttons=rows_of(greeting.buttons) if greeting.buttons else [],
        reply_to_provider_id=None,
    )


# --- the chat


def _to_opened(callback: _Callback) -> Parsed:
    """The chat was opened: no subscription and no dialogue, only the moment for one welcome.

    Who is subscribed was welcomed before and is not welcomed at each look into the chat, only when a link
    with a context led there.
    """
    whole = callback.whole
    contact_key = user_id(node(whole.get("user")).get("id"))
    context = short(whole.get("context"), payloads.CONTEXT_MAX_CHARS)
    counted = ("conversation_started",) if context is None else ("conversation_started", "deep_link")
    if contact_key is None or (whole.get("subscribed") is True and context is None):
        return Parsed(counted=counted)
    said_at_ms = round(callback.at.timestamp() * 1000)
    return Parsed(counted=counted, reply=to_welcome(callback.account, contact_key, said_at_ms, context))


def _to_subscribed(callback: _Callback) -> Parsed:
    user = node(callback.whole.get("user"))
    return _availability(callback, user_id(user.get("id")), user, available=True)


def _to_unsubscribed(callback: _Callback) -> Parsed:
    user = node(callback.whole.get("user"))
    contact_key = user_id(callback.whole.get("user_id")) or user_id(user.get("id"))
    return _availability(callback, contact_key, user, available=False)


def _availability(callback: _Callback, contact_key: str | None, user: Node, *, available: bool) -> Parsed:
    if contact_key is None:
        raise PayloadInvalid("a change of subscription without a user")
    token = message_token(callback.whole.get("message_token")) or f"at:{callback.at.timestamp():.3f}"
    key = f"{contact_key}:{token}:{available}"
    return Parsed(
        events=(
            ContactAvailability(
                **_common(callback, contact_key, key, "contact.availability.v1"),
                contact=_contact(contact_key, user, None),
                available=available,
                happened_at=callback.at,
            ),
        )
    )


# --- receipts


def _to_receipt(callback: _Callback) -> Parsed:
    """Of one of our messages, or of the client's own: the kit knows which ones are ours.

    Source: fact sheet 3.4.
    """
    whole = callback.whole
    event = str(whole["event"])
    token = message_token(whole.get("message_token"))
    contact_key = user_id(whole.get("user_id")) or user_id(node(whole.get("user")).get("id"))
    if token is None or contact_key is None:
        return Parsed(counted=("receipt_of_nobody",))
    failure = _failure(whole.get("desc")) if event == "failed" else None
    receipt = ProviderReceipt(
        conversation_id=conversation_id(callback.account.channel_id, contact_key),
        provider_id=token,
        state=_STATES[event],
        # Said once, when the client has read everything that was there.
        and_earlier=event == "seen",
        failure=failure,
        contact_blocked=False,
        happened_at=callback.at,
    )
    return Parsed(counted=(event,), receipts=(receipt,))


def _failure(desc: object) -> Failure:
    reason = " ".join((text(desc) or "").split())[:_DESC_MAX_CHARS]
    told = f" ({reason})" if reason else ""
    return Failure(
        code=FailureCode.REJECTED,
        text=f"Viber прийняв повідомлення, але телефон клієнта не зміг його показати{told}. "
        "Надішліть інакше: фото як файл, посилання замість файлу, без кнопок.",
    )


_STATES: dict[str, Any] = {
    "delivered": MessageState.DELIVERED,
    "seen": MessageState.READ,
    "failed": MessageState.FAILED,
}


def _counted(name: str) -> Callable[[_Callback], Parsed]:
    return lambda _: Parsed(counted=(name,))


_TRANSLATORS: dict[str, Callable[[_Callback], Parsed]] = {
    "message": _to_message,
    "conversation_started": _to_opened,
    "subscribed": _to_subscribed,
    "unsubscribed": _to_unsubscribed,
    "delivered": _to_receipt,
    "seen": _to_receipt,
    "failed": _to_receipt,
    # May come unsigned: anybody could fill the journal with it.
    "webhook": lambda _: Parsed(counted=("webhook",), is_kept=False),
    "client_status": _counted("client_status"),
}


# --- shared


def _sender(callback: _Callback) -> str | None:
    return user_id(node(callback.whole.get("sender")).get("id"))


def _contact(contact_key: str, user: Node, content: Content | None) -> Contact:
    """Who it is, as far as the client shows it; only the id is certain."""
    name = " ".join((text(user.get("name")) or "").split())[: payloads.NAME_MAX_CHARS]
    shared = None if content is None else content.shared_contact
    return Contact(
        key=contact_key,
        name="" if name.lower() in payloads.PLACEHOLDER_NAMES else name,
        username=None,
        phone=shared.phone if shared is not None and shared.is_own else None,
        language=short(user.get("language"), payloads.WORD_MAX_CHARS),
    )


def _common(callback: _Callback, contact_key: str, provider_key: str, event_type: str) -> dict[str, Any]:
    return event_fields(
        callback.account,
        callback.request,
        conversation_id=conversation_id(callback.account.channel_id, contact_key),
        provider_key=provider_key,
        event_type=event_type,
        raw=callback.raw,
    )
