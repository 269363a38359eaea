"""Delivery of updates by Telegram's own rules: which chat waits for which, retries, `getUpdates`.

Messages and edits share the queue of their chat, presses have the queue of the user, blocking has a queue of
its own; so a press or a block may overtake a message.

Source: open Bot API server, WebhookActor (retry at once, then 2, 4, 8 … s up to a random 60–120 s; any 2xx is
success; 60 s for an answer; `Retry-After` up to an hour; one connection while nothing succeeded for 10 s).
"""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from sandbox.delivery import Delivery, Pace, Target, Update
from sandbox.faults import FaultPlan
from sandbox.ledger import Ledger
from sandbox.telegram.state import Bot, Webhook

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
NOT_BY_DEFAULT = frozenset({"chat_member", "message_reaction", "message_reaction_count"})


@dataclass(slots=True)
class _Poll:
    """A waiting `getUpdates`."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    conflict: str | None = None


class TelegramDelivery(Delivery):
    """All updates of one bot that are not confirmed by a 2xx or by an offset."""

    def __init__(
        self,
        bot: Bot,
        http: aiohttp.ClientSession,
        faults: FaultPlan,
        ledger: Ledger,
        clock: Callable[[], float],
        pace: Pace,
    ) -> None:
        super().__init__(http, faults, ledger, clock, pace)
        self.bot = bot
        self._poll: _Poll | None = None

    @property
    def channel_id(self) -> str | None:
        return self.bot.channel_id

    def _target(self, update: Update | None) -> Target | None:
        webhook = self.bot.webhook
        if webhook is None:
            return None
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate"}
        if webhook.secret_token is not None:
            headers["X-Telegram-Bot-Api-Secret-Token"] = webhook.secret_token
        return Target(webhook.url, headers)

    def _connections(self) -> int:
        silent_seconds = (time.monotonic() - self._last_success) * self._pace.divisor
        if silent_seconds > PATIENCE_SECONDS or self.bot.webhook is None:
            return 1
        return self.bot.webhook.max_connections

    def _is_taken(self, status: int) -> bool:
        return 200 <= status <= 299

    def _wait_seconds(self, update: Update) -> float:
        if update.failures == 1:
            return 0.0
        ceiling = random.uniform(MAX_DELAY_SECONDS, 2 * MAX_DELAY_SECONDS)  # noqa: S311  # spreads load only
        update.delay = min(ceiling, update.delay * 2)
        return update.delay

    def _is_too_late(self, update: Update, delay: float) -> bool:
        return self._clock() + delay > update.expires_at

    def wants(self, kind: str) -> bool:
        """Whether the bot asked for updates of this kind."""
        allowed = self.bot.allowed_updates
        return kind in allowed if allowed is not None else kind not in NOT_BY_DEFAULT

    def put(self, update: Update) -> None:
        """Queue an update; a waiting poll gets it at once."""
        super().put(update)
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
