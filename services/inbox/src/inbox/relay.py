"""Tells the others what the log says: publishes commits in order, then writes their projections.

Only the owner of a partition relays. What lies between a projection's `v` and the log was not relayed yet,
or not noted as relayed; telling it twice is harmless (readers drop a `v` they have seen), leaving it out is
not. So whoever is in doubt relays again:

* the owner's own batch: right after its insert, and again when the batch comes back;
* commits of others (`relayed: false`): when poked, and by a sweep once a second;
* a partition newly taken, or a server that is another process than before: whatever is behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Final

import orjson

from inbox.channels import ChannelBook, ChannelRecord, door_of
from inbox.domain import (
    Commit,
    Message,
    Messenger,
    State,
    View,
    changed_ids,
    created_ids,
    fold,
    message_view,
    row_view,
    touched_ids,
    window_of,
)
from inbox.kinds import Kinds
from inbox.live_epoch import LiveEpoch
from inbox.orders import orders_of
from inbox.projections import Key
from inbox.store import STORE_TROUBLE, Store
from msgkit.contracts.ids import derived_id
from msgkit.contracts.topology import FACTS, facts_key
from msgkit.contracts.values import dataclass
from msgkit.runtime.bus import (
    AMQP_ERRORS,
    Outgoing,
    Publisher,
    PublishUnknown,
    PublishUnroutable,
)
from msgkit.runtime.clock import Clock
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import StoreUnavailable

log = get_logger(__name__)

ENVELOPE_BYTES: Final = 1_000_000
"""An envelope is split above this; one commit alone may be larger."""
HISTORY_TOLD: Final = 100
"""Messages of a history told one by one of one commit, which may hold a whole batch of them."""
SWEEP_EVERY_S: Final = 1.0
SWEEP_OLDER_THAN: Final = timedelta(milliseconds=500)
"""Younger commits have most likely been poked for and are on their way."""
SWEEP_LIMIT: Final = 500
PROJECTION_TRIES: Final = 5
ENVELOPE_TYPE: Final = "facts.v1"


@dataclass(frozen=True, slots=True)
class Step:
    """A commit and the conversation after it, with every message it made or changed in hand."""

    commit: Commit
    state: State
    created: Set[str]
    changed: Set[str]


def step_of(commit: Commit, state: State) -> Step:
    created, changed = touched_ids(commit.events)
    return Step(commit, state, created, changed)


async def advance(
    store: Store, states: Mapping[Key, State], commits: Mapping[Key, Sequence[Commit]]
) -> dict[Key, list[Step]]:
    """Fold newer commits onto conversations, with the messages they change fetched from the projection."""
    made = {key: created_ids(event for c in todo for event in c.events) for key, todo in commits.items()}
    missing: set[str] = set()
    for key, todo in commits.items():
        wanted = changed_ids([event for commit in todo for event in commit.events])
        missing |= wanted - states[key].messages.keys() - made[key]
    found = await store.projections.messages({key.tenant_id for key in commits}, missing) if missing else []
    steps: dict[Key, list[Step]] = {}
    for key, todo in commits.items():
        state = states[key].with_messages(m for m in found if m.conversation_id == key.conversation_id)
        steps[key] = []
        for commit in todo:
            state = fold(state, commit)
            steps[key].append(step_of(commit, state))
    return steps


class Relay:
    """The publisher and projector of the partitions this replica owns. `relay` runs one call at a time."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        channels: ChannelBook,
        kinds: Kinds,
        live: LiveEpoch,
        membership: Membership,
        clock: Clock,
        bell: asyncio.Event,
    ) -> None:
        """
        Args:
            bell: wakes the reader of the partitions, so that it calls for what `take_waiting` holds.
        """
        self._store = store
        self._publisher = publisher
        self._channels = channels
        self._kinds = kinds
        self._live = live
        self._membership = membership
        self._clock = clock
        self._bell = bell
        self._waiting: set[Key] = set()
        self._unrelayed: list[Commit] = []
        self._checked: frozenset[int] = frozenset()
        self._server = ""

    # ------------------------------------------------------------ what is to do

    def owns(self, partition: int) -> bool:
        return partition in self._membership.owned

    def poke(self, keys: Iterable[Key]) -> None:
        """Ask for these conversations to be relayed with the next batch, or at once if there is none."""
        self._waiting.update(keys)
        self._bell.set()

    async def sweep_forever(self) -> None:
        """Once a second look for what nobody poked for."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                await self.sweep()
            except STORE_TROUBLE as exc:
                log.warning("sweep_failed", reason=type(exc).__name__)

    async def sweep(self) -> None:
        """Find unrelayed commits of owned partitions, and what is behind where we cannot be sure."""
        owned = self._membership.owned
        server = await self._store.server_identity()
        doubtful = owned - self._checked if server == self._server else owned
        if doubtful:
            behind = await self._store.lagging(doubtful)
            if behind:
                log.warning("projections_behind", conversations=len(behind), partitions=len(doubtful))
                self.poke(behind)
        self._server, self._checked = server, owned
        before = self._clock() - SWEEP_OLDER_THAN
        self._unrelayed = await self._store.unrelayed(owned, before, SWEEP_LIMIT)
        if self._unrelayed:
            self._bell.set()

    # ------------------------------------------------------------ doing it

    async def relay(self, steps: Mapping[Key, Sequence[Step]]) -> dict[Key, State]:
        """Publish and project.

        Args:
            steps: per conversation the commits after its projection, or none if they must be read first.

        Returns:
            The conversations as they are projected now.

        Raises:
            StoreUnavailable, PublishUnknown: call again; what was done is not harmed by it.
        """
        waiting, self._waiting = self._waiting, set()
        swept, self._unrelayed = self._unrelayed, []
        done = False
        try:
            projected = await self._relay(steps, waiting, swept)
            done = True
            return projected
        finally:
            if not done:  # also when cancelled: nobody else remembers these
                self._waiting |= waiting
                self._unrelayed += swept

    async def _relay(
        self, steps: Mapping[Key, Sequence[Step]], waiting: set[Key], swept: Sequence[Commit]
    ) -> dict[Key, State]:
        ready: dict[Key, Sequence[Step]] = {key: todo for key, todo in steps.items() if todo}
        unread = {key for key, todo in steps.items() if not todo} | waiting
        unread |= {Key(commit.tenant_id, commit.conversation_id) for commit in swept}
        unread -= ready.keys()
        projected: dict[Key, State] = {}
        sent: list[Commit] = []
        for _ in range(PROJECTION_TRIES):
            if unread:
                ready = {**ready, **await self._read_log(unread, projected)}
                unread = set()
            if not ready:
                break
            # Beside each other: only a conversation's `v` says "told", so its messages may come earlier.
            writing = asyncio.ensure_future(self._project_messages(ready))
            try:
                sent += await self._publish(ready)
            finally:
                await writing
            unread = await self._project_states(ready, projected)
            ready = {}
            if not unread:
                break
            log.warning("projection_was_elsewhere", conversations=len(unread))
        if unread:
            raise StoreUnavailable("projections keep moving: is another replica relaying the same partition?")
        await self._settle(sent, swept)
        return projected

    async def _read_log(self, keys: Collection[Key], projected: dict[Key, State]) -> dict[Key, list[Step]]:
        states = await self._store.projections.states(keys)
        marks = {key: states[key].v if key in states else 0 for key in keys}
        commits = await self._store.commits_after(marks)
        projected.update(states)
        return await advance(
            self._store, {key: states.get(key) or start_of(todo[0]) for key, todo in commits.items()}, commits
        )

    async def _publish(self, steps: Mapping[Key, Sequence[Step]]) -> list[Commit]:
        """Returns the commits whose orders all found their way."""
        channels = await self._channels.look_up(
            {step.commit.channel_id for todo in steps.values() for step in todo}
        )
        by_partition: dict[int, list[Step]] = {}
        for todo in steps.values():
            by_partition.setdefault(todo[0].commit.partition, []).extend(todo)
        envelopes: list[Outgoing] = []
        for partition, todo in by_partition.items():
            envelopes += self._envelopes(partition, todo, channels)
        await self._tell(envelopes)
        return await self._order([step.commit for todo in steps.values() for step in todo])

    def _envelopes(
        self, partition: int, steps: Sequence[Step], channels: Mapping[str, ChannelRecord | None]
    ) -> list[Outgoing]:
        envelopes: list[Outgoing] = []
        parts: list[bytes] = []
        names: list[str] = []
        size = 0
        for step in steps:
            messenger = self._kinds.of(step.commit.channel_kind)
            change = change_of(step, channels.get(step.commit.channel_id), messenger)
            if change is None:
                continue
            if parts and size + len(change) > ENVELOPE_BYTES:
                envelopes.append(self._envelope(partition, names, parts))
                parts, names, size = [], [], 0
            parts.append(change)
            names.append(f"{step.commit.conversation_id}:{step.commit.v}")
            size += len(change)
        if parts:
            envelopes.append(self._envelope(partition, names, parts))
        return envelopes

    def _envelope(self, partition: int, names: Sequence[str], changes: Sequence[bytes]) -> Outgoing:
        # Each change is serialised once; a FactsEnvelope around them is put together by hand.
        event_id = derived_id("facts", *names)
        head = {
            "type": ENVELOPE_TYPE,
            "event_id": event_id,
            "partition": partition,
            "published_at": self._clock(),
        }
        body = orjson.dumps(head, option=orjson.OPT_UTC_Z)[:-1] + b',"changes":[' + b",".join(changes) + b"]}"
        return Outgoing(FACTS, facts_key(partition), body, event_id, ENVELOPE_TYPE)

    async def _tell(self, envelopes: Sequence[Outgoing]) -> None:
        try:
            await self._publisher.publish_all(envelopes)
        except PublishUnroutable:
            # Nobody reads facts: the live stream is gone. With a new one, once more.
            await self.revive()
            try:
                await self._publisher.publish_all(envelopes)
            except PublishUnroutable as exc:
                raise PublishUnknown("no queue takes facts: is the live stream there?") from exc

    async def revive(self) -> str:
        """See to it that the live stream is there.

        Raises:
            StoreUnavailable, PublishUnknown: try again.
        """
        try:
            return await self._live.ensure()
        except AMQP_ERRORS as exc:
            raise PublishUnknown(f"the live stream cannot be declared: {type(exc).__name__}") from exc

    async def _order(self, commits: Sequence[Commit]) -> list[Commit]:
        """Publish what connectors must do. An order nobody takes stays unrelayed and is tried again."""
        orders = [(commit, order) for commit in commits for order in orders_of(commit)]
        try:
            await self._publisher.publish_all([order for _, order in orders])
        except PublishUnroutable:
            return await self._order_one_by_one(commits)
        return list(commits)

    async def _order_one_by_one(self, commits: Sequence[Commit]) -> list[Commit]:
        done: list[Commit] = []
        for commit in commits:
            try:
                await self._publisher.publish_all(orders_of(commit))
            except PublishUnroutable:
                log.error(  # noqa: TRY400  # nothing of ours failed
                    "order_has_no_connector", channel_kind=commit.channel_kind, channel_id=commit.channel_id
                )
            else:
                done.append(commit)
        return done

    async def _project_messages(self, steps: Mapping[Key, Sequence[Step]]) -> None:
        created: list[Message] = []
        changed: list[Message] = []
        for todo in steps.values():
            messages = todo[-1].state.messages
            made: set[str] = set()
            touched: set[str] = set()
            for step in todo:
                made |= step.created
                touched |= step.changed
            created += [messages[id_] for id_ in made]
            changed += [messages[id_] for id_ in touched - made]
        await self._store.projections.project_messages(created, changed)

    async def _project_states(
        self, steps: Mapping[Key, Sequence[Step]], projected: dict[Key, State]
    ) -> set[Key]:
        """After everything else: a conversation's `v` says that it was told and its messages are there."""
        states = [(todo[0].commit.v - 1, todo[-1].state) for todo in steps.values()]
        behind = await self._store.projections.project_states(states)
        projected.update({key: todo[-1].state for key, todo in steps.items() if key not in behind})
        return behind

    async def _settle(self, sent: Sequence[Commit], swept: Sequence[Commit]) -> None:
        """Note as relayed what others wrote; of what was projected already, give the orders once more."""
        relayed = {(commit.conversation_id, commit.v) for commit in sent}
        left = [commit for commit in swept if (commit.conversation_id, commit.v) not in relayed]
        again = await self._order(left) if left else []
        await self._store.mark_relayed(commit for commit in (*sent, *again) if not commit.relayed)


def start_of(commit: Commit) -> State:
    """The conversation before its first commit."""
    return State(
        id=commit.conversation_id,
        tenant_id=commit.tenant_id,
        channel_id=commit.channel_id,
        channel_kind=commit.channel_kind,
    )


def change_of(step: Step, channel: ChannelRecord | None, messenger: Messenger) -> bytes | None:
    """The Change of a commit as JSON; None if nobody can see anything of it."""
    commit, state = step.commit, step.state
    if state.n == 0:
        return None
    created = (state.messages[id_] for id_ in step.created)
    made = _told(sorted((message for message in created if message.replaced_by is None), key=_by_n))
    touched = sorted((state.messages[id_] for id_ in step.changed), key=_by_n)
    events: list[View] = [{"type": "message.created", "data": message_view(message)} for message in made]
    events += [{"type": "message.updated", "data": message_view(message)} for message in touched]
    title = channel.view.title if channel is not None else ""
    window = window_of(state, door_of(channel, messenger), commit.at)
    row = row_view(state, title, window, messenger)
    events.append({"type": "conversation.upserted", "data": row})
    return orjson.dumps(
        {
            "tenant_id": commit.tenant_id,
            "channel_id": commit.channel_id,
            "conversation_id": commit.conversation_id,
            "user_id": None,
            "v": commit.v,
            "traceparent": commit.trace,
            "received_at": commit.received_at,
            "events": events,
        },
        option=orjson.OPT_UTC_Z,
    )


def _told(made: list[Message]) -> list[Message]:
    """All of them, except of a great part of a history: windows page back for the rest."""
    recalled = [message for message in made if message.is_recalled]
    if len(recalled) <= HISTORY_TOLD:
        return made
    newest = sorted(recalled, key=_by_position)[-HISTORY_TOLD:]
    told = {message.id for message in newest}
    return [message for message in made if not message.is_recalled or message.id in told]


def _by_position(message: Message) -> tuple[datetime, int]:
    return message.pos_at, message.n


def _by_n(message: Message) -> int:
    return message.n
