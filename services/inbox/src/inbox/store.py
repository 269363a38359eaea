"""Every query of inbox: the log, its projections, channels, marks, numbers, the live epoch.

The log is written with w:majority and journalled; projections with w:1, because they can be made again.
Each call names its tenant; calls for many conversations name it in each key.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from inbox.documents import (
    commit_document,
    commit_of,
    message_document,
    message_of,
    state_document,
    state_of,
)
from inbox.domain import Commit, Event, Message, RequestOpened, State
from msgkit.contracts.events import Frozen
from msgkit.contracts.views import COUNTER_CAP, ChannelSettings, ChannelView
from msgkit.contracts.words import Box, ChatList
from msgkit.runtime.clock import utc_now
from msgkit.runtime.mongo import (
    ASCENDING,
    DESCENDING,
    STORE_ERRORS,
    BulkWriteError,
    Database,
    Document,
    DuplicateKeyError,
    InsertOne,
    ReplaceOne,
    ReturnDocument,
    StoreUnavailable,
    UpdateOne,
)

NUMBER_BLOCK: Final = 256
"""Numbers of requests one replica takes at once; what it does not use is a gap."""
LAGGING_WINDOW: Final = timedelta(minutes=10)
"""How long a batch may wait in place, so how old a commit may be that was never projected."""
CHANNELS_FRESH_S: Final = 2.0
"""The hot path may know a channel's settings this late."""
UNREAD_CANDIDATES: Final = 5 * COUNTER_CAP
_DUPLICATE_KEY: Final = 11000
_CHUNK: Final = 500

STORE_TROUBLE: Final[tuple[type[Exception], ...]] = (*STORE_ERRORS, StoreUnavailable)
"""The store is not to be reached now: repeat later."""

BOXES: Final[Mapping[ChatList, tuple[Box, ...]]] = {
    ChatList.ACTIVE: (Box.NEW, Box.ACTIVE),
    ChatList.MINE: (Box.NEW, Box.ACTIVE, Box.BOT, Box.WAITING),
    ChatList.NEW: (Box.NEW,),
    ChatList.BOT: (Box.BOT,),
    ChatList.WAITING: (Box.WAITING,),
    ChatList.DONE: (Box.DONE,),
}


class Key(NamedTuple):
    """A conversation of a tenant."""

    tenant_id: str
    conversation_id: str


class ChannelRecord(Frozen):
    """A channel as stored; `account_id` is the provider's own id of the account."""

    tenant_id: str
    account_id: str | None
    view: ChannelView


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


class AlreadyConnected(Exception):
    """The account is a channel of somebody already."""


class Store:
    """The database of inbox."""

    def __init__(self, database: Database, loose_database: Database) -> None:
        """
        Args:
            loose_database: the same one with cheap writes, for projections and notes.
        """
        self._database = database
        self._commits = database["commits"]
        self._notes = loose_database["commits"]
        self._conversations = loose_database["conversations"]
        self._messages = loose_database["messages"]
        self._channels = database["channels"]
        self._marks = database["marks"]
        self._counters = database["counters"]
        self._live = database["live"]
        self._quarantine = database["quarantine"]

    async def prepare(self) -> None:
        """Make the indexes; does nothing where they are there."""
        await self._commits.create_index(
            [("conversation_id", ASCENDING), ("v", ASCENDING)], unique=True, name="order"
        )
        await self._commits.create_index(
            [("tenant_id", ASCENDING), ("events.dedupe_id", ASCENDING)], unique=True, name="once"
        )
        await self._commits.create_index(
            [("partition", ASCENDING), ("at", ASCENDING)],
            partialFilterExpression={"relayed": False},
            name="unrelayed",
        )
        await self._commits.create_index(
            [(name, ASCENDING) for name in ("partition", "at", "tenant_id", "conversation_id", "v")],
            name="recent",
        )
        page = [("activity_at", DESCENDING), ("_id", DESCENDING)]
        await self._conversations.create_index(
            [("tenant_id", ASCENDING), ("channel_id", ASCENDING), ("box", ASCENDING), *page], name="lists"
        )
        await self._conversations.create_index(
            [("tenant_id", ASCENDING), ("assignee.id", ASCENDING), ("box", ASCENDING), *page],
            partialFilterExpression={"assignee.id": {"$exists": True}},
            name="mine",
        )
        await self._conversations.create_index(
            [("tenant_id", ASCENDING), ("channel_id", ASCENDING)],
            partialFilterExpression={"unanswered": True},
            name="unanswered",
        )
        await self._messages.create_index(
            [(name, ASCENDING) for name in ("tenant_id", "conversation_id", "pos_at", "n")], name="dialogue"
        )
        await self._messages.create_index(
            [("conversation_id", ASCENDING), ("provider_ids", ASCENDING)],
            partialFilterExpression={"direction": "out"},
            name="ours",
        )
        await self._channels.create_index(
            [("view.kind", ASCENDING), ("account_id", ASCENDING)],
            unique=True,
            partialFilterExpression={"account_id": {"$type": "string"}},
            name="account",
        )
        await self._channels.create_index([("tenant_id", ASCENDING)], name="tenant")
        await self._quarantine.create_index([("at", DESCENDING)], name="newest")

    # ------------------------------------------------------------ the log

    async def insert_commits(self, commits: Sequence[Commit]) -> set[Key]:
        """Append to the log. Returns the conversations whose commit lost the race or repeats something."""
        if not commits:
            return set()
        documents = [commit_document(commit) for commit in commits]
        try:
            await self._commits.insert_many(documents, ordered=False)
        except BulkWriteError as exc:
            return {
                Key(commits[index].tenant_id, commits[index].conversation_id)
                for index in _duplicates(exc, "commits")
            }
        return set()

    async def insert_commit(self, commit: Commit) -> bool:
        """Append one commit; False if somebody was faster or it repeats something."""
        try:
            await self._commits.insert_one(commit_document(commit))
        except DuplicateKeyError:
            return False
        return True

    async def commits_after(self, marks: Mapping[Key, int], limit: int = 0) -> dict[Key, list[Commit]]:
        """The commits of conversations after the given versions, in order."""
        if not marks:
            return {}
        tenants = sorted({key.tenant_id for key in marks})
        found: dict[Key, list[Commit]] = {}
        cursor = self._commits.find(
            {
                "tenant_id": {"$in": tenants},
                "$or": [
                    {"conversation_id": key.conversation_id, "v": {"$gt": v}} for key, v in marks.items()
                ],
            },
            {"_id": 0},
        )
        if limit:
            cursor = cursor.sort([("conversation_id", ASCENDING), ("v", ASCENDING)]).limit(limit)
        for document in await _read(cursor):
            commit = commit_of(document)
            found.setdefault(Key(commit.tenant_id, commit.conversation_id), []).append(commit)
        return {
            key: together for key, commits in found.items() if (together := _without_gap(commits, marks[key]))
        }

    async def known(self, tenant_id: str, dedupe_ids: Collection[str]) -> dict[str, str]:
        """Which of these already took effect, and in which conversation."""
        wanted = set(dedupe_ids)
        cursor = self._commits.find(
            {"tenant_id": tenant_id, "events.dedupe_id": {"$in": sorted(wanted)}},
            {"conversation_id": 1, "events.dedupe_id": 1},
        )
        return {
            event["dedupe_id"]: document["conversation_id"]
            for document in await _read(cursor)
            for event in document["events"]
            if event["dedupe_id"] in wanted
        }

    async def unrelayed(self, partitions: Iterable[int], before: datetime, limit: int) -> list[Commit]:
        """Commits whose writer left the relaying to the owner of the partition; oldest first."""
        cursor = (
            self._commits.find(
                {"partition": {"$in": sorted(partitions)}, "relayed": False, "at": {"$lt": before}},
                {"_id": 0},
            )
            .sort([("at", ASCENDING)])
            .limit(limit)
        )
        return [commit_of(document) for document in await _read(cursor)]

    async def mark_relayed(self, commits: Iterable[Commit]) -> None:
        """Note that these were published and projected. Losing the note only relays them again."""
        updates = [
            UpdateOne(
                {"conversation_id": commit.conversation_id, "v": commit.v, "relayed": False},
                {"$set": {"relayed": True}},
            )
            for commit in commits
        ]
        if updates:
            await self._notes.bulk_write(updates, ordered=False)

    async def lagging(self, partitions: Iterable[int]) -> list[Key]:
        """Conversations whose projection is behind their log, among the recent commits of partitions.

        Who died between insert and publish leaves such; so does a server that lost its last w:1 writes.
        """
        behind: list[Key] = []
        for partition in sorted(partitions):
            newest = await self._commits.find_one(
                {"partition": partition}, {"at": 1, "_id": 0}, sort=[("at", DESCENDING)]
            )
            if newest is None:
                continue
            heads = self._commits.aggregate(
                [
                    {"$match": {"partition": partition, "at": {"$gte": newest["at"] - LAGGING_WINDOW}}},
                    {
                        "$group": {
                            "_id": {"tenant_id": "$tenant_id", "conversation_id": "$conversation_id"},
                            "v": {"$max": "$v"},
                        }
                    },
                ],
                hint="recent",
            )
            versions = {
                Key(row["_id"]["tenant_id"], row["_id"]["conversation_id"]): row["v"]
                for row in await _read(heads)
            }
            projected = await self.versions(versions)
            behind += [key for key, v in versions.items() if projected.get(key, 0) < v]
        return behind

    async def conversation_keys(self) -> AsyncIterator[Key]:
        """Every conversation of the log, for the rebuild."""
        rows = self._commits.aggregate(
            [
                {"$match": {"v": 1}},
                {"$project": {"_id": 0, "tenant_id": 1, "conversation_id": 1}},
                {"$sort": {"tenant_id": 1, "conversation_id": 1}},
            ],
            allowDiskUse=True,
        )
        async for row in rows:
            yield Key(row["tenant_id"], row["conversation_id"])

    async def conversations_without_log(self) -> list[Key]:
        """Projected conversations nothing was ever said in, for the rebuild: there must be none."""
        rows = self._conversations.aggregate(
            [
                {
                    "$lookup": {
                        "from": self._commits.name,
                        "let": {"id": "$_id"},
                        "pipeline": [
                            {"$match": {"$expr": {"$eq": ["$conversation_id", "$$id"]}, "v": 1}},
                            {"$limit": 1},
                            {"$project": {"_id": 1}},
                        ],
                        "as": "first",
                    }
                },
                {"$match": {"first": []}},
                {"$project": {"tenant_id": 1}},
            ]
        )
        return [Key(row["tenant_id"], row["_id"]) for row in await _read(rows)]

    # ------------------------------------------------------------ projections

    async def states(self, keys: Collection[Key]) -> dict[Key, State]:
        """The projected conversations, without messages in hand; unknown ones are absent."""
        if not keys:
            return {}
        cursor = self._conversations.find(
            {
                "_id": {"$in": [key.conversation_id for key in keys]},
                "tenant_id": {"$in": sorted({key.tenant_id for key in keys})},
            }
        )
        states = [state_of(document) for document in await _read(cursor)]
        return {Key(state.tenant_id, state.id): state for state in states}

    async def versions(self, keys: Collection[Key]) -> dict[Key, int]:
        """How far conversations are projected."""
        found: dict[Key, int] = {}
        every = list(keys)
        for start in range(0, len(every), _CHUNK):
            chunk = every[start : start + _CHUNK]
            cursor = self._conversations.find(
                {"_id": {"$in": [key.conversation_id for key in chunk]}}, {"v": 1, "tenant_id": 1}
            )
            for row in await _read(cursor):
                found[Key(row["tenant_id"], row["_id"])] = row["v"]
        return found

    async def messages(self, tenants: Collection[str], ids: Collection[str]) -> list[Message]:
        """Projected messages by id; unknown ones are absent."""
        if not ids:
            return []
        cursor = self._messages.find({"_id": {"$in": sorted(ids)}, "tenant_id": {"$in": sorted(tenants)}})
        return [message_of(document) for document in await _read(cursor)]

    async def our_messages(self, wanted: Mapping[Key, Collection[str]]) -> list[Message]:
        """Projected answers by the provider's ids, per conversation."""
        if not wanted:
            return []
        cursor = self._messages.find(
            {
                "tenant_id": {"$in": sorted({key.tenant_id for key in wanted})},
                "direction": "out",
                "$or": [
                    {
                        "conversation_id": key.conversation_id,
                        "provider_ids": {"$in": sorted(ids)},
                        "direction": "out",
                    }
                    for key, ids in wanted.items()
                ],
            }
        )
        return [message_of(document) for document in await _read(cursor)]

    async def project_messages(self, created: Sequence[Message], changed: Sequence[Message]) -> None:
        """Write messages; one that is there in this revision or a later one stays."""
        operations: list[InsertOne[Document] | ReplaceOne[Document]] = [
            InsertOne(message_document(message)) for message in created
        ]
        operations += [_replace_message(message) for message in changed]
        refused = await self._bulk(self._messages, operations)
        again = [created[index] for index in refused if index < len(created)]
        if again:
            await self._bulk(self._messages, [_replace_message(message) for message in again])

    async def project_states(self, states: Sequence[tuple[int, State]]) -> set[Key]:
        """Write conversations, each after the projected version it follows.

        Returns those whose projection was not at that version: somebody else projected, or the server
        lost a write. They must be read and relayed again.
        """
        operations: list[InsertOne[Document] | ReplaceOne[Document]] = []
        for before, state in states:
            document = state_document(state)
            if before == 0:
                operations.append(InsertOne(document))
            else:
                operations.append(ReplaceOne({"_id": state.id, "v": before}, document))
        if not operations:
            return set()
        try:
            result = await self._conversations.bulk_write(operations, ordered=False)
            done = result.inserted_count + result.matched_count
        except BulkWriteError as exc:
            _duplicates(exc, "conversations")
            done = exc.details["nInserted"] + exc.details["nMatched"]
        if done == len(operations):
            return set()
        wanted = {Key(state.tenant_id, state.id): state.v for _, state in states}
        projected = await self.versions(wanted)
        return {key for key, v in wanted.items() if projected.get(key, 0) < v}

    async def replace_projection(self, state: State, messages: Sequence[Message]) -> None:
        """Write a conversation and exactly these messages, whatever was there: the repair of the rebuild."""
        ids = [message.id for message in messages]
        for start in range(0, len(messages), _CHUNK):
            await self._bulk(
                self._messages,
                [
                    ReplaceOne({"_id": message.id}, message_document(message), upsert=True)
                    for message in messages[start : start + _CHUNK]
                ],
            )
        await self._messages.delete_many(
            {"tenant_id": state.tenant_id, "conversation_id": state.id, "_id": {"$nin": ids}}
        )
        await self._conversations.replace_one({"_id": state.id}, state_document(state), upsert=True)

    async def projection(self, key: Key) -> tuple[Document | None, list[Document]]:
        """The stored documents of one conversation, for the rebuild's comparison."""
        conversation = await self._conversations.find_one(
            {"_id": key.conversation_id, "tenant_id": key.tenant_id}
        )
        cursor = self._messages.find({"tenant_id": key.tenant_id, "conversation_id": key.conversation_id})
        return conversation, await _read(cursor)

    async def _bulk(
        self, collection: Any, operations: Sequence[InsertOne[Document] | ReplaceOne[Document]]
    ) -> list[int]:
        if not operations:
            return []
        try:
            await collection.bulk_write(operations, ordered=False)
        except BulkWriteError as exc:
            return _duplicates(exc, collection.name)
        return []

    # ------------------------------------------------------------ lists and pages

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
        return [state_of(document) for document in await _read(cursor)]

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
        rows = await _read(cursor)
        count = 0
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
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
        return [message_of(document) for document in reversed(await _read(cursor))]

    async def page_after(self, key: Key, after: Position, limit: int) -> list[Message]:
        """The first messages after a position, ascending."""
        cursor = (
            self._messages.find(self._dialogue(key, after, "$gt"))
            .sort([("pos_at", ASCENDING), ("n", ASCENDING)])
            .limit(limit)
        )
        return [message_of(document) for document in await _read(cursor)]

    def _dialogue(self, key: Key, bound: Position | None, side: str) -> Document:
        wanted: Document = {"tenant_id": key.tenant_id, "conversation_id": key.conversation_id}
        if bound is not None:
            wanted["$or"] = [
                {"pos_at": {side: bound.pos_at}},
                {"pos_at": bound.pos_at, "n": {side: bound.n}},
            ]
        return wanted

    async def answers_after(self, key: Key, n: int, limit: int) -> list[Message]:
        """Messages of ours with a higher `n`: what an author had not seen."""
        cursor = (
            self._messages.find(
                {
                    "tenant_id": key.tenant_id,
                    "conversation_id": key.conversation_id,
                    "direction": "out",
                    "n": {"$gt": n},
                }
            )
            .sort([("pos_at", DESCENDING), ("n", DESCENDING)])
            .limit(limit)
        )
        return [message_of(document) for document in reversed(await _read(cursor))]

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
        rows = await _read(cursor)
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
                            {"events.type": "answer.ordered", "events.author.kind": "operator"},
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
        for row in await _read(cursor):
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

    async def marks(
        self, tenant_id: str, operator_id: str, conversation_ids: Collection[str]
    ) -> dict[str, int]:
        """An operator's marks: conversation → in_seq."""
        ids = [_mark_id(tenant_id, operator_id, id_) for id_ in conversation_ids]
        if not ids:
            return {}
        cursor = self._marks.find({"_id": {"$in": ids}, "tenant_id": tenant_id})
        return {row["conversation_id"]: row["in_seq"] for row in await _read(cursor)}

    # ------------------------------------------------------------ channels

    async def channels(self, tenant_id: str) -> list[ChannelRecord]:
        """The channels of a tenant, oldest first."""
        cursor = self._channels.find({"tenant_id": tenant_id, "deleted": False}).sort("view.created_at")
        return [_channel_of(document) for document in await _read(cursor)]

    async def channels_by_id(self, ids: Collection[str]) -> dict[str, ChannelRecord]:
        """Channels of any tenant, for the relay; who asks compares the tenant."""
        cursor = self._channels.find({"_id": {"$in": sorted(ids)}, "deleted": False})
        return {document["_id"]: _channel_of(document) for document in await _read(cursor)}

    async def channel(self, tenant_id: str, channel_id: str) -> ChannelRecord | None:
        found = await self._channels.find_one({"_id": channel_id, "tenant_id": tenant_id, "deleted": False})
        return None if found is None else _channel_of(found)

    async def put_channel(
        self, tenant_id: str, channel_id: str, account_id: str, fields: Document
    ) -> ChannelRecord:
        """Store a channel or change it; `fields` are those of ChannelView the caller decides.

        Raises:
            AlreadyConnected: the account, or the id, belongs to another channel.
        """
        changes = {f"view.{name}": value for name, value in fields.items()}
        try:
            document = await self._channels.find_one_and_update(
                {"_id": channel_id, "tenant_id": tenant_id},
                {
                    "$set": {**changes, "account_id": account_id, "deleted": False},
                    "$inc": {"view.rev": 1},
                    "$setOnInsert": {
                        "view.id": channel_id,
                        "view.state": "pending",
                        "view.connected": False,
                        "view.problem": None,
                        "view.created_at": utc_now(),
                    },
                },
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError as exc:
            raise AlreadyConnected from exc
        return _channel_of(document)

    async def change_channel(self, tenant_id: str, channel_id: str, fields: Document) -> ChannelRecord | None:
        document: Document | None = await self._channels.find_one_and_update(
            {"_id": channel_id, "tenant_id": tenant_id, "deleted": False},
            {"$set": {f"view.{name}": value for name, value in fields.items()}, "$inc": {"view.rev": 1}},
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _channel_of(document)

    async def remove_channel(self, tenant_id: str, channel_id: str) -> ChannelRecord | None:
        """Hide a channel with its conversations, and free its account; the log stays."""
        document: Document | None = await self._channels.find_one_and_update(
            {"_id": channel_id, "tenant_id": tenant_id, "deleted": False},
            {
                "$set": {"deleted": True, "view.state": "disabled", "view.connected": False},
                "$unset": {"account_id": ""},
                "$inc": {"view.rev": 1},
            },
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _channel_of(document)

    # ------------------------------------------------------------ singles

    async def take_numbers(self, tenant_id: str, count: int) -> range:
        """A block of numbers for requests; they rise, nobody else gets the same."""
        document = await self._counters.find_one_and_update(
            {"_id": f"requests:{tenant_id}"},
            {"$inc": {"taken": count}, "$setOnInsert": {"tenant_id": tenant_id}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        taken = int(document["taken"])
        return range(taken - count + 1, taken + 1)

    async def epoch(self) -> str | None:
        found = await self._live.find_one({"_id": "live"})
        return None if found is None else str(found["epoch"])

    async def change_epoch(self, old: str | None, new: str) -> str:
        """Set the epoch if it is still `old`; returns the one that counts now."""
        with contextlib.suppress(DuplicateKeyError):  # somebody else was faster: theirs counts
            await self._live.update_one({"_id": "live", "epoch": old}, {"$set": {"epoch": new}}, upsert=True)
        current = await self.epoch()
        assert current is not None
        return current

    async def quarantine(self, document: Document) -> None:
        """Keep a delivery nobody could handle."""
        await self._quarantine.update_one(
            {"_id": document["_id"]}, {"$set": {**document, "at": utc_now()}}, upsert=True
        )

    async def server_identity(self) -> str:
        """Changes when the primary is another process than before: its last w:1 writes may be gone."""
        hello = await self._database.command("hello")
        version = hello.get("topologyVersion", {})
        return str(version.get("processId", hello.get("electionId", "")))


class RequestNumbers:
    """Numbers for requests, taken in blocks so that opening one costs no query."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._free: dict[str, deque[int]] = {}

    async def ensure(self, tenant_id: str, count: int) -> None:
        """See to it that `count` numbers can be taken."""
        free = self._free.setdefault(tenant_id, deque())
        while len(free) < count:
            free.extend(await self._store.take_numbers(tenant_id, max(NUMBER_BLOCK, count)))

    def next(self, tenant_id: str) -> int:
        """The number the next request gets; it stays free until used."""
        return self._free[tenant_id][0]

    def use(self, tenant_id: str, events: Iterable[Event]) -> None:
        """Strike off the number if these events opened a request with it."""
        if any(isinstance(event, RequestOpened) for event in events):
            self._free[tenant_id].popleft()


class ChannelBook:
    """Channels for the hot path, at most CHANNELS_FRESH_S old. Access is never decided by it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[float, ChannelRecord | None]] = {}
        self._reading = asyncio.Lock()

    async def look_up(self, ids: Collection[str]) -> Mapping[str, ChannelRecord | None]:
        """Channels by id; None for one that is not there (any more)."""
        fresh_since = time.monotonic() - CHANNELS_FRESH_S
        if any(id_ not in self._known or self._known[id_][0] < fresh_since for id_ in ids):
            async with self._reading:
                stale = {id_ for id_ in ids if id_ not in self._known or self._known[id_][0] < fresh_since}
                if stale:
                    found = await self._store.channels_by_id(stale)
                    now = time.monotonic()
                    self._known.update({id_: (now, found.get(id_)) for id_ in stale})
        return {id_: self._known[id_][1] for id_ in ids}

    def forget(self, channel_id: str) -> None:
        self._known.pop(channel_id, None)


def _replace_message(message: Message) -> ReplaceOne[Document]:
    # With a newer revision there, the upsert tries to insert and is refused: just what we want.
    return ReplaceOne(
        {"_id": message.id, "rev": {"$lt": message.rev}}, message_document(message), upsert=True
    )


def _channel_of(document: Document) -> ChannelRecord:
    return ChannelRecord(
        tenant_id=document["tenant_id"],
        account_id=document.get("account_id"),
        view=ChannelView.model_validate(document["view"]),
    )


def channel_fields(
    *, title: str | None = None, settings: ChannelSettings | None = None, **others: object
) -> Document:
    """Fields of a ChannelView as they are stored; None leaves title and settings as they are."""
    fields: Document = dict(others)
    if title is not None:
        fields["title"] = title
    if settings is not None:
        fields["settings"] = settings.model_dump(mode="python")
    return fields


def _mark_id(tenant_id: str, operator_id: str, conversation_id: str) -> str:
    return f"{tenant_id}\x1f{operator_id}\x1f{conversation_id}"


def _duplicates(error: BulkWriteError, collection: str) -> list[int]:
    """The places of refused duplicates; any other failure means the store is not well."""
    errors = error.details.get("writeErrors", [])
    if error.details.get("writeConcernErrors") or any(one["code"] != _DUPLICATE_KEY for one in errors):
        raise StoreUnavailable(f"{collection}: a bulk write was not confirmed") from error
    return [int(one["index"]) for one in errors]


def _without_gap(commits: list[Commit], after: int) -> list[Commit]:
    """In order, up to the first gap: a scan beside inserts may see a commit and not the one before it."""
    commits.sort(key=lambda commit: commit.v)
    for index, commit in enumerate(commits):
        if commit.v != after + 1 + index:
            return commits[:index]
    return commits


async def _read(cursor: Any) -> list[Document]:
    rows: list[Document] = await cursor.to_list(None)
    return rows
