"""What follows from a message to the client that nobody ordered here: the connector's, or typed elsewhere."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from inbox.domain.aftermath import ELSEWHERE
from inbox.domain.bodies import early_changes, to_body, to_card
from inbox.domain.commands import NOTHING, Decision, Moment, came_key
from inbox.domain.events import AnswerEchoed, EchoParked, Event, TakenOver
from inbox.domain.history import gives_way
from inbox.domain.pieces import Author, Button
from inbox.domain.places import LATE_AFTER, inbound_position, line, open_request, quoted, to_ms
from inbox.domain.state import Known, ParkedEcho
from msgkit.contracts.events import MessageEchoed
from msgkit.contracts.ids import inbound_message_id
from msgkit.contracts.values import dataclass
from msgkit.contracts.words import AuthorKind, Handler

ELSEWHERE_LINE: Final = "Замість бота відповідає людина в месенджері"
_BOT: Final = Author(AuthorKind.BOT)


def echo(state: Known, command: MessageEchoed, moment: Moment) -> Decision:
    """A message the client has already: shown once, as sent, where the messenger's time puts it.

    A person's is an answer like one from the window: it silences the bot, also for what is queued; what the
    client wrote before it is answered; in a closed chat it opens the next request, with people. Were the
    chat to stay closed, the client's reply would go to the bot, which would then talk over the person.
    Nobody gets the chat, because nobody knows who typed; what the client wrote after it stays unread.
    It may be an answer of ours whose report is still on its way: the report will say so (`answers.report`).

    A bot's changes neither who handles the chat, nor its status, nor what is unread, and holds no
    operator's answer back. While no request is open it waits until somebody says something: nobody shall
    find a chat in which nothing was said, and only people open requests.
    """
    message_id = inbound_message_id(state.id, command.provider_id)
    if not gives_way(state.messages.get(message_id)) or _is_ordered(state, command.provider_id):
        return NOTHING
    key = came_key(state.id, command.provider_id)
    is_bot = command.author_kind is AuthorKind.BOT
    body = to_body(command.content, message_id)
    card = to_card(state, command.contact, command.content)
    buttons = tuple(
        tuple(Button(button.text, button.action, button.value) for button in row) for row in command.buttons
    )
    reply_to, quote = quoted(state, command.reply_to_provider_id)
    sent_at = to_ms(command.sent_at)
    if is_bot and state.needs_request:
        parked = ParkedEcho(
            provider_id=command.provider_id,
            provider_seq=command.provider_seq,
            provider_time=sent_at,
            contact=card,
            body=body,
            buttons=buttons,
            reply_to=reply_to,
            quote=quote,
        )
        return (EchoParked(dedupe_id=key, echo=parked),)
    takes_over = not is_bot and not state.needs_request and state.handler is Handler.BOT
    waiting = parked_echoes(state, moment, state.n + takes_over)
    pos_at = inbound_position(state, sent_at, command.provider_seq, moment.at, waiting.pos_at)
    events: list[Event] = []
    if state.needs_request:
        events.append(open_request(state, key, moment, Handler.OPERATOR))
    elif takes_over:
        cause = f"takeover:{key}"
        events.append(TakenOver(dedupe_id=cause, by=None, cancelled=state.bot_queued))
        events.append(line(state, moment, cause, ELSEWHERE_LINE, pos_at))
    events += waiting.events
    events.append(
        AnswerEchoed(
            dedupe_id=key,
            message_id=message_id,
            n=waiting.n + 1,
            author=_BOT if is_bot else ELSEWHERE,
            contact=card,
            provider_id=command.provider_id,
            provider_time=sent_at,
            pos_at=pos_at,
            late=not is_bot and command.recorded_at - command.sent_at > LATE_AFTER,
            body=body,
            buttons=buttons,
            reply_to=reply_to,
            quote=quote,
        )
    )
    events += early_changes(state, command.provider_id, message_id, body)
    return tuple(events)


def _is_ordered(state: Known, provider_id: str) -> bool:
    """Whether it is an answer of ours whose report came before its echo."""
    return any(
        provider_id in message.provider_ids and not message.is_recalled for message in state.messages.values()
    )


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waited to be shown; `n` and `pos_at` are those of the last message then."""

    events: tuple[Event, ...]
    n: int
    pos_at: datetime | None


def parked_echoes(state: Known, moment: Moment, n: int) -> Waiting:
    """The echoes that waited for somebody to say something, to be shown before it.

    Args:
        state: before this commit.
        moment: this commit.
        n: the number of the last message before them.
    """
    events: list[Event] = []
    pos_at: datetime | None = None
    for parked in sorted(state.parked_echoes, key=lambda one: (one.provider_time, one.provider_seq)):
        n += 1
        message_id = inbound_message_id(state.id, parked.provider_id)
        place = inbound_position(state, parked.provider_time, parked.provider_seq, moment.at, pos_at)
        pos_at = place if pos_at is None else max(place, pos_at)
        events.append(
            AnswerEchoed(
                dedupe_id=f"echo-shown:{message_id}",
                message_id=message_id,
                n=n,
                author=_BOT,
                contact=parked.contact,
                provider_id=parked.provider_id,
                provider_time=parked.provider_time,
                pos_at=pos_at,
                late=False,
                body=parked.body,
                buttons=parked.buttons,
                reply_to=parked.reply_to,
                quote=parked.quote,
            )
        )
        events += early_changes(state, parked.provider_id, message_id, parked.body)
    return Waiting(tuple(events), n, pos_at)
