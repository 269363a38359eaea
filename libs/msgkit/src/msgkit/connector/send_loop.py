"""Decides what is sent next: one loop per channel, in order per conversation.

Only the owner of a channel's partition runs its loop; that gives order and rate. Everything a loop knows can
be read again from the store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from opentelemetry.trace import SpanKind

from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import Account
from msgkit.connector.credentials import EnvelopeInvalid
from msgkit.connector.receipts import Receipts
from msgkit.connector.send_attempts import Attempts
from msgkit.connector.send_channel import Channel, TokenBucket, latest
from msgkit.connector.send_documents import CHANNEL_GONE, CHANNEL_OFF, IN_DOUBT, UNKNOWN, Outcome, Send
from msgkit.connector.send_reports import SendReports
from msgkit.connector.send_store import SendStore
from msgkit.contracts.ids import partition_of
from msgkit.contracts.manifest import Manifest
from msgkit.contracts.words import MessageState
from msgkit.runtime import metrics
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.telemetry import span

log = get_logger(__name__)

CONVERSATIONS_AT_ONCE = 8
"""How many conversations of one channel are served side by side: a slow one does not hold the others."""
GAP_WAIT = timedelta(seconds=10)
"""How long an answer waits for an earlier one that has not come from inbox."""
DOUBT_LOOK_S = 0.5
"""How often we look whether a receipt told another replica what became of an unanswered call."""
NET_S = 1.0
"""How often we look for work nobody woke us for."""
RELOAD_S = 5.0
_STORE_PAUSE_S = 0.5
_BROKEN_PAUSE = timedelta(seconds=30)


class SendLoop:
    """All channels of one ingest service that this replica owns."""

    def __init__(
        self,
        *,
        manifests: Sequence[Manifest],
        accounts: AccountStore,
        sends: SendStore,
        attempts: Attempts,
        reports: SendReports,
        membership: Membership,
        receipts: Receipts | None = None,
        doubt_for: timedelta | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """
        Args:
            receipts: for a messenger that tells later what became of a message.
            doubt_for: as `Attempts` has it.
        """
        self._accounts = accounts
        self._sends = sends
        self._attempts = attempts
        self._reports = reports
        self._doubt_for = doubt_for
        self._membership = membership
        self._clock = clock
        self._per_second = {manifest.kind: _per_second(manifest) for manifest in manifests}
        self._channels: dict[str, Channel] = {}
        # They outlive the loops: a loop that ends when all is sent must not begin with a full bucket again.
        self._buckets: dict[str, TokenBucket] = {}
        self._wake = asyncio.Event()
        self._draining = False
        self._drained = asyncio.Event()
        self._woken: set[str] = set()
        accounts.on_change(self._on_account_change)
        if receipts is not None:
            receipts.on_understood(self._on_understood)

    def wake(self, touched: Mapping[str, Iterable[str]]) -> None:
        """Say that conversations of channels have something new."""
        for channel_id, conversations in touched.items():
            channel = self._channels.get(channel_id)
            if channel is not None:
                channel.add(conversations)
            else:
                self._woken.add(channel_id)
        self._wake.set()

    async def run(self) -> None:
        """Serve until `drain`."""
        async with asyncio.TaskGroup() as tasks:
            reporter = tasks.create_task(self._reports.run())
            async with asyncio.TaskGroup() as loops:
                swept_at = 0.0
                while not self._draining:
                    if self._woken or time.monotonic() - swept_at >= NET_S:
                        swept_at = time.monotonic()
                        await self._start_loops(loops)
                    await _wait(self._wake, NET_S)
            await self._reports.publish_rest()
            reporter.cancel()
        self._drained.set()

    async def drain(self) -> None:
        """Take nothing new and wait for the calls that are out."""
        self._draining = True
        self._wake.set()
        for channel in self._channels.values():
            channel.wake.set()
        await self._drained.wait()

    def _on_account_change(self, channel_id: str) -> None:
        channel = self._channels.get(channel_id)
        if channel is not None:
            channel.wake.set()

    def _on_understood(self, channel_id: str, conversation_id: str) -> None:
        self.wake({channel_id: [conversation_id]})

    def _owns(self, channel_id: str) -> bool:
        return partition_of(channel_id) in self._membership.owned

    async def _start_loops(self, loops: asyncio.TaskGroup) -> None:
        woken, self._woken = self._woken, set()
        try:
            waiting = woken.union(await self._sends.waiting_channels())
        except StoreUnavailable as exc:
            log.warning("sends_not_read", reason=str(exc))
            self._woken |= woken
            return
        for channel_id in sorted(waiting):
            if channel_id not in self._channels and self._owns(channel_id):
                bucket = self._buckets.setdefault(channel_id, TokenBucket(min(self._per_second.values())))
                channel = Channel(channel_id, bucket)
                self._channels[channel_id] = channel
                loops.create_task(self._serve_channel(channel), name=f"sends {channel_id}")

    # --- one channel

    async def _serve_channel(self, channel: Channel) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                while not self._draining and self._owns(channel.channel_id):
                    try:
                        if not await self._turn(channel, tasks):
                            break
                    except (StoreUnavailable, EnvelopeInvalid) as exc:
                        channel.blocked_until = self._clock() + timedelta(seconds=_STORE_PAUSE_S)
                        log.warning("channel_waits", channel_id=channel.channel_id, reason=str(exc))
                    await _wait(channel.wake, self._pause_s(channel))
        finally:
            del self._channels[channel.channel_id]
            if channel.ready:  # came while we were leaving
                self._woken.add(channel.channel_id)
            self._wake.set()

    async def _turn(self, channel: Channel, tasks: asyncio.TaskGroup) -> bool:
        """Start what can be started; False when there is nothing left to do."""
        if time.monotonic() - channel.reloaded_at >= RELOAD_S or not (
            channel.ready or channel.later or channel.busy
        ):
            channel.reloaded_at = time.monotonic()
            known = channel.ready.keys() | channel.later.keys() | channel.busy
            found = await self._sends.waiting_conversations(channel.channel_id)
            channel.add(id_ for id_ in found if id_ not in known)
            if found and self._doubt_for is not None:
                channel.doubts.update(await self._sends.doubtful_conversations(channel.channel_id))
            if not (found or channel.ready or channel.busy):
                return False
        account = await self._accounts.get(channel.channel_id)
        if account is None or account.state == "disabled":
            if not channel.busy:
                reason = CHANNEL_GONE if account is None else CHANNEL_OFF
                await self._sends.fail_channel(channel.channel_id, reason)
            return bool(channel.busy)
        channel.bucket.limit(self._per_second.get(account.kind, 1.0))
        now = self._clock()
        channel.blocked_until = latest(channel.paused_until, account.paused_until, now)
        if account.state == "disconnected":
            channel.blocked_until = now + timedelta(seconds=NET_S)
        is_blocked = now < channel.blocked_until
        for conversation_id in [id_ for id_, due_at in channel.later.items() if due_at <= now]:
            del channel.later[conversation_id]
            channel.ready.setdefault(conversation_id, None)
        for conversation_id in [id_ for id_ in channel.ready if id_ not in channel.busy]:
            if is_blocked and conversation_id not in channel.doubts:
                continue
            if len(channel.busy) >= CONVERSATIONS_AT_ONCE:
                break
            del channel.ready[conversation_id]
            channel.busy.add(conversation_id)
            tasks.create_task(self._serve_conversation(channel, account, conversation_id))
        return True

    def _pause_s(self, channel: Channel) -> float:
        now = self._clock()
        if channel.blocked_until is not None and channel.blocked_until > now:
            next_look = channel.blocked_until
        elif channel.later:
            next_look = min(channel.later.values())
        else:
            return NET_S
        return min(NET_S, max(0.01, (next_look - now).total_seconds()))

    async def _serve_conversation(self, channel: Channel, account: Account, conversation_id: str) -> None:
        """Serve the head of one conversation and say when to look again."""
        again: datetime | None
        try:
            again = await self._serve_head(channel, account, conversation_id)
        except (StoreUnavailable, EnvelopeInvalid) as exc:
            log.warning("conversation_waits", conversation_id=conversation_id, reason=str(exc))
            again = self._clock() + timedelta(seconds=_STORE_PAUSE_S)
        except Exception:
            # One conversation waits for us to mend it; the others go on.
            log.exception("conversation_failed", conversation_id=conversation_id)
            again = self._clock() + _BROKEN_PAUSE
        channel.busy.discard(conversation_id)
        if again is None:
            channel.done.pop(conversation_id, None)
        elif again <= self._clock():
            channel.ready.setdefault(conversation_id, None)
        elif conversation_id not in channel.ready:
            channel.later[conversation_id] = again
        channel.wake.set()

    async def _serve_head(self, channel: Channel, account: Account, conversation_id: str) -> datetime | None:
        now = self._clock()
        head = await self._sends.head(channel.channel_id, conversation_id)
        channel.doubts.discard(conversation_id)
        if head is None:
            return None
        if head.state == "sending":
            return await self._resolve_attempt(head, now)
        if head.state == IN_DOUBT or head.understood_id is not None:
            channel.doubts.add(conversation_id)
            return await self._resolve_doubt(channel, head, now)
        waits_until = await self._waits_until(channel, head, now)
        if waits_until is not None:
            return waits_until
        with span(
            "send",
            parent=head.traceparent,
            kind=SpanKind.CONSUMER,
            attributes={"message_id": head.message_id},
        ):
            again = await self._attempts.make(channel, account, head)
        return self._clock() if again is None else again

    async def _resolve_attempt(self, head: Send, now: datetime) -> datetime:
        """An attempt is on record, and it is not one of our calls that are out."""
        if head.owner == self._attempts.owner:
            # Our claim was not confirmed but written: the call was never made.
            await self._sends.release(head, self._attempts.owner, due_at=now)
            return now
        if not head.lease_is_over:
            return now + timedelta(seconds=NET_S)
        if self._doubt_for is not None:
            await self._sends.doubt(head, now + self._doubt_for, None)
            return now
        report = await self._sends.give_up(head)
        if report is not None:
            self._reports.ended(head, Outcome(MessageState.UNKNOWN, UNKNOWN), report)
        return now

    async def _resolve_doubt(self, channel: Channel, head: Send, now: datetime) -> datetime:
        """A call went unanswered: a receipt with its mark tells that it arrived, or nobody ever will.

        Or we took it for not arrived, put it back, and a receipt tells otherwise.
        """
        understood = head.understood_id
        if understood is not None:
            log.info("doubt_resolved", message_id=head.message_id, part=head.parts_done)
            if head.parts_done + 1 < head.parts:
                await self._sends.go_on(head, understood)
            else:
                await self._attempts.finish(
                    channel, head, Outcome(MessageState.SENT), [*head.provider_ids, understood]
                )
            return now
        if head.doubt_until is not None and now < head.doubt_until:
            return min(head.doubt_until, now + timedelta(seconds=DOUBT_LOOK_S))
        report = await self._sends.end_doubt(head)
        if report is not None:
            self._reports.ended(head, Outcome(MessageState.UNKNOWN, UNKNOWN), report)
        return now

    async def _waits_until(self, channel: Channel, head: Send, now: datetime) -> datetime | None:
        """Until when nobody may be called for it; None if it may go."""
        if channel.blocked_until is not None and channel.blocked_until > now:
            return channel.blocked_until
        if head.due_at > now:
            return head.due_at
        return await self._gap(channel, head, now)

    async def _gap(self, channel: Channel, head: Send, now: datetime) -> datetime | None:
        """Until when the head waits for an earlier answer; None if it may go."""
        done = channel.done.get(head.conversation_id)
        if done is None or head.out_seq > done + 1:
            done = await self._sends.position(head.conversation_id)
            channel.done[head.conversation_id] = done
        if head.out_seq <= done + 1:
            return None
        waits_until = head.accepted_at + GAP_WAIT
        if now < waits_until:
            return waits_until
        metrics.out_of_order_gap_total.labels(kind=head.channel_kind).inc()
        log.warning(
            "send_gap_skipped", conversation_id=head.conversation_id, expected=done + 1, got=head.out_seq
        )
        return None


def _per_second(manifest: Manifest) -> float:
    limits = [limit.value for limit in manifest.limits.values() if limit.unit == "per_second"]
    return float(min(limits, default=1))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until somebody wakes us, or `seconds` are over."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
    finally:
        event.clear()
