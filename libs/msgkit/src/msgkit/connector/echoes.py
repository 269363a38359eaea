"""Our own messages as a messenger tells them back: dropped, so that only what others said is shown.

An echo is ours if its id is one of a send of ours; nothing else proves it. A call is written down before it
begins and its end before the next one, so an echo whose id nobody knows is foreign, unless a call to that
client is under way: then it waits, durably, for the end of that very call. What is not proved in time is
published and shown beside our answer, in which inbox puts it away if the answer turns out to have that id.
An answer of a bot must never look like a person's: an echo with its words, of a call whose fate nobody knows,
is published as the bot's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from msgkit.connector.echo_store import CallNow, EchoStore, HeldCall, HeldEcho
from msgkit.connector.send_documents import IN_DOUBT
from msgkit.contracts import topology
from msgkit.contracts.events import InboundEvent, MessageEchoed
from msgkit.contracts.words import AuthorKind, MessageState
from msgkit.runtime import metrics
from msgkit.runtime.bus import Outgoing, PublishUnknown, PublishUnroutable
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.telemetry import current_traceparent

log = get_logger(__name__)

SIFT_SECONDS = 4.0
"""The messenger waits for our 200 meanwhile."""
UNDECIDED_FOR = timedelta(seconds=30)
"""So long an echo waits for a call whose fate is unknown, or for one of a bot, which it must not silence."""
LOOK_SECONDS = 0.5
"""How often the owner of a channel looks for echoes other replicas hold."""
PUBLISH_SECONDS = 5.0
DRAIN_SECONDS = 6.0


class Road(Protocol):
    """What makes messages durable in their order: the publisher alone, or the spool in front of it."""

    async def publish_all(self, messages: Sequence[Outgoing], timeout_s: float) -> None:
        """Raises: PublishUnknown, PublishUnroutable, StoreUnavailable."""


class RemembersFiles(Protocol):
    """Who fetches the files of what was published."""

    async def enqueue(self, events: Sequence[InboundEvent]) -> None:
        """As `MediaJobs.enqueue`."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """What becomes of the echoes of a webhook; those not named here are foreign and published like others."""

    own: frozenset[str] = frozenset()
    """Event ids of those that are ours."""
    held: tuple[HeldEcho, ...] = ()
    """Those that wait, in order."""

    @property
    def aside(self) -> frozenset[str]:
        """Event ids of all that are not published now."""
        return self.own.union(echo.event.event_id for echo in self.held)


_NO_ECHOES = Sifted()


class Echoes:
    """Echoes of one ingest service: sifted by whoever takes the webhook, decided by the channel's owner."""

    def __init__(
        self,
        store: EchoStore,
        *,
        wait_s: float,
        road: Road,
        media: RemembersFiles,
        membership: Membership,
        clock: Clock = utc_now,
    ) -> None:
        """
        Args:
            store: what waits.
            wait_s: seconds an echo waits for a call under way, at most, unless its fate is unknown.
            road: where events go, as those of webhooks do.
            media: remembers the files of what is published.
            membership: says whose channels are ours.
        """
        self._store = store
        self._wait = timedelta(seconds=wait_s)
        self._road = road
        self._media = media
        self._membership = membership
        self._clock = clock
        self._wake = asyncio.Event()
        self._has_held = False
        self._draining = False
        self._drained = asyncio.Event()

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        await self._store.prepare()

    # --- taking

    async def sift(self, events: Iterable[InboundEvent]) -> Sifted:
        """Which of these echoes are ours and which must wait. Changes nothing.

        Raises:
            StoreUnavailable: MongoDB does not answer; nothing may be published, the messenger must repeat.
        """
        echoes = [event for event in events if isinstance(event, MessageEchoed)]
        if not echoes:
            return _NO_ECHOES
        try:
            async with asyncio.timeout(SIFT_SECONDS):
                # In this order: a call that ends between the two has told its ids to the second. One that
                # begins after the first cannot have caused an echo that was here before.
                calls = await self._store.calls_under_way(echoes)
                waiting = await self._store.conversations_that_wait(echoes)
                own_ids = await self._store.own_ids(echoes)
        except TimeoutError as exc:
            raise StoreUnavailable(f"sends: no answer within {SIFT_SECONDS:g} s") from exc
        own: set[str] = set()
        held: list[HeldEcho] = []
        for echo in echoes:
            of_client = calls.get(echo.conversation_id, [])
            if (echo.channel_id, echo.provider_id) in own_ids or any(
                echo.provider_id in call.told_ids for call in of_client
            ):
                own.add(echo.event_id)
                _count(echo, "own")
            elif of_client or echo.conversation_id in waiting:
                waits_for = tuple(
                    HeldCall(call.message_id, call.part, call.is_unmanned, call.says(echo))
                    for call in of_client
                )
                held.append(HeldEcho(echo, self._clock(), waits_for, current_traceparent()))
                _count(echo, "held")
            else:
                _count(echo, "foreign")
        return Sifted(frozenset(own), tuple(held))

    async def hold(self, echoes: Sequence[HeldEcho]) -> None:
        """Make what must wait durable.

        Raises:
            StoreUnavailable: not confirmed; the messenger must repeat.
        """
        try:
            async with asyncio.timeout(SIFT_SECONDS):
                await self._store.hold(echoes)
        except TimeoutError as exc:
            raise StoreUnavailable(f"held_echoes: not confirmed within {SIFT_SECONDS:g} s") from exc
        self._has_held = True
        self._wake.set()

    # --- deciding

    def wake(self) -> None:
        """The end of a call is written. Never waits."""
        if self._has_held:
            self._wake.set()

    async def run(self) -> None:
        """Decide about what waits in our channels until `drain`."""
        while not self._draining:
            self._wake.clear()
            try:
                await self._decide()
            except (StoreUnavailable, PublishUnknown, PublishUnroutable) as exc:
                log.warning("held_echoes_wait", reason=str(exc))
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue
        self._drained.set()

    async def drain(self) -> None:
        """Finish what is in hand; what waits is for whoever owns the channel next."""
        self._draining = True
        self._wake.set()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._drained.wait()
        except TimeoutError:
            log.info("held_echoes_left")

    async def _decide(self) -> None:
        held = await self._store.held(self._membership.owned)
        self._has_held = bool(held)
        if not held:
            return
        calls = await self._store.calls_now({call.message_id for echo in held for call in echo.calls})
        own: list[HeldEcho] = []
        foreign: list[tuple[HeldEcho, MessageEchoed]] = []
        blocked: set[str] = set()
        for echo in held:
            conversation_id = echo.event.conversation_id
            if _is_own(echo, calls):
                own.append(echo)
                _count(echo.event, "own_after_all")
            elif conversation_id in blocked or self._must_wait(echo, calls):
                blocked.add(conversation_id)
            else:
                foreign.append((echo, _as_published(echo, calls)))
        await self._publish(foreign)
        decided = [*own, *(echo for echo, _ in foreign)]
        if decided:
            # A crash before this publishes them again, with the same event ids.
            await self._store.forget([echo.event.event_id for echo in decided])

    async def _publish(self, foreign: Sequence[tuple[HeldEcho, MessageEchoed]]) -> None:
        if not foreign:
            return
        await self._road.publish_all(
            [_outgoing(event, echo.traceparent) for echo, event in foreign], timeout_s=PUBLISH_SECONDS
        )
        await self._media.enqueue([event for _, event in foreign])
        for echo, event in foreign:
            is_bots = event.author_kind is not echo.event.author_kind
            _count(event, "unproved_of_a_bot" if is_bots else "foreign_after_all")

    def _must_wait(self, echo: HeldEcho, calls: dict[str, CallNow]) -> bool:
        return self._clock() < max(
            (self._patience(echo.held_at, call, calls[call.message_id]) for call in _out(echo, calls)),
            default=echo.held_at,
        )

    def _patience(self, held_at: datetime, call: HeldCall, now: CallNow) -> datetime:
        """Until when an echo waits for this call."""
        is_patient = now.state == IN_DOUBT or call.is_unmanned
        return held_at + (max(self._wait, UNDECIDED_FOR) if is_patient else self._wait)


def _out(echo: HeldEcho, calls: dict[str, CallNow]) -> list[HeldCall]:
    """The calls it waits for whose end is not written."""
    return [
        call for call in echo.calls if call.message_id in calls and calls[call.message_id].is_out(call.part)
    ]


def _is_own(echo: HeldEcho, calls: dict[str, CallNow]) -> bool:
    return any(
        echo.event.provider_id in calls[call.message_id].provider_ids
        for call in echo.calls
        if call.message_id in calls
    )


def _as_published(echo: HeldEcho, calls: dict[str, CallNow]) -> MessageEchoed:
    """The event; a bot's, if a bot said just that in a call whose fate nobody knows."""
    for call in echo.calls:
        now = calls.get(call.message_id)
        if now is None or not (call.is_unmanned and call.is_alike):
            continue
        if now.is_out(call.part) or (now.state == MessageState.UNKNOWN.value and now.part == call.part):
            return echo.event.model_copy(update={"author_kind": AuthorKind.BOT})
    return echo.event


def _outgoing(event: MessageEchoed, traceparent: str | None) -> Outgoing:
    return Outgoing(
        exchange=topology.INBOUND,
        routing_key=topology.conversation_key(event.channel_kind, event.conversation_id),
        body=event.model_dump_json().encode(),
        event_id=event.event_id,
        type=event.type,
        traceparent=traceparent,
    )


def _count(echo: MessageEchoed, outcome: str) -> None:
    metrics.echoes_total.labels(kind=echo.channel_kind, outcome=outcome).inc()
