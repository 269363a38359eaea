"""What a WhatsApp message says: text, files, places, cards, answers. Pure; what is odd is a placeholder."""

from __future__ import annotations

import re
from collections.abc import Callable

from pydantic_core import from_json

from ingest_whatsapp.keyboards import read_reply_id
from ingest_whatsapp.payloads import NAME_MAX_CHARS, TEXT_KEPT_CHARS, WORD_MAX_CHARS, digits_of, file_key
from ingest_whatsapp.phones import e164, same_phone, wa_id
from ingest_whatsapp.refusals import to_reason
from msgkit.connector.raw import Node, is_node, items, node, number, short, text, words
from msgkit.contracts.events import Content, MediaRef, Place, SharedContact
from msgkit.contracts.words import MessageKind

MEDIA_PLACEHOLDER = "media_placeholder"
"""Stands in the history for a file whose id follows, or does not. Source: fact sheet 1.4."""

_PLACE_MAX_CHARS = 500
_URL_MAX_CHARS = 2048
_LINES_MAX = 100
_NAMELESS_CARD = "Контакт"
_FLOW_OWN_FIELDS = frozenset({"flow_token"})
_URL = re.compile(r"https?://\S+", re.IGNORECASE)

_EDITED = (
    "Клієнт змінив одне зі своїх повідомлень, але WhatsApp не передає нового тексту. "
    "Якщо важливо, перепитайте."
)
_NOT_TOLD = "WhatsApp не передав, що саме надіслав клієнт. Попросіть написати словами."


def to_content(message: Node, *, senders_phone: str | None = None) -> Content:
    """What this message says.

    Args:
        message: an element of `messages[]` or `message_echoes[]`, or what an edit has inside.
        senders_phone: wa_id of who wrote it, if it is known: a card with it is his own.

    Source: fact sheet 1.4.
    """
    kind = text(message.get("type")) or "empty"
    if kind == "contacts":
        found = _cards(message, senders_phone)
    elif kind == "interactive":
        return _interactive(message)
    else:
        reader = _READERS.get(kind)
        found = None if reader is None else reader(message)
    return found or to_placeholder(kind, message)


def to_text(said: str) -> Content:
    """A plain text."""
    return _content(MessageKind.TEXT, said[:TEXT_KEPT_CHARS])


def to_placeholder(kind: str, message: Node) -> Content:
    """What cannot be shown, by WhatsApp's own name, with the reason and what to do."""
    named = words(node(message.get("unsupported")).get("type"), WORD_MAX_CHARS)
    if kind != "unsupported" or named is None:
        named = kind
    if kind == MEDIA_PLACEHOLDER:
        # The file may follow: nothing to do about it yet.
        return _content(MessageKind.UNSUPPORTED, "", unsupported=kind)
    reason = to_reason(message.get("errors"))
    if kind == "unsupported":
        reason = _EDITED if named == "edit" else reason or _NOT_TOLD
    caption = short(node(message.get(kind)).get("caption"), TEXT_KEPT_CHARS)
    said = "\n".join(part for part in (caption, reason) if part)
    return _content(MessageKind.UNSUPPORTED, said, unsupported=named[:WORD_MAX_CHARS])


def reply_value(message: Node) -> str | None:
    """What the pressed button or the chosen row carries; None for a message that is no press."""
    kind = message.get("type")
    if kind == "button":
        button = node(message.get("button"))
        return short(button.get("payload"), NAME_MAX_CHARS) or short(button.get("text"), NAME_MAX_CHARS)
    if kind != "interactive":
        return None
    interactive = node(message.get("interactive"))
    reply = node(interactive.get("button_reply")) or node(interactive.get("list_reply"))
    reply_id = short(reply.get("id"), NAME_MAX_CHARS)
    return None if reply_id is None else read_reply_id(reply_id)


def own_phone(content: Content) -> str | None:
    """The number in E.164 if the client shared his own."""
    shared = content.shared_contact
    return None if shared is None or not shared.is_own else shared.phone


def _content(
    kind: MessageKind,
    said: str,
    *,
    media: list[MediaRef] | None = None,
    place: Place | None = None,
    shared_contact: SharedContact | None = None,
    unsupported: str | None = None,
) -> Content:
    return Content(
        kind=kind,
        text=said[:TEXT_KEPT_CHARS],
        entities=[],
        media=media or [],
        place=place,
        shared_contact=shared_contact,
        shared_link=None,
        unsupported=unsupported,
    )


def _text(message: Node) -> Content | None:
    body = text(node(message.get("text")).get("body"))
    return None if body is None else to_text(body)


# --- files


def _file_as(name: str, kind: MessageKind) -> Callable[[Node], Content | None]:
    return lambda message: _with_file(node(message.get(name)), kind)


def _audio(message: Node) -> Content | None:
    told = node(message.get("audio"))
    return _with_file(told, MessageKind.VOICE if told.get("voice") is True else MessageKind.AUDIO)


def _with_file(told: Node, kind: MessageKind) -> Content | None:
    key = file_key(told)
    if key is None:
        return None
    media = MediaRef(
        ref=key.to_ref(),
        kind=kind,
        name=key.name,
        mime=key.mime,
        size_bytes=None,
        width=None,
        height=None,
        duration_s=None,
    )
    return _content(kind, text(told.get("caption")) or "", media=[media])


# --- places and cards


def _place(message: Node) -> Content | None:
    told = node(message.get("location"))
    latitude, longitude = _degrees(told.get("latitude"), 90), _degrees(told.get("longitude"), 180)
    if latitude is None or longitude is None:
        return None
    place = Place(
        latitude=latitude,
        longitude=longitude,
        title=words(told.get("name"), _PLACE_MAX_CHARS),
        address=words(told.get("address"), _PLACE_MAX_CHARS),
    )
    url = text(told.get("url")) or ""
    is_link = len(url) <= _URL_MAX_CHARS and _URL.fullmatch(url)
    return _content(MessageKind.LOCATION, url if is_link else "", place=place)


def _degrees(value: object, most: float) -> float | None:
    found = number(value)
    # Also refuses what is no number at all.
    return found if found is not None and -most <= found <= most else None


def _cards(message: Node, senders_phone: str | None) -> Content | None:
    """The first card as a card; several of them all as text as well."""
    asked = message.get("origin") == "contact_request"
    cards = [card for told in items(message.get("contacts")) if (card := _card(told, senders_phone, asked))]
    if not cards:
        return None
    lines = [f"{card.name}: {card.phone}" if card.phone else card.name for card in cards[:_LINES_MAX]]
    said = "\n".join(lines) if len(cards) > 1 else ""
    return _content(MessageKind.CONTACT, said, shared_contact=cards[0])


def _card(told: object, senders_phone: str | None, asked: bool) -> SharedContact | None:
    if not is_node(told):
        return None
    name = node(told.get("name"))
    parts = (words(name.get(part), NAME_MAX_CHARS) for part in ("first_name", "last_name"))
    called = words(name.get("formatted_name"), NAME_MAX_CHARS) or " ".join(part for part in parts if part)
    called = called or words(node(told.get("org")).get("company"), NAME_MAX_CHARS) or ""
    phone, is_own = None, False
    for one in items(told.get("phones")):
        shown = short(node(one).get("phone"), WORD_MAX_CHARS)
        # Only a number on WhatsApp has a wa_id; another one may be written in any way.
        on_whatsapp = wa_id(digits_of(node(one).get("wa_id")))
        digits = on_whatsapp or (wa_id(digits_of(shown)) if shown and shown.startswith("+") else None)
        proved = same_phone(digits, senders_phone) or (asked and on_whatsapp is not None)
        dialled = e164(digits)
        own = proved and dialled is not None
        if phone is None or (own and not is_own):
            phone, is_own = dialled or shown or phone, own
    if phone is None and not called:
        return None
    return SharedContact(name=called[:NAME_MAX_CHARS] or _NAMELESS_CARD, phone=phone, is_own=is_own)


# --- answers to what we sent


def _button(message: Node) -> Content | None:
    title = short(node(message.get("button")).get("text"), TEXT_KEPT_CHARS)
    return None if title is None else to_text(title)


def _interactive(message: Node) -> Content:
    told = node(message.get("interactive"))
    reply = node(told.get("button_reply")) or node(told.get("list_reply"))
    title = short(reply.get("title"), TEXT_KEPT_CHARS)
    if title is not None:
        return to_text(title)
    form = told.get("nfm_reply")
    filled = _form(form) if is_node(form) else ""
    if filled:
        return to_text(filled)
    # A bad one comes without a body, with the error beside the message (fact sheet 1.4).
    return to_placeholder(words(told.get("type"), WORD_MAX_CHARS) or "interactive", message)


def _form(told: Node) -> str:
    """A form the client filled in, line by line."""
    try:
        fields = from_json((text(told.get("response_json")) or "")[:TEXT_KEPT_CHARS], allow_inf_nan=False)
    except ValueError:
        fields = None
    lines = [
        f"{words(name, NAME_MAX_CHARS)}: {_shown(value)}"
        for name, value in node(fields).items()
        if name not in _FLOW_OWN_FIELDS and words(name, NAME_MAX_CHARS)
    ]
    return "\n".join(lines[:_LINES_MAX]) or short(told.get("body"), TEXT_KEPT_CHARS) or ""


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "так" if value else "ні"
    if isinstance(value, str | int | float):
        return str(value)[:TEXT_KEPT_CHARS]
    if isinstance(value, list):
        return ", ".join(_shown(one) for one in value[:_LINES_MAX] if isinstance(one, str | int | float))
    return "…" if value else ""


def _order(message: Node) -> Content | None:
    """A cart from the catalogue, readable."""
    told = node(message.get("order"))
    lines = [_product(node(product)) for product in items(told.get("product_items"))[:_LINES_MAX]]
    note = short(told.get("text"), TEXT_KEPT_CHARS)
    if not any(lines) and note is None:
        return None
    return to_text("\n".join(["Замовлення:", *(line for line in lines if line), *([note] if note else [])]))


def _product(told: Node) -> str:
    name = words(told.get("product_retailer_id"), NAME_MAX_CHARS)
    if name is None:
        return ""
    count, price = number(told.get("quantity")), number(told.get("item_price"))
    currency = words(told.get("currency"), WORD_MAX_CHARS) or ""
    line = name if count is None else f"{name} × {count:g}"
    return line if price is None else f"{line}, {price:.12g} {currency}".rstrip()


_READERS: dict[str, Callable[[Node], Content | None]] = {
    "text": _text,
    "image": _file_as("image", MessageKind.IMAGE),
    "video": _file_as("video", MessageKind.VIDEO),
    "audio": _audio,
    "document": _file_as("document", MessageKind.FILE),
    "sticker": _file_as("sticker", MessageKind.STICKER),
    "location": _place,
    "button": _button,
    "order": _order,
}
