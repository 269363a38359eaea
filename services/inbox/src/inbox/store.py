"""The log and its projections, written and read by conversation; numbers, the live epoch, quarantine.

The log is written with w:majority and journalled; projections with w:1, because they can be made again.
Each call names its tenant; calls for many conversations name it in each key.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
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
from msgkit.contracts.ids import PARTITIONS
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
_DUPLICATE_KEY: Final = 11000
CHUNK: Final = 500

STORE_TROUBLE: Final[tuple[type[Exception], ...]] = (*STORE_ERRORS, StoreUnavailable)
"""The store is not to be reached now: repeat later."""


class Key(NamedTuple):
    """A conversation of a tenant."""

    tenant_id: str
    conversation_id: str


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
            [("tenant_id", ASCENDING), ("body.attachments.id", ASCENDING)],
            # Most messages have no file; the index must not cost them anything.
            partialFilterExpression={"body.attachments.id": {"$exists": True}},
            name="files",
        )
        await self._messages.create_index(
            [("conversation_id", ASCENDING), ("provider_ids", ASCENDING)],
            partialFilterExpression={"direction": "out"},
            name="ours",
        )
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
        for document in await read_all(cursor):
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
            for document in await read_all(cursor)
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
        return [commit_of(document) for document in await read_all(cursor)]

    async def unprojected(self, tenant_id: str, about: Document) -> Key | None:
        """The conversation of a commit whose message is perhaps not projected yet.

        Args:
            about: the condition on the commit. Only one on `events.dedupe_id` may be for any commit; others
                find it among those that wait for their relay.
        """
        wanted: Document = {"tenant_id": tenant_id, **about}
        if "events.dedupe_id" not in about:
            wanted |= {"partition": {"$in": list(range(PARTITIONS))}, "relayed": False}
        found = await self._commits.find_one(wanted, {"conversation_id": 1})
        return None if found is None else Key(tenant_id, found["conversation_id"])

    async def commits_about(self, key: Key, message_id: str) -> list[Commit]:
        """Every commit that says something of a message, in order."""
        cursor = self._commits.find(
            {
                "tenant_id": key.tenant_id,
                "conversation_id": key.conversation_id,
                "$or": [{"events.message_id": message_id}, {"events.cancelled": message_id}],
            },
            {"_id": 0},
        ).sort([("v", ASCENDING)])
        return [commit_of(document) for document in await read_all(cursor)]

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
                for row in await read_all(heads)
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
        return [Key(row["tenant_id"], row["_id"]) for row in await read_all(rows)]

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
        states = [state_of(document) for document in await read_all(cursor)]
        return {Key(state.tenant_id, state.id): state for state in states}

    async def versions(self, keys: Collection[Key]) -> dict[Key, int]:
        """How far conversations are projected."""
        found: dict[Key, int] = {}
        every = list(keys)
        for start in range(0, len(every), CHUNK):
            chunk = every[start : start + CHUNK]
            cursor = self._conversations.find(
                {"_id": {"$in": [key.conversation_id for key in chunk]}}, {"v": 1, "tenant_id": 1}
            )
            for row in await read_all(cursor):
                found[Key(row["tenant_id"], row["_id"])] = row["v"]
        return found

    async def messages(self, tenants: Collection[str], ids: Collection[str]) -> list[Message]:
        """Projected messages by id; unknown ones are absent."""
        if not ids:
            return []
        cursor = self._messages.find({"_id": {"$in": sorted(ids)}, "tenant_id": {"$in": sorted(tenants)}})
        return [message_of(document) for document in await read_all(cursor)]

    async def message_with_file(self, tenant_id: str, attachment_id: str) -> Message | None:
        """The projected message a file belongs to."""
        found = await self._messages.find_one({"tenant_id": tenant_id, "body.attachments.id": attachment_id})
        return None if found is None else message_of(found)

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
        return [message_of(document) for document in await read_all(cursor)]

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
        for start in range(0, len(messages), CHUNK):
            await self._bulk(
                self._messages,
                [
                    ReplaceOne({"_id": message.id}, message_document(message), upsert=True)
                    for message in messages[start : start + CHUNK]
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
        return conversation, await read_all(cursor)

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
        return [message_of(document) for document in reversed(await read_all(cursor))]

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


def _replace_message(message: Message) -> ReplaceOne[Document]:
    # With a newer revision there, the upsert tries to insert and is refused: just what we want.
    return ReplaceOne(
        {"_id": message.id, "rev": {"$lt": message.rev}}, message_document(message), upsert=True
    )


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


async def read_all(cursor: Any) -> list[Document]:
    """Everything a cursor has."""
    rows: list[Document] = await cursor.to_list(None)
    return rows
