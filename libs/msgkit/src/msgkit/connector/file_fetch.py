"""Files of clients that lie at an address: the server near an account, and what a failed fetch means."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from msgkit.connector.contract import Account
from msgkit.connector.errors import MessageRejected, ProviderUnavailable
from msgkit.runtime.safe_fetch import FetchFailed, FetchRefused, SafeFetch

_EVERYWHERE = ("0.0.0.0/0", "::/0")
_TRY_AGAIN = frozenset({408, 425, 429})

Origin = tuple[str, str, int]
"""Scheme, host and port."""


class NearServers:
    """Fetches from the server behind an account's own `api_base`, a sandbox from the allow-list.

    It may lie in a closed network, where nothing else is fetched from.
    """

    def __init__(self) -> None:
        self._fetches: dict[Origin, SafeFetch] = {}

    async def aclose(self) -> None:
        for fetch in self._fetches.values():
            await fetch.aclose()

    def fetch_for(self, url: str, account: Account) -> SafeFetch | None:
        """What fetches this address; None if it is not at the account's own server."""
        near = None if account.api_base is None else origin_of(account.api_base)
        if near is None or origin_of(url) != near:
            return None
        fetch = self._fetches.get(near)
        if fetch is None:
            fetch = self._fetches[near] = _fetch_from(near)
        return fetch


def origin_of(url: str) -> Origin | None:
    """Where an address leads; None if it is none of the web."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


async def addresses_of(host: str, port: int) -> list[str]:
    """Where a name lies, for a resolver of `SafeFetch` that has looked at the name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def fetch_error(
    exc: FetchRefused | FetchFailed, *, gone: MessageRejected, too_big: MessageRejected
) -> Exception:
    """What a fetch that did not work means; nothing about it is ambiguous.

    Args:
        exc: what happened.
        gone: the messenger has the file no more.
        too_big: it is bigger than we take.
    """
    if isinstance(exc, FetchRefused):
        return too_big if exc.reason == "too_big" else gone
    if exc.status is not None and 400 <= exc.status < 500 and exc.status not in _TRY_AGAIN:
        return gone
    return ProviderUnavailable(f"the file did not come: {exc}")


def _fetch_from(origin: Origin) -> SafeFetch:
    """Fetches from this server wherever it lies, and from no other: also not along a redirect."""
    _, wanted_host, wanted_port = origin

    async def resolve(host: str, port: int) -> Iterable[str]:
        if (host.lower().strip("[]"), port) != (wanted_host, wanted_port):
            raise FetchRefused("address")
        return await addresses_of(host, port)

    return SafeFetch(resolver=resolve, allowed_networks=_EVERYWHERE)
