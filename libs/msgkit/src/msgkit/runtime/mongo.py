"""MongoDB: the only module that knows the driver, so that changing the driver is changing this file."""

from __future__ import annotations

from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import ASCENDING, DESCENDING, DeleteOne, InsertOne, ReplaceOne, ReturnDocument, UpdateOne
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
    WTimeoutError,
)
from pymongo.write_concern import WriteConcern

__all__ = [
    "ASCENDING",
    "DESCENDING",
    "STORE_ERRORS",
    "BulkWriteError",
    "Collection",
    "Database",
    "DeleteOne",
    "Document",
    "DuplicateKeyError",
    "InsertOne",
    "Mongo",
    "ReplaceOne",
    "ReturnDocument",
    "StoreUnavailable",
    "UpdateOne",
    "loosely",
]

Document = dict[str, Any]
Database = AsyncIOMotorDatabase[Document]
Collection = AsyncIOMotorCollection[Document]

STORE_ERRORS: tuple[type[PyMongoError], ...] = (
    AutoReconnect,
    ConnectionFailure,
    NetworkTimeout,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    ExecutionTimeout,
    WriteConcernError,
    WTimeoutError,
)
"""MongoDB is not to be reached now, or could not confirm: nothing is known to be written, repeat later."""

_SELECTION_TIMEOUT_MS = 3_000
_OPERATION_TIMEOUT_MS = 10_000


class StoreUnavailable(Exception):
    """MongoDB cannot be reached or cannot confirm; the caller repeats or answers 503."""


class Mongo:
    """One client per process, made inside the running loop."""

    def __init__(self, url: str, database_name: str) -> None:
        self._url = url
        self._name = database_name
        self._client = self._connect(w="majority", journal=True, retryWrites=True)
        self.database: Database = self._client[database_name]
        self._loose_client: AsyncIOMotorClient[Document] | None = None

    def _connect(self, **writes: Any) -> AsyncIOMotorClient[Document]:
        return AsyncIOMotorClient(
            self._url,
            tz_aware=True,
            serverSelectionTimeoutMS=_SELECTION_TIMEOUT_MS,
            connectTimeoutMS=_SELECTION_TIMEOUT_MS,
            timeoutMS=_OPERATION_TIMEOUT_MS,
            maxPoolSize=32,
            appname=self._name,
            **writes,
        )

    @property
    def loose_database(self) -> Database:
        """The same database for what can always be made again: w:1, and writes are not retried.

        Retried writes are an option of the client, so this is a second one. Each update of a batch would
        otherwise write the server's table of sessions too, which costs a third of the rate.
        """
        if self._loose_client is None:
            self._loose_client = self._connect(w=1, retryWrites=False)
        return self._loose_client[self._name]

    async def ping(self) -> bool:
        """Whether a primary answers now."""
        try:
            await self.database.command("ping")
        except PyMongoError:
            return False
        return True

    async def require_replica_set(self) -> None:
        """Refuse a server whose `majority` means nothing.

        Raises:
            StoreUnavailable: no server, no replica set, or one with an arbiter.
        """
        try:
            hello = await self.database.command("hello")
        except PyMongoError as exc:
            raise StoreUnavailable(
                f"MongoDB does not answer: {exc}. Is it running? `make status` tells."
            ) from exc
        if "setName" not in hello:
            raise StoreUnavailable(
                "MongoDB runs without a replica set, so a confirmed write may be lost. "
                "Start it with --replSet and run rs.initiate()."
            )
        if hello.get("arbiters"):
            raise StoreUnavailable("The replica set has an arbiter: majority writes are not safe. Remove it.")

    def close(self) -> None:
        self._client.close()
        if self._loose_client is not None:
            self._loose_client.close()


def loosely(collection: Collection) -> Collection:
    """The same collection written with w:1, for projections that can always be rebuilt."""
    return collection.with_options(write_concern=WriteConcern(w=1, j=False))
