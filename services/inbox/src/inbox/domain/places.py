"""Where a message stands in its dialogue, and what a line of ours is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from inbox.domain.bodies import NAMELESS
from inbox.domain.changes import DELETED_LINE, words_of
from inbox.domain.commands import Moment
from inbox.domain.events import ContactBlocked, LineWritten, RequestOpened
from inbox.domain.pieces import Quoted
from inbox.domain.state import Known, Message
from msgkit.contracts.ids import derived_id, inbound_message_id
from msgkit.contracts.words import Handler, MessageKind

ARRIVAL_SPACING: Final = timedelta(milliseconds=16)
LATE_AFTER: Final = timedelta(minutes=2)
"""A message that reached us this long after it was written says when it was written."""
BLOCKED_LINE: Final = "Бот заблоковано користувачем!"
RETURNED_LINE: Final = "Бот розблоковано користувачем"
_LAST_SEQ: Final = 2**63
"""Behind all the client wrote in the same second."""
KIND_WORDS: Final[dict[MessageKind, str]] = {
    MessageKind.IMAGE: "Фото",
    MessageKind.VIDEO: "Відео",
    MessageKind.AUDIO: "Аудіо",
    MessageKind.VOICE: "Голосове повідомлення",
    MessageKind.FILE: "Файл",
    MessageKind.STICKER: "Стікер",
    MessageKind.LOCATION: "Місце на мапі",
    MessageKind.CONTACT: "Контакт",
}
"""What a quotation says of a message without a text."""


def inbound_position(
    state: Known, sent_at: datetime, provider_seq: int, now: datetime, after: datetime | None = None
) -> datetime:
    """The provider's time, between the last message of ours and now, in the provider's order.

    Messengers tell seconds: messages of one second stand a little apart, so that one that comes late finds
    room between its neighbours. Nobody stands before one the provider put before them.

    Args:
        state: before this commit.
        sent_at: the provider's time.
        provider_seq: the provider's order within that time.
        now: the time of this commit.
        after: where a message of ours of this very commit stands, if there is one.
    """
    earliest = after or state.ours_pos_at or sent_at
    position = max(min(sent_at, now), earliest)
    below: datetime | None = None
    above: datetime | None = None
    place = (sent_at, provider_seq)
    for arrival in state.arrivals:
        at = arrival.pos_at
        # What the provider cannot tell apart, as two messages of one second, stays as it came.
        if (arrival.provider_time, arrival.provider_seq) <= place:
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


def own_position(state: Known, moment: Moment) -> datetime:
    """Ours stand at their commit time, never before what is there: clocks of replicas differ."""
    return moment.at if state.last_pos_at is None else max(moment.at, state.last_pos_at)


def to_ms(at: datetime) -> datetime:
    """Cut to milliseconds, in UTC: what the store keeps, so that a value equals itself after a reading."""
    return _whole_ms(at.astimezone(UTC))


def quoted(state: Known, provider_id: str | None) -> tuple[str | None, Quoted | None]:
    """The message a provider's id stands for and what a quotation of it says, if we have it."""
    if provider_id is None:
        return None, None
    found = state.messages.get(inbound_message_id(state.id, provider_id))
    if found is None:
        ours = (message for message in state.messages.values() if provider_id in message.provider_ids)
        found = next(ours, None)
    return (None, None) if found is None else (found.replaced_by or found.id, quote_of(found))


def quote_of(message: Message) -> Quoted:
    body = message.body
    author = "Клієнт" if message.author.name == NAMELESS else message.author.name or ""
    if message.is_gone:
        return Quoted(DELETED_LINE, author)
    return Quoted(words_of(body)[:200] or KIND_WORDS.get(body.kind, ""), author)


def open_request(state: Known, cause: str, moment: Moment, handler: Handler) -> RequestOpened:
    request_id = derived_id("request", state.id, cause)
    return RequestOpened(
        dedupe_id=f"request:{request_id}", request_id=request_id, number=moment.number, handler=handler
    )


def line(
    state: Known,
    moment: Moment,
    cause: str,
    text: str,
    pos_at: datetime | None = None,
    *,
    is_in_row: bool = False,
) -> LineWritten:
    """A line about what was just done to the chat; the next message of its commit stands behind it.

    Args:
        state: before this commit.
        moment: this commit.
        cause: the key of what was done.
        text: what the line says.
        pos_at: its place, if not at the end.
        is_in_row: whether it takes back the last words of the row.
    """
    key = f"line:{cause}"
    return LineWritten(
        dedupe_id=key,
        message_id=derived_id("message", state.id, key),
        n=state.n + 1,
        text=text,
        pos_at=pos_at or own_position(state, moment),
        is_in_row=is_in_row,
    )


def block(state: Known, key: str, happened_at: datetime, moment: Moment) -> ContactBlocked:
    return ContactBlocked(
        dedupe_id=key,
        message_id=derived_id("message", state.id, key),
        n=state.n + 1,
        text=BLOCKED_LINE,
        pos_at=turn_position(state, happened_at, moment),
        happened_at=happened_at,
    )


def turn_position(state: Known, happened_at: datetime, moment: Moment) -> datetime:
    """Where a line about blocking and coming back stands: where a message of that moment would."""
    return inbound_position(state, happened_at, _LAST_SEQ, moment.at)


def _whole_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
