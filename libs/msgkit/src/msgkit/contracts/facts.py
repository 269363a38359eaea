"""Facts for everybody who watches: many changes in one AMQP message, in order."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime

from msgkit.contracts.events import Frozen


class UiEvent(Frozen):
    """One event of the socket: `conversation.upserted`, `message.created`, … with the view as data."""

    type: str
    data: dict[str, Any]


class Change(Frozen):
    """What one commit changed, or one change beside the log (a mark of reading, a channel).

    Readers drop a `v` of a conversation they have seen. `channel_id` None: everybody of the tenant.
    """

    tenant_id: str
    channel_id: str | None
    conversation_id: str | None
    user_id: str | None
    """Only for this user, if given."""
    v: int | None
    traceparent: str | None
    received_at: AwareDatetime | None
    """When the webhook or the API call came in: the start of the end-to-end latency."""
    events: list[UiEvent]


class FactsEnvelope(Frozen):
    type: Literal["facts.v1"]
    event_id: str
    partition: int | None
    published_at: AwareDatetime
    changes: list[Change]
