"""What an event changes.

What is done to a message may be done again to one that already has it: a crash between the writes of two
projections leaves such messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from inbox.domain.commands import Moment
from inbox.domain.events import (
    AnswerOrdered,
    Claimed,
    Commit,
    ContactBlocked,
    ContactReturned,
    DeliveryChanged,
    Edited,
    EditParked,
    Event,
    MessageCame,
    NoteWritten,
    RequestOpened,
    StatusSet,
    TakenOver,
)
from inbox.domain.state import (
    Arrival,
    Author,
    Body,
    Draft,
    Episode,
    LastLine,
    Message,
    Person,
    State,
    Version,
)
from msgkit.contracts.words import (
    STATE_RANK,
    AuthorKind,
    Direction,
    Handler,
    MessageKind,
    MessageState,
    Status,
)

PARKED_EDITS: Final = 100
"""Edits kept for messages that have not come; the oldest give way."""
RECENT_ARRIVALS: Final = 8
"""Inbound messages of the last two seconds remembered for the order within one second of the provider."""


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
