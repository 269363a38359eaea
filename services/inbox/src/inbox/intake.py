"""What comes from the bus: decided in batches, and in the log before anything is told of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from datetime import datetime
from functools import lru_cache
from typing import Final

from inbox.channels import ChannelBook, ChannelRecord, door_of
from inbox.domain import (
    Commit,
    Draft,
    Event,
    Fact,
    Message,
    Moment,
    Refusal,
    State,
    decide,
    dedupe_id,
    is_behind,
    named,
    referenced_ids,
    referenced_provider_ids,
    take,
)
from inbox.kinds import Kinds
from inbox.memory import CACHED, RACES, Memory
from inbox.numbers import RequestNumbers
from inbox.orders import has_orders
from inbox.projections import Key
from inbox.relay import Relay, Step, step_of
from inbox.store import STORE_TROUBLE, Store
from msgkit.contracts.events import MessageReceived, ReactionChanged
from msgkit.contracts.ids import conversation_id as conversation_id_of
from msgkit.contracts.ids import partition_of
from msgkit.contracts.values import dataclass
from msgkit.runtime import metrics
from msgkit.runtime.clock import Clock
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.telemetry import sampled, span

REFERENCES_DEEP: Final = 2
"""A report refers to an answer of ours, and one that is a reaction to the message it is put on."""


@dataclass(frozen=True, slots=True)
class Received:
    """A fact from the bus with its trace."""

    fact: Fact
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A fact that cannot be true; `reason` goes to the quarantine."""

    fact: Fact
    reason: str


@dataclass(frozen=True, slots=True)
class Written:
    """A batch that stands in the log. `finish` relays and projects it; it may be called again."""

    rejected: Sequence[Rejected]
    finish: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Work:
    """What a batch brings for one conversation."""

    received: list[Received]
    fresh: list[Received] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


class Intake:
    """Takes facts in, conversation by conversation, one commit each and batch."""

    def __init__(
        self,
        store: Store,
        memory: Memory,
        relay: Relay,
        channels: ChannelBook,
        numbers: RequestNumbers,
        kinds: Kinds,
        clock: Clock,
    ) -> None:
        self._store = store
        self._memory = memory
        self._relay = relay
        self._channels = channels
        self._numbers = numbers
        self._kinds = kinds
        self._clock = clock
        self._repeats = metrics.dedup_hits_total.labels(service="inbox")

    async def receive_batch(self, received: Sequence[Received], poked: Iterable[Key] = ()) -> Written:
        """Make facts durable; called again with the same ones after a failure.

        Batches are finished in the order in which they were written; the next one may be written meanwhile.

        Raises:
            StoreUnavailable: call again. `finish` also raises PublishUnknown.
        """
        with _store_reached():
            rejected, work = await self._write_batch(received)
        relayable = {key: one.steps for key, one in work.items()} | {key: [] for key in poked}
        tries = 0

        async def finish() -> None:
            nonlocal tries
            tries += 1
            with _store_reached():
                # After a failure nobody knows how far it came: the log does.
                await self._relay_batch(relayable if tries == 1 else dict.fromkeys(relayable, ()))
            self._count(work)

        return Written(rejected, finish)

    async def _relay_batch(self, batch: Mapping[Key, Sequence[Step]]) -> None:
        steps = {key: self._memory.relayable(key, todo) for key, todo in batch.items()}
        self._memory.note_projected(await self._relay.relay(steps))

    async def _write_batch(self, received: Sequence[Received]) -> tuple[list[Rejected], dict[Key, _Work]]:
        rejected: list[Rejected] = []
        work: dict[Key, _Work] = {}
        doors = await self._channels.look_up({item.fact.channel_id for item in received})
        for item in received:
            reason = _impossible(item.fact, doors[item.fact.channel_id])
            if reason is not None:
                rejected.append(Rejected(item.fact, reason))
                continue
            key = Key(item.fact.tenant_id, item.fact.conversation_id)
            if key in work:
                work[key].received.append(item)
            else:
                work[key] = _Work([item])
        rejected += await self._append_batch(work, doors)
        return rejected, work

    async def _reserve_numbers(self, keys: Iterable[Key]) -> None:
        """At most one request opens per conversation and commit."""
        wanted: dict[str, int] = {}
        for key in keys:
            wanted[key.tenant_id] = wanted.get(key.tenant_id, 0) + 1
        await self._numbers.ensure(wanted)

    async def _append_batch(
        self, work: Mapping[Key, _Work], doors: Mapping[str, ChannelRecord | None]
    ) -> list[Rejected]:
        rejected: dict[Key, list[Rejected]] = {}
        todo = dict.fromkeys(work)
        known: dict[Key, set[str]] = {}
        for _ in range(RACES):
            states = await self._states_for(work, todo)
            await self._reserve_numbers(todo)
            steps: dict[Key, Step] = {}
            for key in todo:
                rejected[key] = []
                step = self._decide_batch(states[key], work[key], known.get(key, set()), doors, rejected[key])
                if step is not None:
                    steps[key] = step
            lost = await self._store.insert_commits([step.commit for step in steps.values()])
            for key, step in steps.items():
                if key not in lost:
                    work[key].steps.append(step)
                    self._memory.remember(key, step.state)
            if not lost:
                return [one for group in rejected.values() for one in group]
            for key in lost:
                self._memory.forget(key)
                known[key] = await self._known(key, steps[key].commit.events)
            todo = dict.fromkeys(lost)
        raise StoreUnavailable("the log keeps moving: too many writers of one conversation")

    async def _known(self, key: Key, events: Iterable[Event]) -> set[str]:
        return set(await self._store.known(key.tenant_id, {event.dedupe_id for event in events}))

    async def _states_for(self, work: Mapping[Key, _Work], todo: Iterable[Key]) -> dict[Key, State]:
        """The conversations of a batch with what their facts refer to in hand."""
        keys = list(todo)
        loaded = await self._memory.load([key for key in keys if key not in self._memory])
        states: dict[Key, State] = {}
        for key in keys:
            fact = work[key].received[0].fact
            states[key] = self._memory.get(key) or loaded.get(key) or _empty(fact)
        if await self._fetch_referenced(work, states):
            await self._catch_up(work, states)
        return states

    async def _fetch_referenced(self, work: Mapping[Key, _Work], states: dict[Key, State]) -> bool:
        """Take what the facts refer to in hand; False if everything was there already.

        In two turns at most: a message that is found may refer to another.
        """
        asked: set[str] = set()
        for turn in range(REFERENCES_DEEP):
            missing: set[str] = set()
            ours: dict[Key, set[str]] = {}
            for key, state in states.items():
                for item in work[key].received:
                    wanted = referenced_ids(state, item.fact)
                    unknown = [id_ for id_ in wanted if id_ not in state.messages and id_ not in asked]
                    if unknown:
                        missing.update(unknown)
                        ours.setdefault(key, set()).update(referenced_provider_ids(item.fact))
            if not missing:
                return turn > 0
            asked |= missing
            found = await self._store.projections.messages({key.tenant_id for key in states}, missing)
            found += await self._store.projections.our_messages(
                {key: ids for key, ids in ours.items() if ids}
            )
            _hand_over(states, found)
        return True

    async def _catch_up(self, work: Mapping[Key, _Work], states: dict[Key, State]) -> None:
        """Read anew what is behind: a fact about what we do not know is of a commit appended elsewhere."""
        behind = {
            key for key, state in states.items() for item in work[key].received if is_behind(state, item.fact)
        }
        if not behind:
            return
        for key in behind:
            self._memory.forget(key)
        states.update(await self._memory.load(behind))
        # With the messages as they are stored now: those in hand before are as old as the conversation was.
        fresh = {key: states[key] for key in behind}
        await self._fetch_referenced(work, fresh)
        states.update(fresh)

    def _decide_batch(
        self,
        state: State,
        work: _Work,
        known: Collection[str],
        doors: Mapping[str, ChannelRecord | None],
        rejected: list[Rejected],
    ) -> Step | None:
        """One commit with everything the facts bring; None if they bring nothing new."""
        now = self._clock()
        v = state.v + 1
        draft = Draft(state)
        door = door_of(doors.get(state.channel_id), self._kinds.of(state.channel_kind))
        work.fresh.clear()
        events: list[Event] = []
        seen = set(known)
        received_at: datetime | None = None
        trace: str | None = None
        for item in work.received:
            fact = item.fact
            if dedupe_id(fact) in seen:
                self._repeats.inc()
                continue
            moment = Moment(v, now, self._numbers.next(state.tenant_id) if draft.needs_request else 0)
            decision = decide(draft, fact, moment, door)
            if isinstance(decision, Refusal):
                rejected.append(Rejected(fact, decision.code))
                continue
            fresh = tuple(event for event in decision if event.dedupe_id not in seen)
            if not fresh:
                self._count_without_effect(draft, fact)
                continue
            self._numbers.use(state.tenant_id, fresh)
            for event in fresh:
                seen.add(event.dedupe_id)
                take(draft, event, moment)
            events += fresh
            work.fresh.append(item)
            received_at = received_at or fact.recorded_at
            trace = trace or sampled(item.traceparent)
        if not events:
            return None
        commit = Commit(
            tenant_id=state.tenant_id,
            conversation_id=state.id,
            channel_id=state.channel_id,
            channel_kind=state.channel_kind,
            v=v,
            events=tuple(events),
            at=now,
            partition=partition_of(state.id),
            # Ours are relayed right away, or when the batch comes again; no update per batch is needed.
            relayed=not has_orders(events),
            received_at=received_at,
            trace=trace,
        )
        draft.v = v
        return step_of(commit, draft.state())

    def _count_without_effect(self, state: Draft, fact: Fact) -> None:
        if isinstance(fact, ReactionChanged) and named(state, fact.provider_id) is None:
            metrics.reactions_dropped_total.labels(kind=fact.channel_kind).inc()
        else:
            self._repeats.inc()

    def _count(self, work: Mapping[Key, _Work]) -> None:
        now = self._clock()
        took: dict[str, list[float]] = {}
        for one in work.values():
            for item in one.fresh:
                if isinstance(item.fact, MessageReceived):
                    seconds = (now - item.fact.recorded_at).total_seconds()
                    took.setdefault(item.fact.channel_kind, []).append(seconds)
                if sampled(item.traceparent) is not None:
                    with span("inbox.stored", parent=item.traceparent):
                        pass
        for kind, each in took.items():
            metrics.inbound_e2e_seconds.observe_all(kind, each)


# The same few hundred conversations again and again, and a hash is a tenth of a message's cost.
_conversation_id = lru_cache(maxsize=4 * CACHED)(conversation_id_of)


def _hand_over(states: dict[Key, State], found: Iterable[Message]) -> None:
    by_key: dict[Key, list[Message]] = {}
    for message in found:
        by_key.setdefault(Key(message.tenant_id, message.conversation_id), []).append(message)
    for key, messages in by_key.items():
        if key in states:
            states[key] = states[key].with_messages(messages)


@contextmanager
def _store_reached() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable:
        raise
    except STORE_TROUBLE as exc:
        raise StoreUnavailable(f"MongoDB: {type(exc).__name__}") from exc


def _impossible(fact: Fact, channel: ChannelRecord | None) -> str | None:
    """Why a fact cannot be true, if so: it would land in the wrong place."""
    if channel is not None and channel.tenant_id != fact.tenant_id:
        return "the channel belongs to another tenant"
    contact = getattr(fact, "contact", None)
    if contact is not None and _conversation_id(fact.channel_id, contact.key) != fact.conversation_id:
        return "the conversation is not that of this channel and contact"
    return None


def _empty(fact: Fact) -> State:
    return State(
        id=fact.conversation_id,
        tenant_id=fact.tenant_id,
        channel_id=fact.channel_id,
        channel_kind=fact.channel_kind,
    )
