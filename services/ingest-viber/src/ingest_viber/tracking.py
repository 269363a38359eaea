"""What goes along with every message and comes back with the client's next one. Pure.

Viber gives `tracking_data` of our last message back with what the client writes then. It lies on the
client's phone, so what we act on is sealed.
Source: fact sheet 3.5, 3.6.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from ingest_viber.payloads import CONTEXT_MAX_CHARS, TRACKING_MAX_CHARS
from ingest_viber.seals import is_sealed, seal
from msgkit.connector.contract import Account
from msgkit.connector.raw import INT_MAX, integer, text

_PLAIN, _PHONE_ASKED, _WELCOME = "m", "p", "w"


@dataclass(frozen=True, slots=True)
class Greeting:
    """A welcome as it was said. Nobody keeps it: it comes back with the client's first message."""

    said_at_ms: int
    text: str
    buttons: tuple[tuple[str, str], ...]
    """Title and value."""
    context: str | None
    """Of the deep link the chat was opened by."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """What comes back: at most one of the two."""

    greeting: Greeting | None = None
    phone_asked: bool = False
    """Our last message had a button that shares the client's number."""


def of_message(account: Account, contact_key: str, message_id: str, *, asks_phone: bool) -> str:
    """What goes along with an answer. Always something: it ends what went along before."""
    return _sealed(account, contact_key, f"{_PHONE_ASKED if asks_phone else _PLAIN}.{message_id}")


def of_greeting(account: Account, contact_key: str, greeting: Greeting) -> str | None:
    """What goes along with a welcome; None if it is too long for that."""
    context = greeting.context and greeting.context[:CONTEXT_MAX_CHARS]
    plain = [greeting.said_at_ms, greeting.text, greeting.buttons, context]
    packed = zlib.compress(json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode(), 9)
    written = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    tracking = _sealed(account, contact_key, f"{_WELCOME}.{written}")
    return tracking if len(tracking) <= TRACKING_MAX_CHARS else None


def read(account: Account, contact_key: str, came: object) -> Tracking:
    """What came back; nothing if it is not ours, or of another client.

    Args:
        came: `tracking_data`, whatever it is.
    """
    tracking = text(came)
    if not tracking or len(tracking) > TRACKING_MAX_CHARS:
        return Tracking()
    said, _, mark = tracking.rpartition(".")
    kind, _, payload = said.partition(".")
    if kind not in {_PHONE_ASKED, _WELCOME} or not is_sealed(account, contact_key, said, mark):
        return Tracking()
    if kind == _PHONE_ASKED:
        return Tracking(phone_asked=True)
    return Tracking(greeting=_greeting(payload))


def _sealed(account: Account, contact_key: str, said: str) -> str:
    return f"{said}.{seal(account, contact_key, said)}"


def _greeting(written: str) -> Greeting | None:
    """Ours for certain, but maybe of another version of us."""
    try:
        packed = base64.urlsafe_b64decode(written + "=" * (-len(written) % 4))
        said_at_ms, said, buttons, context = json.loads(zlib.decompress(packed))
        shown = tuple((str(title), str(value)) for title, value in _pairs(buttons))
    except (ValueError, TypeError, zlib.error):
        return None
    at = integer(said_at_ms)
    if at is None or not 0 < at <= INT_MAX or not isinstance(said, str):
        return None
    return Greeting(at, said, shown, text(context))


def _pairs(value: object) -> Sequence[Sequence[object]]:
    return value if isinstance(value, list) else []
