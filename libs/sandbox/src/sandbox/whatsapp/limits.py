"""How fast a number may send: messages a second of all, and to one person.

Source: the fact sheet, 2.7. Throughput counts only what goes out here; Meta counts what comes in as well.
"""

from collections.abc import Callable

from sandbox.delivery import Pace
from sandbox.whatsapp.codes import PAIR_LIMIT, THROUGHPUT, refusal

PAIR_SECONDS = 6.0
PAIR_BURST = 45
"""So many messages to one person may be borrowed from the future."""
PER_SECOND = 80
PER_SECOND_COEXISTENCE = 20

_SLACK_SECONDS = 1e-6
"""What adding up fractions may lose."""


class Limits:
    """The limits of one number; waiting times are divided by the pace."""

    def __init__(self, per_second: int, clock: Callable[[], float], pace: Pace) -> None:
        self._per_second = per_second
        self._clock = clock
        self._pace = pace
        self._all_until = 0.0
        self._pair_until: dict[str, float] = {}

    def take(self, client: str) -> None:
        """Count a message to this person.

        Raises:
            GraphRefusal: too many, to him or altogether.
        """
        now = self._clock()
        every = PAIR_SECONDS / self._pace.divisor
        pair = max(self._pair_until.get(client, 0.0), now)
        if pair - now > every * (PAIR_BURST - 1) + _SLACK_SECONDS:
            raise refusal(PAIR_LIMIT)
        step = 1.0 / self._per_second
        whole = max(self._all_until, now)
        if whole - now > 1.0 - step + _SLACK_SECONDS:
            raise refusal(THROUGHPUT)
        self._pair_until[client] = pair + every
        self._all_until = whole + step

    def clear(self) -> None:
        """Nothing was sent yet."""
        self._pair_until.clear()
        self._all_until = 0.0
