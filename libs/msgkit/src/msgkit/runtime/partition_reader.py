"""Reads the partitions this replica owns: ordered micro-batches, acknowledged after all is done with them.

A batch is handled in two steps: it is made durable, then finished (told, projected). Finishing one batch and
making the next one durable wait for different servers, so they run beside each other; each of the two steps
keeps the order of the batches.

Plain aio-pika: FastStream stops by `basic.cancel`, after which the next reader gets later messages while
earlier ones are still ours, and it costs a quarter to a half of the rate. A partition is given up by
finishing the batch in hand and closing its channel, never by cancelling.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar, cast

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel as UnderlayChannel

from msgkit.contracts.values import dataclass
from msgkit.runtime import bus, metrics
from msgkit.runtime.bus import AMQP_ERRORS, PublishUnknown, uncancelled
from msgkit.runtime.clock import utc_now
from msgkit.runtime.deliveries import consume_directly
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import STORE_ERRORS, Collection, ReturnDocument, StoreUnavailable, keep_index

log = structlog.get_logger(__name__)

T = TypeVar("T")

PREFETCH = 200
"""Unacknowledged messages per partition."""
BATCH = 800
"""Most messages handled at once, over all owned partitions."""
SUSPICIOUS_DELIVERIES = 3
"""A message that came so often may be what kills us: it is handled alone, its attempts counted."""
MAX_ATTEMPTS = 5
PATIENCE_S = 600.0
"""How long a batch waits in place for MongoDB before its channels are closed."""
_CHECK_EVERY_S = 2.0
_MEASURE_EVERY_S = 5.0
_ATTEMPTS_KEPT_S = 7 * 24 * 3600

Finish = Callable[[], Awaitable[None]]
"""What is left to do with a durable batch before it is acknowledged; called again after a failure."""

_PASSING: tuple[type[Exception], ...] = (StoreUnavailable, PublishUnknown, *AMQP_ERRORS)
"""Trouble of the surroundings: it passes, and says nothing about the messages."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of a partition. `received_at` is monotonic seconds of this process."""

    partition: int
    body: bytes
    type: str
    event_id: str
    traceparent: str | None
    delivery_count: int
    received_at: float


@dataclass(slots=True)
class _Subscription:
    partition: int
    channel: AbstractChannel
    underlay: UnderlayChannel
    consumer_tag: str = ""
    stopped: bool = False

    @property
    def alive(self) -> bool:
        return not self.underlay.is_closed and self.consumer_tag in self.underlay.consumers


@dataclass(frozen=True, slots=True)
class _Taken:
    delivery: Delivery
    tag: int
    subscription: _Subscription


class PartitionReader:
    """Feeds `handle` with what arrives in the owned partitions.

    Args:
        url: RabbitMQ.
        service: for metrics and the connection's name.
        queue_name: partition → queue.
        membership: says what is ours and when that changes.
        handle: makes a batch durable, and returns what is left to do with it, if anything. Called again
            with the same deliveries after a failure of the store or the bus, so it must be idempotent by
            event id. Called with an empty batch when `extra` is set.
        quarantine: keeps a delivery that cannot be handled, with the reason, before it is acknowledged.
        attempts: a collection of this service where attempts at suspicious deliveries are counted.
        extra: set by others of this process who want `handle` to run without deliveries.
    """

    def __init__(
        self,
        url: str,
        *,
        service: str,
        queue_name: Callable[[int], str],
        membership: Membership,
        handle: Callable[[Sequence[Delivery]], Awaitable[Finish | None]],
        quarantine: Callable[[Delivery, str], Awaitable[None]],
        attempts: Collection,
        extra: asyncio.Event | None = None,
    ) -> None:
        self._url = url
        self._service = service
        self._queue_name = queue_name
        self._membership = membership
        self._handle = handle
        self._quarantine = quarantine
        self._attempts = attempts
        self._extra = extra
        self._wake = asyncio.Event() if extra is None else extra
        self._buffer: deque[_Taken] = deque()
        self._subscriptions: dict[int, _Subscription] = {}
        self._batch_in_hand = asyncio.Lock()
        self._finishing: asyncio.Task[None] | None = None
        """The batch before the one in hand: durable, and not acknowledged yet."""
        self._draining = False
        self._drained = asyncio.Event()
        self.subscribed = asyncio.Event()
        """Set while every owned partition is being read."""

    async def run(self) -> None:
        """Read for ever, over every loss of the connection, until `drain`."""
        pause = 0.1
        while not self._draining:
            try:
                await self._prepare()
                await self._read()
                pause = 0.1
            except* _PASSING as group:
                reasons = sorted({type(exc).__name__ for exc in group.exceptions})
                log.warning("reader_interrupted", service=self._service, reasons=reasons)
            self.subscribed.clear()
            self._buffer.clear()
            self._subscriptions.clear()
            if not self._draining:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
        self._drained.set()

    async def drain(self) -> None:
        """Stop taking, finish the batch in hand, close the channels. Returns when all is given up."""
        self._draining = True
        self._wake.set()
        await self._drained.wait()

    async def _prepare(self) -> None:
        try:
            await keep_index(self._attempts, "at", expireAfterSeconds=_ATTEMPTS_KEPT_S)
        except STORE_ERRORS as exc:
            raise StoreUnavailable(f"attempts: {type(exc).__name__}") from exc

    async def _read(self) -> None:
        connection = await uncancelled(bus.connect(self._url, f"{self._service} consume"))
        try:
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(self._follow_ownership(connection)),
                    tasks.create_task(self._watch(connection)),
                    tasks.create_task(self._measure_lag(connection)),
                ]
                await self._pump(tasks)
                # Only draining ends the pump.
                for task in beside:
                    task.cancel()
        finally:
            for subscription in self._subscriptions.values():
                subscription.stopped = True
            if not connection.is_closed:
                try:
                    async with asyncio.timeout(5.0):
                        await uncancelled(connection.close())
                except AMQP_ERRORS as exc:
                    log.debug("reader_close_failed", reason=type(exc).__name__)

    async def _watch(self, connection: AbstractConnection) -> None:
        """End the session when the connection is gone; read again a queue that was deleted and is back."""
        closed = asyncio.ensure_future(connection.closed())
        while True:
            await asyncio.wait({closed}, timeout=_CHECK_EVERY_S)
            if closed.done() and not closed.cancelled():
                closed.exception()  # retrieved, or the loop would complain of it later
            if connection.is_closed:
                raise ConnectionError("the connection to RabbitMQ was lost")
            if any(not sub.alive and not sub.stopped for sub in self._subscriptions.values()):
                raise ConnectionError("a consumer was cancelled by RabbitMQ")

    async def _measure_lag(self, connection: AbstractConnection) -> None:
        """Tell the metrics how much waits in the partitions we own; RabbitMQ tells no age of messages."""
        channel = connection.channel()
        await uncancelled(channel.initialize())
        measured: set[str] = set()
        while True:
            owned = {self._queue_name(partition) for partition in self._subscriptions}
            for name in sorted(owned):
                queue = await uncancelled(channel.declare_queue(name, passive=True))
                metrics.queue_messages.labels(queue=name).set(queue.declaration_result.message_count or 0)
            for name in measured - owned:
                metrics.queue_messages.remove(name)
            measured = owned
            await asyncio.sleep(_MEASURE_EVERY_S)

    async def _follow_ownership(self, connection: AbstractConnection) -> None:
        while True:
            owned = self._membership.owned
            for partition in sorted(self._subscriptions.keys() - owned):
                await self._give_up(partition)
            for partition in sorted(owned - self._subscriptions.keys()):
                await self._take(connection, partition)
            if owned == self._membership.owned:
                self.subscribed.set()
                await self._membership.wait_change(owned)
                self.subscribed.clear()

    async def _take(self, connection: AbstractConnection, partition: int) -> None:
        channel = connection.channel()
        await uncancelled(channel.initialize())
        await uncancelled(channel.set_qos(prefetch_count=PREFETCH))
        underlay = cast("UnderlayChannel", await channel.get_underlay_channel())
        subscription = _Subscription(partition, channel, underlay)

        take = partial(self._receive, subscription)
        consuming = await uncancelled(consume_directly(underlay, self._queue_name(partition), take))
        subscription.consumer_tag = str(consuming.consumer_tag)
        self._subscriptions[partition] = subscription

    async def _give_up(self, partition: int) -> None:
        subscription = self._subscriptions.pop(partition)
        subscription.stopped = True
        async with self._batch_in_hand:
            await self._finished()
            self._buffer = deque(taken for taken in self._buffer if taken.subscription is not subscription)
        # Closing returns what is unacknowledged, in order, to the next reader.
        await uncancelled(subscription.channel.close())

    def _receive(self, subscription: _Subscription, message: DeliveredMessage) -> None:
        if subscription.stopped:
            return
        properties = message.header.properties
        headers = properties.headers or {}
        count = headers.get("x-delivery-count", 0)
        traceparent = headers.get("traceparent")
        self._buffer.append(
            _Taken(
                Delivery(
                    partition=subscription.partition,
                    body=message.body,
                    type=properties.message_type or "",
                    event_id=str(headers.get("x-event-id", "")),
                    traceparent=traceparent if isinstance(traceparent, str) else None,
                    delivery_count=count if isinstance(count, int) else 0,
                    received_at=time.monotonic(),
                ),
                message.delivery_tag or 0,
                subscription,
            )
        )
        self._wake.set()

    async def _pump(self, tasks: asyncio.TaskGroup) -> None:
        self._finishing = None
        while True:
            await self._wake.wait()
            if self._draining:
                async with self._batch_in_hand:
                    await self._finished()
                    return
            self._wake.clear()
            async with self._batch_in_hand:
                batch = self._next_batch()
                if batch and self._is_suspicious(batch[0]):
                    await self._finished()
                    await self._alone(batch[0])
                    await self._acknowledge(batch)
                elif batch or self._extra is not None:
                    finish = await self._made_durable(batch)
                    await self._finished()
                    self._finishing = tasks.create_task(self._finish(batch, finish))
            if self._buffer:
                self._wake.set()

    async def _finished(self) -> None:
        """Wait for the batch before; its failure ends this session and is told by its task."""
        if self._finishing is not None:
            await asyncio.wait({self._finishing})
            self._finishing = None

    def _next_batch(self) -> list[_Taken]:
        """What arrived meanwhile, up to BATCH, stopping before a suspicious one, which comes alone."""
        batch: list[_Taken] = []
        while self._buffer and len(batch) < BATCH:
            taken = self._buffer[0]
            if taken.subscription.stopped:
                self._buffer.popleft()
                continue
            if self._is_suspicious(taken):
                if not batch:
                    batch.append(self._buffer.popleft())
                break
            batch.append(self._buffer.popleft())
        return batch

    @staticmethod
    def _is_suspicious(taken: _Taken) -> bool:
        return taken.delivery.delivery_count >= SUSPICIOUS_DELIVERIES

    async def _made_durable(self, batch: Sequence[_Taken]) -> Finish | None:
        if batch:
            metrics.batch_size.observe(len(batch))
        deliveries = [taken.delivery for taken in batch]
        try:
            return await self._patiently(lambda: self._handle(deliveries), len(batch))
        except _PASSING:
            raise
        except Exception:
            log.exception("batch_failed", service=self._service, size=len(batch))
            await self._finished()
            await self._one_by_one(batch)
            return None

    async def _finish(self, batch: Sequence[_Taken], finish: Finish | None) -> None:
        if finish is not None:
            try:
                await self._patiently(finish, len(batch))
            except _PASSING:
                raise
            except Exception:
                log.exception("batch_not_finished", service=self._service, size=len(batch))
                await self._one_by_one(batch)
        await self._acknowledge(batch)

    async def _one_by_one(self, batch: Sequence[_Taken]) -> None:
        for taken in batch:
            await self._alone(taken)

    async def _alone(self, taken: _Taken) -> None:
        """Handle one delivery by itself; after MAX_ATTEMPTS it goes to quarantine, with its reason."""
        delivery = taken.delivery
        reason = "it ended the process again and again"
        while await self._count_attempt(delivery) <= MAX_ATTEMPTS:
            try:
                finish = await self._patiently(lambda: self._handle([delivery]), 1)
                if finish is not None:
                    await self._patiently(finish, 1)
            except _PASSING:
                raise
            except Exception as exc:
                reason = f"{type(exc).__name__}: {exc}"
                log.exception("delivery_failed", service=self._service, event_id=delivery.event_id)
            else:
                return
        await self._quarantine(delivery, reason)
        metrics.quarantine_total.labels(service=self._service).inc()
        log.error("delivery_quarantined", service=self._service, event_id=delivery.event_id)

    async def _count_attempt(self, delivery: Delivery) -> int:
        try:
            document = await self._attempts.find_one_and_update(
                {"_id": delivery.event_id},
                {"$inc": {"count": 1}, "$set": {"at": utc_now()}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except STORE_ERRORS as exc:
            raise StoreUnavailable(f"attempts: {type(exc).__name__}") from exc
        return int(document["count"])

    async def _patiently(self, step: Callable[[], Awaitable[T]], size: int) -> T:
        """Do one step of a batch, waiting in place while the store or the bus is away."""
        give_up_at = time.monotonic() + PATIENCE_S
        pause = 0.05
        while True:
            try:
                return await step()
            except (StoreUnavailable, PublishUnknown) as exc:
                if self._draining or time.monotonic() > give_up_at:
                    raise
                log.warning("batch_waits", service=self._service, size=size, reason=str(exc))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)

    async def _acknowledge(self, batch: Sequence[_Taken]) -> None:
        last: dict[int, _Taken] = {taken.subscription.partition: taken for taken in batch}
        for taken in last.values():
            underlay = taken.subscription.underlay
            if not underlay.is_closed:
                await uncancelled(underlay.basic_ack(taken.tag, multiple=True, wait=False))
