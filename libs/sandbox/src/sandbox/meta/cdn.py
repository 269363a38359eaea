"""Files: addresses that end after some days, uploads by form or address, attachment ids for ninety days.

An address needs no token. How long it lives Meta does not publish; three days are this sandbox's, divided by
the pace. Source: the fact sheet, 2.2, 2.4 and 2.5.
"""

import hashlib
import hmac
import math
import secrets
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from aiohttp import web

from sandbox.darkroom import Darkroom
from sandbox.delivery import Pace
from sandbox.faults import DOWNLOAD, FaultPlan
from sandbox.files import Files, StoredFile, guess_mime
from sandbox.ledger import Ledger
from sandbox.meta.calls import Call, Called, as_object
from sandbox.meta.codes import (
    BAD_PARAMETER,
    GONE_ATTACHMENT,
    NOT_FETCHED,
    TOO_BIG,
    UPLOAD_FAILED,
    GraphRefusal,
    bad_parameter,
)
from sandbox.meta.network import Meta
from sandbox.meta.state import DAY, Business, Kind
from sandbox.serving import Sent, Serving, whole
from sandbox.studio import FileOrder
from sandbox.uploads import Arrived

ADDRESS_SECONDS = 3 * DAY
UPLOADED_SECONDS = 90 * DAY
FETCH_TIMEOUT_SECONDS = 30.0
_MB = 1024 * 1024
MAX_BYTES = 25 * _MB
MAX_IMAGE_BY_URL_BYTES = 8 * _MB
_SUFFIXES = {
    "image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp",
    "video/mp4": ".mp4", "audio/ogg": ".ogg", "audio/mpeg": ".mp3", "audio/mp4": ".m4a",
    "application/pdf": ".pdf",
}  # fmt: skip
_NAMES = {"photo": "photo", "video": "clip", "voice": "audioclip", "audio": "audioclip", "sticker": "sticker"}
TYPES: dict[Kind, dict[str, tuple[str, ...]]] = {
    "facebook": {"image": ("image/",), "video": ("video/",), "audio": ("audio/", "video/mp4"), "file": ("",)},
    "instagram": {
        "image": ("image/png", "image/jpeg", "image/gif"),
        "video": ("video/mp4", "video/ogg", "video/x-msvideo", "video/avi", "video/quicktime", "video/webm"),
        "audio": (
            "audio/aac",
            "audio/mp4",
            "audio/x-m4a",
            "audio/m4a",
            "audio/wav",
            "audio/x-wav",
            "video/mp4",
        ),
        "file": ("application/pdf",),
    },
}
"""What may be sent as which type, by the beginning of the media type."""
_PHONE_KINDS = {"image": "photo", "video": "video", "audio": "audio", "file": "document"}
_REFUSALS = {"429": 429, "500": 500, "502": 502, "vanished": 404}
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Asset:
    """An upload that may be sent again and again."""

    id: str
    account_id: str
    type: str
    file: StoredFile
    expires_at: float


class Cdn:
    """Takes and gives files."""

    def __init__(
        self,
        meta: Meta,
        files: Files,
        darkroom: Darkroom,
        http: aiohttp.ClientSession,
        faults: FaultPlan,
        ledger: Ledger,
        serving: Serving,
        pace: Pace,
    ) -> None:
        self._meta = meta
        self._files = files
        self._darkroom = darkroom
        self._http = http
        self._faults = faults
        self._ledger = ledger
        self._serving = serving
        self._pace = pace
        self._assets: dict[str, Asset] = {}
        self._owners: dict[str, str] = {}
        """Account by file: whose dialogue an address is about."""
        self._last_id = 0
        self._key = secrets.token_bytes(32)

    def routes(self) -> list[web.RouteDef]:
        """The addresses of the bytes."""
        return [
            web.get("/graph-meta/v/t1.15752-9/{file}/{name}", self._page_file),
            web.get("/{host:graph-(?:meta|instagram)}/ig_messaging_cdn/", self._instagram_file),
        ]

    def link(self, business: Business, file: StoredFile) -> str:
        """A fresh address of a file."""
        expires = math.ceil(self._meta.clock() + ADDRESS_SECONDS / self._pace.divisor)
        sealed = self._sealed(file.unique_id, expires)
        self._owners[file.unique_id] = business.account.id
        host = "graph-meta" if business.account.host == "facebook" else "graph-instagram"
        if business.kind == "instagram":
            query = urlencode({"asset_id": file.unique_id, "signature": f"{expires:x}.{sealed}"})
            return f"{business.base}/{host}/ig_messaging_cdn/?{query}"
        query = urlencode({"oh": sealed, "oe": f"{expires:x}"})
        return f"{business.base}/{host}/v/t1.15752-9/{file.unique_id}/{quote(name_of(file))}?{query}"

    # --- uploads

    async def upload(self, business: Business, call: Call) -> Called:
        """`POST /{id}/message_attachments`: an id for a file, to be sent again and again."""
        message = as_object(call.body.get("message"), "message")
        attachment = as_object(message.get("attachment"), "message[attachment]")
        kind, payload = attachment.get("type"), as_object(attachment.get("payload", {}), "payload")
        if not isinstance(kind, str) or kind not in _PHONE_KINDS:
            raise bad_parameter("message[attachment][type] must be one of image, video, audio, file")
        file = await self.taken(business, kind, payload.get("url"), call.upload, client="")
        asset = self.keep(business, kind, file)
        return Called({"attachment_id": asset.id}, business)

    def keep(self, business: Business, kind: str, file: StoredFile) -> Asset:
        """An id for a file that may be used again."""
        self._last_id = max(self._last_id + 1, int(self._meta.clock() * 1_000_000))
        asset = Asset(
            str(self._last_id), business.account.id, kind, file, self._meta.clock() + UPLOADED_SECONDS
        )
        self._assets[asset.id] = asset
        return asset

    def asset(self, business: Business, asset_id: object, kind: str) -> StoredFile:
        """The file of an attachment id.

        Raises:
            GraphRefusal: it is unknown here, of another type, or its ninety days are over.
        """
        asset = self._assets.get(str(asset_id))
        is_here = asset is not None and asset.account_id == business.account.id and asset.type == kind
        if asset is None or not is_here or asset.expires_at <= self._meta.clock():
            raise GraphRefusal(BAD_PARAMETER, GONE_ATTACHMENT)
        return asset.file

    def forget(self, business: Business) -> None:
        """All attachment ids of a page or account end now."""
        for asset in [one for one in self._assets.values() if one.account_id == business.account.id]:
            del self._assets[asset.id]

    async def taken(
        self, business: Business, kind: str, url: object, upload: Arrived | None, client: str
    ) -> StoredFile:
        """A file that came with a call, or that stands behind an address.

        Raises:
            GraphRefusal: it cannot be fetched, is too long, or of a type that is not taken.
        """
        if upload is not None:
            limit = MAX_IMAGE_BY_URL_BYTES if (business.kind, kind) == ("instagram", "image") else MAX_BYTES
            return await self._kept(business, kind, upload, limit, client)
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise bad_parameter("message[attachment][payload] needs a url, an attachment_id or filedata")
        limit = MAX_IMAGE_BY_URL_BYTES if kind == "image" else MAX_BYTES
        place = self._files.draft()
        try:
            size, mime = await self._fetch(url, place, limit)
            name = PurePosixPath(urlsplit(url).path).name or None
            if mime == "application/octet-stream":
                mime = guess_mime(name)
            return await self._kept(business, kind, Arrived(place, name, mime, size), limit, client)
        finally:
            place.unlink(missing_ok=True)

    async def _kept(
        self, business: Business, kind: str, arrived: Arrived, limit: int, client: str
    ) -> StoredFile:
        mime = (arrived.mime or guess_mime(arrived.name)).partition(";")[0].strip().lower()
        if arrived.size > limit:
            raise GraphRefusal(BAD_PARAMETER, TOO_BIG)
        if arrived.size == 0 or not mime.startswith(TYPES[business.kind][kind]):
            raise GraphRefusal(BAD_PARAMETER, UPLOAD_FAILED)
        order = FileOrder(name=arrived.name, mime=mime)
        files_id = business.account.files_id
        return await self._darkroom.picked(files_id, _PHONE_KINDS[kind], order, arrived, client)

    async def _fetch(self, url: str, place: Path, limit: int) -> tuple[int, str]:
        """Size in bytes and type of what stands behind an address."""
        size = 0
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)
        try:
            async with self._http.get(
                url, timeout=timeout, headers={"Accept-Encoding": "identity"}
            ) as answer:
                if answer.status != 200:
                    raise GraphRefusal(BAD_PARAMETER, NOT_FETCHED)
                with place.open("wb") as file:
                    async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                        size += len(chunk)
                        if size > limit:
                            raise GraphRefusal(BAD_PARAMETER, TOO_BIG)
                        file.write(chunk)
                return size, answer.content_type
        except (aiohttp.ClientError, aiohttp.InvalidURL, TimeoutError) as exc:
            raise GraphRefusal(BAD_PARAMETER, NOT_FETCHED) from exc

    # --- downloads

    async def _page_file(self, request: web.Request) -> web.StreamResponse:
        expires, sealed = request.query.get("oe", ""), request.query.get("oh", "")
        return await self._download(request, request.match_info["file"], expires, sealed)

    async def _instagram_file(self, request: web.Request) -> web.StreamResponse:
        expires, _, sealed = request.query.get("signature", "").partition(".")
        return await self._download(request, request.query.get("asset_id", ""), expires, sealed)

    async def _download(
        self, request: web.Request, unique_id: str, expires: str, sealed: str
    ) -> web.StreamResponse:
        file = self._files.by_unique(unique_id)
        business = self._meta.businesses.get(self._owners.get(unique_id, ""))
        channel_id = None if business is None else business.channel_id
        client = None if file is None else file.client or None
        fault = self._faults.for_download(channel_id, client)
        sent = Sent()
        try:
            refused = self._refused(file, unique_id, expires, sealed)
            if refused is None and fault is not None and fault.kind in _REFUSALS:
                refused = _REFUSALS[fault.kind]
            if refused is not None:
                sent.status = refused
                words = "URL signature expired" if refused == 403 else "Not found"
                return web.Response(status=refused, text=words)
            assert file is not None
            if fault is not None:
                return await self._serving.faulty(request, file, fault, sent)
            return await whole(request, file, sent, mime=file.looks.mime)
        finally:
            self._ledger.api(
                channel_id=channel_id,
                client=client,
                chat_id=None,
                message_id=None,
                text=unique_id,
                method=DOWNLOAD,
                status=sent.status,
                error=None,
                accepted=sent.whole,
                fault=None if fault is None else fault.kind,
            )

    def _refused(self, file: StoredFile | None, unique_id: str, expires: str, sealed: str) -> int | None:
        """The status of an address that is not good."""
        try:
            until = int(expires, 16)
        except ValueError:
            return 403
        if not hmac.compare_digest(self._sealed(unique_id, until).encode(), sealed.encode()):
            return 403
        if self._meta.clock() >= until:
            return 403
        return 404 if file is None else None

    def _sealed(self, unique_id: str, expires: int) -> str:
        return hmac.new(self._key, f"{unique_id}?{expires}".encode(), hashlib.sha256).hexdigest()[:40]


def name_of(file: StoredFile) -> str:
    """The name in an address: the only place where Meta tells it."""
    if file.looks.name:
        return file.looks.name.replace("/", "_")
    stem = _NAMES.get(file.kind, "file")
    return f"{stem}{_SUFFIXES.get(file.looks.mime, '')}"
