"""Every file we still have to fetch, and what became of it: the truth behind the media jobs.

A job is due at a moment; taking it moves that moment behind a lease, so a job whose worker died is due again.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from msgkit.connector.reach import store_reached
from msgkit.contracts.events import InboundEvent, MediaSettled, MessageEchoed, MessageEdited, MessageReceived
from msgkit.contracts.ids import attachment_id, inbound_message_id
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.mongo import (
    BulkWriteError,
    Database,
    Document,
    ReturnDocument,
    StoreUnavailable,
    keep_index,
)
from msgkit.runtime.telemetry import current_traceparent

LEASE_SECONDS = 30.0
"""Renewed while the worker lives."""
KEPT = timedelta(days=7)
"""How long a finished job is remembered, so that a repeated webhook does not fetch again."""

_DUPLICATE_KEY = 11000


@dataclass(frozen=True, slots=True)
class MediaJob:
    """One file on its way from the messenger to the object store."""

    attachment_id: str
    tenant_id: str
    channel_id: str
    channel_kind: str
    conversation_id: str
    message_id: str
    ref: str
    name: str | None
    created_at: datetime
    attempts: int
    """This one included."""
    settled: MediaSettled | None
    """Decided already; only telling it is left."""
    traceparent: str | None


class MediaStore:
    """The collection `media_jobs` of one ingest service."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._jobs = database["media_jobs"]
        self._clock = clock

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("media_jobs"):
            await keep_index(self._jobs, [("open", 1), ("due_at", 1)], partialFilterExpression={"open": True})
            await keep_index(self._jobs, "expires_at", expireAfterSeconds=0)

    async def add(self, events: Sequence[InboundEvent]) -> None:
        """One job per file of these events, once each.

        Raises:
            StoreUnavailable: not confirmed; do it again.
        """
        documents = {
            document["_id"]: document for event in events for document in _documents(event, self._clock())
        }
        if not documents:
            return
        try:
            with store_reached("media_jobs"):
                await self._jobs.insert_many(list(documents.values()), ordered=False)
        except BulkWriteError as exc:
            if exc.details.get("writeConcernErrors"):
                raise StoreUnavailable("media_jobs: the write was not confirmed") from exc
            if any(error["code"] != _DUPLICATE_KEY for error in exc.details["writeErrors"]):
                raise

    async def claim(self, owner: str, busy_channels: Collection[str]) -> MediaJob | None:
        """Take the job that is due longest, by the server's clock; None if there is none.

        Args:
            owner: of the claim; a fresh one each time, so that a late worker cannot end another's job.
            busy_channels: whose jobs are left alone now.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        due: Document = {"open": True, "$expr": {"$lte": ["$due_at", "$$NOW"]}}
        if busy_channels:
            due["channel_id"] = {"$nin": list(busy_channels)}
        with store_reached("media_jobs"):
            document: Document | None = await self._jobs.find_one_and_update(
                due,
                [
                    {
                        "$set": {
                            "owner": {"$literal": owner},
                            "due_at": _in_seconds(LEASE_SECONDS),
                            "attempts": {"$add": ["$attempts", 1]},
                        }
                    }
                ],
                sort=[("due_at", 1)],
                return_document=ReturnDocument.AFTER,
            )
        return None if document is None else _job(document)

    async def renew(self, job: MediaJob, owner: str) -> bool:
        """Say that the worker lives; False if the job is not its own any more.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        return await self._change(job, owner, {"due_at": _in_seconds(LEASE_SECONDS)})

    async def put_back(
        self, job: MediaJob, owner: str, *, after_s: float, counts: bool, problem: str | None
    ) -> None:
        """Have it done later.

        Args:
            job: of `claim`.
            owner: of the claim.
            after_s: seconds until it is due.
            counts: whether this was an attempt.
            problem: what was in the way: the name of an error class.

        Raises:
            StoreUnavailable: MongoDB does not answer; it is due again when the lease is over.
        """
        await self._change(
            job,
            owner,
            {
                "due_at": _in_seconds(after_s),
                "attempts": job.attempts if counts else job.attempts - 1,
                "problem": {"$literal": problem},
            },
        )

    async def decide(self, job: MediaJob, owner: str, settled: MediaSettled) -> bool:
        """Write what became of the file, before anybody is told; False if it is not the owner's any more.

        Raises:
            StoreUnavailable: not confirmed.
        """
        return await self._change(
            job,
            owner,
            {"settled": {"$literal": settled.model_dump_json()}, "due_at": _in_seconds(LEASE_SECONDS)},
        )

    async def finish(self, job: MediaJob, owner: str) -> None:
        """Everybody was told.

        Raises:
            StoreUnavailable: MongoDB does not answer; it will be told again.
        """
        expires_at = self._clock() + KEPT
        await self._change(job, owner, {"open": False, "expires_at": expires_at})

    async def _change(self, job: MediaJob, owner: str, change: dict[str, Any]) -> bool:
        with store_reached("media_jobs"):
            result = await self._jobs.update_one(
                {"_id": job.attachment_id, "open": True, "owner": owner}, [{"$set": change}]
            )
        return bool(result.matched_count)


def _documents(event: InboundEvent, now: datetime) -> list[Document]:
    if not isinstance(event, MessageReceived | MessageEdited | MessageEchoed):
        return []
    message_id = inbound_message_id(event.conversation_id, event.provider_id)
    return [
        {
            "_id": attachment_id(message_id, media.ref),
            "tenant_id": event.tenant_id,
            "channel_id": event.channel_id,
            "channel_kind": event.channel_kind,
            "conversation_id": event.conversation_id,
            "message_id": message_id,
            "ref": media.ref,
            "name": media.name,
            "open": True,
            "due_at": now,
            "created_at": now,
            "attempts": 0,
            "traceparent": current_traceparent(),
        }
        for media in event.content.media
    ]


def _job(document: Document) -> MediaJob:
    settled = document.get("settled")
    return MediaJob(
        attachment_id=document["_id"],
        tenant_id=document["tenant_id"],
        channel_id=document["channel_id"],
        channel_kind=document["channel_kind"],
        conversation_id=document["conversation_id"],
        message_id=document["message_id"],
        ref=document["ref"],
        name=document["name"],
        created_at=document["created_at"],
        attempts=document["attempts"],
        settled=None if settled is None else MediaSettled.model_validate_json(settled),
        traceparent=document["traceparent"],
    )


def _in_seconds(seconds: float) -> Document:
    return {"$add": ["$$NOW", int(seconds * 1000)]}


def backoff_s(attempts: int, *, first_s: float, most_s: float) -> float:
    """Seconds until the next try: twice as long each time, with a quarter of chance."""
    pause: float = min(most_s, first_s * 2 ** min(attempts - 1, 16))
    return pause * random.uniform(0.75, 1.0)  # noqa: S311 - spreads tries, protects nothing
