"""Files going out: `getFile`, `/file/bot<token>/<path>` with its faults, and the phone page's own copies.

Source: open Bot API server (20 MB, error texts); the link carries the token and is good for an hour or more.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from sandbox.faults import DOWNLOAD, Fault, FaultPlan
from sandbox.ledger import Ledger
from sandbox.telegram import media
from sandbox.telegram.files import Files, StoredFile
from sandbox.telegram.params import ApiError, Method, Outcome, Params
from sandbox.telegram.state import Bot, Telegram

MAX_DOWNLOAD_BYTES = 20 * 1024 * 1024
"""Source: Bot API, getFile."""
_REFUSALS = {
    "429": (429, "Too Many Requests: retry after {seconds}"),
    "500": (500, "Internal Server Error: restart"),
    "502": (502, "Bad Gateway"),
    "vanished": (404, "Not Found"),
}
_CHUNK_BYTES = 256 * 1024
_DRIPS_PER_SECOND = 10
_SHOWN = ("image/jpeg", "image/png", "image/webp", "image/gif", "video/", "audio/")
_COPY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "private, max-age=3600",
}


class Downloads:
    """Gives the bytes of files to bots and to the phone page."""

    def __init__(self, telegram: Telegram, files: Files, faults: FaultPlan, ledger: Ledger) -> None:
        self._telegram = telegram
        self._files = files
        self._faults = faults
        self._ledger = ledger
        self._closing = asyncio.Event()

    def methods(self) -> dict[str, Method]:
        """By the name of the method, in small letters."""
        return {"getfile": self.get_file}

    def routes(self) -> list[web.RouteDef]:
        """Where bots and the phone page load bytes."""
        return [
            web.get("/file/bot{token:[^/]*}/{path:.+}", self._download),
            web.get("/control/files/{unique_id}", self._copy),
        ]

    def close(self) -> None:
        """Let go of the downloads a fault holds."""
        self._closing.set()

    def get_file(self, bot: Bot, params: Params) -> Outcome:
        """Tell the path of a file."""
        file_id = params.text("file_id")
        if not file_id:
            raise ApiError(400, "Bad Request: file_id not specified")
        file = self._files.by_id(bot.account.id, file_id)
        if file is None:
            raise ApiError(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        if file.size > MAX_DOWNLOAD_BYTES:
            raise ApiError(400, "Bad Request: file is too big")
        return Outcome(media.as_file(file))

    async def _copy(self, request: web.Request) -> web.StreamResponse:
        """The bytes for the phone page; what is no picture or recording is only saved, never shown."""
        file = self._files.by_unique(request.match_info["unique_id"])
        if file is None:
            raise web.HTTPNotFound(text="Такого файлу більше немає: пісочниця пам'ятає лише нові файли.")
        mime = file.looks.mime
        shown = mime.startswith(_SHOWN)
        headers = {**_COPY_HEADERS, "Content-Type": mime if shown else "application/octet-stream"}
        if not shown:
            headers["Content-Disposition"] = "attachment"
        return web.FileResponse(file.place, headers=headers)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        bot = self._telegram.bots.get(request.match_info["token"])
        if bot is None:
            return _refusal(401, "Unauthorized")
        file = self._files.by_path(bot.account.id, request.match_info["path"])
        client = None if file is None else file.client
        fault = self._faults.for_download(bot.channel_id, client)
        sent = _Sent()
        try:
            if fault is not None:
                return await self._faulty(request, file, fault, sent)
            if file is None:
                sent.status = 404
                return _refusal(404, "Not Found")
            return await _stream(request, file, sent)
        finally:
            person = None if client is None else self._telegram.people.get(client)
            self._ledger.api(
                channel_id=bot.channel_id,
                client=client,
                chat_id=None if person is None else person.id,
                message_id=None,
                text=request.match_info["path"],
                method=DOWNLOAD,
                status=sent.status,
                error=None,
                accepted=sent.whole,
                fault=None if fault is None else fault.kind,
            )

    async def _faulty(
        self, request: web.Request, file: StoredFile | None, fault: Fault, sent: "_Sent"
    ) -> web.StreamResponse:
        """Answers that are no file; `file` may be unknown."""
        if file is None or fault.kind in _REFUSALS:
            sent.status, text = _REFUSALS.get(fault.kind, _REFUSALS["vanished"])
            return _refusal(sent.status, text, fault.retry_after if fault.kind == "429" else None)
        match fault.kind:
            case "drip":
                return await self._drip(request, file, fault, sent)
            case "oversize":
                return await self._oversize(request, file, fault, sent)
            case "wrong_type":
                return await _stream(request, file, sent, mime=fault.content_type)
            case "wrong_length" | "cut":
                return await _broken_length(request, file, fault, sent)
            case "hang":
                await self._wait(fault.seconds)
        _break(request, hard=fault.kind == "reset")
        return web.Response()  # goes nowhere: the connection is gone

    async def _drip(
        self, request: web.Request, file: StoredFile, fault: Fault, sent: "_Sent"
    ) -> web.StreamResponse:
        """A few bytes at a time, for ever so long."""
        response = await _begun(request, file.size, "application/octet-stream", sent)
        step = max(1, int(fault.bytes_per_s / _DRIPS_PER_SECOND))
        async for chunk in _chunks(file.place, step):
            await response.write(chunk)
            await self._wait(len(chunk) / fault.bytes_per_s)
            if self._closing.is_set():
                return response
        sent.whole = True
        return response

    async def _oversize(
        self, request: web.Request, file: StoredFile, fault: Fault, sent: "_Sent"
    ) -> web.StreamResponse:
        """The file and then zeros, without a length: more than `getFile` told."""
        response = await _begun(request, None, "application/octet-stream", sent)
        left = fault.size_bytes
        async for chunk in _chunks(file.place, _CHUNK_BYTES):
            await response.write(chunk)
            left -= len(chunk)
        while left > 0:
            await response.write(bytes(min(left, _CHUNK_BYTES)))
            left -= _CHUNK_BYTES
        sent.whole = True
        return response

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)


class _Sent:
    """What became of a download."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.whole = False


async def _stream(
    request: web.Request, file: StoredFile, sent: _Sent, mime: str = "application/octet-stream"
) -> web.StreamResponse:
    """The bytes, piece by piece; files have no types here, as with Telegram."""
    response = await _begun(request, file.size, mime, sent)
    async for chunk in _chunks(file.place, _CHUNK_BYTES):
        await response.write(chunk)
    await response.write_eof()
    sent.whole = True
    return response


async def _broken_length(
    request: web.Request, file: StoredFile, fault: Fault, sent: _Sent
) -> web.StreamResponse:
    """`cut` breaks the connection in the middle; `wrong_length` announces another length than comes."""
    lying = fault.kind == "wrong_length"
    announced = fault.size_bytes if lying else file.size
    left = min(announced, file.size) if lying else file.size // 2
    response = await _begun(request, announced, "application/octet-stream", sent)
    async for chunk in _chunks(file.place, _CHUNK_BYTES):
        await response.write(chunk[:left])
        left -= len(chunk)
        if left <= 0:
            break
    _break(request, hard=not lying)
    return response


async def _begun(request: web.Request, length: int | None, mime: str, sent: _Sent) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": mime})
    if length is None:
        response.enable_chunked_encoding()
    else:
        response.content_length = length
    sent.status = 200
    await response.prepare(request)
    return response


async def _chunks(place: Path, size: int) -> AsyncIterator[bytes]:
    with place.open("rb") as file:  # small pieces from the page cache
        while chunk := file.read(size):
            yield chunk


def _break(request: web.Request, *, hard: bool) -> None:
    transport = request.transport
    if transport is not None:
        if hard:
            transport.abort()
        else:
            transport.close()


def _refusal(status: int, description: str, retry_after: int | None = None) -> web.Response:
    description = description.format(seconds=retry_after)
    body: dict[str, object] = {"ok": False, "error_code": status, "description": description}
    headers = {}
    if retry_after is not None:
        body["parameters"] = {"retry_after": retry_after}
        headers["Retry-After"] = str(retry_after)
    return web.json_response(body, status=status, headers=headers)
