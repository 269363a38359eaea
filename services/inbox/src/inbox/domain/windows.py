"""The reply window: how long after the client's last message who may answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from inbox.domain.commands import Door, Refusal
from inbox.domain.state import Known, Message
from msgkit.contracts.events import DeliveryReported
from msgkit.contracts.values import dataclass
from msgkit.contracts.words import AuthorKind, FailureCode, MessageState

MARGIN: Final = timedelta(seconds=30)
"""We close this much earlier than the messenger: an answer needs a moment to get there.

Not a whole minute: an answer one minute before the end is promised to go out, and needs a moment to get here.
"""
_CLOSED: Final = "window_closed"


@dataclass(frozen=True, slots=True)
class Window:
    """Whether an answer may go out now. `until` is when we close, also if that is past."""

    open: bool
    until: datetime | None = None
    code: str | None = None


def written_at(state: Known) -> datetime | None:
    """When the client wrote last, by the messenger's clock and never later than ours; None: nobody knows.

    It is read from what the order of inbound messages needs anyway, so conversations from before there were
    windows have it as well.
    """
    newest: datetime | None = None
    for one in state.arrivals:  # by hand: every message asks
        at = one.provider_time if one.provider_time < one.pos_at else one.pos_at
        if newest is None or at > newest:
            newest = at
    return newest


def window_of(state: Known, door: Door, now: datetime, author: AuthorKind = AuthorKind.OPERATOR) -> Window:
    """The window at a moment, for a person or for a bot: a messenger may give people longer.

    A chat is closed only on evidence: a client who never wrote, or whose last message is known to be too old,
    or the messenger's own word.
    """
    if state.blocked:
        return Window(open=False, code="bot_blocked")
    until = _ends_at(state, _hours(door, author))
    if _is_shut(state, door, now, author):
        # An end that we counted and that is still to come is none: the messenger knows better.
        return Window(open=False, until=until if until is not None and until <= now else None, code=_CLOSED)
    if until is not None:
        is_open = now < until
        return Window(open=is_open, until=until, code=None if is_open else _CLOSED)
    is_silent = door.messenger.reply_window_hours is not None and state.in_seq == 0
    return Window(open=not is_silent, code=_CLOSED if is_silent else None)


def _hours(door: Door, author: AuthorKind) -> int | None:
    """How long this author may answer; None: always."""
    messenger = door.messenger
    return messenger.human_reply_window_hours if _has_longer(door, author) else messenger.reply_window_hours


def _has_longer(door: Door, author: AuthorKind) -> bool:
    is_person = author is AuthorKind.OPERATOR
    return is_person and door.human_agent and door.messenger.human_reply_window_hours is not None


def _ends_at(state: Known, hours: int | None) -> datetime | None:
    """When we count the time to answer as over; None: never, or nobody knows."""
    if hours is None:
        return None
    written = written_at(state)
    return None if written is None else written + timedelta(hours=hours) - MARGIN


def _is_shut(state: Known, door: Door, now: datetime, author: AuthorKind) -> bool:
    """Whether the messenger's own word holds for this author now.

    What it said of answers as everybody sends them says nothing of the late ones of a person, and the other
    way round. Of those it may also have meant that nobody granted them: an administrator's word that
    somebody did is newer.
    """
    if not _has_longer(door, author):
        return state.is_shut
    everybodys_end = _ends_at(state, door.messenger.reply_window_hours)
    if everybodys_end is None or now < everybodys_end:
        return state.is_shut
    said_at, decided_at = state.late_shut_at, door.human_agent_at
    return said_at is not None and (decided_at is None or said_at >= decided_at)


def refuse_outside(state: Known, door: Door, now: datetime, author: AuthorKind) -> Refusal | None:
    """The refusal of anything but a template outside the window."""
    if window_of(state, door, now, author).code != _CLOSED:
        return None
    hours, wait, advice = _hours(door, author), "дочекайтеся відповіді", ""
    if state.in_seq == 0:
        reason, wait = "Клієнт ще не писав у цей канал", "дочекайтеся його повідомлення"
    elif _is_shut(state, door, now, author) or hours is None:
        reason, wait = "Месенджер каже, що час для відповіді минув", "дочекайтеся повідомлення клієнта"
    else:
        reason = f"Минуло {_long(hours)} від останнього повідомлення клієнта"
        advice = _longer_way(state, door, now, author)
    ways = f"надішліть шаблон або {wait}" if door.messenger.has_templates else wait
    return Refusal(409, _CLOSED, f"{reason}: {ways}.{advice}")


def _longer_way(state: Known, door: Door, now: datetime, author: AuthorKind) -> str:
    """Who could still answer, where the messenger gives people longer."""
    hours = door.messenger.human_reply_window_hours
    if hours is None or _has_longer(door, author):
        return ""
    if author is AuthorKind.OPERATOR:
        until = _ends_at(state, hours)
        if until is not None and now >= until:
            return ""
        return (
            f" Адміністратор може продовжити час до {_long(hours, is_end=True)}: для цього компанії потрібен "
            "дозвіл Human Agent від Meta, потім його вмикають у налаштуваннях каналу."
        )
    if window_of(state, door, now).open:
        return " Це обмеження для бота; оператор ще може відповісти сам."
    return ""


def shuts(state: Known, message: Message, report: DeliveryReported) -> bool:
    """Whether a report on an answer proves that the time to answer is over.

    Not if the client has written since the answer was ordered: that may have opened it again. Of one sent
    again this leaves out more than it must, which costs one more refusal.
    """
    if report.state is not MessageState.FAILED or report.failure is None:
        return False
    is_too_late = report.failure.code is FailureCode.WINDOW_CLOSED
    return is_too_late and message.template is None and message.in_seq == state.in_seq


def is_late_answer(state: Known, message: Message, door: Door, at: datetime) -> bool:
    """Whether an answer could go out at that moment only because the messenger gives people longer."""
    messenger, written = door.messenger, written_at(state)
    if messenger.human_reply_window_hours is None or messenger.reply_window_hours is None or written is None:
        return False
    is_persons = message.author.kind is AuthorKind.OPERATOR
    return is_persons and at - written >= timedelta(hours=messenger.reply_window_hours)


def _long(hours: int, *, is_end: bool = False) -> str:
    """«7 днів», «24 години»; `is_end`: after «до»."""
    count, forms = hours, ("година", "години", "годин")
    if hours > 24 and hours % 24 == 0:
        count, forms = hours // 24, ("день", "дні", "днів")
    if is_end:
        return f"{count} {forms[2]}"
    if count % 10 == 1 and count % 100 != 11:
        return f"{count} {forms[0]}"
    if count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14):
        return f"{count} {forms[1]}"
    return f"{count} {forms[2]}"
