"""Looks after the accounts: notices what broke, mends what can be mended, tells inbox what changed.

The owner of a channel's partition watches it, so each account is asked by one replica. It also finishes what
a step of `account_desk` had to leave: a webhook that could not be removed, a secret the messenger has not
got yet, a creation nobody came back for, people of an account that is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable
from datetime import timedelta

from msgkit.connector.account_alerts import AccountAlerts
from msgkit.connector.account_desk import OFF, AccountDesk, Look
from msgkit.connector.accounts import AccountStore, Reported, Watched
from msgkit.connector.contract import Account
from msgkit.connector.credentials import EnvelopeInvalid
from msgkit.connector.errors import PROVIDER_ERRORS
from msgkit.connector.people import People
from msgkit.contracts import topology
from msgkit.contracts.events import ChannelHealthReported
from msgkit.contracts.ids import new_id, partition_of
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown, PublishUnroutable
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.problems import Problem

log = get_logger(__name__)

EVERY_SECONDS = 60.0
AT_ONCE = 8
"""How many messengers' answers are waited for side by side."""
MEND_AGAIN_AFTER = timedelta(hours=1)
"""What somebody changes again sooner than this is theirs: we do not fight another system for a webhook."""
FORGETTINGS = 20
"""So many batches of people of accounts that are gone are forgotten in one look: accounts wait for it."""
SILENCES_TOLD = 2
"""So many looks in a row without an answer are a problem worth a banner."""
_NET_S = 1.0


class HealthWatch:
    """The accounts of the partitions this replica owns."""

    def __init__(
        self,
        *,
        desk: AccountDesk,
        accounts: AccountStore,
        alerts: AccountAlerts,
        publisher: Publisher,
        membership: Membership,
        people: People | None = None,
        every_s: float = EVERY_SECONDS,
        clock: Clock = utc_now,
    ) -> None:
        """
        Args:
            alerts: what the messenger says of an account is told at once, by whoever heard it.
            people: for a messenger whose ids change.
            every_s: seconds between two looks at an account.
        """
        self._desk = desk
        self._accounts = accounts
        self._publisher = publisher
        self._membership = membership
        self._people = people
        self._gone: set[str] = set()
        self._every_s = every_s
        self._clock = clock
        self._touched: set[str] = set()
        self._alerted: set[str] = set()
        self._wake = asyncio.Event()
        self._silences: dict[str, int] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)
        accounts.on_change(self._on_change)
        alerts.on_alert(self._on_alert)

    async def run(self) -> None:
        """Watch for ever: everything every `every_s`, and at once what changed here."""
        looked_at = time.monotonic() - self._every_s  # at once: much may have happened while we were away
        while True:
            try:
                alerted, self._alerted = self._alerted, set()
                await self._look_at(alerted, fully=True)
                touched, self._touched = self._touched, set()
                await self._each(touched, fully=False)
                if time.monotonic() - looked_at >= self._every_s:
                    looked_at = time.monotonic()
                    await self.look_round()
            except StoreUnavailable as exc:
                log.warning("health_watch_waits", reason=str(exc))
            await self._pause()

    async def look_round(self) -> None:
        """One look at everything that is ours.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        await self._expire()
        known = await self._accounts.channel_ids()
        for gone in self._silences.keys() - set(known):
            del self._silences[gone]
        await self._each(known, fully=True)

    def _on_change(self, channel_id: str) -> None:
        self._touched.add(channel_id)
        self._wake.set()

    def _on_alert(self, channel_id: str) -> None:
        """Whoever heard it looks, owner or not: a webhook comes to any replica, and news must not wait."""
        self._alerted.add(channel_id)
        self._wake.set()

    async def _pause(self) -> None:
        self._wake.clear()
        if self._touched or self._alerted:
            return
        try:
            async with asyncio.timeout(min(_NET_S, self._every_s)):
                await self._wake.wait()
        except TimeoutError:
            return

    def _is_ours(self, channel_id: str) -> bool:
        return partition_of(channel_id) in self._membership.owned

    async def _each(self, channel_ids: Iterable[str], *, fully: bool) -> None:
        await self._look_at([each for each in channel_ids if self._is_ours(each)], fully=fully)

    async def _look_at(self, channel_ids: Collection[str], *, fully: bool) -> None:
        if not channel_ids:
            return
        async with asyncio.TaskGroup() as tasks:
            for channel_id in channel_ids:
                tasks.create_task(self._watch(channel_id, fully=fully))

    async def _watch(self, channel_id: str, *, fully: bool) -> None:
        async with self._gate:
            try:
                watched = await self._accounts.watched(channel_id)
                if watched is not None:
                    await self._tell(watched, await self._found(watched, fully=fully))
            except (StoreUnavailable, EnvelopeInvalid, PublishUnknown, PublishUnroutable) as exc:
                log.warning("account_not_watched", channel_id=channel_id, reason=str(exc))

    # --- one account

    async def _found(self, watched: Watched, *, fully: bool) -> Reported | None:
        """How the account stands; None: nothing to say of it now. `fully`: the messenger may be asked."""
        account = watched.account
        if account.state == "disabled":
            if watched.webhook_left and fully:
                await self._desk.take_webhook_away(account)
            return Reported(False, OFF)
        is_banned = account.alert is not None and account.alert.is_disconnected
        if account.state == "disconnected" and (is_banned or not fully):
            # The credentials may work all the same: only the messenger, or a person, ends a ban.
            return Reported(False, account.problem)
        is_creation = account.state == "pending" and not watched.was_active
        is_fine = watched.reported is None or watched.reported.connected
        if is_creation or (is_fine and not fully):
            return None
        return await self._asked(watched)

    async def _asked(self, watched: Watched) -> Reported | None:
        account = watched.account
        look = await self._desk.look(account)
        if look.refused:
            problem = look.problem or ""
            return Reported(False, problem) if await self._accounts.refused(account, problem) else None
        if look.is_silent:
            return self._silent(account, look)
        self._silences.pop(account.channel_id, None)
        if account.state != "active" or account.is_rotating:
            # Credentials that were refused and work again need nobody; a change under way has somebody.
            is_for_us = account.state == "disconnected" or watched.is_left_alone
            return await self._finished(account) if is_for_us else None
        if look.is_lost:
            look = await self._mended(account, look)
        return Reported(look.connected, look.problem)

    def _silent(self, account: Account, look: Look) -> Reported | None:
        """One unanswered question is no news."""
        count = self._silences.get(account.channel_id, 0) + 1
        self._silences[account.channel_id] = count
        return Reported(False, look.problem) if count >= SILENCES_TOLD else None

    async def _finished(self, account: Account) -> Reported:
        """Register what was left unregistered: new credentials, a new secret, credentials that work again."""
        try:
            # What is pending was begun by a person; everything else is our own mending.
            by_person = account.state == "pending"
            health = await self._desk.activate(account.channel_id, account.tenant_id, by_person=by_person)
        except Problem as exc:
            log.warning("account_not_finished", channel_id=account.channel_id, code=exc.code)
            return Reported(False, exc.detail)
        log.info("account_finished", channel_id=account.channel_id, was=account.state)
        return Reported(health.connected, health.problem)

    async def _mended(self, account: Account, look: Look) -> Look:
        """Register again what somebody removed or replaced, once; what they change again is for people."""
        if not await self._accounts.may_mend(account.channel_id, self._clock() - MEND_AGAIN_AFTER):
            return look
        log.error("registration_was_changed_outside", channel_id=account.channel_id, kind=account.kind)
        try:
            await self._desk.register_again(account)
        except Problem:
            return look  # it was removed meanwhile
        except PROVIDER_ERRORS as exc:
            log.warning("registration_not_mended", channel_id=account.channel_id, reason=type(exc).__name__)
            return look
        return await self._desk.look(account)

    # --- telling

    async def _tell(self, watched: Watched, found: Reported | None) -> None:
        """Publish what is new. Written down after the confirm: said twice is better than never."""
        if found is None or found == watched.reported:
            return
        account = watched.account
        event = ChannelHealthReported(
            type="channel.health.v1",
            event_id=new_id(),
            tenant_id=account.tenant_id,
            channel_id=account.channel_id,
            channel_kind=account.kind,
            recorded_at=self._clock(),
            connected=found.connected,
            problem=found.problem,
            happened_at=self._clock(),
        )
        await self._publisher.publish(
            Outgoing(
                exchange=topology.INBOUND,
                routing_key=topology.channel_key(account.kind, account.channel_id),
                body=event.model_dump_json().encode(),
                event_id=event.event_id,
                type=event.type,
            )
        )
        await self._accounts.remember_report(account.channel_id, found)
        level = log.info if found.connected else log.error
        level("channel_health_changed", channel_id=account.channel_id, connected=found.connected)

    # --- what was left behind

    async def _expire(self) -> None:
        """Remove creations nobody came back for, and webhooks that could not be removed before."""
        for account in await self._accounts.abandoned():
            if self._is_ours(account.channel_id):
                log.warning("abandoned_account_removed", channel_id=account.channel_id)
                await self._desk.remove(account.channel_id, account.tenant_id)
        farewells = await self._accounts.farewells()
        for account in farewells:
            if self._is_ours(account.channel_id):
                await self._desk.say_farewell(account)
        if self._people is not None:
            await self._forget_people(self._people, {account.channel_id for account in farewells})

    async def _forget_people(self, people: People, leaving: Collection[str]) -> None:
        """Whoever wrote to an account that is gone is nobody we may remember; the ids are phone numbers."""
        ours = {channel_id for channel_id in await people.channel_ids() if self._is_ours(channel_id)}
        gone = ours.difference(leaving, await self._accounts.channel_ids())
        # Gone for a whole look: a webhook that was being taken when the account went is done by now.
        forgotten, self._gone = gone & self._gone, gone
        batches = FORGETTINGS
        for channel_id in sorted(forgotten):
            while batches and await self._accounts.load(channel_id) is None:
                batches -= 1
                if not await people.forget(channel_id):
                    log.info("people_of_a_gone_account_forgotten", channel_id=channel_id)
                    break
