"""Files of the clients' messages at signed addresses, as Viber's CDN gives them: good for an hour.

Source: captured callbacks: `Expires` is the time of the callback and 3,600 s; no other proof is asked for.
"""

import hashlib
import hmac
import math
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from io import BytesIO
from urllib.parse import quote, urlencode

from aiohttp import web
from PIL import Image

from sandbox.faults import DOWNLOAD, FaultPlan
from sandbox.files import Files, StoredFile
from sandbox.ledger import Ledger
from sandbox.serving import Sent, Serving, whole
from sandbox.studio import picture
from sandbox.viber.delivery import ViberDelivery
from sandbox.viber.state import Bot, Viber

_PREFIX = "/viber/dl/5/media/2/short/any/sig"
_KEY_PAIR = "APKASANDBOX"
_REFUSALS = {"429": 429, "500": 500, "502": 502, "vanished": 404}
_DENIED = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
_ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "video/mp4": ".mp4"}


class ViberDownloads:
    """Gives the bytes of what clients sent, stickers and avatars."""

    def __init__(
        self,
        viber: Viber,
        files: Files,
        faults: FaultPlan,
        ledger: Ledger,
        serving: Serving,
        delivery: Callable[[Bot], ViberDelivery],
    ) -> None:
        self._viber = viber
        self._files = files
        self._faults = faults
        self._ledger = ledger
        self._serving = serving
        self._delivery = delivery
        self._key = secrets.token_bytes(32)
        self._pictures: dict[int, bytes] = {}

    def routes(self) -> list[web.RouteDef]:
        """The addresses of the CDN."""
        return [
            web.get(f"{_PREFIX}/{{uri}}/{{unique_id}}/{{name}}", self._download),
            web.get("/viber/stickers/{pack}/{sticker_id}/{name}", self._sticker),
            web.get("/viber/download_photo", self._avatar),
            web.get("/viber/generic-avatar@2x.png", self._avatar),
        ]

    def link(self, bot: Bot, file: StoredFile) -> str:
        """An address of a file, signed, for an hour from now; the hour is divided by the pace."""
        name = f"{file.unique_id}{_ENDINGS.get(file.looks.mime, '')}"
        path = f"{_PREFIX}/{quote(bot.account.uri)}/{file.unique_id}/{name}"
        expires = math.ceil(self._viber.clock() + self._delivery(bot).life_seconds)
        query = {"Expires": expires, "Signature": self._sealed(path, str(expires)), "Key-Pair-Id": _KEY_PAIR}
        return f"{bot.base}{path}?{urlencode(query)}"

    def sticker_link(self, bot: Bot, sticker_id: int) -> str:
        """The address of a sticker's picture; it is public for ever."""
        return f"{bot.base}/viber/stickers/100/{sticker_id}/{sticker_id:08d}.png"

    def sticker_picture(self, sticker_id: int) -> bytes:
        """A PNG, the same for the same sticker."""
        known = self._pictures.get(sticker_id)
        if known is None:
            if len(self._pictures) >= 100:
                self._pictures.clear()
            known = self._pictures[sticker_id] = _drawn(sticker_id)
        return known

    async def _download(self, request: web.Request) -> web.StreamResponse:
        given = request.match_info
        bot = next((b for b in self._viber.bots.values() if b.account.uri == given["uri"]), None)
        file = self._files.by_unique(given["unique_id"])
        client = None if file is None else file.client
        channel_id = None if bot is None else bot.channel_id
        fault = self._faults.for_download(channel_id, client)
        sent = Sent()
        try:
            problem = self._problem(request)
            if problem is None and (bot is None or file is None or file.bot_id != bot.account.number):
                problem = (404, "NoSuchKey")
            if problem is None and fault is not None and fault.kind in _REFUSALS:
                problem = (_REFUSALS[fault.kind], "ServiceFault")
            if problem is not None:
                sent.status, code = problem
                return web.Response(
                    status=sent.status, text=_DENIED.format(code=code), content_type="application/xml"
                )
            assert file is not None
            if fault is not None:
                return await self._serving.faulty(request, file, fault, sent)
            return await whole(request, file, sent, mime=file.looks.mime)
        finally:
            chat = None if bot is None or client is None else bot.chats.get(client)
            self._ledger.api(
                channel_id=channel_id,
                client=client,
                chat_id=None if chat is None else chat.user_id,
                message_id=None,
                text=request.path,
                method=DOWNLOAD,
                status=sent.status,
                error=None,
                accepted=sent.whole,
                fault=None if fault is None else fault.kind,
            )

    def _problem(self, request: web.Request) -> tuple[int, str] | None:
        """Why a signed address is not good, as the CDN says it."""
        expires = request.query.get("Expires", "")
        sealed = self._sealed(request.rel_url.raw_path, expires)
        if not hmac.compare_digest(sealed.encode(), request.query.get("Signature", "").encode()):
            return 403, "AccessDenied"
        return None if self._viber.clock() < int(expires) else (403, "AccessDenied")

    def _sealed(self, path: str, expires: str) -> str:
        digest = hmac.new(self._key, f"{path}?{expires}".encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(digest).decode().replace("=", "_")

    async def _sticker(self, request: web.Request) -> web.Response:
        number = request.match_info["sticker_id"]
        if not number.isascii() or not number.isdigit() or len(number) > 12:
            raise web.HTTPNotFound(text="Стікери мають числові id.")
        return web.Response(body=self.sticker_picture(int(number)), content_type="image/png")

    async def _avatar(self, request: web.Request) -> web.Response:
        return web.Response(body=self.sticker_picture(0), content_type="image/png")


def _drawn(number: int) -> bytes:
    """A picture whose tint depends on the number."""
    tint = ((number * 37) % 200 + 40, (number * 91) % 200 + 40, (number * 53) % 200 + 40)
    image = Image.blend(picture(256, 256), Image.new("RGB", (256, 256), tint), 0.5)
    stream = BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
