"""Who is alive and who owns what: members and partitions, in the service's own database.

A member is a document renewed every 2 s by the server's clock and gone after 6 s, or at once when it says
goodbye. Every member computes the same owners from the same list by balanced rendezvous hashing, so a joining
or leaving replica moves little more than its share.
Ownership gives order and batching, never correctness: two replicas may both think they own a partition for
a moment, and the unique indexes decide. Work that must not run twice takes a lease (`leases.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
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
LOOK_EVERY_S = 0.5
"""Who else is there is read more often than written: what a leaving replica owned shall not wait."""
_LEAVE_WITHIN_S = 3.0
_NOT_LEFT: tuple[type[Exception], ...] = (*STORE_ERRORS, TimeoutError)
_FORGOTTEN_AFTER_S = 60.0


@lru_cache(maxsize=64)
def owners_of(members: frozenset[str]) -> Mapping[int, str]:
    """Partition → its owner; each member gets 16 / members of them, rounded down or up.

    The heaviest pairs of partition and member come first, as long as the member's share is not full: plain
    rendezvous hashing can split 16 partitions 12 to 4.
    """
    if not members:
        return {}
    share, larger_shares = divmod(PARTITIONS, len(members))
    pairs = sorted(
        (
            (_weight(partition, member), partition, member)
            for partition in range(PARTITIONS)
            for member in members
        ),
        reverse=True,
    )
    owners: dict[int, str] = {}
    load = dict.fromkeys(members, 0)
    for _, partition, member in pairs:
        if partition in owners or load[member] > share or (load[member] == share and not larger_shares):
            continue
        if load[member] == share:
            larger_shares -= 1
        load[member] += 1
        owners[partition] = member
    return owners


def owned_by(member: str, members: Iterable[str]) -> frozenset[int]:
    """The partitions of one member among all."""
    owners = owners_of(frozenset(members))
    return frozenset(partition for partition, owner in owners.items() if owner == member)


def _weight(partition: int, member: str) -> bytes:
    return blake2b(f"{partition}\x1f{member}".encode(), digest_size=8).digest()


class Membership:
    """This replica's place among the replicas of its service."""

    def __init__(self, database: Database, service: str, instance: str) -> None:
        self._members = database["members"]
        self._service = service
        self.instance = instance
        self._alive: frozenset[str] = frozenset()
        self.owned: frozenset[int] = frozenset()
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._left = False

    @property
    def alive(self) -> frozenset[str]:
        """The live members as last read, this one among them."""
        return self._alive

    async def join(self) -> None:
        """Become a member and learn what is ours.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        self._left = False
        await self._renew()
        await self._look()

    async def run(self) -> None:
        """Renew for ever. While MongoDB is away we keep what we own: the unique indexes guard us."""
        renewed_at = time.monotonic()
        while not self._left:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if time.monotonic() - renewed_at >= RENEW_EVERY_S:
                    renewed_at = time.monotonic()
                    await self._renew()
                await self._look()
            except StoreUnavailable as exc:
                log.warning("membership_not_renewed", reason=str(exc))

    async def leave(self) -> None:
        """Say goodbye, so that others take over at once."""
        self._left = True
        try:
            # A renewal under way would bring us back for six seconds in which nobody reads what was ours.
            async with asyncio.timeout(_LEAVE_WITHIN_S), self._writing:
                await self._members.delete_one({"_id": self.instance})
        except _NOT_LEFT as exc:
            log.warning("membership_not_left", reason=type(exc).__name__)
        self._set(frozenset())

    async def wait_change(self, known: frozenset[int] | None = None) -> None:
        """Wait until what we own is no longer `known` (without it: what we own now). Many may wait."""
        if known is None:
            known = self.owned
        while self.owned == known:
            await self._changed.wait()

    async def _renew(self) -> None:
        async with self._writing:
            if self._left:
                return
            try:
                # The server's clock on both sides: replicas' clocks may differ.
                await self._members.update_one(
                    {"_id": self.instance}, [{"$set": {"seen_at": "$$NOW"}}], upsert=True
                )
            except STORE_ERRORS as exc:
                raise StoreUnavailable(f"members: {type(exc).__name__}") from exc

    async def _look(self) -> None:
        try:
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
        if not self._left:
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
            # A fresh one for the next change: an event that is cleared can be missed by a second waiter.
            self._changed.set()
            self._changed = asyncio.Event()
