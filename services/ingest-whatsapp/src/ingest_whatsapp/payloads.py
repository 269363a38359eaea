"""WhatsApp's words: fields, limits, references of files, and careful readers of a raw webhook.

Webhooks are read as raw dicts: identity, media and errors come in more shapes than are documented (fact sheet
1.4).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard

from pydantic_core import from_json

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

SIGNATURE_HEADER: Final = b"x-hub-signature-256"
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
INT_MAX: Final = 2**63 - 1
"""What a database and a broker can hold."""

_SECONDS_MAX = 253_402_300_799
_MILLISECONDS_FROM = 10**11
"""In seconds this is the year 5138: from here on it is milliseconds (fact sheet 1.1, «guard»)."""
_DIGITS = re.compile(r"[0-9]{1,19}")
_SHA256 = re.compile(r"[A-Za-z0-9+/]{43}=")

Node = Mapping[str, Any]


def is_node(value: object) -> TypeGuard[Node]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def node(value: object) -> Node:
    """The object, or an empty one."""
    return value if is_node(value) else {}


def items(value: object) -> list[Any]:
    """The list, or an empty one."""
    return value if isinstance(value, list) else []


def integer(value: object) -> int | None:
    """The whole number, also one written as text, if we can keep it. JSON's true is no number."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    return value if type(value) is int and abs(value) <= INT_MAX else None


def number(value: object) -> float | None:
    """The number, whole or not, also one written as text; never what is not a number at all."""
    if isinstance(value, str):
        try:
            value = float(value[:WORD_MAX_CHARS])
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An endless one is not within the bound, and nothing else that is no number.
    return float(value) if abs(value) <= INT_MAX else None


def text(value: object) -> str | None:
    """The string, if it is one."""
    return value if isinstance(value, str) else None


def words(value: object, max_chars: int) -> str | None:
    """One line: without line breaks and doubled spaces, cut; None if nothing is left."""
    return " ".join((text(value) or "")[: max_chars * 4].split())[:max_chars] or None


def short(value: object, max_chars: int) -> str | None:
    """The string cut to its first characters; None if it is empty or none."""
    found = text(value)
    return found[:max_chars] if found else None


def opaque(value: object, max_chars: int = ID_MAX_CHARS) -> str | None:
    """An id as text, whichever way it is written; None if it is none or too long to be one."""
    if type(value) is int and 0 < value <= INT_MAX:
        return str(value)
    found = text(value)
    if not found or len(found) > max_chars or not found.isprintable() or found.isspace():
        return None
    return found


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
