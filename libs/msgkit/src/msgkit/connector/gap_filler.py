"""Reads gaps again, page by page, through the ordinary road of acceptance, by the owner of each channel.

Each page is durable before the cursor behind it: a crash at any place reads a page twice, without effect,
because what it says has the ids it would have had as a webhook.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

from msgkit.connector.acceptance import Acceptance, NotAccepted, Portion
from msgkit.connector.accounts import AccountStore
from msgkit.connector.channel_work import NET_S, ChannelWork
from msgkit.connector.contract import Account, Parsed, Recalled, RecallsMissed, WebhookRequest
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.gap_store import Gap, GapStore
from msgkit.connector.gaps import Gaps
from msgkit.contracts.events import MessageEchoed, MessageReceived
from msgkit.contracts.ids import new_id
from msgkit.runtime import metrics
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership

log = get_logger(__name__)

PACE_S = 0.5
"""Between two calls for one account: Meta's Conversations API takes two a second (fact sheet 2.7)."""
PAGE_S = 300.0
"""A page that takes longer is asked for again. One may be many calls: Meta tells old messages one by one."""
TOLD_EVERY_S = 10.0
INACTIVE_S = 5.0
REFUSED_S = 900.0
"""After a refusal: an administrator may grant meanwhile what is missing."""
GIVE_UP_AFTER = timedelta(days=7)
_BACKOFF_FIRST_S = 2.0
_BACKOFF_MAX_S = 300.0
_THROTTLE_MAX_S = 3600.0
_OUR_PAUSE_S = 2.0


class _Later(Exception):
    """The page cannot be had now.

    Args:
        reason: for the log.
        after_s: seconds until the next try; None for a growing pause.
        counts: whether the messenger failed us.
        problem: why it refused, for the administrator.
    """

    def __init__(
        self, reason: str, after_s: float | None = None, *, counts: bool = True, problem: str | None = None
    ) -> None:
        super().__init__(reason)
        self.after_s = after_s
        self.counts = counts
        self.problem = problem


class GapFiller:
    """The gaps of the channels this replica owns."""

    def __init__(
        self,
        *,
        connector: RecallsMissed,
        gaps: Gaps,
        store: GapStore,
        accounts: AccountStore,
        acceptance: Acceptance,
        membership: Membership,
        pace_s: float = PACE_S,
        every_s: float = NET_S,
        clock: Clock = utc_now,
    ) -> None:
        """
        Args:
            gaps: tells when one can be read.
            pace_s: seconds between two calls for one account, at least.
            every_s: seconds between two looks for gaps.
        """
        self._connector = connector
        self._store = store
        self._accounts = accounts
        self._acceptance = acceptance
        self._pace_s = pace_s
        self._clock = clock
        self._told_at: dict[str, float] = {}
        self._on_progress: list[Callable[[str], None]] = []
        self._on_end: list[Callable[[str], None]] = []
        self._work = ChannelWork("gaps", membership, due=self._due, serve=self._fill, every_s=every_s)
        gaps.on_ready(self._work.wake)
        self.run = self._work.run
        self.drain = self._work.drain

    def on_progress(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the channel id now and then while its gap is read."""
        self._on_progress.append(listener)

    def on_end(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the channel id when its gap is read, or given up."""
        self._on_end.append(listener)

    async def _due(self) -> Iterable[str]:
        due = await self._store.due()
        metrics.gaps_open.set(sum(self._work.is_ours(channel_id) for channel_id in due))
        return due

    async def _fill(self, channel_id: str) -> None:
        while self._work.goes_on(channel_id):
            gap = await self._store.gap(channel_id, due_only=True)
            if gap is None:
                return
            account = await self._accounts.get(channel_id)
            if account is None:
                await self._store.forget(channel_id)
                return
            if account.state != "active":
                self._work.pause(channel_id, INACTIVE_S)
                return
            asked_at = time.monotonic()
            try:
                await self._read(gap, account)
            except _Later as exc:
                await self._put_off(gap, exc)
                return
            await self._work.rest(max(0.0, self._pace_s - (time.monotonic() - asked_at)))

    async def _read(self, gap: Gap, account: Account) -> None:
        """One page: take it, write down where to go on."""
        page = await self._page(gap, account)
        read = await self._taken(page, account)
        metrics.recalled_messages_total.labels(kind=account.kind).inc(read)
        log.info(
            "gap_page_read",
            channel_id=gap.channel_id,
            messages=read,
            so_far=gap.read + read,
            is_last=page.cursor is None,
        )
        if page.cursor is None:
            if await self._store.finish(gap, read):
                log.warning("gap_read", channel_id=gap.channel_id, messages=gap.read + read)
                self._tell(self._on_end, gap.channel_id)
            return
        if await self._store.advance(gap, page.cursor, read):
            self._tell_progress(gap.channel_id)

    async def _page(self, gap: Gap, account: Account) -> Recalled:
        try:
            async with asyncio.timeout(PAGE_S):
                page = await self._connector.recall(gap.since, gap.cursor, account)
        except Throttled as exc:
            raise _Later("throttled", min(exc.retry_after_seconds, _THROTTLE_MAX_S), counts=False) from exc
        except CredentialsInvalid as exc:
            await self._accounts.refused(account, exc.text)
            raise _Later("credentials_invalid", INACTIVE_S, counts=False) from exc
        except (MessageRejected, RecipientUnreachable) as exc:
            log.error("gap_refused", channel_id=gap.channel_id, reason=exc.text)  # noqa: TRY400 - no bug
            raise _Later("refused", REFUSED_S, problem=exc.text) from exc
        except (ProviderUnavailable, DeliveryUnknown, TimeoutError) as exc:
            raise _Later(type(exc).__name__) from exc
        except Exception as exc:
            # A bug of the connector must not end the service; it stays open until it is mended.
            log.exception("gap_page_failed", channel_id=gap.channel_id)
            raise _Later(type(exc).__name__) from exc
        if page.cursor is not None and page.cursor == gap.cursor:
            log.error("gap_cursor_stands_still", channel_id=gap.channel_id)
            raise _Later("the cursor stands still")
        return page

    async def _taken(self, page: Recalled, account: Account) -> int:
        """Make it durable as webhooks are; how many messages it says."""
        portions = [
            Portion(WebhookRequest({}, body, new_id(), self._clock()), account) for body in page.bodies
        ]
        if not portions:
            return 0
        try:
            taken, _ = await self._acceptance.take_all(portions, whole=None)
        except NotAccepted as exc:
            raise _Later(exc.outcome, _OUR_PAUSE_S, counts=False) from exc
        return sum(_messages(parsed) for parsed in taken)

    async def _put_off(self, gap: Gap, later: _Later) -> None:
        if later.counts and self._clock() - gap.found_at > GIVE_UP_AFTER:
            log.error("gap_given_up", channel_id=gap.channel_id, messages=gap.read, reason=str(later))
            await self._store.give_up(gap)
            self._tell(self._on_end, gap.channel_id)
            return
        pause = later.after_s
        if pause is None:
            longest: float = min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2 ** min(gap.tries, 10))
            pause = longest * random.uniform(0.75, 1.0)  # noqa: S311 - spreads tries, protects nothing
        log.warning("gap_put_off", channel_id=gap.channel_id, reason=str(later), pause_s=round(pause, 1))
        await self._store.put_off(gap, pause, counts=later.counts, problem=later.problem or gap.problem)
        if later.problem is not None:
            self._tell(self._on_progress, gap.channel_id)

    def _tell_progress(self, channel_id: str) -> None:
        now = time.monotonic()
        if now - self._told_at.get(channel_id, -TOLD_EVERY_S) >= TOLD_EVERY_S:
            self._told_at[channel_id] = now
            self._tell(self._on_progress, channel_id)

    def _tell(self, listeners: Iterable[Callable[[str], None]], channel_id: str) -> None:
        if listeners is self._on_end:
            self._told_at.pop(channel_id, None)
        for listener in listeners:
            listener(channel_id)


def _messages(parsed: Parsed) -> int:
    return sum(isinstance(event, MessageReceived | MessageEchoed) for event in parsed.events)
