"""Words on the wire: kinds, states, lists, codes."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class MessageKind(StrEnum):
    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    VOICE = "voice"
    FILE = "file"
    STICKER = "sticker"
    LOCATION = "location"
    CONTACT = "contact"
    UNSUPPORTED = "unsupported"


class AttachmentState(StrEnum):
    """Where a file of a message stands: being fetched, kept by us, or not to be had any more."""

    PENDING = "pending"
    READY = "ready"
    LOST = "lost"


class Direction(StrEnum):
    IN = "in"
    OUT = "out"
    SYSTEM = "system"
    NOTE = "note"


class AuthorKind(StrEnum):
    CLIENT = "client"
    OPERATOR = "operator"
    BOT = "bot"
    AUTORESPONDER = "autoresponder"
    SYSTEM = "system"


class MessageState(StrEnum):
    """Where an outgoing message stands. An inbound one is `delivered` from the start."""

    QUEUED = "queued"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


STATE_RANK: Final[dict[MessageState, float]] = {
    MessageState.QUEUED: 0,
    MessageState.SENDING: 1,
    MessageState.FAILED: 2,
    MessageState.UNKNOWN: 3,
    MessageState.SENT: 4,
    MessageState.DELIVERED: 5,
    MessageState.READ: 6,
}
"""A state only rises. `failed` and `unknown` stand below `sent`: a later receipt proves them wrong."""
LATE_REFUSAL_RANK: Final = 4.5
"""`failed` after the messenger had taken it: only a receipt of the client's own device proves it wrong."""


class Handler(StrEnum):
    BOT = "bot"
    OPERATOR = "operator"


class Status(StrEnum):
    OPEN = "open"
    WAITING = "waiting"
    CLOSED = "closed"


class Box(StrEnum):
    """Where a conversation lies; `ChatList` says which boxes a list shows."""

    NEW = "new"
    ACTIVE = "active"
    BOT = "bot"
    WAITING = "waiting"
    DONE = "done"


class ChatList(StrEnum):
    ACTIVE = "active"
    MINE = "mine"
    NEW = "new"
    BOT = "bot"
    WAITING = "waiting"
    DONE = "done"


class FailureCode(StrEnum):
    """Why an answer did not reach the client; the window has a sentence for each."""

    BOT_BLOCKED = "bot_blocked"
    WINDOW_CLOSED = "window_closed"
    CHANNEL_DISCONNECTED = "channel_disconnected"
    RATE_LIMITED = "rate_limited"
    TOO_LONG = "too_long"
    FILE_TOO_BIG = "file_too_big"
    UNSUPPORTED_KIND = "unsupported_kind"
    RECIPIENT_UNAVAILABLE = "recipient_unavailable"
    REJECTED = "rejected"
    TEMPORARY = "temporary"
