"""Identifiers: how they are made, and which of them are derived."""

from __future__ import annotations

import uuid
from hashlib import sha1
from zlib import crc32

PARTITIONS = 16
"""Partitions of every road. Changing it is a new topology version and a drain."""

_NAMESPACE = uuid.UUID("6b1f2d0e-5d0c-4c5e-9a43-7a1d2f0b8e11").bytes


def new_id() -> str:
    """A fresh opaque id: 32 hex characters."""
    return uuid.uuid4().hex


def derived_id(*parts: str) -> str:
    """The same id for the same parts, for ever: 32 hex characters of a uuid5.

    The parts are joined by an unprintable separator, so ("a", "bc") and ("ab", "c") differ.
    """
    # uuid5 without the object around it: every message needs one or two.
    digest = bytearray(sha1(_NAMESPACE + "\x1f".join(parts).encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return digest.hex()


def conversation_id(channel_id: str, contact_key: str) -> str:
    """The id of the thread with one contact in one channel: known without asking anybody."""
    return derived_id("conversation", channel_id, contact_key)


def inbound_message_id(conversation_id: str, provider_id: str) -> str:
    """The id of the message a provider's id stands for: known without asking anybody."""
    # Of the conversation, not of the channel: some messengers number messages within a dialogue only.
    return derived_id("message", conversation_id, f"in:{conversation_id}:{provider_id}")


def attachment_id(message_id: str, ref: str) -> str:
    """The id of a file of a message; `ref` is the connector's reference, or the upload of an answer."""
    return derived_id("attachment", message_id, ref)


def inbound_event_id(kind: str, channel_id: str, provider_id: str, event_type: str) -> str:
    """The id of an inbound event: a provider's repeat has the same one."""
    return derived_id("inbound", kind, channel_id, provider_id, event_type)


def partition_of(key: str) -> int:
    """The partition of a conversation id (inbound, facts) or of a channel id (sends)."""
    return crc32(key.encode()) % PARTITIONS
