"""A Telegram update becomes our events. Pure, and never fails: what is odd becomes a placeholder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

from ingest_telegram import payloads
from ingest_telegram.content import own_phone, to_content, to_placeholder
from msgkit.connector.contract import Account, Parsed, WebhookRequest
from msgkit.connector.errors import PayloadInvalid
from msgkit.connector.event_fields import event_fields
from msgkit.connector.raw import Node, is_node, items, json_integer, node, short, text
from msgkit.contracts.events import (
    RAW_LIMIT_BYTES,
    ButtonPress,
    Contact,
    ContactAvailability,
    Content,
    MessageEdited,
    MessageReceived,
)
from msgkit.contracts.ids import conversation_id
from msgkit.contracts.words import MessageKind

_DATE_MAX = 253_402_300_799
"""The last second of the year 9999: what a datetime can say."""
_START = re.compile(rf"/start(?:@\w+)?(?: +([A-Za-z0-9_-]{{1,{payloads.START_PAYLOAD_MAX_CHARS}}}))?\s*")


@dataclass(frozen=True, slots=True)
class _Update:
    """An update with what surrounds it."""

    update_id: int | None
    raw: str
    request: WebhookRequest
    account: Account


@dataclass(frozen=True, slots=True)
class _Heading:
    """Who wrote where: without this there is no conversation."""

    message_id: int
    contact: Contact
    conversation_id: str


def to_parsed(request: WebhookRequest, account: Account) -> Parsed:
    """Translate one webhook.

    Args:
        request: the webhook; its signature was checked.
        account: the bot it came to.

    Raises:
        PayloadInvalid: not JSON, not an update, or without an author we could show it under.

    Source: core.telegram.org/bots/api#update; fact sheet 1.4.
    """
    try:
        whole = from_json(request.body, allow_inf_nan=False)
    except ValueError as exc:
        raise PayloadInvalid(f"not readable as JSON: {_reason(exc)}") from None
    if not is_node(whole):
        raise PayloadInvalid("not a JSON object")
    raw = request.body.decode() if len(request.body) <= RAW_LIMIT_BYTES else ""
    update = _Update(json_integer(whole.get("update_id")), raw, request, account)
    for key, payload in whole.items():
        if key != "update_id" and key in _TRANSLATORS:
            return _TRANSLATORS[key](update, payload)
    unknown = [key for key in whole if key != "update_id"]
    for key in unknown:
        if key in payloads.NOT_FOR_A_BOT_CHAT:
            return Parsed(counted=(key,))
    for key in unknown:
        # A kind of update that is newer than we are, but somebody wrote it.
        if _heading(update, node(whole[key])) is not None:
            return _to_message(update, whole[key], unknown_as=key)
    raise PayloadInvalid("an update of an unknown kind")


def _to_message(update: _Update, payload: object, *, unknown_as: str | None = None) -> Parsed:
    message = node(payload)
    if _is_elsewhere(message):
        return Parsed(counted=("not_private",))
    heading = _heading(update, message)
    if heading is None:
        raise PayloadInvalid("a message without id, chat or author")
    if _is_service_note(message):
        return Parsed(counted=("service_note",))
    content = to_content(message) if unknown_as is None else to_placeholder(unknown_as, message)
    said = text(message.get("text")) or ""
    start = _START.fullmatch(said)
    reply = node(message.get("reply_to_message"))
    reply_id = json_integer(reply.get("message_id"))
    return Parsed(
        events=(
            MessageReceived(
                **_common(
                    update, heading, f"{heading.contact.key}:{heading.message_id}", "message.received.v1"
                ),
                contact=heading.contact,
                provider_id=str(heading.message_id),
                provider_seq=heading.message_id,
                sent_at=_moment(message.get("date"), update.request.received_at),
                content=content,
                reply_to_provider_id=None if reply_id is None else str(reply_id),
                start_payload=None if start is None else start.group(1) or "",
                group_id=short(message.get("media_group_id"), payloads.WORD_MAX_CHARS),
                pressed=None,
                is_standby=False,
            ),
        )
    )


def _to_edit(update: _Update, payload: object) -> Parsed:
    message = node(payload)
    if _is_elsewhere(message):
        return Parsed(counted=("not_private",))
    heading = _heading(update, message)
    if heading is None:
        raise PayloadInvalid("an edited message without id, chat or author")
    if json_integer(node(message.get("location")).get("live_period")) is not None:
        # Each move of a live location is an edit.
        return Parsed(counted=("live_location",))
    edit_date = json_integer(message.get("edit_date"))
    # Two edits within a second have one edit_date, so the update counts too.
    key = f"{heading.contact.key}:{heading.message_id}:{edit_date}:{update.update_id}"
    return Parsed(
        events=(
            MessageEdited(
                **_common(update, heading, key, "message.edited.v1"),
                contact=heading.contact,
                provider_id=str(heading.message_id),
                edited_at=_moment(edit_date, update.request.received_at),
                content=to_content(message),
            ),
        )
    )


def _to_press(update: _Update, payload: object) -> Parsed:
    """A button under a message of ours. Its data may be forged: whoever acts on it must check.

    Source: core.telegram.org/bots/api#callbackquery; fact sheet 1.4.
    """
    query = node(payload)
    query_id, value = text(query.get("id")), text(query.get("data"))
    if not query_id:
        raise PayloadInvalid("a press without an id")
    # Answered whatever it is: the client sees a spinner until then.
    acknowledge = (query_id,)
    carrier = node(query.get("message"))
    if _is_elsewhere(carrier) or not carrier:
        return Parsed(counted=("not_private",), acknowledge=acknowledge)
    if value is None:
        return Parsed(counted=("press_without_data",), acknowledge=acknowledge)
    contact = _contact({"from": query.get("from"), "chat": carrier.get("chat")})
    if contact is None:
        raise PayloadInvalid("a press without an author")
    carrier_id = json_integer(carrier.get("message_id"))
    heading = _Heading(0, contact, conversation_id(update.account.channel_id, contact.key))
    # Presses have numbers of their own; the prefix keeps them apart from those of messages.
    provider_id = f"{payloads.PRESS_PREFIX}{query_id[: payloads.WORD_MAX_CHARS]}"
    return Parsed(
        events=(
            MessageReceived(
                **_common(update, heading, f"{contact.key}:{provider_id}", "message.received.v1"),
                contact=contact,
                provider_id=provider_id,
                provider_seq=update.update_id or 0,
                # A press has no time of its own; the date is that of the message with the button.
                sent_at=update.request.received_at,
                content=Content(
                    kind=MessageKind.TEXT,
                    text=_title(carrier, value),
                    entities=[],
                    media=[],
                    place=None,
                    shared_contact=None,
                    shared_link=None,
                    unsupported=None,
                ),
                reply_to_provider_id=None,
                start_payload=None,
                group_id=None,
                pressed=ButtonPress(
                    value=value, message_provider_id=None if carrier_id is None else str(carrier_id)
                ),
                is_standby=False,
            ),
        ),
        acknowledge=acknowledge,
    )


def _title(carrier: Node, value: str) -> str:
    """What stands on the pressed button; its value if Telegram does not show the message any more."""
    for row in items(node(carrier.get("reply_markup")).get("inline_keyboard")):
        for button in items(row):
            if is_node(button) and button.get("callback_data") == value:
                return text(button.get("text")) or value
    return value


def _to_availability(update: _Update, payload: object) -> Parsed:
    change = node(payload)
    if _is_elsewhere(change):
        return Parsed(counted=("not_private",))
    contact = _contact(change)
    status = text(node(change.get("new_chat_member")).get("status"))
    if contact is None or status is None:
        raise PayloadInvalid("a change of membership without chat or status")
    if status not in {"member", "kicked"}:
        return Parsed(counted=("my_chat_member",))
    heading = _Heading(0, contact, conversation_id(update.account.channel_id, contact.key))
    date = json_integer(change.get("date"))
    key = f"{contact.key}:{date}:{update.update_id}"
    return Parsed(
        events=(
            ContactAvailability(
                **_common(update, heading, key, "contact.availability.v1"),
                contact=contact,
                available=status == "member",
                happened_at=_moment(date, update.request.received_at),
            ),
        )
    )


_TRANSLATORS: dict[str, Callable[[_Update, object], Parsed]] = {
    "message": _to_message,
    "edited_message": _to_edit,
    "my_chat_member": _to_availability,
    "callback_query": _to_press,
}


def _common(update: _Update, heading: _Heading, provider_key: str, event_type: str) -> dict[str, Any]:
    return event_fields(
        update.account,
        update.request,
        conversation_id=heading.conversation_id,
        provider_key=provider_key,
        event_type=event_type,
        raw=update.raw,
    )


def _is_elsewhere(message: Node) -> bool:
    """Groups and channels: not a dialogue with a client."""
    return text(node(message.get("chat")).get("type")) in {"group", "supergroup", "channel"}


def _is_service_note(message: Node) -> bool:
    content_keys = message.keys() - payloads.ENVELOPE_KEYS
    return bool(content_keys) and content_keys <= payloads.SERVICE_NOTES


def _heading(update: _Update, message: Node) -> _Heading | None:
    message_id = json_integer(message.get("message_id"))
    contact = _contact(message)
    if message_id is None or contact is None:
        return None
    return _Heading(message_id, contact, conversation_id(update.account.channel_id, contact.key))


def _contact(message: Node) -> Contact | None:
    """Who wrote. In a private chat the chat's id is the person's id, so either of the two will do."""
    person, chat = node(message.get("from")), node(message.get("chat"))
    person_id = json_integer(person.get("id"))
    if person_id is None or person_id <= 0:
        person_id = json_integer(chat.get("id"))
    if person_id is None or person_id <= 0:
        return None
    named = person if text(person.get("first_name")) else chat
    names = [text(named.get(part)) or "" for part in ("first_name", "last_name")]
    name = " ".join(part.strip() for part in names if part.strip())[: payloads.NAME_MAX_CHARS]
    username = short(person.get("username"), payloads.WORD_MAX_CHARS) or short(
        chat.get("username"), payloads.WORD_MAX_CHARS
    )
    return Contact(
        key=str(person_id),
        name=name or username or "",
        username=username,
        phone=own_phone(message, person_id),
        language=short(person.get("language_code"), payloads.WORD_MAX_CHARS),
    )


def _moment(value: object, otherwise: datetime) -> datetime:
    seconds = json_integer(value)
    if seconds is None or not 0 < seconds <= _DATE_MAX:
        return otherwise
    return datetime.fromtimestamp(seconds, UTC)


def _reason(exc: ValueError) -> str:
    # The parser's words only: they name the fault and its place, never the content.
    return str(exc)[:200]
