"""What an event changes about what was said before: taken back, signed, recalled from the history."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from inbox.domain import changes, drafting
from inbox.domain.commands import Moment
from inbox.domain.events import (
    CardChanged,
    DeletionParked,
    FilesRecalled,
    Reacted,
    Recalled,
    WindowShut,
    Withdrawn,
)
from inbox.domain.pieces import Author
from inbox.domain.state import Draft, Message
from msgkit.contracts.words import AuthorKind, Direction, Status

PARKED_DELETIONS: Final = 100
"""Deletions kept for messages that have not come; the oldest give way."""
ELSEWHERE: Final = Author(AuthorKind.OPERATOR, None, "З месенджера")
"""Who typed in the messenger's own app: a person of ours, nobody knows which."""


def on_withdrawn(draft: Draft, event: Withdrawn, moment: Moment) -> None:
    message = changes.withdrawn(draft.messages[event.message_id], event.withdrawn_at, moment)
    drafting.change(draft, message)
    for provider_id in message.provider_ids:
        drafting.forget_parked(draft, provider_id)


def on_deletion_parked(draft: Draft, event: DeletionParked, _moment: Moment) -> None:
    draft.parked_deletions = (*draft.parked_deletions, event.deletion)[-PARKED_DELETIONS:]


def on_reacted(draft: Draft, event: Reacted, moment: Moment) -> None:
    drafting.change(draft, changes.signed(draft.messages[event.message_id], event, moment))
    if event.carrier_id is not None:
        drafting.change(draft, changes.carried(draft.messages[event.carrier_id], event, moment))


def on_recalled(draft: Draft, event: Recalled, moment: Moment) -> None:
    is_from_client = event.direction is Direction.IN
    message = Message(
        id=event.message_id,
        tenant_id=draft.tenant_id,
        channel_id=draft.channel_id,
        conversation_id=draft.id,
        request_id="",
        n=event.n,
        in_seq=draft.in_seq,
        pos_at=event.provider_time,
        direction=event.direction,
        author=Author(AuthorKind.CLIENT, event.contact.key, event.contact.name)
        if is_from_client
        else ELSEWHERE,
        body=event.body,
        provider_time=event.provider_time,
        created_at=event.provider_time,
        state=event.state,
        rev=moment.v,
        provider_ids=(event.provider_id,),
        is_recalled=True,
    )
    drafting.forget_parked(draft, event.provider_id)
    is_only_history = draft.request is None and (draft.n == 0 or draft.status is Status.CLOSED)
    draft.n = event.n
    draft.messages[message.id] = message
    if is_only_history:
        draft.contact = event.contact
        draft.status = Status.CLOSED
        draft.activity_at = drafting.later(draft.activity_at, event.provider_time)
        if _is_last(draft, event.provider_time):
            draft.last_message = changes.last_line(message)


def _is_last(draft: Draft, at: datetime) -> bool:
    return draft.last_message is None or at >= draft.last_message.at


def on_files_recalled(draft: Draft, event: FilesRecalled, moment: Moment) -> None:
    drafting.change(draft, changes.completed(draft.messages[event.message_id], event, moment))


def on_window_shut(draft: Draft, event: WindowShut, moment: Moment) -> None:
    if event.is_late:
        draft.late_shut_at = moment.at
    else:
        draft.is_shut = True


def on_card_changed(draft: Draft, event: CardChanged, _moment: Moment) -> None:
    draft.contact = event.contact
