"""What happened: the events of the log, and the commit that holds them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from inbox.domain.pieces import (
    Attachment,
    Author,
    Body,
    Buttons,
    ContactCard,
    Fault,
    Person,
    Place,
    Press,
    Quoted,
    SharedContact,
    Sign,
    Template,
)
from inbox.domain.state import ParkedDeletion, ParkedEcho, ParkedEdit
from msgkit.contracts.values import dataclass
from msgkit.contracts.words import AuthorKind, Direction, Handler, MessageState, Status


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the object store, as it was found to be."""

    key: str
    thumb_key: str | None
    mime: str
    size: int
    width: int | None
    height: int | None
    duration_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOpened:
    dedupe_id: str
    request_id: str
    number: int
    handler: Handler
    why: Literal["standby"] | None = None
    """Why it is not the bot's although the bot is on: another party of the messenger holds the thread."""
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
    pressed: Press | None = None
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
class Withdrawn:
    """A message was taken back by its author: the client, or one of ours in the messenger's own app."""

    dedupe_id: str
    message_id: str
    withdrawn_at: datetime
    type: Literal["message.withdrawn"] = "message.withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionParked:
    dedupe_id: str
    deletion: ParkedDeletion
    type: Literal["deletion.parked"] = "deletion.parked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reacted:
    """A sign was put on a message, or taken off; the newest of each side counts."""

    dedupe_id: str
    message_id: str
    sign: Sign
    carrier_id: str | None = None
    """The answer of ours that was this sign: it is seen at `message_id` from now on."""
    is_undone: bool = False
    """The messenger took it and refused it later: the carrier is to be seen again, as failed."""
    type: Literal["message.reacted"] = "message.reacted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """A message of the time before the account was connected; it stands at the messenger's time."""

    dedupe_id: str
    message_id: str
    n: int
    contact: ContactCard
    provider_id: str
    provider_time: datetime
    direction: Literal[Direction.IN, Direction.OUT]
    body: Body
    state: MessageState
    type: Literal["message.recalled"] = "message.recalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRecalled:
    """The files of a message from the history, told after it."""

    dedupe_id: str
    message_id: str
    body: Body
    type: Literal["files.recalled"] = "files.recalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardChanged:
    """What is known of the contact changed without a message of theirs."""

    dedupe_id: str
    contact: ContactCard
    type: Literal["contact.changed"] = "contact.changed"


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
    attachments: tuple[Attachment, ...] = ()
    buttons: Buttons = ()
    place: Place | None = None
    shared_contact: SharedContact | None = None
    template: Template | None = None
    is_reaction: bool = False
    client_wrote_at: datetime | None = None
    """When the client wrote last, as far as known then: what may still be sent depends on it."""
    type: Literal["answer.ordered"] = "answer.ordered"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEchoed:
    """A message to the client that nobody ordered here is with them already."""

    dedupe_id: str
    message_id: str
    n: int
    author: Author
    contact: ContactCard
    provider_id: str
    provider_time: datetime
    pos_at: datetime
    late: bool
    body: Body
    buttons: Buttons
    reply_to: str | None
    quote: Quoted | None
    type: Literal["answer.echoed"] = "answer.echoed"


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoReplaced:
    """What seemed typed elsewhere is an answer ordered here, whose echo came before its report."""

    dedupe_id: str
    message_id: str
    """The echo's: nobody sees it any more."""
    ordered_id: str
    type: Literal["echo.replaced"] = "echo.replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoParked:
    """Something was said to the client while no request is open: it is shown when they write."""

    dedupe_id: str
    echo: ParkedEcho
    type: Literal["echo.parked"] = "echo.parked"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerReordered:
    """An answer goes out once more, behind what was ordered meanwhile. It repeats all a connector needs."""

    dedupe_id: str
    message_id: str
    attempt: int
    out_seq: int
    by: Person
    contact_key: str
    author_kind: AuthorKind
    text: str
    reply_to_provider_id: str | None
    attachments: tuple[Attachment, ...]
    buttons: Buttons = ()
    place: Place | None = None
    shared_contact: SharedContact | None = None
    template: Template | None = None
    is_reaction: bool = False
    client_wrote_at: datetime | None = None
    type: Literal["answer.reordered"] = "answer.reordered"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDeleted:
    """An answer the client never had was taken away."""

    dedupe_id: str
    message_id: str
    by: Person
    type: Literal["answer.deleted"] = "answer.deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendsCancelled:
    """Connectors must not bring these any more; the ids are those of the orders."""

    dedupe_id: str
    order_ids: tuple[str, ...]
    type: Literal["sends.cancelled"] = "sends.cancelled"


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
    attachments: tuple[Attachment, ...] = ()
    type: Literal["note.written"] = "note.written"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineWritten:
    """A line of ours in the dialogue about what was done to the chat."""

    dedupe_id: str
    message_id: str
    n: int
    text: str
    pos_at: datetime
    is_in_row: bool = False
    """Also the last words of the row: it takes back what stands there."""
    type: Literal["line.written"] = "line.written"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryChanged:
    dedupe_id: str
    message_id: str
    state: MessageState
    provider_ids: tuple[str, ...]
    failure: Fault | None
    attempt: int = 1
    is_late_refusal: bool = False
    """The messenger had taken it, and says later that the client will not see it."""
    type: Literal["delivery.changed"] = "delivery.changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowShut:
    """The messenger refused an answer because the client wrote too long ago, whatever we had counted."""

    dedupe_id: str
    is_late: bool = False
    """It was one that only a person may send by then; everybody else's time had ended before."""
    type: Literal["window.shut"] = "window.shut"


@dataclass(frozen=True, slots=True, kw_only=True)
class FateDecided:
    """A person says what became of an answer nobody knew the fate of."""

    dedupe_id: str
    message_id: str
    state: MessageState
    failure: Fault | None
    by: Person
    type: Literal["fate.decided"] = "fate.decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentSettled:
    """A file that lay at the messenger was fetched, or `lost` says why it cannot be had."""

    dedupe_id: str
    message_id: str
    attachment_id: str
    stored: Stored | None
    lost: str | None
    type: Literal["attachment.settled"] = "attachment.settled"


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
    by: Person | None
    """None: somebody who answered in the messenger's own app."""
    cancelled: tuple[str, ...]
    why: Literal["standby"] | None = None
    """Nobody of ours did: another party of the messenger holds the thread."""
    type: Literal["dialogue.taken_over"] = "dialogue.taken_over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    dedupe_id: str
    by: Person
    type: Literal["conversation.claimed"] = "conversation.claimed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    dedupe_id: str
    to: Person
    by: Person
    type: Literal["conversation.assigned"] = "conversation.assigned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    dedupe_id: str
    by: Person
    type: Literal["conversation.released"] = "conversation.released"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedToBot:
    dedupe_id: str
    by: Person
    type: Literal["dialogue.returned_to_bot"] = "dialogue.returned_to_bot"


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
    | Withdrawn
    | DeletionParked
    | Reacted
    | Recalled
    | FilesRecalled
    | CardChanged
    | AnswerOrdered
    | AnswerEchoed
    | EchoReplaced
    | EchoParked
    | AnswerReordered
    | AnswerDeleted
    | SendsCancelled
    | NoteWritten
    | LineWritten
    | DeliveryChanged
    | WindowShut
    | FateDecided
    | AttachmentSettled
    | ContactBlocked
    | ContactReturned
    | TakenOver
    | Claimed
    | Assigned
    | Released
    | ReturnedToBot
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


EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Event)
COMMIT: Final[TypeAdapter[Commit]] = TypeAdapter(Commit)
