"""Who types and who looks at which dialogue: told between the gateways, kept nowhere, lost without harm."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from gateway.clients import Inbox
from gateway.limits import Buckets
from gateway.schemas import Session
from msgkit.contracts.ids import new_id
from msgkit.contracts.presence import (
    VIEWING_TTL_S,
    TypingNoticed,
    ViewingNoticed,
)
from msgkit.contracts.topology import PRESENCE
from msgkit.contracts.views import UserRef
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown, PublishUnroutable
from msgkit.runtime.clock import Clock
from msgkit.runtime.logs import get_logger
from msgkit.runtime.problems import Problem

log = get_logger(__name__)

TYPING_EVERY_SECONDS = 2.5
"""What one socket may say of typing; the window says it every 3 s."""
ANNOUNCE_EVERY_SECONDS = VIEWING_TTL_S / 3
SWEEP_SECONDS = 1.0
SAY_AT_ONCE = 200
SAY_LATER_MAX = 2_000
"""What waits while the broker is away; above it the oldest is dropped, being the least true."""
QUIET_AFTER_ANSWER_SECONDS = 1.0
"""Typing that is heard so soon after the same person's answer was typed before it."""
ANSWERS_REMEMBERED = 5_000
CONVERSATIONS_REMEMBERED = 50_000


class Seat(Protocol):
    """Where somebody sits: one socket of this replica."""

    @property
    def id(self) -> str: ...
    @property
    def session(self) -> Session: ...
    def may_see(self, channel_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Sight:
    """One socket that looks at a dialogue, here or on another replica. No dialogue: it looked away."""

    tenant_id: str
    channel_id: str | None
    conversation_id: str | None
    user: UserRef
    said_at: datetime
    until: float


@dataclass(frozen=True, slots=True)
class Turn:
    """Who looks at a dialogue has changed, by this user."""

    tenant_id: str
    channel_id: str
    conversation_id: str
    user_id: str


class Viewers:
    """Everybody who looks at a dialogue, by socket. Pure: time is told."""

    def __init__(self) -> None:
        self._sights: dict[str, Sight] = {}
        self._by_conversation: dict[tuple[str, str], set[str]] = {}

    def see(self, notice: ViewingNoticed, now: float) -> list[Turn]:
        """Take a notice in; returns the dialogues whose viewers are others now."""
        known = self._sights.get(notice.socket_id)
        if known is not None and (known.said_at > notice.at or known.tenant_id != notice.tenant_id):
            return []  # overtaken by a later word of the same socket
        before = self._place(known)
        self._drop(notice.socket_id)
        sight = Sight(
            notice.tenant_id,
            notice.channel_id,
            notice.conversation_id,
            notice.user,
            notice.at,
            # Also of a goodbye: a word said before it may still be on its way.
            now + VIEWING_TTL_S,
        )
        had = set(self._users(before)) if before else set()
        after = self._place(sight)
        has = set(self._users(after)) if after else set()
        self._sights[notice.socket_id] = sight
        if after:
            self._by_conversation.setdefault(after, set()).add(notice.socket_id)
        if before == after:
            return []
        turns = []
        if before and known is not None and notice.user.id not in had:
            turns.append(_turn(known))
        if after and notice.user.id not in has:
            turns.append(_turn(sight))
        return turns

    def sweep(self, now: float) -> list[Turn]:
        """Forget who has not been heard of for too long."""
        turns = []
        for socket_id in [id_ for id_, sight in self._sights.items() if sight.until <= now]:
            sight = self._sights[socket_id]
            place = self._place(sight)
            self._drop(socket_id)
            if place and sight.user.id not in self._users(place):
                turns.append(_turn(sight))
        return turns

    def of(self, tenant_id: str, conversation_id: str, besides: str) -> list[UserRef]:
        """Who looks at the dialogue, without this user, by name."""
        found = {
            sight.user.id: sight.user
            for sight in self._of((tenant_id, conversation_id))
            if sight.user.id != besides
        }
        return sorted(found.values(), key=lambda user: (user.name, user.id))

    def places(self, tenant_id: str) -> Iterator[tuple[str, str]]:
        """(channel, dialogue) of the tenant that anybody looks at."""
        for tenant, conversation_id in list(self._by_conversation):
            if tenant == tenant_id:
                sight = next(self._of((tenant, conversation_id)))
                assert sight.channel_id is not None
                yield sight.channel_id, conversation_id

    def _users(self, place: tuple[str, str]) -> Iterator[str]:
        return (sight.user.id for sight in self._of(place))

    def _of(self, place: tuple[str, str]) -> Iterator[Sight]:
        return (self._sights[id_] for id_ in self._by_conversation.get(place, ()))

    def _drop(self, socket_id: str) -> None:
        sight = self._sights.pop(socket_id, None)
        place = self._place(sight)
        if place:
            sockets = self._by_conversation[place]
            sockets.discard(socket_id)
            if not sockets:
                del self._by_conversation[place]

    @staticmethod
    def _place(sight: Sight | None) -> tuple[str, str] | None:
        if sight is None or sight.conversation_id is None or sight.channel_id is None:
            return None
        return sight.tenant_id, sight.conversation_id


def _turn(sight: Sight) -> Turn:
    assert sight.channel_id is not None
    assert sight.conversation_id is not None
    return Turn(sight.tenant_id, sight.channel_id, sight.conversation_id, sight.user.id)


class Presence:
    """Says to the other gateways what our sockets do, and hears what theirs do.

    `on_typing` and `on_turn` are called with what is heard, our own words included: they come back
    through the broker, so that one gateway behaves as two do.
    """

    def __init__(self, publisher: Publisher, inbox: Inbox, clock: Clock) -> None:
        self._publisher = publisher
        self._inbox = inbox
        self._clock = clock
        self.viewers = Viewers()
        self.on_typing: Callable[[TypingNoticed], None] = lambda _notice: None
        self.on_turn: Callable[[Turn], None] = lambda _turn: None
        self._typing = Buckets(1 / TYPING_EVERY_SECONDS, 1, time.monotonic)
        self._looking: dict[str, tuple[Seat, str, str]] = {}
        """Our own sockets that look at something: (seat, channel, dialogue)."""
        self._channel_of: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._answered: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._to_say: deque[TypingNoticed | ViewingNoticed] = deque(maxlen=SAY_LATER_MAX)
        self._something = asyncio.Event()

    # What our own people do

    async def typing(self, seat: Seat, conversation_id: str) -> None:
        """Somebody types; said at most once in TYPING_EVERY_SECONDS per seat, else dropped."""
        if self._typing.take(seat.id):
            return
        channel_id = await self._channel(seat, conversation_id)
        if channel_id is not None:
            self._say_typing(seat.session, conversation_id, channel_id)

    def typing_at(self, session: Session, conversation_id: str, channel_id: str) -> None:
        """The same for somebody without a socket, whose right to see the dialogue is proved."""
        if not self._typing.take(f"{session.tenant_id}:{session.user_id}"):
            self._say_typing(session, conversation_id, channel_id)

    async def looks(self, seat: Seat, conversation_id: str | None) -> bool:
        """Somebody looks at a dialogue, or away; what they may not see counts as away.

        Returns:
            Whether they look at something now.
        """
        channel_id = None if conversation_id is None else await self._channel(seat, conversation_id)
        if conversation_id is None or channel_id is None:
            self.left(seat)
            return False
        self._looking[seat.id] = (seat, channel_id, conversation_id)
        self._say_looking(seat, channel_id, conversation_id)
        return True

    def left(self, seat: Seat) -> None:
        """The socket is gone, or looks at no dialogue any more."""
        if self._looking.pop(seat.id, None) is not None:
            self._say_looking(seat, None, None)

    # What is heard

    def hear(self, notice: TypingNoticed | ViewingNoticed) -> None:
        if isinstance(notice, ViewingNoticed):
            for turn in self.viewers.see(notice, time.monotonic()):
                self.on_turn(turn)
            return
        answered_at = self._answered.get((notice.conversation_id, notice.user.id))
        if answered_at is None or time.monotonic() - answered_at > QUIET_AFTER_ANSWER_SECONDS:
            self.on_typing(notice)

    def answered(self, conversation_id: str, user_id: str) -> None:
        """This person's answer was shown: typing before it is over, whichever word comes first."""
        key = (conversation_id, user_id)
        self._answered[key] = time.monotonic()
        self._answered.move_to_end(key)
        if len(self._answered) > ANSWERS_REMEMBERED:
            self._answered.popitem(last=False)

    # Beside the sockets

    async def speak(self) -> None:
        """Bring what is to be said to the other gateways, for ever. What cannot be said is dropped."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._to_say:
                batch = [self._to_say.popleft() for _ in range(min(len(self._to_say), SAY_AT_ONCE))]
                try:
                    await self._publisher.publish_all([_outgoing(notice) for notice in batch])
                except (PublishUnknown, PublishUnroutable) as exc:
                    log.info("presence_not_said", notices=len(batch), reason=type(exc).__name__)

    async def remind(self) -> None:
        """Say again who looks where, and forget whose gateway no longer does, for ever."""
        said_at = time.monotonic()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            for turn in self.viewers.sweep(now):
                self.on_turn(turn)
            if now - said_at >= ANNOUNCE_EVERY_SECONDS:
                said_at = now
                for seat, channel_id, conversation_id in list(self._looking.values()):
                    if seat.may_see(channel_id):
                        self._say_looking(seat, channel_id, conversation_id)
                    else:
                        self.left(seat)

    async def _channel(self, seat: Seat, conversation_id: str) -> str | None:
        """The channel of a dialogue this person may see; None for any other, and while inbox is away."""
        key = (seat.session.tenant_id, conversation_id)
        channel_id = self._channel_of.get(key)
        if channel_id is None:
            try:
                channel_id = (await self._inbox.conversation(seat.session, conversation_id)).channel.id
            except Problem as exc:
                if exc.status != 404:
                    log.info("presence_unknown_conversation", code=exc.code)
                return None
            # A dialogue never changes its channel.
            self._channel_of[key] = channel_id
            if len(self._channel_of) > CONVERSATIONS_REMEMBERED:
                self._channel_of.popitem(last=False)
        return channel_id if seat.may_see(channel_id) else None

    def _say_typing(self, session: Session, conversation_id: str, channel_id: str) -> None:
        self._say(
            TypingNoticed(
                type="typing.v1",
                tenant_id=session.tenant_id,
                channel_id=channel_id,
                conversation_id=conversation_id,
                user=_user(session),
                at=self._clock(),
            )
        )

    def _say_looking(self, seat: Seat, channel_id: str | None, conversation_id: str | None) -> None:
        self._say(
            ViewingNoticed(
                type="viewing.v1",
                tenant_id=seat.session.tenant_id,
                channel_id=channel_id,
                conversation_id=conversation_id,
                user=_user(seat.session),
                socket_id=seat.id,
                at=self._clock(),
            )
        )

    def _say(self, notice: TypingNoticed | ViewingNoticed) -> None:
        self._to_say.append(notice)
        self._something.set()


def typing_data(notice: TypingNoticed, ttl_s: int) -> dict[str, Any]:
    return {"conversation_id": notice.conversation_id, "user": notice.user.model_dump(), "ttl_s": ttl_s}


def viewers_data(conversation_id: str, viewers: list[UserRef]) -> dict[str, Any]:
    return {"conversation_id": conversation_id, "viewers": [user.model_dump() for user in viewers]}


def _user(session: Session) -> UserRef:
    return UserRef(id=session.user_id, name=session.name)


def _outgoing(notice: TypingNoticed | ViewingNoticed) -> Outgoing:
    return Outgoing(
        exchange=PRESENCE,
        routing_key=notice.type,
        body=notice.model_dump_json().encode(),
        event_id=new_id(),
        type=notice.type,
        persistent=False,
        mandatory=False,
    )
