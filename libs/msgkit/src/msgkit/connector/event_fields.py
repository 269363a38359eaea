"""The fields that every event out of a webhook has. Pure."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from pydantic_core import to_json

from msgkit.connector.contract import Account, WebhookRequest
from msgkit.contracts.events import RAW_LIMIT_BYTES
from msgkit.contracts.ids import inbound_event_id


def event_fields(
    account: Account,
    request: WebhookRequest,
    *,
    conversation_id: str,
    provider_key: str,
    event_type: str,
    raw: str,
) -> dict[str, Any]:
    """Which event it is, whose, and out of which webhook.

    Args:
        account: whom the webhook is about.
        request: the webhook.
        conversation_id: the dialogue with the person.
        provider_key: what makes a repeat the same event; never an id of the person where those change.
        event_type: the event's `type`.
        raw: the element it is made of, as it came.
    """
    return {
        "type": event_type,
        "event_id": inbound_event_id(account.kind, account.channel_id, provider_key, event_type),
        "tenant_id": account.tenant_id,
        "channel_id": account.channel_id,
        "channel_kind": account.kind,
        "recorded_at": request.received_at.astimezone(UTC),
        "conversation_id": conversation_id,
        "webhook_id": request.webhook_id,
        "raw": raw,
    }


def raw_of(told: object) -> str:
    """An element of a webhook for the field `raw`; empty if it is bigger than an event may carry."""
    raw = to_json(told)
    return raw.decode() if len(raw) <= RAW_LIMIT_BYTES else ""
