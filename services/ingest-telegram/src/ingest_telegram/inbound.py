"""A Telegram update becomes our events. Pure, and never fails: what is odd becomes a placeholder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

from ingest_telegram import payloads
from ingest_telegram.payloads import Node, integer, is_node, items, node, number, text
from msgkit.connector.contract import Account, Parsed, WebhookRequest
from msgkit.connector.errors import PayloadInvalid
from msgkit.contracts.events import (
    RAW_LIMIT_BYTES,
    Contact,
    ContactAvailability,
    Content,
    MediaRef,
    MessageEdited,
    MessageReceived,
    TextEntity,
)
from msgkit.contracts.ids import conversation_id, inbound_event_id
from msgkit.contracts.words import MessageKind

_NAME_MAX_CHARS = 256
_WORD_MAX_CHARS = 64
_FILE_NAME_MAX_CHARS = 255
_ENTITIES_MAX = 1000
_DATE_MAX = 253_402_300_799
"""The last second of the year 9999: what a datetime can say."""
_START = re.compile(rf"/start(?:@\w+)?(?: +([A-Za-z0-9_-]{{1,{payloads.START_PAYLOAD_MAX_CHARS}}}))?\s*")
_NAMELESS = "Без імені"


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
    update = _Update(integer(whole.get("update_id")), raw, request, account)
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
    content = _content(message) if unknown_as is None else _unsupported(unknown_as, message)
    said = text(message.get("text")) or ""
    start = _START.fullmatch(said)
    reply = node(message.get("reply_to_message"))
    reply_id = integer(reply.get("message_id"))
    return Parsed(
        events=(
            MessageReceived(
                type="message.received.v1",
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
                group_id=_short(message.get("media_group_id"), _WORD_MAX_CHARS),
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
    if integer(node(message.get("location")).get("live_period")) is not None:
        # Each move of a live location is an edit.
        return Parsed(counted=("live_location",))
    edit_date = integer(message.get("edit_date"))
    # Two edits within a second have one edit_date, so the update counts too.
    key = f"{heading.contact.key}:{heading.message_id}:{edit_date}:{update.update_id}"
    return Parsed(
        events=(
            MessageEdited(
                type="message.edited.v1",
                **_common(update, heading, key, "message.edited.v1"),
                contact=heading.contact,
                provider_id=str(heading.message_id),
                edited_at=_moment(edit_date, update.request.received_at),
                content=_content(message),
            ),
        )
    )


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
    date = integer(change.get("date"))
    key = f"{contact.key}:{date}:{update.update_id}"
    return Parsed(
        events=(
            ContactAvailability(
                type="contact.availability.v1",
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
}


def _common(update: _Update, heading: _Heading, provider_key: str, event_type: str) -> dict[str, Any]:
    account = update.account
    return {
        "event_id": inbound_event_id(account.kind, account.channel_id, provider_key, event_type),
        "tenant_id": account.tenant_id,
        "channel_id": account.channel_id,
        "channel_kind": account.kind,
        "recorded_at": update.request.received_at,
        "conversation_id": heading.conversation_id,
        "webhook_id": update.request.webhook_id,
        "raw": update.raw,
    }


def _is_elsewhere(message: Node) -> bool:
    """Groups and channels: not a dialogue with a client."""
    return text(node(message.get("chat")).get("type")) in {"group", "supergroup", "channel"}


def _is_service_note(message: Node) -> bool:
    content_keys = message.keys() - payloads.ENVELOPE_KEYS
    return bool(content_keys) and content_keys <= payloads.SERVICE_NOTES


def _heading(update: _Update, message: Node) -> _Heading | None:
    message_id = integer(message.get("message_id"))
    contact = _contact(message)
    if message_id is None or contact is None:
        return None
    return _Heading(message_id, contact, conversation_id(update.account.channel_id, contact.key))


def _contact(message: Node) -> Contact | None:
    """Who wrote. In a private chat the chat's id is the person's id, so either of the two will do."""
    person, chat = node(message.get("from")), node(message.get("chat"))
    person_id = integer(person.get("id"))
    if person_id is None or person_id <= 0:
        person_id = integer(chat.get("id"))
    if person_id is None or person_id <= 0:
        return None
    named = person if text(person.get("first_name")) else chat
    names = [text(named.get(part)) or "" for part in ("first_name", "last_name")]
    name = " ".join(part.strip() for part in names if part.strip())[:_NAME_MAX_CHARS]
    username = _short(person.get("username"), _WORD_MAX_CHARS) or _short(
        chat.get("username"), _WORD_MAX_CHARS
    )
    card = node(message.get("contact"))
    # Only a card of the sender proves a number; anybody may forward somebody else's.
    own_number = integer(card.get("user_id")) == person_id
    return Contact(
        key=str(person_id),
        name=name or username or _NAMELESS,
        username=username,
        phone=_short(card.get("phone_number"), _WORD_MAX_CHARS) if own_number else None,
        language=_short(person.get("language_code"), _WORD_MAX_CHARS),
    )


def _content(message: Node) -> Content:
    said = text(message.get("text"))
    if said is not None:
        return Content(
            kind=MessageKind.TEXT,
            text=said,
            entities=_entities(message.get("entities")),
            media=[],
            unsupported=None,
        )
    for key, read in _MEDIA:
        if is_node(message.get(key)) or (key == "photo" and isinstance(message.get(key), list)):
            found = read(message)
            if found is not None:
                return found
    unknown = sorted(message.keys() - payloads.ENVELOPE_KEYS)
    return _unsupported(_unsupported_name(unknown), message)


def _unsupported_name(keys: list[str]) -> str:
    # Next to a novelty there may be service keys; whatever comes first names it well enough.
    return keys[0][:_WORD_MAX_CHARS] if keys else "empty"


def _unsupported(name: str, message: Node) -> Content:
    said, caption = text(message.get("text")), text(message.get("caption"))
    return Content(
        kind=MessageKind.UNSUPPORTED,
        text=said or caption or "",
        entities=_entities(message.get("entities" if said else "caption_entities")),
        media=[],
        unsupported=name[:_WORD_MAX_CHARS],
    )


def _with_media(message: Node, kind: MessageKind, file: Node) -> Content | None:
    ref = text(file.get("file_id"))
    if ref is None:
        return None
    duration = number(file.get("duration"))
    return Content(
        kind=kind,
        text=text(message.get("caption")) or "",
        entities=_entities(message.get("caption_entities")),
        media=[
            MediaRef(
                ref=ref,
                kind=kind,
                name=_short(file.get("file_name"), _FILE_NAME_MAX_CHARS),
                mime=_short(file.get("mime_type"), _FILE_NAME_MAX_CHARS),
                size_bytes=_natural(file.get("file_size")),
                width=_natural(file.get("width")) or _natural(file.get("length")),
                height=_natural(file.get("height")) or _natural(file.get("length")),
                duration_s=duration if duration is not None and duration >= 0 else None,
            )
        ],
        unsupported=None,
    )


def _file_under(key: str, kind: MessageKind) -> Callable[[Node], Content | None]:
    return lambda message: _with_media(message, kind, node(message.get(key)))


def _photo(message: Node) -> Content | None:
    # Sizes rise; the last is the largest.
    sizes = [size for size in items(message.get("photo")) if is_node(size) and text(size.get("file_id"))]
    return _with_media(message, MessageKind.IMAGE, sizes[-1]) if sizes else None


def _sticker(message: Node) -> Content | None:
    content = _with_media(message, MessageKind.STICKER, node(message.get("sticker")))
    emoji = text(node(message.get("sticker")).get("emoji"))
    return content if content is None else content.model_copy(update={"text": emoji or ""})


def _place(message: Node) -> Content | None:
    venue = node(message.get("venue"))
    location = node(message.get("location")) or node(venue.get("location"))
    latitude, longitude = number(location.get("latitude")), number(location.get("longitude"))
    if latitude is None or longitude is None:
        return None
    lines = [text(venue.get("title")), text(venue.get("address")), f"{latitude:.6f}, {longitude:.6f}"]
    return _plain(MessageKind.LOCATION, "\n".join(line for line in lines if line))


def _card(message: Node) -> Content | None:
    card = node(message.get("contact"))
    name = " ".join(filter(None, (text(card.get("first_name")), text(card.get("last_name")))))
    phone = text(card.get("phone_number"))
    return None if phone is None else _plain(MessageKind.CONTACT, f"{name} {phone}".strip())


def _plain(kind: MessageKind, said: str) -> Content:
    return Content(kind=kind, text=said, entities=[], media=[], unsupported=None)


_MEDIA: tuple[tuple[str, Callable[[Node], Content | None]], ...] = (
    # The order matters: an animation also fills `document`, a live photo `photo`, a venue `location`.
    ("animation", _file_under("animation", MessageKind.VIDEO)),
    ("video", _file_under("video", MessageKind.VIDEO)),
    ("video_note", _file_under("video_note", MessageKind.VIDEO)),
    ("photo", _photo),
    ("voice", _file_under("voice", MessageKind.VOICE)),
    ("audio", _file_under("audio", MessageKind.AUDIO)),
    ("document", _file_under("document", MessageKind.FILE)),
    ("sticker", _sticker),
    ("venue", _place),
    ("location", _place),
    ("contact", _card),
)


def _entities(value: object) -> list[TextEntity]:
    """Marked spans in UTF-16 code units, as Telegram counts and as we keep them; odd ones are left out."""
    found = []
    for entity in items(value)[:_ENTITIES_MAX]:
        kind = text(node(entity).get("type"))
        offset, length = _natural(node(entity).get("offset")), _natural(node(entity).get("length"))
        if kind is None or offset is None or not length:
            continue
        url = text(node(entity).get("url"))
        found.append(TextEntity(kind=kind[:_WORD_MAX_CHARS], offset=offset, length=length, url=url))
    return found


def _moment(value: object, otherwise: datetime) -> datetime:
    seconds = integer(value)
    if seconds is None or not 0 < seconds <= _DATE_MAX:
        return otherwise
    return datetime.fromtimestamp(seconds, UTC)


def _natural(value: object) -> int | None:
    found = integer(value)
    return found if found is not None and found >= 0 else None


def _short(value: object, max_chars: int) -> str | None:
    found = text(value)
    return found[:max_chars] if found else None


def _reason(exc: ValueError) -> str:
    # The parser's words only: they name the fault and its place, never the content.
    return str(exc)[:200]
