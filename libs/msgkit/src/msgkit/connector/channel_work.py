"""Work of channels, done by the owner of each: one task for every channel that has something due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from msgkit.connector.credentials import EnvelopeInvalid
from msgkit.contracts.ids import partition_of
from msgkit.runtime.bus import PublishUnknown, PublishUnroutable
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import StoreUnavailable

log = get_logger(__name__)

AT_ONCE = 8
"""So many channels are served side by side."""
NET_S = 1.0
"""How often we look for work nobody woke us for."""
DRAIN_S = 8.0
TROUBLE_S = 5.0
"""How long a channel rests after trouble of our own: the store, the bus, a key that is missing."""

_OUR_TROUBLE: tuple[type[Exception], ...] = (
    StoreUnavailable,
    PublishUnknown,
    PublishUnroutable,
    EnvelopeInvalid,
)


class ChannelWork:
    """Finds the channels of this replica with something due, and serves each by one task at a time."""

    def __init__(
        self,
        name: str,
        membership: Membership,
        *,
        due: Callable[[], Awaitable[Iterable[str]]],
        serve: Callable[[str], Awaitable[None]],
        every_s: float = NET_S,
    ) -> None:
        """
        Args:
            name: for logs.
            due: the channels with something to do now, of anybody; may raise StoreUnavailable.
            serve: does it; ends when nothing is left, or `goes_on` says no. May raise what `_OUR_TROUBLE`
                names: the channel is served again a little later.
            every_s: seconds between two looks.
        """
        self._name = name
        self._membership = membership
        self._due = due
        self._serve = serve
        self._every_s = every_s
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._paused: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()

    def wake(self) -> None:
        """There may be something new."""
        self._wake.set()

    def is_ours(self, channel_id: str) -> bool:
        """Whether this replica owns the channel now."""
        return partition_of(channel_id) in self._membership.owned

    def goes_on(self, channel_id: str) -> bool:
        """Whether the next piece of work of this channel is still ours to begin."""
        return not self._stopping.is_set() and self.is_ours(channel_id)

    def pause(self, channel_id: str, seconds: float) -> None:
        """Leave the channel alone for so long. In memory: another owner finds out for himself."""
        self._paused[channel_id] = time.monotonic() + seconds

    async def rest(self, seconds: float) -> None:
        """Sleep between two pieces of work; draining ends it."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def run(self) -> None:
        """Work until `drain`."""
        async with asyncio.TaskGroup() as tasks:
            while not self._stopping.is_set():
                try:
                    await self._start(tasks)
                except StoreUnavailable as exc:
                    log.warning("channel_work_waits", work=self._name, reason=str(exc))
                await self._pause()
            if self._serving:
                await asyncio.wait(set(self._serving.values()), timeout=DRAIN_S)
            for task in self._serving.values():
                task.cancel()
        self._drained.set()

    async def drain(self) -> None:
        """Begin nothing new; finish the piece in hand, or leave it to another replica."""
        self._stopping.set()
        self._wake.set()
        await self._drained.wait()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._every_s):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        now = time.monotonic()
        self._paused = {channel: until for channel, until in self._paused.items() if until > now}
        for channel_id in await self._due():
            if len(self._serving) >= AT_ONCE or self._stopping.is_set():
                return
            if (
                self.is_ours(channel_id)
                and channel_id not in self._serving
                and channel_id not in self._paused
            ):
                self._serving[channel_id] = tasks.create_task(
                    self._one(channel_id), name=f"{self._name} {channel_id}"
                )

    async def _one(self, channel_id: str) -> None:
        try:
            await self._serve(channel_id)
        except _OUR_TROUBLE as exc:
            self.pause(channel_id, TROUBLE_S)
            log.warning("channel_work_put_off", work=self._name, channel_id=channel_id, reason=str(exc))
        finally:
            del self._serving[channel_id]
            self._wake.set()
