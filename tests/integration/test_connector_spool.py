"""The spool on real servers: order while rows wait, crashes, an empty broker, alarms; no server is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import aio_pika
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from msgkit.connector import spool as spool_module
from msgkit.connector.quarantine import Quarantine
from msgkit.connector.spool import Spool
from msgkit.contracts import topology
from msgkit.contracts.ids import conversation_id, new_id, partition_of
from msgkit.runtime import bus, metrics
from msgkit.runtime.bus import Outgoing, Publisher
from msgkit.runtime.clock import utc_now
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import Database, Mongo, StoreUnavailable
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers

KIND = "plain"
CONVERSATION = conversation_id("channel", "client")
QUEUE = topology.inbound_queue_name(partition_of(CONVERSATION))


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


def message(text: str, event_id: str = "", conversation: str = CONVERSATION) -> Outgoing:
    return Outgoing(
        exchange=topology.INBOUND,
        routing_key=topology.conversation_key(KIND, conversation),
        body=text.encode(),
        event_id=event_id or new_id(),
        type="message.received.v1",
        traceparent="00-aa-bb-01",
    )


@dataclass
class Stage:
    """A broker, a database, and spools on them as different replicas have them."""

    amqp_url: str
    database: Database
    publishers: list[Publisher] = field(default_factory=list)

    async def spool(self, name: str = "one", *, owns: bool = True, amqp_url: str | None = None) -> Spool:
        """The spool of one replica; nothing runs yet, and it takes the broker for away."""
        url = amqp_url or self.amqp_url
        membership = Membership(self.database, "ingest-plain", name)
        if owns:
            await membership.join()
        publishers = [Publisher(url, name), Publisher(url, f"{name} spool")]
        self.publishers += publishers
        spool = Spool(
            self.database,
            kinds=(KIND,),
            publisher=publishers[0],
            drainer=publishers[1],
            membership=membership,
            declare=partial(bus.declare, url, topology.inbound_queues()),
            quarantine=Quarantine(self.database, "ingest-plain"),
        )
        await spool.prepare()
        return spool

    async def rows(self) -> int:
        return await self.database["spool"].count_documents({})

    async def emptied(self) -> None:
        for _ in range(300):
            if not await self.rows():
                return
            await asyncio.sleep(0.05)  # pace: between two looks into the store
        pytest.fail("the spool was not drained within 15 s")

    async def arrived(self, count: int, queue: str = QUEUE) -> list[aio_pika.abc.AbstractIncomingMessage]:
        """The next messages of a partition, in order."""
        connection = await aio_pika.connect(self.amqp_url)
        found = []
        async with connection, asyncio.timeout(20):
            channel = await connection.channel()
            declared = await channel.declare_queue(queue, passive=True)
            async with declared.iterator(no_ack=True) as messages:
                async for one in messages:
                    found.append(one)
                    if len(found) == count:
                        break
        return found

    async def left_in(self, queue: str = QUEUE) -> int:
        connection = await aio_pika.connect(self.amqp_url)
        async with connection:
            channel = await connection.channel()
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0


@asynccontextmanager
async def running(spool: Spool) -> AsyncIterator[asyncio.Task[None]]:
    """The spool drains while the block runs."""
    task = asyncio.create_task(spool.run())
    try:
        yield task
        await spool.drain()
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    await bus.declare(amqp_url, topology.inbound_queues())
    mongo = Mongo(mongo_url, f"{mongo_prefix}ingest_plain")
    stage = Stage(amqp_url, mongo.database)
    yield stage
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        for partition in range(16):
            name = topology.inbound_queue_name(partition)
            await (await channel.declare_queue(name, passive=True)).purge()
    for publisher in stage.publishers:
        await publisher.close()
    mongo.close()


async def test_what_is_said_while_rows_wait_waits_behind_them_on_every_replica(stage: Stage) -> None:
    one, two = await stage.spool("one"), await stage.spool("two", owns=False)
    two.broker_is_there()
    await one.publish_all((message("1"), message("2")))  # it takes the broker for away
    await two.publish(message("3"))  # e.g. the report of a file of what waits
    assert await stage.rows() == 2
    assert await stage.left_in() == 0
    await two.publish_all((message("other", conversation=conversation_id("channel", "another")),))
    assert await stage.rows() == 2, "another partition does not wait"
    async with running(one):
        await stage.emptied()
        await two.publish_all((message("4"),))
        assert await stage.rows() == 0
    arrived = await stage.arrived(4)
    assert [one.body for one in arrived] == [b"1", b"2", b"3", b"4"]
    assert arrived[0].headers["traceparent"] == "00-aa-bb-01"
    assert {one.delivery_mode for one in arrived} == {aio_pika.DeliveryMode.PERSISTENT}


async def test_a_crash_between_confirm_and_delete_repeats_the_same_events(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await stage.spool("one")
    for number in range(3):
        await one.publish_all((message(str(number), f"event-{number}"),))
    published = asyncio.Event()

    async def dies(*_: object) -> None:
        published.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(one, "_forget", dies)
        task = asyncio.create_task(one.run())
        await asyncio.wait_for(published.wait(), 10)
        task.cancel()  # as SIGKILL would
        await asyncio.wait({task})
    assert await stage.rows() == 3
    async with running(await stage.spool("one")):
        await stage.emptied()
    arrived = await stage.arrived(6)
    assert [one.headers["x-event-id"] for one in arrived] == ["event-0", "event-1", "event-2"] * 2


async def test_a_whole_webhook_waits_together_with_its_journal_entry(stage: Stage) -> None:
    spool = await stage.spool()
    journal = Outgoing(topology.JOURNAL_EXCHANGE, KIND, b"{}", "journal", "webhook.received.v1")
    await spool.publish_all((message("welcome"), message("hello"), journal))
    await spool.publish_all((journal,))
    rows = await stage.database["spool"].find({}).sort("created_at", 1).to_list(None)
    assert [len(row["messages"]) for row in rows] == [3, 1]
    assert rows[0]["partition"] == partition_of(CONVERSATION)
    async with running(spool):
        await stage.emptied()


async def test_only_the_owner_drains(stage: Stage) -> None:
    stranger = await stage.spool("stranger", owns=False)
    await stranger.publish_all((message("1"),))
    stranger.broker_is_there()
    await stranger._drain_owned()
    assert await stage.rows() == 1
    async with running(await stage.spool("owner")):
        await stage.emptied()


async def test_a_broker_that_came_back_empty_gets_its_queues_first(
    stage: Stage, vhosts: VirtualHosts
) -> None:
    with vhosts.fresh() as empty:
        spool = await stage.spool(amqp_url=empty)
        spool.broker_is_there()
        await spool.publish_all((message("1"),))  # no exchange, no queue: nobody took it
        assert await stage.rows() == 1
        async with running(spool):
            await stage.emptied()
        other = Stage(empty, stage.database)
        assert [one.body for one in await other.arrived(1)] == [b"1"]


async def test_both_away_is_said_and_a_dead_broker_costs_nothing(
    stage: Stage, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"amqp://guest:guest@127.0.0.1:{unused_tcp_port}/"
    spool = await stage.spool(amqp_url=nowhere)
    spool.broker_is_there()
    started = asyncio.get_running_loop().time()
    for number in range(20):
        await spool.publish_all((message(str(number)),))
    assert asyncio.get_running_loop().time() - started < spool_module.CONFIRM_SECONDS
    assert await stage.rows() == 20
    monkeypatch.setattr(spool_module, "STORE_SECONDS", 0.5)
    away = Mongo(f"mongodb://127.0.0.1:{unused_tcp_port}/?replicaSet=rs0", "nowhere")
    both = Spool(
        away.database,
        kinds=(KIND,),
        publisher=Publisher(nowhere, "x"),
        drainer=Publisher(nowhere, "x"),
        membership=Membership(away.database, "ingest-plain", "x"),
        declare=partial(bus.declare, nowhere, ()),
        quarantine=Quarantine(away.database, "ingest-plain"),
    )
    with pytest.raises(StoreUnavailable):
        await both.publish_all((message("lost? no: the messenger repeats it"),))
    away.close()


def unroutable(event_id: str) -> Outgoing:
    """Of the same partition as CONVERSATION, to an exchange where nothing is bound for it."""
    key = f"nobody.p{partition_of(CONVERSATION):02d}"
    return Outgoing(topology.FACTS, key, b"{}", event_id, "message.received.v1")


async def test_what_no_queue_takes_is_quarantined_and_the_next_goes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "UNROUTABLE_PAUSE_SECONDS", 0.0)
    before = metrics.REGISTRY.get_sample_value("rozmova_quarantine_total", {"service": "ingest-plain"}) or 0
    spool = await stage.spool()
    await spool.publish_all((message("1", "one"),))
    await spool.publish_all((unroutable("lost"), message("2", "two")))
    await spool.publish_all((message("3", "three"),))
    with capture_logs() as logs:
        async with running(spool):
            await stage.emptied()
            assert not spool._is_away, "the broker is fine: others must not go through the spool"
    (kept,) = await stage.database["quarantine"].find({}).to_list(None)
    wanted = unroutable("lost")
    assert (kept["exchange"], kept["routing_key"], kept["event_id"], kept["body"], kept["source"]) == (
        wanted.exchange,
        wanted.routing_key,
        "lost",
        wanted.body,
        wanted.type,
    )
    after = metrics.REGISTRY.get_sample_value("rozmova_quarantine_total", {"service": "ingest-plain"})
    assert after == before + 1
    tries = [entry["event"] for entry in logs if entry["event"] == "spool_row_unroutable"]
    assert len(tries) == spool_module.UNROUTABLE_TRIES - 1
    assert [entry["event"] for entry in logs if entry["event"] == "webhooks_go_to_the_spool"] == []
    arrived = [one.headers["x-event-id"] for one in await stage.arrived(await stage.left_in())]
    assert list(dict.fromkeys(arrived)) == ["one", "two", "three"], "each in its place"
    assert arrived.count("three") <= 2, "what stands behind it is not published with each try"


async def test_tries_of_an_unroutable_row_outlive_a_restart(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "UNROUTABLE_TRIES", 2)
    first = await stage.spool()
    await first.publish_all((unroutable("lost"),))
    first.broker_is_there()
    await first._drain_owned()
    assert await stage.rows() == 1
    second = await stage.spool()
    second.broker_is_there()
    await second._drain_owned()
    assert await stage.rows() == 0
    assert await stage.database["quarantine"].count_documents({}) == 1


async def test_other_queues_at_the_broker_do_not_end_the_service(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = await stage.spool()

    async def refused() -> None:
        raise bus.TopologyMismatch("a queue exists with other arguments")

    with monkeypatch.context() as patch:
        patch.setattr(spool, "_declare", refused)
        with capture_logs() as logs:
            assert not await spool._is_back()
        assert [entry["log_level"] for entry in logs] == ["critical"]
        await spool.publish_all((message("1"),))
        assert await stage.rows() == 1
    assert await spool._is_back()


async def test_an_old_row_raises_the_alarm_once_a_minute(stage: Stage) -> None:
    spool = await stage.spool()
    await spool.publish_all((message("1"),))
    old = utc_now() - spool_module.OLD_AFTER - timedelta(seconds=1)
    await stage.database["spool"].update_one({}, {"$set": {"created_at": old}})
    with capture_logs() as logs:
        for _ in range(3):
            await spool._measure()
    alarms = [entry for entry in logs if entry["event"] == "spool_is_old"]
    assert [(alarm["log_level"], alarm["rows"]) for alarm in alarms] == [("critical", 1)]
    assert metrics.REGISTRY.get_sample_value("rozmova_spool_rows", {"kind": KIND}) == 1
    oldest = metrics.REGISTRY.get_sample_value("rozmova_spool_oldest_seconds", {"kind": KIND})
    assert oldest is not None
    assert oldest >= spool_module.OLD_AFTER.total_seconds()
