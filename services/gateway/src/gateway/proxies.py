"""Who really calls: what proxies say of it is believed only of proxies we were told of."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

Network = IPv4Network | IPv6Network
HOPS_MAX = 20


class TrustedProxies:
    """Puts the caller's own address and scheme in place of the proxy's.

    Without trusted proxies nothing a caller says of itself counts. Of `X-Forwarded-For` the right-most hop
    that is no proxy of ours counts: what stands left of it anybody may have written.
    """

    def __init__(self, app: ASGIApp, networks: Sequence[Network]) -> None:
        self._app = app
        self._networks = tuple(networks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if self._networks and client is not None and _is_in(_address(client[0]), self._networks):
            said = {b"x-forwarded-for": "", b"x-forwarded-proto": ""}
            for name, value in scope["headers"]:
                if name in said:
                    text = value.decode("latin-1")
                    said[name] = f"{said[name]},{text}" if said[name] else text
            hop = last_hop(client[0], said[b"x-forwarded-for"], self._networks)
            # In place: the layers around us write headers by the same scope.
            scope["client"] = (hop, 0 if hop != client[0] else client[1])
            if said[b"x-forwarded-proto"].rpartition(",")[2].strip().lower() == "https":
                scope["scheme"] = "wss" if scope["type"] == "websocket" else "https"
        await self._app(scope, receive, send)


def last_hop(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The right-most hop that is no trusted proxy; the last one we can tell if a hop is no address.

    Args:
        peer: who is connected to us: a trusted proxy.
        forwarded_for: the header, all its lines joined by commas.
        trusted: networks of our proxies.
    """
    hop = peer
    for said in reversed(forwarded_for.split(",")[-HOPS_MAX:]):
        address = _address(said.strip())
        if address is None:
            break
        hop = str(address)
        if not _is_in(address, trusted):
            break
    return hop


def caller_group(address: str) -> str:
    """What limits per address count by: an IPv4 address, or the /64 one household has of IPv6."""
    known = _address(address)
    if isinstance(known, IPv6Address):
        return str(ip_network((known, 64), strict=False))
    return address if known is None else str(known)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    bare = text.removeprefix("[").partition("]")[0] if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]  # 192.0.2.1:4711
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_in(address: IPv4Address | IPv6Address | None, networks: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in networks)
