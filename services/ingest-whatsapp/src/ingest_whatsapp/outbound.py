"""Our message becomes WhatsApp's calls: files, a place, a card, then the text with its buttons. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from ingest_whatsapp.bodies import Request, of_file, to_recipient
from ingest_whatsapp.files import File, to_file
from ingest_whatsapp.keyboards import BODY_MAX_CHARS, extra_lines, to_interactive
from ingest_whatsapp.payloads import CAPTION_MAX_CHARS, NAME_MAX_CHARS, TEXT_MAX_CHARS
from ingest_whatsapp.templates import to_order
from msgkit.connector.contract import Account, send_mark
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import Place, SendMessage, SharedContact
from msgkit.contracts.words import FailureCode

_BORDERS = ("\n\n", "\n", " ")
"""Where a long text is cut, the best first: between paragraphs, lines, words."""
_LINK = re.compile(r"https?://\S", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Part:
    type: str
    content: Any
    file: File | None = None


def to_requests(message: SendMessage, account: Account) -> list[Request]:
    """The calls for one answer; a reply mark stands on the first, the buttons on the last.

    Args:
        message: its `contact_key` is the address by which the client is reached now.
        account: the number that writes.

    Raises:
        MessageRejected: nothing to say, or something WhatsApp does not take.

    Source: fact sheet 2.3, 2.4.
    """
    del account
    recipient = to_recipient(message.contact_key)
    if message.is_reaction:
        parts = [_reaction(message)]
    elif message.template is not None:
        parts = [_Part("template", to_order(message.template))]
    else:
        parts = _parts(message)
    requests = [
        Request(
            recipient=recipient,
            mark=send_mark(message.message_id, n),
            type=part.type,
            content=part.content,
            file=part.file,
        )
        for n, part in enumerate(parts)
    ]
    if message.reply_to_provider_id and not message.is_reaction:
        requests[0] = replace(requests[0], reply_to=message.reply_to_provider_id)
    return requests


def _parts(message: SendMessage) -> list[_Part]:
    said = "\n\n".join(filter(None, (message.text.strip(), extra_lines(message.buttons))))
    files = [to_file(media) for media in message.media]
    texts = split_text(said)
    interactive = _with_buttons(message, texts)
    caption = ""
    if len(files) == 1 and files[0].takes_caption and interactive is None and len(texts) == 1:
        caption = texts.pop() if len(texts[0]) <= CAPTION_MAX_CHARS else ""
    parts = [_Part(file.kind.value, of_file(file, caption), file) for file in files]
    if message.place is not None:
        parts.append(_Part("location", _location(message.place)))
    if message.shared_contact is not None:
        parts.append(_Part("contacts", [_card(message.shared_contact)]))
    parts += [_Part("text", _text(part)) for part in texts]
    if interactive is not None:
        parts.append(_Part("interactive", interactive))
    if not parts:
        raise MessageRejected(FailureCode.REJECTED, "Порожнє повідомлення: напишіть текст.")
    return parts


def _with_buttons(message: SendMessage, texts: list[str]) -> dict[str, Any] | None:
    """The buttons with the end of the text, which is taken from `texts`; None without any."""
    if to_interactive(message.buttons, "") is None:
        return None
    said = texts.pop() if texts else ""
    if len(said) > BODY_MAX_CHARS:
        before, said = _cut_end(said)
        texts.append(before)
    return to_interactive(message.buttons, said)


def _reaction(message: SendMessage) -> _Part:
    if not message.reply_to_provider_id:
        raise MessageRejected(
            FailureCode.REJECTED, "Реакцію немає до чого поставити: виберіть повідомлення клієнта."
        )
    # A sign taken off is an empty one; a reaction carries no `context` (fact sheet 2.3).
    content = {"message_id": message.reply_to_provider_id, "emoji": message.text.strip()}
    return _Part("reaction", content)


def _text(said: str) -> dict[str, Any]:
    return {"body": said, "preview_url": True} if _LINK.search(said) else {"body": said}


def _location(place: Place) -> dict[str, Any]:
    named = {"name": place.title, "address": place.address}
    told = {key: value[:NAME_MAX_CHARS] for key, value in named.items() if value}
    return {"latitude": place.latitude, "longitude": place.longitude, **told}


def _card(contact: SharedContact) -> dict[str, Any]:
    name = " ".join(contact.name.split())[:NAME_MAX_CHARS] or contact.phone or "Контакт"
    card: dict[str, Any] = {"name": {"formatted_name": name, "first_name": name.partition(" ")[0]}}
    if contact.phone:
        card["phones"] = [{"phone": contact.phone, "type": "CELL"}]
    return card


# --- text


def split_text(said: str, max_chars: int = TEXT_MAX_CHARS) -> list[str]:
    """Parts of at most `max_chars` characters, cut at paragraphs, lines or words where there are any.

    Blanks at a cut go.
    """
    parts = []
    rest = said.strip()
    while len(rest) > max_chars:
        fits = _border(rest, max_chars)
        part = rest[:fits].rstrip()
        if part:
            parts.append(part)
        rest = rest[fits:].lstrip()
    return [*parts, rest] if rest else parts


def _border(said: str, fits: int) -> int:
    for border in _BORDERS:
        # A border right after what fits is a good cut too. In the first half it would make crumbs.
        at = said.rfind(border, fits // 2, fits + len(border))
        if at > 0:
            return at
    return fits


def _cut_end(said: str) -> tuple[str, str]:
    """A text that is too long beside buttons: what goes before, and its end that fits beside them."""
    least = len(said) - BODY_MAX_CHARS
    for border in _BORDERS:
        at = said.find(border, least)
        if 0 <= at < len(said) - BODY_MAX_CHARS // 2:
            return said[:at].rstrip(), said[at:].lstrip()
    return said[:least].rstrip(), said[least:].lstrip()
