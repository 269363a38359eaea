"""What an event makes of one message: a new one of ours, or a change.

A change may be done again to a message that already has it: a crash between the writes of two projections
leaves such messages.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from inbox.domain.commands import Moment
from inbox.domain.events import (
    AnswerDeleted,
    AnswerReordered,
    AttachmentSettled,
    ContactBlocked,
    DeliveryChanged,
    Edited,
    FateDecided,
    FilesRecalled,
    LineWritten,
    Reacted,
    Stored,
)
from inbox.domain.pieces import Attachment, Author, Body, Place, SharedContact, Version
from inbox.domain.state import Draft, LastLine, Message
from msgkit.contracts.words import (
    LATE_REFUSAL_RANK,
    STATE_RANK,
    AttachmentState,
    AuthorKind,
    Direction,
    MessageKind,
    MessageState,
)

DELETED_LINE: Final = "Повідомлення видалено"
LINK_WORDS: Final[dict[str, str]] = {
    "story_reply": "Відповідь на історію",
    "story_mention": "Згадка в історії",
    "post": "Допис",
    "reel": "Reels",
    "link": "Посилання",
    "product": "Товар",
    "ad": "Реклама",
}
"""What a row and a quotation say of a message without words that points at something."""
_BY_TYPE: Final = {"image": MessageKind.IMAGE, "video": MessageKind.VIDEO}


def words_of(body: Body) -> str:
    """What a body says in a line; empty: only its kind is left to say."""
    link = body.shared_link
    return body.text if body.text or link is None else link.title or LINK_WORDS[link.kind]


def is_success(state: MessageState) -> bool:
    """Whether the client has it, as far as the messenger knows."""
    return STATE_RANK[state] >= STATE_RANK[MessageState.SENT]


def edited(message: Message, event: Edited, moment: Moment) -> Message:
    """The newest words are shown, whatever the order in which edits came; the others are versions."""
    if message.withdrawn_at is not None:
        return message
    since = message.edited_at or message.provider_time
    versions = [*message.versions, Version(message.body.text, since)]
    told = Version(event.body.text, event.edited_at)
    if told in versions:
        return message
    if message.edited_at is None or event.edited_at >= message.edited_at:
        return replace(
            message, body=event.body, edited_at=event.edited_at, versions=tuple(versions), rev=moment.v
        )
    # An older edit came later: it belongs to the past.
    past = sorted([*message.versions, told], key=lambda version: version.at)
    return replace(message, versions=tuple(past), rev=moment.v)


def reordered(message: Message, event: AnswerReordered, moment: Moment) -> Message:
    if message.attempt >= event.attempt:
        return message
    return replace(message, attempt=event.attempt, state=MessageState.QUEUED, failure=None, rev=moment.v)


def deleted(message: Message, _event: AnswerDeleted, moment: Moment) -> Message:
    if message.deleted_at is not None or is_success(message.state):
        return message
    return replace(message, deleted_at=moment.at, rev=moment.v)


def withdrawn(message: Message, at: datetime, moment: Moment) -> Message:
    """What it said stays in the log alone."""
    if message.withdrawn_at is not None:
        return message
    nothing = Body(message.body.kind, "")
    return replace(
        message,
        body=nothing,
        versions=(),
        signs=(),
        buttons=(),
        pressed=None,
        template=None,
        withdrawn_at=at,
        rev=moment.v,
    )


def signed(message: Message, event: Reacted, moment: Moment) -> Message:
    """One sign of each side, the newest one; of equal times the one told last."""
    sign = event.sign
    known = next((one for one in message.signs if one.is_ours is sign.is_ours), None)
    if message.withdrawn_at is not None or known == sign or (known is not None and known.at > sign.at):
        return message
    others = [one for one in message.signs if one.is_ours is not sign.is_ours]
    # The client's first.
    signs = (*others, sign) if sign.is_ours else (sign, *others)
    return replace(message, signs=signs, rev=moment.v)


def carried(carrier: Message, event: Reacted, moment: Moment) -> Message:
    """A reaction of ours is seen at its message, or, undone, as an answer that failed."""
    shown_at = None if event.is_undone else event.message_id
    return (
        carrier if carrier.replaced_by == shown_at else replace(carrier, replaced_by=shown_at, rev=moment.v)
    )


def completed(message: Message, event: FilesRecalled, moment: Moment) -> Message:
    if not message.is_recalled or message.withdrawn_at is not None or message.body.attachments:
        return message
    return replace(message, body=event.body, rev=moment.v)


def reported(message: Message, event: DeliveryChanged, moment: Moment) -> Message:
    """A state only rises; of an attempt refused afterwards «taken» is no news any more."""
    is_undone = event.state is MessageState.SENT and event.attempt in message.refused
    changed = message
    if event.is_late_refusal and event.attempt not in message.refused:
        changed = replace(changed, refused=(*message.refused, event.attempt), rev=moment.v)
    new_ids = tuple(id_ for id_ in event.provider_ids if id_ not in message.provider_ids)
    if new_ids:
        # Also of a report that is no news: by them an echo or a quotation is known as ours.
        changed = replace(changed, provider_ids=(*message.provider_ids, *new_ids), rev=moment.v)
    has_it = is_success(event.state)
    rank = LATE_REFUSAL_RANK if event.is_late_refusal else STATE_RANK[event.state]
    counts = (has_it and not is_undone) or (not has_it and event.attempt >= message.attempt)
    if not counts or rank <= message.rank:
        return changed
    return replace(
        changed,
        state=event.state,
        failure=event.failure,
        # Deleted on our side, and delivered all the same: what the client has is shown.
        deleted_at=None if has_it else message.deleted_at,
        rev=moment.v,
    )


def replaced(echo: Message, ordered: Message, moment: Moment) -> Message:
    if echo.replaced_by is not None:
        return echo
    return replace(echo, author=ordered.author, replaced_by=ordered.id, rev=moment.v)


def heir(ordered: Message, echo: Message, moment: Moment) -> Message:
    """What befell the echo before it was known as this answer befell the answer."""
    if ordered.withdrawn_at is None and echo.withdrawn_at is not None:
        return withdrawn(ordered, echo.withdrawn_at, moment)
    if ordered.withdrawn_at is None and echo.signs and not ordered.signs:
        return replace(ordered, signs=echo.signs, rev=moment.v)
    return ordered


def fated(message: Message, event: FateDecided, moment: Moment) -> Message:
    if message.state is not MessageState.UNKNOWN:
        return message
    return replace(message, state=event.state, failure=event.failure, rev=moment.v)


def settled(message: Message, event: AttachmentSettled, moment: Moment) -> Message:
    body = body_settled(message.body, event.attachment_id, event.stored, event.lost)
    return message if body == message.body else replace(message, body=body, rev=moment.v)


def body_settled(body: Body, attachment_id: str, stored: Stored | None, lost: str | None) -> Body:
    """The same with one file as it was found to be, or lost."""
    files = tuple(
        _file_settled(one, stored, lost) if one.id == attachment_id else one for one in body.attachments
    )
    return replace(body, attachments=files)


def _file_settled(file: Attachment, stored: Stored | None, lost: str | None) -> Attachment:
    if stored is None:
        return replace(file, state=AttachmentState.LOST, lost=lost)
    return replace(
        file,
        state=AttachmentState.READY,
        kind=_seen_kind(file.kind, stored.mime),
        key=stored.key,
        thumb_key=stored.thumb_key,
        mime=stored.mime,
        size=stored.size,
        # What the messenger said of it stands where we could not see for ourselves.
        width=stored.width or file.width,
        height=stored.height or file.height,
        duration_s=file.duration_s if stored.duration_s is None else stored.duration_s,
    )


def _seen_kind(told: MessageKind, mime: str) -> MessageKind:
    """What a messenger calls a picture may be a film, or the other way round, e.g. a story."""
    if told in {MessageKind.IMAGE, MessageKind.VIDEO}:
        return _BY_TYPE.get(mime.partition("/")[0], told)
    return told


def own_message(
    draft: Draft,
    moment: Moment,
    *,
    id_: str,
    n: int,
    pos_at: datetime,
    direction: Direction,
    author: Author,
    body: Body,
    state: MessageState,
) -> Message:
    return Message(
        id=id_,
        tenant_id=draft.tenant_id,
        channel_id=draft.channel_id,
        conversation_id=draft.id,
        request_id=request_id(draft),
        n=n,
        in_seq=draft.in_seq,
        pos_at=pos_at,
        direction=direction,
        author=author,
        body=body,
        provider_time=moment.at,
        created_at=moment.at,
        state=state,
        rev=moment.v,
    )


def own_body(
    text: str,
    attachments: tuple[Attachment, ...],
    place: Place | None = None,
    shared_contact: SharedContact | None = None,
) -> Body:
    """What an answer or a note says; its kind is that of the first thing it carries."""
    kind = MessageKind.TEXT
    if attachments:
        kind = attachments[0].kind
    elif place is not None:
        kind = MessageKind.LOCATION
    elif shared_contact is not None:
        kind = MessageKind.CONTACT
    return Body(kind, text, attachments=attachments, place=place, shared_contact=shared_contact)


def system_message(draft: Draft, event: LineWritten | ContactBlocked, moment: Moment) -> Message:
    return own_message(
        draft,
        moment,
        id_=event.message_id,
        n=event.n,
        pos_at=event.pos_at,
        direction=Direction.SYSTEM,
        author=Author(AuthorKind.SYSTEM),
        body=Body(MessageKind.TEXT, event.text),
        state=MessageState.DELIVERED,
    )


def last_line(message: Message) -> LastLine:
    return LastLine(
        id=message.id,
        n=message.n,
        text=DELETED_LINE if message.is_gone else words_of(message.body)[:200],
        kind=message.body.kind,
        direction=message.direction,
        at=message.created_at,
        state=message.state,
        author=message.author,
    )


def request_id(draft: Draft) -> str:
    return "" if draft.request is None else draft.request.id
