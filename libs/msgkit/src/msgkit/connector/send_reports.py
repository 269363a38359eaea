"""Tells inbox what became of its answers: at once, and again until the broker has confirmed it.

A report is written in the document of its send, together with what it tells, before it comes here. So nothing
is lost with this process: whoever owns the channel then finds it in the store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import timedelta

from msgkit.connector.receipt_writer import Report
from msgkit.connector.receipts import Receipts
from msgkit.connector.send_documents import Outcome, Send
from msgkit.connector.send_store import SendStore
from msgkit.contracts.words import MessageState
from msgkit.runtime import metrics
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown, PublishUnroutable
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import StoreUnavailable

log = get_logger(__name__)

REPORTS_AT_ONCE = 100
REPORTS_KEPT = 2_000
REPORT_SWEEP = timedelta(seconds=2)
REPORT_SWEEP_BATCHES = 20
"""Of one sweep; those that come in meanwhile wait no longer than these take."""
NET_S = 1.0
"""How often we look for reports nobody published."""


class SendReports:
    """Reports of the channels this replica owns."""

    def __init__(
        self,
        *,
        sends: SendStore,
        publisher: Publisher,
        membership: Membership,
        receipts: Receipts | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """
        Args:
            receipts: for a messenger that tells later what became of a message.
        """
        self._sends = sends
        self._publisher = publisher
        self._membership = membership
        self._receipts = receipts
        self._clock = clock
        self._waiting: asyncio.Queue[Report] = asyncio.Queue(REPORTS_KEPT)
        if receipts is not None:
            receipts.on_report(self.tell)

    def ended(self, send: Send, outcome: Outcome, report: Outgoing) -> None:
        """A send ended, and that is written: tell inbox."""
        metrics.delivery_total.labels(kind=send.channel_kind, outcome=outcome.state.value).inc()
        if outcome.state is MessageState.SENT:
            took = (self._clock() - send.order.recorded_at).total_seconds()
            metrics.outbound_e2e_seconds.labels(kind=send.channel_kind).observe(max(0.0, took))
        log.info(
            "send_ended",
            message_id=send.message_id,
            state=outcome.state.value,
            failure=None if outcome.failure is None else outcome.failure.code.value,
        )
        self.tell([(send.message_id, report)])

    def tell(self, reports: Iterable[Report]) -> None:
        """Publish these soon. Never waits; they are in the store already."""
        for report in reports:
            if not self._waiting.full():  # else the sweep finds it in the store
                self._waiting.put_nowait(report)

    async def run(self) -> None:
        """Publish for ever."""
        swept_at = 0.0
        while True:
            try:
                async with asyncio.timeout(NET_S):
                    first = [await self._waiting.get()]
            except TimeoutError:
                first = []
            await self._publish([*first, *self._taken()])
            if time.monotonic() - swept_at >= NET_S:
                swept_at = time.monotonic()
                await self._sweep()

    async def publish_rest(self) -> None:
        """What this process has in hand; more of it stays in the store for whoever comes after."""
        await self._publish(self._taken())

    def _taken(self) -> list[Report]:
        taken: list[Report] = []
        while len(taken) < REPORTS_AT_ONCE and not self._waiting.empty():
            taken.append(self._waiting.get_nowait())
        return taken

    async def _sweep(self) -> None:
        """Publish what nobody published: after an outage that is everything since it began."""
        for _ in range(REPORT_SWEEP_BATCHES):
            try:
                due = await self._sends.due_reports(self._membership.owned, REPORT_SWEEP, REPORTS_AT_ONCE)
            except StoreUnavailable as exc:
                log.warning("reports_not_read", reason=str(exc))
                return
            if not await self._publish(due) or len(due) < REPORTS_AT_ONCE:
                return

    async def _publish(self, reports: list[Report]) -> bool:
        """Whether all of them are confirmed, and that is written."""
        if not reports:
            return True
        try:
            await self._publisher.publish_all([outgoing for _, outgoing in reports])
            if self._receipts is not None:
                await self._receipts.catch_up(reports)
            await self._sends.reported(reports)
        except (PublishUnknown, PublishUnroutable, StoreUnavailable) as exc:
            log.warning("reports_not_confirmed", count=len(reports), reason=str(exc))
            return False
        return True
