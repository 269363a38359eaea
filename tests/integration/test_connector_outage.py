"""RabbitMQ killed under webhooks of a service with a spool: all 200, nothing lost, order kept, drained."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from plain_messenger import SERVICE, Phone
from plain_stage import Replica, started

import spool_outage
from msgkit.contracts import topology
from msgkit.contracts.ids import PARTITIONS, new_id
from msgkit.runtime.mongo import Mongo
from msgkit.testing.infra import Broker, broker

pytestmark = [pytest.mark.servers, pytest.mark.alone]
say = print  # shown with `-s` and beside a failure


@pytest_asyncio.fixture
async def server(servers_folder: Path) -> AsyncIterator[Broker]:
    """A broker of its own for a test that kills it."""
    server = broker(servers_folder / f"outage-{new_id()[:8]}")
    await asyncio.to_thread(server.start)
    yield server
    gc.collect()  # connections that never came to be are closed when collected, which needs a loop
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.stop)


async def _on_disk(server: Broker) -> None:
    for partition in range(PARTITIONS):
        for name in (topology.inbound_queue_name(partition), topology.sends_queue_name(SERVICE, partition)):
            await asyncio.to_thread(server.wait_until_on_disk, name)


def _said(client: int, number: int) -> dict[str, Any]:
    return {"messages": [{"client": client, "id": f"{client}:{number}", "text": f"{client}:{number}"}]}


async def test_broker_killed_under_load_with_two_replicas(
    server: Broker, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"objects_url": tmp_path.as_uri()}
    replicas = [await started(Phone(), server.url, mongo_url, mongo_prefix, **settings) for _ in range(2)]
    mongo = Mongo(mongo_url, f"{mongo_prefix}ingest_plain")
    try:
        await replicas[0].connected()
        await _on_disk(server)

        async def post(client: int, number: int) -> int:
            return (await replicas[(client + number) % 2].post(_said(client, number))).status_code

        async def rows() -> int:
            return await mongo.database["spool"].count_documents({})

        load = spool_outage.Load(away_s=6, rate_per_s=20, clients=10, before_s=2, after_s=2)
        figures = await spool_outage.outage(load, post, server=server, amqp_url=server.url, rows=rows)
        say(figures.line())
    finally:
        for replica in replicas:
            await replica.stop()
        mongo.close()
    assert figures.complaints == []
    assert figures.most_rows >= 0.8 * load.away_s * load.rate_per_s, "they went another way"
    assert figures.p99_ms < 1000


async def test_a_service_with_a_spool_starts_and_serves_without_the_broker(
    server: Broker, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(server.kill)
    settings: dict[str, Any] = {"objects_url": tmp_path.as_uri()}
    replica: Replica = await started(Phone(), server.url, mongo_url, mongo_prefix, **settings)
    try:
        assert await replica.ready(), "what is not ready gets no webhooks, and the messenger gives them up"
        assert (await replica.service.health.results()) == {"mongodb": True, "rabbitmq": False}
        await replica.connected()
        for number in range(5):
            assert (await replica.post(_said(1, number))).status_code == 200
        await asyncio.to_thread(server.start)
        wanted = {f"1:{number}" for number in range(5)}
        await _declared(server)
        assert await spool_outage.arrived(server.url, wanted) == sorted(wanted)
    finally:
        await replica.stop()


async def _declared(server: Broker) -> None:
    """The service finds the broker by itself and makes its queues there."""
    for _ in range(150):
        if await spool_outage.is_declared(server.url):
            return
        await asyncio.sleep(0.2)  # pace: between two looks at the broker
    pytest.fail("the queues were not there within 30 s")
