"""Makes what a messenger says durable: translate, publish with a confirm, keep what nobody understands.

Webhooks and polls come through here alike: only after `take` returns may the messenger forget an update.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgkit.connector.account_alerts import AccountAlerts
from msgkit.connector.acknowledgements import Acknowledgements
from msgkit.connector.contract import Account, Connector, Parsed, WebhookRequest
from msgkit.connector.echo_store import HeldEcho
from msgkit.connector.echoes import Echoes, Road
from msgkit.connector.errors import PayloadInvalid
from msgkit.connector.media_jobs import MediaJobs
from msgkit.connector.people import People
from msgkit.connector.profiles import Profiles
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
PUBLISH_AT_ONCE = 250
"""So many messages share one limit of time: a webhook of a thousand would never get through a busy broker."""


class NotAccepted(Exception):
    """Our own infrastructure is down: the messenger must repeat this. `outcome` is for the counter."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Portion:
    """What one webhook says of one account."""

    request: WebhookRequest
    account: Account


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
        alerts: AccountAlerts,
        receipts: Receipts | None = None,
        people: People | None = None,
        echoes: Echoes | None = None,
        profiles: Profiles | None = None,
    ) -> None:
        """
        Args:
            alerts: keeps what the messenger says of an account itself.
            receipts: for a messenger whose manifest has the ability `receipts`.
            people: for a messenger whose ids of people change.
            echoes: for a messenger that tells us of our own messages too.
            profiles: for a messenger whose webhooks do not say who writes.
        """
        self._connector = connector
        self._road = road
        self._receipts = receipts
        self._quarantine = quarantine
        self._acknowledgements = acknowledgements
        self._media = media
        self._alerts = alerts
        self._people = people
        self._echoes = echoes
        self._profiles = profiles

    async def take(self, request: WebhookRequest, account: Account) -> tuple[Parsed, str]:
        """As `take_all`, for what speaks of one account only."""
        (parsed,), outcome = await self.take_all((Portion(request, account),), whole=request)
        return parsed, outcome

    async def take_all(
        self, portions: Sequence[Portion], *, whole: WebhookRequest | None
    ) -> tuple[list[Parsed], str]:
        """Make it durable; returns what each portion says and, in one word for the counter, what happened.

        Taking the same update again has no further effect: events have derived ids. Echoes of our own
        messages are left out of what is returned, and those that wait for the end of a call.

        Args:
            portions: what one webhook says of whom, in its order.
            whole: the webhook they were cut from, if all of it is the first portion's account's own; the
                journal keeps it as it came then, else each portion as its own account's.

        Raises:
            NotAccepted: RabbitMQ or MongoDB did not confirm; the messenger must repeat.
        """
        taken: list[tuple[Portion, Parsed]] = []
        try:
            for portion in portions:
                taken.append((portion, await self._understood(portion)))
            taken, held = await self._without_own_echoes(taken)
            await self._publish(_messages(taken, whole))
            if held and self._echoes is not None:
                await self._echoes.hold(held)
            for portion, parsed in taken:
                if parsed.acknowledge and self._acknowledgements is not None:
                    self._acknowledgements.put(parsed.acknowledge, portion.account)
            # The events are out, their repeat has no effect; without its job a file is pending for ever.
            await self._media.enqueue([event for _, parsed in taken for event in parsed.events])
            if self._profiles is not None:
                await self._profiles.enqueue([event for _, parsed in taken for event in parsed.events])
            for portion, parsed in taken:
                await self._take_rest(portion, parsed)
        except (PublishUnknown, PublishUnroutable) as exc:
            raise _not_accepted("bus_unavailable", portions, exc) from exc
        except StoreUnavailable as exc:
            raise _not_accepted("store_unavailable", portions, exc) from exc
        return [parsed for _, parsed in taken], _outcome([parsed for _, parsed in taken])

    async def _without_own_echoes(
        self, taken: Sequence[tuple[Portion, Parsed]]
    ) -> tuple[list[tuple[Portion, Parsed]], Sequence[HeldEcho]]:
        """What may be published now, and the echoes that must wait for the end of a call."""
        if self._echoes is None:
            return list(taken), ()
        sifted = await self._echoes.sift(event for _, parsed in taken for event in parsed.events)
        aside = sifted.aside
        if not aside:
            return list(taken), ()
        rest = []
        for portion, parsed in taken:
            events = tuple(event for event in parsed.events if event.event_id not in aside)
            put_aside = len(parsed.events) - len(events)
            counted = (*parsed.counted, *["echo_put_aside"] * put_aside)
            rest.append((portion, replace(parsed, events=events, counted=counted)))
        return rest, sifted.held

    async def _publish(self, messages: Sequence[Outgoing]) -> None:
        """In their order, also when it breaks off in the middle: what comes later was not sent yet then."""
        for start in range(0, len(messages), PUBLISH_AT_ONCE):
            await self._road.publish_all(messages[start : start + PUBLISH_AT_ONCE], timeout_s=CONFIRM_SECONDS)

    async def _understood(self, portion: Portion) -> Parsed:
        parsed = self._parse(portion.request, portion.account)
        if parsed.people and self._people is not None:
            parsed = await self._people.settle(portion.account, parsed)
        return parsed

    async def _take_rest(self, portion: Portion, parsed: Parsed) -> None:
        """What is no event."""
        if parsed.receipts:
            await self._take_receipts(parsed, portion.account)
        if parsed.alerts:
            await self._alerts.take(portion.account, parsed.alerts)
        if parsed.quarantine is not None:
            await self._quarantine.keep_webhook(portion.account, portion.request.body, parsed.quarantine)

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


def _messages(taken: Sequence[tuple[Portion, Parsed]], whole: WebhookRequest | None) -> list[Outgoing]:
    """The events in their order, and for the journal what they do not carry whole."""
    messages = [_outgoing(event) for _, parsed in taken for event in parsed.events]
    if whole is None:
        kept = [portion for portion, parsed in taken if _is_kept(parsed, portion.request.body)]
    elif len(taken) == 1:
        kept = [Portion(whole, taken[0][0].account)] if _is_kept(taken[0][1], whole.body) else []
    else:
        kept = [Portion(whole, taken[0][0].account)] if any(parsed.is_kept for _, parsed in taken) else []
    messages.extend(_journal_entry(portion.request, portion.account) for portion in kept)
    return messages


def _is_kept(parsed: Parsed, body: bytes) -> bool:
    return parsed.is_kept and not _travels_whole(parsed.events, body)


def _outcome(taken: Sequence[Parsed]) -> str:
    if any(parsed.quarantine is not None for parsed in taken):
        return "quarantined"
    if any(parsed.events for parsed in taken):
        return "accepted"
    return "receipts" if any(parsed.receipts for parsed in taken) else "counted"


def _not_accepted(outcome: str, portions: Sequence[Portion], exc: Exception) -> NotAccepted:
    log.warning("webhook_not_confirmed", channel_id=portions[0].account.channel_id, reason=str(exc))
    return NotAccepted(outcome)


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
