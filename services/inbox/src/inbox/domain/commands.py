"""What is wanted: facts and orders, their keys, and what they touch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from inbox.domain.events import (
    AnswerDeleted,
    AnswerEchoed,
    AnswerOrdered,
    AnswerReordered,
    AttachmentSettled,
    ContactBlocked,
    DeliveryChanged,
    EchoReplaced,
    Edited,
    Event,
    FateDecided,
    FilesRecalled,
    LineWritten,
    MessageCame,
    NoteWritten,
    Reacted,
    Recalled,
    Withdrawn,
)
from inbox.domain.pieces import Author, Buttons, Person, Place, SharedContact, Template
from inbox.domain.state import Known
from msgkit.contracts.events import (
    ContactAvailability,
    ContactChanged,
    DeliveryReported,
    MediaSettled,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageRecalled,
    MessageReceived,
    ReactionChanged,
)
from msgkit.contracts.ids import derived_id, inbound_message_id
from msgkit.contracts.values import dataclass
from msgkit.contracts.words import LATE_REFUSAL_RANK, STATE_RANK, Direction, MessageKind, MessageState, Status


@dataclass(frozen=True, slots=True)
class Moment:
    """Which commit is being decided: its version, its time, and the next number for a request."""

    v: int
    at: datetime
    number: int = 0


@dataclass(frozen=True, slots=True)
class Messenger:
    """What a decision must know of a kind of messenger; of one that told nothing yet, nothing is refused."""

    reply_window_hours: int | None = None
    """How long after the client's last message anything but a template may go out; None: always."""
    has_templates: bool = False
    tells_reading: bool = False
    """The client can be told that a message was read."""
    human_reply_window_hours: int | None = None
    """How long a person may answer in a channel with `Door.human_agent`; None: as everybody."""
    title: str = ""
    """What the messenger is called, for people."""


@dataclass(frozen=True, slots=True)
class Door:
    """What a decision must know of the channel."""

    bot_enabled: bool = False
    connected: bool = True
    disabled: bool = False
    """Switched off by an administrator: nothing goes out, whatever comes is still kept."""
    messenger: Messenger = Messenger()
    human_agent: bool = False
    """The messenger lets people of this business answer later than bots."""
    human_agent_at: datetime | None = None
    """When an administrator last decided that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file of an answer that lies in the object store already."""

    id: str
    key: str
    thumb_key: str | None
    kind: MessageKind
    name: str
    mime: str
    size: int
    width: int | None
    height: int | None
    duration_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostReply:
    author: Author
    client_msg_id: str
    text: str
    attachments: tuple[Upload, ...] = ()
    buttons: Buttons = ()
    place: Place | None = None
    shared_contact: SharedContact | None = None
    template: Template | None = None
    """Goes out instead of `text`, which is how it reads then."""
    is_reaction: bool = False
    """`text` is a sign to put on the message `reply_to`; empty: to take ours off."""
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
    """Take a chat nobody has."""

    by: Person


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Answer instead of the bot from now on."""

    by: Person


@dataclass(frozen=True, slots=True)
class Assign:
    to: Person
    by: Person


@dataclass(frozen=True, slots=True)
class Release:
    by: Person


@dataclass(frozen=True, slots=True)
class ReturnToBot:
    by: Person


@dataclass(frozen=True, slots=True)
class Retry:
    """Send a failed answer once more."""

    message_id: str
    by: Person


@dataclass(frozen=True, slots=True)
class Resolve:
    """Decide of an answer nobody knows the fate of."""

    message_id: str
    action: Literal["sent", "failed", "resend"]
    by: Person


@dataclass(frozen=True, slots=True)
class DeleteAnswer:
    """Take away an answer the client has not got."""

    message_id: str
    by: Person


Fact = (
    MessageReceived
    | MessageEchoed
    | MessageEdited
    | MessageDeleted
    | MessageRecalled
    | ReactionChanged
    | ContactChanged
    | ContactAvailability
    | DeliveryReported
    | MediaSettled
)
Handling = SetStatus | Claim | TakeOver | Assign | Release | ReturnToBot
"""What is done to a chat as a whole."""
Mending = Retry | Resolve | DeleteAnswer
"""What is done to one answer that did not simply arrive."""
Command = Fact | PostReply | Handling | Mending


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing happens. `code` is the machine's word of contract.md; `detail` says what to do next."""

    status: int
    code: str
    detail: str
    holder: Person | None = None
    """Who stands in the way, if somebody does, and since when."""
    since: datetime | None = None


Decision = tuple[Event, ...] | Refusal
NOTHING: Final[tuple[Event, ...]] = ()


def came_key(conversation_id: str, provider_id: str) -> str:
    # Of the conversation, not of the channel: some messengers number messages within a dialogue only.
    return f"in:{conversation_id}:{provider_id}"


def reply_message_id(conversation_id: str, author_id: str, client_msg_id: str) -> str:
    """The id of an answer or note: the same for every repeat of the same send."""
    return derived_id("message", conversation_id, f"send:{author_id}:{client_msg_id}")


def order_id(message_id: str, attempt: int) -> str:
    """The id an attempt to send has at its connector: the first one has the message's."""
    return message_id if attempt == 1 else f"{message_id}.{attempt}"


def order_of(id_: str) -> tuple[str, int]:
    """The message and the attempt behind the id of an order."""
    message_id, _, attempt = id_.partition(".")
    return message_id, int(attempt) if attempt.isascii() and attempt.isdigit() else 1


def reported_rank(report: DeliveryReported) -> float:
    """How far up the state of a report is."""
    return LATE_REFUSAL_RANK if is_refused_late(report) else STATE_RANK[report.state]


def is_refused_late(report: DeliveryReported) -> bool:
    """Whether it takes back what the messenger had taken."""
    return report.is_late_refusal and report.state is MessageState.FAILED


def status_key(report: DeliveryReported) -> str:
    return f"status:{report.message_id}:{reported_rank(report):g}"


def withdrawn_key(conversation_id: str, provider_id: str) -> str:
    return f"withdrawn:{conversation_id}:{provider_id}"


def media_key(attachment_id: str) -> str:
    return f"media:{attachment_id}"


def dedupe_id(command: Command) -> str | None:  # noqa: PLR0911  # one line per command
    """The key under which this command may take effect only once; None if its state decides alone."""
    match command:
        case MessageReceived() | MessageEchoed():
            return came_key(command.conversation_id, command.provider_id)
        case MessageEdited():
            # The provider's clock is too coarse to tell two edits of one second apart; the content does.
            fingerprint = hashlib.sha256(command.content.model_dump_json().encode()).hexdigest()[:12]
            at_ms = int(command.edited_at.timestamp() * 1000)
            return f"edit:{command.conversation_id}:{command.provider_id}:{at_ms}:{fingerprint}"
        case MessageDeleted():
            return withdrawn_key(command.conversation_id, command.provider_id)
        case ReactionChanged():
            return f"reacted:{command.event_id}"
        case ContactChanged():
            return f"contact:{command.event_id}"
        case ContactAvailability():
            return f"availability:{command.event_id}"
        case DeliveryReported():
            return status_key(command)
        case MediaSettled():
            return media_key(command.attachment_id)
        case PostReply():
            return f"send:{command.author.id}:{command.client_msg_id}"
        case _:
            return None


def referenced_ids(  # noqa: PLR0911  # one line per command
    state: Known, command: Command
) -> tuple[str, ...]:
    """The messages `decide` must have in hand to decide this command on this version.

    One that is found may refer to another: ask again with it in hand.
    """
    match command:
        case MessageReceived():  # first what comes most: a test for another class costs more than a call
            replied = command.reply_to_provider_id
            return () if replied is None else (inbound_message_id(state.id, replied),)
        case MessageRecalled():
            return (inbound_message_id(state.id, command.provider_id),)
        case MessageEdited() | MessageDeleted() | ReactionChanged():
            return _targets(state, command.provider_id)
        case DeliveryReported():
            message_id = order_of(command.message_id)[0]
            return (*_with_what_it_signs(state, message_id), *echoes_of(state, command))
        case Resolve():
            return _with_what_it_signs(state, command.message_id)
        case MediaSettled() | Retry() | DeleteAnswer():
            return (command.message_id,)
        case MessageEchoed():
            echo = inbound_message_id(state.id, command.provider_id)
            replied = command.reply_to_provider_id
            return (echo,) if replied is None else (echo, inbound_message_id(state.id, replied))
        case PostReply():
            own = reply_message_id(state.id, command.author.id or "", command.client_msg_id)
            return (own,) if command.reply_to is None else (own, command.reply_to)
        case _:
            return ()


def _targets(state: Known, provider_id: str) -> tuple[str, ...]:
    """What a provider's id stands for: an echo may have turned out to be an answer of ours."""
    id_ = inbound_message_id(state.id, provider_id)
    message = state.messages.get(id_)
    return (id_,) if message is None or message.replaced_by is None else (id_, message.replaced_by)


def _with_what_it_signs(state: Known, message_id: str) -> tuple[str, ...]:
    """An answer; of one that is a reaction also the message it is put on."""
    message = state.messages.get(message_id)
    if message is None or not message.is_reaction or message.reply_to is None:
        return (message_id,)
    return message_id, message.reply_to


def echoes_of(state: Known, report: DeliveryReported) -> tuple[str, ...]:
    """What seemed typed elsewhere and is, as this report says, the answer it is about."""
    if not state.elsewhere:
        return ()
    ours = {inbound_message_id(state.id, provider_id) for provider_id in report.provider_ids}
    return tuple(one.message_id for one in state.elsewhere if one.message_id in ours)


def referenced_provider_ids(fact: Fact) -> tuple[str, ...]:
    """The messenger's ids of what may be answers of ours, which have ids of their own here."""
    match fact:
        case MessageReceived():
            return _unless_none(fact.reply_to_provider_id)
        case MessageEchoed():
            return (*_unless_none(fact.reply_to_provider_id), fact.provider_id)
        case MessageEdited() | MessageDeleted() | ReactionChanged():
            return (fact.provider_id,)
        case MessageRecalled() if fact.direction is Direction.OUT:
            return (fact.provider_id,)
        case _:
            return ()


def _unless_none(provider_id: str | None) -> tuple[str, ...]:
    return () if provider_id is None else (provider_id,)


def is_behind(state: Known, fact: Fact) -> bool:
    """Whether a fact speaks of something this version of the conversation does not have.

    It is then of a commit appended elsewhere, so the conversation must be read anew to decide.
    """
    match fact:
        case MessageReceived():  # first what comes most
            return False
        case DeliveryReported():
            message_id, attempt = order_of(fact.message_id)
            message = state.messages.get(message_id)
            return message is None or message.attempt < attempt
        case MediaSettled():
            message = state.messages.get(fact.message_id)
            return message is None or all(one.id != fact.attachment_id for one in message.body.attachments)
        case _:
            return False


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
            if isinstance(event, EchoReplaced):
                changed.add(event.ordered_id)
            elif isinstance(event, Reacted) and event.carrier_id is not None:
                changed.add(event.carrier_id)
    return created, changed - created


_MAKES_A_MESSAGE: Final = (
    MessageCame,
    AnswerOrdered,
    AnswerEchoed,
    NoteWritten,
    LineWritten,
    ContactBlocked,
    Recalled,
)
_CHANGES_A_MESSAGE: Final = (
    Edited,
    DeliveryChanged,
    AttachmentSettled,
    AnswerReordered,
    AnswerDeleted,
    FateDecided,
    EchoReplaced,
    Withdrawn,
    Reacted,
    FilesRecalled,
)
