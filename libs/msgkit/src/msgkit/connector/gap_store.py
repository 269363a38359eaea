"""Times in which a messenger did not bring us what was said, and how far they are read again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from msgkit.connector.account_watch import Heard
from msgkit.connector.reach import store_reached
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.mongo import Database, Document, keep_index

_LISTENING = "listening"


@dataclass(frozen=True, slots=True)
class Gap:
    """One account's gap. It is read from `since` in one pass of pages, each durable before the next."""

    channel_id: str
    since: datetime
    """Everything said since is read, with what may have been lost before anybody noticed."""
    unheard_since: datetime
    """When we last surely heard: what people are told."""
    found_at: datetime
    is_ready: bool
    """The messenger brings us what is said from now on, so the reading can catch up with it."""
    cursor: str | None
    rev: int
    """Rises with each new pass."""
    read: int
    """Messages of this pass so far, known ones among them."""
    tries: int
    """Refusals and silences since the last page."""
    problem: str | None
    """Why the messenger refused the last page, for the administrator."""


class GapStore:
    """The collections `gaps` and `heartbeats` of one ingest service; at most one open gap per channel."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._gaps = database["gaps"]
        self._heartbeats = database["heartbeats"]
        self._clock = clock

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("gaps"):
            await keep_index(self._gaps, [("open", 1), ("due_at", 1)], partialFilterExpression={"open": True})

    # --- found and mended

    async def note(self, heard: Heard, since: datetime) -> None:
        """Remember that something may be missed since then. Noting it again changes nothing more.

        While the gap is being read already, another pass follows: pages that were read may have news.

        Raises:
            StoreUnavailable: not confirmed; nothing may be registered again before it is.
        """
        now = self._clock()
        is_open: Document = {"$eq": ["$open", True]}
        is_begun: Document = {"$and": [is_open, {"$eq": ["$ready", True]}]}

        def unless_begun(name: str, otherwise: object) -> Document:
            return {"$cond": [is_begun, f"${name}", otherwise]}

        def earliest(name: str, moment: datetime) -> Document:
            return unless_begun(name, {"$cond": [is_open, {"$min": [f"${name}", moment]}, moment]})

        change: Document = {
            "tenant_id": {"$literal": heard.tenant_id},
            "kind": {"$literal": heard.kind},
            "open": True,
            "ready": is_begun,
            "again": {"$cond": [is_begun, {"$min": ["$again", since]}, None]},
            "again_ready": False,
            "since": earliest("since", since),
            "unheard_since": earliest("unheard_since", heard.fine_at),
            "found_at": {"$cond": [is_open, "$found_at", now]},
            "noted_at": now,
            "due_at": unless_begun("due_at", now),
            "cursor": unless_begun("cursor", None),
            "read": unless_begun("read", 0),
            "tries": unless_begun("tries", 0),
            "problem": unless_begun("problem", None),
            "rev": {"$add": [{"$ifNull": ["$rev", 0]}, {"$cond": [is_begun, 0, 1]}]},
        }
        with store_reached("gaps"):
            await self._gaps.update_one({"_id": heard.channel_id}, [{"$set": change}], upsert=True)

    async def may_begin(self, channel_id: str, looked_at: datetime) -> bool:
        """A look that began then found all well; True if a gap waited for that.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        waits: Document = {
            "_id": channel_id,
            "open": True,
            "noted_at": {"$lte": looked_at},
            "$or": [{"ready": False}, {"again": {"$ne": None}, "again_ready": False}],
        }
        with store_reached("gaps"):
            written = await self._gaps.update_one(waits, {"$set": {"ready": True, "again_ready": True}})
        return bool(written.matched_count)

    # --- reading

    async def due(self) -> list[str]:
        """The channels whose gap can be read on now.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        wanted = {"open": True, "ready": True, "due_at": {"$lte": self._clock()}}
        with store_reached("gaps"):
            return [str(row["_id"]) for row in await self._gaps.find(wanted, {"_id": 1}).to_list(None)]

    async def gap(self, channel_id: str, *, due_only: bool = False) -> Gap | None:
        """The open gap of the channel; None if there is none.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        wanted: Document = {"_id": channel_id, "open": True}
        if due_only:
            wanted |= {"ready": True, "due_at": {"$lte": self._clock()}}
        with store_reached("gaps"):
            found = await self._gaps.find_one(wanted)
        if found is None:
            return None
        return Gap(
            channel_id=channel_id,
            since=found["since"],
            unheard_since=found["unheard_since"],
            found_at=found["found_at"],
            is_ready=found["ready"],
            cursor=found["cursor"],
            rev=found["rev"],
            read=found["read"],
            tries=found["tries"],
            problem=found.get("problem"),
        )

    async def advance(self, gap: Gap, cursor: str, read: int) -> bool:
        """The page is durable; False if somebody else wrote it down.

        Raises:
            StoreUnavailable: not confirmed; the page is read once more, without effect.
        """
        change: Document = {"$set": {"cursor": cursor, "tries": 0, "problem": None}, "$inc": {"read": read}}
        with store_reached("gaps"):
            written = await self._gaps.update_one(_exactly(gap), change)
        return bool(written.matched_count)

    async def put_off(self, gap: Gap, seconds: float, *, counts: bool, problem: str | None) -> None:
        """Go on later.

        Args:
            counts: whether it was a refusal or a silence.
            problem: why it was refused, for the administrator.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        change: Document = {
            "$set": {"due_at": self._clock() + timedelta(seconds=seconds), "problem": problem},
            "$inc": {"tries": int(counts)},
        }
        with store_reached("gaps"):
            await self._gaps.update_one(_exactly(gap), change)

    async def finish(self, gap: Gap, read: int) -> bool:
        """The last page is durable; False if another pass follows.

        Raises:
            StoreUnavailable: not confirmed; the page is read once more, without effect.
        """
        now = self._clock()
        with store_reached("gaps"):
            ended = await self._gaps.update_one(
                {**_exactly(gap), "again": None},
                {"$set": {"open": False, "ended_at": now}, "$inc": {"read": read}},
            )
            if ended.matched_count:
                return True
            # Read for `again` on the server: it may be noted at this very moment.
            next_pass: Document = {
                "since": "$again",
                "ready": "$again_ready",
                "again": None,
                "cursor": None,
                "tries": 0,
                "problem": None,
                "rev": {"$add": ["$rev", 1]},
            }
            await self._gaps.update_one({**_exactly(gap), "again": {"$ne": None}}, [{"$set": next_pass}])
        return False

    async def give_up(self, gap: Gap) -> None:
        """It cannot be read.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        change = {"open": False, "is_given_up": True, "ended_at": self._clock()}
        with store_reached("gaps"):
            await self._gaps.update_one(_exactly(gap), {"$set": change})

    # --- listening at all

    async def last_heartbeat(self) -> datetime | None:
        """When some replica was last here to listen; None: this is a new installation.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("heartbeats"):
            found = await self._heartbeats.find_one({"_id": _LISTENING})
        return None if found is None else found["at"]

    async def beat(self) -> None:
        """We are here.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("heartbeats"):
            await self._heartbeats.update_one(
                {"_id": _LISTENING}, {"$max": {"at": self._clock()}}, upsert=True
            )

    # --- forgetting

    async def channel_ids(self) -> set[str]:
        """The channels that have or had a gap.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("gaps"):
            return {str(row["_id"]) for row in await self._gaps.find({}, {"_id": 1}).to_list(None)}

    async def forget(self, channel_id: str) -> bool:
        """The account is gone; False: nothing is left of it.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("gaps"):
            await self._gaps.delete_one({"_id": channel_id})
        return False


def _exactly(gap: Gap) -> Document:
    return {"_id": gap.channel_id, "open": True, "rev": gap.rev, "cursor": gap.cursor}
