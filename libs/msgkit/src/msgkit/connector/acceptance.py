"""Makes what a messenger says durable: translate, publish with a confirm, keep what nobody understands.

Webhooks and polls come through here alike: only after `take` returns may the messenger forget an update.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Protocol

from msgkit.connector.acknowledgements import Acknowledgements
from msgkit.connector.contract import Account, Connector, Parsed, WebhookRequest
from msgkit.connector.errors import PayloadInvalid
from msgkit.connector.media_jobs import MediaJobs
from msgkit.connector.quarantine import Quarantine
from msgkit.connector.receipts import Receipts
from msgkit.contracts import topology
from msgkit.contracts.events import InboundEvent, WebhookReceived
from msgkit.runtime.bus import Outgoing, PublishUnknown, PublishUnroutable
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.telemetry import current_traceparent

log = get_logger(__name__)

CONFIRM_SECONDS = 5.0
"""Without the broker's confirm within this the messenger is asked to repeat."""


class NotAccepted(Exception):
    """Our own infrastructure is down: the messenger must repeat this. `outcome` is for the counter."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Road(Protocol):
    """What makes messages durable in their order: the publisher alone, or the spool in front of it."""

    async def publish_all(self, messages: Sequence[Outgoing], timeout_s: float) -> None:
        """Raises: PublishUnknown, PublishUnroutable, StoreUnavailable."""


class Acceptance:
    """What happens to an authentic update, whichever way it came."""

    def __init__(
        self,
        *,
        connector: Connector[Any],
        road: Road,
        quarantine: Quarantine,
        acknowledgements: Acknowledgements | None,
        media: MediaJobs,
        receipts: Receipts | None = None,
    ) -> None:
        """
        Args:
            receipts: for a messenger whose manifest has the ability `receipts`.
        """
        self._connector = connector
        self._road = road
        self._receipts = receipts
        self._quarantine = quarantine
        self._acknowledgements = acknowledgements
        self._media = media

    async def take(self, request: WebhookRequest, account: Account) -> tuple[Parsed, str]:
        """Make it durable; returns what it says and what happened to it, in one word for the counter.

        Taking the same update again has no further effect: events have derived ids.

        Raises:
            NotAccepted: RabbitMQ or MongoDB did not confirm; the messenger must repeat.
        """
        parsed = self._parse(request, account)
        messages = [_outgoing(event) for event in parsed.events]
        if parsed.is_kept and not _travels_whole(parsed.events, request.body):
            messages.append(_journal_entry(request, account))
        try:
            await self._road.publish_all(messages, timeout_s=CONFIRM_SECONDS)
        except (PublishUnknown, PublishUnroutable) as exc:
            log.warning("webhook_not_confirmed", channel_id=account.channel_id, reason=str(exc))
            raise NotAccepted("bus_unavailable") from exc
        except StoreUnavailable as exc:
            log.warning("webhook_not_confirmed", channel_id=account.channel_id, reason=str(exc))
            raise NotAccepted("store_unavailable") from exc
        if parsed.acknowledge and self._acknowledgements is not None:
            self._acknowledgements.put(parsed.acknowledge, account)
        try:
            # The event is out, its repeat has no effect; without the job its files would be pending for ever.
            await self._media.enqueue(parsed.events)
            if parsed.receipts:
                await self._take_receipts(parsed, account)
        except StoreUnavailable as exc:
            log.warning("webhook_not_confirmed", channel_id=account.channel_id, reason=str(exc))
            raise NotAccepted("store_unavailable") from exc
        if parsed.quarantine is not None:
            try:
                await self._quarantine.keep_webhook(account, request.body, parsed.quarantine)
            except StoreUnavailable as exc:
                raise NotAccepted("store_unavailable") from exc
            return parsed, "quarantined"
        if parsed.receipts and not parsed.events:
            return parsed, "receipts"
        return parsed, "accepted" if parsed.events else "counted"

    async def _take_receipts(self, parsed: Parsed, account: Account) -> None:
        if self._receipts is None:
            # Our bug; a repeat would change nothing.
            log.error("receipts_without_the_ability", kind=account.kind, fix="abilities.receipts=True")
            return
        await self._receipts.take(account, parsed.receipts)

    def _parse(self, request: WebhookRequest, account: Account) -> Parsed:
        try:
            return self._connector.parse(request, account)
        except PayloadInvalid as exc:
            return Parsed(quarantine=str(exc))
        except Exception as exc:
            # Our bug; with a 5xx the messenger would repeat it for a day and hold back that whole chat.
            log.exception("webhook_parse_failed", channel_id=account.channel_id)
            return Parsed(quarantine=f"our translation failed: {type(exc).__name__}")


def _outgoing(event: InboundEvent) -> Outgoing:
    return Outgoing(
        exchange=topology.INBOUND,
        routing_key=topology.conversation_key(event.channel_kind, event.conversation_id),
        body=event.model_dump_json().encode(),
        event_id=event.event_id,
        type=str(getattr(event, "type", "")),
        traceparent=current_traceparent(),
    )


def _journal_entry(request: WebhookRequest, account: Account) -> Outgoing:
    entry = WebhookReceived(
        type="webhook.received.v1",
        event_id=request.webhook_id,
        channel_id=account.channel_id,
        channel_kind=account.kind,
        recorded_at=request.received_at,
        body=base64.b64encode(request.body).decode(),
    )
    return Outgoing(
        exchange=topology.JOURNAL_EXCHANGE,
        routing_key=account.kind,
        body=entry.model_dump_json().encode(),
        event_id=entry.event_id,
        type=entry.type,
        traceparent=current_traceparent(),
    )


def _travels_whole(events: Sequence[InboundEvent], body: bytes) -> bool:
    """Whether the one event carries the whole webhook; the journal is bound to `inbound` and has it then."""
    return len(events) == 1 and events[0].raw.encode() == body
