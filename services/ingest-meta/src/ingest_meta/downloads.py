"""Files of clients: fetched without a token from the signed addresses that webhooks tell.

Only from Meta's own servers of files, or from the server behind the account's own `api_base`, a sandbox from
the allow-list. Source: fact sheet 2.5.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from ingest_meta.addresses import FILE_HOSTS, file_name
from ingest_meta.payloads import read_ref
from msgkit.connector.contract import Account, MediaStream
from msgkit.connector.errors import MessageRejected
from msgkit.connector.file_fetch import NearServers, addresses_of, fetch_error, origin_of
from msgkit.connector.graph_api import USER_AGENT
from msgkit.contracts.words import FailureCode
from msgkit.runtime.logs import get_logger
from msgkit.runtime.safe_fetch import FetchFailed, FetchRefused, SafeFetch

log = get_logger(__name__)

FILE_MAX_BYTES: Final = 100 * 1024 * 1024
"""More than a client can send; what we keep is decided by the kit."""
TOTAL_SECONDS: Final = 180.0


class Downloads:
    """Fetches what clients sent."""

    def __init__(self, outside: SafeFetch | None = None) -> None:
        """
        Args:
            outside: for tests: one that knows other servers.
        """
        self._outside = outside or SafeFetch(resolver=_metas_only, ports=(443,))
        self._near = NearServers()

    async def aclose(self) -> None:
        await self._outside.aclose()
        await self._near.aclose()

    @asynccontextmanager
    async def open(self, ref: str, account: Account) -> AsyncIterator[MediaStream]:
        """The file a `MediaRef` names. Raises the errors of `msgkit.connector.errors`."""
        key = read_ref(ref)
        if key is None:
            raise _gone()
        try:
            fetch = self._fetch_for(key.url, account)
            headers = {"User-Agent": USER_AGENT}
            async with fetch.open(
                key.url, max_bytes=FILE_MAX_BYTES, total_s=TOTAL_SECONDS, headers=headers
            ) as fetched:
                yield MediaStream(
                    size_bytes=fetched.size_bytes,
                    mime=fetched.mime,
                    name=file_name(key.url) if key.kind == "file" else None,
                    chunks=_told(fetched.chunks),
                )
        except (FetchRefused, FetchFailed) as exc:
            raise _error(exc) from exc

    def _fetch_for(self, url: str, account: Account) -> SafeFetch:
        near = self._near.fetch_for(url, account)
        if near is not None:
            return near
        origin = origin_of(url)
        if origin is None or origin[0] != "https" or not _is_metas(origin[1]):
            log.warning("media_host_refused", host=None if origin is None else origin[1])
            raise FetchRefused("host")
        return self._outside


async def _metas_only(host: str, port: int) -> Iterable[str]:
    """Addresses of Meta's own names, and of no other: a redirect leads nowhere else either."""
    if not _is_metas(host):
        raise FetchRefused("address")
    return await addresses_of(host, port)


def _is_metas(host: str) -> bool:
    plain = host.lower().rstrip(".")
    return any(plain == own or plain.endswith(f".{own}") for own in FILE_HOSTS)


async def _told(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield chunk
    except (FetchRefused, FetchFailed) as exc:
        raise _error(exc) from exc


def _error(exc: FetchRefused | FetchFailed) -> Exception:
    return fetch_error(exc, gone=_gone(), too_big=_too_big())


def _too_big() -> MessageRejected:
    return MessageRejected(
        FailureCode.FILE_TOO_BIG,
        f"Файл клієнта більший за {FILE_MAX_BYTES // 1024**2} МБ. Попросіть надіслати менший або посилання.",
    )


def _gone() -> MessageRejected:
    return MessageRejected(
        FailureCode.REJECTED,
        "Файл більше недоступний: адреси файлів у Meta з часом закінчуються. Попросіть клієнта надіслати "
        "його ще раз.",
    )
