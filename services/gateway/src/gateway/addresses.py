"""Reading addresses of files: sealed, so that any replica serves them and nobody forges one. Pure.

An address says which object, how to call it and until when. It is sealed and not only signed, because the
object's key stands in it; and sealing is deterministic, so that within five minutes a file has one address
and a browser keeps what it has loaded.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from msgkit.contracts.words import MessageKind
from msgkit.runtime.clock import Clock
from msgkit.runtime.file_names import clean_name
from msgkit.runtime.media import THUMB_MIME

FILES_PATH = "/files"
STEP_SECONDS = 300
STEPS = 2
"""An address lives from one step less to so many steps: 5 to 10 minutes."""
TOKEN_MAX_CHARS = 1_500
RANGE_MAX_CHARS = 100
_PURPOSE = b"rozmova reading addresses v1"
_INLINE_PREFIXES = ("audio/", "video/")
_INLINE_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


class NotAnAddress(Exception):
    """Not one of ours, changed, or too old."""


class RangeRefused(Exception):
    """The file has no such part, or more than one part was asked for."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What an address allows to read."""

    key: str
    mime: str
    name: str
    inline: bool
    """Whether a browser may show it instead of saving it."""


@dataclass(frozen=True, slots=True)
class Address:
    path: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes from `start` up to but not including `end`."""

    start: int
    end: int


class FileAddresses:
    """Makes and opens addresses.

    Args:
        secret: 32 bytes all replicas share; another key is derived from it.
    """

    def __init__(self, secret: bytes, clock: Clock) -> None:
        key = HKDF(algorithm=SHA256(), length=64, salt=None, info=_PURPOSE).derive(secret)
        self._seal = AESSIV(key)
        self._clock = clock

    def of_file(
        self, key: str, mime: str, name: str | None, kind: MessageKind, *, has_thumb: bool
    ) -> Address:
        """An address for a file as it was found to be.

        Args:
            key, mime: as stored.
            name: as it was called; made harmless here.
            kind: what it is a file of; one sent as a file is for download.
            has_thumb: an image without one was not made anew, hence is not shown.
        """
        inline = kind != MessageKind.FILE and (
            mime.startswith(_INLINE_PREFIXES) or (mime in _INLINE_IMAGES and has_thumb)
        )
        return self._make(Grant(key, mime, clean_name(name, mime), inline))

    def of_thumb(self, key: str, name: str | None) -> Address:
        """An address for the small picture of a file."""
        stem = clean_name(name, "").rpartition(".")[0] or "file"
        return self._make(Grant(key, THUMB_MIME, clean_name(f"{stem}.webp", THUMB_MIME), inline=True))

    def open(self, token: str, name: str) -> tuple[Grant, float]:
        """What the address allows, and for how many seconds more.

        Raises:
            NotAnAddress: whatever is wrong with it.
        """
        if len(token) > TOKEN_MAX_CHARS:
            raise NotAnAddress("too long")
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            plain = self._seal.decrypt(sealed, [_PURPOSE])
        except (binascii.Error, ValueError, InvalidTag) as exc:
            raise NotAnAddress("not sealed by us") from exc
        key, mime, own_name, inline, expires = json.loads(plain)
        left = expires - self._clock().timestamp()
        if left <= 0 or name != own_name:
            raise NotAnAddress("expired, or the name is another")
        return Grant(key, mime, own_name, inline), left

    def _make(self, grant: Grant) -> Address:
        expires = (int(self._clock().timestamp()) // STEP_SECONDS + STEPS) * STEP_SECONDS
        plain = json.dumps(
            [grant.key, grant.mime, grant.name, grant.inline, expires],
            ensure_ascii=False,
            separators=(",", ":"),
        )
        token = base64.urlsafe_b64encode(self._seal.encrypt(plain.encode(), [_PURPOSE])).decode().rstrip("=")
        path = f"{FILES_PATH}/{token}/{quote(grant.name, safe='')}"
        return Address(path, datetime.fromtimestamp(expires, UTC))


def part_of(header: str | None, size: int) -> Part | None:
    """The part of a file a Range header asks for; None for the whole file.

    A header that is no range of bytes counts for nothing, as RFC 9110, 14.2 wants it.

    Args:
        header: as it came.
        size: of the file, bytes.

    Raises:
        RangeRefused: nothing of the file lies in it, or it names several parts: players and downloads ask
            for one, a thousand parts only cost.
    """
    if header is None:
        return None
    unit, _, wanted = header.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    if "," in wanted or len(wanted) > RANGE_MAX_CHARS:
        raise RangeRefused
    first, dash, last = (piece.strip() for piece in wanted.partition("-"))
    if not dash or not (first + last).isdecimal() or not (first + last).isascii():
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), size if not last else min(int(last) + 1, size)
        if last and int(last) < int(first):
            return None
    if start >= end:
        raise RangeRefused
    return Part(start, end)
