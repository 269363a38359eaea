"""How a draft of a conversation keeps a message, and what waited for it."""

from __future__ import annotations

from datetime import datetime

from inbox.domain import changes
from inbox.domain.commands import Moment
from inbox.domain.state import Draft, Message


def add(draft: Draft, message: Message, moment: Moment) -> None:
    """A message that is the last one said."""
    add_quietly(draft, message)
    draft.last_message = changes.last_line(message)
    draft.activity_at = moment.at


def add_quietly(draft: Draft, message: Message) -> None:
    """One that leaves the row as it is: the last thing said goes on standing there."""
    draft.n = message.n
    draft.last_pos_at = later(draft.last_pos_at, message.pos_at)
    draft.messages[message.id] = message


def change(draft: Draft, message: Message) -> None:
    """Keep a message as it is now; one that had the change already may still be news to the row."""
    if draft.last_message is not None and draft.last_message.id == message.id:
        draft.last_message = changes.last_line(message)
    draft.messages[message.id] = message


def forget_parked(draft: Draft, provider_id: str) -> None:
    """What waited for this message has found it."""
    if draft.parked_edits:
        draft.parked_edits = tuple(edit for edit in draft.parked_edits if edit.provider_id != provider_id)
    if draft.parked_echoes:
        draft.parked_echoes = tuple(one for one in draft.parked_echoes if one.provider_id != provider_id)
    if draft.parked_deletions:
        draft.parked_deletions = tuple(
            one for one in draft.parked_deletions if one.provider_id != provider_id
        )


def later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None or other > one else one
