"""What was begun with a channel and is not finished yet: read after a crash, never holds a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgkit.contracts.ids import new_id
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.mongo import (
    ASCENDING,
    STORE_ERRORS,
    Database,
    Document,
    ReturnDocument,
    StoreUnavailable,
    keep_index,
)

LEFT_AFTER = timedelta(seconds=90)
"""A change nobody has touched for so long was left; a single step takes at most 20 s."""
AGAIN_AFTER = timedelta(seconds=10)
"""When a change that could not be settled is looked at again."""
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

Intent = Literal["create", "switch", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """A change under way. `token` is its holder's: whoever claims it later has another."""

    channel_id: str
    tenant_id: str
    kind: str
    intent: Intent
    step: str
    token: str


class ChannelChanges:
    """The collection `channel_changes` of the gateway: one document per channel that is being changed."""

    def __init__(self, database: Database, instance: str, clock: Clock = utc_now) -> None:
        self._changes = database["channel_changes"]
        self._instance = instance
        self._clock = clock

    async def prepare(self) -> None:
        """Indexes; and what this replica began in an earlier life is left: nobody works on it now.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with _reachable():
            await keep_index(self._changes, [("at", ASCENDING)])
            await self._changes.update_many({"owner": self._instance}, {"$set": {"at": _LONG_AGO}})

    async def begin(self, tenant_id: str, channel_id: str, kind: str, intent: Intent) -> Change:
        """Write down what is going to happen, before it does; a later change replaces an earlier one.

        Raises:
            StoreUnavailable: MongoDB does not answer; nothing may begin.
        """
        change = Change(channel_id, tenant_id, kind, intent, "begun", new_id())
        with _reachable():
            await self._changes.replace_one(
                {"_id": channel_id},
                {
                    "tenant_id": tenant_id,
                    "kind": kind,
                    "intent": intent,
                    "step": change.step,
                    "token": change.token,
                    "owner": self._instance,
                    "at": self._clock(),
                },
                upsert=True,
            )
        return change

    async def reached(self, change: Change, step: str) -> None:
        """A step is done.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        await self._touch(change, {"step": step, "at": self._clock()})

    async def end(self, change: Change) -> None:
        """Nothing is left to do.

        Raises:
            StoreUnavailable: MongoDB does not answer; the sweep finds it done.
        """
        with _reachable():
            await self._changes.delete_one({"_id": change.channel_id, "token": change.token})

    async def again(self, change: Change) -> None:
        """It could not be settled now.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        await self._touch(change, {"at": self._clock() - LEFT_AFTER + AGAIN_AFTER})

    async def claim(self) -> Change | None:
        """One change that was left, now ours for LEFT_AFTER; None if there is none.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with _reachable():
            found: Document | None = await self._changes.find_one_and_update(
                {"at": {"$lt": self._clock() - LEFT_AFTER}},
                {"$set": {"at": self._clock(), "token": new_id(), "owner": self._instance}},
                sort=[("at", ASCENDING)],
                return_document=ReturnDocument.AFTER,
            )
        if found is None:
            return None
        return Change(
            channel_id=found["_id"],
            tenant_id=found["tenant_id"],
            kind=found["kind"],
            intent=found["intent"],
            step=found["step"],
            token=found["token"],
        )

    async def _touch(self, change: Change, fields: Document) -> None:
        with _reachable():
            await self._changes.update_one(
                {"_id": change.channel_id, "token": change.token}, {"$set": fields}
            )


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except STORE_ERRORS as exc:
        raise StoreUnavailable(f"MongoDB does not answer ({type(exc).__name__})") from exc
