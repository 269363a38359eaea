"""Words a messenger waits for beside the 200, e.g. that a pressed button was noticed: said at once, aside.

They never delay an answer to the messenger nor fail it; one that does not arrive is only counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgkit.connector.contract import Account, Acknowledges
from msgkit.connector.errors import PROVIDER_ERRORS
from msgkit.runtime import metrics
from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

KEPT = 1_000
"""More are not kept waiting: an unanswered press shows the client nothing worse than a spinner."""
AT_ONCE = 8
SECONDS = 10.0
DRAIN_SECONDS = 3.0
_FAILURES: tuple[type[Exception], ...] = (*PROVIDER_ERRORS, TimeoutError)


class Acknowledgements:
    """The queue of one ingest service; each is tried once."""

    def __init__(self, connector: Acknowledges) -> None:
        self._connector = connector
        self._waiting: asyncio.Queue[tuple[str, Account]] = asyncio.Queue(KEPT)

    def put(self, tokens: Sequence[str], account: Account) -> None:
        """Say these soon. Never waits and never raises."""
        for token in tokens:
            try:
                self._waiting.put_nowait((token, account))
            except asyncio.QueueFull:
                _count(account, "dropped")

    async def run(self) -> None:
        """Say them for ever."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._say())

    async def drain(self) -> None:
        """Give what waits a moment to go out."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._waiting.join()
        except TimeoutError:
            log.warning("acknowledgements_left", count=self._waiting.qsize())

    async def _say(self) -> None:
        while True:
            token, account = await self._waiting.get()
            try:
                async with asyncio.timeout(SECONDS):
                    await self._connector.acknowledge(token, account)
                _count(account, "ok")
            except _FAILURES as exc:
                _count(account, type(exc).__name__)
                log.info(
                    "not_acknowledged", channel_id=account.channel_id, reason=type(exc).__name__
                )  # the client sees a spinner for a while; nobody has to act
            finally:
                self._waiting.task_done()


def _count(account: Account, outcome: str) -> None:
    metrics.acknowledgements_total.labels(kind=account.kind, outcome=outcome).inc()
