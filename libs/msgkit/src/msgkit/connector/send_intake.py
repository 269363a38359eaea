"""Takes orders from the queue into the store, once each: the queue is only transport."""

from __future__ import annotations

from collections.abc import Collection as Items
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from msgkit.connector.reach import store_reached
from msgkit.connector.send_documents import CANCELLED, document_of, tombstone_of
from msgkit.connector.send_store import SendStore
from msgkit.contracts.events import SENDS, CancelSend, ReadChat, SendMessage, Sends
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.mongo import BulkWriteError, Database, StoreUnavailable
from msgkit.runtime.partition_reader import Delivery

_DUPLICATE_KEY = 11000


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came in from the queue."""

    touched: Mapping[str, Items[str]]
    """Channel id → conversations that have something new to send."""
    reads: Sequence[ReadChat]
    """Not kept: a reading that is lost is no fault."""


class SendIntake:
    """Orders of one ingest service on their way into the collection `sends`."""

    def __init__(self, database: Database, store: SendStore, clock: Clock = utc_now) -> None:
        self._sends = database["sends"]
        self._store = store
        self._clock = clock

    async def accept(self, deliveries: Sequence[Delivery]) -> Accepted:
        """Write orders, once each; returns what there is to do now.

        Raises:
            StoreUnavailable: MongoDB does not answer; nothing may be acknowledged.
            ValidationError: a body is not one of our orders.
        """
        touched: dict[str, set[str]] = {}
        fresh: list[tuple[SendMessage, str | None]] = []
        reads: list[ReadChat] = []
        for delivery in deliveries:
            order = _order(delivery.body)
            if isinstance(order, ReadChat):
                reads.append(order)
                continue
            touched.setdefault(order.channel_id, set()).add(order.conversation_id)
            if isinstance(order, SendMessage):
                fresh.append((order, delivery.traceparent))
            else:
                await self._insert(fresh)
                fresh = []
                await self._cancel(order)
        await self._insert(fresh)
        return Accepted(touched, reads)

    async def _insert(self, orders: Sequence[tuple[SendMessage, str | None]]) -> None:
        if not orders:
            return
        now = self._clock()
        documents = [document_of(order, traceparent, now) for order, traceparent in orders]
        try:
            with store_reached("sends"):
                await self._sends.insert_many(documents, ordered=False)
        except BulkWriteError as exc:
            if exc.details.get("writeConcernErrors"):
                raise StoreUnavailable("sends: the write was not confirmed") from exc
            if any(error["code"] != _DUPLICATE_KEY for error in exc.details["writeErrors"]):
                raise

    async def _cancel(self, order: CancelSend) -> None:
        """Take back what is still queued; what has not come yet must not go out when it comes."""
        now = self._clock()
        for message_id in order.message_ids:
            with store_reached("sends"):
                await self._sends.update_one(
                    {"_id": message_id}, {"$setOnInsert": tombstone_of(order, now)}, upsert=True
                )
                queued = await self._sends.find_one({"_id": message_id, "state": "queued"})
            if queued is not None:
                await self._store.end_waiting(queued, CANCELLED)


def _order(body: bytes) -> Sends:
    try:
        return SENDS.validate_json(body)
    except ValidationError as exc:
        # Without the input: it holds the words of an answer.
        raise ValueError(
            f"not an order: {exc.error_count()} faults, first {exc.errors()[0]['type']}"
        ) from None
