"""What is attached to a message, piece by piece: files, links, places, goods, signs. Pure.

Source: fact sheet 1.2, 1.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest_meta.addresses import file_name, is_file_address, is_moving, web_address
from ingest_meta.payloads import (
    NAME_MAX_CHARS,
    TEXT_KEPT_CHARS,
    URL_MAX_CHARS,
    WORD_MAX_CHARS,
    FileKey,
    moment,
)
from msgkit.connector.contract import Account
from msgkit.connector.raw import Node, is_node, items, node, number, opaque, short, words
from msgkit.contracts.events import MediaRef, Place, SharedLink
from msgkit.contracts.words import MessageKind

THUMBS_UP: Final = frozenset({"369239263222822", "369239343222814", "369239383222810"})
"""The three sizes of one sign, sent as a sticker. Source: fact sheet 1.2."""
LINES_MAX: Final = 100

LinkKind = Literal["story_reply", "story_mention", "post", "reel", "link", "product", "ad"]


@dataclass(frozen=True, slots=True)
class Piece:
    """What one attachment is to us."""

    media: MediaRef | None = None
    link: SharedLink | None = None
    place: Place | None = None
    line: str = ""
    """The link in words, for a message that points at something else already."""
    detail: str = ""
    """Belongs to what the message says."""
    unknown: str | None = None
    """Meta's name of what cannot be shown."""


NOTHING: Final = Piece()


@dataclass(frozen=True, slots=True)
class _Attached:
    """An element of `attachments[]`."""

    kind: str
    told: Node
    account: Account

    @property
    def payload(self) -> Node:
        return node(self.told.get("payload"))

    @property
    def url(self) -> str | None:
        # In echoes a link has them beside its empty payload (fact sheet 1.2, «Echo»).
        return short(self.payload.get("url"), URL_MAX_CHARS + 1) or short(
            self.told.get("url"), URL_MAX_CHARS + 1
        )

    @property
    def title(self) -> str | None:
        return words(self.payload.get("title"), NAME_MAX_CHARS) or words(
            self.told.get("title"), NAME_MAX_CHARS
        )

    @property
    def sticker_id(self) -> str | None:
        return opaque(self.payload.get("sticker_id"))


def pieces_of(message: Node, account: Account) -> list[Piece]:
    """Everything attached, in order; what Meta says twice stands here once.

    Args:
        message: `message` of an item.
        account: whose messenger and whose addresses of files.
    """
    return list(_pieces(message, account))


def story_of(message: Node, account: Account) -> Piece | None:
    """The story a message answers; None if it answers none. Source: fact sheet 1.3, «story_reply»."""
    story = node(message.get("reply_to")).get("story")
    if not is_node(story):
        return None
    attached = _Attached("story", {"payload": story}, account)
    return _shown(attached, "story_reply", "Відповідь на вашу історію")


def _pieces(message: Node, account: Account) -> Iterator[Piece]:
    told = [
        _Attached(words(one.get("type"), WORD_MAX_CHARS) or "empty", one, account)
        for one in (node(each) for each in items(message.get("attachments"))[:LINES_MAX])
    ]
    # Until September 2026 a sticker came as an image too (fact sheet 1.2, «Sticker change»).
    whole = {one.sticker_id for one in told if one.kind == "sticker"} - {None}
    seen: set[str] = set()
    for one in told:
        if one.kind != "sticker" and one.sticker_id in whole:
            continue
        piece = _piece(one)
        if piece.media is None:
            yield piece
        elif piece.media.ref not in seen:
            seen.add(piece.media.ref)
            yield piece


def _piece(one: _Attached) -> Piece:
    reader = _sticker if one.sticker_id is not None else _READERS.get(one.kind)
    return (None if reader is None else reader(one)) or Piece(unknown=one.kind)


def _media(one: _Attached, kind: MessageKind) -> MediaRef | None:
    url = one.url
    if url is None or web_address(url, "") is None:
        return None
    return MediaRef(
        ref=FileKey(url, one.kind).to_ref(),
        kind=kind,
        name=file_name(url) if kind is MessageKind.FILE else None,
        mime=None,
        size_bytes=None,
        width=None,
        height=None,
        duration_s=None,
    )


def _file_as(kind: MessageKind) -> Callable[[_Attached], Piece | None]:
    def read(one: _Attached) -> Piece | None:
        media = _media(one, kind)
        return None if media is None else Piece(media=media)

    return read


def _sticker(one: _Attached) -> Piece | None:
    if one.sticker_id in THUMBS_UP:
        return Piece(detail="👍")
    return _file_as(MessageKind.STICKER)(one)


# --- what a message points at


def _shown(one: _Attached, kind: LinkKind, called: str, usually: MessageKind = MessageKind.IMAGE) -> Piece:
    """Something of another place: its picture where it can be fetched, its page where it can be opened."""
    url = one.url
    is_file = is_file_address(url, one.account.api_base)
    media = None
    if url is not None and is_file:
        media = _media(one, MessageKind.VIDEO if is_moving(url) else usually)
    return _pointing(kind, called, one.title, None if is_file else web_address(url, one.account.kind), media)


def _pointing(
    kind: LinkKind, called: str, title: str | None, page: str | None, media: MediaRef | None = None
) -> Piece:
    said = " ".join(part for part in (title, page) if part)
    return Piece(
        media=media,
        link=SharedLink(kind=kind, title=title, url=page),
        line=f"{called}: {said}" if said else called,
    )


def _shown_as(
    kind: LinkKind, called: str, usually: MessageKind = MessageKind.IMAGE
) -> Callable[[_Attached], Piece | None]:
    return lambda one: _shown(one, kind, called, usually)


def _story(one: _Attached) -> Piece | None:
    """It is shown among posts: without a title of its own its name says what it is."""
    piece = _shown(one, "post", "Історія")
    if piece.link is None or piece.link.title is not None:
        return piece
    return replace(piece, link=piece.link.model_copy(update={"title": "Історія"}))


def _link(one: _Attached) -> Piece | None:
    page = web_address(one.url, one.account.kind)
    if page is None and one.title is None:
        # It says nothing beside the text, which has the address (fact sheet 1.2: «payload may be null»).
        return NOTHING
    return _pointing("link", "Посилання", one.title, page)


def _template(one: _Attached) -> Piece | None:
    """Goods a client shares, or what another program sent with its buttons."""
    product = node(one.payload.get("product"))
    elements = [node(each) for each in items(product.get("elements") or one.payload.get("elements"))]
    lines = [line for each in elements[:LINES_MAX] if (line := _element(each))]
    said = short(one.payload.get("text"), TEXT_KEPT_CHARS)
    lines = [*([said] if said else []), *lines, *_buttons(one.payload)]
    if not lines:
        return None
    link, media = None, None
    if product:
        first = elements[0] if elements else {}
        # Its name stands among the lines.
        link = SharedLink(kind="product", title=None, url=None)
        picture = _Attached(one.kind, {"payload": {"url": first.get("image_url")}}, one.account)
        if is_file_address(picture.url, one.account.api_base):
            media = _media(picture, MessageKind.IMAGE)
    return Piece(media=media, link=link, detail="\n".join(lines))


def _element(told: Node) -> str:
    parts = (words(told.get(name), NAME_MAX_CHARS) for name in ("title", "subtitle"))
    line = ", ".join(part for part in parts if part)
    return "\n".join(part for part in (line, *_buttons(told)) if part)


def _buttons(told: Node) -> list[str]:
    titles = (words(node(each).get("title"), NAME_MAX_CHARS) for each in items(told.get("buttons")))
    return [f"[{title}]" for title in titles if title][:LINES_MAX]


def _booking(one: _Attached) -> Piece | None:
    """An appointment the client asks for, with its times where the page is."""
    told = one.payload
    start, end = moment(told.get("start_time")), moment(told.get("end_time"))
    if start is None:
        return None
    zone_name = words(told.get("timezone"), WORD_MAX_CHARS) or "UTC"
    zone, zone_name = _zone(zone_name)
    until = "" if end is None else f"–{end.astimezone(zone):%H:%M}"
    state = words(told.get("status"), WORD_MAX_CHARS)
    named = f" ({_BOOKING_STATES.get(state, state)})" if state else ""
    return Piece(detail=f"Запис{named}: {_when(start, zone)}{until}, {zone_name}")


def _when(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%d.%m.%Y %H:%M}"


def _zone(name: str) -> tuple[tzinfo, str]:
    try:
        return ZoneInfo(name), name
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC"), "UTC"


_BOOKING_STATES: Final[dict[str, str]] = {"requested": "запит"}
"""The word of the fact sheet's sample; another one is shown as it is."""


def _place(one: _Attached) -> Piece | None:
    told = node(one.payload.get("coordinates"))
    latitude, longitude = number(told.get("lat")), number(told.get("long"))
    if latitude is None or longitude is None or not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return None
    place = Place(latitude=latitude, longitude=longitude, title=one.title, address=None)
    return Piece(place=place)


def _heart(one: _Attached) -> Piece | None:
    del one
    return Piece(detail="❤️")


_POST = _shown_as("post", "Допис")
_REEL = _shown_as("reel", "Reels", MessageKind.VIDEO)
_READERS: Final[dict[str, Callable[[_Attached], Piece | None]]] = {
    "image": _file_as(MessageKind.IMAGE),
    "video": _file_as(MessageKind.VIDEO),
    "audio": _file_as(MessageKind.AUDIO),
    "file": _file_as(MessageKind.FILE),
    "sticker": _sticker,
    "media": _POST,
    "fallback": _link,
    "share": _POST,
    "post": _POST,
    "ig_post": _POST,
    "reel": _REEL,
    "ig_reel": _REEL,
    "story": _story,
    "ig_story": _story,
    "story_mention": _shown_as("story_mention", "Згадка в історії"),
    "template": _template,
    "appointment_booking": _booking,
    "location": _place,
    "like_heart": _heart,
}
"""`ephemeral` is no oversight: it can be seen once, in the app alone."""
