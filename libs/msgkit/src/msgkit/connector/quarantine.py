"""What could not be handled, kept for a person: webhooks, orders, messages no queue takes, and why."""

from __future__ import annotations

from hashlib import sha256

from msgkit.connector.contract import Account
from msgkit.connector.reach import store_reached
from msgkit.runtime import metrics
from msgkit.runtime.bus import Outgoing
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import Database, keep_index
from msgkit.runtime.partition_reader import Delivery

log = get_logger(__name__)

UNOWNED_KEPT = 100
_UNOWNED = "app_webhook"


class Quarantine:
    """The `quarantine` collection of one ingest service."""

    def __init__(self, database: Database, service: str, clock: Clock = utc_now) -> None:
        self._kept = database["quarantine"]
        self._service = service
        self._clock = clock

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("quarantine"):
            await keep_index(self._kept, [("tenant_id", 1), ("at", -1)])
            await keep_index(self._kept, [("source", 1), ("known_as", 1)])

    async def keep_webhook(self, account: Account, body: bytes, reason: str) -> None:
        """Keep a webhook once, however often the messenger repeats it.

        Raises:
            StoreUnavailable: MongoDB does not answer; then the webhook must not be answered 200.
        """
        is_new = await self._keep(
            {"channel_id": account.channel_id, "tenant_id": account.tenant_id, "kind": account.kind},
            source="webhook",
            body=body,
            reason=reason,
        )
        if is_new:
            metrics.quarantine_total.labels(service=self._service).inc()
        log.error("webhook_quarantined", channel_id=account.channel_id, reason=reason)

    async def keep_unowned(self, kind: str, known_as: str | None, body: bytes, reason: str) -> None:
        """Keep, without a tenant, what a webhook of a whole app says of an account we do not have.

        A number that was removed here and still sends must not fill the store: of each id only the first
        UNOWNED_KEPT are kept, the rest is counted.

        Args:
            kind: of the messenger.
            known_as: the id nobody has; None for a webhook that is not understood.

        Raises:
            StoreUnavailable: MongoDB does not answer; then the webhook must not be answered 200.
        """
        whose: dict[str, str | None] = {
            "channel_id": None,
            "tenant_id": None,
            "kind": kind,
            "known_as": known_as,
        }
        with store_reached("quarantine"):
            kept = await self._kept.count_documents(
                {"tenant_id": None, "source": _UNOWNED, "known_as": known_as}, limit=UNOWNED_KEPT
            )
        is_new = kept < UNOWNED_KEPT and await self._keep(whose, source=_UNOWNED, body=body, reason=reason)
        if is_new:
            metrics.quarantine_total.labels(service=self._service).inc()
        log.error("webhook_of_nobody", kind=kind, reason=reason, is_new=is_new)

    async def keep_delivery(self, delivery: Delivery, reason: str) -> None:
        """Keep an order from the bus that nobody could handle.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        where = {"channel_id": None, "tenant_id": None, "kind": None, "event_id": delivery.event_id}
        await self._keep(where, source=delivery.type or "order", body=delivery.body, reason=reason)

    async def keep_message(self, message: Outgoing, kind: str, reason: str) -> None:
        """Keep a message of ours that no queue takes, with all that publishing it needs.

        Args:
            kind: of the messenger it came from.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        where = {
            "channel_id": None,
            "tenant_id": None,
            "kind": kind,
            "event_id": message.event_id,
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "traceparent": message.traceparent,
        }
        if await self._keep(where, source=message.type, body=message.body, reason=reason):
            metrics.quarantine_total.labels(service=self._service).inc()
        log.critical("message_quarantined", event_id=message.event_id, kind=kind, reason=reason)

    async def _keep(self, where: dict[str, str | None], *, source: str, body: bytes, reason: str) -> bool:
        """Whether it is new."""
        key = sha256(f"{where['channel_id']}\x1f{source}\x1f".encode() + body).hexdigest()
        with store_reached("quarantine"):
            result = await self._kept.update_one(
                {"_id": key},
                {
                    "$setOnInsert": {
                        **where,
                        "source": source,
                        "body": body,
                        "reason": reason,
                        "at": self._clock(),
                    },
                    "$inc": {"times": 1},
                },
                upsert=True,
            )
        return result.upserted_id is not None
