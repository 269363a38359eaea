"""How fast a page or account may be called: messages a second, and reading of conversations.

Source: the fact sheet, 2.7: 300/s per page, 100/s per Instagram account, conversations 2/s.
"""

from collections import deque
from collections.abc import Callable

from sandbox.meta.codes import RATE, SEND_RATE, GraphRefusal
from sandbox.meta.state import Kind

PER_SECOND: dict[Kind, int] = {"facebook": 300, "instagram": 100}
READS_PER_SECOND = 2
_SECOND = 0.95
"""A second, less what clocks of two processes may differ over two calls."""


class Limits:
    """The limits of one page or account."""

    def __init__(self, kind: Kind, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sends: deque[float] = deque(maxlen=PER_SECOND[kind])
        self._reads: deque[float] = deque(maxlen=READS_PER_SECOND)

    def take_send(self) -> None:
        """Count a message.

        Raises:
            GraphRefusal: too many.
        """
        if not _counts(self._sends, self._clock()):
            raise GraphRefusal(RATE, SEND_RATE)

    def take_read(self) -> None:
        """Count a call of the Conversations API.

        Raises:
            GraphRefusal: too many.
        """
        if not _counts(self._reads, self._clock()):
            raise GraphRefusal(RATE)

    def clear(self) -> None:
        """Nothing was called yet."""
        self._sends.clear()
        self._reads.clear()


def _counts(calls: deque[float], now: float) -> bool:
    if len(calls) == calls.maxlen and now - calls[0] < _SECOND:
        return False
    calls.append(now)
    return True
