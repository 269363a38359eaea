"""Delivery of updates by Telegram's own rules: a queue per chat, retries, `getUpdates`.

One queue per chat is strict first in, first out: an update that keeps failing holds back its chat and no
other. Messages and edits share the queue of their chat, presses have the queue of the user, blocking has a
queue of its own; so a press or a block may overtake a message.

Source: open Bot API server, WebhookActor (retry at once, then 2, 4, 8 … s up to a random 60–120 s; any 2xx is
success; 60 s for an answer; `Retry-After` up to an hour; one connection while nothing succeeded for 10 s).
"""

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

from sandbox.faults import UNTOUCHED, FaultPlan, WebhookFaults
from sandbox.ledger import Ledger
from sandbox.telegram.state import Bot, Webhook

ANSWER_TIMEOUT_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 3600
MAX_DELAY_SECONDS = 60.0
"""Delays double up to a random value between this and twice this."""
PATIENCE_SECONDS = 10.0
"""So long without a success, and only one connection is used until the next one."""
MESSAGE_LIFE_SECONDS = 86400.0
CALLBACK_LIFE_SECONDS = 150.0

UPDATE_TYPES = (
    "message", "edited_message", "channel_post", "edited_channel_post", "business_connection",
    "business_message", "edited_business_message", "deleted_business_messages", "message_reaction",
    "message_reaction_count", "inline_query", "chosen_inline_result", "callback_query", "shipping_query",
    "pre_checkout_query", "purchased_paid_media", "poll", "poll_answer", "my_chat_member", "chat_member",
    "chat_join_request", "chat_boost", "removed_chat_boost",
)  # fmt: skip
TIMER_SLACK_SECONDS = 0.002
"""The event loop may fire a timer this much early."""

NOT_BY_DEFAULT = frozenset({"chat_member", "message_reaction", "message_reaction_count"})


class Watcher(Protocol):
    """Somebody who counts what becomes of his updates: a burst."""

    def on_acked(self) -> None:
        """The update was answered with 2xx."""

    def on_dropped(self) -> None:
        """The update was given up."""


@dataclass(slots=True)
class Update:
    """One update waiting to be delivered; `body` is what goes over the wire."""

    id: int
    kind: str
    queue: tuple[str, int]
    body: bytes
    client: str
    chat_id: int
    message_id: int | None
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


@dataclass(slots=True)
class _Queue:
    """Never empty while it is kept: its first update is on the wire, ready, or has a timer."""

    updates: deque[Update] = field(default_factory=deque)
    sending: bool = False


@dataclass(slots=True)
class _Poll:
    """A waiting `getUpdates`."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    conflict: str | None = None


@dataclass(slots=True)
class Pace:
    """How much faster than real the waiting times run."""

    divisor: float = 1.0


class Delivery:
    """All updates of one bot that are not confirmed yet."""

    def __init__(
        self,
        bot: Bot,
        http: aiohttp.ClientSession,
        faults: FaultPlan,
        ledger: Ledger,
        clock: Callable[[], float],
        pace: Pace,
    ) -> None:
        self.bot = bot
        self._http = http
        self._faults = faults
        self._ledger = ledger
        self._clock = clock
        self._pace = pace
        self._queues: dict[tuple[str, int], _Queue] = {}
        self._pending: dict[int, Update] = {}
        self._ready: dict[tuple[str, int], None] = {}  # a set that keeps the order
        self._wake = asyncio.Event()
        self._in_flight = 0
        self._last_success = time.monotonic() - 3600.0
        self._poll: _Poll | None = None
        self.last_error: tuple[int, str] | None = None

    @property
    def pending_count(self) -> int:
        """Updates not confirmed by a 2xx or by an offset."""
        return len(self._pending)

    def wants(self, kind: str) -> bool:
        """Whether the bot asked for updates of this kind."""
        allowed = self.bot.allowed_updates
        return kind in allowed if allowed is not None else kind not in NOT_BY_DEFAULT

    def put(self, update: Update) -> None:
        """Queue an update; it goes out as soon as a connection is free."""
        update.faults = self._faults.for_update(self.bot.channel_id, update.client)
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
        if self._poll is not None:
            self._poll.woken.set()

    def retarget(self, webhook: Webhook | None, *, drop_pending: bool) -> None:
        """The bot set or deleted its webhook. Updates already queued stay, whatever their kind."""
        if webhook != self.bot.webhook:
            self.last_error = None
        self.bot.webhook = webhook
        if drop_pending:
            self.drop_pending()
        if webhook is not None and self._poll is not None:
            self._end_poll("Conflict: terminated by setWebhook request")
        self._wake.set()

    def drop_pending(self) -> None:
        """Forget everything that is queued; what is on the wire ends by itself."""
        self._pending.clear()
        self._queues.clear()
        self._ready.clear()

    async def poll(self, offset: int | None, limit: int, timeout_seconds: float) -> list[object]:
        """`getUpdates`: the offset confirms what is before it; waits for the first update.

        Raises:
            PollTerminated: another `getUpdates` or `setWebhook` ended this one.
        """
        if self._poll is not None:
            self._end_poll(
                "Conflict: terminated by other getUpdates request; "
                "make sure that only one bot instance is running"
            )
        if offset is not None:
            self._confirm(offset)
        found = self._first(limit)
        if found or timeout_seconds <= 0:
            return found
        poll = self._poll = _Poll()
        try:
            await asyncio.wait_for(poll.woken.wait(), timeout_seconds)
        except TimeoutError:
            return []
        finally:
            if self._poll is poll:
                self._poll = None
        if poll.conflict is not None:
            raise PollTerminated(poll.conflict)
        return self._first(limit)

    async def run(self) -> None:
        """Send for ever, up to the bot's number of connections at once."""
        async with asyncio.TaskGroup() as sends:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._ready and (webhook := self.bot.webhook) is not None:
                    if self._in_flight >= self._connections(webhook):
                        break
                    key = next(iter(self._ready))
                    del self._ready[key]
                    update = self._take(key)
                    if update is not None:
                        self._in_flight += 1
                        sends.create_task(self._send(webhook, key, update))

    def _connections(self, webhook: Webhook) -> int:
        silent_seconds = (time.monotonic() - self._last_success) * self._pace.divisor
        return 1 if silent_seconds > PATIENCE_SECONDS else webhook.max_connections

    def _schedule(self, key: tuple[str, int], queue: _Queue) -> None:
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

    def _now_ready(self, key: tuple[str, int]) -> None:
        self._ready[key] = None
        self._wake.set()

    def _take(self, key: tuple[str, int]) -> Update | None:
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

    async def _send(self, webhook: Webhook, key: tuple[str, int], update: Update) -> None:
        try:
            delay = await self._attempt(webhook, update)
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
        elif self._clock() + delay > update.expires_at:
            self._give_up(update, "too old for another try")
            queue.updates.popleft()
        else:
            update.ready_at = time.monotonic() + delay / self._pace.divisor
        if queue.updates:
            self._schedule(key, queue)
        else:
            del self._queues[key]

    async def _attempt(self, webhook: Webhook, update: Update) -> float | None:
        """Send once. Returns the seconds to wait before the next try, None when it is done."""
        update.attempts += 1
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate"}
        if webhook.secret_token is not None:
            headers["X-Telegram-Bot-Api-Secret-Token"] = webhook.secret_token
        started = time.monotonic()
        status: int | None = None
        error: str | None = None
        retry_after = 0
        try:
            async with self._http.post(webhook.url, data=update.body, headers=headers) as answer:
                await answer.read()
                status = answer.status
                if not 200 <= status <= 299:
                    error = f"Wrong response from the webhook: {status} {answer.reason}"
                    retry_after = _retry_after(answer.headers.get("Retry-After"))
        except TimeoutError:
            error = "Read timeout expired"
        except aiohttp.ClientConnectorError:
            error = "Connection refused"
        except aiohttp.ClientError:
            error = "Webhook connection closed"
        now = time.monotonic()
        self._ledger.webhook(
            channel_id=self.bot.channel_id,
            client=update.client,
            chat_id=update.chat_id,
            message_id=update.message_id,
            text=update.text,
            update_id=update.id,
            kind=update.kind,
            attempt=update.attempts,
            status=status,
            error=error,
            took_ms=(now - started) * 1000,
            fault=update.faults.names,
        )
        if error is None:
            return self._succeeded(update, now)
        return self._failed(update, error, retry_after)

    def _succeeded(self, update: Update, now: float) -> float | None:
        self._last_success = now
        if not update.acked:
            update.acked = True
            if update.watcher is not None:
                update.watcher.on_acked()
            if update.faults.duplicate:
                return 0.0  # as if this answer had been lost
        return None

    def _failed(self, update: Update, error: str, retry_after: int) -> float:
        self.last_error = (int(self._clock()), error)
        update.failures += 1
        if retry_after > 0:
            return float(retry_after)
        if update.failures == 1:
            return 0.0
        ceiling = random.uniform(MAX_DELAY_SECONDS, 2 * MAX_DELAY_SECONDS)  # noqa: S311  # spreads load only
        update.delay = min(ceiling, update.delay * 2)
        return update.delay

    def _give_up(self, update: Update, reason: str) -> None:
        self._pending.pop(update.id, None)
        if update.watcher is not None and not update.acked:
            update.watcher.on_dropped()
        self._ledger.webhook_dropped(
            channel_id=self.bot.channel_id,
            client=update.client,
            chat_id=update.chat_id,
            update_id=update.id,
            kind=update.kind,
            reason=reason,
        )

    def _confirm(self, offset: int) -> None:
        if offset < 0:  # the last so many stay, everything before is forgotten
            keep = list(self._pending)[offset:]
            offset = keep[0] if keep else 0
        for update_id in [known for known in self._pending if known < offset]:
            update = self._pending.pop(update_id)
            queue = self._queues[update.queue]
            queue.updates.remove(update)
            if not queue.updates:
                del self._queues[update.queue]
                self._ready.pop(update.queue, None)
            elif queue.sending:
                queue.sending = False  # it was on the wire when the webhook went away
                self._schedule(update.queue, queue)
            if update.watcher is not None and not update.acked:
                update.watcher.on_acked()
            if update.handed:
                self._taken(update)

    def _first(self, limit: int) -> list[object]:
        now = self._clock()
        alive = [update for update in self._pending.values() if update.expires_at > now][:limit]
        for update in alive:
            update.handed += 1
        return [json.loads(update.body) for update in alive]

    def _taken(self, update: Update) -> None:
        """A poll with a higher offset: what a 2xx is for a webhook."""
        self._ledger.webhook(
            channel_id=self.bot.channel_id,
            client=update.client,
            chat_id=update.chat_id,
            message_id=update.message_id,
            text=update.text,
            update_id=update.id,
            kind=update.kind,
            attempt=update.handed,
            status=200,
            error=None,
            took_ms=0.0,
            fault=None,
            method="getUpdates",
        )

    def _end_poll(self, conflict: str) -> None:
        assert self._poll is not None
        self.poll_conflict = conflict
        self._poll.conflict = conflict
        self._poll.woken.set()
        self._poll = None


class PollTerminated(Exception):
    """A waiting `getUpdates` was ended by another call; the text is Telegram's."""


def _retry_after(value: str | None) -> int:
    if value is None or not value.isascii() or not value.isdigit():
        return 0
    return min(int(value), MAX_RETRY_AFTER_SECONDS)
