"""The projections of the log: conversations and messages as lists, pages and the next decision read them.

Written with w:1, because they can be made again. Each call names its tenant; calls for many conversations
name it in each key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from inbox.documents import message_document, message_of, state_document, state_of
from inbox.domain import Message, State
from msgkit.runtime.mongo import (
    ASCENDING,
    DESCENDING,
    BulkWriteError,
    Database,
    Document,
    InsertOne,
    ReplaceOne,
    StoreUnavailable,
    keep_index,
)

CHUNK: Final = 500
_DUPLICATE_KEY: Final = 11000


class Key(NamedTuple):
    """A conversation of a tenant."""

    tenant_id: str
    conversation_id: str


class Projections:
    """The collections `conversations` and `messages`."""

    def __init__(self, loose_database: Database) -> None:
        """
        Args:
            loose_database: that of inbox with cheap writes.
        """
        self._conversations = loose_database["conversations"]
        self._messages = loose_database["messages"]

    async def prepare(self) -> None:
        """Make the indexes; does nothing where they are there."""
        page = [("activity_at", DESCENDING), ("_id", DESCENDING)]
        await keep_index(
            self._conversations,
            [("tenant_id", ASCENDING), ("channel_id", ASCENDING), ("box", ASCENDING), *page],
            name="lists",
        )
        await keep_index(
            self._conversations,
            [("tenant_id", ASCENDING), ("assignee.id", ASCENDING), ("box", ASCENDING), *page],
            partialFilterExpression={"assignee.id": {"$exists": True}},
            name="mine",
        )
        await keep_index(
            self._conversations,
            [("tenant_id", ASCENDING), ("channel_id", ASCENDING)],
            partialFilterExpression={"unanswered": True},
            name="unanswered",
        )
        await keep_index(
            self._messages,
            [(name, ASCENDING) for name in ("tenant_id", "conversation_id", "pos_at", "n")],
            name="dialogue",
        )
        await keep_index(
            self._messages,
            [("tenant_id", ASCENDING), ("body.attachments.id", ASCENDING)],
            # Most messages have no file; the index must not cost them anything.
            partialFilterExpression={"body.attachments.id": {"$exists": True}},
            name="files",
        )
        await keep_index(
            self._messages,
            [("conversation_id", ASCENDING), ("provider_ids", ASCENDING)],
            partialFilterExpression={"direction": "out"},
            name="ours",
        )

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

    async def answers_after(self, key: Key, n: int, limit: int) -> list[Message]:
        """Messages of ours with a higher `n`: what an author had not seen."""
        cursor = (
            self._messages.find(
                {
                    "tenant_id": key.tenant_id,
                    "conversation_id": key.conversation_id,
                    "direction": "out",
                    "n": {"$gt": n},
                    "replaced_by": None,
                    "is_recalled": None,
                }
            )
            .sort([("pos_at", DESCENDING), ("n", DESCENDING)])
            .limit(limit)
        )
        return [message_of(document) for document in reversed(await read_all(cursor))]

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
            duplicates(exc, "conversations")
            done = exc.details["nInserted"] + exc.details["nMatched"]
        if done == len(operations):
            return set()
        wanted = {Key(state.tenant_id, state.id): state.v for _, state in states}
        projected = await self.versions(wanted)
        return {key for key, v in wanted.items() if projected.get(key, 0) < v}

    async def replace(self, state: State, messages: Sequence[Message]) -> None:
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

    async def documents(self, key: Key) -> tuple[Document | None, list[Document]]:
        """The stored documents of one conversation, for the rebuild's comparison."""
        conversation = await self._conversations.find_one(
            {"_id": key.conversation_id, "tenant_id": key.tenant_id}
        )
        cursor = self._messages.find({"tenant_id": key.tenant_id, "conversation_id": key.conversation_id})
        return conversation, await read_all(cursor)

    async def without_log(self) -> list[Key]:
        """Projected conversations nothing was ever said in, for the rebuild: there must be none."""
        rows = self._conversations.aggregate(
            [
                {
                    "$lookup": {
                        "from": "commits",
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

    async def _bulk(
        self, collection: Any, operations: Sequence[InsertOne[Document] | ReplaceOne[Document]]
    ) -> list[int]:
        if not operations:
            return []
        try:
            await collection.bulk_write(operations, ordered=False)
        except BulkWriteError as exc:
            return duplicates(exc, collection.name)
        return []


def _replace_message(message: Message) -> ReplaceOne[Document]:
    # With a newer revision there, the upsert tries to insert and is refused: just what we want.
    return ReplaceOne(
        {"_id": message.id, "rev": {"$lt": message.rev}}, message_document(message), upsert=True
    )


def duplicates(error: BulkWriteError, collection: str) -> list[int]:
    """The places of refused duplicates; any other failure means the store is not well."""
    errors = error.details.get("writeErrors", [])
    if error.details.get("writeConcernErrors") or any(one["code"] != _DUPLICATE_KEY for one in errors):
        raise StoreUnavailable(f"{collection}: a bulk write was not confirmed") from error
    return [int(one["index"]) for one in errors]


async def read_all(cursor: Any) -> list[Document]:
    """Everything a cursor has."""
    rows: list[Document] = await cursor.to_list(None)
    return rows
