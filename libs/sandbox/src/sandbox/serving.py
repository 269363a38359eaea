"""Bytes of files over HTTP, whole or broken the way a fault wants; and answers that never come."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from sandbox.faults import Fault
from sandbox.files import StoredFile

_CHUNK_BYTES = 256 * 1024
_DRIPS_PER_SECOND = 10


class Sent:
    """What became of a download."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.whole = False


class Serving:
    """Gives bytes; faults that hold a connection let go of it when the sandbox closes."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Let go of what a fault holds."""
        self._closing.set()

    async def silence(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        """No answer at all: the connection just ends, after a while if the fault says so."""
        if fault.kind == "hang":
            await self.wait(fault.seconds)
        break_off(request, hard=fault.kind == "reset")
        return web.Response()  # goes nowhere: the connection is gone

    async def faulty(
        self, request: web.Request, file: StoredFile, fault: Fault, sent: Sent
    ) -> web.StreamResponse:
        """A file that does not come as it should; refusals are the messenger's own."""
        match fault.kind:
            case "drip":
                return await self._drip(request, file, fault, sent)
            case "oversize":
                return await self._oversize(request, file, fault, sent)
            case "wrong_type":
                return await whole(request, file, sent, mime=fault.content_type)
            case "wrong_length" | "cut":
                return await _broken_length(request, file, fault, sent)
        return await self.silence(request, fault)

    async def wait(self, seconds: float) -> None:
        """Wait, unless the sandbox closes."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _drip(
        self, request: web.Request, file: StoredFile, fault: Fault, sent: Sent
    ) -> web.StreamResponse:
        """A few bytes at a time, for ever so long."""
        response = await _begun(request, file.size, "application/octet-stream", sent)
        step = max(1, int(fault.bytes_per_s / _DRIPS_PER_SECOND))
        async for chunk in _chunks(file.place, step):
            await response.write(chunk)
            await self.wait(len(chunk) / fault.bytes_per_s)
            if self._closing.is_set():
                return response
        sent.whole = True
        return response

    async def _oversize(
        self, request: web.Request, file: StoredFile, fault: Fault, sent: Sent
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


async def whole(
    request: web.Request, file: StoredFile, sent: Sent, mime: str = "application/octet-stream"
) -> web.StreamResponse:
    """The bytes, piece by piece; files have no types here, as with Telegram."""
    response = await _begun(request, file.size, mime, sent)
    async for chunk in _chunks(file.place, _CHUNK_BYTES):
        await response.write(chunk)
    await response.write_eof()
    sent.whole = True
    return response


async def _broken_length(
    request: web.Request, file: StoredFile, fault: Fault, sent: Sent
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
    break_off(request, hard=not lying)
    return response


async def _begun(request: web.Request, length: int | None, mime: str, sent: Sent) -> web.StreamResponse:
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


def break_off(request: web.Request, *, hard: bool) -> None:
    """End the connection; `hard`: with a reset."""
    transport = request.transport
    if transport is not None:
        if hard:
            transport.abort()
        else:
            transport.close()
