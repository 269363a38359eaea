"""Asks a messenger whose webhooks do not say who writes: once per contact, by the owner of the channel."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Sequence

from msgkit.connector.accounts import AccountStore
from msgkit.connector.channel_work import NET_S, ChannelWork
from msgkit.connector.contract import Account, HasProfiles, Profile
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.media_jobs import TakesReports
from msgkit.connector.profile_store import ProfileJob, ProfileStore, job_id
from msgkit.contracts import topology
from msgkit.contracts.events import Contact, ContactChanged, InboundEvent, MessageReceived
from msgkit.contracts.ids import derived_id
from msgkit.runtime import metrics
from msgkit.runtime.bus import Outgoing
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import StoreUnavailable

log = get_logger(__name__)

PER_SECOND = 5.0
"""Questions for one account."""
REMEMBERED = 50_000
"""So many contacts need no look into the store when they write."""
REMEMBERED_S = 24 * 3600.0
ENQUEUE_S = 4.0
"""The messenger waits for our 200 meanwhile."""
CALL_S = 15.0
INACTIVE_S = 30.0
TRIES = 30
"""After so many silences it counts as a refusal: with the longest pause that is two hours."""
_BACKOFF_FIRST_S = 2.0
_BACKOFF_MAX_S = 300.0
_THROTTLE_MAX_S = 3600.0


class _Silent(Exception):
    """No answer: ask later."""


class _ChannelWaits(Exception):
    """Nobody of this channel can be asked about now."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


class Profiles:
    """Who the contacts of an ingest service are."""

    def __init__(
        self,
        *,
        connector: HasProfiles,
        store: ProfileStore,
        accounts: AccountStore,
        publisher: TakesReports,
        membership: Membership,
        per_second: float = PER_SECOND,
        every_s: float = NET_S,
        clock: Clock = utc_now,
    ) -> None:
        """
        Args:
            publisher: as for reports of media: nothing may pass the message that made the dialogue.
            per_second: questions for one account, at most.
            every_s: seconds between two looks for somebody to ask about.
        """
        self._connector = connector
        self._store = store
        self._accounts = accounts
        self._publisher = publisher
        self._pace_s = 1.0 / per_second
        self._clock = clock
        self._remembered: OrderedDict[str, float] = OrderedDict()
        self._work = ChannelWork(
            "profiles", membership, due=store.due_channels, serve=self._serve, every_s=every_s
        )
        self.run = self._work.run
        self.drain = self._work.drain

    async def enqueue(self, events: Sequence[InboundEvent]) -> None:
        """Remember whom to ask about, after the events are confirmed and before the 200.

        Raises:
            StoreUnavailable: not remembered: the messenger must repeat; nothing is doubled by that.
        """
        now = time.monotonic()
        nameless = [
            event
            for event in events
            if isinstance(event, MessageReceived)
            and not event.contact.name
            and self._remembered.get(job_id(event), 0.0) <= now
        ]
        if not nameless:
            return
        try:
            async with asyncio.timeout(ENQUEUE_S):
                await self._store.add(nameless)
        except TimeoutError as exc:
            raise StoreUnavailable(f"profiles: not confirmed within {ENQUEUE_S:g} s") from exc
        for event in nameless:
            self._remembered[job_id(event)] = now + REMEMBERED_S
            self._remembered.move_to_end(job_id(event))
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        self._work.wake()

    # --- asking

    async def _serve(self, channel_id: str) -> None:
        while self._work.goes_on(channel_id):
            job = await self._store.next(channel_id)
            if job is None:
                return
            account = await self._accounts.get(channel_id)
            if account is None or account.state != "active":
                # Of an account that is gone the health watch forgets everybody.
                self._work.pause(channel_id, INACTIVE_S)
                return
            asked_at = time.monotonic()
            try:
                await self._answer(job, account, await self._asked(job, account))
            except _Silent as exc:
                await self._put_off(job, account, str(exc))
            except _ChannelWaits as exc:
                log.warning("profiles_wait", channel_id=channel_id, reason=str(exc), seconds=exc.seconds)
                self._work.pause(channel_id, exc.seconds)
                return
            await self._work.rest(max(0.0, self._pace_s - (time.monotonic() - asked_at)))

    async def _asked(self, job: ProfileJob, account: Account) -> Profile | None:
        try:
            async with asyncio.timeout(CALL_S):
                return await self._connector.profile(job.contact_key, account)
        except Throttled as exc:
            if exc.only_this_contact:
                raise _Silent("throttled") from exc
            raise _ChannelWaits("throttled", min(exc.retry_after_seconds, _THROTTLE_MAX_S)) from exc
        except CredentialsInvalid as exc:
            await self._accounts.refused(account, exc.text)
            raise _ChannelWaits("credentials_invalid", INACTIVE_S) from exc
        except (MessageRejected, RecipientUnreachable):
            return None
        except (ProviderUnavailable, DeliveryUnknown, TimeoutError) as exc:
            raise _Silent(type(exc).__name__) from exc
        except Exception as exc:
            # A bug of the connector must not end the service, nor hold back the others.
            log.exception("profile_failed", channel_id=job.channel_id)
            raise _Silent(type(exc).__name__) from exc

    async def _answer(self, job: ProfileJob, account: Account, profile: Profile | None) -> None:
        is_news = profile is not None and profile != job.known and bool(profile.name or profile.username)
        if profile is not None and is_news:
            await self._publisher.publish(_outgoing(job, profile, self._clock))
        # After the confirm: told twice has no effect, never told would be for a week.
        await self._store.answered(job, profile, is_told=is_news)
        outcome = "refused" if profile is None else "told" if is_news else "same"
        metrics.profiles_total.labels(kind=account.kind, outcome=outcome).inc()

    async def _put_off(self, job: ProfileJob, account: Account, reason: str) -> None:
        metrics.profiles_total.labels(kind=account.kind, outcome="silent").inc()
        if job.tries >= TRIES:
            await self._store.answered(job, None, is_told=False)
            return
        pause: float = min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2 ** min(job.tries, 10))
        pause *= random.uniform(0.75, 1.0)  # noqa: S311 - spreads tries, protects nothing
        log.info("profile_put_off", channel_id=job.channel_id, reason=reason, pause_s=round(pause, 1))
        await self._store.put_off(job, pause)


def _outgoing(job: ProfileJob, profile: Profile, clock: Clock) -> Outgoing:
    now = clock()
    event = ContactChanged(
        type="contact.changed.v1",
        # Of the same asking the same: said again after a crash it has no effect.
        event_id=derived_id(
            "profile", job.conversation_id, str(job.told), profile.name or "", profile.username or ""
        ),
        tenant_id=job.tenant_id,
        channel_id=job.channel_id,
        channel_kind=job.channel_kind,
        recorded_at=now,
        conversation_id=job.conversation_id,
        webhook_id="",
        raw="",
        contact=Contact(
            key=job.contact_key, name=profile.name or "", username=profile.username, phone=None, language=None
        ),
        previous_phone=None,
        is_new_number=False,
        happened_at=now,
    )
    return Outgoing(
        exchange=topology.INBOUND,
        routing_key=topology.conversation_key(event.channel_kind, event.conversation_id),
        body=event.model_dump_json().encode(),
        event_id=event.event_id,
        type=event.type,
    )
