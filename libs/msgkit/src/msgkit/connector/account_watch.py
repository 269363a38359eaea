"""What the health watch remembers of an account, kept with it: told, mended, found well, heard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from msgkit.connector.accounts import STEP_KEPT, AccountStore
from msgkit.connector.contract import Account
from msgkit.connector.reach import store_reached
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.mongo import Database, Document

FINE_EVERY = timedelta(minutes=1)
"""That an account is well is written down at most so often."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What inbox was last told of an account."""

    connected: bool
    problem: str | None


@dataclass(frozen=True, slots=True)
class Watched:
    """An account with what its watch remembers."""

    account: Account
    was_active: bool
    webhook_left: bool
    """Disabled, and the messenger has not been told yet."""
    is_left_alone: bool
    """Nobody has worked on it for STEP_KEPT: whoever began a change will not finish it."""
    reported: Reported | None
    mended_at: datetime | None
    """When we last registered again what somebody else had changed."""


@dataclass(frozen=True, slots=True)
class Heard:
    """How long ago the messenger surely brought us what was said."""

    channel_id: str
    tenant_id: str
    kind: str
    since: datetime
    """When the account was switched on: nothing before is ours to read."""
    fine_at: datetime
    """When a look last found all well; `since` before the first one."""


class AccountWatch:
    """The watch's part of the collection `accounts`."""

    def __init__(self, database: Database, accounts: AccountStore, clock: Clock = utc_now) -> None:
        self._collection = database["accounts"]
        self._accounts = accounts
        self._clock = clock

    async def watched(self, channel_id: str) -> Watched | None:
        """The account with what its watch remembers, as it is now.

        Raises:
            StoreUnavailable: MongoDB does not answer.
            EnvelopeInvalid: its secrets do not open.
        """
        with store_reached("accounts"):
            document = await self._collection.find_one({"_id": channel_id})
        if document is None:
            return None
        reported = document.get("reported")
        return Watched(
            account=self._accounts.opened(document),
            was_active=bool(document.get("was_active")),
            webhook_left=bool(document.get("webhook_left")),
            is_left_alone=document["updated_at"] < self._clock() - STEP_KEPT,
            reported=None if reported is None else Reported(reported["connected"], reported["problem"]),
            mended_at=document.get("mended_at"),
        )

    async def remember_report(self, channel_id: str, reported: Reported) -> None:
        """What inbox was told.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            await self._collection.update_one(
                {"_id": channel_id},
                {"$set": {"reported": {"connected": reported.connected, "problem": reported.problem}}},
            )

    async def may_mend(self, channel_id: str, not_since: datetime) -> bool:
        """Take the one try to register again what somebody changed; False if it was taken after `not_since`.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            taken = await self._collection.update_one(
                {
                    "_id": channel_id,
                    "state": "active",
                    "$or": [{"mended_at": None}, {"mended_at": {"$lt": not_since}}],
                },
                {"$set": {"mended_at": self._clock()}},
            )
        return bool(taken.matched_count)

    async def found_fine(self, channel_id: str, at: datetime) -> None:
        """A look that began at this moment found the messenger bringing us what is said.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        is_older = {"$or": [{"fine_at": None}, {"fine_at": {"$lt": at - FINE_EVERY}}]}
        with store_reached("accounts"):
            await self._collection.update_one(
                {"_id": channel_id, "state": "active", **is_older}, {"$set": {"fine_at": at}}
            )

    async def sharing(self, channel_id: str) -> list[str]:
        """Other accounts with the same registration at the messenger, of any kind and whoever's.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            account = await self._collection.find_one({"_id": channel_id}, {"also_known_as": 1})
            names = [] if account is None else account.get("also_known_as", [])
            if not names:
                return []
            others = {"also_known_as": {"$in": names}, "_id": {"$ne": channel_id}}
            return [other["_id"] async for other in self._collection.find(others, {"_id": 1})]

    async def heard(self, channel_id: str | None = None, *, also_off: bool = False) -> list[Heard]:
        """Of one account, or of all; without those that never worked or, unless `also_off`, are off.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        wanted: Document = {"was_active": True}
        if not also_off:
            wanted["state"] = {"$ne": "disabled"}
        one = {} if channel_id is None else {"_id": channel_id}
        fields = dict.fromkeys(("tenant_id", "kind", "created_at", "heard_since", "fine_at"), 1)
        found = []
        with store_reached("accounts"):
            documents = await self._collection.find({**one, **wanted}, fields).to_list(None)
        for document in documents:
            since = document.get("heard_since") or document["created_at"]
            fine_at = max(document.get("fine_at") or since, since)
            found.append(
                Heard(str(document["_id"]), str(document["tenant_id"]), document["kind"], since, fine_at)
            )
        return found
