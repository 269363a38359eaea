"""WhatsApp's words: fields, limits, moments, references of files.

Webhooks are read as raw dicts: identity, media and errors come in more shapes than are documented (fact sheet
1.4).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic_core import from_json

from msgkit.connector.raw import Node, integer, is_node, opaque, text, words

DOCS: Final = "https://developers.facebook.com/documentation/business-messaging/whatsapp/"

TEXT_MAX_CHARS: Final = 4096
"""Of the body of a text. Source: WA/messages/text-messages (fact sheet 2.4)."""
CAPTION_MAX_CHARS: Final = 1024
"""Under a file, and of an interactive message. Source: fact sheet 2.4."""
IMAGE_MAX_BYTES: Final = 5_000_000
"""JPEG and PNG, «5 MB». Source: WA/cloud-api/reference/media (fact sheet 2.4)."""
VIDEO_MAX_BYTES: Final = 16_000_000
"""Source: fact sheet 2.4."""
AUDIO_MAX_BYTES: Final = 16_000_000
"""Source: fact sheet 2.4."""
DOCUMENT_MAX_BYTES: Final = 100_000_000
"""Of any file we send, and of any we get. Source: fact sheet 2.4, 2.5."""
SENDS_PER_SECOND: Final = 80
"""Of one number, in and out; 20 in coexistence. Source: WA/throughput (fact sheet 2.7)."""
REPLY_WINDOW_HOURS: Final = 24
"""After the client's last message. Source: fact sheet 2.6."""

OBJECT: Final = "whatsapp_business_account"

PHONE_PREFIX: Final = "phone:"
"""Begins the key and the address of a client known by wa_id."""
BSUID_PREFIX: Final = "bsuid:"
"""Begins the key and the address of a client known by the business-scoped user id alone."""
NUMBER_PREFIX: Final = "number:"
"""Begins what an account of ours is known as by its own digits, in fields that name no phone_number_id."""
WABA_PREFIX: Final = "waba:"
"""Begins what all numbers of one WhatsApp Business Account are known as."""

NAME_MAX_CHARS: Final = 256
WORD_MAX_CHARS: Final = 64
ID_MAX_CHARS: Final = 512
"""Of a wamid, «up to ~250 chars» (fact sheet 1.1)."""
MARK_MAX_CHARS: Final = 512
"""Of biz_opaque_callback_data. Source: fact sheet 2.4."""
TEXT_KEPT_CHARS: Final = 100_000
"""Of a text that comes in; far above what WhatsApp lets anybody write."""
MEDIA_ID_MAX_CHARS: Final = 128
FILE_NAME_MAX_CHARS: Final = 255

_SECONDS_MAX = 253_402_300_799
_MILLISECONDS_FROM = 10**11
"""In seconds this is the year 5138: from here on it is milliseconds (fact sheet 1.1, «guard»)."""
_SHA256 = re.compile(r"[A-Za-z0-9+/]{43}=")


def moment(timestamp: object, otherwise: datetime) -> datetime:
    """A timestamp of WhatsApp, a string of seconds; `otherwise` if it makes no sense.

    Source: fact sheet 1.1.
    """
    found = integer(timestamp)
    if found is not None and found >= _MILLISECONDS_FROM:
        found //= 1000
    if found is None or not 0 < found <= _SECONDS_MAX:
        return otherwise
    return datetime.fromtimestamp(found, UTC)


def digits_of(value: object) -> str:
    """The digits of a number, which comes formatted or not (fact sheet 3)."""
    found = opaque(value, WORD_MAX_CHARS) or ""
    return "".join(char for char in found if "0" <= char <= "9")


@dataclass(frozen=True, slots=True)
class FileKey:
    """What is needed to fetch a file of a client; its address lives five minutes, so it is no part of it."""

    media_id: str
    sha256: str | None
    """Base64 of the file's hash, as the webhook told it."""
    mime: str | None
    name: str | None

    def to_ref(self) -> str:
        """As `MediaRef.ref`."""
        told = {"id": self.media_id, "sha256": self.sha256, "mime": self.mime, "filename": self.name}
        return json.dumps(
            {key: value for key, value in told.items() if value is not None}, ensure_ascii=False
        )


def file_key(told: Node) -> FileKey | None:
    """The file an object of a message speaks of, or None without an id."""
    media_id = opaque(told.get("id"), MEDIA_ID_MAX_CHARS)
    if media_id is None:
        return None
    sha256 = text(told.get("sha256"))
    return FileKey(
        media_id=media_id,
        sha256=sha256 if sha256 is not None and _SHA256.fullmatch(sha256) else None,
        mime=words(told.get("mime_type") or told.get("mime"), WORD_MAX_CHARS),
        name=words(told.get("filename"), FILE_NAME_MAX_CHARS),
    )


def read_ref(ref: str) -> FileKey | None:
    """The file a `MediaRef.ref` of ours names; None for anything else."""
    try:
        told = from_json(ref)
    except ValueError:
        return None
    return file_key(told) if is_node(told) else None
