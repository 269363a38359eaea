"""The live epoch: which stream the gateways read."""

from __future__ import annotations

import asyncio
import contextlib

from msgkit.contracts.ids import new_id
from msgkit.contracts.topology import live_stream
from msgkit.runtime import bus
from msgkit.runtime.bus import uncancelled
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import Database, DuplicateKeyError

log = get_logger(__name__)


class LiveEpoch:
    """Which stream the gateways read. A missing one is replaced by one with another name."""

    def __init__(self, database: Database, rabbitmq_url: str) -> None:
        self._live = database["live"]
        self._url = rabbitmq_url
        self._renewing = asyncio.Lock()

    async def ensure(self) -> str:
        """The epoch in force, with its stream there.

        Raises:
            AMQP_ERRORS, STORE_ERRORS: try again.
        """
        async with self._renewing:
            epoch = await self._named()
            if epoch is not None and await bus.queue_exists(self._url, live_stream(epoch).name):
                return epoch
            return await self._replace(epoch)

    async def current(self) -> str:
        """The epoch in force, without looking at the broker."""
        return await self._named() or await self.ensure()

    async def renew(self, missing: str) -> str:
        """The epoch to use by somebody who found the stream of `missing` gone."""
        current = await self._named()
        return current if current is not None and current != missing else await self.ensure()

    async def _replace(self, old: str | None) -> str:
        # The stream first, then its name: nobody must learn a name that leads nowhere.
        epoch = new_id()[:16]
        await bus.declare(self._url, [live_stream(epoch)])
        current = await self._change(old, epoch)
        if current != epoch:
            await self._delete(live_stream(epoch).name)
        log.info("live_epoch_changed", epoch=current)
        return current

    async def _delete(self, stream: str) -> None:
        """Remove the stream nobody will name: another replica was faster."""
        connection = await uncancelled(bus.connect(self._url, "live epoch"))
        try:
            channel = connection.channel()
            await uncancelled(channel.initialize())
            await uncancelled(channel.queue_delete(stream))
        finally:
            await connection.close()

    async def _named(self) -> str | None:
        found = await self._live.find_one({"_id": "live"})
        return None if found is None else str(found["epoch"])

    async def _change(self, old: str | None, new: str) -> str:
        """Set the epoch if it is still `old`; returns the one that counts now."""
        with contextlib.suppress(DuplicateKeyError):  # somebody else was faster: theirs counts
            await self._live.update_one({"_id": "live", "epoch": old}, {"$set": {"epoch": new}}, upsert=True)
        current = await self._named()
        assert current is not None
        return current
