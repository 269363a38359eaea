"""What people do to conversations: decide on a known version, append to the log, see that it is relayed.

Anyone may append. Who loses the race for a version reloads that one conversation and decides again; a repeat
is found by its dedupe id and has no effect, but what is not relayed yet is relayed with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from inbox.channels import ChannelBook, door_of
from inbox.domain import (
    Command,
    Commit,
    Event,
    Message,
    Moment,
    PostReply,
    Refusal,
    State,
    apply_all,
    decide,
    dedupe_id,
    referenced_ids,
    reply_message_id,
)
from inbox.kinds import Kinds
from inbox.memory import RACES, Dialogue, Memory
from inbox.numbers import RequestNumbers
from inbox.projections import Key
from inbox.readings import Readings
from inbox.relay import Relay
from inbox.store import Store
from msgkit.contracts.events import ConversationPoked
from msgkit.contracts.ids import new_id, partition_of
from msgkit.contracts.topology import INBOUND, conversation_key
from msgkit.contracts.words import AuthorKind
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown, PublishUnroutable
from msgkit.runtime.clock import Clock
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.telemetry import current_traceparent, sampled

log = get_logger(__name__)

POKE_TIMEOUT_S: Final = 1.0
CONFLICT_MESSAGES: Final = 20


class NotFound(Exception):
    """No such thing, or not for this caller: the answer is the same."""


class Refused(Exception):
    """A rule says no. `state` is the conversation now; `unseen` what the author of an answer had not seen."""

    def __init__(self, refusal: Refusal, state: State, unseen: Sequence[Message] = ()) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.state = state
        self.unseen = unseen


class Conversations:
    """All that people can do to conversations, and reading one with every commit of its log."""

    def __init__(
        self,
        store: Store,
        memory: Memory,
        relay: Relay,
        publisher: Publisher,
        channels: ChannelBook,
        numbers: RequestNumbers,
        kinds: Kinds,
        readings: Readings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._memory = memory
        self._relay = relay
        self._publisher = publisher
        self._channels = channels
        self._numbers = numbers
        self._kinds = kinds
        self._readings = readings
        self._clock = clock

    async def post_reply(
        self, tenant_id: str, conversation_id: str, command: PostReply, allowed: Collection[str]
    ) -> Message:
        """Append an answer or a note; a repeat returns the same message.

        Raises:
            NotFound: no such conversation for this caller.
            Refused: a rule says no.
        """
        state = await self._append(tenant_id, conversation_id, command, allowed)
        if not command.note and not command.is_reaction and command.author.kind is AuthorKind.OPERATOR:
            self._readings.note(state, state.answered_seq)
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
            await self._numbers.ensure({tenant_id: 1})
            number = self._numbers.next(tenant_id) if state.needs_request else 0
            moment = Moment(state.v + 1, self._clock(), number)
            door = door_of(channel, self._kinds.of(state.channel_kind))
            decision = decide(state, command, moment, door)
            if isinstance(decision, Refusal):
                raise Refused(decision, state, await self._unseen(key, command, decision))
            if not decision:
                return state
            self._numbers.use(tenant_id, decision)
            after = apply_all(state, decision, moment)
            if await self._store.insert_commit(_commit_of(after, decision, moment)):
                self._memory.remember(key, after)
                await self._poke(after)
                return after
            self._memory.forget(key)
            await self._refuse_reuse(key, state, command)
        raise StoreUnavailable("the log keeps moving: too many writers of one conversation")

    async def _with_referenced(self, key: Key, state: State, command: Command) -> State:
        asked: set[str] = set()
        while True:
            wanted = referenced_ids(state, command)
            missing = [id_ for id_ in wanted if id_ not in state.messages and id_ not in asked]
            if not missing:
                return state
            asked.update(missing)
            found = await self._store.projections.messages({key.tenant_id}, missing)
            state = state.with_messages(m for m in found if m.conversation_id == key.conversation_id)

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
        stored = await self._store.projections.answers_after(key, command.seen_n or 0, CONFLICT_MESSAGES)
        merged = {message.id: message for message in stored} | {
            message.id: message
            for message in dialogue.newer.values()
            if message.direction == "out" and message.n > (command.seen_n or 0)
        }
        return sorted(
            (
                message
                for message in merged.values()
                if message.author.id != command.author.id
                and message.replaced_by is None
                and not message.is_recalled
            ),
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

    async def row(self, key: Key, allowed: Collection[str]) -> State:
        """The conversation with every commit of its log.

        Raises:
            NotFound: no such conversation for this caller.
        """
        return await self._fresh(key, allowed)

    async def dialogue(self, key: Key) -> Dialogue:
        """What a page of messages needs beside the projection: everything newer than it."""
        return await self._memory.dialogue(key)

    async def _fresh(self, key: Key, allowed: Collection[str]) -> State:
        state = await self._memory.caught_up(key)
        if state is None:
            state = (await self._memory.load([key])).get(key)
        if state is None or state.n == 0 or state.channel_id not in allowed:
            raise NotFound
        return state


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
