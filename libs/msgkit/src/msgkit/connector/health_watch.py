"""Looks after the accounts: notices what broke, mends what can be mended, tells inbox what changed.

The owner of a channel's partition watches it, so each account is asked by one replica. It also finishes what
a step of `account_desk` had to leave: a webhook that could not be removed, a secret the messenger has not
got yet, a creation nobody came back for, people of an account that is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from msgkit.connector.account_alerts import AccountAlerts
from msgkit.connector.account_desk import OFF, AccountDesk, Look
from msgkit.connector.account_watch import AccountWatch, Reported, Watched
from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import Account
from msgkit.connector.credentials import EnvelopeInvalid
from msgkit.connector.errors import PROVIDER_ERRORS
from msgkit.connector.gap_filler import GapFiller
from msgkit.connector.gaps import Gaps
from msgkit.contracts import topology
from msgkit.contracts.events import ChannelHealthReported
from msgkit.contracts.ids import new_id, partition_of
from msgkit.runtime import metrics
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
LOST = (
    "Месенджер перестав надсилати нам повідомлення цього каналу. Поновлюємо підписку, пропущене дочитаємо. "
    "Якщо це повторюється, перевірте, чи працює адреса вебхука."
)
_NET_S = 1.0


class Remembers(Protocol):
    """Where something of the people of a channel is kept."""

    async def channel_ids(self) -> set[str]:
        """The channels of everybody who is remembered. Raises: StoreUnavailable."""

    async def forget(self, channel_id: str) -> bool:
        """Forget some of them; False once nobody is left. Raises: StoreUnavailable."""


@dataclass
class _Visit:
    """One look at an account."""

    watched: Watched
    told: Reported | None
    """What inbox knows by now."""

    @property
    def account(self) -> Account:
        return self.watched.account


class HealthWatch:
    """The accounts of the partitions this replica owns."""

    def __init__(
        self,
        *,
        desk: AccountDesk,
        accounts: AccountStore,
        watch: AccountWatch,
        alerts: AccountAlerts,
        publisher: Publisher,
        membership: Membership,
        memories: Sequence[Remembers] = (),
        gaps: Gaps | None = None,
        filler: GapFiller | None = None,
        every_s: float = EVERY_SECONDS,
        clock: Clock = utc_now,
    ) -> None:
        """
        Args:
            watch: the watch's own memory of each account.
            alerts: what the messenger says of an account is told at once, by whoever heard it.
            memories: what is forgotten of an account that is gone.
            gaps: for a connector that is `RecallsMissed`, with its `filler`.
            every_s: seconds between two looks at an account.
        """
        self._desk = desk
        self._accounts = accounts
        self._publisher = publisher
        self._membership = membership
        self._watches = watch
        self._memories = memories
        self._gaps = gaps
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
        if filler is not None:
            filler.on_progress(self._on_change)
            filler.on_end(self._on_alert)

    async def run(self) -> None:
        """Watch for ever: everything every `every_s`, and at once what changed here."""
        looked_at = time.monotonic() - self._every_s  # at once: much may have happened while we were away
        while True:
            try:
                if self._gaps is not None:
                    # Before the first look: it ends what nobody listened to, which must be noted by then.
                    await self._gaps.beat()
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
                watched = await self._watches.watched(channel_id)
                if watched is not None:
                    visit = _Visit(watched, watched.reported)
                    await self._tell(visit, await self._found(visit, fully=fully))
            except (StoreUnavailable, EnvelopeInvalid, PublishUnknown, PublishUnroutable) as exc:
                log.warning("account_not_watched", channel_id=channel_id, reason=str(exc))

    # --- one account

    async def _found(self, visit: _Visit, *, fully: bool) -> Reported | None:
        """How the account stands; None: nothing to say of it now. `fully`: the messenger may be asked."""
        account, watched = visit.account, visit.watched
        if account.state == "disabled":
            if watched.webhook_left and fully:
                await self._desk.take_webhook_away(account)
            return Reported(False, OFF)
        is_banned = account.alert is not None and account.alert.is_disconnected
        if account.state == "disconnected" and (is_banned or not fully):
            # The credentials may work all the same: only the messenger, or a person, ends a ban.
            return Reported(False, account.problem)
        is_creation = account.state == "pending" and not watched.was_active
        if is_creation:
            return None
        is_fine = visit.told is None or visit.told.connected
        if is_fine and not fully:
            return await self._progressed(visit)
        return await self._asked(visit)

    async def _progressed(self, visit: _Visit) -> Reported | None:
        """How far the reading of what was missed is, which the messenger need not be asked for."""
        if self._gaps is None or visit.told is None or visit.account.state != "active":
            return None
        problem = await self._gaps.progress(visit.account.channel_id)
        return None if problem is None else Reported(True, problem)

    async def _asked(self, visit: _Visit) -> Reported | None:
        account, looked_at = visit.account, self._clock()
        look = await self._desk.look(account)
        if look.refused:
            problem = look.problem or ""
            return Reported(False, problem) if await self._accounts.refused(account, problem) else None
        if look.is_silent:
            return self._silent(account, look)
        self._silences.pop(account.channel_id, None)
        if account.state != "active" or account.is_rotating:
            # Credentials that were refused and work again need nobody; a change under way has somebody.
            is_for_us = account.state == "disconnected" or visit.watched.is_left_alone
            return await self._finished(account) if is_for_us else None
        if look.is_lost:
            look = await self._restored(visit, look)
            looked_at = self._clock()
        if look.connected and self._gaps is not None:
            await self._gaps.well(account.channel_id, looked_at)
            # It may have begun only by that.
            look = await self._desk.commented(account, look)
        return Reported(look.connected, look.problem)

    async def _restored(self, visit: _Visit, look: Look) -> Look:
        """Note what is missed, tell it, register again: what was dropped always, what is another's once."""
        account = visit.account
        if self._gaps is not None:
            await self._gaps.lost(account.channel_id)
        if self._gaps is not None or look.is_dropped:
            # Elsewhere the messenger keeps what it could not bring: what is mended at once is no news then.
            await self._tell(visit, Reported(False, look.problem or LOST))
        long_ago = self._clock() - MEND_AGAIN_AFTER
        if not look.is_dropped and not await self._watches.may_mend(account.channel_id, long_ago):
            return look
        cause = "dropped" if look.is_dropped else "changed"
        metrics.registrations_lost_total.labels(kind=account.kind, cause=cause).inc()
        log.error("registration_lost", channel_id=account.channel_id, kind=account.kind, cause=cause)
        return await self._mended(account, look)

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
        """Register again, and look whether it holds."""
        try:
            await self._desk.register_again(account)
        except Problem:
            return look  # it was removed meanwhile
        except PROVIDER_ERRORS as exc:
            log.warning("registration_not_mended", channel_id=account.channel_id, reason=type(exc).__name__)
            return look
        return await self._desk.look(account)

    # --- telling

    async def _tell(self, visit: _Visit, found: Reported | None) -> None:
        """Publish what is new. Written down after the confirm: said twice is better than never."""
        if found is None or found == visit.told:
            return
        account = visit.account
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
        await self._watches.remember_report(account.channel_id, found)
        visit.told = found
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
        if self._memories:
            await self._forget_people({account.channel_id for account in farewells})

    async def _forget_people(self, leaving: Collection[str]) -> None:
        """Whoever wrote to an account that is gone is nobody we may remember; the ids are phone numbers."""
        remembered = set().union(*[await memory.channel_ids() for memory in self._memories])
        ours = {channel_id for channel_id in remembered if self._is_ours(channel_id)}
        gone = ours.difference(leaving, await self._accounts.channel_ids())
        # Gone for a whole look: a webhook that was being taken when the account went is done by now.
        forgotten, self._gone = gone & self._gone, gone
        batches = FORGETTINGS
        for channel_id in sorted(forgotten):
            while batches and await self._accounts.load(channel_id) is None:
                batches -= 1
                if not any([await memory.forget(channel_id) for memory in self._memories]):
                    log.info("people_of_a_gone_account_forgotten", channel_id=channel_id)
                    break
