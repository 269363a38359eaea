"""Rates inside one process: token buckets by key, bounded in memory."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

MAX_KEYS = 20_000


class Buckets:
    """One token bucket per key.

    Args:
        per_second: how fast a bucket fills; 0 means no limit at all.
        burst: how much fits in.
        clock: monotonic seconds.
        max_keys: the key longest unused is forgotten above this; its bucket is full again then.
    """

    def __init__(
        self, per_second: float, burst: float, clock: Callable[[], float], max_keys: int = MAX_KEYS
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._max_keys = max_keys
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> int:
        """Take one token.

        Returns:
            0 when there was one, else the whole seconds until there is.
        """
        if self._per_second <= 0:
            return 0
        now = self._clock()
        level, at = self._levels.pop(key, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._per_second)
        wait_seconds = 0
        if level >= 1:
            level -= 1
        else:
            wait_seconds = max(1, math.ceil((1 - level) / self._per_second))
        self._levels[key] = (level, now)
        if len(self._levels) > self._max_keys:
            self._levels.popitem(last=False)
        return wait_seconds
