"""What follows from what the client did: messages, edits, files, blocking and coming back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from inbox.domain.commands import NOTHING, Decision, Door, Moment, came_key, dedupe_id, media_key
from inbox.domain.events import (
    AttachmentSettled,
    ContactReturned,
    Edited,
    EditParked,
    Event,
    MessageCame,
    Stored,
)
from inbox.domain.places import block, inbound_position, open_request, quote_of, to_ms
from inbox.domain.state import (
    Attachment,
    Body,
    ContactCard,
    Entity,
    Known,
    ParkedEdit,
    Place,
    Press,
    Quoted,
    SharedContact,
    Version,
)
from msgkit.contracts.events import (
    ContactAvailability,
    Content,
    MediaSettled,
    MessageEdited,
    MessageReceived,
)
from msgkit.contracts.ids import attachment_id, inbound_message_id
from msgkit.contracts.words import AttachmentState, Handler, MessageKind

LATE_AFTER: Final = timedelta(minutes=2)
"""A message that reached us this long after it was written says when it was written."""


def receive(state: Known, command: MessageReceived, moment: Moment, door: Door) -> Decision:
    """A message of the client: shown once, in a request that is open."""
    message_id = inbound_message_id(state.id, command.provider_id)
    if message_id in state.messages:
        return NOTHING
    key = came_key(state.id, command.provider_id)
    sent_at = to_ms(command.sent_at)
    events: list[Event] = []
    if state.needs_request:
        handler = Handler.BOT if door.bot_enabled else Handler.OPERATOR
        events.append(open_request(state, key, moment, handler))
    if state.blocked and (state.availability_at is None or sent_at >= state.availability_at):
        events.append(ContactReturned(dedupe_id=f"return:{key}", happened_at=sent_at))
    reply_to, quote = _quoted(state, command)
    body = _to_body(command.content, message_id)
    pressed = command.pressed
    events.append(
        MessageCame(
            dedupe_id=key,
            message_id=message_id,
            n=state.n + 1,
            contact=_card(state, command),
            provider_id=command.provider_id,
            provider_seq=command.provider_seq,
            provider_time=sent_at,
            pos_at=inbound_position(state, sent_at, command.provider_seq, moment.at),
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
    if state.parked_edits:
        events += _parked_for(state, command.provider_id, message_id, body)
    return tuple(events)


def _card(state: Known, command: MessageReceived) -> ContactCard:
    """Who wrote. A phone once known stays: most messages of most messengers do not repeat it."""
    contact, shared = command.contact, command.content.shared_contact
    phone = contact.phone
    if shared is not None and shared.is_own and shared.phone is not None:
        phone = shared.phone
    elif phone is None and state.contact is not None:
        phone = state.contact.phone
    return ContactCard(contact.key, contact.name, contact.username, phone, contact.language)


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
    return found.id, quote_of(found)


def edit(state: Known, command: MessageEdited) -> Decision:
    """An edit: kept as a version; one that is here before its message waits for it."""
    key = dedupe_id(command)
    assert key is not None
    message_id = inbound_message_id(state.id, command.provider_id)
    edited_at = to_ms(command.edited_at)
    body = _to_body(command.content, message_id)
    message = state.messages.get(message_id)
    if message is None:
        parked = ParkedEdit(command.provider_id, edited_at, body)
        return NOTHING if parked in state.parked_edits else (EditParked(dedupe_id=key, edit=parked),)
    body = _keeping_files(body, message.body)
    is_newer = message.edited_at is None or edited_at >= message.edited_at
    if is_newer and body == message.body:
        return NOTHING  # a messenger reports an "edit" for a reaction or a keyboard, too
    if Version(body.text, edited_at) in message.versions:
        return NOTHING
    return (Edited(dedupe_id=key, message_id=message_id, edited_at=edited_at, body=body),)


def _keeping_files(body: Body, before: Body) -> Body:
    """The new words with the files we have already: a caption is edited more often than its photo."""
    known = {one.id: one for one in before.attachments}
    if not known.keys() & {one.id for one in body.attachments}:
        return body
    return replace(body, attachments=tuple(known.get(one.id, one) for one in body.attachments))


def settle_media(state: Known, command: MediaSettled) -> Decision:
    """A file was fetched or is lost. Of a message or file that is not there (any more) it is nothing."""
    message = state.messages.get(command.message_id)
    files = () if message is None else message.body.attachments
    waiting = any(one.id == command.attachment_id and one.state is AttachmentState.PENDING for one in files)
    if not waiting:
        return NOTHING
    stored = command.stored
    return (
        AttachmentSettled(
            dedupe_id=media_key(command.attachment_id),
            message_id=command.message_id,
            attachment_id=command.attachment_id,
            stored=None
            if stored is None
            else Stored(
                key=stored.key,
                thumb_key=stored.thumb_key,
                mime=stored.mime,
                size=stored.size_bytes,
                width=stored.width,
                height=stored.height,
                duration_s=stored.duration_s,
            ),
            lost=None if stored is not None else command.reason or "unavailable",
        ),
    )


def availability(state: Known, command: ContactAvailability, moment: Moment) -> Decision:
    """The client blocked the bot or came back; what is older than what we know is nothing."""
    happened_at = to_ms(command.happened_at)
    is_old = state.availability_at is not None and happened_at < state.availability_at
    if state.n == 0 or is_old or command.available is not state.blocked:
        return NOTHING
    key = f"availability:{command.event_id}"
    if command.available:
        return (ContactReturned(dedupe_id=key, happened_at=happened_at),)
    return (block(state, key, happened_at, moment),)


def _to_body(content: Content, message_id: str) -> Body:
    place, shared = content.place, content.shared_contact
    return Body(
        kind=content.kind,
        text=content.text,
        entities=tuple(Entity(e.kind, e.offset, e.length, e.url) for e in content.entities)
        if content.entities
        else (),
        attachments=tuple(
            Attachment(
                id=attachment_id(message_id, ref.ref),
                ref=ref.ref,
                kind=ref.kind,
                name=ref.name,
                mime=ref.mime,
                size=ref.size_bytes,
                width=ref.width,
                height=ref.height,
                duration_s=ref.duration_s,
            )
            for ref in content.media
        )
        if content.media
        else (),
        unsupported=content.unsupported,
        place=None if place is None else Place(place.latitude, place.longitude, place.title, place.address),
        shared_contact=None if shared is None else SharedContact(shared.name, shared.phone, shared.is_own),
    )
