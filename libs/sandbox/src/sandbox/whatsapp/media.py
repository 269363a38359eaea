"""Files of the Cloud API: upload, an address for five minutes, the bytes behind it.

Ids of what clients sent live 7 days, of what was uploaded 30. An address wants the token too; an old one is
404. Source: the fact sheet, 2.4 and 2.5; Meta's page of media (types and sizes).
"""

import asyncio
import hashlib
import hmac
import math
import secrets
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import web

from sandbox.darkroom import Darkroom
from sandbox.delivery import Pace
from sandbox.faults import DOWNLOAD, FaultPlan
from sandbox.files import Files, StoredFile
from sandbox.ledger import Ledger
from sandbox.serving import Sent, Serving, whole
from sandbox.studio import FileOrder
from sandbox.uploads import Arrived, TooBig, form_of
from sandbox.whatsapp.calls import Call, Called
from sandbox.whatsapp.codes import BAD_PARAMETER, BAD_TOKEN, MEDIA_FAILED, GraphRefusal, no_such_object
from sandbox.whatsapp.state import Media, Number, WhatsApp

ADDRESS_SECONDS = 300.0
INBOUND_SECONDS = 7 * 24 * 3600.0
UPLOADED_SECONDS = 30 * 24 * 3600.0
PATH = "/graph/whatsapp_business/attachments/"
_MB = 1024 * 1024
MAX_BYTES = 100 * _MB
LIMITS = {
    "image": (("image/jpeg", "image/png"), 5 * _MB),
    "video": (("video/mp4", "video/3gpp"), 16 * _MB),
    "audio": (("audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg", "audio/opus"), 16 * _MB),
    "sticker": (("image/webp",), 500 * 1024),
    "document": ((), MAX_BYTES),
}
"""Types and bytes that may be sent as such a message; documents may be anything that can be uploaded."""
MAX_STILL_STICKER_BYTES = 100 * 1024
UPLOAD_TYPES = (
    *LIMITS["audio"][0],
    "application/vnd.ms-powerpoint",
    "application/msword",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/pdf",
    "text/plain",
    "application/vnd.ms-excel",
    *LIMITS["image"][0],
    *LIMITS["sticker"][0],
    *LIMITS["video"][0],
)
_REFUSALS = {"429": 429, "500": 500, "502": 502, "vanished": 404}


class MediaDesk:
    """Takes and gives files."""

    def __init__(
        self,
        whatsapp: WhatsApp,
        files: Files,
        darkroom: Darkroom,
        faults: FaultPlan,
        ledger: Ledger,
        serving: Serving,
        pace: Pace,
    ) -> None:
        self._whatsapp = whatsapp
        self._files = files
        self._darkroom = darkroom
        self._faults = faults
        self._ledger = ledger
        self._serving = serving
        self._pace = pace
        self._key = secrets.token_bytes(32)

    def routes(self) -> list[web.RouteDef]:
        """The address of the bytes."""
        return [web.get(PATH, self._download), web.get(PATH.rstrip("/"), self._download)]

    async def upload(self, number: Number, call: Call) -> Called:
        """`POST /{phone_number_id}/media`: one file of a form."""
        if call.request.content_type != "multipart/form-data":
            raise GraphRefusal(BAD_PARAMETER, message="(#100) The parameter file is required.")
        try:
            async with form_of(call.request, self._files.draft, MAX_BYTES) as form:
                if form.values.get("messaging_product") != "whatsapp":
                    raise GraphRefusal(
                        BAD_PARAMETER, message="(#100) The parameter messaging_product is required."
                    )
                arrived = form.file("file")
                if arrived is None:
                    raise GraphRefusal(BAD_PARAMETER, message="(#100) The parameter file is required.")
                media = await self.keep(number, arrived, UPLOADED_SECONDS, client="")
        except TooBig as exc:
            raise GraphRefusal(MEDIA_FAILED, f"File size too large: at most {MAX_BYTES} bytes.") from exc
        except ValueError as exc:
            raise GraphRefusal(BAD_PARAMETER, message="(#100) The parameter file is required.") from exc
        return Called({"id": media.id}, number)

    async def keep(self, number: Number, arrived: Arrived, seconds: float, client: str) -> Media:
        """Keep an upload as media.

        Raises:
            GraphRefusal: a type or a size that is not taken.
        """
        mime = _bare(arrived.mime)
        if mime not in UPLOAD_TYPES:
            raise GraphRefusal(
                BAD_PARAMETER,
                message="(#100) Param file must be a file with one of the following types: "
                f"{', '.join(UPLOAD_TYPES)}. Received file of type '{mime}'.",
            )
        kind = next((name for name, (types, _) in LIMITS.items() if mime in types), "document")
        check_size(kind, mime, arrived.size)
        order = FileOrder(name=arrived.name, mime=mime)
        file = await self._darkroom.picked(
            number.account.files_id, _phone_kind(kind, mime), order, arrived, client
        )
        return await self.register(number, file, seconds)

    async def register(
        self, number: Number, file: StoredFile, seconds: float, *, voice: bool = False
    ) -> Media:
        """An id for a stored file."""
        digest = await asyncio.to_thread(_digest, file.place)
        mime = "audio/ogg; codecs=opus" if voice else file.looks.mime
        media = Media(
            id=self._whatsapp.media_id(),
            phone_number_id=number.account.phone_number_id,
            file=file,
            sha256=digest,
            mime=mime,
            expires_at=self._whatsapp.clock() + seconds,
            voice=voice,
        )
        self._whatsapp.keep_media(media)
        return media

    def found(self, media_id: str, call: Call) -> Media:
        """The file of this id, if the token may see it.

        Raises:
            GraphRefusal: there is none.
        """
        media = self._whatsapp.media.get(media_id)
        asked = call.query.get("phone_number_id")
        gone = media is None or media.expires_at <= self._whatsapp.clock()
        if media is None or gone or asked not in (None, media.phone_number_id):
            raise no_such_object(media_id, call.request.method)
        if self._whatsapp.numbers[media.phone_number_id].account.token != call.token:
            raise no_such_object(media_id, call.request.method)
        return media

    def described(self, media: Media) -> Called:
        """`GET /{media_id}`."""
        number = self._whatsapp.numbers[media.phone_number_id]
        answer = {
            "messaging_product": "whatsapp",
            "url": self.link(number, media, "getMedia"),
            "mime_type": media.mime,
            "sha256": media.sha256.hex(),
            "file_size": media.file.size,
            "id": media.id,
        }
        return Called(answer, number, number.chats.get(media.file.client or ""))

    def delete(self, media: Media) -> Called:
        """`DELETE /{media_id}`."""
        del self._whatsapp.media[media.id]
        return Called({"success": True}, self._whatsapp.numbers[media.phone_number_id])

    def link(self, number: Number, media: Media, source: str) -> str:
        """An address for five minutes from now; they are divided by the pace."""
        expires = math.ceil(self._whatsapp.clock() + ADDRESS_SECONDS / self._pace.divisor)
        sealed = self._sealed(media.id, str(expires))
        query = {"mid": media.id, "source": source, "ext": expires, "hash": sealed}
        return f"{number.base}{PATH}?{urlencode(query)}"

    async def _download(self, request: web.Request) -> web.StreamResponse:
        media = self._whatsapp.media.get(request.query.get("mid", ""))
        number = None if media is None else self._whatsapp.numbers[media.phone_number_id]
        client = None if media is None else media.file.client or None
        channel_id = None if number is None else number.channel_id
        fault = self._faults.for_download(channel_id, client)
        sent = Sent()
        try:
            refused = self._refused(request, media, number)
            if refused is None and fault is not None and fault.kind in _REFUSALS:
                refused = _REFUSALS[fault.kind]
            if refused is not None:
                sent.status = refused
                body = GraphRefusal(BAD_TOKEN).body() if refused == 401 else {}
                return web.json_response(body, status=refused)
            assert media is not None
            if fault is not None:
                return await self._serving.faulty(request, media.file, fault, sent)
            return await whole(request, media.file, sent, mime=_bare(media.mime))
        finally:
            chat = None if number is None or client is None else number.chats.get(client)
            self._ledger.api(
                channel_id=channel_id,
                client=client,
                chat_id=None if chat is None else chat.identity.wa_id,
                message_id=None,
                text=None if media is None else media.id,
                method=DOWNLOAD,
                status=sent.status,
                error=None,
                accepted=sent.whole,
                fault=None if fault is None else fault.kind,
            )

    def _refused(self, request: web.Request, media: Media | None, number: Number | None) -> int | None:
        """The status of an address that is not good."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not any(other.account.token == token for other in self._whatsapp.numbers.values()):
            return 401
        expires = request.query.get("ext", "")
        if media is None or number is None or number.account.token != token:
            return 404
        sealed = self._sealed(media.id, expires)
        if not hmac.compare_digest(sealed.encode(), request.query.get("hash", "").encode()):
            return 404
        return None if self._whatsapp.clock() < int(expires) else 404

    def _sealed(self, media_id: str, expires: str) -> str:
        return hmac.new(self._key, f"{media_id}?{expires}".encode(), hashlib.sha256).hexdigest()[:40]


def check_size(kind: str, mime: str, size_bytes: int) -> None:
    """A file may be this long for a message of this type.

    Raises:
        GraphRefusal: it is longer.
    """
    limit = LIMITS[kind][1]
    if size_bytes > limit:
        raise GraphRefusal(
            MEDIA_FAILED, f"{mime}: file size {size_bytes} is over the limit of {limit} bytes."
        )


def _phone_kind(kind: str, mime: str) -> str:
    """What a phone calls it."""
    if kind == "audio":
        return "voice" if mime in ("audio/ogg", "audio/opus") else "audio"
    return "photo" if kind == "image" else kind


def _bare(mime: str | None) -> str:
    return (mime or "application/octet-stream").partition(";")[0].strip().lower()


def _digest(place: Path) -> bytes:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
