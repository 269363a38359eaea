"""What is wanted: facts and orders, their keys, and what they touch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from inbox.domain.events import (
    AnswerOrdered,
    ContactBlocked,
    DeliveryChanged,
    Edited,
    Event,
    MessageCame,
    NoteWritten,
)
from inbox.domain.state import Author, Person
from msgkit.contracts.events import ContactAvailability, DeliveryReported, MessageEdited, MessageReceived
from msgkit.contracts.ids import derived_id
from msgkit.contracts.words import STATE_RANK, Status


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


def came_key(conversation_id: str, provider_id: str) -> str:
    # Of the conversation, not of the channel: some messengers number messages within a dialogue only.
    return f"in:{conversation_id}:{provider_id}"


def inbound_message_id(conversation_id: str, provider_id: str) -> str:
    """The id of the message a provider's id stands for: known without asking anybody."""
    return derived_id("message", conversation_id, came_key(conversation_id, provider_id))


def reply_message_id(conversation_id: str, author_id: str, client_msg_id: str) -> str:
    """The id of an answer or note: the same for every repeat of the same send."""
    return derived_id("message", conversation_id, f"send:{author_id}:{client_msg_id}")


def dedupe_id(command: Command) -> str | None:
    """The key under which this command may take effect only once; None if its state decides alone."""
    match command:
        case MessageReceived():
            return came_key(command.conversation_id, command.provider_id)
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
