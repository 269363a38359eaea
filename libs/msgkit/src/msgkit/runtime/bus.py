"""RabbitMQ: the one publisher, connections for consumers, and the declaration of the topology.

Nothing else publishes. Every default of the client libraries is unsafe for us: messages are transient,
unroutable ones vanish, a lost connection looks like the caller's own cancellation, time limits are ignored.
Here a publish either was confirmed by the broker or raises.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from uuid import uuid4

import aio_pika
import structlog
from aio_pika import RobustConnection
from aio_pika.abc import AbstractConnection
from aiormq.channel import Channel as UnderlayChannel
from aiormq.exceptions import (
    AMQPError,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    PublishError,
)
from faststream.rabbit import RabbitBroker
from pamqp.commands import Basic
from yarl import URL

from msgkit.contracts.topology import EXCHANGES, Exchange, Queue, dead_queue, journal_stream
from msgkit.runtime import metrics

log = structlog.get_logger(__name__)

HEARTBEAT_S = 10
_CONNECT_TIMEOUT_S = 5.0
_RECONNECT_PAUSE_S = 0.2
_TIMEOUTS_BEFORE_NEW_CONNECTION = 3
_CLOSE_S = 1.0
"""A publisher that ends waits so long for the broker's goodbye."""

AMQP_ERRORS: tuple[type[Exception], ...] = (AMQPError, OSError, TimeoutError, ChannelInvalidStateError)
"""What a broken connection or channel raises, when awaited through `uncancelled`."""

T = TypeVar("T")


class PublishUnroutable(Exception):
    """No queue took the message: a fault of the topology."""


class PublishUnknown(Exception):
    """Maybe delivered, maybe not: publish again with the same event id."""


class TopologyMismatch(Exception):
    """A queue exists with other arguments than ours."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One AMQP message. `event_id` stays the same when the publish is repeated."""

    exchange: str
    routing_key: str
    body: bytes
    event_id: str
    type: str
    traceparent: str | None = None
    persistent: bool = True
    mandatory: bool = True


async def connect(url: str, name: str) -> AbstractConnection:
    """A plain connection with our heartbeat.

    Plain, not robust: after a loss, subscriptions follow the table of owners, not the library's memory.

    Raises:
        AMQP_ERRORS: the broker does not answer or refuses the login.
    """
    with_heartbeat = URL(url).update_query(heartbeat=str(HEARTBEAT_S), name=name)
    return await aio_pika.connect(
        str(with_heartbeat),
        timeout=_CONNECT_TIMEOUT_S,
        client_properties={"connection_name": name},
        connection_class=_Connection,
    )


class _Connection(aio_pika.Connection):
    """Closes itself when it could not connect; the library leaves that to the garbage collector."""

    async def connect(self, timeout: float | None = None) -> None:
        try:
            await super().connect(timeout)
        except BaseException:
            await self.close()
            raise


async def uncancelled(awaitable: Awaitable[T]) -> T:
    """Await something of the AMQP client, turning what it says of a lost connection into ConnectionError.

    When a connection dies the client cancels the caller's await, which looks like the caller's own
    cancellation and would pass every `except Exception`; or it raises a bare RuntimeError, which nobody
    could tell from a fault of ours. And it loses a cancellation that comes while it closes a channel, so that
    the task would go on for ever.
    """
    task = asyncio.current_task()
    known = 0 if task is None else task.cancelling()
    try:
        return await awaitable
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
        raise ConnectionError("the connection to RabbitMQ was lost") from None
    except RuntimeError as exc:
        # "… closed": what the client says of a connection between its loss and the moment all of it noticed.
        raise ConnectionError("the connection to RabbitMQ was lost") from exc
    finally:
        if task is not None and task.cancelling() > known:
            raise asyncio.CancelledError


class Publisher:
    """The only place that publishes: persistent, mandatory, confirmed, with a time limit of its own.

    Connects when first used and again after a loss. Has a connection of its own, because a broker under a
    memory or disk alarm stops reading the sockets of publishers, and acknowledgements with them.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = f"{name} publish"
        self._connection: AbstractConnection | None = None
        self._channel: UnderlayChannel | None = None
        self._connecting = asyncio.Lock()
        self._failed_at = 0.0
        self._timeouts = 0
        self._leaving: set[asyncio.Task[None]] = set()
        """Closes what is not used any more: nobody waits for a broker that is silent."""

    @property
    def connected(self) -> bool:
        return self._channel is not None and not self._channel.is_closed

    async def connect(self) -> None:
        """Connect now instead of at the first publish.

        Raises:
            PublishUnknown: the broker does not answer.
        """
        await self._ready()

    async def close(self) -> None:
        """End soon, whatever the broker says."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            self._leave(connection)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=_CLOSE_S)
        for task in self._leaving:
            task.cancel()

    async def publish(self, message: Outgoing, timeout_s: float = 3.0) -> None:
        """Publish one message and wait for the broker's confirm.

        Args:
            message: what to publish.
            timeout_s: seconds until the outcome counts as unknown.

        Raises:
            PublishUnroutable: no queue is bound for its key.
            PublishUnknown: no confirm; repeat with the same event id.
        """
        await self.publish_all((message,), timeout_s)

    async def publish_all(self, messages: Sequence[Outgoing], timeout_s: float = 5.0) -> None:
        """Publish in the given order on one channel and wait until all are confirmed.

        Raises:
            PublishUnroutable, PublishUnknown: the first failure; others of the batch may be confirmed.
        """
        if not messages:
            return
        started = time.perf_counter()
        channel: UnderlayChannel | None = None
        try:
            async with asyncio.timeout(timeout_s):
                channel = await self._ready()
                if len(messages) == 1:
                    await self._send(channel, messages[0])
                else:
                    # Tasks start in order and the channel's lock is fair, so the frames leave in order.
                    tasks = [asyncio.ensure_future(self._send(channel, message)) for message in messages]
                    try:
                        results = await uncancelled(asyncio.gather(*tasks, return_exceptions=True))
                    finally:
                        for task in tasks:
                            task.cancel()
                    for result in results:
                        if isinstance(result, BaseException):
                            raise (
                                result
                                if isinstance(result, Exception)
                                else ConnectionError("connection lost")
                            )
        except PublishError as exc:
            raise PublishUnroutable(
                f"no queue takes {messages[0].exchange} {messages[0].routing_key}: is the topology declared?"
            ) from exc
        except TimeoutError as exc:
            self._give_up_channel(channel)
            raise PublishUnknown(f"RabbitMQ did not confirm within {timeout_s:g} s") from exc
        except AMQP_ERRORS as exc:
            raise PublishUnknown(f"{type(exc).__name__}: the connection to RabbitMQ was lost") from exc
        self._timeouts = 0
        metrics.publish_seconds.labels(exchange=messages[0].exchange).observe(time.perf_counter() - started)

    async def _send(self, channel: UnderlayChannel, message: Outgoing) -> None:
        headers: dict[str, str] = {"x-event-id": message.event_id}
        if message.traceparent is not None:
            headers["traceparent"] = message.traceparent
        properties = Basic.Properties(
            content_type="application/json",
            delivery_mode=2 if message.persistent else 1,
            # Fresh for every attempt: the client maps returned messages by it.
            message_id=uuid4().hex,
            message_type=message.type,
            headers=dict(headers),
        )
        await uncancelled(
            channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                mandatory=message.mandatory,
                properties=properties,
                wait=False,
            )
        )

    async def _ready(self) -> UnderlayChannel:
        channel = self._channel
        if channel is not None and not channel.is_closed:
            return channel
        async with self._connecting:
            channel = self._channel
            if channel is not None and not channel.is_closed:
                return channel
            if time.monotonic() - self._failed_at < _RECONNECT_PAUSE_S:
                raise PublishUnknown("RabbitMQ is away; trying again shortly")
            try:
                if self._connection is None or self._connection.is_closed:
                    self._connection = await uncancelled(connect(self._url, self._name))
                opened = self._connection.channel(publisher_confirms=True, on_return_raises=True)
                await uncancelled(opened.initialize())
                self._channel = cast("UnderlayChannel", await opened.get_underlay_channel())
            except AMQP_ERRORS as exc:
                self._failed_at = time.monotonic()
                connection, self._connection = self._connection, None
                if connection is not None:
                    self._leave(connection)
                raise PublishUnknown(f"RabbitMQ does not answer ({type(exc).__name__})") from exc
            return self._channel

    def _give_up_channel(self, channel: UnderlayChannel | None) -> None:
        """Nothing more goes over a channel that once did not confirm; after some in a row, the connection.

        RabbitMQ 3.10 starts the writer of a stream twice when it boots. A channel that published between the
        two never hears of that message, and from then on has everything for that stream confirmed and
        thrown away.
        """
        self._timeouts += 1
        if self._timeouts >= _TIMEOUTS_BEFORE_NEW_CONNECTION:
            self._timeouts = 0
            connection, self._connection, self._channel = self._connection, None, None
            if connection is not None:
                self._leave(connection)
        elif channel is not None:
            if self._channel is channel:
                self._channel = None
            # What else waits on it fails with it, and is published again.
            self._leave(channel)

    def _leave(self, left: AbstractConnection | UnderlayChannel) -> None:
        """Close it beside: the client waits for the broker's word, and for its socket to take all of ours."""
        if not left.is_closed:
            task = asyncio.create_task(_closed(left), name=f"{self._name}: close")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


async def _closed(left: AbstractConnection | UnderlayChannel) -> None:
    try:
        await uncancelled(left.close())
    except AMQP_ERRORS as exc:
        log.debug("publisher_dropped", reason=type(exc).__name__)


async def declare(url: str, queues: Iterable[Queue], exchanges: Iterable[Exchange] = EXCHANGES) -> None:
    """Declare exchanges, the journal, the dead-letter queue and `queues`, with their bindings.

    Changes nothing that is there already.

    Raises:
        TopologyMismatch: a queue exists with other arguments; raise the topology version instead.
        AMQP_ERRORS: the broker does not answer.
    """
    connection = await uncancelled(connect(url, "topology"))
    try:
        channel = connection.channel()
        await uncancelled(channel.initialize())
        for exchange in exchanges:
            await uncancelled(channel.declare_exchange(exchange.name, exchange.kind, durable=True))
        for queue in (dead_queue(), journal_stream(), *queues):
            declared = await uncancelled(
                channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
            )
            for exchange_name, routing_key in queue.bindings:
                await uncancelled(declared.bind(exchange_name, routing_key))
    except ChannelPreconditionFailed as exc:
        raise TopologyMismatch(
            f"a queue exists with other arguments: {exc}. Raise topology.VERSION."
        ) from exc
    finally:
        await connection.close()


async def queue_exists(url: str, name: str) -> bool:
    """Whether a queue or stream is there.

    Raises:
        AMQP_ERRORS: the broker does not answer.
    """
    connection = await uncancelled(connect(url, "topology"))
    try:
        channel = connection.channel()
        await uncancelled(channel.initialize())
        try:
            await uncancelled(channel.declare_queue(name, passive=True))
        except ChannelNotFoundEntity:
            return False
        return True
    finally:
        await connection.close()


class _PatientBroker(RabbitBroker):
    """Waits for a broker that is away, and leaves nothing behind when nobody waits any more.

    aio-pika goes on connecting in a task that takes a cancellation for a failed attempt: a process that was
    to end while RabbitMQ was away then waited for that task.
    """

    async def _connect(self) -> RobustConnection:
        attempts: list[RobustConnection] = []

        def connection(*arguments: Any, **options: Any) -> RobustConnection:
            attempts.append(RobustConnection(*arguments, **options))
            return attempts[-1]

        self._connection_kwargs["connection_class"] = connection
        try:
            return await super()._connect()
        except BaseException:
            for attempt in attempts:
                await attempt.close()
            raise


def faststream_broker(url: str) -> RabbitBroker:
    """A FastStream broker for consumers that are not readers of partitions.

    It waits for a broker that is away instead of living on as a zombie; subscribers name their AckPolicy,
    because the default drops a message whose handler fails.
    """
    return _PatientBroker(url, fail_fast=False, reconnect_interval=1.0, logger=None)
