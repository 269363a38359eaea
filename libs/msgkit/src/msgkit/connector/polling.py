"""Long polling: fetches the updates of accounts that cannot have a webhook, each by one replica.

Every update goes the way of a webhook. The position moves only after all updates before it are durable, and
the messenger learns it with the next call: a crash anywhere brings updates again, and these have the same
event ids.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from opentelemetry.trace import SpanKind

from msgkit.connector.acceptance import Acceptance, NotAccepted
from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import Polled, Polls, WebhookRequest
from msgkit.connector.credentials import EnvelopeInvalid
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.receiving import PollStore, Receiving
from msgkit.contracts.ids import new_id, partition_of
from msgkit.runtime import metrics
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.leases import Lease, Leases
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.telemetry import span

log = get_logger(__name__)

WAIT_S = 25.0
"""How long the messenger may hold a poll that has nothing to bring. Telegram's most is 50 s."""
LOOK_S = 2.0
"""How often we look which accounts are ours to poll."""
PAUSE_FIRST_S = 1.0
PAUSE_MAX_S = 60.0
THROTTLE_MAX_S = 3600.0
DISPUTED_AFTER = 2
"""So many polls in a row that another program ended are told: one may be our own hand-over."""
DOWN_AFTER = 5
_DOWN = "Месенджер не відповідає: нові повідомлення чекають у нього. Спробуємо ще раз самі."
_BROKEN = "Внутрішня помилка під час отримання повідомлень. Напишіть у підтримку."


@dataclass(slots=True)
class _Tenure:
    """One account that is ours to poll, from the moment we own it until we let it go."""

    channel_id: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    working: bool = False
    """False while the lease is not ours yet: then there is nothing to finish."""
    task: asyncio.Task[None] | None = None
    position: str | None = None
    position_known: bool = False
    polls: bool = False
    """The last poll came back well."""
    failures: int = 0
    """Since a poll that may wait came back well."""

    def end(self) -> None:
        """Let it go: what is being made durable is finished."""
        self.stop.set()
        if not self.working and self.task is not None:
            self.task.cancel()


class Poller:
    """The polled accounts of one ingest service that this replica owns."""

    def __init__(
        self,
        *,
        connector: Polls,
        accounts: AccountStore,
        acceptance: Acceptance,
        receiving: Receiving,
        polls: PollStore,
        membership: Membership,
        leases: Leases,
        clock: Clock = utc_now,
    ) -> None:
        self._connector = connector
        self._accounts = accounts
        self._acceptance = acceptance
        self._receiving = receiving
        self._polls = polls
        self._membership = membership
        self._leases = leases
        self._clock = clock
        self._tenures: dict[str, _Tenure] = {}
        self._wake = asyncio.Event()
        self._draining = False
        self._drained = asyncio.Event()
        accounts.on_change(lambda _channel_id: self._wake.set())

    async def run(self) -> None:
        """Poll until `drain`."""
        async with asyncio.TaskGroup() as tasks:
            while not self._draining:
                await self._look(tasks)
                await _waited(self._wake, LOOK_S)
                self._wake.clear()
            for tenure in self._tenures.values():
                tenure.end()
        self._drained.set()

    async def drain(self) -> None:
        """Finish what has come and ask for nothing more."""
        self._draining = True
        self._wake.set()
        await self._drained.wait()

    async def _look(self, tasks: asyncio.TaskGroup) -> None:
        try:
            active = await self._accounts.active_bases()
        except StoreUnavailable as exc:
            log.warning("polled_accounts_not_read", reason=str(exc))
            return
        ours = {
            channel_id
            for channel_id, api_base in active.items()
            if partition_of(channel_id) in self._membership.owned
            and self._receiving.way(api_base) == "polling"
        }
        for channel_id, tenure in self._tenures.items():
            if channel_id not in ours:
                tenure.end()
        for channel_id in sorted(ours - self._tenures.keys()):
            tenure = self._tenures[channel_id] = _Tenure(channel_id)
            tenure.task = tasks.create_task(self._serve(tenure), name=f"poll {channel_id}")

    async def _serve(self, tenure: _Tenure) -> None:
        try:
            await self._leases.keep(f"poll {tenure.channel_id}", partial(self._work, tenure))
        finally:
            del self._tenures[tenure.channel_id]
            self._wake.set()

    async def _work(self, tenure: _Tenure, _lease: Lease) -> None:
        tenure.working = True
        tenure.position_known = tenure.polls = False
        log.info("polling_begun", channel_id=tenure.channel_id)
        try:
            while not tenure.stop.is_set():
                try:
                    if not await self._turn(tenure):
                        return
                except Exception as exc:  # noqa: BLE001 - each is dealt with there; the other accounts go on
                    tenure.failures += 1
                    await _waited(tenure.stop, await self._deal_with(exc, tenure))
        finally:
            tenure.working = False
            log.info("polling_ended", channel_id=tenure.channel_id)

    async def _turn(self, tenure: _Tenure) -> bool:
        """One poll, and everything it brought made durable; False when this account is not polled now."""
        channel_id = tenure.channel_id
        account = await self._accounts.get(channel_id)
        if account is None or account.state != "active":
            return False
        if not tenure.position_known:
            state = await self._polls.load(channel_id)
            if state is None:
                # Never polled before, e.g. it had a webhook until our public address went away.
                await self._connector.prepare_polling(account)
                await self._polls.begin(channel_id)
            tenure.position = None if state is None else state.position
            tenure.position_known = True
        # The first poll does not wait: it tells at once whether polling works.
        is_whole = tenure.polls
        polled = await _unless(
            tenure.stop, self._connector.poll(tenure.position, account, WAIT_S if is_whole else 0.0)
        )
        if polled is None:
            return False
        for body in polled.updates:
            request = WebhookRequest({}, body, new_id(), self._clock())
            with span("polled_update", kind=SpanKind.CONSUMER, attributes={"kind": account.kind}):
                _, outcome = await self._acceptance.take(request, account)
            metrics.polled_updates_total.labels(kind=account.kind, outcome=outcome).inc()
        if is_whole:
            # A short one proves little: of two programs that end each other's polls both see many succeed.
            tenure.failures = 0
        is_well = tenure.failures == 0
        if not await self._polls.advance(channel_id, tenure.position, polled.position, is_well=is_well):
            raise _PolledElsewhere
        tenure.position, tenure.polls = polled.position, True
        return True

    async def _deal_with(self, fault: Exception, tenure: _Tenure) -> float:
        """Write down what is wrong, for whom it concerns; returns the seconds to wait."""
        channel_id = tenure.channel_id
        tenure.position_known = tenure.polls = False
        if isinstance(fault, Throttled):
            return min(max(fault.retry_after_seconds, PAUSE_FIRST_S), THROTTLE_MAX_S)
        if not isinstance(fault, _EXPECTED):
            log.error("polling_failed", channel_id=channel_id, exc_info=fault)
        reason = str(fault) if isinstance(fault, _SPEAKING) else type(fault).__name__
        log.warning("polling_waits", channel_id=channel_id, reason=reason, failures=tenure.failures)
        try:
            if isinstance(fault, CredentialsInvalid):
                account = await self._accounts.get(channel_id)
                if account is not None:
                    await self._accounts.refused(account, fault.text)
            problem = problem_of(fault, tenure.failures)
            if problem is not None:
                await self._polls.trouble(channel_id, problem)
        except (StoreUnavailable, EnvelopeInvalid) as exc:
            log.warning("polling_trouble_not_written", channel_id=channel_id, reason=str(exc))
        return _pause_s(tenure.failures)


class _PolledElsewhere(Exception):
    """The stored position is not the one we left: read it again."""


_SPEAKING = (ProviderUnavailable, DeliveryUnknown, NotAccepted, StoreUnavailable)
_EXPECTED = (
    *_SPEAKING,
    CredentialsInvalid,
    EnvelopeInvalid,
    MessageRejected,
    RecipientUnreachable,
    _PolledElsewhere,
)


def problem_of(fault: Exception, failures: int) -> str | None:
    """What the administrator should know of a failed poll, in Ukrainian; None: nothing yet.

    Args:
        fault: what the last poll ended with.
        failures: polls that ended badly since a whole one went well, this one among them.
    """
    if isinstance(fault, MessageRejected | RecipientUnreachable | CredentialsInvalid):
        return fault.text
    if isinstance(fault, NotAccepted | StoreUnavailable | EnvelopeInvalid | _PolledElsewhere):
        return None  # ours, and nothing he could do: the messenger keeps it all
    if isinstance(fault, ProviderUnavailable) and fault.problem is not None:
        return fault.problem if failures >= DISPUTED_AFTER else None
    if isinstance(fault, ProviderUnavailable | DeliveryUnknown):
        return _DOWN if failures >= DOWN_AFTER else None
    return _BROKEN


def _pause_s(failures: int) -> float:
    longest = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


async def _unless(stop: asyncio.Event, call: Coroutine[Any, Any, Polled]) -> Polled | None:
    """The outcome of the call, or None if we were told to stop before it came."""
    calling, stopping = asyncio.create_task(call), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({calling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return calling.result() if calling.done() else None
    finally:
        # A poll that is cut off loses nothing: its updates come again with the next one.
        calling.cancel()
        stopping.cancel()
        await asyncio.gather(calling, stopping, return_exceptions=True)


async def _waited(event: asyncio.Event, seconds: float) -> None:
    """Until the event, or until `seconds` are over."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
