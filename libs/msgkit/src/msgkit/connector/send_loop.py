"""Brings stored answers to the messenger: one loop per channel, in order per conversation.

Only the owner of a channel's partition runs its loop; that gives order and rate. What keeps an answer from
going out twice is the claim in the store. An ambiguous result is never repeated by itself.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from opentelemetry.trace import SpanKind

from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import Account, Connector, ResolvesUnknown
from msgkit.connector.credentials import EnvelopeInvalid
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.people import People
from msgkit.connector.receipts import Receipts
from msgkit.connector.send_admission import admit
from msgkit.connector.send_documents import IN_DOUBT, Outcome, Send
from msgkit.connector.send_store import CHANNEL_GONE, CHANNEL_OFF, LEASE_SECONDS, UNKNOWN, SendStore
from msgkit.contracts.events import Failure
from msgkit.contracts.ids import new_id, partition_of
from msgkit.contracts.words import FailureCode, MessageState
from msgkit.runtime import metrics
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown, PublishUnroutable
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.telemetry import current_traceparent, span

log = get_logger(__name__)

CONVERSATIONS_AT_ONCE = 8
"""How many conversations of one channel are served side by side: a slow one does not hold the others."""
GAP_WAIT = timedelta(seconds=10)
"""How long an answer waits for an earlier one that has not come from inbox."""
UNAVAILABLE_FOR = timedelta(minutes=15)
"""After so long without reaching the messenger an answer fails: nobody wants a greeting an hour late."""
BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
THROTTLE_MAX_S = 24 * 3600.0
CONTACT_THROTTLE_FACTOR = 4.0
CONTACT_THROTTLE_MAX_S = 15 * 60.0
DOUBT_LOOK_S = 0.5
"""How often we look whether a receipt told another replica what became of an unanswered call."""
NET_S = 1.0
"""How often we look for work nobody woke us for."""
RELOAD_S = 5.0
REPORTS_AT_ONCE = 100
REPORTS_KEPT = 2_000
REPORT_SWEEP = timedelta(seconds=2)
REPORT_SWEEP_BATCHES = 20
"""Of one sweep; those that come in meanwhile wait no longer than these take."""
_STORE_PAUSE_S = 0.5
_BROKEN_PAUSE = timedelta(seconds=30)

T = TypeVar("T")

_TEMPORARY = Failure(
    code=FailureCode.TEMPORARY,
    text="Месенджер був недоступний 15 хвилин. Надішліть повідомлення ще раз.",
)
_OUR_FAULT = Failure(
    code=FailureCode.REJECTED,
    text="Внутрішня помилка під час надсилання. Напишіть у підтримку.",
)


class _TakenOver(Exception):
    """Our lease ran out and somebody else ended this send."""


class TokenBucket:
    """At most `per_second` calls on average, with a burst of one second."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._tokens = per_second
        self._seen_at = time.monotonic()

    async def take(self) -> None:
        """Wait for one token."""
        while True:
            now = time.monotonic()
            self._tokens = min(self._per_second, self._tokens + (now - self._seen_at) * self._per_second)
            self._seen_at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
            await asyncio.sleep((1 - self._tokens) / self._per_second)


@dataclass(slots=True)
class _Channel:
    """What the loop of one channel knows; all of it can be read again from the store."""

    channel_id: str
    bucket: TokenBucket
    ready: dict[str, None] = field(default_factory=dict)
    later: dict[str, datetime] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    doubts: set[str] = field(default_factory=set)
    """Conversations that wait for word of an unanswered call: that needs no call, so no pause holds it."""
    done: dict[str, int] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    paused_until: datetime | None = None
    blocked_until: datetime | None = None
    """Nothing is started before this; the next look is then."""
    unavailable_since: datetime | None = None
    reloaded_at: float = 0.0

    def add(self, conversations: Iterable[str]) -> None:
        for conversation_id in conversations:
            self.later.pop(conversation_id, None)
            self.ready.setdefault(conversation_id, None)
        self.wake.set()


class SendLoop:
    """All channels of one ingest service that this replica owns."""

    def __init__(
        self,
        *,
        connector: Connector[Any],
        accounts: AccountStore,
        sends: SendStore,
        publisher: Publisher,
        membership: Membership,
        receipts: Receipts | None = None,
        people: People | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """
        Args:
            receipts: for a messenger that tells later what became of a message.
            people: for a messenger whose ids change.
        """
        self._connector = connector
        self._accounts = accounts
        self._sends = sends
        self._receipts = receipts
        self._people = people
        self._doubt_for: timedelta | None = None
        if receipts is not None and isinstance(connector, ResolvesUnknown):
            self._doubt_for = timedelta(seconds=connector.resolves_unknown_s)
        self._publisher = publisher
        self._membership = membership
        self._clock = clock
        # Not the name of the replica: that one comes again after a crash.
        self._owner = new_id()
        self._per_second = _per_second(connector)
        self._channels: dict[str, _Channel] = {}
        # They outlive the loops: a loop that ends when all is sent must not begin with a full bucket again.
        self._buckets: dict[str, TokenBucket] = {}
        self._wake = asyncio.Event()
        self._reports: asyncio.Queue[tuple[str, Outgoing]] = asyncio.Queue(REPORTS_KEPT)
        self._draining = False
        self._drained = asyncio.Event()
        self._woken: set[str] = set()
        accounts.on_change(self._on_account_change)
        if receipts is not None:
            receipts.on_report(self._tell)
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
            reporter = tasks.create_task(self._report())
            async with asyncio.TaskGroup() as loops:
                swept_at = 0.0
                while not self._draining:
                    if self._woken or time.monotonic() - swept_at >= NET_S:
                        swept_at = time.monotonic()
                        await self._start_loops(loops)
                    await _wait(self._wake, NET_S)
            await self._publish_reports(self._taken_reports())
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
                bucket = self._buckets.setdefault(channel_id, TokenBucket(self._per_second))
                channel = _Channel(channel_id, bucket)
                self._channels[channel_id] = channel
                loops.create_task(self._serve_channel(channel), name=f"sends {channel_id}")

    # --- one channel

    async def _serve_channel(self, channel: _Channel) -> None:
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

    async def _turn(self, channel: _Channel, tasks: asyncio.TaskGroup) -> bool:
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
        now = self._clock()
        channel.blocked_until = _latest(channel.paused_until, account.paused_until, now)
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

    def _pause_s(self, channel: _Channel) -> float:
        now = self._clock()
        if channel.blocked_until is not None and channel.blocked_until > now:
            next_look = channel.blocked_until
        elif channel.later:
            next_look = min(channel.later.values())
        else:
            return NET_S
        return min(NET_S, max(0.01, (next_look - now).total_seconds()))

    async def _serve_conversation(self, channel: _Channel, account: Account, conversation_id: str) -> None:
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

    async def _serve_head(self, channel: _Channel, account: Account, conversation_id: str) -> datetime | None:
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
            again = await self._send(channel, account, head)
        return self._clock() if again is None else again

    async def _resolve_attempt(self, head: Send, now: datetime) -> datetime:
        """An attempt is on record, and it is not one of our calls that are out."""
        if head.owner == self._owner:
            # Our claim was not confirmed but written: the call was never made.
            await self._sends.release(head, self._owner, due_at=now)
            return now
        if not head.lease_is_over:
            return now + timedelta(seconds=NET_S)
        if self._doubt_for is not None:
            await self._sends.doubt(head, now + self._doubt_for, None)
            return now
        report = await self._sends.give_up(head)
        if report is not None:
            self._ended(head, Outcome(MessageState.UNKNOWN, UNKNOWN), report)
        return now

    async def _resolve_doubt(self, channel: _Channel, head: Send, now: datetime) -> datetime:
        """A call went unanswered: a receipt with its mark tells that it arrived, or nobody ever will.

        Or we took it for not arrived, put it back, and a receipt tells otherwise.
        """
        understood = head.understood_id
        if understood is not None:
            log.info("doubt_resolved", message_id=head.message_id, part=head.parts_done)
            if head.parts_done + 1 < head.parts:
                await self._sends.go_on(head, understood)
            else:
                await self._finish(
                    channel, head, Outcome(MessageState.SENT), [*head.provider_ids, understood]
                )
            return now
        if head.doubt_until is not None and now < head.doubt_until:
            return min(head.doubt_until, now + timedelta(seconds=DOUBT_LOOK_S))
        report = await self._sends.end_doubt(head)
        if report is not None:
            self._ended(head, Outcome(MessageState.UNKNOWN, UNKNOWN), report)
        return now

    async def _waits_until(self, channel: _Channel, head: Send, now: datetime) -> datetime | None:
        """Until when nobody may be called for it; None if it may go."""
        if channel.blocked_until is not None and channel.blocked_until > now:
            return channel.blocked_until
        if head.due_at > now:
            return head.due_at
        return await self._gap(channel, head, now)

    async def _gap(self, channel: _Channel, head: Send, now: datetime) -> datetime | None:
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

    # --- one answer

    async def _send(self, channel: _Channel, account: Account, send: Send) -> datetime | None:
        """Try it once; returns when to try again, None when it has ended."""
        provider_ids = list(send.provider_ids)
        try:
            requests = await self._planned(send, account)
        except StoreUnavailable:
            raise  # nobody was called: it waits
        except Exception as exc:  # noqa: BLE001 - logged there; one broken answer must not stop the others
            return await self._finish(channel, send, _unplanned(send, exc), provider_ids)
        await channel.bucket.take()
        if not await self._sends.claim(send, self._owner, len(requests)):
            return self._clock()
        try:
            await self._deliver_parts(channel, account, send, requests, provider_ids)
            outcome = Outcome(MessageState.SENT)
        except (Throttled, ProviderUnavailable, CredentialsInvalid) as exc:
            return await self._not_sent(channel, account, send, exc, provider_ids)
        except _TakenOver:
            log.warning("send_taken_over", message_id=send.message_id)
            return self._clock()
        except Exception as exc:  # noqa: BLE001 - each has its outcome; ours are logged there
            outcome = _final(send, exc)
        channel.unavailable_since = None
        if outcome.state is MessageState.UNKNOWN and self._doubt_for is not None:
            until = self._clock() + self._doubt_for
            await self._surely(lambda: self._sends.doubt(send, until, self._owner))
            return None
        return await self._finish(channel, send, outcome, provider_ids)

    async def _planned(self, send: Send, account: Account) -> Sequence[Any]:
        order = send.order
        admit(order, self._connector.manifest)
        if self._people is not None:
            address = await self._people.address_of(send.channel_id, order.contact_key)
            if address is not None:
                order = order.model_copy(update={"contact_key": address})
        return self._connector.plan(order, account)

    async def _deliver_parts(
        self,
        channel: _Channel,
        account: Account,
        send: Send,
        requests: Sequence[Any],
        provider_ids: list[str],
    ) -> None:
        """Deliver the parts that are not delivered yet, marking each; `provider_ids` grows as they are."""
        for part in range(send.parts_done, len(requests)):
            async with self._held(send.message_id):
                receipt = await self._connector.deliver(requests[part], account)
            channel.unavailable_since = None
            provider_ids.extend(receipt.provider_ids)
            if part + 1 < len(requests):
                mark = partial(self._sends.mark_part, send, self._owner, receipt.provider_ids, part)
                if not await self._surely(mark):
                    raise _TakenOver
                await channel.bucket.take()

    async def _finish(
        self, channel: _Channel, send: Send, outcome: Outcome, provider_ids: Iterable[str]
    ) -> datetime | None:
        ids = list(provider_ids)
        report = await self._surely(
            lambda: self._sends.finish(send, outcome, provider_ids=ids, traceparent=current_traceparent())
        )
        channel.done[send.conversation_id] = max(channel.done.get(send.conversation_id, 0), send.out_seq)
        if report is not None:
            self._ended(send, outcome, report)
        return None

    async def _not_sent(
        self,
        channel: _Channel,
        account: Account,
        send: Send,
        exc: Throttled | ProviderUnavailable | CredentialsInvalid,
        provider_ids: list[str],
    ) -> datetime | None:
        """The messenger certainly did not take it: put it back, and say when to look again."""
        match exc:
            case Throttled(only_this_contact=True):
                return await self._rest(send, exc)
            case Throttled():
                return await self._pause(channel, send, exc)
            case ProviderUnavailable():
                return await self._back_off(channel, send, exc, provider_ids)
            case CredentialsInvalid():
                return await self._disconnect(account, send, exc)

    async def _pause(self, channel: _Channel, send: Send, throttled: Throttled) -> datetime:
        until = self._clock() + timedelta(
            seconds=min(max(throttled.retry_after_seconds, 0.0), THROTTLE_MAX_S)
        )
        channel.paused_until = _latest(channel.paused_until, until)
        log.warning("channel_throttled", channel_id=send.channel_id, seconds=throttled.retry_after_seconds)
        await self._surely(lambda: self._release(send, due_at=until))
        await self._surely(lambda: self._accounts.pause(send.channel_id, until))
        return until

    async def _rest(self, send: Send, throttled: Throttled) -> datetime:
        """This contact has had too much for now: what is for him waits, ever longer."""
        longer = CONTACT_THROTTLE_FACTOR ** min(send.refusals + 1, 10)
        seconds = min(max(throttled.retry_after_seconds, longer), CONTACT_THROTTLE_MAX_S)
        until = self._clock() + timedelta(seconds=seconds)
        log.warning("contact_throttled", message_id=send.message_id, seconds=seconds)
        await self._surely(lambda: self._release(send, due_at=until, is_refusal=True))
        return until

    async def _back_off(
        self, channel: _Channel, send: Send, exc: ProviderUnavailable, provider_ids: list[str]
    ) -> datetime | None:
        now = self._clock()
        if channel.unavailable_since is None:
            channel.unavailable_since = now
        # Whoever waited behind the first one has waited as long; each does not begin anew.
        since = min(send.unavailable_since or now, max(channel.unavailable_since, send.accepted_at))
        if now - since >= UNAVAILABLE_FOR:
            return await self._finish(channel, send, Outcome(MessageState.FAILED, _TEMPORARY), provider_ids)
        pause_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(send.retries, 10))
        due_at = now + timedelta(seconds=pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
        due_at = min(due_at, since + UNAVAILABLE_FOR)
        log.warning("provider_unavailable", message_id=send.message_id, reason=str(exc), retries=send.retries)
        await self._surely(lambda: self._release(send, due_at=due_at, unavailable_since=since))
        return due_at

    async def _disconnect(self, account: Account, send: Send, exc: CredentialsInvalid) -> datetime:
        now = self._clock()
        await self._surely(lambda: self._release(send, due_at=now))
        if await self._surely(lambda: self._accounts.refused(account, exc.text)):
            log.error("channel_disconnected", channel_id=send.channel_id)
        else:
            # The credentials were changed while the call was out: it goes out with the new ones.
            log.info("send_waits_for_new_credentials", message_id=send.message_id)
        return now + timedelta(seconds=NET_S)

    async def _release(
        self,
        send: Send,
        *,
        due_at: datetime,
        unavailable_since: datetime | None = None,
        is_refusal: bool = False,
    ) -> None:
        await self._sends.release(
            send, self._owner, due_at=due_at, unavailable_since=unavailable_since, is_refusal=is_refusal
        )

    async def _surely(self, write: Callable[[], Awaitable[T]]) -> T:
        """Repeat a write until MongoDB confirms it: we know what happened outside, nobody else does."""
        while True:
            try:
                return await write()
            except StoreUnavailable as exc:
                log.warning("outcome_not_written_yet", reason=str(exc))
                await asyncio.sleep(_STORE_PAUSE_S)

    @asynccontextmanager
    async def _held(self, message_id: str) -> AsyncIterator[None]:
        """Keep our lease on an attempt while the call is out."""
        task = asyncio.create_task(self._renew(message_id))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _renew(self, message_id: str) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                await self._sends.renew(message_id, self._owner)
            except StoreUnavailable as exc:
                log.warning("lease_not_renewed", message_id=message_id, reason=str(exc))

    # --- reports

    def _ended(self, send: Send, outcome: Outcome, report: Outgoing) -> None:
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
        self._tell([(send.message_id, report)])

    def _tell(self, reports: Iterable[tuple[str, Outgoing]]) -> None:
        for report in reports:
            if not self._reports.full():  # else the sweep finds it in the store
                self._reports.put_nowait(report)

    async def _report(self) -> None:
        swept_at = 0.0
        while True:
            try:
                async with asyncio.timeout(NET_S):
                    first = [await self._reports.get()]
            except TimeoutError:
                first = []
            await self._publish_reports([*first, *self._taken_reports()])
            if time.monotonic() - swept_at >= NET_S:
                swept_at = time.monotonic()
                await self._sweep_reports()

    def _taken_reports(self) -> list[tuple[str, Outgoing]]:
        taken: list[tuple[str, Outgoing]] = []
        while len(taken) < REPORTS_AT_ONCE and not self._reports.empty():
            taken.append(self._reports.get_nowait())
        return taken

    async def _sweep_reports(self) -> None:
        """Publish what nobody published: after an outage that is everything since it began."""
        for _ in range(REPORT_SWEEP_BATCHES):
            try:
                due = await self._sends.due_reports(self._membership.owned, REPORT_SWEEP, REPORTS_AT_ONCE)
            except StoreUnavailable as exc:
                log.warning("reports_not_read", reason=str(exc))
                return
            if not await self._publish_reports(due) or len(due) < REPORTS_AT_ONCE:
                return

    async def _publish_reports(self, reports: list[tuple[str, Outgoing]]) -> bool:
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


def _unplanned(send: Send, exc: Exception) -> Outcome:
    if isinstance(exc, MessageRejected | RecipientUnreachable):
        return _final(send, exc)
    log.error("plan_failed", message_id=send.message_id, exc_info=exc)
    return Outcome(MessageState.FAILED, _OUR_FAULT)


def _final(send: Send, exc: Exception) -> Outcome:
    """Where an error that is not tried again leaves the answer."""
    if isinstance(exc, MessageRejected):
        return Outcome(MessageState.FAILED, Failure(code=exc.code, text=exc.text))
    if isinstance(exc, RecipientUnreachable):
        code = FailureCode.BOT_BLOCKED if exc.blocked else FailureCode.RECIPIENT_UNAVAILABLE
        return Outcome(MessageState.FAILED, Failure(code=code, text=exc.text), contact_blocked=exc.blocked)
    if isinstance(exc, DeliveryUnknown):
        log.warning("delivery_unknown", message_id=send.message_id, reason=str(exc))
    else:
        # Our bug, and the request may be out: never repeat it blindly.
        log.error("deliver_failed", message_id=send.message_id, exc_info=exc)
    return Outcome(MessageState.UNKNOWN, UNKNOWN)


def _latest(*moments: datetime | None) -> datetime:
    return max(moment for moment in moments if moment is not None)


def _per_second(connector: Connector[Any]) -> float:
    limits = [limit.value for limit in connector.manifest.limits.values() if limit.unit == "per_second"]
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
