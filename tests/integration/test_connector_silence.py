"""A service with a spool whose servers are there and say nothing, or are both away."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from plain_messenger import Phone
from plain_stage import started
from server_line import line_to
from yarl import URL

import spool_outage
from msgkit.connector import spool as spool_module
from msgkit.runtime.mongo import Mongo

pytestmark = pytest.mark.servers


def said(number: int) -> dict[str, Any]:
    return {"messages": [{"client": 1, "id": f"1:{number}", "text": f"1:{number}"}]}


async def test_a_broker_that_falls_silent_costs_the_first_webhooks_a_moment_and_loses_none(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "BACK_SECONDS", 1.0)
    monkeypatch.setattr(spool_module, "DRAIN_SECONDS", 2.0)
    mongo = Mongo(mongo_url, f"{mongo_prefix}ingest_plain")
    settings: dict[str, Any] = {"objects_url": tmp_path.as_uri()}
    async with line_to(amqp_url) as line:
        replica = await started(Phone(), line.url, mongo_url, mongo_prefix, **settings)
        leaving = await started(Phone(), line.url, mongo_url, mongo_prefix, **settings)
        try:
            await replica.connected()
            assert (await replica.post(said(0))).status_code == 200
            line.fall_silent()
            began = time.monotonic()
            assert (await replica.post(said(1))).status_code == 200
            assert time.monotonic() - began < spool_module.CONFIRM_SECONDS + 1
            began = time.monotonic()
            for number in range(2, 22):
                assert (await replica.post(said(number))).status_code == 200
            assert time.monotonic() - began < 2, "they asked the silent broker again"
            # What may come from anybody takes no room: not at the broker, and not here.
            assert (await replica.post({"check": True})).status_code == 200
            assert await mongo.database["spool"].count_documents({}) == 21
            assert await replica.ready()
            # An orchestrator that stops it now must not wait for the broker's last word.
            began = time.monotonic()
            await leaving.stop()
            assert time.monotonic() - began < 15
            line.speak()
            wanted = [f"1:{number}" for number in range(22)]
            arrived = await spool_outage.arrived(amqp_url, set(wanted))
            assert list(dict.fromkeys(arrived)) == wanted
        finally:
            await leaving.stop()
            await replica.stop()
            mongo.close()


async def test_with_both_servers_away_the_messenger_must_repeat_and_nothing_is_doubled(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "STORE_SECONDS", 0.5)
    direct = str(URL(mongo_url).with_query(directConnection="true"))
    async with line_to(amqp_url) as broker, line_to(direct) as store:
        replica = await started(
            Phone(), broker.url, store.url, mongo_prefix, objects_url=(tmp_path / "objects").as_uri()
        )
        try:
            await replica.connected()
            assert (await replica.post(said(0))).status_code == 200
            await broker.cut()
            await store.cut()
            refused = await replica.post(said(1))
            assert (refused.status_code, refused.content) == (503, b"")
            assert refused.headers["retry-after"] == "1"
            await store.mend()
            for _ in range(100):
                if (await replica.post(said(1))).status_code == 200:
                    break
                await asyncio.sleep(0.2)  # pace: the messenger's, between two tries
            assert (await replica.post(said(2))).status_code == 200
            await broker.mend()
            wanted = ["1:0", "1:1", "1:2"]
            arrived = await spool_outage.arrived(amqp_url, set(wanted))
            assert list(dict.fromkeys(arrived)) == wanted
        finally:
            await replica.service.drain()
            await store.cut()  # closing the driver's client holds up this loop, and with it the line
            await replica.crash()
