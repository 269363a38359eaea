"""What windows page through: lists of chats, counts, parts of a dialogue, requests, marks of reading."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from inbox.documents import message_of, state_of
from inbox.domain import Message, State
from inbox.projections import CHUNK, Key, read_all
from msgkit.contracts.views import COUNTER_CAP
from msgkit.contracts.words import Box, ChatList
from msgkit.runtime.mongo import ASCENDING, DESCENDING, Database, Document, ReturnDocument

UNREAD_CANDIDATES: Final = 5 * COUNTER_CAP

BOXES: Final[Mapping[ChatList, tuple[Box, ...]]] = {
    ChatList.ACTIVE: (Box.NEW, Box.ACTIVE),
    ChatList.MINE: (Box.NEW, Box.ACTIVE, Box.BOT, Box.WAITING),
    ChatList.NEW: (Box.NEW,),
    ChatList.BOT: (Box.BOT,),
    ChatList.WAITING: (Box.WAITING,),
    ChatList.DONE: (Box.DONE,),
}


@dataclass(frozen=True, slots=True)
class RowsQuery:
    """A list of conversations. `after` is the last row of the page before."""

    channels: frozenset[str]
    chat_list: ChatList
    viewer_id: str | None
    assignee_id: str | None
    words: str | None
    after: tuple[datetime, str] | None
    limit: int


class Position(NamedTuple):
    """Where a message stands in its dialogue."""

    pos_at: datetime
    n: int


class Lists:
    """Queries of the projections, and the marks of operators."""

    def __init__(self, database: Database, loose_database: Database) -> None:
        """
        Args:
            loose_database: the same one, as the projections are kept in it.
        """
        self._commits = database["commits"]
        self._conversations = loose_database["conversations"]
        self._messages = loose_database["messages"]
        self._marks = database["marks"]

    async def rows(self, tenant_id: str, query: RowsQuery) -> list[State]:
        """One page of a list, newest activity first."""
        wanted = self._list_filter(tenant_id, query.channels, query.chat_list, query.viewer_id)
        if query.assignee_id is not None:
            wanted["assignee.id"] = query.assignee_id
        if query.words is not None:
            pattern = {"$regex": re.escape(query.words), "$options": "i"}
            wanted["$and"] = [
                {"$or": [{f"contact.{name}": pattern} for name in ("name", "username", "phone")]}
            ]
        if query.after is not None:
            at, id_ = query.after
            wanted["$or"] = [{"activity_at": {"$lt": at}}, {"activity_at": at, "_id": {"$lt": id_}}]
        cursor = (
            self._conversations.find(wanted)
            .sort([("activity_at", DESCENDING), ("_id", DESCENDING)])
            .limit(query.limit)
        )
        return [state_of(document) for document in await read_all(cursor)]

    async def count(
        self, tenant_id: str, channels: frozenset[str], chat_list: ChatList, viewer_id: str | None
    ) -> int:
        """How many conversations a list has, counted to COUNTER_CAP."""
        wanted = self._list_filter(tenant_id, channels, chat_list, viewer_id)
        return int(await self._conversations.count_documents(wanted, limit=COUNTER_CAP))

    async def count_unread(self, tenant_id: str, channels: frozenset[str], viewer_id: str) -> int:
        """How many conversations have something this operator has not read, counted to COUNTER_CAP."""
        cursor = self._conversations.find(
            {"tenant_id": tenant_id, "channel_id": {"$in": sorted(channels)}, "unanswered": True},
            {"in_seq": 1, "answered_seq": 1},
        ).limit(UNREAD_CANDIDATES)
        rows = await read_all(cursor)
        count = 0
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            marks = await self.marks(tenant_id, viewer_id, [row["_id"] for row in chunk])
            count += sum(row["in_seq"] > max(marks.get(row["_id"], 0), row["answered_seq"]) for row in chunk)
            if count >= COUNTER_CAP:
                return COUNTER_CAP
        return count

    def _list_filter(
        self, tenant_id: str, channels: frozenset[str], chat_list: ChatList, viewer_id: str | None
    ) -> Document:
        wanted: Document = {
            "tenant_id": tenant_id,
            "channel_id": {"$in": sorted(channels)},
            "box": {"$in": [box.value for box in BOXES[chat_list]]},
        }
        if chat_list is ChatList.MINE:
            wanted["assignee.id"] = viewer_id
        return wanted

    async def position(self, key: Key, message_id: str) -> Position | None:
        """Where a message stands; None if it is not one of this conversation."""
        found = await self._messages.find_one(
            {"_id": message_id, "tenant_id": key.tenant_id, "conversation_id": key.conversation_id},
            {"pos_at": 1, "n": 1},
        )
        return None if found is None else Position(found["pos_at"], found["n"])

    async def page_before(self, key: Key, before: Position | None, limit: int) -> list[Message]:
        """The last messages before a position (None: of the dialogue), ascending."""
        cursor = (
            self._messages.find(self._dialogue(key, before, "$lt"))
            .sort([("pos_at", DESCENDING), ("n", DESCENDING)])
            .limit(limit)
        )
        return [message_of(document) for document in reversed(await read_all(cursor))]

    async def page_after(self, key: Key, after: Position, limit: int) -> list[Message]:
        """The first messages after a position, ascending."""
        cursor = (
            self._messages.find(self._dialogue(key, after, "$gt"))
            .sort([("pos_at", ASCENDING), ("n", ASCENDING)])
            .limit(limit)
        )
        return [message_of(document) for document in await read_all(cursor)]

    def _dialogue(self, key: Key, bound: Position | None, side: str) -> Document:
        wanted: Document = {
            "tenant_id": key.tenant_id,
            "conversation_id": key.conversation_id,
            "replaced_by": None,
        }
        if bound is not None:
            wanted["$or"] = [
                {"pos_at": {side: bound.pos_at}},
                {"pos_at": bound.pos_at, "n": {side: bound.n}},
            ]
        return wanted

    async def in_seq_at(self, key: Key, n: int) -> int:
        """How many messages of the client there are up to message `n`."""
        cursor = (
            self._messages.find(
                {
                    "tenant_id": key.tenant_id,
                    "conversation_id": key.conversation_id,
                    "n": {"$lte": n},
                },
                {"in_seq": 1},
            )
            .sort([("n", DESCENDING)])
            .limit(1)
        )
        rows = await read_all(cursor)
        return int(rows[0]["in_seq"]) if rows else 0

    async def requests(self, key: Key) -> list[Document]:
        """The requests of a conversation, oldest first, as RequestRef has them; read from the log."""
        cursor = self._commits.aggregate(
            [
                {"$match": {"tenant_id": key.tenant_id, "conversation_id": key.conversation_id}},
                {"$sort": {"v": 1}},
                {"$unwind": "$events"},
                {
                    "$match": {
                        "$or": [
                            {"events.type": "request.opened"},
                            {
                                "events.type": {"$in": ["answer.ordered", "answer.echoed"]},
                                "events.author.kind": "operator",
                            },
                        ]
                    }
                },
                {
                    "$project": {
                        "_id": 0,
                        "at": 1,
                        "events.type": 1,
                        "events.request_id": 1,
                        "events.number": 1,
                    }
                },
            ]
        )
        found: list[Document] = []
        for row in await read_all(cursor):
            event = row["events"]
            if event["type"] == "request.opened":
                found.append(
                    {
                        "id": event["request_id"],
                        "number": event["number"],
                        "opened_at": row["at"],
                        "first_reply_at": None,
                    }
                )
            elif found and found[-1]["first_reply_at"] is None:
                found[-1]["first_reply_at"] = row["at"]
        return found

    async def first_unread(self, key: Key, after_in_seq: int) -> str | None:
        """The id of the first message of the client after a mark."""
        found = await self._messages.find_one(
            {
                "tenant_id": key.tenant_id,
                "conversation_id": key.conversation_id,
                "direction": "in",
                "in_seq": after_in_seq + 1,
                "is_recalled": None,
            },
            {"_id": 1},
        )
        return None if found is None else str(found["_id"])

    # ------------------------------------------------------------ marks of reading

    async def raise_mark(self, tenant_id: str, operator_id: str, key: Key, in_seq: int) -> int:
        """Move an operator's mark up; returns where it is now. It never goes down."""
        document = await self._marks.find_one_and_update(
            {"_id": _mark_id(tenant_id, operator_id, key.conversation_id), "tenant_id": tenant_id},
            {
                "$max": {"in_seq": in_seq},
                "$setOnInsert": {"operator_id": operator_id, "conversation_id": key.conversation_id},
            },
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return int(document["in_seq"])

    async def set_mark(self, tenant_id: str, operator_id: str, key: Key, in_seq: int) -> None:
        """Put an operator's mark where they want it, also back."""
        await self._marks.update_one(
            {"_id": _mark_id(tenant_id, operator_id, key.conversation_id), "tenant_id": tenant_id},
            {
                "$set": {"in_seq": in_seq},
                "$setOnInsert": {"operator_id": operator_id, "conversation_id": key.conversation_id},
            },
            upsert=True,
        )

    async def marks(
        self, tenant_id: str, operator_id: str, conversation_ids: Collection[str]
    ) -> dict[str, int]:
        """An operator's marks: conversation → in_seq."""
        ids = [_mark_id(tenant_id, operator_id, id_) for id_ in conversation_ids]
        if not ids:
            return {}
        cursor = self._marks.find({"_id": {"$in": ids}, "tenant_id": tenant_id})
        return {row["conversation_id"]: row["in_seq"] for row in await read_all(cursor)}


def _mark_id(tenant_id: str, operator_id: str, conversation_id: str) -> str:
    return f"{tenant_id}\x1f{operator_id}\x1f{conversation_id}"
