"""GET of addresses that strangers chose: only from the open internet, only so much, only so long.

The name is resolved once, every address it has is checked, and the connection goes to a checked one: there is
no second look-up that could answer differently. Host and SNI stay those of the address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Literal
from urllib.parse import urlsplit

import httpcore2
import httpx2
from opentelemetry.trace import SpanKind

from msgkit.runtime.http import authorities
from msgkit.runtime.telemetry import span

HOPS_MAX = 3
PORTS = frozenset({80, 443})
TOTAL_SECONDS = 20.0
CONNECT_SECONDS = 5.0
ADDRESSES_TRIED = 3

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Awaitable[Iterable[str]]]
"""Host and port → its addresses as text."""

RefusalReason = Literal["scheme", "userinfo", "host", "port", "address", "redirects", "encoded", "too_big"]

_CLOSED_V4 = tuple(
    IPv4Network(text)
    # Source: iana.org/assignments/iana-ipv4-special-registry; multicast and class E beside it.
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
_OPEN_V6 = IPv6Network("2000::/3")
_CLOSED_V6 = tuple(
    IPv6Network(text)
    # Source: iana.org/assignments/iana-ipv6-special-registry; Teredo, ORCHID, documentation, 6to4.
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_NAT64 = IPv6Network("64:ff9b::/96")
"""An IPv4 address for networks that have IPv6 only: RFC 6052."""
_REDIRECTS = {301, 302, 303, 307, 308}


class FetchRefused(Exception):
    """This address must not be fetched, or what it answers must not be taken: final.

    The text holds the reason only, never the address.
    """

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(f"refused: {reason}")
        self.reason: RefusalReason = reason


class FetchFailed(Exception):
    """It did not work out: the name, the connection, the time, the server.

    Args:
        reason: in one or two words, without the address.
        status: HTTP status of the answer, if there was one.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer being read. What it says of itself is a claim."""

    size_bytes: int | None
    mime: str | None
    chunks: AsyncIterator[bytes]
    """Raises FetchRefused and FetchFailed."""


class SafeFetch:
    """Fetches without cookies, credentials, proxies or compression."""

    def __init__(
        self,
        *,
        resolver: Resolver | None = None,
        allowed_networks: Iterable[str] = (),
        ports: Iterable[int] = PORTS,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """
        Args:
            resolver: For tests; the system's resolver otherwise.
            allowed_networks: Networks that are allowed beside the open internet, on any port: the sandbox of
                a demo. Nothing by default.
            ports: Allowed on the open internet.
            ssl_context: For tests: other authorities.
        """
        allowed = tuple(ipaddress.ip_network(text) for text in allowed_networks)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or authorities(),
            max_connections=20,
            max_keepalive_connections=0,  # each request is checked anew
            network_backend=_Pinned(resolver or _system_resolver, allowed, frozenset(ports)),
        )

    @asynccontextmanager
    async def open(
        self,
        url: str,
        *,
        max_bytes: int,
        total_s: float = TOTAL_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Fetched]:
        """The answer to a GET, while the block runs.

        Args:
            url: http or https, port 80 or 443, no user name.
            max_bytes: most bytes of the body.
            total_s: seconds for everything, reading of the body included.
            headers: more headers; they go to the first server only, never along a redirect.

        Raises:
            FetchRefused: an address or an answer we do not take; nothing was sent to a closed network.
            FetchFailed: no good answer.
        """
        with span("GET outside", kind=SpanKind.CLIENT, attributes={"http.request.method": "GET"}) as current:
            try:
                async with asyncio.timeout(total_s):
                    response = await self._follow(url, dict(headers or {}))
                    try:
                        current.set_attribute("http.response.status_code", response.status)
                        yield _fetched(response, max_bytes)
                    finally:
                        await response.aclose()
            except TimeoutError as exc:
                raise FetchFailed(f"not finished within {total_s:g} s") from exc

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _follow(self, url: str, headers: dict[str, str]) -> httpcore2.Response:
        address = _parsed(url)
        for _ in range(HOPS_MAX + 1):
            response = await self._get(address, headers)
            if response.status not in _REDIRECTS:
                return response
            await response.aclose()
            location = _header(response, b"location")
            if location is None:
                raise FetchFailed("a redirect without a target", response.status)
            try:
                joined = str(address.join(location))
            except httpx2.InvalidURL as exc:
                raise FetchRefused("host") from exc
            address, headers = _parsed(joined), {}
        raise FetchRefused("redirects")

    async def _get(self, url: httpx2.URL, headers: Mapping[str, str]) -> httpcore2.Response:
        sent = {
            "Host": url.netloc.decode("ascii"),
            "Accept": "*/*",
            # What is not compressed cannot be a bomb.
            "Accept-Encoding": "identity",
            "User-Agent": "Rozmova",
            "Connection": "close",
            **headers,
        }
        request = httpcore2.Request(
            "GET",
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=list(sent.items()),
            extensions={"timeout": {"connect": CONNECT_SECONDS}},
        )
        try:
            return await self._pool.handle_async_request(request)
        except _WIRE_FAULTS as exc:
            raise FetchFailed(type(exc).__name__) from exc


_WIRE_FAULTS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
    ssl.SSLError,
)


def is_open(address: Address) -> bool:
    """Whether an address belongs to the open internet, and to nothing of ours or our neighbours'."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_open(address.ipv4_mapped)
        if address in _NAT64:
            return is_open(IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _OPEN_V6 and not any(address in network for network in _CLOSED_V6)
    return not any(address in network for network in _CLOSED_V4)


class _Pinned(httpcore2.AsyncNetworkBackend):
    """The only way to a socket: looks the name up, checks what it is told, connects to that."""

    def __init__(
        self, resolver: Resolver, allowed: tuple[IPv4Network | IPv6Network, ...], ports: frozenset[int]
    ) -> None:
        self._resolver = resolver
        self._allowed = allowed
        self._ports = ports
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await self._checked(host, port)
        fault: Exception | None = None
        for address in addresses[:ADDRESSES_TRIED]:
            try:
                return await self._sockets.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore2.NetworkError, httpcore2.TimeoutException) as exc:
                fault = exc
        raise fault or httpcore2.ConnectError("the name has no address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise FetchRefused("address")

    async def sleep(self, seconds: float) -> None:
        await self._sockets.sleep(seconds)

    async def _checked(self, host: str, port: int) -> list[Address]:
        if port not in self._ports and not self._allowed:
            raise FetchRefused("port")
        try:
            texts = list(await self._resolver(host, port))
            found = [ipaddress.ip_address(text.partition("%")[0]) for text in texts]
        except (OSError, ValueError, UnicodeError) as exc:
            raise httpcore2.ConnectError("the name cannot be resolved") from exc
        allowed = [address for address in found if self._is_allowed(address)]
        if allowed and len(allowed) == len(found):
            return allowed
        if port not in self._ports:
            raise FetchRefused("port")
        # One closed address among open ones is an attack too, not a choice.
        if not all(is_open(address) or self._is_allowed(address) for address in found):
            raise FetchRefused("address")
        return found

    def _is_allowed(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._allowed)


def _parsed(url: str) -> httpx2.URL:
    try:
        written = urlsplit(url)
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as exc:
        raise FetchRefused("host") from exc
    if parsed.scheme not in {"http", "https"}:
        raise FetchRefused("scheme")
    if parsed.userinfo or "@" in written.netloc:
        raise FetchRefused("userinfo")
    # Letters that look like others: whoever means such a name writes it as xn--.
    if not parsed.raw_host or not written.netloc.isascii():
        raise FetchRefused("host")
    return parsed


def _fetched(response: httpcore2.Response, max_bytes: int) -> Fetched:
    if response.status != 200:
        raise FetchFailed(f"status {response.status}", response.status)
    if (_header(response, b"content-encoding") or "identity").lower() != "identity":
        raise FetchRefused("encoded")
    length = _header(response, b"content-length")
    size = int(length) if length is not None and length.isascii() and length.isdigit() else None
    if size is not None and size > max_bytes:
        raise FetchRefused("too_big")
    mime = (_header(response, b"content-type") or "").partition(";")[0].strip().lower() or None
    return Fetched(size, mime, _limited(response, max_bytes))


async def _limited(response: httpcore2.Response, max_bytes: int) -> AsyncIterator[bytes]:
    size = 0
    try:
        async for chunk in response.aiter_stream():
            size += len(chunk)
            if size > max_bytes:
                raise FetchRefused("too_big")
            yield chunk
    except _WIRE_FAULTS as exc:
        raise FetchFailed(type(exc).__name__) from exc


def _header(response: httpcore2.Response, name: bytes) -> str | None:
    for key, value in response.headers:
        if key.lower() == name:
            return value.decode("latin-1")
    return None


async def _system_resolver(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
