"""Finds the times in which a messenger did not bring us what was said, and says how far they are read again.

A gap is durable before anything is registered again, and its reading begins once a look found all well: what
is said later than that comes by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from msgkit.connector.account_watch import AccountWatch
from msgkit.connector.gap_store import GapStore
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

REACH_BACK = timedelta(minutes=70)
"""A messenger that drops us has failed to reach us for an hour before (Meta, fact sheet 1.1), and looks in
that hour still found all well: what it could not bring then is missed too."""
AWAY_AFTER = timedelta(minutes=10)
"""Without any replica for longer, something may be missed."""
AWAY_REACH_BACK = timedelta(minutes=10)
OFF_REACH_BACK = timedelta(hours=24)
"""Of a longer time off nothing is read: whoever switched it off meant it."""
BEAT_S = 60.0


class Gaps:
    """What the health watch and the desk tell of how well we hear."""

    def __init__(self, store: GapStore, watch: AccountWatch, clock: Clock = utc_now) -> None:
        self._store = store
        self._watch = watch
        self._clock = clock
        self._beaten_at: float | None = None
        self._listeners: list[Callable[[], None]] = []

    def on_ready(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a gap can be read."""
        self._listeners.append(listener)

    async def lost(self, channel_id: str) -> None:
        """The messenger does not bring us what is said, since nobody knows when.

        To those that share the registration neither, and who looks at them later may find it mended.

        Raises:
            StoreUnavailable: not confirmed; nothing may be registered again before it is.
        """
        for each in (channel_id, *await self._watch.sharing(channel_id)):
            for heard in await self._watch.heard(each):
                await self._store.note(heard, max(heard.fine_at - REACH_BACK, heard.since))

    async def switched_on(self, channel_id: str) -> None:
        """Somebody switched the account off, maybe because nothing came in, and switches it on again.

        Raises:
            StoreUnavailable: not confirmed.
        """
        oldest = self._clock() - OFF_REACH_BACK
        for heard in await self._watch.heard(channel_id, also_off=True):
            since = max(heard.fine_at - REACH_BACK, heard.since, oldest)
            await self._store.note(replace(heard, fine_at=max(heard.fine_at, oldest)), since)

    async def well(self, channel_id: str, looked_at: datetime) -> None:
        """A look that began then found that the messenger brings us what is said.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        await self._watch.found_fine(channel_id, looked_at)
        if await self._store.may_begin(channel_id, looked_at):
            for listener in self._listeners:
                listener()

    async def beat(self) -> None:
        """Somebody listens. If nobody did for long, all accounts have a gap, noted before this is said.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        if self._beaten_at is not None and time.monotonic() - self._beaten_at < BEAT_S:
            return
        last = await self._store.last_heartbeat()
        if last is not None and self._clock() - last > AWAY_AFTER:
            log.error("nobody_listened", seconds=round((self._clock() - last).total_seconds()))
            for heard in await self._watch.heard():
                since = max(last - AWAY_REACH_BACK, heard.since)
                await self._store.note(replace(heard, fine_at=max(last, heard.since)), since)
        await self._store.beat()
        self._beaten_at = time.monotonic()

    async def progress(self, channel_id: str) -> str | None:
        """For the administrator: how far the reading is; None: nothing is missing.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        gap = await self._store.gap(channel_id)
        if gap is None or not gap.is_ready:
            return None
        how_far = f"Дочитуємо пропущене за {_lasting(gap.found_at - gap.unheard_since)}: знайдено {gap.read}"
        return how_far if gap.problem is None else f"{how_far}. {gap.problem}"


def _lasting(time_: timedelta) -> str:
    minutes = max(1, round(time_.total_seconds() / 60))
    if minutes < 120:
        return f"{minutes} хв"
    return f"{round(minutes / 60)} год" if minutes < 48 * 60 else f"{round(minutes / 60 / 24)} дн."
