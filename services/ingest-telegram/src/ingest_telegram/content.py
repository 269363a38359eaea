"""What a Telegram message says: text, files, places, cards. Pure, and what is odd becomes a placeholder."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ingest_telegram import payloads
from msgkit.connector.raw import Node, is_node, items, json_integer, json_number, node, short, text
from msgkit.contracts.events import Content, MediaRef, Place, SharedContact, TextEntity
from msgkit.contracts.words import MessageKind

_FILE_NAME_MAX_CHARS = 255
_PLACE_MAX_CHARS = 500
_ENTITIES_MAX = 1000
_NAMELESS_CARD = "Контакт"
_PHONE_DIGITS = re.compile(r"[1-9][0-9]{6,14}")
"""E.164 has at most 15 digits; the shortest numbers in use have 7."""
_STICKER_MIMES = {"is_animated": "application/x-tgsticker", "is_video": "video/webm"}
"""What an animated or a video sticker is; any other is WEBP. Source: core.telegram.org/bots/api#sticker."""


def to_content(message: Node) -> Content:
    """What this message says.

    Args:
        message: Telegram's `Message`, raw.

    Source: core.telegram.org/bots/api#message; fact sheet 1.4.
    """
    said = text(message.get("text"))
    if said is not None:
        return _content(MessageKind.TEXT, said, entities=_entities(message.get("entities")))
    for key, read in _READERS:
        if is_node(message.get(key)) or (key == "photo" and isinstance(message.get(key), list)):
            found = read(message)
            if found is not None:
                return found
    unknown = sorted(message.keys() - payloads.ENVELOPE_KEYS)
    # Next to a novelty there may be service keys; whatever comes first names it well enough.
    return to_placeholder(unknown[0] if unknown else "empty", message)


def to_placeholder(name: str, message: Node) -> Content:
    """What we cannot show yet, by Telegram's own name, with the words that stand beside it."""
    said, caption = text(message.get("text")), text(message.get("caption"))
    return _content(
        MessageKind.UNSUPPORTED,
        said or caption or "",
        entities=_entities(message.get("entities" if said else "caption_entities")),
        unsupported=name[: payloads.WORD_MAX_CHARS],
    )


def own_phone(message: Node, person_id: int) -> str | None:
    """The sender's number if this message proves it: a card that carries the sender's own id.

    Anybody may forward somebody else's card. Source: core.telegram.org/bots/api#contact; fact sheet 1.4.
    """
    card = node(message.get("contact"))
    return _phone(card) if json_integer(card.get("user_id")) == person_id else None


def _content(
    kind: MessageKind,
    said: str,
    *,
    entities: list[TextEntity] | None = None,
    media: list[MediaRef] | None = None,
    place: Place | None = None,
    shared_contact: SharedContact | None = None,
    unsupported: str | None = None,
) -> Content:
    return Content(
        kind=kind,
        text=said,
        entities=entities or [],
        media=media or [],
        place=place,
        shared_contact=shared_contact,
        shared_link=None,
        unsupported=unsupported,
    )


# --- files


def _with_file(message: Node, kind: MessageKind, file: Node, **known: Any) -> Content | None:
    ref = text(file.get("file_id"))
    if not ref:
        return None
    duration = json_number(file.get("duration"))
    length = _natural(file.get("length"))  # a round video has one measure
    claimed: dict[str, Any] = {
        "name": short(file.get("file_name"), _FILE_NAME_MAX_CHARS),
        "mime": short(file.get("mime_type"), _FILE_NAME_MAX_CHARS),
        **known,
    }
    return _content(
        kind,
        text(message.get("caption")) or "",
        entities=_entities(message.get("caption_entities")),
        media=[
            MediaRef(
                ref=ref,
                kind=kind,
                size_bytes=_natural(file.get("file_size")),
                width=_natural(file.get("width")) or length,
                height=_natural(file.get("height")) or length,
                duration_s=duration if duration is not None and duration >= 0 else None,
                **claimed,
            )
        ],
    )


def _file_under(key: str, kind: MessageKind) -> Callable[[Node], Content | None]:
    return lambda message: _with_file(message, kind, node(message.get(key)))


def _photo(message: Node) -> Content | None:
    """The largest size; they rise, but nobody promises it."""
    sizes = [size for size in items(message.get("photo")) if is_node(size) and text(size.get("file_id"))]
    if not sizes:
        return None
    # The last of equals: a size without measures counts as nothing, and they do rise today.
    largest = max(enumerate(sizes), key=lambda numbered: (_pixels(numbered[1]), numbered[0]))[1]
    return _with_file(message, MessageKind.IMAGE, largest)


def _pixels(size: Node) -> int:
    return (_natural(size.get("width")) or 0) * (_natural(size.get("height")) or 0)


def _sticker(message: Node) -> Content | None:
    sticker = node(message.get("sticker"))
    mime = next((mime for flag, mime in _STICKER_MIMES.items() if sticker.get(flag) is True), "image/webp")
    content = _with_file(message, MessageKind.STICKER, sticker, mime=mime)
    # The emoji it stands for: shown where the picture cannot be.
    emoji = short(sticker.get("emoji"), payloads.WORD_MAX_CHARS) or ""
    return content if content is None else content.model_copy(update={"text": emoji})


# --- places and cards


def _place(message: Node) -> Content | None:
    venue = node(message.get("venue"))
    location = node(message.get("location")) or node(venue.get("location"))
    latitude, longitude = json_number(location.get("latitude")), json_number(location.get("longitude"))
    if latitude is None or longitude is None or not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return None
    place = Place(
        latitude=latitude,
        longitude=longitude,
        title=short(venue.get("title"), _PLACE_MAX_CHARS),
        address=short(venue.get("address"), _PLACE_MAX_CHARS),
    )
    return _content(MessageKind.LOCATION, "", place=place)


def _card(message: Node) -> Content | None:
    card = node(message.get("contact"))
    phone = _phone(card)
    names = [text(card.get(part)) or "" for part in ("first_name", "last_name")]
    name = " ".join(part.strip() for part in names if part.strip())
    if phone is None and not name:
        return None
    sender = json_integer(node(message.get("from")).get("id")) or json_integer(
        node(message.get("chat")).get("id")
    )
    shared = SharedContact(
        name=name[: payloads.NAME_MAX_CHARS] or _NAMELESS_CARD,
        phone=phone,
        is_own=phone is not None and sender is not None and json_integer(card.get("user_id")) == sender,
    )
    return _content(MessageKind.CONTACT, "", shared_contact=shared)


def _phone(card: Node) -> str | None:
    """E.164 where it is certain, else as it came.

    The number of a Telegram account is international, with or without its plus; one from an address book
    may be written in any way.
    """
    came = short(card.get("phone_number"), payloads.WORD_MAX_CHARS)
    if came is None:
        return None
    digits = re.sub(r"[\s().\-]", "", came)
    is_international = digits.startswith("+") or json_integer(card.get("user_id")) is not None
    digits = digits.removeprefix("+")
    return f"+{digits}" if is_international and _PHONE_DIGITS.fullmatch(digits) else came


_READERS: tuple[tuple[str, Callable[[Node], Content | None]], ...] = (
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
        found.append(TextEntity(kind=kind[: payloads.WORD_MAX_CHARS], offset=offset, length=length, url=url))
    return found


def _natural(value: object) -> int | None:
    found = json_integer(value)
    return found if found is not None and found >= 0 else None
