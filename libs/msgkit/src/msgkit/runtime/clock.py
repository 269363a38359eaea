"""The time: aware, in UTC, as exact as the store keeps it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""What code that needs the time is given, so that a test can set it."""


def utc_now() -> datetime:
    """Now in UTC, cut to milliseconds: MongoDB keeps no more, and a value read back must equal itself."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
