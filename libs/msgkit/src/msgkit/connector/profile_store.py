"""Whom a messenger was asked about, and who is still to be asked about: the collection `profiles`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgkit.connector.contract import Profile
from msgkit.connector.reach import store_reached
from msgkit.contracts.events import MessageReceived
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.mongo import BulkWriteError, Database, Document, StoreUnavailable, UpdateOne, keep_index

ASK_AGAIN_AFTER = timedelta(days=7)
"""Names change, and who refused may allow it: asked again then, when the contact writes."""
FORGOTTEN_AT_ONCE = 1_000
_DUPLICATE_KEY = 11000


@dataclass(frozen=True, slots=True)
class ProfileJob:
    """One contact to ask about."""

    job_id: str
    tenant_id: str
    channel_id: str
    channel_kind: str
    conversation_id: str
    contact_key: str
    known: Profile
    """What was told before."""
    told: int
    """How often something was told."""
    tries: int
    created_at: datetime


class ProfileStore:
    """One document per contact that ever wrote without a name."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._profiles = database["profiles"]
        self._clock = clock

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("profiles"):
            await keep_index(
                self._profiles,
                [("open", 1), ("channel_id", 1), ("due_at", 1)],
                partialFilterExpression={"open": True},
            )
            await keep_index(self._profiles, "channel_id")

    async def add(self, events: Iterable[MessageReceived]) -> None:
        """Ask about the contacts of these messages, unless they were asked about not long ago.

        Raises:
            StoreUnavailable: not confirmed; do it again.
        """
        now = self._clock()
        # With a filter by the id alone two replicas may insert at once: one of them hears that it is there.
        changes = [
            UpdateOne({"_id": job_id(event)}, [{"$set": _asked_for(event, now)}], upsert=True)
            for event in {job_id(event): event for event in events}.values()
        ]
        if not changes:
            return
        try:
            with store_reached("profiles"):
                await self._profiles.bulk_write(changes, ordered=False)
        except BulkWriteError as exc:
            if exc.details.get("writeConcernErrors"):
                raise StoreUnavailable("profiles: the write was not confirmed") from exc
            if any(error["code"] != _DUPLICATE_KEY for error in exc.details["writeErrors"]):
                raise

    async def due_channels(self) -> list[str]:
        """The channels with somebody to ask about now.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("profiles"):
            found = await self._profiles.distinct(
                "channel_id", {"open": True, "due_at": {"$lte": self._clock()}}
            )
        return [str(channel_id) for channel_id in found]

    async def next(self, channel_id: str) -> ProfileJob | None:
        """Who of this channel is due longest.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        due = {"open": True, "channel_id": channel_id, "due_at": {"$lte": self._clock()}}
        with store_reached("profiles"):
            found = await self._profiles.find_one(due, sort=[("due_at", 1)])
        if found is None:
            return None
        return ProfileJob(
            job_id=found["_id"],
            tenant_id=found["tenant_id"],
            channel_id=found["channel_id"],
            channel_kind=found["channel_kind"],
            conversation_id=found["conversation_id"],
            contact_key=found["contact_key"],
            known=Profile(found.get("name"), found.get("username")),
            told=found["told"],
            tries=found["tries"],
            created_at=found["created_at"],
        )

    async def answered(self, job: ProfileJob, profile: Profile | None, *, is_told: bool) -> None:
        """The messenger said who it is, or that it will not say (None).

        Raises:
            StoreUnavailable: not confirmed; it is asked again.
        """
        change: Document = {"open": False, "asked_at": self._clock(), "tries": 0}
        if profile is not None:
            change |= {"name": profile.name, "username": profile.username}
        with store_reached("profiles"):
            await self._profiles.update_one(
                {"_id": job.job_id},
                {"$set": change | {"is_refused": profile is None}, "$inc": {"told": int(is_told)}},
            )

    async def put_off(self, job: ProfileJob, seconds: float) -> None:
        """The messenger was silent: ask later.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        due_at = self._clock() + timedelta(seconds=seconds)
        with store_reached("profiles"):
            await self._profiles.update_one(
                {"_id": job.job_id}, {"$set": {"due_at": due_at}, "$inc": {"tries": 1}}
            )

    # --- forgetting

    async def channel_ids(self) -> set[str]:
        """The channels of everybody who is remembered.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("profiles"):
            return {str(channel_id) for channel_id in await self._profiles.distinct("channel_id")}

    async def forget(self, channel_id: str) -> bool:
        """Forget some people of a channel that is gone; False once nobody is left.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("profiles"):
            found = await self._profiles.find({"channel_id": channel_id}, {"_id": 1}).to_list(
                FORGOTTEN_AT_ONCE
            )
            await self._profiles.delete_many({"_id": {"$in": [document["_id"] for document in found]}})
        return len(found) == FORGOTTEN_AT_ONCE


def job_id(event: MessageReceived) -> str:
    """One for each contact of a channel."""
    return event.conversation_id


def _asked_for(event: MessageReceived, now: datetime) -> Document:
    is_new: Document = {"$eq": [{"$type": "$asked_at"}, "missing"]}
    is_old: Document = {"$lte": ["$asked_at", now - ASK_AGAIN_AFTER]}
    is_open: Document = {"$eq": ["$open", True]}
    return {
        "tenant_id": {"$literal": event.tenant_id},
        "channel_id": {"$literal": event.channel_id},
        "channel_kind": {"$literal": event.channel_kind},
        "conversation_id": {"$literal": event.conversation_id},
        "contact_key": {"$literal": event.contact.key},
        "open": {"$or": [is_new, is_old]},
        "due_at": {"$cond": [is_open, "$due_at", now]},
        "told": {"$ifNull": ["$told", 0]},
        "tries": {"$ifNull": ["$tries", 0]},
        "created_at": {"$ifNull": ["$created_at", now]},
    }
