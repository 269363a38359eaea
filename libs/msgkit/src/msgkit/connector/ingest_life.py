"""The order in which an ingest service starts, finishes and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgkit.connector.contract import Connector
from msgkit.connector.spool import Spool
from msgkit.runtime.bus import AMQP_ERRORS, Publisher, PublishUnknown
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import Mongo
from msgkit.runtime.service import Background

log = get_logger(__name__)

PARTS_SECONDS = 9.0
"""Less than the process has for draining: what was ours must be free for others in any case."""
_BROKER_AWAY: tuple[type[Exception], ...] = (*AMQP_ERRORS, PublishUnknown)


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs for ever beside HTTP, and how it finishes what it has in hand."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    drain: Callable[[], Coroutine[Any, Any, None]] | None = None


class Store(Protocol):
    """What keeps something, in MongoDB or on disk."""

    async def prepare(self) -> None:
        """Make indexes or folders."""


class Life:
    """The order in which an ingest service starts, finishes and ends."""

    def __init__(
        self,
        *,
        declare: Callable[[], Coroutine[Any, Any, None]],
        mongo: Mongo,
        stores: Sequence[Store],
        publishers: Sequence[Publisher],
        spool: Spool | None,
        membership: Membership,
        connector: Connector[Any],
        parts: Sequence[Part],
    ) -> None:
        self._declare = declare
        self._mongo = mongo
        self._stores = stores
        self._publishers = publishers
        self._spool = spool
        self._membership = membership
        self._connector = connector
        self._parts = parts
        self._background = Background()

    async def start(self) -> None:
        """Stores first, then the broker; only then whatever runs for ever."""
        await self._mongo.require_replica_set()
        for store in self._stores:
            await store.prepare()
        await self._reach_broker()
        await self._membership.join()
        for part in self._parts:
            self._background.spawn(part.name, part.run())

    async def _reach_broker(self) -> None:
        """With a spool webhooks can be taken without it; the rest follows when it is there."""
        try:
            await self._declare()
            await self._publishers[0].connect()
        except _BROKER_AWAY as exc:
            if self._spool is None:
                raise
            log.warning("started_without_rabbitmq", reason=type(exc).__name__, fix="make status")
        else:
            if self._spool is not None:
                self._spool.broker_is_there()

    async def drain(self) -> None:
        """Let every part finish what it has in hand, then give up our partitions, whatever hangs."""
        drains: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(PARTS_SECONDS), asyncio.TaskGroup() as tasks:
                for part in self._parts:
                    if part.drain is not None:
                        drains.append(tasks.create_task(part.drain(), name=part.name))
        except TimeoutError:
            slow = [task.get_name() for task in drains if task.cancelled()]
            log.error("parts_not_drained", parts=slow, seconds=PARTS_SECONDS)  # noqa: TRY400 - the trace is ours
        await self._membership.leave()

    async def stop(self) -> None:
        """End now, whatever is under way."""
        await self._background.cancel_all()
        await self._connector.aclose()
        for publisher in self._publishers:
            await publisher.close()
        self._mongo.close()


async def broker_answers(publisher: Publisher) -> bool:
    """Whether the broker is there, for readiness."""
    try:
        await publisher.connect()
    except PublishUnknown:
        return False
    return publisher.connected
