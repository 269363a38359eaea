"""Files of clients: fetched from the address in the callback, which is good for one hour.

Anybody may have chosen the address, so it is fetched like any from outside; only the server behind the
account's own `api_base`, a sandbox from the allow-list, may lie in a closed network.
Source: fact sheet 3.8.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from msgkit.connector.contract import Account, MediaStream
from msgkit.connector.errors import MessageRejected, ProviderUnavailable
from msgkit.contracts.words import FailureCode
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.safe_fetch import FetchFailed, FetchRefused, SafeFetch

FILE_MAX_BYTES = 200 * 1024 * 1024
"""More than a client can send; what we keep is decided by the kit."""
TOTAL_SECONDS = 120.0
_EVERYWHERE = ("0.0.0.0/0", "::/0")
_TRY_AGAIN = frozenset({408, 425, 429})

Origin = tuple[str, str, int]


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
        self._near: dict[Origin, SafeFetch] = {}

    async def aclose(self) -> None:
        for fetch in (self._outside, *self._near.values()):
            await fetch.aclose()

    @asynccontextmanager
    async def open(self, url: str, account: Account) -> AsyncIterator[MediaStream]:
        """The file at an address of a callback. Raises the errors of `msgkit.connector.errors`."""
        if self._is_over(url):
            raise _gone()
        fetch = self._fetch_for(url, account)
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

    def _fetch_for(self, url: str, account: Account) -> SafeFetch:
        near = None if account.api_base is None else _origin(account.api_base)
        if near is None or _origin(url) != near:
            return self._outside
        fetch = self._near.get(near)
        if fetch is None:
            fetch = self._near[near] = _fetch_from(near)
        return fetch


def _fetch_from(origin: Origin) -> SafeFetch:
    """Fetches from this server wherever it lies, and from no other: also not along a redirect."""
    _, wanted_host, wanted_port = origin

    async def resolve(host: str, port: int) -> Iterable[str]:
        if (host.lower().strip("[]"), port) != (wanted_host, wanted_port):
            raise FetchRefused("address")
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(entry[4][0]) for entry in found]

    return SafeFetch(resolver=resolve, allowed_networks=_EVERYWHERE)


def _origin(url: str) -> Origin | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


async def _told(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield chunk
    except (FetchRefused, FetchFailed) as exc:
        raise _error(exc) from exc


def _error(exc: FetchRefused | FetchFailed) -> Exception:
    """What a fetch that did not work means; nothing about it is ambiguous."""
    if isinstance(exc, FetchRefused):
        if exc.reason == "too_big":
            return MessageRejected(
                FailureCode.FILE_TOO_BIG,
                "Файл клієнта завеликий. Попросіть надіслати менший або посилання.",
            )
        return _gone()
    if exc.status is not None and 400 <= exc.status < 500 and exc.status not in _TRY_AGAIN:
        return _gone()
    return ProviderUnavailable(f"the file did not come: {exc}")


def _gone() -> MessageRejected:
    return MessageRejected(
        FailureCode.REJECTED,
        "Цього файла у Viber уже немає: він береже їх годину. Попросіть клієнта надіслати його ще раз.",
    )
