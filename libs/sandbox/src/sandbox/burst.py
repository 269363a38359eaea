"""The load generator: many clients write at a steady rate; what is written and answered is counted."""

import asyncio
import random
import time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sandbox.line import Line

MAX_MESSAGES = 200_000
MAX_KEPT = 50
"""So many bursts can be asked about."""
TICK_SECONDS = 0.005
"""Messages are written in steps of this, so that high rates do not wake the loop for each."""


class BurstOrder(BaseModel):
    """Body of `POST /control/{channel_id}/burst`.

    Clients are `<client_prefix>0` … `<client_prefix>{clients-1}`; the n-th message of a client, from 1, has
    the text `<text_prefix> <client> <n>`. Who writes next is drawn with `seed`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clients: int = Field(ge=1, le=10_000)
    messages_per_client: int = Field(ge=1, le=MAX_MESSAGES)
    rate_per_s: float = Field(gt=0, le=5_000, description="Messages per second of all clients together")
    text_prefix: str = Field("тест", min_length=1, max_length=200)
    client_prefix: str = Field("c", pattern=r"^[A-Za-z0-9_-]{1,32}$")
    seed: int = 0


class Burst:
    """One run of the generator."""

    def __init__(self, number: int, order: BurstOrder, line: Line) -> None:
        self.id = str(number)
        self._order = order
        self._line = line
        self._state: Literal["running", "done", "stopped"] = "running"
        self._written = 0
        self._refused = 0
        self._acked = 0
        self._dropped = 0
        self._started = time.time()
        self._written_at: float | None = None
        self._acked_at: float | None = None

    def on_acked(self) -> None:
        """One of its updates was taken."""
        self._acked += 1
        self._acked_at = time.time()

    def on_dropped(self) -> None:
        """One of its updates was given up."""
        self._dropped += 1

    def stop(self) -> None:
        """Write no more."""
        if self._state == "running":
            self._state = "stopped"

    def progress(self) -> dict[str, object]:
        """Where it stands; `pending` is written, not yet taken and not given up."""
        return {
            "id": self.id,
            "state": self._state,
            "planned": self._order.clients * self._order.messages_per_client,
            "written": self._written,
            "refused": self._refused,
            "acked": self._acked,
            "dropped": self._dropped,
            "pending": self._written - self._acked - self._dropped,
            "started_at": self._started,
            "written_at": self._written_at,
            "acked_at": self._acked_at,
        }

    async def run(self) -> None:
        """Write everything by the clock: a slow moment is caught up, the rate on average stays."""
        order = self._order
        dice = random.Random(order.seed)  # noqa: S311  # repeatable on purpose
        writers = [n for n in range(order.clients) for _ in range(order.messages_per_client)]
        dice.shuffle(writers)
        counts = [0] * order.clients
        start = time.monotonic()
        done = 0
        while done < len(writers) and self._state == "running":
            due = min(len(writers), int((time.monotonic() - start) * order.rate_per_s) + 1)
            # At most so many at a stretch, so that sending is not starved while a late generator catches up.
            for writer in writers[done : min(due, done + 200)]:
                counts[writer] += 1
                self._write(f"{order.client_prefix}{writer}", counts[writer])
                done += 1
            await asyncio.sleep(TICK_SECONDS)
        if self._state == "running":
            self._state = "done"

    def _write(self, client: str, n: int) -> None:
        text = f"{self._order.text_prefix} {client} {n}"
        if not self._line.say(client, text, self):
            self._refused += 1
            return
        self._written += 1
        self._written_at = time.time()


class Bursts:
    """All runs; the oldest ones are forgotten."""

    def __init__(self) -> None:
        self._bursts: dict[str, Burst] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    def start(self, line: Line, order: BurstOrder) -> Burst:
        """Begin a run in the background."""
        self._count += 1
        burst = Burst(self._count, order, line)
        self._bursts[burst.id] = burst
        while len(self._bursts) > MAX_KEPT:
            self._bursts.pop(next(iter(self._bursts))).stop()
        task = asyncio.create_task(burst.run(), name=f"burst-{burst.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return burst

    def get(self, burst_id: str) -> Burst | None:
        """The run with this id."""
        return self._bursts.get(burst_id)

    async def stop(self) -> None:
        """End all runs and wait for them."""
        for burst in self._bursts.values():
            burst.stop()
        await asyncio.gather(*self._tasks)
