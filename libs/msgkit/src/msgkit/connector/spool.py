"""Keeps webhooks in MongoDB while RabbitMQ is away, in order: for messengers that soon stop repeating.

While a partition has rows here, everybody appends to it and nobody publishes past them; the owner of the
partition publishes its rows in order, with confirms, and deletes them. A crash between the two publishes the
same event ids again. Appending is always right, so who has just seen the broker fail does not ask it again
before it is known to be back. What two callers bring at the same moment has no order; what is brought after
the other was accepted comes after it. What no queue takes is tried alone, then put into quarantine: it holds
nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from msgkit.connector.quarantine import Quarantine
from msgkit.connector.reach import store_reached
from msgkit.contracts import topology
from msgkit.contracts.ids import PARTITIONS, partition_of
from msgkit.runtime import metrics
from msgkit.runtime.bus import (
    AMQP_ERRORS,
    Outgoing,
    Publisher,
    PublishUnknown,
    PublishUnroutable,
    TopologyMismatch,
)
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import Database, Document, ReturnDocument, StoreUnavailable, UpdateOne, keep_index

log = get_logger(__name__)

CONFIRM_SECONDS = 2.0
"""How long the first webhooks of an outage wait for the broker; those after them do not ask it."""
STORE_SECONDS = 4.0
"""The messenger waits for our 200 meanwhile."""
BACK_SECONDS = 10.0
"""How long the queues and one confirm may take before the broker counts as still away."""
DRAIN_SECONDS = 8.0
"""How long our end waits for what is in hand: a broker that fell silent confirms nothing."""
LOOK_SECONDS = 0.5
"""How often the owner looks for rows others appended, and everybody whether the broker is back."""
ROWS_AT_ONCE = 100
BYTES_AT_ONCE = 4 * 1024 * 1024
UNROUTABLE_TRIES = 5
"""So often a row is tried whose message no queue takes, each time after the queues were declared anew."""
UNROUTABLE_PAUSE_SECONDS = 1.0
MEASURE_SECONDS = 5.0
OLD_AFTER = timedelta(minutes=5)
"""A row that waits longer is worth waking somebody: the broker is away, or refuses what is ours."""
ALARM_EVERY_SECONDS = 60.0

_NOBODY = Outgoing(
    exchange="", routing_key="nobody", body=b"", event_id="", type="", persistent=False, mandatory=False
)
"""A question to the broker: confirmed and thrown away, as no queue has this name."""
_NOT_TAKEN: tuple[type[Exception], ...] = (PublishUnknown, PublishUnroutable)
_AWAY: tuple[type[Exception], ...] = (*AMQP_ERRORS, *_NOT_TAKEN, TopologyMismatch)
"""With other queues than ours it may as well be away: what comes in is kept all the same."""


class Spool:
    """The collections `spool` and `spool_positions` of one ingest service.

    It stands where a publisher would: what it returns from is durable, at the broker or here.
    """

    def __init__(
        self,
        database: Database,
        *,
        kinds: Sequence[str],
        publisher: Publisher,
        drainer: Publisher,
        membership: Membership,
        declare: Callable[[], Awaitable[None]],
        quarantine: Quarantine,
        clock: Clock = utc_now,
    ) -> None:
        """
        Args:
            kinds: of the accounts, for the metrics.
            publisher: for what comes in now.
            drainer: for what waited; a connection of its own.
            declare: declares the topology; it raises AMQP_ERRORS while the broker is away.
            quarantine: for what no queue takes.
        """
        self._rows = database["spool"]
        self._positions = database["spool_positions"]
        self._kinds = tuple(kinds)
        self._publisher = publisher
        self._drainer = drainer
        self._membership = membership
        self._declare = declare
        self._quarantine = quarantine
        self._clock = clock
        self._is_away = True
        """Until the broker has confirmed something: we may start before it does."""
        self._wake = asyncio.Event()
        self._draining = False
        self._drained = asyncio.Event()
        self._rests_until: dict[int, float] = {}
        """Partitions whose first row no queue took just now; monotonic seconds."""
        self._measured_at = 0.0
        self._alarmed_at = float("-inf")

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("spool"):
            await keep_index(self._rows, [("partition", 1), ("seq", 1), ("created_at", 1)])
            await self._positions.bulk_write(
                [
                    UpdateOne({"_id": partition}, {"$setOnInsert": {"seq": 0}}, upsert=True)
                    for partition in range(PARTITIONS)
                ],
                ordered=False,
            )

    def broker_is_there(self) -> None:
        """It was seen to take our topology just now."""
        self._is_away = False

    # --- taking

    async def publish(self, message: Outgoing) -> None:
        """As `publish_all`, for one."""
        await self.publish_all((message,))

    async def publish_all(self, messages: Sequence[Outgoing], timeout_s: float = CONFIRM_SECONDS) -> None:
        """Make these durable in the given order: at the broker if nothing waits before them, else here.

        Args:
            messages: what came in together.
            timeout_s: seconds the broker has for its confirm.

        Raises:
            StoreUnavailable: neither the broker nor MongoDB confirmed; the messenger must repeat.
        """
        if not messages:
            return
        groups = _by_partition(messages)
        try:
            async with asyncio.timeout(STORE_SECONDS):
                must_wait = self._is_away or await self._has_rows(groups)
        except TimeoutError as exc:
            raise StoreUnavailable(f"spool: MongoDB did not answer within {STORE_SECONDS:g} s") from exc
        if not must_wait:
            try:
                await self._publisher.publish_all(messages, min(timeout_s, CONFIRM_SECONDS))
            except _NOT_TAKEN as exc:
                self._lost(exc)
            else:
                return
        await self._append(groups)

    async def _has_rows(self, groups: Mapping[int, Sequence[Outgoing]]) -> bool:
        partitions = list(groups)
        where = partitions[0] if len(partitions) == 1 else {"$in": partitions}
        with store_reached("spool"):
            return await self._rows.find_one({"partition": where}, {"_id": 1}) is not None

    async def _append(self, groups: Mapping[int, Sequence[Outgoing]]) -> None:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                with store_reached("spool"):
                    for partition, messages in groups.items():
                        await self._rows.insert_one(await self._row(partition, messages))
        except TimeoutError as exc:
            raise StoreUnavailable(f"spool: not confirmed within {STORE_SECONDS:g} s") from exc
        self._wake.set()

    async def _row(self, partition: int, messages: Sequence[Outgoing]) -> Document:
        position: Document | None = await self._positions.find_one_and_update(
            {"_id": partition}, {"$inc": {"seq": 1}}, upsert=True, return_document=ReturnDocument.AFTER
        )
        assert position is not None, "an upsert that returns what is there after it"
        return {
            "partition": partition,
            "seq": position["seq"],
            "created_at": self._clock(),
            "kind": self._kind_of(messages[0]),
            "bytes": sum(len(message.body) for message in messages),
            "messages": [
                {
                    "exchange": message.exchange,
                    "routing_key": message.routing_key,
                    "body": message.body,
                    "event_id": message.event_id,
                    "type": message.type,
                    "traceparent": message.traceparent,
                }
                for message in messages
            ],
        }

    def _kind_of(self, message: Outgoing) -> str:
        """The kind of the account it came from: keys of the bus begin with it."""
        head = message.routing_key.rpartition(".p")[0] or message.routing_key
        return head if head in self._kinds else self._kinds[0]

    # --- draining

    async def run(self) -> None:
        """Publish what waits in our partitions until `drain`."""
        while not self._draining:
            try:
                if not self._is_away or await self._is_back():
                    await self._drain_owned()
                if time.monotonic() - self._measured_at >= MEASURE_SECONDS:
                    self._measured_at = time.monotonic()
                    await self._measure()
            except StoreUnavailable as exc:
                log.warning("spool_not_read", reason=str(exc))
            if self._is_away:
                await asyncio.sleep(LOOK_SECONDS)  # what is appended meanwhile must not make us ask faster
            else:
                await _wait(self._wake, LOOK_SECONDS)
        self._drained.set()

    async def drain(self) -> None:
        """Finish the rows in hand; what is left waits for another replica, or for our return."""
        self._draining = True
        self._wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._drained.wait()

    async def _is_back(self) -> bool:
        """Whether the broker takes messages again. It may have come back empty, so the queues first."""
        try:
            async with asyncio.timeout(BACK_SECONDS):
                await self._declare()
                await self._publisher.publish(_NOBODY)
        except TopologyMismatch as exc:
            log.critical("broker_has_other_queues", kinds=self._kinds, reason=str(exc))
            return False
        except _AWAY as exc:
            log.debug("broker_still_away", reason=type(exc).__name__)
            return False
        self._is_away = False
        log.info("broker_is_there", kinds=self._kinds)
        return True

    def _lost(self, exc: Exception) -> None:
        if not self._is_away:
            self._is_away = True
            reason = str(exc) if isinstance(exc, _NOT_TAKEN) else type(exc).__name__
            log.error("webhooks_go_to_the_spool", kinds=self._kinds, reason=reason)

    async def _drain_owned(self) -> None:
        with store_reached("spool"):
            waiting: list[int] = await self._rows.distinct(
                "partition", {"partition": {"$in": sorted(self._membership.owned)}}
            )
        now = time.monotonic()
        waiting = [partition for partition in waiting if self._rests_until.get(partition, now) <= now]
        if waiting:
            async with asyncio.TaskGroup() as tasks:
                for partition in waiting:
                    tasks.create_task(self._drain_partition(partition), name=f"spool p{partition:02d}")

    async def _drain_partition(self, partition: int) -> None:
        """Publish its rows in order until there are none, or somebody else owns it, or the broker goes."""
        count = 0
        try:
            while not (self._draining or self._is_away) and partition in self._membership.owned:
                rows = await self._first_rows(partition)
                if not rows:
                    break
                if await self._published(rows):
                    # A crash here publishes them again, with the same event ids.
                    await self._forget(rows)
                elif not await self._drain_singly(rows):
                    self._rests_until[partition] = time.monotonic() + UNROUTABLE_PAUSE_SECONDS
                    break
                count += len(rows)
        except _AWAY as exc:
            self._lost(exc)
        except StoreUnavailable as exc:
            log.warning("spool_not_read", reason=str(exc))
        if count:
            log.info("spool_drained", kinds=self._kinds, partition=partition, rows=count)

    async def _published(self, rows: Sequence[Document]) -> bool:
        """Publish them together; False: not tried, or in vain, because of one that no queue takes."""
        if any("tries" in row for row in rows):
            return False  # those behind it would be published again with each of its tries
        try:
            await self._drainer.publish_all([message for row in rows for message in _messages(row)])
        except PublishUnroutable:
            return False
        return True

    async def _drain_singly(self, rows: Sequence[Document]) -> bool:
        """Publish row by row, since one of them no queue takes; False: it is tried again a little later.

        Raises:
            PublishUnknown, AMQP_ERRORS: the broker is away.
            StoreUnavailable: MongoDB does not answer.
        """
        async with asyncio.timeout(BACK_SECONDS):
            await self._declare()  # a queue may be missing; the others need not suffer for that
        for row in rows:
            if self._draining:
                return False
            refused = []
            for message in _messages(row):
                try:
                    await self._drainer.publish(message)
                except PublishUnroutable as exc:
                    refused.append((message, exc))
            if refused and not await self._is_given_up(row):
                log.error(
                    "spool_row_unroutable", kind=self._kind_of(refused[0][0]), reason=str(refused[0][1])
                )
                return False
            for message, reason in refused:
                await self._quarantine.keep_message(message, self._kind_of(message), str(reason))
            await self._forget((row,))
        return True

    async def _is_given_up(self, row: Document) -> bool:
        """Count a try; whether it was the last one. Written down, so that a restart does not begin anew."""
        with store_reached("spool"):
            counted: Document | None = await self._rows.find_one_and_update(
                {"_id": row["_id"]}, {"$inc": {"tries": 1}}, return_document=ReturnDocument.AFTER
            )
        return counted is not None and bool(counted["tries"] >= UNROUTABLE_TRIES)

    async def _first_rows(self, partition: int) -> list[Document]:
        rows: list[Document] = []
        size = 0
        with store_reached("spool"):
            async for row in self._rows.find({"partition": partition}).sort("seq", 1).limit(ROWS_AT_ONCE):
                rows.append(row)
                size += row["bytes"]
                if size >= BYTES_AT_ONCE:
                    break
        return rows

    async def _forget(self, rows: Sequence[Document]) -> None:
        with store_reached("spool"):
            await self._rows.delete_many({"_id": {"$in": [row["_id"] for row in rows]}})

    async def _measure(self) -> None:
        with store_reached("spool"):
            found = await self._rows.aggregate(
                [
                    {"$match": {"partition": {"$in": sorted(self._membership.owned)}}},
                    {
                        "$group": {
                            "_id": {"$ifNull": ["$kind", self._kinds[0]]},
                            "rows": {"$sum": 1},
                            "oldest": {"$min": "$created_at"},
                        }
                    },
                ]
            ).to_list(None)
        by_kind = {each["_id"]: each for each in found}
        is_alarm_due = time.monotonic() - self._alarmed_at >= ALARM_EVERY_SECONDS
        for kind in self._kinds:
            waiting = by_kind.get(kind)
            rows = 0 if waiting is None else waiting["rows"]
            age_s = 0.0 if waiting is None else (self._clock() - waiting["oldest"]).total_seconds()
            metrics.spool_rows.labels(kind=kind).set(rows)
            metrics.spool_oldest_seconds.labels(kind=kind).set(max(0.0, age_s))
            if age_s >= OLD_AFTER.total_seconds() and is_alarm_due:
                self._alarmed_at = time.monotonic()
                log.critical("spool_is_old", kind=kind, rows=rows, oldest_s=round(age_s))


def _by_partition(messages: Sequence[Outgoing]) -> dict[int, list[Outgoing]]:
    """The messages of each partition in order; what has no partition goes along with the first that has."""
    keyed = [topology.partition_of_key(message.routing_key) for message in messages]
    home = next((partition for partition in keyed if partition is not None), None)
    if home is None:
        home = partition_of(messages[0].event_id)
    groups: dict[int, list[Outgoing]] = {}
    for partition, message in zip(keyed, messages, strict=True):
        groups.setdefault(home if partition is None else partition, []).append(message)
    return groups


def _messages(row: Mapping[str, Any]) -> list[Outgoing]:
    return [Outgoing(**message) for message in row["messages"]]


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until somebody wakes us, or `seconds` are over."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
    finally:
        event.clear()
