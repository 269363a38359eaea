"""Files of clients: an id, then an address for five minutes, then the bytes, both with the token.

The token goes to Meta's own servers only, or to the server behind the account's own `api_base`, a sandbox
from the allow-list. Source: fact sheet 2.5.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from ingest_whatsapp.graph import ids, token_of
from ingest_whatsapp.payloads import DOCUMENT_MAX_BYTES, WORD_MAX_CHARS, FileKey, read_ref
from ingest_whatsapp.refusals import BAD_PARAMETER, to_error
from msgkit.connector.contract import Account, MediaStream
from msgkit.connector.errors import MessageRejected, ProviderUnavailable
from msgkit.connector.file_fetch import NearServers, addresses_of, fetch_error, origin_of
from msgkit.connector.graph_api import USER_AGENT, Ask, Graph
from msgkit.connector.raw import Node, integer, text, words
from msgkit.contracts.words import FailureCode
from msgkit.runtime.logs import get_logger
from msgkit.runtime.safe_fetch import Fetched, FetchFailed, FetchRefused, SafeFetch

log = get_logger(__name__)

FILE_MAX_BYTES: Final = 100 * 1024 * 1024
"""«≤ 100 MB»; what we keep is decided by the kit. Source: fact sheet 2.5."""
TOTAL_SECONDS: Final = 180.0
HOSTS: Final = ("fbsbx.com", "fbcdn.net")
"""With everything below them: `lookaside.fbsbx.com` and Meta's other servers of files."""
_OUTDATED = frozenset({401, 403, 404, 410})
"""What an address answers that is too old; a token that is bad was refused a moment before, by the API."""
_SHA256_BYTES = 32


class Downloads:
    """Fetches what clients sent."""

    def __init__(self, graph: Graph, outside: SafeFetch | None = None) -> None:
        """
        Args:
            graph: tells the address of a file.
            outside: for tests: one that knows other servers.
        """
        self._graph = graph
        self._outside = outside or SafeFetch(resolver=_metas_only, ports=(443,))
        self._near = NearServers()

    async def aclose(self) -> None:
        await self._outside.aclose()
        await self._near.aclose()

    @asynccontextmanager
    async def open(self, ref: str, phone_number_id: str, account: Account) -> AsyncIterator[MediaStream]:
        """The file a `MediaRef` names. Raises the errors of `msgkit.connector.errors`."""
        key = read_ref(ref)
        if key is None:
            raise _gone()
        async with AsyncExitStack() as stack:
            told, fetched = await self._fetched(stack, key, phone_number_id, account)
            wanted = _digest(key.sha256) or _digest(text(told.get("sha256")))
            yield MediaStream(
                size_bytes=fetched.size_bytes,
                mime=key.mime or words(told.get("mime_type"), WORD_MAX_CHARS) or fetched.mime,
                name=key.name,
                chunks=_checked(fetched.chunks, wanted),
            )

    async def _fetched(
        self, stack: AsyncExitStack, key: FileKey, phone_number_id: str, account: Account
    ) -> tuple[Node, Fetched]:
        """What is told of the file, and its answer; an address that is too old is asked for once more."""
        told = await self._told(key, phone_number_id, account)
        try:
            return told, await stack.enter_async_context(self._get(told, account))
        except FetchFailed as exc:
            if exc.status not in _OUTDATED:
                raise _error(exc) from exc
        except FetchRefused as exc:
            raise _error(exc) from exc
        told = await self._told(key, phone_number_id, account)
        try:
            return told, await stack.enter_async_context(self._get(told, account))
        except (FetchRefused, FetchFailed) as exc:
            raise _error(exc) from exc

    async def _told(self, key: FileKey, phone_number_id: str, account: Account) -> Node:
        ask = Ask(
            verb="GET",
            path=_media_path(key),
            name="media_url",
            params={"phone_number_id": ids(phone_number_id)},
            refusal=_of_media,
        )
        told = await self._graph.call(account, ask)
        if (integer(told.get("file_size")) or 0) > FILE_MAX_BYTES:
            raise _too_big()
        return told

    @asynccontextmanager
    async def _get(self, told: Node, account: Account) -> AsyncIterator[Fetched]:
        url = text(told.get("url")) or ""
        headers = {"Authorization": f"Bearer {token_of(account)}", "User-Agent": USER_AGENT}
        fetch = self._fetch_for(url, account)
        async with fetch.open(
            url, max_bytes=FILE_MAX_BYTES, total_s=TOTAL_SECONDS, headers=headers
        ) as fetched:
            yield fetched

    def _fetch_for(self, url: str, account: Account) -> SafeFetch:
        near = self._near.fetch_for(url, account)
        if near is not None:
            return near
        origin = origin_of(url)
        # Checked here as well: the token must not even be offered in clear, or to a name of somebody else's.
        if origin is None or origin[0] != "https" or not _is_metas(origin[1]):
            log.warning("media_host_refused", host=None if origin is None else origin[1])
            raise FetchRefused("host")
        return self._outside


def _media_path(key: FileKey) -> str:
    if not key.media_id.isascii() or not key.media_id.isalnum():
        raise _gone()
    return key.media_id


def _of_media(error: Node) -> Exception:
    """An id nobody knows any more is no fault of the account."""
    return _gone() if integer(error.get("code")) == BAD_PARAMETER else to_error(error)


async def _metas_only(host: str, port: int) -> Iterable[str]:
    """Addresses of Meta's own names, and of no other: a redirect leads nowhere else either."""
    if not _is_metas(host):
        raise FetchRefused("address")
    return await addresses_of(host, port)


def _is_metas(host: str) -> bool:
    plain = host.lower().rstrip(".")
    return any(plain == own or plain.endswith(f".{own}") for own in HOSTS)


async def _checked(chunks: AsyncIterator[bytes], wanted: bytes | None) -> AsyncIterator[bytes]:
    """The bytes; at their end they must be what WhatsApp said they are."""
    digest = hashlib.sha256()
    try:
        async for chunk in chunks:
            digest.update(chunk)
            yield chunk
    except (FetchRefused, FetchFailed) as exc:
        raise _error(exc) from exc
    if wanted is not None and digest.digest() != wanted:
        raise ProviderUnavailable("the file is not the one WhatsApp told of")


def _digest(told: str | None) -> bytes | None:
    """A SHA-256 as webhooks write it, base64, or as the API does, hex; None for anything else."""
    if told is None:
        return None
    for read in (bytes.fromhex, _base64):
        try:
            found = read(told)
        except (ValueError, binascii.Error):
            continue
        if len(found) == _SHA256_BYTES:
            return found
    return None


def _base64(told: str) -> bytes:
    return base64.b64decode(told, validate=True)


def _error(exc: FetchRefused | FetchFailed) -> Exception:
    return fetch_error(exc, gone=_gone(), too_big=_too_big())


def _too_big() -> MessageRejected:
    limit_mb = DOCUMENT_MAX_BYTES // 1_000_000
    return MessageRejected(
        FailureCode.FILE_TOO_BIG,
        f"Файл клієнта більший за {limit_mb} МБ. Попросіть надіслати менший або посилання.",
    )


def _gone() -> MessageRejected:
    return MessageRejected(
        FailureCode.REJECTED,
        "Цього файла у WhatsApp уже немає: він береже їх 7 днів. Попросіть клієнта надіслати його ще раз.",
    )
