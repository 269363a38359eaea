"""Brings one answer to the messenger, once, and decides what its word on it means.

What keeps an answer from going out twice is the claim in the store, written before the call. An ambiguous
result is never repeated by itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import Account, Connector, manifests_of
from msgkit.connector.echoes import Echoes
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.late_answers import LateAnswers
from msgkit.connector.people import People
from msgkit.connector.send_admission import admit
from msgkit.connector.send_channel import Channel, latest
from msgkit.connector.send_documents import UNKNOWN, Outcome, Send
from msgkit.connector.send_reports import SendReports
from msgkit.connector.send_store import LEASE_SECONDS, SendStore
from msgkit.contracts.events import Failure
from msgkit.contracts.ids import new_id
from msgkit.contracts.words import FailureCode, MessageState
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.telemetry import current_traceparent

log = get_logger(__name__)

UNAVAILABLE_FOR = timedelta(minutes=15)
"""After so long without reaching the messenger an answer fails: nobody wants a greeting an hour late."""
BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
THROTTLE_MAX_S = 24 * 3600.0
CONTACT_THROTTLE_FACTOR = 4.0
CONTACT_THROTTLE_MAX_S = 15 * 60.0
LOOK_AGAIN_S = 1.0
"""How soon we look whether refused credentials were replaced."""
_STORE_PAUSE_S = 0.5

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


class Attempts:
    """Attempts of this process, each under a claim of its own."""

    def __init__(
        self,
        *,
        connector: Connector[Any],
        accounts: AccountStore,
        sends: SendStore,
        reports: SendReports,
        late_answers: LateAnswers,
        people: People | None = None,
        echoes: Echoes | None = None,
        doubt_for: timedelta | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """
        Args:
            late_answers: told when nobody granted the account late answers of people.
            people: for a messenger whose ids change.
            echoes: for a messenger that tells us of our own messages; told when the end of a call is written.
            doubt_for: how long a receipt may take that tells what became of an unanswered call; None: no
                receipt does.
        """
        self._connector = connector
        self._manifests = {manifest.kind: manifest for manifest in manifests_of(connector)}
        self._accounts = accounts
        self._sends = sends
        self._reports = reports
        self._late_answers = late_answers
        self._people = people
        self._echoes = echoes
        self._doubt_for = doubt_for
        self._clock = clock
        # Not the name of the replica: that one comes again after a crash.
        self.owner = new_id()

    async def make(self, channel: Channel, account: Account, send: Send) -> datetime | None:
        """Try it once; returns when to try again, None when it has ended."""
        provider_ids = list(send.provider_ids)
        is_refused_late = False
        try:
            requests = await self._planned(send, account)
        except StoreUnavailable:
            raise  # nobody was called: it waits
        except Exception as exc:  # noqa: BLE001 - logged there; one broken answer must not stop the others
            return await self.finish(channel, send, _unplanned(send, exc), provider_ids)
        await channel.bucket.take()
        if not await self._sends.claim(send, self.owner, len(requests)):
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
            is_refused_late = isinstance(exc, MessageRejected) and exc.is_human_agent_refused
        channel.unavailable_since = None
        if outcome.state is MessageState.UNKNOWN and self._doubt_for is not None:
            until = self._clock() + self._doubt_for
            await self._surely(lambda: self._sends.doubt(send, until, self.owner))
            return None
        again = await self.finish(channel, send, outcome, provider_ids)
        if is_refused_late:
            await self._late_answers.refused(account)
        return again

    async def _planned(self, send: Send, account: Account) -> Sequence[Any]:
        order = send.order
        admit(order, self._manifests[account.kind])
        if self._people is not None:
            address = await self._people.address_of(send.channel_id, order.contact_key)
            if address is not None:
                order = order.model_copy(update={"contact_key": address})
        return self._connector.plan(order, account)

    async def _deliver_parts(
        self,
        channel: Channel,
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
                mark = partial(self._sends.mark_part, send, self.owner, receipt.provider_ids, part)
                if not await self._surely(mark):
                    raise _TakenOver
                self._call_ended()
                await channel.bucket.take()

    async def finish(
        self, channel: Channel, send: Send, outcome: Outcome, provider_ids: Iterable[str]
    ) -> datetime | None:
        """Write where it ended, and tell; returns that it is not tried again."""
        ids = list(provider_ids)
        report = await self._surely(
            lambda: self._sends.finish(send, outcome, provider_ids=ids, traceparent=current_traceparent())
        )
        self._call_ended()
        channel.done[send.conversation_id] = max(channel.done.get(send.conversation_id, 0), send.out_seq)
        if report is not None:
            self._reports.ended(send, outcome, report)
        return None

    async def _not_sent(
        self,
        channel: Channel,
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

    async def _pause(self, channel: Channel, send: Send, throttled: Throttled) -> datetime:
        until = self._clock() + timedelta(
            seconds=min(max(throttled.retry_after_seconds, 0.0), THROTTLE_MAX_S)
        )
        channel.paused_until = latest(channel.paused_until, until)
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
        self, channel: Channel, send: Send, exc: ProviderUnavailable, provider_ids: list[str]
    ) -> datetime | None:
        now = self._clock()
        if channel.unavailable_since is None:
            channel.unavailable_since = now
        # Whoever waited behind the first one has waited as long; each does not begin anew.
        since = min(send.unavailable_since or now, max(channel.unavailable_since, send.accepted_at))
        if now - since >= UNAVAILABLE_FOR:
            return await self.finish(channel, send, Outcome(MessageState.FAILED, _TEMPORARY), provider_ids)
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
        return now + timedelta(seconds=LOOK_AGAIN_S)

    async def _release(
        self,
        send: Send,
        *,
        due_at: datetime,
        unavailable_since: datetime | None = None,
        is_refusal: bool = False,
    ) -> None:
        await self._sends.release(
            send, self.owner, due_at=due_at, unavailable_since=unavailable_since, is_refusal=is_refusal
        )
        self._call_ended()

    def _call_ended(self) -> None:
        """And that is written: an echo may have waited for it."""
        if self._echoes is not None:
            self._echoes.wake()

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
                await self._sends.renew(message_id, self.owner)
            except StoreUnavailable as exc:
                log.warning("lease_not_renewed", message_id=message_id, reason=str(exc))


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
