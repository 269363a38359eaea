"""What a message says, put together of its words and of what is attached. Pure; what is odd is a placeholder.

Source: fact sheet 1.2, 1.3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ingest_meta.attachments import LINES_MAX, NOTHING, Piece, pieces_of, story_of
from ingest_meta.payloads import INSTAGRAM, NAME_MAX_CHARS, TEXT_KEPT_CHARS, WORD_MAX_CHARS
from msgkit.connector.contract import Account
from msgkit.connector.raw import Node, is_node, items, node, opaque, text, words
from msgkit.contracts.events import Content, MediaRef, Place, SharedContact, SharedLink
from msgkit.contracts.words import MessageKind

_E164: Final = re.compile(r"\+[1-9][0-9]{7,14}")
_CARD: Final = "Контакт"
_NOT_TOLD: Final = (
    "{app} не передає таких повідомлень. Відкрийте чат у застосунку {app} або попросіть клієнта написати "
    "словами чи надіслати файлом."
)
_OURS_NOT_TOLD: Final = (
    "Це повідомлення надіслано не звідси. Відкрийте чат у застосунку {app}, щоб побачити його."
)
_SEEN_ONCE: Final = (
    "Фото чи відео, яке можна подивитися один раз: {app} показує його лише у своєму застосунку. "
    "Попросіть клієнта надіслати його звичайним повідомленням."
)
_MORE: Final = "Тут є ще вкладення, якого система не показує ({name}). Відкрийте чат у застосунку {app}."


def to_content(message: Node, account: Account) -> Content:
    """What this message says.

    Args:
        message: `message` of an item, of the client or an echo.
        account: the page or the Instagram account.
    """
    pieces = pieces_of(message, account)
    story = story_of(message, account)
    if story is not None:
        pieces.insert(0, story)
    if message.get("is_unsupported") is True and not pieces:
        pieces = [Piece(unknown="unsupported")]
    if not pieces and (phone := own_phone(message)) is not None:
        card = SharedContact(name=_CARD, phone=phone, is_own=True)
        return to_text("").model_copy(update={"kind": MessageKind.CONTACT, "shared_contact": card})
    own = _own_words(message)
    link = next((piece.link for piece in pieces if piece.link is not None), None) or _led_by(message)
    said = [own] if own else []
    said += _further(pieces, link, own or "")
    said += [piece.detail for piece in pieces if piece.detail and piece.detail != own]
    media = [piece.media for piece in pieces if piece.media is not None]
    place = next((piece.place for piece in pieces if piece.place is not None), None)
    unknown = next((piece.unknown for piece in pieces if piece.unknown is not None), None)
    if own is None and all(piece == NOTHING for piece in pieces) and not message.get("quick_reply"):
        # A message with nothing in it, not even an empty text.
        unknown = "empty"
    app = _app(account)
    if unknown is not None and (media or place is not None):
        return _content(_kind(media, place), [*said, _MORE.format(name=unknown, app=app)], media, place, link)
    if unknown is not None:
        reason = _SEEN_ONCE if unknown == "ephemeral" else _NOT_TOLD
        if message.get("is_echo") is True:
            reason = _OURS_NOT_TOLD
        return _content(
            MessageKind.UNSUPPORTED, [*said, reason.format(app=app)], link=link, unsupported=unknown
        )
    return _content(_kind(media, place), said, media, place, link)


def _further(pieces: Sequence[Piece], shown: SharedLink | None, own: str) -> list[str]:
    """Links in words, beside the one that is shown as such and those that stand in the text already."""
    return [
        piece.line
        for piece in pieces
        if piece.line and piece.link and piece.link != shown and (piece.link.url or piece.line) not in own
    ]


def own_phone(message: Node) -> str | None:
    """The client's number in E.164, if he pressed the button that shares it; None for any other message.

    Source: fact sheet 3 (`user_phone_number`). It does not show the answer, so both what was said and what
    the button carries must be one and the same whole number.
    """
    given = text(node(message.get("quick_reply")).get("payload"))
    if given is None or given != message.get("text") or not _E164.fullmatch(given):
        return None
    return given


def to_text(said: str) -> Content:
    """A plain text."""
    return _content(MessageKind.TEXT, [said])


def _content(
    kind: MessageKind,
    said: Sequence[str],
    media: list[MediaRef] | None = None,
    place: Place | None = None,
    link: SharedLink | None = None,
    unsupported: str | None = None,
) -> Content:
    return Content(
        kind=kind,
        text="\n".join(said)[:TEXT_KEPT_CHARS],
        entities=[],
        media=media or [],
        place=place,
        shared_contact=None,
        shared_link=link,
        unsupported=unsupported,
    )


def _kind(media: Sequence[MediaRef], place: Place | None) -> MessageKind:
    if media:
        return media[0].kind
    return MessageKind.TEXT if place is None else MessageKind.LOCATION


def _own_words(message: Node) -> str | None:
    """What the client typed; for a command without words, the command."""
    said = text(message.get("text"))
    if said:
        return said[:TEXT_KEPT_CHARS]
    names = [words(node(one).get("name"), NAME_MAX_CHARS) for one in items(message.get("commands"))]
    commands = " ".join(f"/{name}" for name in names[:LINES_MAX] if name)
    return commands or said


def _led_by(message: Node) -> SharedLink | None:
    """The advertisement or the goods that led the client here. Source: fact sheet 1.2."""
    referral = message.get("referral")
    return None if not is_node(referral) else referral_link(referral)


def referral_link(referral: Node) -> SharedLink | None:
    """What a referral points at, if it is something to show."""
    context = node(referral.get("ads_context_data"))
    if context or opaque(referral.get("ad_id")) is not None:
        return SharedLink(kind="ad", title=words(context.get("ad_title"), NAME_MAX_CHARS), url=None)
    product_id = opaque(node(referral.get("product")).get("id"), WORD_MAX_CHARS)
    return None if product_id is None else SharedLink(kind="product", title=product_id, url=None)


def _app(account: Account) -> str:
    return "Instagram" if account.kind == INSTAGRAM else "Messenger"
