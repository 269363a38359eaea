"""What the loop of one channel knows in memory: who waits, who is busy, how fast it may go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime


class TokenBucket:
    """At most `per_second` calls on average, with a burst of one second."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._tokens = per_second
        self._seen_at = time.monotonic()

    def limit(self, per_second: float) -> None:
        """How fast it may go from now on: known once the account is."""
        self._per_second = per_second

    async def take(self) -> None:
        """Wait for one token."""
        while True:
            now = time.monotonic()
            self._tokens = min(self._per_second, self._tokens + (now - self._seen_at) * self._per_second)
            self._seen_at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
            await asyncio.sleep((1 - self._tokens) / self._per_second)


@dataclass(slots=True)
class Channel:
    """What the loop of one channel knows; all of it can be read again from the store."""

    channel_id: str
    bucket: TokenBucket
    ready: dict[str, None] = field(default_factory=dict)
    later: dict[str, datetime] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    doubts: set[str] = field(default_factory=set)
    """Conversations that wait for word of an unanswered call: that needs no call, so no pause holds it."""
    done: dict[str, int] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    paused_until: datetime | None = None
    blocked_until: datetime | None = None
    """Nothing is started before this; the next look is then."""
    unavailable_since: datetime | None = None
    reloaded_at: float = 0.0

    def add(self, conversations: Iterable[str]) -> None:
        for conversation_id in conversations:
            self.later.pop(conversation_id, None)
            self.ready.setdefault(conversation_id, None)
        self.wake.set()


def latest(*moments: datetime | None) -> datetime:
    """The last of those that are known; at least one is."""
    return max(moment for moment in moments if moment is not None)
