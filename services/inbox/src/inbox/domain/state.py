"""What there is: a conversation, its messages, and the draft a commit works on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter

from inbox.domain.pieces import (
    Author,
    Body,
    Buttons,
    ContactCard,
    Fault,
    Person,
    Press,
    Quoted,
    Sign,
    Template,
    Version,
)
from msgkit.contracts.values import dataclass
from msgkit.contracts.words import (
    LATE_REFUSAL_RANK,
    STATE_RANK,
    AuthorKind,
    Box,
    Direction,
    Handler,
    MessageKind,
    MessageState,
    Status,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as the projection keeps it."""

    id: str
    tenant_id: str
    channel_id: str
    conversation_id: str
    request_id: str
    n: int
    in_seq: int
    pos_at: datetime
    direction: Direction
    author: Author
    body: Body
    provider_time: datetime
    created_at: datetime
    state: MessageState
    rev: int
    client_msg_id: str | None = None
    body_hash: str | None = None
    reply_to: str | None = None
    quote: Quoted | None = None
    provider_ids: tuple[str, ...] = ()
    group_id: str | None = None
    late: bool = False
    failure: Fault | None = None
    edited_at: datetime | None = None
    versions: tuple[Version, ...] = ()
    reply_to_provider_id: str | None = None
    """Of an answer: what it quotes, in the messenger's words, for another attempt."""
    pressed: Press | None = None
    attempt: int = 1
    """How often it was ordered to be sent; reports name the attempt they are about."""
    deleted_at: datetime | None = None
    buttons: Buttons = ()
    refused: tuple[int, ...] = ()
    """The attempts the messenger took and refused later: only the client's own device proves that wrong."""
    replaced_by: str | None = None
    """Of an echo: the answer of ours it turned out to be. Of a reaction that went out: what carries it.

    Kept, as numbers have no gap; shown nowhere.
    """
    template: Template | None = None
    """Of an answer: what went out instead of its words."""
    is_reaction: bool = False
    """An answer that is only a sign on the message `reply_to`; it counts as no answer."""
    is_recalled: bool = False
    """From the messenger's history: it counts as nothing, and gives way if it comes as news after all."""
    signs: tuple[Sign, ...] = ()
    withdrawn_at: datetime | None = None
    """Taken back by its author: what it said is in the log only, and nothing changes it any more."""

    @property
    def is_gone(self) -> bool:
        """Whether its place is shown without what it said."""
        return self.deleted_at is not None or self.withdrawn_at is not None

    @property
    def rank(self) -> float:
        """How far its state is up; a state only rises, until another attempt begins anew."""
        is_late_refusal = self.state is MessageState.FAILED and self.attempt in self.refused
        return LATE_REFUSAL_RANK if is_late_refusal else STATE_RANK[self.state]


@dataclass(frozen=True, slots=True)
class Episode:
    """A request: one open-to-close episode."""

    id: str
    number: int
    opened_at: datetime
    first_reply_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LastLine:
    id: str
    n: int
    text: str
    kind: MessageKind
    direction: Direction
    at: datetime
    state: MessageState
    author: Author = Author(AuthorKind.SYSTEM)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where an inbound message stands, to put one the provider numbered earlier before it."""

    provider_seq: int
    provider_time: datetime
    pos_at: datetime


@dataclass(frozen=True, slots=True)
class ParkedEdit:
    """An edit that came before its message."""

    provider_id: str
    edited_at: datetime
    body: Body


@dataclass(frozen=True, slots=True)
class ParkedDeletion:
    """A message that was taken back before it came."""

    provider_id: str
    withdrawn_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedEcho:
    """What was said to the client before any request; it waits for the client to write."""

    provider_id: str
    provider_seq: int
    provider_time: datetime
    contact: ContactCard
    body: Body
    buttons: Buttons
    reply_to: str | None
    quote: Quoted | None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An answer somebody typed elsewhere, unless a report says that it is one of ours."""

    message_id: str
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A conversation after its commit `v`. `messages` are those in hand, never all of them."""

    id: str
    tenant_id: str
    channel_id: str
    channel_kind: str
    v: int = 0
    contact: ContactCard | None = None
    blocked: bool = False
    availability_at: datetime | None = None
    handler: Handler = Handler.OPERATOR
    status: Status = Status.OPEN
    assignee: Person | None = None
    assigned_at: datetime | None = None
    request: Episode | None = None
    last_message: LastLine | None = None
    activity_at: datetime | None = None
    n: int = 0
    in_seq: int = 0
    out_seq: int = 0
    answered_seq: int = 0
    last_pos_at: datetime | None = None
    ours_pos_at: datetime | None = None
    last_answer_n: int = 0
    last_answer_by: str | None = None
    other_answer_n: int = 0
    """The last answer of anybody but `last_answer_by`: with it the guard is exact for every author."""
    elsewhere: tuple[Elsewhere, ...] = ()
    """The last answers typed elsewhere; those above are of authors we know."""
    bot_queued: tuple[str, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    parked_edits: tuple[ParkedEdit, ...] = ()
    parked_echoes: tuple[ParkedEcho, ...] = ()
    parked_deletions: tuple[ParkedDeletion, ...] = ()
    is_shut: bool = False
    """The messenger said that the time to answer is over; the client's next message proves it open."""
    late_shut_at: datetime | None = None
    """When it said so of an answer that only a person could still send."""
    messages: Mapping[str, Message] = field(default_factory=dict)

    @property
    def box(self) -> Box | None:
        """Where the conversation lies; None while nobody has written anything."""
        if self.n == 0:
            return None
        if self.status is Status.CLOSED:
            return Box.DONE
        if self.status is Status.WAITING:
            return Box.WAITING
        if self.handler is Handler.BOT:
            return Box.BOT
        if self.request is not None and self.request.first_reply_at is not None:
            return Box.ACTIVE
        return Box.NEW

    @property
    def is_unanswered(self) -> bool:
        """Whether it can count as unread for somebody."""
        waits_for_a_person = self.status is not Status.CLOSED and self.handler is Handler.OPERATOR
        return waits_for_a_person and self.in_seq > self.answered_seq

    @property
    def needs_request(self) -> bool:
        """Whether the next message opens a request and so needs a number."""
        return self.request is None or self.status is Status.CLOSED

    def with_messages(self, messages: Iterable[Message]) -> State:
        """The same with more messages in hand; those in hand already win, being as new or newer."""
        found = {message.id: message for message in messages}
        return replace(self, messages={**found, **self.messages}) if found else self

    def keeping(self, count: int, changed_after: int) -> State:
        """The same with the last `count` messages in hand, and those changed after that commit.

        Done only when it is worth a copy.
        """
        if len(self.messages) <= 3 * count:
            return self
        changed = {id_: message for id_, message in self.messages.items() if message.rev > changed_after}
        if 2 * len(changed) > len(self.messages):
            return self
        last = sorted(self.messages.values(), key=_by_n)[-count:]
        return replace(self, messages=changed | {message.id: message for message in last})


class Draft:
    """A conversation while one commit is made, changed in place. Nobody keeps one.

    A copy of the whole State for every event was a tenth of what a message costs.
    """

    def __init__(self, state: State) -> None:
        self.id = state.id
        self.tenant_id = state.tenant_id
        self.channel_id = state.channel_id
        self.channel_kind = state.channel_kind
        self.v = state.v
        self.contact = state.contact
        self.blocked = state.blocked
        self.availability_at = state.availability_at
        self.handler = state.handler
        self.status = state.status
        self.assignee = state.assignee
        self.assigned_at = state.assigned_at
        self.request = state.request
        self.last_message = state.last_message
        self.activity_at = state.activity_at
        self.n = state.n
        self.in_seq = state.in_seq
        self.out_seq = state.out_seq
        self.answered_seq = state.answered_seq
        self.last_pos_at = state.last_pos_at
        self.ours_pos_at = state.ours_pos_at
        self.last_answer_n = state.last_answer_n
        self.last_answer_by = state.last_answer_by
        self.other_answer_n = state.other_answer_n
        self.elsewhere = state.elsewhere
        self.bot_queued = state.bot_queued
        self.arrivals = state.arrivals
        self.parked_edits = state.parked_edits
        self.parked_echoes = state.parked_echoes
        self.parked_deletions = state.parked_deletions
        self.is_shut = state.is_shut
        self.late_shut_at = state.late_shut_at
        self.messages = dict(state.messages)

    def state(self) -> State:
        """What it has become; the draft must not be used after that."""
        return State(
            id=self.id,
            tenant_id=self.tenant_id,
            channel_id=self.channel_id,
            channel_kind=self.channel_kind,
            v=self.v,
            contact=self.contact,
            blocked=self.blocked,
            availability_at=self.availability_at,
            handler=self.handler,
            status=self.status,
            assignee=self.assignee,
            assigned_at=self.assigned_at,
            request=self.request,
            last_message=self.last_message,
            activity_at=self.activity_at,
            n=self.n,
            in_seq=self.in_seq,
            out_seq=self.out_seq,
            answered_seq=self.answered_seq,
            last_pos_at=self.last_pos_at,
            ours_pos_at=self.ours_pos_at,
            last_answer_n=self.last_answer_n,
            last_answer_by=self.last_answer_by,
            other_answer_n=self.other_answer_n,
            elsewhere=self.elsewhere,
            bot_queued=self.bot_queued,
            arrivals=self.arrivals,
            parked_edits=self.parked_edits,
            parked_echoes=self.parked_echoes,
            parked_deletions=self.parked_deletions,
            is_shut=self.is_shut,
            late_shut_at=self.late_shut_at,
            messages=self.messages,
        )

    @property
    def needs_request(self) -> bool:
        """Whether the next message opens a request and so needs a number."""
        return self.request is None or self.status is Status.CLOSED


Known = State | Draft
"""What `decide` reads: a conversation at rest, or one in the middle of a commit."""


def _by_n(message: Message) -> int:
    return message.n


STATE: Final[TypeAdapter[State]] = TypeAdapter(State)
MESSAGE: Final[TypeAdapter[Message]] = TypeAdapter(Message)
