"""Partitions: read in order, acknowledged after the work, handed over without overlap, poison set aside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from msgkit.contracts import topology
from msgkit.contracts.ids import PARTITIONS
from msgkit.runtime import bus, metrics
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import Database, Mongo, StoreUnavailable
from msgkit.runtime.partition_reader import PREFETCH, Delivery, Finish, PartitionReader
from msgkit.testing.phone import until


@dataclass
class Replica:
    """A replica of a service that writes down what it handled."""

    membership: Membership
    reader: PartitionReader
    tasks: list[asyncio.Task[None]]

    async def leave(self) -> None:
        await self.reader.drain()
        await self.membership.leave()
        for task in self.tasks:
            task.cancel()


@dataclass
class Stage:
    url: str
    database: Database
    publisher: Publisher
    handled: list[tuple[str, int, str]] = field(default_factory=list)
    """(replica, partition, body) in the order of handling."""
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)
    replicas: list[Replica] = field(default_factory=list)

    async def replica(
        self,
        name: str,
        handle: Callable[[Sequence[Delivery]], Awaitable[Finish | None]] | None = None,
        extra: asyncio.Event | None = None,
    ) -> Replica:
        membership = Membership(self.database, "test", name)
        await membership.join()

        async def keep(deliveries: Sequence[Delivery]) -> Finish | None:
            finish = None if handle is None else await handle(deliveries)
            async with self.progress:
                self.handled.extend((name, d.partition, d.body.decode()) for d in deliveries)
                self.progress.notify_all()
            return finish

        async def quarantine(delivery: Delivery, reason: str) -> None:
            async with self.progress:
                self.quarantined.append((delivery.body.decode(), reason))
                self.progress.notify_all()

        reader = PartitionReader(
            self.url,
            service="test",
            queue_name=topology.inbound_queue_name,
            membership=membership,
            handle=keep,
            quarantine=quarantine,
            attempts=self.database["attempts"],
            extra=extra,
        )
        tasks = [asyncio.ensure_future(membership.run()), asyncio.ensure_future(reader.run())]
        replica = Replica(membership, reader, tasks)
        self.replicas.append(replica)
        return replica

    async def publish(self, partition: int, bodies: Sequence[str]) -> None:
        await self.publisher.publish_all(
            [
                Outgoing(topology.INBOUND, f"test.p{partition:02d}", body.encode(), f"id-{body}", "test.v1")
                for body in bodies
            ]
        )

    async def until(self, true: Callable[[], bool], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds), self.progress:
            await self.progress.wait_for(true)


@pytest.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    mongo = Mongo(mongo_url, f"{mongo_prefix}reader")
    await bus.declare(amqp_url, topology.inbound_queues())
    publisher = Publisher(amqp_url, "test")
    stage = Stage(amqp_url, mongo.database, publisher)
    yield stage
    for replica in stage.replicas:
        if not all(task.cancelled() for task in replica.tasks):
            await replica.leave()
    await publisher.close()
    mongo.close()


async def test_every_partition_is_read_in_order(stage: Stage) -> None:
    await stage.replica("one")
    for partition in range(PARTITIONS):
        await stage.publish(partition, [f"{partition}-{number}" for number in range(40)])
    await stage.until(lambda: len(stage.handled) == PARTITIONS * 40)
    for partition in range(PARTITIONS):
        bodies = [body for _, p, body in stage.handled if p == partition]
        assert bodies == [f"{partition}-{number}" for number in range(40)]


async def test_a_store_that_is_away_is_waited_for_and_nothing_is_acknowledged_before(stage: Stage) -> None:
    failures = iter([StoreUnavailable("away"), StoreUnavailable("away")])

    async def handle(_: Sequence[Delivery]) -> None:
        failure = next(failures, None)
        if failure is not None:
            raise failure

    await stage.replica("one", handle)
    await stage.publish(3, ["a", "b", "c"])
    await stage.until(lambda: len(stage.handled) == 3)
    assert [body for _, _, body in stage.handled] == ["a", "b", "c"]
    assert not stage.quarantined


async def test_the_next_batch_is_made_durable_while_the_one_before_is_finished_in_order(stage: Stage) -> None:
    finished: list[str] = []
    may_finish = asyncio.Event()
    failures = iter([StoreUnavailable("away"), PublishUnknown("away")])

    async def handle(deliveries: Sequence[Delivery]) -> Finish:
        bodies = [delivery.body.decode() for delivery in deliveries]

        async def finish() -> None:
            await may_finish.wait()
            failure = next(failures, None)
            if failure is not None:
                raise failure
            async with stage.progress:
                finished.extend(bodies)
                stage.progress.notify_all()

        return finish

    await stage.replica("one", handle)
    await stage.publish(4, ["a"])
    await stage.until(lambda: len(stage.handled) == 1)
    await stage.publish(4, ["b"])
    await stage.until(lambda: len(stage.handled) == 2)
    assert finished == []
    may_finish.set()
    await stage.until(lambda: len(finished) == 2)
    assert finished == ["a", "b"]


async def test_what_was_made_durable_but_not_finished_comes_again(stage: Stage) -> None:
    async def handle(_: Sequence[Delivery]) -> Finish:
        async def never() -> None:
            await asyncio.Event().wait()

        return never

    first = await stage.replica("one", handle)
    await stage.publish(6, ["a"])
    await stage.until(lambda: len(stage.handled) == 1)
    await stage.publish(6, ["b"])
    await stage.until(lambda: len(stage.handled) == 2)
    for task in first.tasks:  # as SIGKILL would
        task.cancel()
    await asyncio.gather(*first.tasks, return_exceptions=True)
    await first.membership.leave()
    await stage.replica("two")
    await stage.until(lambda: len(stage.handled) == 4)
    assert stage.handled[2:] == [("two", 6, "a"), ("two", 6, "b")]


async def test_a_batch_that_cannot_be_finished_is_taken_one_by_one(stage: Stage) -> None:
    async def handle(deliveries: Sequence[Delivery]) -> Finish:
        async def finish() -> None:
            if any(delivery.body == b"poison" for delivery in deliveries):
                raise ValueError("cannot digest")

        return finish

    one = await stage.replica("one", handle)
    await stage.publish(1, ["a", "poison", "b"])
    await stage.until(lambda: len(stage.quarantined) == 1)
    await one.leave()
    assert stage.quarantined == [("poison", "ValueError: cannot digest")]
    await stage.replica("two")
    await stage.publish(1, ["c"])
    await stage.until(lambda: ("two", 1, "c") in stage.handled)
    assert [handled for handled in stage.handled if handled[0] == "two"] == [("two", 1, "c")]


async def test_a_batch_that_was_not_finished_comes_again_to_the_next_reader(stage: Stage) -> None:
    stuck = asyncio.Event()

    async def never(_: Sequence[Delivery]) -> None:
        stuck.set()
        await asyncio.Event().wait()

    first = await stage.replica("one", never)
    await stage.publish(5, ["a", "b"])
    await asyncio.wait_for(stuck.wait(), 20)
    for task in first.tasks:  # as SIGKILL would
        task.cancel()
    await asyncio.gather(*first.tasks, return_exceptions=True)
    await first.membership.leave()
    await stage.replica("two")
    await stage.until(lambda: len(stage.handled) == 2)
    assert stage.handled == [("two", 5, "a"), ("two", 5, "b")]


async def test_poison_is_handled_alone_and_set_aside_and_its_neighbours_go_on(stage: Stage) -> None:
    async def handle(deliveries: Sequence[Delivery]) -> None:
        if any(delivery.body == b"poison" for delivery in deliveries):
            raise ValueError("cannot digest")

    await stage.replica("one", handle)
    await stage.publish(1, ["a", "poison", "b"])
    await stage.until(lambda: len(stage.handled) == 2 and len(stage.quarantined) == 1)
    assert [body for _, _, body in stage.handled] == ["a", "b"]
    assert stage.quarantined == [("poison", "ValueError: cannot digest")]


async def test_a_joining_replica_gets_its_share_and_order_is_kept_through_the_hand_over(stage: Stage) -> None:
    one = await stage.replica("one")
    async with asyncio.timeout(20):
        await one.reader.subscribed.wait()
    sent: dict[int, list[str]] = {partition: [] for partition in range(PARTITIONS)}

    async def write(count: int) -> None:
        for _ in range(count):
            for partition, bodies in sent.items():
                body = f"{partition}-{len(bodies)}"
                bodies.append(body)
                await stage.publish(partition, [body])

    await write(10)
    two = await stage.replica("two")
    writing = asyncio.ensure_future(write(60))
    await stage.until(lambda: any(name == "two" for name, _, _ in stage.handled))
    await writing
    # By content: what a hand-over repeats stands there twice, once for each reader.
    await stage.until(lambda: len({(p, body) for _, p, body in stage.handled}) == PARTITIONS * 70)
    assert one.membership.owned | two.membership.owned == set(range(PARTITIONS))
    assert not one.membership.owned & two.membership.owned
    assert len(one.membership.owned) == len(two.membership.owned) == PARTITIONS // 2
    for partition, bodies in sent.items():
        # A repeat after a hand-over is allowed; a later message before an earlier one is not.
        assert list(dict.fromkeys(body for _, p, body in stage.handled if p == partition)) == bodies


async def test_what_waits_is_told_to_the_metrics(stage: Stage) -> None:
    """More than a reader takes ahead lies in the queue while the work is stuck."""
    stuck = asyncio.Event()

    async def slow(_: Sequence[Delivery]) -> None:
        await stuck.wait()

    await stage.publish(2, [str(number) for number in range(PREFETCH + 50)])
    await stage.replica("one", slow)
    queue = topology.inbound_queue_name(2)

    def waiting() -> float:
        return metrics.REGISTRY.get_sample_value("rozmova_queue_messages", {"queue": queue}) or 0.0

    try:
        await until(lambda: waiting() == 50, 20)
    finally:
        stuck.set()
    await stage.until(lambda: len(stage.handled) == PREFETCH + 50)


async def test_work_without_deliveries_can_be_asked_for(stage: Stage) -> None:
    asked = asyncio.Event()
    empty = asyncio.Event()

    async def handle(deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            empty.set()

    await stage.replica("one", handle, extra=asked)
    asked.set()
    await asyncio.wait_for(empty.wait(), 10)
