"""Numbers of requests: they rise per tenant, nobody else gets the same, gaps are allowed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from inbox.domain import Event, RequestOpened
from msgkit.runtime.mongo import Database, ReturnDocument

NUMBER_BLOCK: Final = 256
"""Numbers of requests one replica takes at once; what it does not use is a gap."""


class RequestNumbers:
    """Taken in blocks, so that opening a request costs no query."""

    def __init__(self, database: Database) -> None:
        self._counters = database["counters"]
        self._free: dict[str, deque[int]] = {}

    async def ensure(self, wanted: Mapping[str, int]) -> None:
        """See to it that so many numbers of each tenant can be taken until the next `await`."""
        for tenant_id in wanted:
            self._free.setdefault(tenant_id, deque())
        # Once more round, because others take numbers of one tenant while those of another are fetched.
        while lacking := {id_: n for id_, n in wanted.items() if len(self._free[id_]) < n}:
            for tenant_id, count in lacking.items():
                self._free[tenant_id].extend(await self._take(tenant_id, max(NUMBER_BLOCK, count)))

    def next(self, tenant_id: str) -> int:
        """The number the next request gets; it stays free until used."""
        return self._free[tenant_id][0]

    def use(self, tenant_id: str, events: Iterable[Event]) -> None:
        """Strike off the number if these events opened a request with it."""
        if any(isinstance(event, RequestOpened) for event in events):
            self._free[tenant_id].popleft()

    async def _take(self, tenant_id: str, count: int) -> range:
        """A block of numbers."""
        document = await self._counters.find_one_and_update(
            {"_id": f"requests:{tenant_id}"},
            {"$inc": {"taken": count}, "$setOnInsert": {"tenant_id": tenant_id}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        taken = int(document["taken"])
        return range(taken - count + 1, taken + 1)
