"""Every answer we were ordered to bring, and how far it got: the truth behind the send loop.

The attempt is written before the call to the messenger, so a crash can be told from "never tried".
"""

from __future__ import annotations

from collections.abc import Collection as Items
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgkit.connector.reach import store_reached
from msgkit.connector.send_documents import (
    CHANNEL_GONE,
    IN_DOUBT,
    UNKNOWN,
    Ending,
    Outcome,
    Send,
    ended_waiting,
    report_message,
    report_of,
    send_of,
    understood_id,
)
from msgkit.contracts.events import Failure
from msgkit.contracts.words import MessageState
from msgkit.runtime.bus import Outgoing
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.mongo import Database, Document, UpdateOne, keep_index, loosely

LEASE_SECONDS = 8.0
"""An attempt whose lease is over belongs to a dead process. Renewed while a call is out."""
KEPT = timedelta(days=30)
"""How long a finished send is remembered, so that a repeated order has no effect."""
ATTEMPTS_KEPT = 20

_AT_ONCE = 100


class SendStore:
    """The collections `sends` and `send_positions` of one ingest service."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._sends = database["sends"]
        self._positions = database["send_positions"]
        self._clock = clock

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            await keep_index(
                self._sends,
                [("open", 1), ("channel_id", 1), ("conversation_id", 1), ("out_seq", 1)],
                partialFilterExpression={"open": True},
            )
            await keep_index(
                self._sends, "report_due", partialFilterExpression={"report_due": {"$exists": True}}
            )
            await keep_index(self._sends, "expires_at", expireAfterSeconds=0)
            await keep_index(self._positions, "channel_id")

    # --- what is there to do

    async def waiting_channels(self) -> list[str]:
        """Channels with something due now.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            found: list[str] = await self._sends.distinct("channel_id", {"open": True})
        return found

    async def waiting_conversations(self, channel_id: str) -> list[str]:
        """Conversations of a channel with something not yet finished.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            found: list[str] = await self._sends.distinct(
                "conversation_id", {"channel_id": channel_id, "open": True}
            )
        return found

    async def doubtful_conversations(self, channel_id: str) -> list[str]:
        """Conversations of a channel with a send in doubt.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            found: list[str] = await self._sends.distinct(
                "conversation_id", {"channel_id": channel_id, "open": True, "state": IN_DOUBT}
            )
        return found

    async def head(self, channel_id: str, conversation_id: str) -> Send | None:
        """The first unfinished send of a conversation, in order of `out_seq`.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            found = await self._sends.aggregate(
                [
                    {
                        "$match": {
                            "channel_id": channel_id,
                            "conversation_id": conversation_id,
                            "open": True,
                            "order": {"$exists": True},
                        }
                    },
                    {"$sort": {"out_seq": 1}},
                    {"$limit": 1},
                    # The server's clock: the one who took the lease may have had another one.
                    {"$set": {"over": {"$lt": [{"$ifNull": ["$lease_until", "$$NOW"]}, "$$NOW"]}}},
                ]
            ).to_list(1)
        return send_of(found[0]) if found else None

    async def position(self, conversation_id: str) -> int:
        """The `out_seq` of the last finished send of a conversation; 0 before the first.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("send_positions"):
            document = await self._positions.find_one({"_id": conversation_id})
        return 0 if document is None else int(document["done"])

    # --- one attempt

    async def claim(self, send: Send, owner: str, parts: int) -> bool:
        """Write that `owner` is about to call the messenger; False if it must be looked at again first.

        Args:
            parts: how many parts it goes out in, those that are out already among them.

        Raises:
            StoreUnavailable: not confirmed; the call must not be made.
        """
        attempt = {"at": self._clock(), "part": send.parts_done, "owner": owner}
        with store_reached("sends"):
            claimed = await self._sends.find_one_and_update(
                {
                    "_id": send.message_id,
                    "open": True,
                    "state": "queued",
                    # A receipt told at this very moment that it had arrived after all.
                    f"marked.{send.parts_done}": {"$exists": False},
                },
                [
                    {
                        "$set": {
                            "state": "sending",
                            "owner": {"$literal": owner},
                            "parts": parts,
                            "lease_until": _lease(),
                            "attempts": _with_attempt(attempt),
                        }
                    }
                ],
                projection={"_id": 1},
            )
        return claimed is not None

    async def mark_part(self, send: Send, owner: str, provider_ids: Sequence[str], part: int) -> bool:
        """Write that `part` was delivered and the next one is about to be tried; False if it is not ours now.

        Raises:
            StoreUnavailable: not confirmed; repeat it.
        """
        attempt = {"at": self._clock(), "part": part + 1, "owner": owner}
        ours = {"_id": send.message_id, "state": "sending", "owner": owner}
        with store_reached("sends"):
            result = await self._sends.update_one(
                {**ours, "parts_done": part},
                [
                    {
                        "$set": {
                            "parts_done": part + 1,
                            "refusals": 0,
                            "provider_ids": {
                                "$concatArrays": ["$provider_ids", {"$literal": list(provider_ids)}]
                            },
                            "lease_until": _lease(),
                            "attempts": _with_attempt(attempt),
                        }
                    }
                ],
            )
            if result.matched_count:
                return True
            # A write that was not confirmed may have been done.
            return await self._sends.find_one({**ours, "parts_done": part + 1}, {"_id": 1}) is not None

    async def renew(self, message_id: str, owner: str) -> None:
        """Say that the call is still out.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            await self._sends.update_one(
                {"_id": message_id, "state": "sending", "owner": owner},
                [{"$set": {"lease_until": _lease()}}],
            )

    async def release(
        self,
        send: Send,
        owner: str,
        *,
        due_at: datetime,
        unavailable_since: datetime | None = None,
        is_refusal: bool = False,
    ) -> None:
        """Put it back: the messenger certainly did not take it.

        Args:
            send: what was claimed.
            owner: who claimed it.
            due_at: not before.
            unavailable_since: since when the messenger cannot be reached, if that is the reason.
            is_refusal: the messenger said that this contact has had too much.

        Raises:
            StoreUnavailable: not confirmed; repeat it.
        """
        with store_reached("sends"):
            await self._sends.update_one(
                {"_id": send.message_id, "state": "sending", "owner": owner},
                {
                    "$set": {
                        "state": "queued",
                        "due_at": due_at,
                        "unavailable_since": unavailable_since,
                        "retries": send.retries + (1 if unavailable_since else 0),
                    },
                    "$inc": {"refusals": 1 if is_refusal else 0},
                    "$unset": {"owner": "", "lease_until": ""},
                },
            )

    async def finish(
        self, send: Send, outcome: Outcome, *, provider_ids: Sequence[str], traceparent: str | None = None
    ) -> Outgoing | None:
        """Write where it ended, with the report to inbox in the same document; None if it had ended already.

        A success is written even after somebody else called it unknown; the other way round never.

        Raises:
            StoreUnavailable: not confirmed; repeat it.
        """
        allowed = ["queued", "sending"]
        if outcome.state is MessageState.SENT:
            allowed += ["unknown", IN_DOUBT]
        return await self._close(
            Ending(send, provider_ids, traceparent or send.traceparent), outcome, {"state": {"$in": allowed}}
        )

    async def give_up(self, send: Send) -> Outgoing | None:
        """Call an attempt of a dead process unknown; None if it lives or has ended.

        Raises:
            StoreUnavailable: not confirmed; repeat it.
        """
        return await self._close(
            Ending(send, send.provider_ids, send.traceparent),
            Outcome(MessageState.UNKNOWN, UNKNOWN),
            _dead(send),
        )

    # --- a call that went unanswered

    async def doubt(self, send: Send, until: datetime, owner: str | None) -> bool:
        """Write that nobody knows yet what became of the part that was tried; False if it was not ours.

        Args:
            send: what was claimed.
            until: as long a receipt may tell.
            owner: who claimed it; None: a dead process did.

        Raises:
            StoreUnavailable: not confirmed; repeat it.
        """
        tried = _dead(send) if owner is None else {"state": "sending", "owner": owner}
        with store_reached("sends"):
            result = await self._sends.update_one(
                {"_id": send.message_id, **tried},
                {
                    "$set": {"state": IN_DOUBT, "doubt_until": until},
                    "$unset": {"owner": "", "lease_until": ""},
                },
            )
        return bool(result.matched_count)

    async def go_on(self, send: Send, provider_id: str) -> None:
        """The part in doubt was taken: the next one may be tried.

        Raises:
            StoreUnavailable: not confirmed; look at the send again.
        """
        with store_reached("sends"):
            await self._sends.update_one(
                {
                    "_id": send.message_id,
                    "state": {"$in": ["queued", IN_DOUBT]},
                    "parts_done": send.parts_done,
                },
                {
                    "$set": {"state": "queued", "parts_done": send.parts_done + 1, "due_at": self._clock()},
                    "$push": {"provider_ids": provider_id},
                    "$unset": {"doubt_until": ""},
                },
            )

    async def end_doubt(self, send: Send) -> Outgoing | None:
        """No receipt told what became of it: unknown; None if one did at last, or it has ended.

        Raises:
            StoreUnavailable: not confirmed; repeat it.
        """
        return await self._close(
            Ending(send, send.provider_ids, send.traceparent),
            Outcome(MessageState.UNKNOWN, UNKNOWN),
            {"state": IN_DOUBT, f"marked.{send.parts_done}": {"$exists": False}},
        )

    # --- its end

    async def fail_channel(self, channel_id: str, reason: Failure = CHANNEL_GONE) -> None:
        """End everything that waits for a channel that is gone or switched off.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        while True:
            with store_reached("sends"):
                waiting = await self._sends.find(
                    {"channel_id": channel_id, "open": True, "state": {"$in": ["queued", IN_DOUBT]}}
                ).to_list(_AT_ONCE)
            if not waiting:
                return
            for document in waiting:
                await self.end_waiting(document, reason)

    async def end_waiting(self, document: Mapping[str, Any], reason: Failure) -> None:
        """End a send nobody is calling for at this moment; one that has gone on meanwhile stays as it is.

        What a receipt told of it counts more than `reason`: it may have arrived after all.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        ending, outcome = ended_waiting(document, reason)
        heard = f"marked.{document.get('parts_done', 0)}"
        is_as_read = {"state": document["state"], heard: {"$exists": understood_id(document) is not None}}
        await self._close(ending, outcome, is_as_read)

    async def _close(self, ending: Ending, outcome: Outcome, when: Mapping[str, Any]) -> Outgoing | None:
        now = self._clock()
        send = ending.send
        report = report_of(ending, outcome, now)
        with store_reached("sends"):
            result = await self._sends.update_one(
                {"_id": send.message_id, **when},
                {
                    "$set": {
                        "open": False,
                        "state": outcome.state.value,
                        "provider_ids": list(ending.provider_ids),
                        "failure": None if outcome.failure is None else outcome.failure.code.value,
                        "finished_at": now,
                        "expires_at": now + KEPT,
                        "report": report,
                        "report_due": now,
                    },
                    # The words of the answer stay with inbox alone.
                    "$unset": {"order": "", "owner": "", "lease_until": "", "doubt_until": ""},
                },
            )
        if not result.matched_count:
            return None
        if send.out_seq:
            with store_reached("send_positions"):
                await self._positions.update_one(
                    {"_id": send.conversation_id},
                    {"$max": {"done": send.out_seq}, "$set": {"channel_id": send.channel_id}},
                    upsert=True,
                )
        return report_message(report)

    # --- reports go out

    async def due_reports(
        self, partitions: Items[int], older_than: timedelta, limit: int
    ) -> list[tuple[str, Outgoing]]:
        """Reports that are not confirmed yet: (message id, message).

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            found = (
                await self._sends.find(
                    {
                        "report_due": {"$lte": self._clock() - older_than},
                        "partition": {"$in": sorted(partitions)},
                    },
                    {"report": 1},
                )
                .sort("report_due", 1)
                .to_list(limit)
            )
        return [(str(document["_id"]), report_message(document["report"])) for document in found]

    async def reported(self, reports: Sequence[tuple[str, Outgoing]]) -> None:
        """Forget confirmed reports. Losing this write only repeats a report that has no second effect.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            await loosely(self._sends).bulk_write(
                [
                    UpdateOne(
                        {"_id": message_id, "report.event_id": outgoing.event_id},
                        {"$unset": {"report": "", "report_due": ""}},
                    )
                    for message_id, outgoing in reports
                ],
                ordered=False,
            )


def _lease() -> dict[str, Any]:
    return {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}


def _with_attempt(attempt: dict[str, Any]) -> dict[str, Any]:
    return {"$slice": [{"$concatArrays": ["$attempts", [{"$literal": attempt}]]}, -ATTEMPTS_KEPT]}


def _dead(send: Send) -> Document:
    """An attempt whose lease is over by the server's clock."""
    return {"state": "sending", "owner": send.owner, "$expr": {"$lt": ["$lease_until", "$$NOW"]}}
