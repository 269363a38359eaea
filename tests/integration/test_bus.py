"""The publisher tells the truth about every message, and the topology refuses to drift."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import aio_pika
import pytest
from server_line import line_to

from msgkit.contracts import topology
from msgkit.contracts.topology import Queue
from msgkit.runtime import bus
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown, PublishUnroutable, uncancelled

QUEUE = Queue("test.bus", {"x-queue-type": "quorum"}, ((topology.INBOUND, "test.*"),))


def outgoing(number: int, key: str = "test.p00") -> Outgoing:
    return Outgoing(
        exchange=topology.SENDS if key == "nobody.p00" else topology.INBOUND,
        routing_key=key,
        body=str(number).encode(),
        event_id=f"event-{number}",
        type="test.v1",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


async def read_all(url: str, count: int) -> list[aio_pika.abc.AbstractIncomingMessage]:
    connection = await bus.connect(url, "test")
    async with connection:
        channel = await connection.channel()
        queue = await channel.get_queue(QUEUE.name)
        messages = []
        async with queue.iterator() as iterator:
            async for message in iterator:
                await message.ack()
                messages.append(message)
                if len(messages) == count:
                    break
        return messages


async def test_a_batch_arrives_in_order_persistent_and_with_its_ids(amqp_url: str) -> None:
    await bus.declare(amqp_url, [QUEUE])
    publisher = Publisher(amqp_url, "test")
    await publisher.publish_all([outgoing(number) for number in range(300)])
    messages = await read_all(amqp_url, 300)
    await publisher.close()
    assert [int(message.body) for message in messages] == list(range(300))
    first = messages[0]
    assert first.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert first.headers["x-event-id"] == "event-0"
    assert str(first.headers["traceparent"]).startswith("00-0af7")
    assert first.type == "test.v1"
    assert len({message.message_id for message in messages}) == 300


async def test_a_message_no_queue_takes_is_an_error_and_not_silence(amqp_url: str) -> None:
    exchanges = [*topology.EXCHANGES, topology.Exchange("lonely")]
    await bus.declare(amqp_url, [QUEUE], exchanges)
    publisher = Publisher(amqp_url, "test")
    lonely = Outgoing(exchange="lonely", routing_key="x", body=b"", event_id="e", type="test.v1")
    with pytest.raises(PublishUnroutable, match="topology"):
        await publisher.publish(lonely)
    await publisher.publish(outgoing(1))
    await publisher.close()


async def test_an_exchange_that_does_not_exist_is_an_error_and_the_publisher_goes_on(amqp_url: str) -> None:
    await bus.declare(amqp_url, [QUEUE])
    publisher = Publisher(amqp_url, "test")
    with pytest.raises((PublishUnknown, PublishUnroutable)):
        await publisher.publish(Outgoing("no-such", "x", b"", "e", "test.v1"))
    await publisher.publish(outgoing(1))
    await publisher.close()


async def test_a_broker_that_is_away_is_unknown_and_not_a_hang(unused_tcp_port: int) -> None:
    publisher = Publisher(f"amqp://guest:guest@127.0.0.1:{unused_tcp_port}/", "test")
    async with asyncio.timeout(5):
        with pytest.raises(PublishUnknown):
            await publisher.publish(outgoing(1))
        assert not publisher.connected


async def test_a_channel_that_once_did_not_confirm_is_never_used_again(amqp_url: str) -> None:
    """RabbitMQ 3.10 confirms and throws away what follows on it, see `Publisher._give_up_channel`."""
    await bus.declare(amqp_url, [QUEUE])
    async with line_to(amqp_url) as line:
        publisher = Publisher(line.url, "test")
        await publisher.publish(outgoing(1))
        line.fall_silent()
        with pytest.raises(PublishUnknown, match="did not confirm"):
            await publisher.publish(outgoing(2), timeout_s=0.2)
        assert not publisher.connected
        line.speak()
        await publisher.publish(outgoing(3))
        assert publisher.connected
        await publisher.close()


async def test_a_broker_that_reads_nothing_holds_up_no_publisher(amqp_url: str) -> None:
    """As one under a memory alarm: the client waits for its socket to take everything before it closes."""
    await bus.declare(amqp_url, [QUEUE])
    async with line_to(amqp_url) as line:
        publisher = Publisher(line.url, "test")
        await publisher.publish(outgoing(1))
        line.fall_silent()
        big = replace(outgoing(2), body=bytes(16_000_000))
        for _ in range(4):
            began = time.monotonic()
            with pytest.raises(PublishUnknown, match="did not confirm"):
                await publisher.publish(big, timeout_s=0.2)
            assert time.monotonic() - began < 10, "marshalling 16 MB takes a moment on a busy core"
        began = time.monotonic()
        await publisher.close()
        assert time.monotonic() - began < 10


async def test_a_cancellation_while_a_channel_closes_is_not_lost(amqp_url: str) -> None:
    """aiormq takes it for its own in some of these moments: a reader drained then went on for ever."""

    async def close(channel: aio_pika.abc.AbstractChannel) -> None:
        await uncancelled(channel.close())
        await asyncio.Event().wait()

    for moment in range(12):
        async with await bus.connect(amqp_url, "test") as connection:
            closing = asyncio.create_task(close(await connection.channel()))
            for _ in range(moment):
                await asyncio.sleep(0)  # pace: one turn of the loop
            closing.cancel()
            await asyncio.wait({closing}, timeout=5)
            assert closing.cancelled(), moment


async def test_our_own_cancellation_stays_a_cancellation(amqp_url: str) -> None:
    await bus.declare(amqp_url, [QUEUE])
    publisher = Publisher(amqp_url, "test")
    await publisher.connect()
    task = asyncio.ensure_future(publisher.publish_all([outgoing(number) for number in range(1000)]))
    await asyncio.sleep(0)  # pace: the task must have begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await publisher.publish(outgoing(1))
    await publisher.close()


async def test_a_queue_with_other_arguments_is_refused(amqp_url: str) -> None:
    await bus.declare(amqp_url, [QUEUE])
    with pytest.raises(bus.TopologyMismatch, match="VERSION"):
        await bus.declare(amqp_url, [Queue(QUEUE.name, {"x-queue-type": "classic"})])


async def test_the_whole_topology_can_be_declared_twice(amqp_url: str) -> None:
    queues = [*topology.inbound_queues(), *topology.sends_queues("ingest-test", ("telegram_bot",))]
    queues.append(topology.live_stream("e1"))
    for _ in range(2):
        await bus.declare(amqp_url, queues)
    assert await bus.queue_exists(amqp_url, "live.e1")
    assert not await bus.queue_exists(amqp_url, "live.e2")
