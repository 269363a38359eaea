"""The log of commits, and the quarantine. What is made of the log stands in `projections`.

Written with w:majority and journalled. Each call names its tenant; calls for many conversations name it in
each key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from inbox.documents import commit_document, commit_of
from inbox.domain import Commit
from inbox.projections import Key, Projections, duplicates, read_all
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
    StoreUnavailable,
    UpdateOne,
    keep_index,
)

LAGGING_WINDOW: Final = timedelta(minutes=10)
"""How long a batch may wait in place, so how old a commit may be that was never projected."""
STORE_TROUBLE: Final[tuple[type[Exception], ...]] = (*STORE_ERRORS, StoreUnavailable)
"""The store is not to be reached now: repeat later."""


class Store:
    """The log of inbox, with its projections beside it."""

    def __init__(self, database: Database, loose_database: Database) -> None:
        """
        Args:
            loose_database: the same one with cheap writes, for projections and notes.
        """
        self.projections = Projections(loose_database)
        self._database = database
        self._commits = database["commits"]
        self._notes = loose_database["commits"]
        self._quarantine = database["quarantine"]

    async def prepare(self) -> None:
        """Make the indexes; does nothing where they are there."""
        await keep_index(
            self._commits, [("conversation_id", ASCENDING), ("v", ASCENDING)], unique=True, name="order"
        )
        await keep_index(
            self._commits,
            [("tenant_id", ASCENDING), ("events.dedupe_id", ASCENDING)],
            unique=True,
            name="once",
        )
        await keep_index(
            self._commits,
            [("partition", ASCENDING), ("at", ASCENDING)],
            partialFilterExpression={"relayed": False},
            name="unrelayed",
        )
        await keep_index(
            self._commits,
            [(name, ASCENDING) for name in ("partition", "at", "tenant_id", "conversation_id", "v")],
            name="recent",
        )
        await self.projections.prepare()
        await keep_index(self._quarantine, [("at", DESCENDING)], name="newest")

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
                for index in duplicates(exc, "commits")
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
            projected = await self.projections.versions(versions)
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


def _without_gap(commits: list[Commit], after: int) -> list[Commit]:
    """In order, up to the first gap: a scan beside inserts may see a commit and not the one before it."""
    commits.sort(key=lambda commit: commit.v)
    for index, commit in enumerate(commits):
        if commit.v != after + 1 + index:
            return commits[:index]
    return commits
