"""What follows from what people do with a chat as a whole: who has it, and where it stands.

What is so already is no change and no refusal: an answer that got lost on the way is simply asked for again.
"""

from __future__ import annotations

from typing import Final

from inbox.domain.answers import TAKEN_OVER_LINE
from inbox.domain.commands import (
    NOTHING,
    Assign,
    Claim,
    Decision,
    Door,
    Handling,
    Moment,
    Refusal,
    Release,
    ReturnToBot,
    SetStatus,
    TakeOver,
)
from inbox.domain.events import Assigned, Claimed, Event, Released, ReturnedToBot, StatusSet, TakenOver
from inbox.domain.pieces import Person
from inbox.domain.places import line
from inbox.domain.state import Known
from msgkit.contracts.words import Handler, Status

STATUS_LINES: Final[dict[Status, str]] = {
    Status.OPEN: "Чат знову відкрито: {}",
    Status.WAITING: "Чат в очікуванні: {}",
    Status.CLOSED: "Чат завершено: {}",
}


def handle(state: Known, command: Handling, moment: Moment, door: Door) -> Decision:  # noqa: PLR0911  # one line per command
    """Args: as `decide`."""
    if state.n == 0:
        return Refusal(404, "not_found", "Немає такого чату.")
    if isinstance(command, SetStatus):
        return _set_status(state, command, moment)
    if state.status is Status.CLOSED:
        return Refusal(409, "conversation_closed", "Чат завершено. Відкрийте його або напишіть клієнту.")
    match command:
        case Claim():
            return _claim(state, command.by, moment)
        case TakeOver():
            return _take_over(state, command.by, moment)
        case Assign():
            return _assign(state, command, moment)
        case Release():
            return _release(state, command, moment)
        case ReturnToBot():
            return _return_to_bot(state, command, moment, door)


def _set_status(state: Known, command: SetStatus, moment: Moment) -> Decision:
    if state.status is command.status:
        return NOTHING
    if command.status is Status.WAITING:
        if state.status is Status.CLOSED:
            return Refusal(409, "conversation_closed", "Чат завершено. Спершу відкрийте його.")
        if state.handler is Handler.BOT:
            return Refusal(409, "with_bot", "Цей чат веде бот. Спершу візьміть його собі.")
    key = f"status-set:{state.id}:{moment.v}"
    return (
        StatusSet(dedupe_id=key, status=command.status, by=command.by),
        line(state, moment, key, STATUS_LINES[command.status].format(command.by.name)),
    )


def _claim(state: Known, by: Person, moment: Moment) -> Decision:
    if state.assignee is not None and state.assignee.id != by.id:
        return _held(state, state.assignee)
    if state.handler is Handler.BOT:
        return _from_bot(state, by, moment)
    if state.assignee is not None:
        return NOTHING
    key = f"claim:{state.id}:{moment.v}"
    return (
        Claimed(dedupe_id=key, by=by),
        line(state, moment, key, f"Чат взято в роботу: {by.name}"),
    )


def _held(state: Known, holder: Person) -> Refusal:
    detail = f"Чат уже веде {holder.name}. Домовтеся або передайте чат собі."
    return Refusal(409, "claimed_by_other", detail, holder=holder, since=state.assigned_at)


def _take_over(state: Known, by: Person, moment: Moment) -> Decision:
    if state.handler is Handler.BOT:
        return _from_bot(state, by, moment)
    if state.assignee is None:
        return Refusal(409, "not_with_bot", "Цей чат уже не веде бот. Візьміть його собі.")
    return NOTHING if state.assignee.id == by.id else _held(state, state.assignee)


def _from_bot(state: Known, by: Person, moment: Moment) -> tuple[Event, ...]:
    key = f"takeover:{state.id}:{moment.v}"
    return (
        TakenOver(dedupe_id=key, by=by, cancelled=state.bot_queued),
        line(state, moment, key, TAKEN_OVER_LINE.format(by.name)),
    )


def _assign(state: Known, command: Assign, moment: Moment) -> Decision:
    before, to, by = state.assignee, command.to, command.by
    is_with_bot = state.handler is Handler.BOT
    if not is_with_bot and before is not None and before.id == to.id:
        return NOTHING
    key = f"assign:{state.id}:{moment.v}"
    events: list[Event] = []
    if is_with_bot:
        # Before the hand-over in the same commit: what the bot still had waiting must not go out.
        events.append(TakenOver(dedupe_id=f"takeover:{key}", by=to, cancelled=state.bot_queued))
    events.append(Assigned(dedupe_id=key, to=to, by=by))
    names = to.name if to.id == by.id else f"{by.name} → {to.name}"
    text = f"Чат {'взято в роботу' if to.id == by.id else 'передано'}: {names}"
    events.append(line(state, moment, key, text))
    return tuple(events)


def _release(state: Known, command: Release, moment: Moment) -> Decision:
    if state.assignee is None:
        return NOTHING
    key = f"release:{state.id}:{moment.v}"
    return (
        Released(dedupe_id=key, by=command.by),
        line(state, moment, key, f"Чат більше ні за ким не закріплено: {command.by.name}"),
    )


def _return_to_bot(state: Known, command: ReturnToBot, moment: Moment, door: Door) -> Decision:
    if state.handler is Handler.BOT:
        return NOTHING
    if not door.bot_enabled:
        return Refusal(409, "bot_disabled", "У цьому каналі бота вимкнено. Увімкніть його в налаштуваннях.")
    key = f"to-bot:{state.id}:{moment.v}"
    return (
        ReturnedToBot(dedupe_id=key, by=command.by),
        line(state, moment, key, f"Чат повернуто боту: {command.by.name}"),
    )
