"""The Bot API over HTTP: aiogram's session, answering with raw JSON or raising our errors.

aiogram only carries requests: it builds the form, keeps the connections, knows the addresses. Answers are
read here from raw JSON, because its models refuse an answer with one unknown tag, and a message that was
delivered must not look like a failure.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiogram.types
import aiohttp
from aiogram.client.bot import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.methods import TelegramMethod
from pydantic_core import from_json

from ingest_telegram.payloads import File
from ingest_telegram.refusals import DEFAULT_RETRY_AFTER_SECONDS, ERROR_TABLE, FILE_TABLE, ErrorRow, to_error
from msgkit.connector.contract import MediaStream
from msgkit.connector.errors import DeliveryUnknown, MessageRejected, ProviderUnavailable, Throttled
from msgkit.connector.raw import is_node, json_integer, text
from msgkit.contracts.words import FailureCode
from msgkit.runtime.objects import ObjectMissing, ObjectStore, ObjectStoreUnavailable

CALL_SECONDS = 20.0
"""An answer that takes longer counts as unknown; Telegram answers in well under a second."""
CONNECT_SECONDS = 5.0
SILENT_SECONDS = 15.0
"""A download that brings nothing for so long has died."""
UPLOAD_BYTES_PER_SECOND = 256 * 1024
"""The slowest line we wait for."""
KEEP_ALIVE_SECONDS = 4.0
"""Shorter than any server's: a connection the server closes as we write would make a delivery unknown."""
CHUNK_BYTES = 64 * 1024


class Upload(aiogram.types.InputFile):
    """A file that goes out: streamed from the object store, never whole in memory."""

    def __init__(self, objects: ObjectStore, file: File) -> None:
        super().__init__(filename=file.name)
        self._objects = objects
        self._file = file
        self.is_whole = False
        """All of its bytes were handed over."""
        self.failure: Exception | None = None

    @property
    def size_bytes(self) -> int:
        return self._file.size_bytes

    async def read(self, bot: Bot) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in self._objects.read(self._file.key):
                yield chunk
        except (ObjectMissing, ObjectStoreUnavailable) as exc:
            # The HTTP library breaks the call off and hides why.
            self.failure = exc
            raise
        self.is_whole = True


@dataclass(frozen=True, slots=True)
class Terms:
    """What is special about one call."""

    seconds: float | None = None
    """For the whole call; None: CALL_SECONDS."""
    table: Sequence[ErrorRow] = ERROR_TABLE
    uploads: Sequence[Upload] = field(default=())

    @property
    def patience_s(self) -> float:
        seconds = CALL_SECONDS if self.seconds is None else self.seconds
        return seconds + sum(upload.size_bytes for upload in self.uploads) / UPLOAD_BYTES_PER_SECOND


class Wire(AiohttpSession):
    """The connections to one address of the Bot API."""

    def __init__(self, api_base: str, connections: int = 100) -> None:
        """
        Args:
            connections: at once; 0 for no limit.
        """
        super().__init__(api=TelegramAPIServer.from_base(api_base), limit=connections)
        self._connector_init["keepalive_timeout"] = KEEP_ALIVE_SECONDS

    async def call(self, bot: Bot, method: TelegramMethod[Any], terms: Terms) -> Any:
        """One call; returns `result` of the answer. Raises the errors of `msgkit.connector.errors`."""
        session = await self.create_session()
        url = self.api.api_url(token=bot.token, method=method.__api_method__)
        form = self.build_form_data(bot=bot, method=method)
        limits = aiohttp.ClientTimeout(total=terms.patience_s, connect=CONNECT_SECONDS)
        # `from None` throughout: errors of aiohttp may carry the address, and with it the token.
        try:
            async with session.post(url, data=form, timeout=limits, allow_redirects=False) as response:
                status, content = response.status, await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
            raise ProviderUnavailable(f"no connection to the Bot API: {type(exc).__name__}") from None
        except TimeoutError:
            raise _broken(terms, f"no answer within {terms.patience_s:g} s") from None
        except aiohttp.ClientError as exc:
            raise _broken(terms, f"the connection broke: {type(exc).__name__}") from None
        except (ObjectMissing, ObjectStoreUnavailable) as exc:
            raise _broken(terms, type(exc).__name__) from None
        return _result(status, content, terms.table)

    @asynccontextmanager
    async def download(self, bot: Bot, path: str) -> AsyncIterator[MediaStream]:
        """The file at a path that getFile told. Raises the errors of `msgkit.connector.errors`."""
        session = await self.create_session()
        url = self.api.file_url(token=bot.token, path=path)
        limits = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
        # A file is kept as it is; nobody unpacks what a stranger packed.
        plain = {"Accept-Encoding": "identity"}
        try:
            response = await session.get(
                url, timeout=limits, allow_redirects=False, headers=plain, auto_decompress=False
            )
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise ProviderUnavailable(f"the file did not come: {type(exc).__name__}") from None
        try:
            if response.status != 200:
                raise await _no_file(response)
            yield MediaStream(
                size_bytes=response.content_length,
                mime=response.headers.get("Content-Type"),
                name=path.rpartition("/")[2],
                chunks=_chunks(response.content),
            )
        finally:
            response.close()


async def _chunks(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    try:
        async for chunk in content.iter_chunked(CHUNK_BYTES):
            yield chunk
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise ProviderUnavailable(f"the file broke off: {type(exc).__name__}") from None


def _broken(terms: Terms, reason: str) -> Exception:
    """What a call without an answer means."""
    for upload in terms.uploads:
        if isinstance(upload.failure, ObjectMissing):
            return MessageRejected(
                FailureCode.REJECTED, "Прикріпленого файла вже немає в сховищі. Прикріпіть його ще раз."
            )
        if upload.failure is not None:
            return ProviderUnavailable("the object store does not give the file")
    if not all(upload.is_whole for upload in terms.uploads):
        # A request that was not sent to its end is thrown away by any server.
        return ProviderUnavailable(f"the upload broke off: {reason}")
    return DeliveryUnknown(reason)


def _result(status: int, content: bytes, table: Sequence[ErrorRow]) -> Any:
    answer = _parsed(content)
    if is_node(answer) and status < 300 and answer.get("ok") is True:
        return answer.get("result")
    raise _refusal(status, answer, table)


def _refusal(status: int, answer: Any, table: Sequence[ErrorRow]) -> Exception:
    if is_node(answer):
        code = json_integer(answer.get("error_code")) or status
        return to_error(code, _readable(answer.get("description")), answer.get("parameters"), table)
    if status == 429:
        return Throttled(DEFAULT_RETRY_AFTER_SECONDS)
    if status == 413:
        return to_error(413, "Request Entity Too Large", None, table)  # from a server in front, in HTML
    return DeliveryUnknown(f"an unreadable answer with status {status}")


def _parsed(content: bytes) -> Any:
    try:
        return from_json(content)
    except ValueError:
        pass
    try:
        # It takes what the quick one refuses, e.g. half a character in one update of a hundred.
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _readable(description: object) -> str:
    return (text(description) or "").encode("utf-8", "replace").decode()


async def _no_file(response: aiohttp.ClientResponse) -> Exception:
    """What a refused download means. A file is only read, so nothing about it is ambiguous."""
    if response.status == 404:
        return to_error(400, "wrong file_id", None, FILE_TABLE)
    try:
        content = await response.content.read(CHUNK_BYTES)
    except (aiohttp.ClientError, TimeoutError):
        content = b""
    error = _refusal(response.status, _parsed(content), FILE_TABLE)
    if isinstance(error, DeliveryUnknown):
        return ProviderUnavailable(f"the file was refused with status {response.status}")
    return error
