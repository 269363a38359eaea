"""Webhooks of pages and Instagram: pure functions from what happened to the JSON a callback receives.

Source: the fact sheet, 1.2 and 1.3, whose samples tests/contract compares.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sandbox.files import StoredFile
from sandbox.meta.state import Business, Chat, Json, PhoneMessage, Piece

Link = Callable[[StoredFile], str]
REACTIONS = {
    "😊": "smile", "🙂": "smile", "😆": "smile", "😂": "smile", "😠": "angry", "😡": "angry",
    "😢": "sad", "😮": "wow", "❤️": "love", "❤": "love", "😍": "love", "👍": "like", "👎": "dislike",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """One element of `messaging[]` or `standby[]`, and the entry it belongs to."""

    account_id: str
    list_name: str
    element: Json


def signature(app_secret: str, body: bytes) -> str:
    """What stands in `X-Hub-Signature-256`: HMAC-SHA256 of the raw body by the app's secret."""
    return f"sha256={hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()}"


def encoded(payload: object) -> bytes:
    """A payload as it goes over the wire: compact, letters and slashes escaped, as Meta signs it."""
    return json.dumps(payload, ensure_ascii=True, separators=(",", ":")).replace("/", "\\/").encode()


def payload(object_name: str, items: Sequence[Item], now_ms: int, shape: str = "entries") -> Json:
    """One POST of several items, in their order.

    Args:
        shape: `entries` gives each item an entry of its own; `messages` and `changes` join neighbours of
            one account into one list; `mixed` joins the first half.
    """
    half = len(items) if shape in ("messages", "changes") else 0 if shape == "entries" else len(items) // 2
    entries: list[Json] = []
    last: tuple[str, str] | None = None
    for number, item in enumerate(items):
        key = (item.account_id, item.list_name)
        if number < half and key == last:
            together = entries[-1][item.list_name]
            assert isinstance(together, list)
            together.append(item.element)
        else:
            entries.append({"id": item.account_id, "time": now_ms, item.list_name: [item.element]})
        last = key
    return {"object": object_name, "entry": entries}


def from_client(business: Business, chat: Chat, at_ms: int | None, **rest: object) -> Json:
    """Something the client did; no time: a delivery has none."""
    head: Json = {"sender": {"id": chat.id}, "recipient": {"id": business.account.id}}
    return {**head, **({} if at_ms is None else {"timestamp": at_ms}), **rest}


def from_us(business: Business, chat: Chat, at_ms: int, **rest: object) -> Json:
    """An echo: who sent and who received have changed places."""
    return {
        "sender": {"id": business.account.id},
        "recipient": {"id": chat.id},
        "timestamp": at_ms,
        **rest,
    }


def said(business: Business, chat: Chat, message: PhoneMessage, link: Link) -> Json:
    """`message` of what a client wrote."""
    told: Json = {"mid": message.id}
    if message.text:
        told["text"] = message.text
    attachments = [attachment(piece, link) for piece in message.pieces]
    if attachments:
        told["attachments"] = attachments
    if message.reply_to is not None:
        told["reply_to"] = _reply_to(business, chat, message)
    elif message.story is not None and not attachments:
        told["reply_to"] = {"story": {"id": message.story.id, "url": link(message.story.file)}}
    return told


def echoed(business: Business, chat: Chat, message: PhoneMessage, link: Link) -> Json:
    """`message` of what the business wrote, here or anywhere; Instagram does not say which app did."""
    told: Json = {}
    if business.kind == "facebook":
        told["is_echo"] = True
        if message.app_id is not None:
            told["app_id"] = int(message.app_id)
        if message.metadata is not None:
            told["metadata"] = message.metadata
    told["mid"] = message.id
    if message.text:
        told["text"] = message.text
    attachments = [attachment(piece, link) for piece in message.pieces]
    if attachments:
        told["attachments"] = attachments
    if message.reply_to is not None:
        told["reply_to"] = _reply_to(business, chat, message)
    if business.kind == "instagram":
        told["is_echo"] = True
    return told


def attachment(piece: Piece, link: Link) -> Json:
    """One element of `attachments[]`; some have no payload at all."""
    told: Json = {"type": piece.type, **piece.above}
    if piece.payload is None:
        return told if piece.type in ("like_heart", "ephemeral") else {**told, "payload": None}
    address: Json = {} if piece.file is None else {"url": link(piece.file)}
    return {**told, "payload": {**address, **piece.payload}}


def _reply_to(business: Business, chat: Chat, message: PhoneMessage) -> Json:
    if business.kind == "instagram":
        return {"mid": message.reply_to}
    quoted = chat.message(message.reply_to)
    is_own = quoted is not None and quoted.from_client == message.from_client
    return {"mid": message.reply_to, "is_self_reply": is_own}


def reaction(kind: str, message_id: str, emoji: str | None) -> Json:
    """A reaction, or that it was taken away."""
    if not emoji:
        return {"action": "unreact", "mid": message_id}
    word = REACTIONS.get(emoji, "other")
    if kind == "instagram":
        return {"mid": message_id, "action": "react", "reaction": word, "emoji": emoji}
    return {"reaction": word, "emoji": emoji, "action": "react", "mid": message_id}


def referral(kind: str, ref: str, source: str | None = None, **rest: object) -> Json:
    """Where a client came from: a link m.me or ig.me, or what a test says."""
    if kind == "instagram":
        return {
            "ref": ref,
            "source": source or f"https://ig.me/m/acme?ref={ref}",
            "type": "OPEN_THREAD",
            **rest,
        }
    return {"ref": ref, "source": source or "SHORTLINK", "type": "OPEN_THREAD", **rest}
