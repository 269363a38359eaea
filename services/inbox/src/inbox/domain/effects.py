"""What an event changes.

What is done to a message may be done again to one that already has it: a crash between the writes of two
projections leaves such messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from inbox.domain import aftermath, changes, drafting
from inbox.domain.commands import Moment
from inbox.domain.events import (
    AnswerDeleted,
    AnswerEchoed,
    AnswerOrdered,
    AnswerReordered,
    Assigned,
    AttachmentSettled,
    CardChanged,
    Claimed,
    Commit,
    ContactBlocked,
    ContactReturned,
    DeletionParked,
    DeliveryChanged,
    EchoParked,
    EchoReplaced,
    Edited,
    EditParked,
    Event,
    FateDecided,
    FilesRecalled,
    LineWritten,
    MessageCame,
    NoteWritten,
    Reacted,
    Recalled,
    Released,
    RequestOpened,
    ReturnedToBot,
    SendsCancelled,
    StatusSet,
    TakenOver,
    WindowShut,
    Withdrawn,
)
from inbox.domain.pieces import Author, Person
from inbox.domain.state import Arrival, Draft, Elsewhere, Episode, Message, State
from msgkit.contracts.words import (
    AuthorKind,
    Direction,
    Handler,
    MessageState,
    Status,
)

PARKED_EDITS: Final = 100
"""Edits kept for messages that have not come; the oldest give way."""
PARKED_ECHOES: Final = 10
"""Echoes kept until somebody says something; the oldest give way."""
KNOWN_ELSEWHERE: Final = 50
"""Answers typed elsewhere that may still turn out to be ours; reports come within seconds of their echo."""
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
    _hold(draft, None, moment)


def _on_message_came(draft: Draft, event: MessageCame, moment: Moment) -> None:
    in_seq = draft.in_seq + 1
    message = Message(
        id=event.message_id,
        tenant_id=draft.tenant_id,
        channel_id=draft.channel_id,
        conversation_id=draft.id,
        request_id=changes.request_id(draft),
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
        pressed=event.pressed,
    )
    drafting.forget_parked(draft, event.provider_id)
    draft.contact = event.contact
    if draft.status is Status.WAITING:
        draft.status = Status.OPEN
    if not draft.blocked:
        draft.availability_at = drafting.later(draft.availability_at, event.provider_time)
    draft.in_seq = in_seq
    draft.is_shut = False
    draft.late_shut_at = None
    draft.arrivals = _with_arrival(draft.arrivals, event)
    drafting.add(draft, message, moment)


def _with_arrival(arrivals: tuple[Arrival, ...], event: MessageCame) -> tuple[Arrival, ...]:
    arrival = Arrival(event.provider_seq, event.provider_time, event.pos_at)
    if not arrivals:
        return (arrival,)
    since = event.provider_time - timedelta(seconds=2)
    recent = [one for one in arrivals[1 - RECENT_ARRIVALS :] if one.provider_time >= since]
    if len(arrivals) >= RECENT_ARRIVALS and arrivals[0].provider_time > since:
        # Old messages that come late must not push out the newest: the reply window counts from it.
        newest = max(arrivals, key=_provider_time)
        if newest not in recent:
            recent[:1] = [newest]
    return (*recent, arrival)


def _provider_time(arrival: Arrival) -> datetime:
    return arrival.provider_time


def _on_edited(draft: Draft, event: Edited, moment: Moment) -> None:
    message = changes.edited(draft.messages[event.message_id], event, moment)
    drafting.change(draft, message)
    for provider_id in message.provider_ids:
        drafting.forget_parked(draft, provider_id)


def _on_edit_parked(draft: Draft, event: EditParked, _moment: Moment) -> None:
    draft.parked_edits = (*draft.parked_edits, event.edit)[-PARKED_EDITS:]


def _on_answer_ordered(draft: Draft, event: AnswerOrdered, moment: Moment) -> None:
    message = changes.own_message(
        draft,
        moment,
        id_=event.message_id,
        n=event.n,
        pos_at=event.pos_at,
        direction=Direction.OUT,
        author=event.author,
        body=changes.own_body(event.text, event.attachments, event.place, event.shared_contact),
        state=MessageState.QUEUED,
    )
    message = replace(
        message,
        client_msg_id=event.client_msg_id,
        body_hash=event.body_hash,
        reply_to=event.reply_to,
        quote=event.quote,
        reply_to_provider_id=event.reply_to_provider_id,
        buttons=event.buttons,
        template=event.template,
        is_reaction=event.is_reaction,
    )
    draft.out_seq = event.out_seq
    if event.is_reaction:
        # No answer: who has the chat, what is unread, the row and the client's next place stay as they are.
        drafting.add_quietly(draft, message)
        return
    draft.ours_pos_at = event.pos_at
    drafting.add(draft, message, moment)
    _note_author(draft, event.author.id, event.n)
    if event.author.kind is not AuthorKind.OPERATOR:
        draft.bot_queued = (*draft.bot_queued, message.id)
        return
    _note_reply(draft, moment)
    draft.answered_seq = draft.in_seq
    if draft.assignee is None:
        _hold(draft, Person(event.author.id or "", event.author.name or ""), moment)


def _on_answer_echoed(draft: Draft, event: AnswerEchoed, moment: Moment) -> None:
    message = changes.own_message(
        draft,
        moment,
        id_=event.message_id,
        n=event.n,
        pos_at=event.pos_at,
        direction=Direction.OUT,
        author=event.author,
        body=event.body,
        state=MessageState.SENT,
    )
    message = replace(
        message,
        provider_time=event.provider_time,
        provider_ids=(event.provider_id,),
        late=event.late,
        reply_to=event.reply_to,
        quote=event.quote,
        buttons=event.buttons,
    )
    drafting.forget_parked(draft, event.provider_id)
    if draft.contact is None:
        # What the client's own messages say of them is better.
        draft.contact = event.contact
    drafting.add(draft, message, moment)
    draft.ours_pos_at = drafting.later(draft.ours_pos_at, event.pos_at)
    if event.author.kind is not AuthorKind.OPERATOR:
        return
    draft.elsewhere = (*draft.elsewhere, Elsewhere(event.message_id, event.n))[-KNOWN_ELSEWHERE:]
    _note_reply(draft, moment)
    if all(arrival.provider_time <= event.provider_time for arrival in draft.arrivals):
        draft.answered_seq = draft.in_seq


def _on_echo_replaced(draft: Draft, event: EchoReplaced, moment: Moment) -> None:
    echo, ordered = draft.messages[event.message_id], draft.messages[event.ordered_id]
    draft.elsewhere = tuple(one for one in draft.elsewhere if one.message_id != echo.id)
    draft.messages[echo.id] = changes.replaced(echo, ordered, moment)
    ordered = changes.heir(ordered, echo, moment)
    drafting.change(draft, ordered)
    if draft.last_message is not None and draft.last_message.id == echo.id:
        draft.last_message = changes.last_line(ordered)


def _on_echo_parked(draft: Draft, event: EchoParked, _moment: Moment) -> None:
    # By its id: an echo is parked again when a file of it settles.
    parked = {one.provider_id: one for one in draft.parked_echoes} | {event.echo.provider_id: event.echo}
    draft.parked_echoes = tuple(parked.values())[-PARKED_ECHOES:]


def _note_author(draft: Draft, author_id: str | None, n: int) -> None:
    """For the guard against a second answer."""
    if draft.last_answer_by != author_id:
        draft.other_answer_n = draft.last_answer_n
    draft.last_answer_n = n
    draft.last_answer_by = author_id


def _note_reply(draft: Draft, moment: Moment) -> None:
    """A person of ours has answered."""
    if draft.request is not None and draft.request.first_reply_at is None:
        draft.request = replace(draft.request, first_reply_at=moment.at)
    draft.handler = Handler.OPERATOR


def _on_answer_reordered(draft: Draft, event: AnswerReordered, moment: Moment) -> None:
    draft.out_seq = event.out_seq
    drafting.change(draft, changes.reordered(draft.messages[event.message_id], event, moment))


def _on_answer_deleted(draft: Draft, event: AnswerDeleted, moment: Moment) -> None:
    _is_not_queued(draft, event.message_id)
    drafting.change(draft, changes.deleted(draft.messages[event.message_id], event, moment))


def _on_sends_cancelled(_draft: Draft, _event: SendsCancelled, _moment: Moment) -> None:
    """Only connectors have something to do."""


def _on_note_written(draft: Draft, event: NoteWritten, moment: Moment) -> None:
    message = changes.own_message(
        draft,
        moment,
        id_=event.message_id,
        n=event.n,
        pos_at=event.pos_at,
        direction=Direction.NOTE,
        author=event.author,
        body=changes.own_body(event.text, event.attachments),
        state=MessageState.DELIVERED,
    )
    drafting.add(
        draft, replace(message, client_msg_id=event.client_msg_id, body_hash=event.body_hash), moment
    )


def _on_line_written(draft: Draft, event: LineWritten, moment: Moment) -> None:
    message = changes.system_message(draft, event, moment)
    if event.is_in_row:
        drafting.add(draft, message, moment)
        return
    # The row goes on showing the last thing said: who has the chat and where it stands is in it anyway.
    drafting.add_quietly(draft, message)


def _on_delivery_changed(draft: Draft, event: DeliveryChanged, moment: Moment) -> None:
    _is_not_queued(draft, event.message_id)
    drafting.change(draft, changes.reported(draft.messages[event.message_id], event, moment))


def _is_not_queued(draft: Draft, message_id: str) -> None:
    if draft.bot_queued:
        draft.bot_queued = tuple(id_ for id_ in draft.bot_queued if id_ != message_id)


def _on_fate_decided(draft: Draft, event: FateDecided, moment: Moment) -> None:
    drafting.change(draft, changes.fated(draft.messages[event.message_id], event, moment))


def _on_attachment_settled(draft: Draft, event: AttachmentSettled, moment: Moment) -> None:
    drafting.change(draft, changes.settled(draft.messages[event.message_id], event, moment))


def _on_contact_blocked(draft: Draft, event: ContactBlocked, moment: Moment) -> None:
    drafting.add(draft, changes.system_message(draft, event, moment), moment)
    draft.blocked = True
    draft.availability_at = drafting.later(draft.availability_at, event.happened_at)


def _on_contact_returned(draft: Draft, event: ContactReturned, _moment: Moment) -> None:
    draft.blocked = False
    draft.availability_at = drafting.later(draft.availability_at, event.happened_at)


def _on_taken_over(draft: Draft, event: TakenOver, moment: Moment) -> None:
    cancelled = frozenset(event.cancelled)
    draft.handler = Handler.OPERATOR
    if draft.assignee is None and event.by is not None:
        _hold(draft, event.by, moment)
    draft.bot_queued = tuple(id_ for id_ in draft.bot_queued if id_ not in cancelled)


def _on_claimed(draft: Draft, event: Claimed, moment: Moment) -> None:
    _hold(draft, event.by, moment)


def _on_assigned(draft: Draft, event: Assigned, moment: Moment) -> None:
    _hold(draft, event.to, moment)


def _on_released(draft: Draft, _event: Released, moment: Moment) -> None:
    _hold(draft, None, moment)


def _on_returned_to_bot(draft: Draft, _event: ReturnedToBot, moment: Moment) -> None:
    draft.handler = Handler.BOT
    draft.status = Status.OPEN
    _hold(draft, None, moment)


def _hold(draft: Draft, holder: Person | None, moment: Moment) -> None:
    draft.assignee = holder
    draft.assigned_at = None if holder is None else moment.at


def _on_status_set(draft: Draft, event: StatusSet, _moment: Moment) -> None:
    draft.status = event.status
    if event.status is Status.CLOSED:
        draft.answered_seq = draft.in_seq


_APPLY: Final[Mapping[type[Any], Callable[[Draft, Any, Moment], None]]] = {
    RequestOpened: _on_request_opened,
    MessageCame: _on_message_came,
    Edited: _on_edited,
    EditParked: _on_edit_parked,
    Withdrawn: aftermath.on_withdrawn,
    DeletionParked: aftermath.on_deletion_parked,
    Reacted: aftermath.on_reacted,
    Recalled: aftermath.on_recalled,
    FilesRecalled: aftermath.on_files_recalled,
    CardChanged: aftermath.on_card_changed,
    AnswerOrdered: _on_answer_ordered,
    AnswerEchoed: _on_answer_echoed,
    EchoReplaced: _on_echo_replaced,
    EchoParked: _on_echo_parked,
    AnswerReordered: _on_answer_reordered,
    AnswerDeleted: _on_answer_deleted,
    SendsCancelled: _on_sends_cancelled,
    NoteWritten: _on_note_written,
    LineWritten: _on_line_written,
    DeliveryChanged: _on_delivery_changed,
    WindowShut: aftermath.on_window_shut,
    FateDecided: _on_fate_decided,
    AttachmentSettled: _on_attachment_settled,
    ContactBlocked: _on_contact_blocked,
    ContactReturned: _on_contact_returned,
    TakenOver: _on_taken_over,
    Claimed: _on_claimed,
    Assigned: _on_assigned,
    Released: _on_released,
    ReturnedToBot: _on_returned_to_bot,
    StatusSet: _on_status_set,
}
