"""Viber's words: names of events, limits, its ids and moments, our requests.

Callbacks are read as raw dicts: what really comes differs from what is documented (fact sheet 0.9, 3.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from msgkit.connector.raw import Node, integer, opaque

TEXT_MAX_CHARS: Final = 7000
"""Of one text. Source: developers.viber.com/docs/api/rest-bot-api, text message (fact sheet 3.6)."""
BODY_MAX_BYTES: Final = 30_000
"""Of the whole JSON of one send: «30 kB». Source: rest-bot-api, send message (fact sheet 3.6)."""
CAPTION_MAX_CHARS: Final = 512
"""Under a picture; newer copies of the docs say 768, older ones less. Source: fact sheet 3.6."""
PICTURE_MAX_BYTES: Final = 1_000_000
"""«1 MB» on iOS; above it a picture goes as a file. Source: rest-bot-api, picture message (3.6)."""
VIDEO_MAX_BYTES: Final = 26_000_000
VIDEO_MAX_SECONDS: Final = 180
"""Above either a video goes as a file. Source: rest-bot-api, video message (fact sheet 3.6)."""
FILE_MAX_BYTES: Final = 50_000_000
"""Of any file we send: «50 MB». Source: rest-bot-api, file message (fact sheet 3.6)."""
FILE_NAME_MAX_CHARS: Final = 256
"""With its ending. Source: rest-bot-api, file message (fact sheet 3.6)."""
SENDER_NAME_MAX_CHARS: Final = 28
"""Source: rest-bot-api, general send parameters (fact sheet 3.6)."""
TRACKING_MAX_CHARS: Final = 4000
"""Of `tracking_data`, as older copies say, newer ones 4096; ours is plain ASCII. Source: fact sheet 3.6."""
BUTTON_TEXT_MAX_CHARS: Final = 250
"""Source: developers.viber.com/docs/tools/keyboards, buttons parameters."""
BUTTON_BODY_MAX_CHARS: Final = 250
"""Of `ActionBody`. Source: docs/tools/keyboards, and a published refusal, «maximum allowed: 250»."""
KEYBOARD_COLUMNS: Final = 6
KEYBOARD_MAX_LINES: Final = 12
"""Lines a phone shows upright. Source: developers.viber.com/docs/faq (fact sheet 3.6)."""
SHARE_MIN_API_VERSION: Final = 3
"""For the buttons share-phone and location-picker. Source: fact sheet 3.6."""
SENDS_PER_SECOND: Final = 50
"""Of one bot; Viber names no number, so this is our own choice (fact sheet 3.6)."""

SIGNATURE_HEADER: Final = b"x-viber-content-signature"
AUTH_HEADER: Final = "X-Viber-Auth-Token"
EVENT_TYPES: Final = ("delivered", "seen", "failed", "subscribed", "unsubscribed", "conversation_started")
"""Said at every registration; `message` and `webhook` come anyway. Source: fact sheet 3.2."""

PLACEHOLDER_NAMES: Final = frozenset({"subscriber", "null"})
"""What stands where the client hides the name. Source: fact sheet 3.2."""
NAME_MAX_CHARS: Final = 256
WORD_MAX_CHARS: Final = 64
ID_MAX_CHARS: Final = 128
"""Of a user's id; Viber's own are 24."""
CONTEXT_MAX_CHARS: Final = 256
"""Of a deep link's context that we carry along."""
TEXT_KEPT_CHARS: Final = 100_000
"""Of a text that comes in; far above what Viber lets anybody write."""
URL_MAX_CHARS: Final = 4096

_MOMENT_MAX_MS = 253_402_300_799_000


def user_id(value: object) -> str | None:
    """The id of a user as text, whichever way it is written; it is case-sensitive."""
    return opaque(value, ID_MAX_CHARS)


def message_token(value: object) -> str | None:
    """The token of a message as text: a float or a JavaScript number would have lost its end."""
    found = integer(value)
    return str(found) if found is not None and found > 0 else None


def moment(milliseconds: object, otherwise: datetime) -> datetime:
    """A timestamp of Viber; `otherwise` if it makes no sense."""
    found = integer(milliseconds)
    if found is None or not 0 < found <= _MOMENT_MAX_MS:
        return otherwise
    return datetime.fromtimestamp(found // 1000, UTC).replace(microsecond=found % 1000 * 1000)


class FileKind(StrEnum):
    """How a file is shown on the phone; the word of `type`."""

    PICTURE = "picture"
    VIDEO = "video"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class File:
    """A file of an answer; its address is made when it goes out, because it lives for a week only."""

    kind: FileKind
    key: str
    mime: str
    name: str
    """What the client sees."""
    address_name: str
    """The last step of its address: plain, with a real ending."""
    size_bytes: int
    duration_s: int | None


@dataclass(frozen=True, slots=True)
class Request:
    """One send_message call. `receiver` is empty for the welcome, which is an HTTP answer."""

    receiver: str
    sender_name: str
    tracking: str
    keyboard: Node | None
    min_api_version: int
    text: str
    """The caption if there is a file."""
    file: File | None = None
