"""From a command to events or a refusal, knowing one version of the conversation."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Final

from inbox.domain.commands import (
    NOTHING,
    Claim,
    Command,
    Decision,
    Door,
    Moment,
    PostReply,
    Refusal,
    SetStatus,
    came_key,
    dedupe_id,
    inbound_message_id,
    reply_message_id,
)
from inbox.domain.events import (
    AnswerOrdered,
    Claimed,
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
    Attachment,
    Body,
    ContactCard,
    Entity,
    Fault,
    Known,
    Message,
    ParkedEdit,
    Person,
    Quoted,
    Version,
)
from msgkit.contracts.events import (
    ContactAvailability,
    Content,
    DeliveryReported,
    MessageEdited,
    MessageReceived,
)
from msgkit.contracts.ids import derived_id
from msgkit.contracts.words import STATE_RANK, AuthorKind, Direction, Handler, MessageKind, Status

LATE_AFTER: Final = timedelta(minutes=2)
"""A message that reached us this long after it was written says when it was written."""
ARRIVAL_SPACING: Final = timedelta(milliseconds=16)
BLOCKED_LINE: Final = "Бот заблоковано користувачем!"


def decide(  # noqa: PLR0911  # one line per command
    state: Known, command: Command, moment: Moment, door: Door
) -> Decision:
    """What follows from a command on this version of the conversation.

    Args:
        state: the conversation, with the messages of `referenced_ids` in hand as far as they exist.
        command: what came or is wanted.
        moment: the commit this decision will be part of; `moment.number` must be a fresh request number
            if `state.needs_request`.
        door: the channel.
    """
    match command:
        case MessageReceived():
            return _receive(state, command, moment, door)
        case MessageEdited():
            return _edit(state, command)
        case ContactAvailability():
            return _availability(state, command, moment)
        case DeliveryReported():
            return _report(state, command, moment)
        case PostReply():
            return _post_reply(state, command, moment, door)
        case SetStatus():
            return _set_status(state, command, moment)
        case Claim():
            return _claim(state, command, moment)


def _receive(state: Known, command: MessageReceived, moment: Moment, door: Door) -> Decision:
    key = came_key(state.id, command.provider_id)
    message_id = derived_id("message", state.id, key)
    if message_id in state.messages:
        return NOTHING
    sent_at = _to_ms(command.sent_at)
    events: list[Event] = []
    if state.needs_request:
        handler = Handler.BOT if door.bot_enabled else Handler.OPERATOR
        events.append(_open_request(state, key, moment, handler))
    if state.blocked and (state.availability_at is None or sent_at >= state.availability_at):
        events.append(ContactReturned(dedupe_id=f"return:{key}", happened_at=sent_at))
    reply_to, quote = _quoted(state, command)
    body = _to_body(command.content, message_id)
    contact = command.contact
    events.append(
        MessageCame(
            dedupe_id=key,
            message_id=message_id,
            n=state.n + 1,
            contact=ContactCard(contact.key, contact.name, contact.username, contact.phone, contact.language),
            provider_id=command.provider_id,
            provider_seq=command.provider_seq,
            provider_time=sent_at,
            pos_at=_inbound_position(state, sent_at, command.provider_seq, moment.at),
            late=command.recorded_at - command.sent_at > LATE_AFTER,
            body=body,
            reply_to=reply_to,
            quote=quote,
            start_payload=command.start_payload,
            group_id=command.group_id,
            webhook_id=command.webhook_id,
            # Of what we cannot show yet, the provider's own element stays with the message.
            raw=command.raw if body.kind is MessageKind.UNSUPPORTED else None,
        )
    )
    if state.parked_edits:
        events += _parked_for(state, command.provider_id, message_id, body)
    return tuple(events)


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


def _inbound_position(state: Known, sent_at: datetime, provider_seq: int, now: datetime) -> datetime:
    """The provider's time, between the last message of ours and now, in the provider's order.

    Messengers tell seconds: messages of one second stand a little apart, so that one that comes late finds
    room between its neighbours. Nobody stands before one the provider put before them.
    """
    earliest = state.ours_pos_at or sent_at
    position = max(min(sent_at, now), earliest)
    below: datetime | None = None
    above: datetime | None = None
    place = (sent_at, provider_seq)
    for arrival in state.arrivals:
        at = arrival.pos_at
        if (arrival.provider_time, arrival.provider_seq) < place:
            if below is None or at > below:
                below = at
            if arrival.provider_time == sent_at and (spaced := at + ARRIVAL_SPACING) > position:
                position = spaced
        elif above is None or at < above:
            above = at
    if below is not None:
        position = max(position, below)
    if above is not None and position >= above:
        room = above - (below if below is not None else above - 2 * ARRIVAL_SPACING)
        position = max(_whole_ms(above - room / 2), earliest)
    # `now` does not go back behind anything that stands, so this keeps the order too.
    return min(position, max(now, below or now))


def _whole_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


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
    return found.id, _quote_of(found)


def _quote_of(message: Message) -> Quoted:
    return Quoted(message.body.text[:200], message.author.name or "")


def _edit(state: Known, command: MessageEdited) -> Decision:
    key = dedupe_id(command)
    assert key is not None
    message_id = inbound_message_id(state.id, command.provider_id)
    edited_at = _to_ms(command.edited_at)
    body = _to_body(command.content, message_id)
    message = state.messages.get(message_id)
    if message is None:
        parked = ParkedEdit(command.provider_id, edited_at, body)
        return NOTHING if parked in state.parked_edits else (EditParked(dedupe_id=key, edit=parked),)
    is_newer = message.edited_at is None or edited_at >= message.edited_at
    if is_newer and body == message.body:
        return NOTHING  # a messenger reports an "edit" for a reaction or a keyboard, too
    if Version(body.text, edited_at) in message.versions:
        return NOTHING
    return (Edited(dedupe_id=key, message_id=message_id, edited_at=edited_at, body=body),)


def _availability(state: Known, command: ContactAvailability, moment: Moment) -> Decision:
    happened_at = _to_ms(command.happened_at)
    is_old = state.availability_at is not None and happened_at < state.availability_at
    if state.n == 0 or is_old or command.available is not state.blocked:
        return NOTHING
    key = f"availability:{command.event_id}"
    if command.available:
        return (ContactReturned(dedupe_id=key, happened_at=happened_at),)
    return (_block(state, key, happened_at, moment),)


def _block(state: Known, key: str, happened_at: datetime, moment: Moment, n_ahead: int = 0) -> ContactBlocked:
    return ContactBlocked(
        dedupe_id=key,
        message_id=derived_id("message", state.id, key),
        n=state.n + n_ahead + 1,
        text=BLOCKED_LINE,
        pos_at=_own_position(state, moment),
        happened_at=happened_at,
    )


def _report(state: Known, command: DeliveryReported, moment: Moment) -> Decision:
    message = state.messages.get(command.message_id)
    if message is None or message.direction is not Direction.OUT:
        return Refusal(404, "message_not_found", "Звіт про повідомлення, якого немає в цьому чаті.")
    events: list[Event] = []
    if STATE_RANK[command.state] > STATE_RANK[message.state]:
        failure = command.failure
        events.append(
            DeliveryChanged(
                dedupe_id=f"status:{command.message_id}:{STATE_RANK[command.state]}",
                message_id=message.id,
                state=command.state,
                provider_ids=tuple(command.provider_ids),
                failure=None if failure is None else Fault(failure.code, failure.text),
            )
        )
    happened_at = _to_ms(command.happened_at)
    is_old = state.availability_at is not None and happened_at < state.availability_at
    if command.contact_blocked and not state.blocked and not is_old:
        events.append(_block(state, f"blocked-by:{message.id}", happened_at, moment))
    return tuple(events)


def _post_reply(state: Known, command: PostReply, moment: Moment, door: Door) -> Decision:
    author_id = command.author.id or ""
    fingerprint = body_hash(command)
    message_id = reply_message_id(state.id, author_id, command.client_msg_id)
    existing = state.messages.get(message_id)
    if existing is not None:
        if existing.body_hash == fingerprint:
            return NOTHING
        return Refusal(
            422, "client_msg_id_reused", "Цей ключ уже має інше повідомлення. Надішліть з новим ключем."
        )
    refusal = _refuse_reply(state, command, door)
    if refusal is not None:
        return refusal
    key = f"send:{author_id}:{command.client_msg_id}"
    if command.note:
        return (
            NoteWritten(
                dedupe_id=key,
                message_id=message_id,
                n=state.n + 1,
                author=command.author,
                client_msg_id=command.client_msg_id,
                body_hash=fingerprint,
                text=command.text,
                pos_at=_own_position(state, moment),
            ),
        )
    events: list[Event] = []
    if state.needs_request:
        events.append(_open_request(state, key, moment, Handler.OPERATOR))
    elif state.handler is Handler.BOT and command.author.kind is AuthorKind.OPERATOR:
        by = Person(author_id, command.author.name or "")
        events.append(TakenOver(dedupe_id=f"takeover:{key}", by=by, cancelled=state.bot_queued))
    target = state.messages.get(command.reply_to) if command.reply_to is not None else None
    assert state.contact is not None  # a conversation with messages has its contact
    events.append(
        AnswerOrdered(
            dedupe_id=key,
            message_id=message_id,
            n=state.n + 1,
            out_seq=state.out_seq + 1,
            author=command.author,
            client_msg_id=command.client_msg_id,
            body_hash=fingerprint,
            text=command.text,
            pos_at=_own_position(state, moment),
            contact_key=state.contact.key,
            reply_to=None if target is None else target.id,
            quote=None if target is None else _quote_of(target),
            reply_to_provider_id=target.provider_ids[0] if target and target.provider_ids else None,
        )
    )
    return tuple(events)


def _refuse_reply(  # noqa: PLR0911  # one line per reason
    state: Known, command: PostReply, door: Door
) -> Refusal | None:
    if state.n == 0 or state.contact is None:
        return Refusal(404, "not_found", "Немає такого чату.")
    if not command.text.strip():
        return Refusal(422, "invalid", "Порожнє повідомлення. Напишіть текст.")
    if command.reply_to is not None and command.reply_to not in state.messages:
        return Refusal(422, "reply_to_not_found", "У цьому чаті немає повідомлення, на яке ви відповідаєте.")
    if command.note:
        return None
    if state.blocked:
        return Refusal(409, "bot_blocked", "Клієнт заблокував бота. Напишіть йому іншим каналом.")
    if not door.connected:
        return Refusal(
            409, "channel_disconnected", "Канал не підключено. Адміністратор має підключити його знову."
        )
    if command.seen_n is not None and not command.force:
        others_n = state.other_answer_n if state.last_answer_by == command.author.id else state.last_answer_n
        if others_n > command.seen_n:
            return Refusal(
                409, "colleague_replied", "Колега вже відповів. Прочитайте і надішліть ще раз, якщо треба."
            )
    return None


def _set_status(state: Known, command: SetStatus, moment: Moment) -> Decision:
    if state.n == 0:
        return Refusal(404, "not_found", "Немає такого чату.")
    if state.status is command.status:
        return NOTHING
    key = f"status-set:{state.id}:{moment.v}"
    return (StatusSet(dedupe_id=key, status=command.status, by=command.by),)


def _claim(state: Known, command: Claim, moment: Moment) -> Decision:
    if state.n == 0:
        return Refusal(404, "not_found", "Немає такого чату.")
    if state.status is Status.CLOSED:
        return Refusal(409, "conversation_closed", "Чат завершено. Відкрийте його або напишіть клієнту.")
    if state.assignee is not None and state.assignee.id != command.by.id:
        return Refusal(409, "assigned_to_other", "Чат уже взяв колега.")
    events: list[Event] = []
    if state.handler is Handler.BOT:
        key = f"takeover:{state.id}:{moment.v}"
        events.append(TakenOver(dedupe_id=key, by=command.by, cancelled=state.bot_queued))
    if state.assignee is None:
        events.append(Claimed(dedupe_id=f"claim:{state.id}:{moment.v}", by=command.by))
    return tuple(events)


def _open_request(state: Known, cause: str, moment: Moment, handler: Handler) -> RequestOpened:
    request_id = derived_id("request", state.id, cause)
    return RequestOpened(
        dedupe_id=f"request:{request_id}", request_id=request_id, number=moment.number, handler=handler
    )


def _own_position(state: Known, moment: Moment) -> datetime:
    """Ours stand at their commit time, never before what is there: clocks of replicas differ."""
    return moment.at if state.last_pos_at is None else max(moment.at, state.last_pos_at)


def body_hash(command: PostReply) -> str:
    """What must be equal for a repeat of a send; what its author had seen is not part of it."""
    words = json.dumps([command.text, command.reply_to, command.note], ensure_ascii=False)
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def _to_body(content: Content, message_id: str) -> Body:
    media = content.media
    return Body(
        kind=content.kind,
        text=content.text,
        entities=tuple(Entity(e.kind, e.offset, e.length, e.url) for e in content.entities)
        if content.entities
        else (),
        attachments=tuple(
            Attachment(
                id=derived_id("attachment", message_id, str(index), ref.ref),
                ref=ref.ref,
                kind=ref.kind,
                name=ref.name,
                mime=ref.mime,
                size=ref.size_bytes,
                width=ref.width,
                height=ref.height,
                duration_s=ref.duration_s,
            )
            for index, ref in enumerate(media)
        )
        if media
        else (),
        unsupported=content.unsupported,
    )


def _to_ms(at: datetime) -> datetime:
    """Cut to milliseconds, in UTC: what the store keeps, so that a value equals itself after a reading."""
    return at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)
