"""Who calls: only proxies we were told of may say it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from starlette.types import Message, Receive, Scope, Send

from gateway.proxies import TrustedProxies, caller_group, last_hop

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("forwarded", "hop"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7", "203.0.113.7"),  # what stands left anybody may have written
        ("203.0.113.7, 10.0.0.9", "203.0.113.7"),
        ("1.1.1.1,203.0.113.7 , 10.0.0.9,10.1.1.1", "203.0.113.7"),
        ("10.0.0.9", "10.0.0.9"),
        ("unknown, 10.0.0.9", "10.0.0.9"),
        ("203.0.113.7, garbage", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:db8::7, fd00::1", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        (",".join(["203.0.113.7"] + ["10.0.0.2"] * 30), "10.0.0.2"),
    ],
)
def test_the_right_most_hop_that_is_not_ours_counts(forwarded: str, hop: str) -> None:
    assert last_hop("10.0.0.1", forwarded, TRUSTED) == hop


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
    ],
)
def test_limits_count_households_of_ipv6(address: str, group: str) -> None:
    assert caller_group(address) == group


async def _seen(
    peer: str, headers: list[tuple[bytes, bytes]], trusted: list[str], kind: str = "http"
) -> tuple[str, str]:
    """Address and scheme as the app sees them."""
    seen: list[tuple[str, str]] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append((scope["client"][0], scope["scheme"]))

    async def nothing() -> Message:
        return {}

    async def nowhere(_message: Message) -> None:
        pass

    scope: Scope = {
        "type": kind,
        "client": (peer, 1),
        "scheme": "http" if kind == "http" else "ws",
        "headers": headers,
    }
    await TrustedProxies(app, [ip_network(network) for network in trusted])(scope, nothing, nowhere)
    return seen[0]


FORWARDED = [
    (b"x-forwarded-for", b"1.1.1.1"),
    (b"x-forwarded-for", b"203.0.113.7"),
    (b"x-forwarded-proto", b"https"),
]


async def test_a_caller_that_is_no_proxy_of_ours_speaks_for_itself_only() -> None:
    assert await _seen("127.0.0.1", FORWARDED, []) == ("127.0.0.1", "http")
    assert await _seen("192.0.2.1", FORWARDED, ["10.0.0.0/8"]) == ("192.0.2.1", "http")


async def test_a_proxy_of_ours_is_believed() -> None:
    assert await _seen("10.0.0.1", FORWARDED, ["10.0.0.0/8"]) == ("203.0.113.7", "https")
    assert await _seen("10.0.0.1", FORWARDED, ["10.0.0.0/8"], "websocket") == ("203.0.113.7", "wss")
    assert await _seen("10.0.0.1", [], ["10.0.0.0/8"]) == ("10.0.0.1", "http")
