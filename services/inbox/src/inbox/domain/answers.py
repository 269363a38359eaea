"""What follows from an answer: ordering it, what becomes of it, sending it again, taking it away."""

from __future__ import annotations

from typing import Final

from inbox.domain.bodies import early_changes
from inbox.domain.changes import is_success
from inbox.domain.commands import (
    NOTHING,
    Decision,
    DeleteAnswer,
    Door,
    Moment,
    PostReply,
    Refusal,
    Resolve,
    Retry,
    Upload,
    echoes_of,
    is_refused_late,
    order_id,
    order_of,
    reply_message_id,
    reported_rank,
    status_key,
)
from inbox.domain.echoes import parked_echoes
from inbox.domain.events import (
    AnswerDeleted,
    AnswerOrdered,
    AnswerReordered,
    DeliveryChanged,
    EchoReplaced,
    Event,
    FateDecided,
    NoteWritten,
    SendsCancelled,
    TakenOver,
    WindowShut,
)
from inbox.domain.pieces import Attachment, Fault, Person
from inbox.domain.places import block, line, open_request, own_position, quote_of, to_ms
from inbox.domain.refusals import body_hash, refuse_reply, refuse_sending
from inbox.domain.signs import after_fate
from inbox.domain.state import Known, Message
from inbox.domain.windows import is_late_answer, shuts, written_at
from msgkit.contracts.events import DeliveryReported
from msgkit.contracts.ids import attachment_id
from msgkit.contracts.words import (
    STATE_RANK,
    AttachmentState,
    AuthorKind,
    Direction,
    FailureCode,
    Handler,
    MessageState,
)

DELETABLE: Final = (MessageState.QUEUED, MessageState.FAILED, MessageState.UNKNOWN)
TAKEN_OVER_LINE: Final = "Замість бота відповідає {}"


def post_reply(state: Known, command: PostReply, moment: Moment, door: Door) -> Decision:
    """An answer or a note; a repeat of one is nothing."""
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
    refusal = refuse_reply(state, command, moment.at, door)
    if refusal is not None:
        return refusal
    key = f"send:{author_id}:{command.client_msg_id}"
    attachments = tuple(_attachment(message_id, upload) for upload in command.attachments)
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
                pos_at=own_position(state, moment),
                attachments=attachments,
            ),
        )
    if command.is_reaction:
        return (_order(state, command, moment, state.n + 1, attachments),)
    events: list[Event] = []
    n = state.n + 1
    if state.needs_request:
        events.append(open_request(state, key, moment, Handler.OPERATOR))
    elif state.handler is Handler.BOT and command.author.kind is AuthorKind.OPERATOR:
        by = Person(author_id, command.author.name or "")
        cause = f"takeover:{key}"
        events.append(TakenOver(dedupe_id=cause, by=by, cancelled=state.bot_queued))
        events.append(line(state, moment, cause, TAKEN_OVER_LINE.format(by.name)))
        n += 1
    waiting = parked_echoes(state, moment, n - 1)
    events += waiting.events
    events.append(_order(state, command, moment, waiting.n + 1, attachments))
    return tuple(events)


def _order(
    state: Known, command: PostReply, moment: Moment, n: int, attachments: tuple[Attachment, ...]
) -> AnswerOrdered:
    author_id = command.author.id or ""
    target = state.messages.get(command.reply_to) if command.reply_to is not None else None
    assert state.contact is not None  # a conversation with messages has its contact
    return AnswerOrdered(
        dedupe_id=f"send:{author_id}:{command.client_msg_id}",
        message_id=reply_message_id(state.id, author_id, command.client_msg_id),
        n=n,
        out_seq=state.out_seq + 1,
        author=command.author,
        client_msg_id=command.client_msg_id,
        body_hash=body_hash(command),
        text=command.text,
        pos_at=own_position(state, moment),
        contact_key=state.contact.key,
        client_wrote_at=written_at(state),
        reply_to=None if target is None else target.replaced_by or target.id,
        quote=None if target is None else quote_of(target),
        reply_to_provider_id=target.provider_ids[0] if target and target.provider_ids else None,
        attachments=attachments,
        buttons=command.buttons,
        place=command.place,
        shared_contact=command.shared_contact,
        template=command.template,
        is_reaction=command.is_reaction,
    )


def _attachment(message_id: str, upload: Upload) -> Attachment:
    return Attachment(
        id=attachment_id(message_id, upload.id),
        ref=upload.id,
        kind=upload.kind,
        name=upload.name,
        mime=upload.mime,
        size=upload.size,
        width=upload.width,
        height=upload.height,
        duration_s=upload.duration_s,
        state=AttachmentState.READY,
        key=upload.key,
        thumb_key=upload.thumb_key,
    )


def report(state: Known, command: DeliveryReported, moment: Moment, door: Door) -> Decision:
    """What became of an attempt. A success counts whichever attempt had it; the rest only of the last one.

    What the messenger took and refuses later has failed: only the client's own device proves that wrong.
    Of an answer whose echo came first one message remains, the ordered one. What the echo did to the chat,
    as a person's answer, stays: a person may have gone on from there.
    """
    message_id, attempt = order_of(command.message_id)
    message = state.messages.get(message_id)
    if message is None or message.direction is not Direction.OUT:
        return Refusal(404, "message_not_found", "Звіт про повідомлення, якого немає в цьому чаті.")
    events: list[Event] = []
    has_it = is_success(command.state)
    # A report on an attempt we have not heard of will lose the race for the version and be decided again.
    known = STATE_RANK[MessageState.QUEUED] if attempt > message.attempt else message.rank
    is_undone = command.state is MessageState.SENT and attempt in message.refused
    counts = (has_it and not is_undone) or (not has_it and attempt >= message.attempt)
    rises = counts and reported_rank(command) > known
    # What the messenger refuses late must be known even of an attempt that another one has followed.
    is_news = is_refused_late(command) and attempt not in message.refused and attempt < message.attempt
    if rises or is_news or not set(command.provider_ids) <= set(message.provider_ids):
        failure = command.failure
        events.append(
            DeliveryChanged(
                dedupe_id=status_key(command),
                message_id=message.id,
                state=command.state,
                provider_ids=tuple(command.provider_ids),
                failure=None if failure is None else Fault(failure.code, failure.text),
                attempt=attempt,
                is_late_refusal=is_refused_late(command),
            )
        )
        events += _early_changes(state, message, command)
        if (rises or is_news) and shuts(state, message, command):
            is_late = is_late_answer(state, message, door, to_ms(command.happened_at))
            if is_late or not state.is_shut:
                events.append(WindowShut(dedupe_id=f"shut:{command.message_id}", is_late=is_late))
        if rises:
            cause = f"{command.message_id}:{reported_rank(command):g}"
            events += after_fate(state, message, command.state, cause)
        if rises and attempt < message.attempt and message.state is MessageState.QUEUED:
            # The client has it after all: what still waits must not bring it twice.
            order = order_id(message.id, message.attempt)
            events.append(SendsCancelled(dedupe_id=f"cancel:{order}", order_ids=(order,)))
    events += (
        EchoReplaced(dedupe_id=f"replaced:{echo_id}", message_id=echo_id, ordered_id=message.id)
        for echo_id in echoes_of(state, command)
    )
    happened_at = to_ms(command.happened_at)
    is_old = state.availability_at is not None and happened_at < state.availability_at
    if command.contact_blocked and not state.blocked and not is_old:
        events.append(block(state, f"blocked-by:{command.message_id}", happened_at, moment))
    return tuple(events)


def _early_changes(state: Known, message: Message, report: DeliveryReported) -> list[Event]:
    """Taken back or edited in the messenger's own app before its id was known here."""
    return [
        event
        for provider_id in report.provider_ids
        if provider_id not in message.provider_ids
        for event in early_changes(state, provider_id, message.id, message.body)
    ]


def retry(state: Known, command: Retry, moment: Moment, door: Door) -> Decision:
    """A failed answer goes out once more."""
    message = _answer(state, command.message_id)
    if isinstance(message, Refusal):
        return message
    if message.state is not MessageState.FAILED:
        return Refusal(
            409, "not_failed", "Ще раз надсилають лише те, що не надіслано. Подивіться на стан повідомлення."
        )
    return _reorder(state, message, command.by, moment, door)


def resolve(state: Known, command: Resolve, moment: Moment, door: Door) -> Decision:
    """A person has looked at the client's phone, or does not want to know."""
    message = _answer(state, command.message_id)
    if isinstance(message, Refusal):
        return message
    if message.state is not MessageState.UNKNOWN:
        return Refusal(
            409, "not_unknown", "Доля цього повідомлення вже відома. Подивіться на його стан у чаті."
        )
    if command.action == "resend":
        return _reorder(state, message, command.by, moment, door)
    is_sent = command.action == "sent"
    failure = None if is_sent else Fault(FailureCode.TEMPORARY, "Не надіслано: так вирішив оператор.")
    fate = MessageState.SENT if is_sent else MessageState.FAILED
    key = f"fate:{order_id(message.id, message.attempt)}"
    return (
        FateDecided(dedupe_id=key, message_id=message.id, state=fate, failure=failure, by=command.by),
        *after_fate(state, message, fate, key),
    )


def delete_answer(state: Known, command: DeleteAnswer) -> Decision:
    """An answer the client has not got goes away, and what still waits for it is called back."""
    message = state.messages.get(command.message_id)
    if message is not None and message.is_gone:
        return NOTHING
    found = _answer(state, command.message_id)
    if isinstance(found, Refusal):
        return found
    if found.state not in DELETABLE:
        return Refusal(
            409, "not_deletable", "Повідомлення вже в месенджері. Видалити можна лише не надіслане."
        )
    order = order_id(found.id, found.attempt)
    deleted = AnswerDeleted(dedupe_id=f"deleted:{order}", message_id=found.id, by=command.by)
    if found.state is not MessageState.QUEUED:
        return (deleted,)
    return (deleted, SendsCancelled(dedupe_id=f"cancel:{order}", order_ids=(order,)))


def _answer(state: Known, message_id: str) -> Message | Refusal:
    message = state.messages.get(message_id)
    if message is None:
        return Refusal(404, "not_found", "Немає такого повідомлення.")
    if message.direction is not Direction.OUT:
        return Refusal(409, "not_an_answer", "Це можна зробити лише з відповіддю клієнтові.")
    if message.is_recalled:
        return Refusal(409, "not_an_answer", "Це повідомлення з історії месенджера. Напишіть нове.")
    if message.is_gone:
        return Refusal(409, "deleted", "Повідомлення видалено. Напишіть нове.")
    return message


def _reorder(state: Known, message: Message, by: Person, moment: Moment, door: Door) -> Decision:
    refusal = refuse_sending(
        state, door, moment.at, message.author.kind, is_template=message.template is not None
    )
    if refusal is not None:
        return refusal
    assert state.contact is not None  # a conversation with messages has its contact
    attempt = message.attempt + 1
    return (
        AnswerReordered(
            dedupe_id=f"again:{order_id(message.id, attempt)}",
            message_id=message.id,
            attempt=attempt,
            out_seq=state.out_seq + 1,
            by=by,
            contact_key=state.contact.key,
            author_kind=message.author.kind,
            client_wrote_at=written_at(state),
            text=message.body.text,
            reply_to_provider_id=message.reply_to_provider_id,
            attachments=message.body.attachments,
            buttons=message.buttons,
            place=message.body.place,
            shared_contact=message.body.shared_contact,
            template=message.template,
            is_reaction=message.is_reaction,
        ),
    )
