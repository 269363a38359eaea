"""What a client sends that is no file of his own: posts, reels, stories, links, places. Pure.

Source: the fact sheet, 1.2 and 1.3: the attachments of pages and of Instagram.
"""

from collections.abc import Callable

from sandbox.files import StoredFile
from sandbox.meta.acts import Writing
from sandbox.meta.state import Json, Kind, Piece

_Make = Callable[[Writing, StoredFile | None], Piece]
_POST = "Весняна колекція"


def pointer(kind: Kind, body: Writing, shown: StoredFile | None) -> Piece | None:
    """The attachment of such a message; None: it has none.

    Args:
        kind: of the business.
        shown: what a post, a story or a film shows.
    """
    own = _INSTAGRAM if kind == "instagram" else _PAGE
    make = own.get(body.kind) or _BOTH.get(body.kind)
    return None if make is None else make(body, shown)


def _at(body: Writing) -> Json:
    return {} if body.url is None else {"url": body.url}


def _titled(body: Writing) -> Json:
    return {} if body.title is None else {"title": body.title}


def _page_reel(body: Writing, _: StoredFile | None) -> Piece:
    url = body.url or "https://www.facebook.com/reel/123451234512345/"
    return Piece(body.kind, {"url": url, **_titled(body), "reel_video_id": 123451234512345})


def _page_post(body: Writing, picture: StoredFile | None) -> Piece:
    return Piece("post", {"title": body.title or _POST, "id": 122105, **_at(body)}, picture)


def _page_share(body: Writing, _: StoredFile | None) -> Piece:
    url = body.url or "https://l.facebook.com/l.php?u=https%3A%2F%2Fshop.example%2F"
    return Piece("fallback", {"url": url, "title": body.title or "Крамниця"})


def _instagram_reel(body: Writing, film: StoredFile | None) -> Piece:
    told: Json = {"reel_video_id": "17999", "title": body.title or "Рілс", **_at(body)}
    return Piece("ig_reel", told, film)


def _instagram_post(body: Writing, picture: StoredFile | None) -> Piece:
    told: Json = {"ig_post_media_id": "18139494541428835", "title": body.title or _POST, **_at(body)}
    return Piece("ig_post", told, picture)


def _instagram_share(body: Writing, _: StoredFile | None) -> Piece:
    return Piece("share", {"url": body.url or "https://www.instagram.com/p/C0ffee/", **_titled(body)})


def _location(body: Writing, _: StoredFile | None) -> Piece:
    return Piece("location", {"coordinates": {"lat": body.latitude, "long": body.longitude}})


def _appointment(_: Writing, __: StoredFile | None) -> Piece:
    booking: Json = {"booking_id": "b1", "status": "requested", "start_time": 1739612400}
    booking |= {"end_time": 1739616000, "timezone": "America/Los_Angeles"}
    return Piece("appointment_booking", booking)


def _product(body: Writing, _: StoredFile | None) -> Piece:
    one: Json = {"id": "1", "retailer_id": "SKU1", "image_url": "https://shop.example/y.jpg"}
    one |= {"title": body.title or "Чашка", "subtitle": "400 грн"}
    return Piece("template", {"product": {"elements": [one]}})


_PAGE: dict[str, _Make] = {
    "post": _page_post,
    "reel": _page_reel,
    "ig_reel": _page_reel,
    "share": _page_share,
    "story": lambda _, picture: Piece("story", {}, picture),
    "unsupported": lambda _, __: Piece("fallback", None),
}
_INSTAGRAM: dict[str, _Make] = {
    "post": _instagram_post,
    "reel": _instagram_reel,
    "ig_reel": _instagram_reel,
    "share": _instagram_share,
    "story": lambda _, picture: Piece("ig_story", {}, picture),
    "like": lambda _, __: Piece("like_heart", None),
}
_BOTH: dict[str, _Make] = {
    "location": _location,
    "story_mention": lambda _, picture: Piece("story_mention", {}, picture),
    "ephemeral": lambda _, __: Piece("ephemeral", None),
    "appointment": _appointment,
    "product": _product,
}
