"""What follows from what the client did: messages, edits, files, blocking and coming back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from inbox.domain.bodies import early_changes, edited_body, to_body, to_card
from inbox.domain.changes import body_settled
from inbox.domain.commands import (
    NOTHING,
    Decision,
    Door,
    Moment,
    came_key,
    dedupe_id,
    media_key,
    withdrawn_key,
)
from inbox.domain.echoes import parked_echoes
from inbox.domain.events import (
    AttachmentSettled,
    ContactReturned,
    DeletionParked,
    EchoParked,
    Edited,
    EditParked,
    Event,
    MessageCame,
    RequestOpened,
    Stored,
    TakenOver,
    Withdrawn,
)
from inbox.domain.history import gives_way
from inbox.domain.pieces import Attachment, Press, Version
from inbox.domain.places import (
    LATE_AFTER,
    RETURNED_LINE,
    block,
    inbound_position,
    line,
    open_request,
    quoted,
    to_ms,
    turn_position,
)
from inbox.domain.signs import named
from inbox.domain.state import Known, ParkedDeletion, ParkedEdit
from msgkit.contracts.events import (
    ContactAvailability,
    MediaSettled,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
)
from msgkit.contracts.ids import inbound_message_id
from msgkit.contracts.words import AttachmentState, Handler, MessageKind

STANDBY_LINE: Final = "Бот мовчить: у месенджері відповідає хтось інший"


def receive(state: Known, command: MessageReceived, moment: Moment, door: Door) -> Decision:
    """A message of the client: shown once, in a request that is open."""
    message_id = inbound_message_id(state.id, command.provider_id)
    if not gives_way(state.messages.get(message_id)):
        return NOTHING
    key = came_key(state.id, command.provider_id)
    sent_at = to_ms(command.sent_at)
    is_return = state.blocked and (state.availability_at is None or sent_at >= state.availability_at)
    silences_bot = command.is_standby and not state.needs_request and state.handler is Handler.BOT
    waiting = parked_echoes(state, moment, state.n + is_return + silences_bot)
    pos_at = inbound_position(state, sent_at, command.provider_seq, moment.at, waiting.pos_at)
    events: list[Event] = []
    if state.needs_request:
        events.append(_open(state, key, moment, door, is_standby=command.is_standby))
    if is_return:
        events += _come_back(state, f"return:{key}", sent_at, moment, pos_at)
    if silences_bot:
        cause = f"standby:{key}"
        events.append(TakenOver(dedupe_id=cause, by=None, cancelled=state.bot_queued, why="standby"))
        said = line(state, moment, cause, STANDBY_LINE, pos_at)
        events.append(replace(said, n=said.n + is_return))
    events += waiting.events
    reply_to, quote = quoted(state, command.reply_to_provider_id)
    body = to_body(command.content, message_id)
    pressed = command.pressed
    events.append(
        MessageCame(
            dedupe_id=key,
            message_id=message_id,
            n=waiting.n + 1,
            contact=to_card(state, command.contact, command.content),
            provider_id=command.provider_id,
            provider_seq=command.provider_seq,
            provider_time=sent_at,
            pos_at=pos_at,
            late=command.recorded_at - command.sent_at > LATE_AFTER,
            body=body,
            reply_to=reply_to,
            quote=quote,
            start_payload=command.start_payload,
            group_id=command.group_id,
            webhook_id=command.webhook_id,
            # Of what we cannot show yet, the provider's own element stays with the message.
            raw=command.raw if body.kind is MessageKind.UNSUPPORTED else None,
            pressed=None if pressed is None else Press(pressed.value, pressed.message_provider_id),
        )
    )
    events += early_changes(state, command.provider_id, message_id, body)
    return tuple(events)


def _open(state: Known, key: str, moment: Moment, door: Door, *, is_standby: bool) -> RequestOpened:
    """With the bot if it is on, but never while another party of the messenger holds the thread."""
    if not door.bot_enabled:
        return open_request(state, key, moment, Handler.OPERATOR)
    if is_standby:
        return replace(open_request(state, key, moment, Handler.OPERATOR), why="standby")
    return open_request(state, key, moment, Handler.BOT)


def edit(state: Known, command: MessageEdited) -> Decision:
    """An edit: kept as a version; one that is here before its message waits for it."""
    key = dedupe_id(command)
    assert key is not None
    edited_at = to_ms(command.edited_at)
    # One of ours, edited in the messenger's own app, has an id of its own here.
    message = named(state, command.provider_id)
    message_id = inbound_message_id(state.id, command.provider_id) if message is None else message.id
    body = to_body(command.content, message_id)
    if message is None:
        parked = ParkedEdit(command.provider_id, edited_at, body)
        return NOTHING if parked in state.parked_edits else (EditParked(dedupe_id=key, edit=parked),)
    if message.withdrawn_at is not None:
        return NOTHING
    body = edited_body(body, message.body)
    if message.id != inbound_message_id(state.id, command.provider_id):
        body = replace(body, attachments=message.body.attachments)  # the files of an answer are ours
    is_newer = message.edited_at is None or edited_at >= message.edited_at
    if is_newer and body == message.body:
        return NOTHING  # a messenger reports an "edit" for a reaction or a keyboard, too
    if Version(body.text, edited_at) in message.versions:
        return NOTHING
    return (Edited(dedupe_id=key, message_id=message_id, edited_at=edited_at, body=body),)


def withdraw(state: Known, command: MessageDeleted) -> Decision:
    """A message was taken back; one that has not come yet is awaited. What is unread stays so."""
    key = withdrawn_key(state.id, command.provider_id)
    deletion = ParkedDeletion(command.provider_id, to_ms(command.deleted_at))
    message = named(state, command.provider_id)
    if message is None:
        is_parked = any(one.provider_id == command.provider_id for one in state.parked_deletions)
        return NOTHING if is_parked else (DeletionParked(dedupe_id=key, deletion=deletion),)
    if message.withdrawn_at is not None:
        return NOTHING
    return (Withdrawn(dedupe_id=key, message_id=message.id, withdrawn_at=deletion.withdrawn_at),)


def settle_media(state: Known, command: MediaSettled) -> Decision:
    """A file was fetched or is lost. Of a message or file that is not there (any more) it is nothing."""
    message = state.messages.get(command.message_id)
    files = () if message is None else message.body.attachments
    key, attachment_id = media_key(command.attachment_id), command.attachment_id
    stored, lost = _stored(command), None if command.stored is not None else command.reason or "unavailable"
    if _awaits(files, attachment_id):
        return (
            AttachmentSettled(
                dedupe_id=key,
                message_id=command.message_id,
                attachment_id=attachment_id,
                stored=stored,
                lost=lost,
            ),
        )
    for parked in state.parked_echoes:
        if _awaits(parked.body.attachments, attachment_id):
            body = body_settled(parked.body, attachment_id, stored, lost)
            return (EchoParked(dedupe_id=key, echo=replace(parked, body=body)),)
    return NOTHING


def _awaits(files: Iterable[Attachment], attachment_id: str) -> bool:
    return any(one.id == attachment_id and one.state is AttachmentState.PENDING for one in files)


def _stored(command: MediaSettled) -> Stored | None:
    stored = command.stored
    if stored is None:
        return None
    return Stored(
        key=stored.key,
        thumb_key=stored.thumb_key,
        mime=stored.mime,
        size=stored.size_bytes,
        width=stored.width,
        height=stored.height,
        duration_s=stored.duration_s,
    )


def availability(state: Known, command: ContactAvailability, moment: Moment) -> Decision:
    """The client blocked the bot or came back; what is older than what we know is nothing."""
    happened_at = to_ms(command.happened_at)
    is_old = state.availability_at is not None and happened_at < state.availability_at
    if state.n == 0 or is_old or command.available is not state.blocked:
        return NOTHING
    key = f"availability:{command.event_id}"
    if command.available:
        pos_at = turn_position(state, happened_at, moment)
        return _come_back(state, key, happened_at, moment, pos_at)
    return (block(state, key, happened_at, moment),)


def _come_back(
    state: Known, key: str, happened_at: datetime, moment: Moment, pos_at: datetime
) -> tuple[Event, ...]:
    """With a line, or the row would go on saying that the client has blocked us."""
    return (
        ContactReturned(dedupe_id=key, happened_at=happened_at),
        line(state, moment, key, RETURNED_LINE, pos_at, is_in_row=True),
    )
