"""What a Viber message says: text, files, places, cards. Pure, and what is odd becomes a placeholder."""

from __future__ import annotations

import re
from collections.abc import Callable

from ingest_viber.payloads import NAME_MAX_CHARS, TEXT_KEPT_CHARS, URL_MAX_CHARS, WORD_MAX_CHARS
from msgkit.connector.raw import Node, integer, json_number, node, short, text, utf16_units
from msgkit.contracts.events import Content, MediaRef, Place, SharedContact, TextEntity
from msgkit.contracts.words import MessageKind

STICKER_URL = "https://viber.github.io/docs/img/stickers/{id}.png"
"""The picture of a sticker that came without an address. Source: fact sheet 3.5."""

_FILE_NAME_MAX_CHARS = 255
_PLACE_MAX_CHARS = 500
_NAMELESS_CARD = "Контакт"
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_PHONE_DIGITS = re.compile(r"[1-9][0-9]{6,14}")
"""E.164 has at most 15 digits; the shortest numbers in use have 7."""
_UKRAINIAN = re.compile(r"380[0-9]{9}")
_LEAST_MS = 1000
"""Durations come in milliseconds, the docs say seconds: nobody sends a video below a second or above a
quarter of an hour. Source: fact sheet 0.9."""


def to_content(message: Node, *, phone_asked: bool = False) -> Content:
    """What this message says.

    Args:
        message: `message` of the callback, raw.
        phone_asked: our last message had a button that shares the client's own number.

    Source: fact sheet 3.5.
    """
    kind = text(message.get("type"))
    if kind == "contact":
        found = _card(message, phone_asked=phone_asked)
    else:
        reader = _READERS.get(kind or "")
        found = None if reader is None else reader(message)
    return found or to_placeholder(kind or "empty", message)


def to_text(said: str) -> Content:
    """A plain text."""
    return _content(MessageKind.TEXT, said)


def to_placeholder(name: str, message: Node) -> Content:
    """What we cannot show yet, by Viber's own name, with the words that stand beside it."""
    return _content(MessageKind.UNSUPPORTED, _said(message), unsupported=name[:WORD_MAX_CHARS])


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


def _said(message: Node) -> str:
    return (text(message.get("text")) or "")[:TEXT_KEPT_CHARS]


def _text(message: Node) -> Content | None:
    return None if text(message.get("text")) is None else to_text(_said(message))


def _link(message: Node) -> Content | None:
    """A link of its own; the words beside it stay."""
    url = _address(message.get("media"))
    said = _said(message)
    if url is None:
        return to_text(said) if said else None
    if url in said:
        return to_text(said)
    shown = f"{said}\n{url}" if said else url
    length = utf16_units(url)
    entity = TextEntity(kind="url", offset=utf16_units(shown) - length, length=length, url=None)
    return _content(MessageKind.TEXT, shown, entities=[entity])


# --- files


def _file_as(kind: MessageKind) -> Callable[[Node], Content | None]:
    return lambda message: _with_file(message, kind, _address(message.get("media")))


def _sticker(message: Node) -> Content | None:
    sticker_id = integer(message.get("sticker_id"))
    url = _address(message.get("media"))
    if url is None and sticker_id is not None and sticker_id >= 0:
        url = STICKER_URL.format(id=sticker_id)
    return _with_file(message, MessageKind.STICKER, url)


def _with_file(message: Node, kind: MessageKind, url: str | None) -> Content | None:
    if url is None:
        return None
    name = short(message.get("file_name"), _FILE_NAME_MAX_CHARS)
    size = integer(message.get("size"))
    if size is None:
        size = integer(message.get("file_size"))  # as the docs call it
    media = MediaRef(
        ref=url,
        kind=kind,
        name=None if name == "null" else name,
        mime=None,
        size_bytes=size if size is not None and size >= 0 else None,
        width=None,
        height=None,
        duration_s=_seconds(message.get("duration")) if kind is MessageKind.VIDEO else None,
    )
    return _content(kind, _said(message), media=[media])


def _address(value: object) -> str | None:
    url = text(value)
    return url if url and len(url) <= URL_MAX_CHARS and _URL.fullmatch(url) else None


def _seconds(value: object) -> float | None:
    duration = json_number(value)
    if duration is None or duration < 0:
        return None
    return duration / 1000 if duration >= _LEAST_MS else duration


# --- places and cards


def _place(message: Node) -> Content | None:
    location = node(message.get("location"))
    latitude, longitude = _degrees(location.get("lat"), 90), _degrees(location.get("lon"), 180)
    if latitude is None or longitude is None:
        return None
    address = short(location.get("address"), _PLACE_MAX_CHARS)
    place = Place(latitude=latitude, longitude=longitude, title=None, address=address)
    return _content(MessageKind.LOCATION, "", place=place)


def _degrees(value: object, most: float) -> float | None:
    found = json_number(value)
    if found is None and isinstance(value, str):
        try:
            found = float(value[:WORD_MAX_CHARS])
        except ValueError:
            return None
    # Also refuses what is no number at all.
    return found if found is not None and -most <= found <= most else None


def _card(message: Node, *, phone_asked: bool) -> Content | None:
    card = node(message.get("contact"))
    phone = _phone(card.get("phone_number"), is_own=phone_asked)
    name = " ".join((text(card.get("name")) or "").split())
    if phone is None and not name:
        return None
    shared = SharedContact(
        name=name[:NAME_MAX_CHARS] or _NAMELESS_CARD,
        phone=phone,
        # Nothing in a card proves whose it is: only that we asked for the client's own number just before.
        is_own=phone_asked and phone is not None and phone.startswith("+"),
    )
    return _content(MessageKind.CONTACT, "", shared_contact=shared)


def _phone(value: object, *, is_own: bool) -> str | None:
    """E.164 where it is certain, else as it came.

    The number of a Viber account is international, with or without its plus; one from an address book may be
    written in any way.
    """
    came = str(value) if type(value) is int and value > 0 else short(value, WORD_MAX_CHARS)
    if came is None:
        return None
    came = came[:WORD_MAX_CHARS]
    digits = re.sub(r"[\s().\-]", "", came)
    is_international = digits.startswith("+") or is_own or _UKRAINIAN.fullmatch(digits) is not None
    digits = digits.removeprefix("+")
    return f"+{digits}" if is_international and _PHONE_DIGITS.fullmatch(digits) else came


_READERS: dict[str, Callable[[Node], Content | None]] = {
    "text": _text,
    "url": _link,
    "picture": _file_as(MessageKind.IMAGE),
    "video": _file_as(MessageKind.VIDEO),
    "file": _file_as(MessageKind.FILE),
    "sticker": _sticker,
    "location": _place,
}
