"""The rules of a conversation: two pure functions, `decide` and `apply`, and the words they speak.

The log of events is the truth. `decide` turns a command into events or a refusal, knowing one version of
the conversation; `apply` says what an event changes. What `apply` does to a message may be done again to a
message that already has it: a crash between the writes of two projections leaves such messages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from msgkit.contracts.events import (
    ContactAvailability,
    Content,
    DeliveryReported,
    MessageEdited,
    MessageReceived,
)
from msgkit.contracts.ids import derived_id
from msgkit.contracts.words import (
    STATE_RANK,
    AuthorKind,
    Box,
    Direction,
    FailureCode,
    Handler,
    MessageKind,
    MessageState,
    Status,
)

LATE_AFTER: Final = timedelta(minutes=2)
"""A message that reached us this long after it was written says when it was written."""
PARKED_EDITS: Final = 100
"""Edits kept for messages that have not come; the oldest give way."""
RECENT_ARRIVALS: Final = 8
"""Inbound messages of the last two seconds remembered for the order within one second of the provider."""
ARRIVAL_SPACING: Final = timedelta(milliseconds=16)
BLOCKED_LINE: Final = "Бот заблоковано користувачем!"

View = dict[str, Any]
"""A view of msgkit.contracts.views as plain values, ready to be serialised once.

Words are plain strings: the serialiser takes thirty times as long for a member of an enumeration.
"""


# ---------------------------------------------------------------- what there is


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ContactCard:
    key: str
    name: str
    username: str | None
    phone: str | None
    language: str | None


@dataclass(frozen=True, slots=True)
class Author:
    kind: AuthorKind
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a message; `ref` is what its connector needs to fetch it."""

    id: str
    ref: str
    kind: MessageKind
    name: str | None
    mime: str | None
    size: int | None
    width: int | None
    height: int | None
    duration_s: float | None
    state: str = "pending"


@dataclass(frozen=True, slots=True)
class Entity:
    kind: str
    offset: int
    length: int
    url: str | None


@dataclass(frozen=True, slots=True)
class Body:
    """What a message says."""

    kind: MessageKind
    text: str
    entities: tuple[Entity, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    unsupported: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """What a message said before, and since when."""

    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Quoted:
    text: str
    author: str


@dataclass(frozen=True, slots=True)
class Fault:
    code: FailureCode
    text: str


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
    bot_queued: tuple[str, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    parked_edits: tuple[ParkedEdit, ...] = ()
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

    def keeping(self, count: int) -> State:
        """The same with only the last `count` messages in hand; done only when it is worth a copy."""
        if len(self.messages) <= 3 * count:
            return self
        kept = sorted(self.messages.values(), key=_by_n)[-count:]
        return replace(self, messages={message.id: message for message in kept})


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
        self.bot_queued = state.bot_queued
        self.arrivals = state.arrivals
        self.parked_edits = state.parked_edits
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
            bot_queued=self.bot_queued,
            arrivals=self.arrivals,
            parked_edits=self.parked_edits,
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


# ---------------------------------------------------------------- what happened


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOpened:
    dedupe_id: str
    request_id: str
    number: int
    handler: Handler
    type: Literal["request.opened"] = "request.opened"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCame:
    dedupe_id: str
    message_id: str
    n: int
    contact: ContactCard
    provider_id: str
    provider_seq: int
    provider_time: datetime
    pos_at: datetime
    late: bool
    body: Body
    reply_to: str | None
    quote: Quoted | None
    start_payload: str | None
    group_id: str | None
    webhook_id: str
    raw: str | None
    type: Literal["message.came"] = "message.came"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    dedupe_id: str
    message_id: str
    edited_at: datetime
    body: Body
    type: Literal["message.edited"] = "message.edited"


@dataclass(frozen=True, slots=True, kw_only=True)
class EditParked:
    dedupe_id: str
    edit: ParkedEdit
    type: Literal["edit.parked"] = "edit.parked"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOrdered:
    dedupe_id: str
    message_id: str
    n: int
    out_seq: int
    author: Author
    client_msg_id: str | None
    body_hash: str | None
    text: str
    pos_at: datetime
    contact_key: str
    reply_to: str | None
    quote: Quoted | None
    reply_to_provider_id: str | None
    type: Literal["answer.ordered"] = "answer.ordered"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteWritten:
    dedupe_id: str
    message_id: str
    n: int
    author: Author
    client_msg_id: str
    body_hash: str
    text: str
    pos_at: datetime
    type: Literal["note.written"] = "note.written"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryChanged:
    dedupe_id: str
    message_id: str
    state: MessageState
    provider_ids: tuple[str, ...]
    failure: Fault | None
    type: Literal["delivery.changed"] = "delivery.changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactBlocked:
    dedupe_id: str
    message_id: str
    n: int
    text: str
    pos_at: datetime
    happened_at: datetime
    type: Literal["contact.blocked"] = "contact.blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactReturned:
    dedupe_id: str
    happened_at: datetime
    type: Literal["contact.returned"] = "contact.returned"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """A person took the dialogue from the bot; `cancelled` are the bot's answers not yet sent."""

    dedupe_id: str
    by: Person
    cancelled: tuple[str, ...]
    type: Literal["dialogue.taken_over"] = "dialogue.taken_over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    dedupe_id: str
    by: Person
    type: Literal["conversation.claimed"] = "conversation.claimed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSet:
    dedupe_id: str
    status: Status
    by: Person
    type: Literal["status.set"] = "status.set"


Event = Annotated[
    RequestOpened
    | MessageCame
    | Edited
    | EditParked
    | AnswerOrdered
    | NoteWritten
    | DeliveryChanged
    | ContactBlocked
    | ContactReturned
    | TakenOver
    | Claimed
    | StatusSet,
    Field(discriminator="type"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One insert of the log. `relayed` False: its writer does not own the partition, or it holds orders."""

    tenant_id: str
    conversation_id: str
    channel_id: str
    channel_kind: str
    v: int
    events: tuple[Event, ...]
    at: datetime
    partition: int
    relayed: bool
    received_at: datetime | None = None
    trace: str | None = None


COMMIT: Final[TypeAdapter[Commit]] = TypeAdapter(Commit)
STATE: Final[TypeAdapter[State]] = TypeAdapter(State)
MESSAGE: Final[TypeAdapter[Message]] = TypeAdapter(Message)


# ---------------------------------------------------------------- what is wanted


@dataclass(frozen=True, slots=True)
class Moment:
    """Which commit is being decided: its version, its time, and the next number for a request."""

    v: int
    at: datetime
    number: int = 0


@dataclass(frozen=True, slots=True)
class Door:
    """What a decision must know of the channel."""

    bot_enabled: bool = False
    connected: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PostReply:
    author: Author
    client_msg_id: str
    text: str
    reply_to: str | None = None
    seen_n: int | None = None
    force: bool = False
    note: bool = False


@dataclass(frozen=True, slots=True)
class SetStatus:
    status: Status
    by: Person


@dataclass(frozen=True, slots=True)
class Claim:
    by: Person


Fact = MessageReceived | MessageEdited | ContactAvailability | DeliveryReported
Command = Fact | PostReply | SetStatus | Claim


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing happens. `code` is the machine's word of contract.md; `detail` says what to do next."""

    status: int
    code: str
    detail: str


Decision = tuple[Event, ...] | Refusal
NOTHING: Final[tuple[Event, ...]] = ()


def _came_key(conversation_id: str, provider_id: str) -> str:
    # Of the conversation, not of the channel: some messengers number messages within a dialogue only.
    return f"in:{conversation_id}:{provider_id}"


def inbound_message_id(conversation_id: str, provider_id: str) -> str:
    """The id of the message a provider's id stands for: known without asking anybody."""
    return derived_id("message", conversation_id, _came_key(conversation_id, provider_id))


def reply_message_id(conversation_id: str, author_id: str, client_msg_id: str) -> str:
    """The id of an answer or note: the same for every repeat of the same send."""
    return derived_id("message", conversation_id, f"send:{author_id}:{client_msg_id}")


def dedupe_id(command: Command) -> str | None:
    """The key under which this command may take effect only once; None if its state decides alone."""
    match command:
        case MessageReceived():
            return _came_key(command.conversation_id, command.provider_id)
        case MessageEdited():
            # The provider's clock is too coarse to tell two edits of one second apart; the content does.
            fingerprint = hashlib.sha256(command.content.model_dump_json().encode()).hexdigest()[:12]
            at_ms = int(command.edited_at.timestamp() * 1000)
            return f"edit:{command.conversation_id}:{command.provider_id}:{at_ms}:{fingerprint}"
        case ContactAvailability():
            return f"availability:{command.event_id}"
        case DeliveryReported():
            return f"status:{command.message_id}:{STATE_RANK[command.state]}"
        case PostReply():
            return f"send:{command.author.id}:{command.client_msg_id}"
        case _:
            return None


def referenced_ids(conversation_id: str, command: Command) -> tuple[str, ...]:
    """The messages `decide` must have in hand to decide this command."""
    match command:
        case MessageEdited():
            return (inbound_message_id(conversation_id, command.provider_id),)
        case DeliveryReported():
            return (command.message_id,)
        case MessageReceived() if command.reply_to_provider_id is not None:
            return (inbound_message_id(conversation_id, command.reply_to_provider_id),)
        case PostReply():
            own = reply_message_id(conversation_id, command.author.id or "", command.client_msg_id)
            return (own,) if command.reply_to is None else (own, command.reply_to)
        case _:
            return ()


def created_ids(events: Iterable[Event]) -> set[str]:
    """The messages these events make."""
    return touched_ids(events)[0]


def changed_ids(events: Iterable[Event]) -> set[str]:
    """The messages that must be in hand to apply these events: changed, but not made by them."""
    return touched_ids(events)[1]


def touched_ids(events: Iterable[Event]) -> tuple[set[str], set[str]]:
    """Both of the above."""
    created: set[str] = set()
    changed: set[str] = set()
    for event in events:
        if isinstance(event, _MAKES_A_MESSAGE):
            created.add(event.message_id)
        elif isinstance(event, _CHANGES_A_MESSAGE):
            changed.add(event.message_id)
    return created, changed - created


_MAKES_A_MESSAGE: Final = (MessageCame, AnswerOrdered, NoteWritten, ContactBlocked)
_CHANGES_A_MESSAGE: Final = (Edited, DeliveryChanged)


# ---------------------------------------------------------------- decide


def decide(  # noqa: PLR0911  # one line per command
    state: Known, command: Command, moment: Moment, door: Door
) -> Decision:
    """What follows from a command on this version of the conversation.

    Args:
        state: the conversation, with the messages of `referenced_ids` in hand as far as they exist.
        command: what came or is wanted.
        moment: the commit this decision will be part of; `moment.number` must be a fresh request number
            if `state.needs_request`.
        door: the channel.
    """
    match command:
        case MessageReceived():
            return _receive(state, command, moment, door)
        case MessageEdited():
            return _edit(state, command)
        case ContactAvailability():
            return _availability(state, command, moment)
        case DeliveryReported():
            return _report(state, command, moment)
        case PostReply():
            return _post_reply(state, command, moment, door)
        case SetStatus():
            return _set_status(state, command, moment)
        case Claim():
            return _claim(state, command, moment)


def _receive(state: Known, command: MessageReceived, moment: Moment, door: Door) -> Decision:
    key = _came_key(state.id, command.provider_id)
    message_id = derived_id("message", state.id, key)
    if message_id in state.messages:
        return NOTHING
    sent_at = _to_ms(command.sent_at)
    events: list[Event] = []
    if state.needs_request:
        handler = Handler.BOT if door.bot_enabled else Handler.OPERATOR
        events.append(_open_request(state, key, moment, handler))
    if state.blocked and (state.availability_at is None or sent_at >= state.availability_at):
        events.append(ContactReturned(dedupe_id=f"return:{key}", happened_at=sent_at))
    reply_to, quote = _quoted(state, command)
    body = _to_body(command.content, message_id)
    contact = command.contact
    events.append(
        MessageCame(
            dedupe_id=key,
            message_id=message_id,
            n=state.n + 1,
            contact=ContactCard(contact.key, contact.name, contact.username, contact.phone, contact.language),
            provider_id=command.provider_id,
            provider_seq=command.provider_seq,
            provider_time=sent_at,
            pos_at=_inbound_position(state, sent_at, command.provider_seq, moment.at),
            late=command.recorded_at - command.sent_at > LATE_AFTER,
            body=body,
            reply_to=reply_to,
            quote=quote,
            start_payload=command.start_payload,
            group_id=command.group_id,
            webhook_id=command.webhook_id,
            # Of what we cannot show yet, the provider's own element stays with the message.
            raw=command.raw if body.kind is MessageKind.UNSUPPORTED else None,
        )
    )
    if state.parked_edits:
        events += _parked_for(state, command.provider_id, message_id, body)
    return tuple(events)


def _parked_for(state: Known, provider_id: str, message_id: str, body: Body) -> list[Event]:
    """The edits that waited for this message, in their order, without those that change nothing."""
    events: list[Event] = []
    waiting = [edit for edit in state.parked_edits if edit.provider_id == provider_id]
    for index, edit in enumerate(sorted(waiting, key=lambda edit: edit.edited_at)):
        if edit.body == body:
            continue
        body = edit.body
        events.append(
            Edited(
                dedupe_id=f"edit-applied:{message_id}:{index}",
                message_id=message_id,
                edited_at=edit.edited_at,
                body=body,
            )
        )
    return events


def _inbound_position(state: Known, sent_at: datetime, provider_seq: int, now: datetime) -> datetime:
    """The provider's time, between the last message of ours and now, in the provider's order.

    Messengers tell seconds: messages of one second stand a little apart, so that one that comes late finds
    room between its neighbours. Nobody stands before one the provider put before them.
    """
    earliest = state.ours_pos_at or sent_at
    position = max(min(sent_at, now), earliest)
    below: datetime | None = None
    above: datetime | None = None
    place = (sent_at, provider_seq)
    for arrival in state.arrivals:
        at = arrival.pos_at
        if (arrival.provider_time, arrival.provider_seq) < place:
            if below is None or at > below:
                below = at
            if arrival.provider_time == sent_at and (spaced := at + ARRIVAL_SPACING) > position:
                position = spaced
        elif above is None or at < above:
            above = at
    if below is not None:
        position = max(position, below)
    if above is not None and position >= above:
        room = above - (below if below is not None else above - 2 * ARRIVAL_SPACING)
        position = max(_whole_ms(above - room / 2), earliest)
    # `now` does not go back behind anything that stands, so this keeps the order too.
    return min(position, max(now, below or now))


def _whole_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _quoted(state: Known, command: MessageReceived) -> tuple[str | None, Quoted | None]:
    provider_id = command.reply_to_provider_id
    if provider_id is None:
        return None, None
    found = state.messages.get(inbound_message_id(state.id, provider_id))
    if found is None:
        ours = (message for message in state.messages.values() if provider_id in message.provider_ids)
        found = next(ours, None)
    if found is None:
        return None, None
    return found.id, _quote_of(found)


def _quote_of(message: Message) -> Quoted:
    return Quoted(message.body.text[:200], message.author.name or "")


def _edit(state: Known, command: MessageEdited) -> Decision:
    key = dedupe_id(command)
    assert key is not None
    message_id = inbound_message_id(state.id, command.provider_id)
    edited_at = _to_ms(command.edited_at)
    body = _to_body(command.content, message_id)
    message = state.messages.get(message_id)
    if message is None:
        parked = ParkedEdit(command.provider_id, edited_at, body)
        return NOTHING if parked in state.parked_edits else (EditParked(dedupe_id=key, edit=parked),)
    is_newer = message.edited_at is None or edited_at >= message.edited_at
    if is_newer and body == message.body:
        return NOTHING  # a messenger reports an "edit" for a reaction or a keyboard, too
    if Version(body.text, edited_at) in message.versions:
        return NOTHING
    return (Edited(dedupe_id=key, message_id=message_id, edited_at=edited_at, body=body),)


def _availability(state: Known, command: ContactAvailability, moment: Moment) -> Decision:
    happened_at = _to_ms(command.happened_at)
    is_old = state.availability_at is not None and happened_at < state.availability_at
    if state.n == 0 or is_old or command.available is not state.blocked:
        return NOTHING
    key = f"availability:{command.event_id}"
    if command.available:
        return (ContactReturned(dedupe_id=key, happened_at=happened_at),)
    return (_block(state, key, happened_at, moment),)


def _block(state: Known, key: str, happened_at: datetime, moment: Moment, n_ahead: int = 0) -> ContactBlocked:
    return ContactBlocked(
        dedupe_id=key,
        message_id=derived_id("message", state.id, key),
        n=state.n + n_ahead + 1,
        text=BLOCKED_LINE,
        pos_at=_own_position(state, moment),
        happened_at=happened_at,
    )


def _report(state: Known, command: DeliveryReported, moment: Moment) -> Decision:
    message = state.messages.get(command.message_id)
    if message is None or message.direction is not Direction.OUT:
        return Refusal(404, "message_not_found", "Звіт про повідомлення, якого немає в цьому чаті.")
    events: list[Event] = []
    if STATE_RANK[command.state] > STATE_RANK[message.state]:
        failure = command.failure
        events.append(
            DeliveryChanged(
                dedupe_id=f"status:{command.message_id}:{STATE_RANK[command.state]}",
                message_id=message.id,
                state=command.state,
                provider_ids=tuple(command.provider_ids),
                failure=None if failure is None else Fault(failure.code, failure.text),
            )
        )
    happened_at = _to_ms(command.happened_at)
    is_old = state.availability_at is not None and happened_at < state.availability_at
    if command.contact_blocked and not state.blocked and not is_old:
        events.append(_block(state, f"blocked-by:{message.id}", happened_at, moment))
    return tuple(events)


def _post_reply(state: Known, command: PostReply, moment: Moment, door: Door) -> Decision:
    author_id = command.author.id or ""
    fingerprint = body_hash(command)
    message_id = reply_message_id(state.id, author_id, command.client_msg_id)
    existing = state.messages.get(message_id)
    if existing is not None:
        if existing.body_hash == fingerprint:
            return NOTHING
        return Refusal(
            422, "client_msg_id_reused", "Цей ключ уже має інше повідомлення. Надішліть з новим ключем."
        )
    refusal = _refuse_reply(state, command, door)
    if refusal is not None:
        return refusal
    key = f"send:{author_id}:{command.client_msg_id}"
    if command.note:
        return (
            NoteWritten(
                dedupe_id=key,
                message_id=message_id,
                n=state.n + 1,
                author=command.author,
                client_msg_id=command.client_msg_id,
                body_hash=fingerprint,
                text=command.text,
                pos_at=_own_position(state, moment),
            ),
        )
    events: list[Event] = []
    if state.needs_request:
        events.append(_open_request(state, key, moment, Handler.OPERATOR))
    elif state.handler is Handler.BOT and command.author.kind is AuthorKind.OPERATOR:
        by = Person(author_id, command.author.name or "")
        events.append(TakenOver(dedupe_id=f"takeover:{key}", by=by, cancelled=state.bot_queued))
    target = state.messages.get(command.reply_to) if command.reply_to is not None else None
    assert state.contact is not None  # a conversation with messages has its contact
    events.append(
        AnswerOrdered(
            dedupe_id=key,
            message_id=message_id,
            n=state.n + 1,
            out_seq=state.out_seq + 1,
            author=command.author,
            client_msg_id=command.client_msg_id,
            body_hash=fingerprint,
            text=command.text,
            pos_at=_own_position(state, moment),
            contact_key=state.contact.key,
            reply_to=None if target is None else target.id,
            quote=None if target is None else _quote_of(target),
            reply_to_provider_id=target.provider_ids[0] if target and target.provider_ids else None,
        )
    )
    return tuple(events)


def _refuse_reply(  # noqa: PLR0911  # one line per reason
    state: Known, command: PostReply, door: Door
) -> Refusal | None:
    if state.n == 0 or state.contact is None:
        return Refusal(404, "not_found", "Немає такого чату.")
    if not command.text.strip():
        return Refusal(422, "invalid", "Порожнє повідомлення. Напишіть текст.")
    if command.reply_to is not None and command.reply_to not in state.messages:
        return Refusal(422, "reply_to_not_found", "У цьому чаті немає повідомлення, на яке ви відповідаєте.")
    if command.note:
        return None
    if state.blocked:
        return Refusal(409, "bot_blocked", "Клієнт заблокував бота. Напишіть йому іншим каналом.")
    if not door.connected:
        return Refusal(
            409, "channel_disconnected", "Канал не підключено. Адміністратор має підключити його знову."
        )
    if command.seen_n is not None and not command.force:
        others_n = state.other_answer_n if state.last_answer_by == command.author.id else state.last_answer_n
        if others_n > command.seen_n:
            return Refusal(
                409, "colleague_replied", "Колега вже відповів. Прочитайте і надішліть ще раз, якщо треба."
            )
    return None


def _set_status(state: Known, command: SetStatus, moment: Moment) -> Decision:
    if state.n == 0:
        return Refusal(404, "not_found", "Немає такого чату.")
    if state.status is command.status:
        return NOTHING
    key = f"status-set:{state.id}:{moment.v}"
    return (StatusSet(dedupe_id=key, status=command.status, by=command.by),)


def _claim(state: Known, command: Claim, moment: Moment) -> Decision:
    if state.n == 0:
        return Refusal(404, "not_found", "Немає такого чату.")
    if state.status is Status.CLOSED:
        return Refusal(409, "conversation_closed", "Чат завершено. Відкрийте його або напишіть клієнту.")
    if state.assignee is not None and state.assignee.id != command.by.id:
        return Refusal(409, "assigned_to_other", "Чат уже взяв колега.")
    events: list[Event] = []
    if state.handler is Handler.BOT:
        key = f"takeover:{state.id}:{moment.v}"
        events.append(TakenOver(dedupe_id=key, by=command.by, cancelled=state.bot_queued))
    if state.assignee is None:
        events.append(Claimed(dedupe_id=f"claim:{state.id}:{moment.v}", by=command.by))
    return tuple(events)


def _open_request(state: Known, cause: str, moment: Moment, handler: Handler) -> RequestOpened:
    request_id = derived_id("request", state.id, cause)
    return RequestOpened(
        dedupe_id=f"request:{request_id}", request_id=request_id, number=moment.number, handler=handler
    )


def _own_position(state: Known, moment: Moment) -> datetime:
    """Ours stand at their commit time, never before what is there: clocks of replicas differ."""
    return moment.at if state.last_pos_at is None else max(moment.at, state.last_pos_at)


def body_hash(command: PostReply) -> str:
    """What must be equal for a repeat of a send; what its author had seen is not part of it."""
    words = json.dumps([command.text, command.reply_to, command.note], ensure_ascii=False)
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def _to_body(content: Content, message_id: str) -> Body:
    media = content.media
    return Body(
        kind=content.kind,
        text=content.text,
        entities=tuple(Entity(e.kind, e.offset, e.length, e.url) for e in content.entities)
        if content.entities
        else (),
        attachments=tuple(
            Attachment(
                id=derived_id("attachment", message_id, str(index), ref.ref),
                ref=ref.ref,
                kind=ref.kind,
                name=ref.name,
                mime=ref.mime,
                size=ref.size_bytes,
                width=ref.width,
                height=ref.height,
                duration_s=ref.duration_s,
            )
            for index, ref in enumerate(media)
        )
        if media
        else (),
        unsupported=content.unsupported,
    )


def _to_ms(at: datetime) -> datetime:
    """Cut to milliseconds, in UTC: what the store keeps, so that a value equals itself after a reading."""
    return at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)


# ---------------------------------------------------------------- apply


def apply(state: State, event: Event, moment: Moment) -> State:
    """The conversation after this event of commit `moment.v`.

    The messages of `changed_ids` must be in hand.
    """
    draft = Draft(state)
    take(draft, event, moment)
    return draft.state()


def fold(state: State, commit: Commit) -> State:
    """The conversation after this commit, which must be the next one."""
    if commit.v != state.v + 1:
        raise ValueError(f"commit {commit.v} of {state.id} cannot follow {state.v}: the log has a gap")
    return apply_all(state, commit.events, Moment(commit.v, commit.at))


def apply_all(state: State, events: Iterable[Event], moment: Moment) -> State:
    """The conversation after all events of one commit."""
    draft = Draft(state)
    for event in events:
        take(draft, event, moment)
    draft.v = moment.v
    return draft.state()


def take(draft: Draft, event: Event, moment: Moment) -> None:
    """What `apply` does, in place: for who decides the next command of the same commit on it."""
    _APPLY[type(event)](draft, event, moment)


def _on_request_opened(draft: Draft, event: RequestOpened, moment: Moment) -> None:
    draft.request = Episode(event.request_id, event.number, moment.at)
    draft.status = Status.OPEN
    draft.handler = event.handler
    draft.assignee = None


def _on_message_came(draft: Draft, event: MessageCame, moment: Moment) -> None:
    in_seq = draft.in_seq + 1
    message = Message(
        id=event.message_id,
        tenant_id=draft.tenant_id,
        channel_id=draft.channel_id,
        conversation_id=draft.id,
        request_id=_request_id(draft),
        n=event.n,
        in_seq=in_seq,
        pos_at=event.pos_at,
        direction=Direction.IN,
        author=Author(AuthorKind.CLIENT, event.contact.key, event.contact.name),
        body=event.body,
        provider_time=event.provider_time,
        created_at=moment.at,
        state=MessageState.DELIVERED,
        rev=moment.v,
        reply_to=event.reply_to,
        quote=event.quote,
        provider_ids=(event.provider_id,),
        group_id=event.group_id,
        late=event.late,
    )
    if draft.parked_edits:
        draft.parked_edits = tuple(
            edit for edit in draft.parked_edits if edit.provider_id != event.provider_id
        )
    draft.contact = event.contact
    if draft.status is Status.WAITING:
        draft.status = Status.OPEN
    if not draft.blocked:
        draft.availability_at = _later(draft.availability_at, event.provider_time)
    draft.in_seq = in_seq
    draft.arrivals = _with_arrival(draft.arrivals, event)
    _add(draft, message, moment)


def _with_arrival(arrivals: tuple[Arrival, ...], event: MessageCame) -> tuple[Arrival, ...]:
    arrival = Arrival(event.provider_seq, event.provider_time, event.pos_at)
    if not arrivals:
        return (arrival,)
    since = event.provider_time - timedelta(seconds=2)
    recent = [one for one in arrivals[1 - RECENT_ARRIVALS :] if one.provider_time >= since]
    return (*recent, arrival)


def _on_edited(draft: Draft, event: Edited, moment: Moment) -> None:
    message = draft.messages[event.message_id]
    since = message.edited_at or message.provider_time
    versions = [*message.versions, Version(message.body.text, since)]
    told = Version(event.body.text, event.edited_at)
    if told in versions:
        return
    if message.edited_at is None or event.edited_at >= message.edited_at:
        changed = replace(
            message, body=event.body, edited_at=event.edited_at, versions=tuple(versions), rev=moment.v
        )
    else:  # an older edit came later: it belongs to the past
        past = sorted([*message.versions, told], key=lambda version: version.at)
        changed = replace(message, versions=tuple(past), rev=moment.v)
    _change(draft, changed)


def _on_edit_parked(draft: Draft, event: EditParked, _moment: Moment) -> None:
    draft.parked_edits = (*draft.parked_edits, event.edit)[-PARKED_EDITS:]


def _on_answer_ordered(draft: Draft, event: AnswerOrdered, moment: Moment) -> None:
    message = _own_message(
        draft,
        moment,
        id_=event.message_id,
        n=event.n,
        pos_at=event.pos_at,
        direction=Direction.OUT,
        author=event.author,
        text=event.text,
        state=MessageState.QUEUED,
    )
    message = replace(
        message,
        client_msg_id=event.client_msg_id,
        body_hash=event.body_hash,
        reply_to=event.reply_to,
        quote=event.quote,
    )
    _add(draft, message, moment)
    draft.out_seq = event.out_seq
    draft.ours_pos_at = event.pos_at
    if draft.last_answer_by != event.author.id:
        draft.other_answer_n = draft.last_answer_n
    draft.last_answer_n = event.n
    draft.last_answer_by = event.author.id
    if event.author.kind is not AuthorKind.OPERATOR:
        draft.bot_queued = (*draft.bot_queued, message.id)
        return
    if draft.request is not None and draft.request.first_reply_at is None:
        draft.request = replace(draft.request, first_reply_at=moment.at)
    draft.handler = Handler.OPERATOR
    draft.answered_seq = draft.in_seq
    draft.assignee = draft.assignee or Person(event.author.id or "", event.author.name or "")


def _on_note_written(draft: Draft, event: NoteWritten, moment: Moment) -> None:
    message = _own_message(
        draft,
        moment,
        id_=event.message_id,
        n=event.n,
        pos_at=event.pos_at,
        direction=Direction.NOTE,
        author=event.author,
        text=event.text,
        state=MessageState.DELIVERED,
    )
    _add(draft, replace(message, client_msg_id=event.client_msg_id, body_hash=event.body_hash), moment)


def _on_delivery_changed(draft: Draft, event: DeliveryChanged, moment: Moment) -> None:
    message = draft.messages[event.message_id]
    if STATE_RANK[event.state] <= STATE_RANK[message.state]:
        return
    if draft.bot_queued:
        draft.bot_queued = tuple(id_ for id_ in draft.bot_queued if id_ != message.id)
    known = message.provider_ids
    changed = replace(
        message,
        state=event.state,
        provider_ids=(*known, *(id_ for id_ in event.provider_ids if id_ not in known)),
        failure=event.failure,
        rev=moment.v,
    )
    _change(draft, changed)


def _on_contact_blocked(draft: Draft, event: ContactBlocked, moment: Moment) -> None:
    message = _own_message(
        draft,
        moment,
        id_=event.message_id,
        n=event.n,
        pos_at=event.pos_at,
        direction=Direction.SYSTEM,
        author=Author(AuthorKind.SYSTEM),
        text=event.text,
        state=MessageState.DELIVERED,
    )
    _add(draft, message, moment)
    draft.blocked = True
    draft.availability_at = _later(draft.availability_at, event.happened_at)


def _on_contact_returned(draft: Draft, event: ContactReturned, _moment: Moment) -> None:
    draft.blocked = False
    draft.availability_at = _later(draft.availability_at, event.happened_at)


def _on_taken_over(draft: Draft, event: TakenOver, _moment: Moment) -> None:
    cancelled = frozenset(event.cancelled)
    draft.handler = Handler.OPERATOR
    draft.assignee = draft.assignee or event.by
    draft.bot_queued = tuple(id_ for id_ in draft.bot_queued if id_ not in cancelled)


def _on_claimed(draft: Draft, event: Claimed, _moment: Moment) -> None:
    draft.assignee = event.by


def _on_status_set(draft: Draft, event: StatusSet, _moment: Moment) -> None:
    draft.status = event.status
    if event.status is Status.CLOSED:
        draft.answered_seq = draft.in_seq


_APPLY: Final[Mapping[type[Any], Callable[[Draft, Any, Moment], None]]] = {
    RequestOpened: _on_request_opened,
    MessageCame: _on_message_came,
    Edited: _on_edited,
    EditParked: _on_edit_parked,
    AnswerOrdered: _on_answer_ordered,
    NoteWritten: _on_note_written,
    DeliveryChanged: _on_delivery_changed,
    ContactBlocked: _on_contact_blocked,
    ContactReturned: _on_contact_returned,
    TakenOver: _on_taken_over,
    Claimed: _on_claimed,
    StatusSet: _on_status_set,
}


def _own_message(
    draft: Draft,
    moment: Moment,
    *,
    id_: str,
    n: int,
    pos_at: datetime,
    direction: Direction,
    author: Author,
    text: str,
    state: MessageState,
) -> Message:
    return Message(
        id=id_,
        tenant_id=draft.tenant_id,
        channel_id=draft.channel_id,
        conversation_id=draft.id,
        request_id=_request_id(draft),
        n=n,
        in_seq=draft.in_seq,
        pos_at=pos_at,
        direction=direction,
        author=author,
        body=Body(MessageKind.TEXT, text),
        provider_time=moment.at,
        created_at=moment.at,
        state=state,
        rev=moment.v,
    )


def _add(draft: Draft, message: Message, moment: Moment) -> None:
    draft.n = message.n
    draft.last_message = _last_line(message)
    draft.activity_at = moment.at
    draft.last_pos_at = _later(draft.last_pos_at, message.pos_at)
    draft.messages[message.id] = message


def _change(draft: Draft, message: Message) -> None:
    if draft.last_message is not None and draft.last_message.id == message.id:
        draft.last_message = _last_line(message)
    draft.messages[message.id] = message


def _last_line(message: Message) -> LastLine:
    return LastLine(
        id=message.id,
        n=message.n,
        text=message.body.text[:200],
        kind=message.body.kind,
        direction=message.direction,
        at=message.created_at,
        state=message.state,
    )


def _request_id(draft: Draft) -> str:
    return "" if draft.request is None else draft.request.id


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None or other > one else one


# ---------------------------------------------------------------- views


def message_view(message: Message) -> View:
    """A MessageView as plain values."""
    body = message.body
    return {
        "id": message.id,
        "n": message.n,
        "in_seq": message.in_seq,
        "pos_at": message.pos_at,
        "conversation_id": message.conversation_id,
        "request_id": message.request_id,
        "client_msg_id": message.client_msg_id,
        "direction": message.direction.value,
        "author": {"kind": message.author.kind.value, "id": message.author.id, "name": message.author.name},
        "kind": body.kind.value,
        "text": body.text,
        "attachments": [_attachment_view(attachment) for attachment in body.attachments],
        "unsupported": body.unsupported,
        "reply_to": message.reply_to,
        "quote": None
        if message.quote is None
        else {"text": message.quote.text, "author": message.quote.author},
        "reactions": [],
        "provider_id": message.provider_ids[0] if message.provider_ids else None,
        "provider_time": message.provider_time,
        "created_at": message.created_at,
        "late": message.late,
        "state": message.state.value,
        "failure": None
        if message.failure is None
        else {"code": message.failure.code.value, "text": message.failure.text},
        "edited": message.edited_at is not None,
        "versions": [{"text": version.text, "at": version.at} for version in message.versions],
        "deleted": False,
        "rev": message.rev,
    }


def _attachment_view(attachment: Attachment) -> View:
    return {
        "id": attachment.id,
        "kind": attachment.kind.value,
        "name": attachment.name,
        "mime": attachment.mime,
        "size": attachment.size,
        "width": attachment.width,
        "height": attachment.height,
        "duration_s": attachment.duration_s,
        "state": attachment.state,
        "url": None,
        "thumb_url": None,
    }


def row_view(state: State, channel_title: str) -> View:
    """A ConversationRow as plain values; only of a conversation with messages."""
    contact, request, last = state.contact, state.request, state.last_message
    name = "" if contact is None else contact.name
    assignee = state.assignee
    return {
        "id": state.id,
        "v": state.v,
        "title": name,
        "channel": {"id": state.channel_id, "kind": state.channel_kind, "title": channel_title},
        "contact": {
            "name": name,
            "username": contact.username if contact else None,
            "phone": contact.phone if contact else None,
            "avatar_url": None,
            "blocked": state.blocked,
        },
        "client": None,
        "handler": state.handler.value,
        "status": state.status.value,
        "box": box.value if (box := state.box) is not None else None,
        "assignee": None if assignee is None else {"id": assignee.id, "name": assignee.name},
        "request": None
        if request is None
        else {
            "id": request.id,
            "number": request.number,
            "opened_at": request.opened_at,
            "first_reply_at": request.first_reply_at,
        },
        "last_message": None
        if last is None
        else {
            "id": last.id,
            "n": last.n,
            "text": last.text,
            "kind": last.kind.value,
            "direction": last.direction.value,
            "at": last.at,
            "state": last.state.value,
        },
        "activity_at": state.activity_at,
        "in_seq": state.in_seq,
        "answered_seq": state.answered_seq,
        "window": {
            "open": not state.blocked,
            "until": None,
            "code": "bot_blocked" if state.blocked else None,
        },
        "rev": state.v,
    }


def unread(state: State, mark: int) -> int:
    """How many messages of the client one operator has not read; any operator's answer reads for all."""
    return max(0, state.in_seq - max(mark, state.answered_seq)) if state.is_unanswered else 0
