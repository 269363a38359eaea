"""Addresses of files for a messenger that fetches them itself: sealed, good for a week, on our public port.

Nothing is stored: the address says which object, of which type and until when, and only we can write one.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from msgkit.connector.settings import IngestSettings
from msgkit.runtime.byte_ranges import Part, RangeRefused, part_of
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.file_names import clean_name, content_disposition
from msgkit.runtime.logs import get_logger
from msgkit.runtime.media import is_inline
from msgkit.runtime.objects import ObjectMissing, ObjectStore, ObjectStoreUnavailable

log = get_logger(__name__)

PREFIX = "/m/"
LIVES = timedelta(days=7)
"""A messenger may fetch late, and again for each device of the client."""
TOKEN_MAX_CHARS = 400

_PURPOSE = b"rozmova public addresses of files v1"
_EXPIRY = struct.Struct(">I")
_KEY_BYTES = 18


class NotAnAddress(Exception):
    """Not one of ours, changed, or too old."""


@dataclass(frozen=True, slots=True)
class PublicFile:
    """What an address gives."""

    key: str
    mime: str
    name: str


class PublicAddresses:
    """Makes and opens addresses `<public address>/m/<seal>/<name>`."""

    def __init__(
        self, public_url: str, primary: str, keys: Mapping[str, bytes], clock: Clock = utc_now
    ) -> None:
        """
        Args:
            public_url: Where the messenger reaches us.
            primary: id of the key that seals; all of them open, so a change of keys breaks no address.
            keys: key id → 32 bytes; other keys are derived from them.
            clock: for the expiry.
        """
        self._base = public_url.rstrip("/") + PREFIX
        seals = {kid: AESSIV(_derived(key)) for kid, key in keys.items()}
        self._primary = seals[primary]
        self._seals = tuple(seals.values())
        self._clock = clock

    def of(self, key: str, mime: str, name: str | None) -> str:
        """An address for one object, good for LIVES.

        Args:
            key: of the object.
            mime: as it was found; the answer says it.
            name: what the file is called; made harmless, with an ending that fits.
        """
        clean = clean_name(name, mime)
        expires = int((self._clock() + LIVES).timestamp())
        plain = _EXPIRY.pack(expires) + bytes.fromhex(key.replace("/", "")) + mime.encode()
        sealed = self._primary.encrypt(plain, [_PURPOSE, clean.encode()])
        token = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        return f"{self._base}{token}/{quote(clean, safe='')}"

    def open(self, token: str, name: str) -> PublicFile:
        """What an address gives.

        Raises:
            NotAnAddress: whatever is wrong with it.
        """
        if len(token) > TOKEN_MAX_CHARS:
            raise NotAnAddress("too long")
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            bound = name.encode()
        except (binascii.Error, ValueError) as exc:
            raise NotAnAddress("not sealed by us") from exc
        for seal in self._seals:
            try:
                plain = seal.decrypt(sealed, [_PURPOSE, bound])
            except (InvalidTag, ValueError):
                continue
            break
        else:
            raise NotAnAddress("not sealed by us")
        (expires,) = _EXPIRY.unpack_from(plain)
        if self._clock().timestamp() >= expires:
            raise NotAnAddress("expired")
        digits = plain[_EXPIRY.size :][:_KEY_BYTES].hex()
        key = f"{digits[:2]}/{digits[2:4]}/{digits[4:]}"
        return PublicFile(key, plain[_EXPIRY.size + _KEY_BYTES :].decode(), name)


def public_addresses(settings: IngestSettings) -> PublicAddresses:
    """The addresses of an ingest service; its connector makes them, its public port answers them."""
    keys = settings.credential_keys
    raw = {kid: base64.b64decode(key.get_secret_value()) for kid, key in keys.keys.items()}
    return PublicAddresses(settings.public_url, keys.primary, raw)


def public_media_route(addresses: PublicAddresses, objects: ObjectStore) -> Route:
    """`GET` and `HEAD` of the addresses; whoever has one may read, so nothing else is checked."""

    async def read(request: Request) -> Response:
        try:
            file = addresses.open(request.path_params["token"], request.path_params["name"])
            size = await objects.size(file.key)
        except (NotAnAddress, ObjectMissing):
            return Response(status_code=404)
        except ObjectStoreUnavailable as exc:
            log.warning("public_media_unavailable", reason=str(exc))
            return Response(status_code=503, headers={"Retry-After": "10"})
        return _answer(request, objects, file, size)

    # With folders in it a proxy would have resolved `..` before us: one step only.
    return Route(f"{PREFIX}{{token}}/{{name}}", read, methods=["GET", "HEAD"], include_in_schema=False)


def _answer(request: Request, objects: ObjectStore, file: PublicFile, size: int) -> Response:
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600",
        "Content-Disposition": content_disposition(file.name, inline=is_inline(file.mime)),
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    # An object never changes and has no validator, so a condition on one cannot hold.
    asked = None if "if-range" in request.headers else request.headers.get("range")
    try:
        part = part_of(asked, size)
    except RangeRefused:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    status = 200
    if part is not None:
        status, headers["Content-Range"] = 206, f"bytes {part.start}-{part.end - 1}/{size}"
    else:
        part = Part(0, size)
    headers["Content-Length"] = str(part.end - part.start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=file.mime)
    whole = part.end - part.start == size
    chunks = objects.read(file.key) if whole else objects.read(file.key, part.start, part.end)
    return StreamingResponse(chunks, status, headers=headers, media_type=file.mime)


def _derived(key: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=64, salt=None, info=_PURPOSE).derive(key)
