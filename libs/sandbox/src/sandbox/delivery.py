"""Delivery of updates to webhooks: a queue per chat, faults, repeats; a messenger adds its own rules.

A queue is strict first in, first out: an update that keeps failing holds back what stands behind it and no
other queue. How long to wait, when to give up and what counts as taken are the messenger's.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

from sandbox.faults import UNTOUCHED, FaultPlan, WebhookFaults
from sandbox.ledger import Ledger

MAX_RETRY_AFTER_SECONDS = 3600
TIMER_SLACK_SECONDS = 0.002
"""The event loop may fire a timer this much early."""

QueueKey = tuple[str, int | str]


class Watcher(Protocol):
    """Somebody who counts what becomes of his updates: a burst."""

    def on_acked(self) -> None:
        """The update was taken."""

    def on_dropped(self) -> None:
        """The update was given up."""


@dataclass(slots=True)
class Update:
    """One update waiting to be delivered; `body` is what goes over the wire."""

    id: int
    kind: str
    queue: QueueKey
    body: bytes
    client: str
    chat_id: int | str
    message_id: int | str | None
    text: str | None
    expires_at: float
    watcher: Watcher | None = None
    faults: WebhookFaults = UNTOUCHED
    ready_at: float = 0.0
    """Monotonic: not sent before this."""
    swapped: bool = False
    attempts: int = 0
    handed: int = 0
    """How often a poll got it."""
    failures: int = 0
    delay: float = 1.0
    acked: bool = False
    on_answer: Callable[[bytes], None] | None = None
    """Called with the body of the first answer that took the update."""
    parts: "tuple[Update, ...]" = ()
    """What one request carries together: the ledger, watchers and answers are theirs."""

    @property
    def each(self) -> "tuple[Update, ...]":
        """What the request tells of."""
        return self.parts or (self,)


@dataclass(slots=True)
class _Queue:
    """Never empty while it is kept: its first update is on the wire, ready, or has a timer."""

    updates: deque[Update] = field(default_factory=deque)
    sending: bool = False


@dataclass(slots=True)
class Pace:
    """How much faster than real the waiting times run."""

    divisor: float = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where one update goes, and with which headers."""

    url: str
    headers: Mapping[str, str]


class Delivery(ABC):
    """All updates of one bot that are not confirmed yet."""

    answer_timeout_seconds = 60.0

    def __init__(
        self,
        http: aiohttp.ClientSession,
        faults: FaultPlan,
        ledger: Ledger,
        clock: Callable[[], float],
        pace: Pace,
    ) -> None:
        self._http = http
        self._faults = faults
        self._ledger = ledger
        self._clock = clock
        self._pace = pace
        self._queues: dict[QueueKey, _Queue] = {}
        self._pending: dict[int, Update] = {}
        self._ready: dict[QueueKey, None] = {}  # a set that keeps the order
        self._wake = asyncio.Event()
        self._in_flight = 0
        self._last_success = time.monotonic() - 3600.0
        self.last_error: tuple[int, str] | None = None

    # --- the messenger's rules

    @property
    @abstractmethod
    def channel_id(self) -> str | None:
        """Whom the bot serves."""

    @abstractmethod
    def _target(self, update: Update | None) -> Target | None:
        """Where an update goes now; None while the bot has no webhook."""

    @abstractmethod
    def _connections(self) -> int:
        """So many updates are on the wire at once."""

    @abstractmethod
    def _is_taken(self, status: int) -> bool:
        """Whether an answer of this HTTP status is a success."""

    @abstractmethod
    def _wait_seconds(self, update: Update) -> float:
        """Real seconds before the next try of an update that just failed."""

    @abstractmethod
    def _is_too_late(self, update: Update, delay: float) -> bool:
        """Whether an update is given up instead of being tried after `delay` real seconds."""

    # --- the same for all

    @property
    def pending_count(self) -> int:
        """Updates not confirmed yet."""
        return len(self._pending)

    def put(self, update: Update) -> None:
        """Queue an update; it goes out as soon as a connection is free."""
        update.faults = self._faults.for_update(self.channel_id, update.client, update.kind)
        if update.faults.hold_seconds > 0:
            update.ready_at = time.monotonic() + update.faults.hold_seconds
        self._pending[update.id] = update
        queue = self._queues.get(update.queue)
        if queue is None:
            queue = self._queues[update.queue] = _Queue()
            queue.updates.append(update)
            self._schedule(update.queue, queue)
        else:
            queue.updates.append(update)
            if queue.updates[0].faults.swap_seconds > 0:
                self._schedule(update.queue, queue)  # the hostile fault waits for a successor

    def drop_pending(self) -> None:
        """Forget everything that is queued; what is on the wire ends by itself."""
        self._pending.clear()
        self._queues.clear()
        self._ready.clear()

    async def run(self) -> None:
        """Send for ever, up to the bot's number of connections at once."""
        async with asyncio.TaskGroup() as sends:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._ready and self._target(None) is not None:
                    if self._in_flight >= self._connections():
                        break
                    key = next(iter(self._ready))
                    del self._ready[key]
                    update = self._take(key)
                    if update is not None:
                        target = self._target(update)
                        assert target is not None
                        self._in_flight += 1
                        sends.create_task(self._send(target, key, update))

    def _schedule(self, key: QueueKey, queue: _Queue) -> None:
        """Make the queue ready now, or when its first update may go."""
        if queue.sending:
            return
        now = time.monotonic()
        head = queue.updates[0]
        if head.faults.swap_seconds > 0 and not head.swapped:
            if len(queue.updates) > 1:
                head.swapped = True
                head.ready_at = 0.0
                queue.updates[0], queue.updates[1] = queue.updates[1], head
                head = queue.updates[0]
            elif head.ready_at == 0.0:
                head.ready_at = now + head.faults.swap_seconds  # for the next of its chat, or for this time
        if head.ready_at > now:
            asyncio.get_running_loop().call_later(head.ready_at - now, self._now_ready, key)
        else:
            self._now_ready(key)

    def _now_ready(self, key: QueueKey) -> None:
        self._ready[key] = None
        self._wake.set()

    def _take(self, key: QueueKey) -> Update | None:
        """The first live update of the queue, marked as on the wire."""
        queue = self._queues.get(key)
        if queue is None or queue.sending:
            return None
        now = self._clock()
        while queue.updates:
            update = queue.updates[0]
            if update.ready_at > time.monotonic() + TIMER_SLACK_SECONDS:
                return None  # an old timer; the right one is set
            if update.expires_at > now:
                queue.sending = True
                return update
            self._give_up(update, "expired before it could be sent")
            queue.updates.popleft()
        del self._queues[key]
        return None

    async def _send(self, target: Target, key: QueueKey, update: Update) -> None:
        try:
            delay = await self._attempt(target, update)
        finally:
            self._in_flight -= 1
            self._wake.set()
        queue = self._queues.get(key)
        if queue is None or not queue.updates or queue.updates[0] is not update:
            return  # dropped meanwhile
        queue.sending = False
        if delay is None:
            queue.updates.popleft()
            self._pending.pop(update.id, None)
        elif self._is_too_late(update, delay):
            self._give_up(update, "too old for another try")
            queue.updates.popleft()
        else:
            update.ready_at = time.monotonic() + delay / self._pace.divisor
        if queue.updates:
            self._schedule(key, queue)
        else:
            del self._queues[key]

    async def _attempt(self, target: Target, update: Update) -> float | None:
        """Send once. Returns the real seconds to wait before the next try, None when it is done."""
        update.attempts += 1
        started = time.monotonic()
        status: int | None = None
        error: str | None = None
        retry_after = 0
        body = b""
        timeout = aiohttp.ClientTimeout(total=self.answer_timeout_seconds)
        try:
            async with self._http.post(
                target.url, data=update.body, headers=target.headers, timeout=timeout
            ) as answer:
                body = await answer.read()
                status = answer.status
                if not self._is_taken(status):
                    error = f"Wrong response from the webhook: {status} {answer.reason}"
                    retry_after = _retry_after(answer.headers.get("Retry-After"))
        except TimeoutError:
            error = "Read timeout expired"
        except aiohttp.ClientConnectorError:
            error = "Connection refused"
        except aiohttp.ClientError:
            error = "Webhook connection closed"
        now = time.monotonic()
        for part in update.each:
            self._ledger.webhook(
                channel_id=self.channel_id,
                client=part.client,
                chat_id=part.chat_id,
                message_id=part.message_id,
                text=part.text,
                update_id=part.id,
                kind=part.kind,
                attempt=update.attempts,
                status=status,
                error=error,
                took_ms=(now - started) * 1000,
                fault=update.faults.names,
            )
        if error is None:
            return self._succeeded(update, now, body)
        self.last_error = (int(self._clock()), error)
        update.failures += 1
        return float(retry_after) if retry_after > 0 else self._wait_seconds(update)

    def _succeeded(self, update: Update, now: float, body: bytes) -> float | None:
        self._last_success = now
        if not update.acked:
            update.acked = True
            for part in update.each:
                if part.watcher is not None:
                    part.watcher.on_acked()
                if part.on_answer is not None:
                    part.on_answer(body)
            if update.faults.duplicate:
                return 0.0  # as if this answer had been lost
        return None

    def _give_up(self, update: Update, reason: str) -> None:
        self._pending.pop(update.id, None)
        for part in update.each:
            if part.watcher is not None and not update.acked:
                part.watcher.on_dropped()
            self._ledger.webhook_dropped(
                channel_id=self.channel_id,
                client=part.client,
                chat_id=part.chat_id,
                update_id=part.id,
                kind=part.kind,
                reason=reason,
            )


def _retry_after(value: str | None) -> int:
    if value is None or not value.isascii() or not value.isdigit():
        return 0
    return min(int(value), MAX_RETRY_AFTER_SECONDS)
