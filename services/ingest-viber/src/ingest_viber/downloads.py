"""Files of clients: fetched from the address in the callback, which is good for one hour.

Anybody may have chosen the address, so it is fetched like any from outside; only the server behind the
account's own `api_base`, a sandbox from the allow-list, may lie in a closed network.
Source: fact sheet 3.8.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from msgkit.connector.contract import Account, MediaStream
from msgkit.connector.errors import MessageRejected
from msgkit.connector.file_fetch import NearServers, fetch_error
from msgkit.contracts.words import FailureCode
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.safe_fetch import FetchFailed, FetchRefused, SafeFetch

FILE_MAX_BYTES = 200 * 1024 * 1024
"""More than a client can send; what we keep is decided by the kit."""
TOTAL_SECONDS = 120.0


class Downloads:
    """Fetches what clients sent."""

    def __init__(self, outside: SafeFetch | None = None, clock: Clock = utc_now) -> None:
        """
        Args:
            outside: for tests: one that trusts other authorities.
            clock: tells whether an address has expired.
        """
        self._outside = outside or SafeFetch()
        self._clock = clock
        self._near = NearServers()

    async def aclose(self) -> None:
        await self._outside.aclose()
        await self._near.aclose()

    @asynccontextmanager
    async def open(self, url: str, account: Account) -> AsyncIterator[MediaStream]:
        """The file at an address of a callback. Raises the errors of `msgkit.connector.errors`."""
        if self._is_over(url):
            raise _gone()
        fetch = self._near.fetch_for(url, account) or self._outside
        try:
            async with fetch.open(url, max_bytes=FILE_MAX_BYTES, total_s=TOTAL_SECONDS) as fetched:
                yield MediaStream(
                    size_bytes=fetched.size_bytes,
                    mime=fetched.mime,
                    name=None,
                    chunks=_told(fetched.chunks),
                )
        except (FetchRefused, FetchFailed) as exc:
            raise _error(exc) from exc

    def _is_over(self, url: str) -> bool:
        """Whether the address says of itself that it is not good any more."""
        try:
            expires = parse_qs(urlsplit(url).query).get("Expires", [""])[0]
        except ValueError:
            return False
        return expires.isdecimal() and len(expires) < 16 and int(expires) < self._clock().timestamp()


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
        "Файл клієнта завеликий. Попросіть надіслати менший або посилання.",
    )


def _gone() -> MessageRejected:
    return MessageRejected(
        FailureCode.REJECTED,
        "Цього файла у Viber уже немає: він береже їх годину. Попросіть клієнта надіслати його ще раз.",
    )
