"""Fresh counters for the open windows: asked of inbox when something changed, not more often than needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.clients import Inbox
from gateway.schemas import Session
from msgkit.runtime.logs import get_logger
from msgkit.runtime.problems import Problem

log = get_logger(__name__)

COUNTERS_TICK_SECONDS = 0.25
COUNTERS_SETTLE_SECONDS = 0.4
"""Inbox counts from what it writes after it published: asked too early it gives the old counts."""
COUNTERS_EVERY_SECONDS = 1.0
COUNTERS_AGAIN_SECONDS = 3.0
COUNTERS_AT_ONCE = 4


class Told(Protocol):
    """A window that is told its counters."""

    @property
    def session(self) -> Session: ...
    def tell(self, event: str) -> None: ...


class Counters:
    """Fresh absolute counters for users whose chats changed: at most once a second for each."""

    def __init__(self, inbox: Inbox, find: Callable[[tuple[str, str]], Sequence[Told]]) -> None:
        self._inbox = inbox
        self._find = find
        self._due: dict[tuple[str, str], float] = {}
        self._told_at: dict[tuple[str, str], float] = {}
        self._told: dict[tuple[str, str], str] = {}

    def mark(self, session: Session) -> None:
        """Something this user may see changed."""
        key = (session.tenant_id, session.user_id)
        now = time.monotonic()
        due = max(now + COUNTERS_SETTLE_SECONDS, self._told_at.get(key, 0.0) + COUNTERS_EVERY_SECONDS)
        self._due[key] = min(due, self._due.get(key, due))

    def forget(self, key: tuple[str, str]) -> None:
        for known in (self._due, self._told_at, self._told):
            known.pop(key, None)

    async def run(self) -> None:
        slots = asyncio.Semaphore(COUNTERS_AT_ONCE)

        async def tell(key: tuple[str, str], again: bool) -> None:
            async with slots:
                await self._tell(key, again)

        while True:
            now = time.monotonic()
            due = [key for key, at in self._due.items() if at <= now]
            for key in due:
                del self._due[key]
            async with asyncio.TaskGroup() as tasks:
                for key in due:
                    tasks.create_task(tell(key, True))
            await asyncio.sleep(COUNTERS_TICK_SECONDS)

    async def _tell(self, key: tuple[str, str], again: bool) -> None:
        sockets = self._find(key)
        if not sockets:
            self.forget(key)
            return
        now = time.monotonic()
        self._told_at[key] = now
        try:
            counters = await self._inbox.counters(sockets[0].session.caller)
        except Problem as exc:
            log.info("counters_unread", code=exc.code)
            self._due.setdefault(key, now + COUNTERS_AGAIN_SECONDS)
            return
        data = counters.model_dump_json()
        if self._told.get(key) != data:
            self._told[key] = data
            for socket in self._find(key):
                socket.tell(f'{{"type":"counters.updated","data":{data}}}')
            # Once more when all is settled: a count may have been taken in between two writes.
            self._due.setdefault(key, now + COUNTERS_AGAIN_SECONDS)
