"""The use cases: decide on a known version of a conversation, append to its log, see that it is relayed.

Anyone may append. Who loses the race for a version reloads that one conversation and decides again; a repeat
is found by its dedupe id and has no effect, but what is not relayed yet is relayed with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from datetime import datetime
from functools import lru_cache
from typing import Final

from prometheus_client import Histogram

from inbox.channels import DELETED, ChannelBook, ChannelRecord
from inbox.domain import (
    Command,
    Commit,
    Door,
    Draft,
    Event,
    Fact,
    Message,
    Moment,
    PostReply,
    Refusal,
    State,
    apply_all,
    decide,
    dedupe_id,
    is_behind,
    referenced_ids,
    reply_message_id,
    take,
)
from inbox.orders import has_orders
from inbox.relay import Relay, Step, advance, start_of, step_of
from inbox.store import STORE_TROUBLE, Key, RequestNumbers, Store
from msgkit.contracts.events import ConversationPoked, MessageReceived
from msgkit.contracts.ids import conversation_id as conversation_id_of
from msgkit.contracts.ids import new_id, partition_of
from msgkit.contracts.topology import INBOUND, conversation_key
from msgkit.contracts.values import dataclass
from msgkit.runtime import metrics
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown, PublishUnroutable
from msgkit.runtime.clock import Clock
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.telemetry import current_traceparent, sampled, span

log = get_logger(__name__)

CACHED: Final = 3_000
"""Conversations kept in memory; each with KEPT_MESSAGES it takes about 10 KB."""
KEPT_MESSAGES: Final = 4
"""Messages kept in hand of a conversation at rest: a report is mostly about the last ones."""
HAND_LIMIT: Final = 200
"""With more messages in hand a conversation is read anew rather than trimmed."""
NEWER_LIMIT: Final = 50
"""With more commits to catch up with, reading the projection is cheaper."""
RACES: Final = 20
POKE_TIMEOUT_S: Final = 1.0
CONFLICT_MESSAGES: Final = 20


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


class NotFound(Exception):
    """No such thing, or not for this caller: the answer is the same."""


class Refused(Exception):
    """A rule says no. `state` is the conversation now; `unseen` what the author of an answer had not seen."""

    def __init__(self, refusal: Refusal, state: State, unseen: Sequence[Message] = ()) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.state = state
        self.unseen = unseen


@dataclass(slots=True)
class _Cached:
    """A conversation in memory; `projected_v` is never more than what is really projected."""

    state: State
    projected_v: int


@dataclass(slots=True)
class _Work:
    """What a batch brings for one conversation."""

    received: list[Received]
    fresh: list[Received] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


class Conversations:
    """All that can be done to conversations."""

    def __init__(
        self,
        store: Store,
        relay: Relay,
        publisher: Publisher,
        channels: ChannelBook,
        numbers: RequestNumbers,
        clock: Clock,
    ) -> None:
        self._store = store
        self._relay = relay
        self._publisher = publisher
        self._channels = channels
        self._numbers = numbers
        self._clock = clock
        self._cache: OrderedDict[Key, _Cached] = OrderedDict()
        self._repeats = metrics.dedup_hits_total.labels(service="inbox")

    # ------------------------------------------------------------ what comes from the bus

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
        steps = {key: self._relayable(key, todo) for key, todo in batch.items()}
        self._note_projected(await self._relay.relay(steps))

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
        for tenant_id, count in wanted.items():
            await self._numbers.ensure(tenant_id, count)

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
                    self._remember(key, step.state)
            if not lost:
                return [one for group in rejected.values() for one in group]
            for key in lost:
                self._cache.pop(key, None)
                known[key] = await self._known(key, steps[key].commit.events)
            todo = dict.fromkeys(lost)
        raise StoreUnavailable("the log keeps moving: too many writers of one conversation")

    async def _known(self, key: Key, events: Iterable[Event]) -> set[str]:
        return set(await self._store.known(key.tenant_id, {event.dedupe_id for event in events}))

    async def _states_for(self, work: Mapping[Key, _Work], todo: Iterable[Key]) -> dict[Key, State]:
        """The conversations of a batch with what their facts refer to in hand."""
        keys = list(todo)
        loaded = await self._load([key for key in keys if key not in self._cache])
        states: dict[Key, State] = {}
        missing: set[str] = set()
        answered: dict[Key, set[str]] = {}
        for key in keys:
            cached = self._cache.get(key)
            fact = work[key].received[0].fact
            state = cached.state if cached is not None else loaded.get(key) or _empty(fact)
            states[key] = state
            for item in work[key].received:
                for id_ in referenced_ids(key.conversation_id, item.fact):
                    if id_ not in state.messages:
                        missing.add(id_)
                        if isinstance(item.fact, MessageReceived) and item.fact.reply_to_provider_id:
                            answered.setdefault(key, set()).add(item.fact.reply_to_provider_id)
        if missing:
            found = await self._store.messages({key.tenant_id for key in keys}, missing)
            found += await self._store.our_messages(answered)
            for message in found:
                key = Key(message.tenant_id, message.conversation_id)
                if key in states:
                    states[key] = states[key].with_messages([message])
            await self._catch_up(work, states)
        return states

    async def _catch_up(self, work: Mapping[Key, _Work], states: dict[Key, State]) -> None:
        """Read anew what is behind: a fact about what we do not know is of a commit appended elsewhere."""
        behind = {
            key for key, state in states.items() for item in work[key].received if is_behind(state, item.fact)
        }
        if not behind:
            return
        for key in behind:
            self._cache.pop(key, None)
        states.update(await self._load(behind))
        # With the messages as they are stored now: those in hand before are as old as the conversation was.
        wanted = {
            id_
            for key in behind
            for item in work[key].received
            for id_ in referenced_ids(key.conversation_id, item.fact)
        }
        for message in await self._store.messages({key.tenant_id for key in behind}, wanted):
            key = Key(message.tenant_id, message.conversation_id)
            if key in behind:
                states[key] = states[key].with_messages([message])

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
        door = _door(doors.get(state.channel_id))
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
                self._repeats.inc()
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

    def _relayable(self, key: Key, steps: Sequence[Step]) -> Sequence[Step]:
        """The steps, if nothing lies between the projection and them; else none: the log must be read."""
        cached = self._cache.get(key)
        if not steps or cached is None or steps[0].commit.v != cached.projected_v + 1:
            return ()
        return steps

    def _count(self, work: Mapping[Key, _Work]) -> None:
        now = self._clock()
        for one in work.values():
            for item in one.fresh:
                if isinstance(item.fact, MessageReceived):
                    seconds = (now - item.fact.recorded_at).total_seconds()
                    _stored_after(item.fact.channel_kind).observe(max(0.0, seconds))
                if sampled(item.traceparent) is not None:
                    with span("inbox.stored", parent=item.traceparent):
                        pass

    # ------------------------------------------------------------ what people do

    async def post_reply(
        self, tenant_id: str, conversation_id: str, command: PostReply, allowed: Collection[str]
    ) -> Message:
        """Append an answer or a note; a repeat returns the same message.

        Raises:
            NotFound: no such conversation for this caller.
            Refused: a rule says no.
        """
        state = await self._append(tenant_id, conversation_id, command, allowed)
        return state.messages[
            reply_message_id(conversation_id, command.author.id or "", command.client_msg_id)
        ]

    async def act(
        self,
        tenant_id: str,
        conversation_id: str,
        command: Command,
        allowed: Collection[str],
        expected_v: int | None = None,
    ) -> State:
        """Change a conversation, or an answer in it.

        Raises:
            NotFound: no such conversation for this caller.
            Refused: a rule says no, or the conversation is not at `expected_v` any more.
        """
        return await self._append(tenant_id, conversation_id, command, allowed, expected_v)

    async def _append(
        self,
        tenant_id: str,
        conversation_id: str,
        command: Command,
        allowed: Collection[str],
        expected_v: int | None = None,
    ) -> State:
        key = Key(tenant_id, conversation_id)
        for _ in range(RACES):
            state = await self._fresh(key, allowed)
            if expected_v is not None and state.v != expected_v:
                raise Refused(Refusal(409, "stale", "Чат уже змінився. Подивіться і повторіть."), state)
            state = await self._with_referenced(key, state, command)
            channel = (await self._channels.look_up({state.channel_id}))[state.channel_id]
            await self._numbers.ensure(tenant_id, 1)
            number = self._numbers.next(tenant_id) if state.needs_request else 0
            moment = Moment(state.v + 1, self._clock(), number)
            decision = decide(state, command, moment, _door(channel))
            if isinstance(decision, Refusal):
                raise Refused(decision, state, await self._unseen(key, command, decision))
            if not decision:
                return state
            self._numbers.use(tenant_id, decision)
            after = apply_all(state, decision, moment)
            if await self._store.insert_commit(_commit_of(after, decision, moment)):
                self._remember(key, after)
                await self._poke(after)
                return after
            self._cache.pop(key, None)
            await self._refuse_reuse(key, state, command)
        raise StoreUnavailable("the log keeps moving: too many writers of one conversation")

    async def _with_referenced(self, key: Key, state: State, command: Command) -> State:
        missing = [id_ for id_ in referenced_ids(state.id, command) if id_ not in state.messages]
        found = await self._store.messages({key.tenant_id}, missing)
        return state.with_messages(m for m in found if m.conversation_id == key.conversation_id)

    async def _refuse_reuse(self, key: Key, state: State, command: Command) -> None:
        """A key of a send that has another conversation's message is no race but a mistake of the caller."""
        once = dedupe_id(command)
        if once is None:
            return
        owner = (await self._store.known(key.tenant_id, {once})).get(once)
        if owner is not None and owner != key.conversation_id:
            reused = Refusal(
                422, "client_msg_id_reused", "Цей ключ уже має інше повідомлення. Надішліть з новим ключем."
            )
            raise Refused(reused, state)

    async def _unseen(self, key: Key, command: Command, refusal: Refusal) -> list[Message]:
        if not isinstance(command, PostReply) or refusal.code != "colleague_replied":
            return []
        dialogue = await self.dialogue(key)
        stored = await self._store.answers_after(key, command.seen_n or 0, CONFLICT_MESSAGES)
        merged = {message.id: message for message in stored} | {
            message.id: message
            for message in dialogue.newer.values()
            if message.direction == "out" and message.n > (command.seen_n or 0)
        }
        return sorted(
            (message for message in merged.values() if message.author.id != command.author.id),
            key=lambda message: message.n,
        )

    async def _poke(self, state: State) -> None:
        """Tell the owner of the partition. A lost poke costs a second: the sweep finds the commit."""
        if self._relay.owns(partition_of(state.id)):
            self._relay.poke([Key(state.tenant_id, state.id)])
            return
        poke = ConversationPoked(
            type="conversation.poked.v1",
            event_id=new_id(),
            tenant_id=state.tenant_id,
            channel_id=state.channel_id,
            channel_kind=state.channel_kind,
            recorded_at=self._clock(),
            conversation_id=state.id,
        )
        message = Outgoing(
            INBOUND,
            conversation_key(state.channel_kind, state.id),
            poke.model_dump_json().encode(),
            poke.event_id,
            poke.type,
        )
        try:
            await self._publisher.publish(message, POKE_TIMEOUT_S)
        except (PublishUnknown, PublishUnroutable) as exc:
            log.warning("poke_lost", reason=type(exc).__name__)

    # ------------------------------------------------------------ reading

    async def row(self, key: Key, allowed: Collection[str]) -> State:
        """The conversation with every commit of its log.

        Raises:
            NotFound: no such conversation for this caller.
        """
        return await self._fresh(key, allowed)

    async def dialogue(self, key: Key) -> Dialogue:
        """What a page of messages needs beside the projection: everything newer than it."""
        states = await self._store.states([key])
        marks = {key: states[key].v if key in states else 0}
        commits = await self._store.commits_after(marks)
        if not commits:
            return Dialogue(states.get(key), {})
        start = {key: states.get(key) or start_of(commits[key][0])}
        steps = (await advance(self._store, start, commits))[key]
        last = steps[-1].state
        ids = {id_ for step in steps for id_ in step.created | step.changed}
        return Dialogue(last, {id_: last.messages[id_] for id_ in ids})

    # ------------------------------------------------------------ the cache

    async def _fresh(self, key: Key, allowed: Collection[str]) -> State:
        state = await self._caught_up(key)
        if state is None:
            state = (await self._load([key])).get(key)
        if state is None or state.n == 0 or state.channel_id not in allowed:
            raise NotFound
        return state

    async def _caught_up(self, key: Key) -> State | None:
        """The cached conversation with what others appended meanwhile; None if reading it is cheaper."""
        cached = self._cache.get(key)
        if cached is None:
            return None
        before = cached.state
        newer = await self._store.commits_after({key: before.v}, NEWER_LIMIT)
        if not newer:
            return before
        if len(newer[key]) == NEWER_LIMIT:
            self._cache.pop(key, None)
            return None
        state = (await advance(self._store, {key: before}, newer))[key][-1].state
        self._remember(key, state)
        return state

    async def _load(self, keys: Collection[Key]) -> dict[Key, State]:
        """Read conversations into the cache: the projection and what is newer."""
        if not keys:
            return {}
        states = await self._store.states(keys)
        commits = await self._store.commits_after(
            {key: states[key].v if key in states else 0 for key in keys}
        )
        starts = {key: states.get(key) or start_of(todo[0]) for key, todo in commits.items()}
        steps = await advance(self._store, starts, commits)
        loaded = {**states, **{key: todo[-1].state for key, todo in steps.items()}}
        for key, state in loaded.items():
            cached = self._cache.get(key)
            if cached is None or cached.state.v < state.v:  # others may have gone on while we read
                self._put(key, _Cached(state, states[key].v if key in states else 0))
        return loaded

    def _remember(self, key: Key, state: State) -> None:
        """Keep the newer one: others of this process may have gone on meanwhile."""
        cached = self._cache.get(key)
        if cached is None:
            if state.v == 1:
                self._put(key, _Cached(state, 0))
            return
        if state.v <= cached.state.v:
            return
        if len(state.messages) > HAND_LIMIT:
            self._cache.pop(key)  # what is in hand may not be projected yet, so it cannot be trimmed
            return
        cached.state = state
        self._cache.move_to_end(key)

    def _note_projected(self, projected: Mapping[Key, State]) -> None:
        for key, state in projected.items():
            cached = self._cache.get(key)
            if cached is None:
                continue
            cached.projected_v = max(cached.projected_v, state.v)
            if state.v > cached.state.v:
                cached.state = state
            cached.state = cached.state.keeping(KEPT_MESSAGES, changed_after=cached.projected_v)

    def _put(self, key: Key, cached: _Cached) -> None:
        self._cache[key] = cached
        self._cache.move_to_end(key)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation and its messages that are newer than the projection."""

    state: State | None
    newer: Mapping[str, Message]


# The same few hundred conversations again and again, and a hash is a tenth of a message's cost.
_conversation_id = lru_cache(maxsize=4 * CACHED)(conversation_id_of)


@lru_cache(maxsize=64)
def _stored_after(channel_kind: str) -> Histogram:
    # Looking a label up costs as much as observing.
    return metrics.inbound_e2e_seconds.labels(kind=channel_kind)


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


def _commit_of(state: State, events: tuple[Event, ...], moment: Moment) -> Commit:
    return Commit(
        tenant_id=state.tenant_id,
        conversation_id=state.id,
        channel_id=state.channel_id,
        channel_kind=state.channel_kind,
        v=moment.v,
        events=events,
        at=moment.at,
        partition=partition_of(state.id),
        relayed=False,
        received_at=moment.at,
        trace=sampled(current_traceparent()),
    )


def _door(channel: ChannelRecord | None) -> Door:
    if channel is None:
        return Door(bot_enabled=False, connected=False)
    view = channel.view
    is_active = view.connected and view.state == "active"
    return Door(view.settings.bot_enabled, is_active, view.state in {"disabled", DELETED})
