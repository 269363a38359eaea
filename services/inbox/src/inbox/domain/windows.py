"""The reply window: how long after the client's last message an answer may go out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from inbox.domain.commands import Messenger, Refusal
from inbox.domain.state import Known
from msgkit.contracts.values import dataclass

MARGIN: Final = timedelta(seconds=60)
"""We close this much earlier than the messenger: an answer needs a moment to get there."""


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

    A chat is closed only on evidence: a client who never wrote, or whose last message is known to be too old.
    """
    if state.blocked:
        return Window(open=False, code="bot_blocked")
    hours = messenger.reply_window_hours
    if hours is None:
        return Window(open=True)
    written = written_at(state)
    if written is None:
        is_silent = state.in_seq == 0
        return Window(open=not is_silent, code="window_closed" if is_silent else None)
    until = written + timedelta(hours=hours) - MARGIN
    is_open = now < until
    return Window(open=is_open, until=until, code=None if is_open else "window_closed")


def refuse_outside(state: Known, messenger: Messenger, now: datetime) -> Refusal | None:
    """The refusal of anything but a template outside the window."""
    hours = messenger.reply_window_hours
    if hours is None or window_of(state, messenger, now).code != "window_closed":
        return None
    if state.in_seq == 0:
        reason, wait = "Клієнт ще не писав у цей канал", "дочекайтеся його повідомлення"
    else:
        reason = f"Минуло {_hours(hours)} від останнього повідомлення клієнта"
        wait = "дочекайтеся відповіді"
    ways = f"надішліть шаблон або {wait}" if messenger.has_templates else wait
    return Refusal(409, "window_closed", f"{reason}: {ways}.")


def _hours(count: int) -> str:
    if count % 10 == 1 and count % 100 != 11:
        return f"{count} година"
    if count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14):
        return f"{count} години"
    return f"{count} годин"
