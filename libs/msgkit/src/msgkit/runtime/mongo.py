"""MongoDB: the only module that knows the driver, so that changing the driver is changing this file."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import (
    ASCENDING,
    DESCENDING,
    DeleteOne,
    IndexModel,
    InsertOne,
    ReplaceOne,
    ReturnDocument,
    UpdateOne,
)
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
    WTimeoutError,
)
from pymongo.write_concern import WriteConcern

from msgkit.runtime.logs import get_logger

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
    "keep_index",
    "loosely",
]

log = get_logger(__name__)

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

_OTHER_SHAPE = {85, 86}
"""IndexOptionsConflict, IndexKeySpecsConflict."""
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


async def keep_index(collection: Collection, keys: Sequence[tuple[str, int]] | str, **options: Any) -> None:
    """Make an index if it is not there; anew if it is there in the shape an earlier release gave it.

    Args:
        collection: where.
        keys: fields with their directions, or one field.
        options: of the driver's `create_index`.

    Raises:
        PyMongoError: as the driver says.
    """
    try:
        await collection.create_index(keys, **options)
    except OperationFailure as exc:
        if exc.code not in _OTHER_SHAPE:
            raise
        model = IndexModel(keys, **options)
        log.warning("index_made_anew", collection=collection.name, index=model.document["name"])
        with contextlib.suppress(OperationFailure):  # another replica was quicker
            await collection.drop_index(model.document["name"])
        await collection.create_index(keys, **options)


def loosely(collection: Collection) -> Collection:
    """The same collection written with w:1, for projections that can always be rebuilt."""
    return collection.with_options(write_concern=WriteConcern(w=1, j=False))
