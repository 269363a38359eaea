"""How long an account waits after its messenger asked for it: by its words, or longer each time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic_core import from_json

from msgkit.connector.raw import Node, items, node, number

PAUSE_MAX_S = 900.0
BUSY_PERCENT = 95.0
"""Of an allowance that is nearly used up; then we go slowly before we are refused."""
BUSY_PAUSE_S = 30.0
WAIT_MAX_S = 24 * 3600.0
"""However long a messenger asks for: a slip of a proxy must not silence an account for weeks."""

_RETRY_AFTER = re.compile(r"[0-9]{1,6}")
_SHARES = ("call_count", "total_cputime", "total_time")


@dataclass(slots=True)
class _Pause:
    seconds: float
    until: float
    """Monotonic seconds."""
    is_refusal: bool


class Pauses:
    """The pauses of all accounts; each replica keeps its own, and the kit keeps what it is told."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            monotonic: seconds that only rise.
        """
        self._monotonic = monotonic
        self._pauses: dict[str, _Pause] = {}

    def left_s(self, channel_id: str) -> float:
        """Seconds until this account may call again; 0 if it may."""
        pause = self._pauses.get(channel_id)
        return 0.0 if pause is None else max(0.0, pause.until - self._monotonic())

    def asked(self, channel_id: str, seconds: float) -> None:
        """The messenger said with an ordinary answer that the next one should wait."""
        if seconds > self.left_s(channel_id):
            self._pauses[channel_id] = _Pause(seconds, self._monotonic() + seconds, is_refusal=False)

    def refused(self, channel_id: str, least_s: float) -> float:
        """A call was refused for its frequency; how long to wait, twice as long as before if it is so again.

        Args:
            channel_id: of whom.
            least_s: what the messenger says, or what we know of this limit.
        """
        now = self._monotonic()
        before = self._pauses.get(channel_id)
        if before is not None and before.is_refusal and now < before.until:
            return max(least_s, before.seconds)  # calls that were under way side by side count as one
        is_again = before is not None and before.is_refusal and now < before.until + before.seconds
        doubled = min(PAUSE_MAX_S, before.seconds * 2) if before is not None and is_again else 0.0
        seconds = max(least_s, doubled)
        self._pauses[channel_id] = _Pause(seconds, now + seconds, is_refusal=True)
        return seconds

    def over(self, channel_id: str) -> None:
        """A call went through: the next refusal begins anew."""
        if self.left_s(channel_id) == 0.0:
            self._pauses.pop(channel_id, None)


def retry_after_s(header: str | None) -> float:
    """Seconds of `Retry-After`; 0 if it is none, or a date."""
    found = _RETRY_AFTER.fullmatch(header or "")
    return min(WAIT_MAX_S, float(found.group())) if found else 0.0


def usage_wait_s(of_account: str | None, of_app: str | None = None) -> float:
    """Seconds that Meta's headers of usage ask to wait; 0 while there is room.

    Args:
        of_account: `X-Business-Use-Case-Usage`, lists of uses under ids.
        of_app: `X-App-Usage`, one use.

    Source: fact sheet of Meta, 2.7: `estimated_time_to_regain_access` counts minutes, the others percent.
    """
    uses = [use for listed in _told(of_account).values() for use in items(listed)]
    return max((_wait_of(node(use)) for use in (*uses, _told(of_app))), default=0.0)


def _told(header: str | None) -> Node:
    try:
        return node(from_json(header or "{}"))
    except ValueError:
        return {}


def _wait_of(use: Node) -> float:
    minutes = number(use.get("estimated_time_to_regain_access")) or 0.0
    if minutes > 0:
        return min(WAIT_MAX_S, minutes * 60.0)
    is_busy = any((number(use.get(share)) or 0.0) >= BUSY_PERCENT for share in _SHARES)
    return BUSY_PAUSE_S if is_busy else 0.0
