"""Words of Messenger and Instagram: kinds, limits, moments, references of files.

Webhooks are read as raw dicts: Meta leaves out and adds keys without notice, and its own pages contradict
each other (fact sheet 1.2, 1.3).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic_core import from_json

from msgkit.connector.raw import integer, node

FACEBOOK: Final = "facebook"
INSTAGRAM: Final = "instagram"

MESSENGER_DOCS: Final = "https://developers.facebook.com/documentation/business-messaging/messenger-platform/"
INSTAGRAM_DOCS: Final = (
    "https://developers.facebook.com/documentation/business-messaging/instagram-messaging/features/"
)

FACEBOOK_TEXT_MAX_CHARS: Final = 2000
"""Source: MP-SEND (fact sheet 2.4)."""
INSTAGRAM_TEXT_MAX_BYTES: Final = 1000
"""Of UTF-8; other pages of Meta say characters, bytes are fewer. Source: IG-SEND (fact sheet 2.4)."""
TEMPLATE_TEXT_MAX_CHARS: Final = 640
"""Above the buttons of a template. Source: fact sheet 2.4."""
TEMPLATE_BUTTONS_MAX: Final = 3
"""Source: fact sheet 2.4."""
QUICK_REPLIES_MAX: Final = 13
"""Source: MP-QR (fact sheet 2.4)."""
TITLE_MAX_CHARS: Final = 20
"""On a quick reply and on a button. Source: MP-QR (fact sheet 2.4)."""
PAYLOAD_MAX_CHARS: Final = 1000
"""Behind a quick reply or a button. Source: fact sheet 2.4."""
FILE_MAX_BYTES: Final = 25_000_000
"""Of anything we upload, «25 MB»; on Instagram of a video, a sound and a PDF. Source: fact sheet 2.4."""
INSTAGRAM_IMAGE_MAX_BYTES: Final = 8_000_000
"""PNG, JPEG and GIF, «8 MB». Source: IG-SEND (fact sheet 2.4)."""
FACEBOOK_SENDS_PER_SECOND: Final = 300
"""Of one page: texts, links, reactions, stickers. Source: MP-RATE (fact sheet 2.7)."""
INSTAGRAM_SENDS_PER_SECOND: Final = 100
"""Of one account; Meta's pages say 300 and 100. Source: fact sheet 2.7."""
REPLY_WINDOW_HOURS: Final = 24
"""After the client's last message. Source: fact sheet 2.6."""
HUMAN_REPLY_WINDOW_HOURS: Final = 168
"""The same for a person, with Meta's feature Human Agent. Source: fact sheet 2.6."""

OBJECTS: Final[Mapping[str, str]] = {"page": FACEBOOK, "instagram": INSTAGRAM}
"""Which of our kinds a webhook's `object` is about. Source: fact sheet 1.1, «Routing to a channel record»."""

WORD_MAX_CHARS: Final = 64
NAME_MAX_CHARS: Final = 256
URL_MAX_CHARS: Final = 4096
FILE_NAME_MAX_CHARS: Final = 255
TEXT_KEPT_CHARS: Final = 100_000
"""Of a text that comes in; far above what Meta lets anybody write."""

_SECONDS_MAX = 253_370_764_800
"""A year before the last moment there is, so that any time zone can show it."""
_MILLISECONDS_FROM = 10**12
"""From here on a time is milliseconds, below it is seconds. Source: fact sheet 1.1, «Timestamps»."""


def moment(timestamp: object) -> datetime | None:
    """A time of Meta: milliseconds, sometimes seconds, sometimes as text; None if it makes no sense.

    Source: fact sheet 1.1, «Timestamps».
    """
    found = integer(timestamp)
    if found is None:
        return None
    milliseconds = found if found >= _MILLISECONDS_FROM else found * 1000
    if not 0 < milliseconds // 1000 <= _SECONDS_MAX:
        return None
    return datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)


@dataclass(frozen=True, slots=True)
class FileKey:
    """Where a file of a client lies: a signed address that ends some day (fact sheet 2.5)."""

    url: str
    kind: str
    """The attachment's type in Meta's words, e.g. `image`."""

    def to_ref(self) -> str:
        """As `MediaRef.ref`."""
        return json.dumps({"url": self.url, "kind": self.kind}, ensure_ascii=False)


def read_ref(ref: str) -> FileKey | None:
    """The file a `MediaRef.ref` of ours names; None for anything else."""
    try:
        told = from_json(ref)
    except ValueError:
        return None
    url, kind = node(told).get("url"), node(told).get("kind")
    return FileKey(url, kind) if isinstance(url, str) and isinstance(kind, str) else None
