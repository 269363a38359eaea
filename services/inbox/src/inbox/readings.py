"""Tells clients that they were read: the newest message anybody of ours has read or answered.

Beside the log: a reading changes no dialogue, so no commit. Each rise is told once over all operators and
replicas; one that gets lost on the way stays untold, which the next rise makes good.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from inbox.domain import State
from inbox.kinds import Kinds
from inbox.projections import Key
from inbox.store import STORE_TROUBLE
from msgkit.contracts.events import ReadChat
from msgkit.contracts.ids import derived_id
from msgkit.contracts.topology import SENDS, channel_key
from msgkit.contracts.values import dataclass
from msgkit.contracts.words import Direction
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown, PublishUnroutable
from msgkit.runtime.clock import Clock
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import DESCENDING, Database, DuplicateKeyError

log = get_logger(__name__)

WAITING_MAX: Final = 1_000
"""Readings on their way; with more of them the store or the broker is not well, and new ones are dropped."""
REMEMBERED: Final = 3_000
TELL_TIMEOUT_S: Final = 2.0
_TROUBLE: Final[tuple[type[Exception], ...]] = (*STORE_TROUBLE, PublishUnknown)


@dataclass(frozen=True, slots=True)
class _Reading:
    state: State
    in_seq: int


class Readings:
    """Collects readings at once and tells them a moment later, so that nobody waits for it."""

    def __init__(self, loose_database: Database, publisher: Publisher, kinds: Kinds, clock: Clock) -> None:
        """
        Args:
            loose_database: that of inbox with cheap writes: what was told may be told again.
        """
        self._told = loose_database["readings"]
        self._messages = loose_database["messages"]
        self._publisher = publisher
        self._kinds = kinds
        self._clock = clock
        self._waiting: dict[Key, _Reading] = {}
        self._known: OrderedDict[Key, int] = OrderedDict()
        self._bell = asyncio.Event()

    def note(self, state: State, in_seq: int) -> None:
        """Somebody of ours has read the client's messages up to this one. Does nothing slow.

        Args:
            state: the conversation.
            in_seq: how many of the client's messages are read now.
        """
        if in_seq <= 0 or not self._kinds.of(state.channel_kind).tells_reading:
            return
        key = Key(state.tenant_id, state.id)
        waiting = self._waiting.get(key)
        if in_seq <= max(self._known.get(key, 0), 0 if waiting is None else waiting.in_seq):
            return
        if waiting is None and len(self._waiting) >= WAITING_MAX:
            log.warning("reading_dropped", channel_kind=state.channel_kind)
            return
        self._waiting[key] = _Reading(state, in_seq)
        self._bell.set()

    async def run(self) -> None:
        """Tell what was noted, for ever."""
        while True:
            await self._bell.wait()
            await self.tell()

    async def tell(self) -> None:
        """Tell what was noted. What cannot be told now is not told."""
        self._bell.clear()
        waiting, self._waiting = self._waiting, {}
        for done, (key, reading) in enumerate(waiting.items()):
            try:
                await self._tell(key, reading)
            except PublishUnroutable:
                log.warning("reading_has_no_connector", channel_id=reading.state.channel_id)
            except _TROUBLE as exc:
                # Each of the others would wait as long for the same; the next rise makes them good.
                log.warning("readings_not_told", count=len(waiting) - done, reason=type(exc).__name__)
                return

    async def _tell(self, key: Key, reading: _Reading) -> None:
        state, contact = reading.state, reading.state.contact
        is_news = await self._claim(key, reading.in_seq)
        self._remember(key, reading.in_seq)
        if not is_news or contact is None:
            return
        provider_id = await self._provider_id(key, reading)
        if provider_id is None:
            return
        now = self._clock()
        order = ReadChat(
            type="chat.read.v1",
            event_id=derived_id("read", state.id, str(reading.in_seq)),
            tenant_id=state.tenant_id,
            channel_id=state.channel_id,
            channel_kind=state.channel_kind,
            recorded_at=now,
            conversation_id=state.id,
            contact_key=contact.key,
            provider_id=provider_id,
            read_at=now,
        )
        message = Outgoing(
            SENDS,
            channel_key(state.channel_kind, state.channel_id),
            order.model_dump_json().encode(),
            order.event_id,
            order.type,
        )
        await self._publisher.publish(message, TELL_TIMEOUT_S)

    async def _claim(self, key: Key, in_seq: int) -> bool:
        """Whether nobody has told this or more; from now on somebody has."""
        try:
            await self._told.update_one(
                {"_id": key.conversation_id, "tenant_id": key.tenant_id, "in_seq": {"$lt": in_seq}},
                {"$set": {"in_seq": in_seq}},
                upsert=True,
            )
        except DuplicateKeyError:
            return False
        return True

    async def _provider_id(self, key: Key, reading: _Reading) -> str | None:
        """The messenger's id of the newest message that was read."""
        for message in reading.state.messages.values():
            is_it = message.direction is Direction.IN and message.in_seq == reading.in_seq
            if is_it and not message.is_recalled:
                return message.provider_ids[0]
        cursor = (
            self._messages.find(
                {
                    "tenant_id": key.tenant_id,
                    "conversation_id": key.conversation_id,
                    "direction": "in",
                    "in_seq": {"$lte": reading.in_seq},
                    "is_recalled": None,
                },
                {"provider_ids": 1},
            )
            .sort([("pos_at", DESCENDING), ("n", DESCENDING)])
            .limit(1)
        )
        found = await cursor.to_list(None)
        return str(found[0]["provider_ids"][0]) if found else None

    def _remember(self, key: Key, in_seq: int) -> None:
        self._known[key] = max(in_seq, self._known.get(key, 0))
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
