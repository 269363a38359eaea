"""What a Messenger or Instagram phone shows, as JSON; the business's own inbox shows the same.

Keys are those of the other phones wherever they mean the same. Those of Meta alone:
  phone: `messenger` facebook|instagram · `human_agent` · `window` {"everybody", "people"}: until when they
    may answer, or null · `gone`
  bubble: `desk` true: typed in the business's own inbox · `quick_replies` [{"text", "data"}] · `files` if
    several · `point` {"kind", "title"?, "file"?, "url"?}: a story, a post, a reel · `keyboard` of
    buttons · `reactions` {"client"?, "business"?} · `edited` · `reply_to` · `tag` HUMAN_AGENT
What was unsent is not shown at all.
Acts the phone page uses at `/control/{channel_id}/clients/{client}/…`:
  messages {"text"?, "kind"?, "reply_to"?, "sent_at"?, "referral"?}, kinds: photo video voice audio document
    sticker location like (👍 as a sticker, ❤️ as like_heart) post reel story_reply {"text"} story_mention
    ephemeral unsupported; or multipart with files, as everywhere
  press {"text", "provider_id"}: a button or a quick reply
  react {"emoji" ("" takes it away), "provider_id"} · edit {"text", "provider_id"}
  delete {"provider_id"}: Instagram's unsend · read {} · block · unblock
  inbox {"text"} or {"kind": "photo"}: the business's own staff answer in the messenger's own application
  story {} → {"id", "title", "url"}: the client looks at the story the account shows
"""

from datetime import UTC, datetime

from sandbox.files import StoredFile
from sandbox.meta.state import (
    HUMAN_WINDOW_SECONDS,
    WINDOW_SECONDS,
    Business,
    Button,
    Chat,
    Json,
    PhoneMessage,
    Piece,
    Story,
)

NEWEST = 200
"""The phone page shows so many of the newest bubbles."""

_KINDS = {
    "image": "photo", "video": "video", "audio": "audio", "file": "document", "sticker": "sticker",
    "media": "photo", "like_heart": "like",
}  # fmt: skip
"""What the phones call an attachment that holds a file."""
_POINTS = {
    "post": "post", "ig_post": "post", "share": "post", "reel": "reel", "ig_reel": "reel",
    "story": "story_reply", "ig_story": "story_reply", "story_mention": "story_mention", "fallback": "link",
}  # fmt: skip
"""Attachments that show something that lies elsewhere."""
_THUMBS = frozenset({369239263222822, 369239343222814, 369239383222810})
"""Stickers that are the thumb up in its three sizes. Source: the fact sheet, 1.2."""


def phone(business: Business, chat: Chat, now: float) -> Json:
    """The whole phone."""
    account, wrote_at = business.account, chat.wrote_at
    ends = {"everybody": WINDOW_SECONDS, "people": HUMAN_WINDOW_SECONDS}
    return {
        "messenger": business.kind,
        "client": chat.user.client,
        "name": chat.user.full_name,
        "chat_id": chat.id,
        "username": chat.username,
        "bot": {"name": account.name, "username": account.username},
        "started": True,
        "blocked": chat.blocked,
        "offline": chat.offline,
        "gone": chat.gone,
        "human_agent": business.human_agent,
        "window": {who: None if wrote_at is None else _time(wrote_at + ends[who]) for who in ends},
        "window_open": wrote_at is not None and now - wrote_at < WINDOW_SECONDS,
        "typing": chat.typing_until > now,
        "action": None,
        "notice": None,
        "keyboard": None,
        "commands": [],
        "presses": [],
        "unread": len(chat.unread),
        "failures": [],
        "messages": [bubble(message) for message in list(chat.messages)[-NEWEST:] if message.shown],
    }


def bubble(message: PhoneMessage) -> Json:
    """One bubble. `in` was written by the client, `out` by the business.

    `state` of the client's own message: sent, delivered once the server of the business answered 200, read
    once it marked it as seen; of the business's: sent, delivered, read.
    """
    result: Json = {
        "provider_id": message.id,
        "direction": "in" if message.from_client else "out",
        "text": message.text,
        "kind": message.kind,
        "at": _time(message.at),
        "edited": message.edits > 0,
        "state": message.state,
    }
    if message.reply_to is not None:
        result["reply_to"] = message.reply_to
    if message.from_desk:
        result["desk"] = True
    if message.tag is not None:
        result["tag"] = message.tag
    if message.reactions:
        result["reactions"] = dict(message.reactions)
    if message.quick_replies:
        result["quick_replies"] = [{"text": one.title, "data": one.payload} for one in message.quick_replies]
    if message.buttons:
        result["keyboard"] = {"inline_keyboard": [[_button(one)] for one in message.buttons]}
    return {**result, **_about(message), **_attached(message)}


def story(shown: Story) -> Json:
    """The account's story, as somebody sees it who taps the ring."""
    return {"id": shown.id, "title": shown.title, "url": _url(shown.file)}


def _about(message: PhoneMessage) -> Json:
    """What the message points at."""
    if message.story is not None:
        mentions = any(piece.type == "story_mention" for piece in message.pieces)
        kind = "story_mention" if mentions else "story_reply"
        return {"point": {"kind": kind, "title": message.story.title, "file": _file(message.story.file)}}
    pointing = (piece for piece in message.pieces if piece.payload is not None and _point_of(piece))
    piece = next(pointing, None)
    if piece is None or piece.payload is None:
        return {}
    told: Json = {"kind": _point_of(piece)}
    title = {**piece.above, **piece.payload}.get("title") or _product(piece).get("title")
    if title:
        told["title"] = title
    if piece.file is not None:
        told["file"] = _file(piece.file)
    elif str(piece.payload.get("url", "")).startswith("https://"):
        told["url"] = piece.payload["url"]
    return {"point": told}


def _point_of(piece: Piece) -> str | None:
    return "product" if _product(piece) else _POINTS.get(piece.type)


def _product(piece: Piece) -> Json:
    """The first thing of a shop that is shared; nothing if it is no such template."""
    product = (piece.payload or {}).get("product")
    elements = product.get("elements") if isinstance(product, dict) else None
    return dict(elements[0]) if isinstance(elements, list) and elements else {}


def _attached(message: PhoneMessage) -> Json:
    """What the message carries itself."""
    if message.kind == "like":
        return {"emoji": "❤️"}
    if any((piece.payload or {}).get("sticker_id") in _THUMBS for piece in message.pieces):
        return {"kind": "like", "emoji": "👍"}
    carried = [piece for piece in message.pieces if piece.file is not None and piece.type not in _POINTS]
    if message.kind == "sticker":
        carried = carried[-1:]  # told twice, as image and as sticker, it is one picture all the same
    if len(carried) > 1:
        return {"files": [_piece(piece) for piece in carried]}
    if carried:
        (piece,) = carried
        shown: Json = {"file": _piece(piece)}
        if message.kind not in _KINDS.values() and message.kind != "voice":
            shown["kind"] = _KINDS.get(piece.type, "document")
        return shown
    places = [piece.payload for piece in message.pieces if piece.type == "location"]
    if places and places[0] is not None:
        at = places[0]["coordinates"]
        assert isinstance(at, dict)
        return {"location": {"latitude": at["lat"], "longitude": at["long"]}}
    return {}


def _piece(piece: Piece) -> Json:
    assert piece.file is not None
    return {**_file(piece.file), "kind": _KINDS.get(piece.type, "document")}


def _button(button: Button) -> Json:
    told: Json = {"text": button.title, "data": button.payload, "kind": button.kind}
    if button.url is not None:
        told["url"] = button.url
    return told


def _file(file: StoredFile) -> Json:
    looks = file.looks
    told: Json = {
        "name": looks.name,
        "width": looks.width or None,
        "height": looks.height or None,
        "duration": looks.duration or None,
        "thumb_url": None if file.thumbnail is None else _url(file.thumbnail),
    }
    known = {key: value for key, value in told.items() if value is not None}
    return {"mime": looks.mime, "size": file.size, "url": _url(file), **known}


def _url(file: StoredFile) -> str:
    return f"/control/files/{file.unique_id}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
