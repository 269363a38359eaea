"""Our message becomes Meta's calls: files, then the text with its buttons. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ingest_meta.bodies import Request
from ingest_meta.files import File, to_file
from ingest_meta.flavours import Flavour, flavour_of
from ingest_meta.keyboards import Keyboard, to_keyboard, to_template
from ingest_meta.payloads import TEMPLATE_TEXT_MAX_CHARS
from ingest_meta.texts import INSTAGRAM_ROOM, MESSENGER_ROOM, cut_end, split_text
from msgkit.connector.contract import Account, send_mark
from msgkit.connector.errors import MessageRejected
from msgkit.connector.raw import Node
from msgkit.contracts.events import Place, SendMessage, SharedContact
from msgkit.contracts.words import AuthorKind, FailureCode

_HEARTS = frozenset({"❤", "♥"})
_VARIATIONS = "\ufe0e\ufe0f"


@dataclass(frozen=True, slots=True)
class _Part:
    message: dict[str, Any]
    file: File | None = None


def to_requests(message: SendMessage, account: Account) -> list[Request]:
    """The calls for one answer; a reply mark stands on the first, the buttons on the last.

    Text or a file, never both in one message: a caption goes out as a text after its file.

    Args:
        message: its `contact_key` is the client's PSID or IGSID.
        account: the page or the Instagram account that writes.

    Raises:
        MessageRejected: nothing to say, or something the messenger does not take.

    Source: fact sheet 2.2, 2.4.
    """
    flavour = flavour_of(account)
    plain = Request(
        recipient=message.contact_key,
        mark=send_mark(message.message_id, 0),
        message={},
        is_by_person=message.author_kind is AuthorKind.OPERATOR,
        client_wrote_at=message.client_wrote_at,
    )
    if message.is_reaction:
        return [replace(plain, action=_reaction(message, flavour))]
    requests = [
        replace(plain, mark=send_mark(message.message_id, n), message=part.message, file=part.file)
        for n, part in enumerate(_parts(message, flavour))
    ]
    if message.reply_to_provider_id:
        requests[0] = replace(requests[0], reply_to=message.reply_to_provider_id)
    return requests


def _parts(message: SendMessage, flavour: Flavour) -> list[_Part]:
    room = INSTAGRAM_ROOM if flavour.is_instagram else MESSENGER_ROOM
    keyboard = to_keyboard(message.buttons, is_instagram=flavour.is_instagram)
    files = [to_file(media, is_instagram=flavour.is_instagram) for media in message.media]
    told = [
        message.text.strip(),
        _of_place(message.place),
        _of_contact(message.shared_contact),
        keyboard.lines,
    ]
    texts = split_text("\n\n".join(filter(None, told)), room)
    if not texts and not keyboard.is_empty:
        texts = [keyboard.prompt]
    parts = [_Part({}, file) for file in files]
    parts += [_Part(said) for said in _texts(texts, keyboard)]
    if not parts:
        raise MessageRejected(FailureCode.REJECTED, "Порожнє повідомлення: напишіть текст.")
    return parts


def _texts(texts: Sequence[str], keyboard: Keyboard) -> list[dict[str, Any]]:
    if not texts:
        return []
    *before, last = texts
    if keyboard.links:
        head, last = cut_end(last, TEMPLATE_TEXT_MAX_CHARS)
        before += [head] if head else []
        final = to_template(last, keyboard.links)
    elif keyboard.quick_replies:
        final = {"text": last, "quick_replies": list(keyboard.quick_replies)}
    else:
        final = {"text": last}
    return [*({"text": said} for said in before), final]


def _reaction(message: SendMessage, flavour: Flavour) -> Node:
    """The action that puts a sign on a message, or takes ours off.

    Source: fact sheet 2.2: `unreact` names no sign; Instagram's own login knows `love` alone.
    """
    if not message.reply_to_provider_id:
        raise MessageRejected(
            FailureCode.REJECTED, "Реакцію немає до чого поставити: виберіть повідомлення клієнта."
        )
    payload = {"message_id": message.reply_to_provider_id}
    sign = message.text.strip()
    if not sign:
        return {"sender_action": "unreact", "payload": payload}
    if flavour is Flavour.INSTAGRAM_LOGIN:
        if sign.strip(_VARIATIONS) not in _HEARTS:
            raise MessageRejected(
                FailureCode.UNSUPPORTED_KIND,
                "Цей акаунт Instagram ставить лише реакцію ❤. Виберіть її або дайте відповідь текстом.",
            )
        sign = "love"
    return {"sender_action": "react", "payload": {**payload, "reaction": sign}}


def _of_place(place: Place | None) -> str:
    """No message of Meta's sends a place: its words and an address that opens a map."""
    if place is None:
        return ""
    at = f"{place.latitude:.6f},{place.longitude:.6f}"
    named = [part for part in (place.title, place.address) if part]
    return "\n".join([*named, f"https://www.google.com/maps?q={at}"])


def _of_contact(contact: SharedContact | None) -> str:
    """No message of Meta's sends a card (fact sheet 1.2): name and number in words."""
    if contact is None:
        return ""
    return "\n".join(filter(None, (" ".join(contact.name.split()), contact.phone)))
