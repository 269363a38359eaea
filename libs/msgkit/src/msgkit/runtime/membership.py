"""Who is alive and who owns what: members and partitions, in the service's own database.

A member is a document renewed every 2 s by the server's clock and gone after 6 s. Every member computes the
same owners from the same list by rendezvous hashing, so a joining or leaving replica moves only its share.
Ownership gives order and batching, never correctness: two replicas may both think they own a partition for
a moment, and the unique indexes decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from hashlib import blake2b

import structlog

from msgkit.contracts.ids import PARTITIONS
from msgkit.runtime import metrics
from msgkit.runtime.mongo import (
    STORE_ERRORS,
    Database,
    StoreUnavailable,
)

log = structlog.get_logger(__name__)

RENEW_EVERY_S = 2.0
GONE_AFTER_S = 6.0
_FORGOTTEN_AFTER_S = 60.0


def owner_of(partition: int, members: Iterable[str]) -> str | None:
    """The member with the highest weight for this partition; None without members."""

    def weight(member: str) -> tuple[bytes, str]:
        return blake2b(f"{partition}\x1f{member}".encode(), digest_size=8).digest(), member

    return max(members, key=weight, default=None)


def owned_by(member: str, members: Iterable[str]) -> frozenset[int]:
    """The partitions of one member among all, as even as hashing makes them."""
    alive = sorted(set(members))
    return frozenset(p for p in range(PARTITIONS) if owner_of(p, alive) == member)


class Membership:
    """This replica's place among the replicas of its service."""

    def __init__(self, database: Database, service: str, instance: str) -> None:
        self._members = database["members"]
        self._service = service
        self.instance = instance
        self._alive: frozenset[str] = frozenset()
        self.owned: frozenset[int] = frozenset()
        self._changed = asyncio.Event()
        self._left = False

    async def join(self) -> None:
        """Become a member and learn what is ours.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        self._left = False
        await self._renew()

    async def run(self) -> None:
        """Renew for ever. While MongoDB is away we keep what we own: the unique indexes guard us."""
        while not self._left:
            await asyncio.sleep(RENEW_EVERY_S)
            if self._left:
                return
            try:
                await self._renew()
            except StoreUnavailable as exc:
                log.warning("membership_not_renewed", reason=str(exc))

    async def leave(self) -> None:
        """Say goodbye, so that others take over at once."""
        self._left = True
        try:
            await self._members.delete_one({"_id": self.instance})
        except STORE_ERRORS as exc:
            log.warning("membership_not_left", reason=type(exc).__name__)
        self._set(frozenset())

    async def wait_change(self) -> None:
        """Wait until what we own has changed since the last call."""
        await self._changed.wait()
        self._changed.clear()

    async def _renew(self) -> None:
        try:
            # The server's clock on both sides: replicas' clocks may differ.
            await self._members.update_one(
                {"_id": self.instance}, [{"$set": {"seen_at": "$$NOW"}}], upsert=True
            )
            cursor = self._members.aggregate(
                [
                    {"$set": {"silent_ms": {"$subtract": ["$$NOW", "$seen_at"]}}},
                    {"$project": {"silent_ms": 1}},
                ]
            )
            rows = await cursor.to_list(None)
            for row in rows:
                if row["silent_ms"] > _FORGOTTEN_AFTER_S * 1000:
                    await self._members.delete_one({"_id": row["_id"]})
        except STORE_ERRORS as exc:
            raise StoreUnavailable(f"members: {type(exc).__name__}") from exc
        self._set(frozenset(str(row["_id"]) for row in rows if row["silent_ms"] <= GONE_AFTER_S * 1000))

    def _set(self, alive: frozenset[str]) -> None:
        owned = owned_by(self.instance, alive) if self.instance in alive else frozenset()
        if alive != self._alive:
            log.info("members_changed", members=sorted(alive), owned=len(owned))
        self._alive = alive
        if owned != self.owned:
            self.owned = owned
            for partition in range(PARTITIONS):
                metrics.partition_owned.labels(service=self._service, partition=str(partition)).set(
                    1 if partition in owned else 0
                )
            self._changed.set()
