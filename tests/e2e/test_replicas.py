"""Two of each service behind one address: who owns what, and that nobody in front notices who serves him."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from msgkit.contracts.ids import PARTITIONS
from msgkit.testing.chaos import SERVICES
from msgkit.testing.phone import until
from msgkit.testing.system import System
from msgkit.testing.window import Window

pytestmark = [pytest.mark.alone, pytest.mark.timeout(240)]

say = print  # shown with `-s` and beside a failure
OWNERS = ("inbox", "ingest-telegram")
"""Services that divide partitions."""
WITHIN_S = 10.0


@pytest.fixture(scope="module")
def pair(servers_folder: Path) -> Iterator[System]:
    """Two of each; the second ones have not been started yet."""
    system = System(servers_folder / "pair", replicas=dict.fromkeys(SERVICES, 2))
    try:
        system.start(without=[f"{service}-2" for service in SERVICES])
        yield system
    finally:
        system.stop()


def _owned(system: System, name: str) -> set[int]:
    """The partitions a replica says it owns; none while it does not answer."""
    try:
        with urllib.request.urlopen(f"{system.internal_url(name)}/metrics", timeout=2) as answer:  # noqa: S310
            text = answer.read().decode()
    except OSError:
        return set()
    rows = re.findall(r'^rozmova_partition_owned\{partition="(\d+)".*\} 1\.0$', text, re.MULTILINE)
    return {int(partition) for partition in rows}


def _within(seconds: float, true: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s"
        time.sleep(0.1)  # pace: asking costs the one we ask
    return time.monotonic() - began


def test_a_second_replica_owns_its_fair_share_within_ten_seconds(pair: System) -> None:
    everything = set(range(PARTITIONS))
    for service in OWNERS:
        assert _owned(pair, service) == everything
    for service in SERVICES:
        pair.revive(f"{service}-2")
    pair.wait_ready()
    for service in OWNERS:
        one, two = pair.replicas_of(service)
        took = _within(WITHIN_S, lambda: len(_owned(pair, one)) == len(_owned(pair, two)) == PARTITIONS // 2)  # noqa: B023
        assert _owned(pair, one) | _owned(pair, two) == everything
        say(f"{service}: shared {took:.1f} s after readiness")


async def test_a_message_reaches_the_windows_of_both_gateways(pair: System) -> None:
    account = pair.account("olena")
    windows: list[Window] = []
    running: list[asyncio.Future[None]] = []

    def all_see(text: str) -> bool:
        return all(
            any(text in window.seen.texts(conversation, "in") for conversation in window.seen.messages)
            for window in windows
        )

    try:
        while not all(_sockets(pair, name) for name in pair.replicas_of("gateway")):
            assert len(windows) < 20, "the address deals out to one replica only"
            windows.append(Window(pair.gateway_url, account.login, account.password))
            running.append(asyncio.ensure_future(windows[-1].run()))
            async with asyncio.timeout(20):
                await windows[-1].live.wait()
        channel = pair.channels["salon"]["id"]
        async with httpx2.AsyncClient(base_url=pair.sandbox_url) as sandbox:
            written = await sandbox.post(f"/control/{channel}/clients/nina/messages", json={"text": "Є час?"})
            assert written.is_success
        await until(lambda: all_see("Є час?"), 15)
    finally:
        for window in windows:
            await window.aclose()
        await asyncio.gather(*running)


def _sockets(system: System, name: str) -> int:
    with urllib.request.urlopen(f"{system.internal_url(name)}/metrics", timeout=2) as answer:  # noqa: S310
        found = re.search(r"^rozmova_ws_connections (\d+)", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_the_survivor_owns_all_within_ten_seconds_after_a_kill(pair: System) -> None:
    everything = set(range(PARTITIONS))
    for service in OWNERS:
        one, two = pair.replicas_of(service)
        pair.kill(one)
        took = _within(WITHIN_S, lambda: _owned(pair, two) == everything)  # noqa: B023
        say(f"{service}: the survivor owned all {took:.1f} s after the kill")
        pair.revive(one)
    pair.wait_ready()


def test_what_a_leaving_replica_owned_is_taken_over_at_once(pair: System) -> None:
    everything = set(range(PARTITIONS))
    for service in OWNERS:
        one, two = pair.replicas_of(service)
        _within(WITHIN_S, lambda: len(_owned(pair, two)) == PARTITIONS // 2)  # noqa: B023
        left = pair.leave(one)
        assert (left.exit_code, left.seconds < 30) == (0, True)
        took = _within(2.0, lambda: _owned(pair, two) == everything)  # noqa: B023
        say(f"{service}: ended after {left.seconds:.1f} s, all taken over {took:.1f} s later")
        pair.revive(one)
