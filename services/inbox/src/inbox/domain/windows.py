"""The reply window: how long after the client's last message an answer may go out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from inbox.domain.commands import Messenger, Refusal
from inbox.domain.state import Known, Message
from msgkit.contracts.events import DeliveryReported
from msgkit.contracts.values import dataclass
from msgkit.contracts.words import FailureCode, MessageState

MARGIN: Final = timedelta(seconds=60)
"""We close this much earlier than the messenger: an answer needs a moment to get there."""
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


def window_of(state: Known, messenger: Messenger, now: datetime) -> Window:
    """The window at a moment.

    A chat is closed only on evidence: a client who never wrote, or whose last message is known to be too old,
    or the messenger's own word.
    """
    if state.blocked:
        return Window(open=False, code="bot_blocked")
    until = _ends_at(state, messenger)
    if state.is_shut:
        # An end that we counted and that is still to come is none: the messenger knows better.
        return Window(open=False, until=until if until is not None and until <= now else None, code=_CLOSED)
    if until is not None:
        is_open = now < until
        return Window(open=is_open, until=until, code=None if is_open else _CLOSED)
    is_silent = messenger.reply_window_hours is not None and state.in_seq == 0
    return Window(open=not is_silent, code=_CLOSED if is_silent else None)


def _ends_at(state: Known, messenger: Messenger) -> datetime | None:
    """When we count the time to answer as over; None: never, or nobody knows."""
    hours = messenger.reply_window_hours
    if hours is None:
        return None
    written = written_at(state)
    return None if written is None else written + timedelta(hours=hours) - MARGIN


def refuse_outside(state: Known, messenger: Messenger, now: datetime) -> Refusal | None:
    """The refusal of anything but a template outside the window."""
    if window_of(state, messenger, now).code != _CLOSED:
        return None
    hours, wait = messenger.reply_window_hours, "дочекайтеся відповіді"
    if state.in_seq == 0:
        reason, wait = "Клієнт ще не писав у цей канал", "дочекайтеся його повідомлення"
    elif state.is_shut or hours is None:
        reason, wait = "Месенджер каже, що час для відповіді минув", "дочекайтеся повідомлення клієнта"
    else:
        reason = f"Минуло {_hours(hours)} від останнього повідомлення клієнта"
    ways = f"надішліть шаблон або {wait}" if messenger.has_templates else wait
    return Refusal(409, _CLOSED, f"{reason}: {ways}.")


def shuts(state: Known, message: Message, report: DeliveryReported) -> bool:
    """Whether a report on an answer proves that the time to answer is over.

    Not if the client has written since the answer was ordered: that may have opened it again. Of one sent
    again this leaves out more than it must, which costs one more refusal.
    """
    if report.state is not MessageState.FAILED or report.failure is None or state.is_shut:
        return False
    is_too_late = report.failure.code is FailureCode.WINDOW_CLOSED
    return is_too_late and message.template is None and message.in_seq == state.in_seq


def _hours(count: int) -> str:
    if count % 10 == 1 and count % 100 != 11:
        return f"{count} година"
    if count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14):
        return f"{count} години"
    return f"{count} годин"
