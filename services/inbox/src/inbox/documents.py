"""How commits, conversations and messages are stored: plain documents, and the way back.

Written by hand for what every message needs, because it costs a quarter of the general way; a test holds
each document against the general one, and what is read back is checked by it.
"""

from __future__ import annotations

from inbox.domain import (
    COMMIT,
    EVENT,
    MESSAGE,
    STATE,
    Arrival,
    Attachment,
    Author,
    Body,
    Button,
    Buttons,
    Commit,
    ContactCard,
    Entity,
    Event,
    LastLine,
    Message,
    MessageCame,
    ParkedEcho,
    ParkedEdit,
    Place,
    Press,
    Quoted,
    SharedContact,
    SharedLink,
    Sign,
    State,
    Template,
    Version,
)
from msgkit.runtime.mongo import Document


def commit_document(commit: Commit) -> Document:
    """A commit as the log stores it."""
    return {
        "tenant_id": commit.tenant_id,
        "conversation_id": commit.conversation_id,
        "channel_id": commit.channel_id,
        "channel_kind": commit.channel_kind,
        "v": commit.v,
        "events": [_event(event) for event in commit.events],
        "at": commit.at,
        "partition": commit.partition,
        "relayed": commit.relayed,
        "received_at": commit.received_at,
        "trace": commit.trace,
    }


def commit_of(document: Document) -> Commit:
    """A commit of the log; `document` without `_id`."""
    return COMMIT.validate_python(document)


def state_document(state: State) -> Document:
    """A conversation as the projection stores it, with what its lists need."""
    contact, assignee, request = state.contact, state.assignee, state.request
    box = state.box
    document: Document = {
        "_id": state.id,
        "tenant_id": state.tenant_id,
        "channel_id": state.channel_id,
        "channel_kind": state.channel_kind,
        "v": state.v,
        "contact": None if contact is None else _contact(contact),
        "blocked": state.blocked,
        "availability_at": state.availability_at,
        "handler": state.handler.value,
        "status": state.status.value,
        "assignee": None if assignee is None else {"id": assignee.id, "name": assignee.name},
        "assigned_at": state.assigned_at,
        "request": None
        if request is None
        else {
            "id": request.id,
            "number": request.number,
            "opened_at": request.opened_at,
            "first_reply_at": request.first_reply_at,
        },
        "last_message": None if state.last_message is None else _last_line(state.last_message),
        "activity_at": state.activity_at,
        "n": state.n,
        "in_seq": state.in_seq,
        "out_seq": state.out_seq,
        "answered_seq": state.answered_seq,
        "last_pos_at": state.last_pos_at,
        "ours_pos_at": state.ours_pos_at,
        "last_answer_n": state.last_answer_n,
        "last_answer_by": state.last_answer_by,
        "other_answer_n": state.other_answer_n,
        "bot_queued": list(state.bot_queued),
        "arrivals": [_arrival(arrival) for arrival in state.arrivals],
        "parked_edits": [_parked(edit) for edit in state.parked_edits],
        "box": None if box is None else box.value,
        "unanswered": state.is_unanswered,
    }
    # What few have is stored only where it is, so documents from before it was known are no different.
    if state.elsewhere:
        document["elsewhere"] = [{"message_id": one.message_id, "n": one.n} for one in state.elsewhere]
    if state.parked_echoes:
        document["parked_echoes"] = [_parked_echo(echo) for echo in state.parked_echoes]
    if state.parked_deletions:
        document["parked_deletions"] = [
            {"provider_id": one.provider_id, "withdrawn_at": one.withdrawn_at}
            for one in state.parked_deletions
        ]
    if state.is_shut:
        document["is_shut"] = True
    if state.late_shut_at is not None:
        document["late_shut_at"] = state.late_shut_at
    return document


def state_of(document: Document) -> State:
    """The conversation of a projection, without messages in hand."""
    return STATE.validate_python({**document, "id": document["_id"]})


def message_document(message: Message) -> Document:
    """A message as the projection stores it."""
    failure = message.failure
    document: Document = {
        "_id": message.id,
        "tenant_id": message.tenant_id,
        "channel_id": message.channel_id,
        "conversation_id": message.conversation_id,
        "request_id": message.request_id,
        "n": message.n,
        "in_seq": message.in_seq,
        "pos_at": message.pos_at,
        "direction": message.direction.value,
        "author": _author(message.author),
        "body": _body(message.body),
        "provider_time": message.provider_time,
        "created_at": message.created_at,
        "state": message.state.value,
        "rev": message.rev,
        "client_msg_id": message.client_msg_id,
        "body_hash": message.body_hash,
        "reply_to": message.reply_to,
        "quote": None if message.quote is None else _quote(message.quote),
        "provider_ids": list(message.provider_ids),
        "group_id": message.group_id,
        "late": message.late,
        "failure": None if failure is None else {"code": failure.code.value, "text": failure.text},
        "edited_at": message.edited_at,
        "versions": [_version(version) for version in message.versions],
        "reply_to_provider_id": message.reply_to_provider_id,
        "pressed": None if message.pressed is None else _press(message.pressed),
        "attempt": message.attempt,
        "deleted_at": message.deleted_at,
    }
    if message.buttons:
        document["buttons"] = _buttons(message.buttons)
    if message.refused:
        document["refused"] = list(message.refused)
    if message.replaced_by is not None:
        document["replaced_by"] = message.replaced_by
    if message.template is not None:
        document["template"] = _template(message.template)
    if message.is_reaction:
        document["is_reaction"] = True
    if message.is_recalled:
        document["is_recalled"] = True
    if message.signs:
        document["signs"] = [_sign(sign) for sign in message.signs]
    if message.withdrawn_at is not None:
        document["withdrawn_at"] = message.withdrawn_at
    return document


def message_of(document: Document) -> Message:
    return MESSAGE.validate_python({**document, "id": document["_id"]})


def _event(event: Event) -> Document:
    if isinstance(event, MessageCame):
        return {
            "dedupe_id": event.dedupe_id,
            "message_id": event.message_id,
            "n": event.n,
            "contact": _contact(event.contact),
            "provider_id": event.provider_id,
            "provider_seq": event.provider_seq,
            "provider_time": event.provider_time,
            "pos_at": event.pos_at,
            "late": event.late,
            "body": _body(event.body),
            "reply_to": event.reply_to,
            "quote": None if event.quote is None else _quote(event.quote),
            "start_payload": event.start_payload,
            "group_id": event.group_id,
            "webhook_id": event.webhook_id,
            "raw": event.raw,
            "pressed": None if event.pressed is None else _press(event.pressed),
            "type": event.type,
        }
    document: Document = EVENT.dump_python(event)  # the rarer ones
    return document


def _author(author: Author) -> Document:
    return {"kind": author.kind.value, "id": author.id, "name": author.name}


def _contact(contact: ContactCard) -> Document:
    return {
        "key": contact.key,
        "name": contact.name,
        "username": contact.username,
        "phone": contact.phone,
        "language": contact.language,
    }


def _body(body: Body) -> Document:
    document: Document = {
        "kind": body.kind.value,
        "text": body.text,
        "entities": [_entity(entity) for entity in body.entities] if body.entities else [],
        "attachments": [_attachment(one) for one in body.attachments] if body.attachments else [],
        "unsupported": body.unsupported,
        "place": None if body.place is None else _place(body.place),
        "shared_contact": None if body.shared_contact is None else _shared(body.shared_contact),
    }
    if body.shared_link is not None:
        document["shared_link"] = _link(body.shared_link)
    return document


def _link(link: SharedLink) -> Document:
    return {"kind": link.kind, "title": link.title, "url": link.url}


def _place(place: Place) -> Document:
    return {
        "latitude": place.latitude,
        "longitude": place.longitude,
        "title": place.title,
        "address": place.address,
    }


def _shared(shared: SharedContact) -> Document:
    return {"name": shared.name, "phone": shared.phone, "is_own": shared.is_own}


def _press(press: Press) -> Document:
    return {"value": press.value, "message_provider_id": press.message_provider_id}


def _entity(entity: Entity) -> Document:
    return {"kind": entity.kind, "offset": entity.offset, "length": entity.length, "url": entity.url}


def _attachment(attachment: Attachment) -> Document:
    return {
        "id": attachment.id,
        "ref": attachment.ref,
        "kind": attachment.kind.value,
        "name": attachment.name,
        "mime": attachment.mime,
        "size": attachment.size,
        "width": attachment.width,
        "height": attachment.height,
        "duration_s": attachment.duration_s,
        "state": attachment.state.value,
        "key": attachment.key,
        "thumb_key": attachment.thumb_key,
        "lost": attachment.lost,
    }


def _template(template: Template) -> Document:
    values = [
        {"part": one.part, "index": one.index, "name": one.name, "value": one.value}
        for one in template.values
    ]
    return {"name": template.name, "language": template.language, "values": values}


def _sign(sign: Sign) -> Document:
    return {"is_ours": sign.is_ours, "emoji": sign.emoji, "at": sign.at}


def _quote(quote: Quoted) -> Document:
    return {"text": quote.text, "author": quote.author}


def _version(version: Version) -> Document:
    return {"text": version.text, "at": version.at}


def _last_line(line: LastLine) -> Document:
    return {
        "id": line.id,
        "n": line.n,
        "text": line.text,
        "kind": line.kind.value,
        "direction": line.direction.value,
        "at": line.at,
        "state": line.state.value,
        "author": _author(line.author),
    }


def _arrival(arrival: Arrival) -> Document:
    return {
        "provider_seq": arrival.provider_seq,
        "provider_time": arrival.provider_time,
        "pos_at": arrival.pos_at,
    }


def _buttons(rows: Buttons) -> list[list[Document]]:
    return [[_button(button) for button in row] for row in rows]


def _button(button: Button) -> Document:
    return {"text": button.text, "action": button.action, "value": button.value}


def _parked_echo(echo: ParkedEcho) -> Document:
    return {
        "provider_id": echo.provider_id,
        "provider_seq": echo.provider_seq,
        "provider_time": echo.provider_time,
        "contact": _contact(echo.contact),
        "body": _body(echo.body),
        "buttons": _buttons(echo.buttons),
        "reply_to": echo.reply_to,
        "quote": None if echo.quote is None else _quote(echo.quote),
    }


def _parked(edit: ParkedEdit) -> Document:
    return {"provider_id": edit.provider_id, "edited_at": edit.edited_at, "body": _body(edit.body)}
