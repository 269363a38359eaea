"""How a send stands in the store, and how its report to inbox looks: shapes only, no reading or writing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from msgkit.contracts import topology
from msgkit.contracts.events import CancelSend, DeliveryReported, Failure, SendMessage
from msgkit.contracts.ids import derived_id, partition_of
from msgkit.contracts.words import FailureCode, MessageState
from msgkit.runtime.bus import Outgoing
from msgkit.runtime.mongo import Document

IN_DOUBT: Final = "in_doubt"
"""The call went unanswered, and a receipt with its mark may still tell what became of it."""

CANCELLED: Final = Failure(code=FailureCode.REJECTED, text="Скасовано до відправлення.")
CHANNEL_GONE: Final = Failure(
    code=FailureCode.CHANNEL_DISCONNECTED, text="Канал видалено: підключіть його знову або оберіть інший."
)
CHANNEL_OFF: Final = Failure(
    code=FailureCode.CHANNEL_DISCONNECTED, text="Канал вимкнено: увімкніть його і надішліть ще раз."
)
UNKNOWN: Final = Failure(
    code=FailureCode.TEMPORARY,
    text="Невідомо, чи дійшло повідомлення. Перевірте в клієнта, перш ніж надсилати ще раз.",
)


@dataclass(frozen=True, slots=True)
class Brief:
    """What is known of a send even before its order came."""

    message_id: str
    tenant_id: str
    channel_id: str
    channel_kind: str
    conversation_id: str
    out_seq: int
    """0 for one that was cancelled before it came."""


@dataclass(frozen=True, slots=True)
class Send(Brief):
    """One answer on its way."""

    order: SendMessage
    state: str
    parts_done: int
    provider_ids: tuple[str, ...]
    accepted_at: datetime
    due_at: datetime
    retries: int
    unavailable_since: datetime | None
    traceparent: str | None
    owner: str | None
    """Which process tries it, if one does."""
    lease_is_over: bool
    parts: int
    """How many parts it goes out in; 0 before it was first tried."""
    refusals: int
    """How often the messenger said that this contact has had too much."""
    doubt_until: datetime | None
    marked: Mapping[str, str]
    """Part → provider id, as receipts told it by our mark."""

    @property
    def understood_id(self) -> str | None:
        """The provider id of the part in doubt, if a receipt told that the messenger took it."""
        return self.marked.get(str(self.parts_done))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a send ended."""

    state: MessageState
    failure: Failure | None = None
    contact_blocked: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """What the report of an end is made of."""

    send: Brief
    provider_ids: Sequence[str]
    traceparent: str | None


def document_of(order: SendMessage, traceparent: str | None, now: datetime) -> Document:
    """A send as it begins."""
    return {
        "_id": order.message_id,
        "tenant_id": order.tenant_id,
        "channel_id": order.channel_id,
        "channel_kind": order.channel_kind,
        "conversation_id": order.conversation_id,
        "partition": partition_of(order.channel_id),
        "out_seq": order.out_seq,
        "order": order.model_dump_json(),
        "traceparent": traceparent,
        "accepted_at": now,
        "due_at": now,
        "open": True,
        "state": "queued",
        "attempts": [],
        "parts_done": 0,
        "provider_ids": [],
        "retries": 0,
        "unavailable_since": None,
    }


def tombstone_of(order: CancelSend, now: datetime) -> Document:
    """What stands for a send that was cancelled before its order came."""
    return {
        "tenant_id": order.tenant_id,
        "channel_id": order.channel_id,
        "channel_kind": order.channel_kind,
        "conversation_id": order.conversation_id,
        "partition": partition_of(order.channel_id),
        "out_seq": 0,
        "accepted_at": now,
        "open": True,
        "state": "queued",
        "provider_ids": [],
    }


def brief_of(document: Mapping[str, Any]) -> Brief:
    """Of the document of a send, or of a tombstone."""
    return Brief(
        document["_id"],
        document["tenant_id"],
        document["channel_id"],
        document["channel_kind"],
        document["conversation_id"],
        document["out_seq"],
    )


def send_of(document: Mapping[str, Any]) -> Send:
    """Of the document of an open send, with `over`: whether its lease is."""
    return Send(
        message_id=document["_id"],
        tenant_id=document["tenant_id"],
        channel_id=document["channel_id"],
        channel_kind=document["channel_kind"],
        conversation_id=document["conversation_id"],
        out_seq=document["out_seq"],
        order=SendMessage.model_validate_json(document["order"]),
        state=document["state"],
        parts_done=document["parts_done"],
        provider_ids=tuple(document["provider_ids"]),
        accepted_at=document["accepted_at"],
        due_at=document["due_at"],
        retries=document["retries"],
        unavailable_since=document["unavailable_since"],
        traceparent=document["traceparent"],
        owner=document.get("owner"),
        lease_is_over=document["over"],
        parts=document.get("parts", 0),
        refusals=document.get("refusals", 0),
        doubt_until=document.get("doubt_until"),
        marked=document.get("marked", {}),
    )


def understood_id(document: Mapping[str, Any]) -> str | None:
    """The provider id of the part that was tried last, if a receipt told that the messenger took it."""
    found: str | None = document.get("marked", {}).get(str(document.get("parts_done", 0)))
    return found


def ended_waiting(document: Mapping[str, Any], reason: Failure) -> tuple[Ending, Outcome]:
    """How a send ends that nobody is calling for, when it may not wait any longer.

    Args:
        document: of an open send, or of a tombstone.
        reason: why, for one that did not go out.
    """
    ids, understood = list(document["provider_ids"]), understood_id(document)
    if understood is not None:
        ids.append(understood)
    if understood is not None and document["parts_done"] + 1 == document["parts"]:
        outcome = Outcome(MessageState.SENT)
    elif understood is None and document["state"] == IN_DOUBT:
        outcome = Outcome(MessageState.UNKNOWN, UNKNOWN)
    else:
        outcome = Outcome(MessageState.FAILED, reason)
    return Ending(brief_of(document), ids, document.get("traceparent")), outcome


def report_of(ending: Ending, outcome: Outcome, now: datetime) -> dict[str, str | None]:
    """The report of an end, as it stands in the document of its send."""
    send = ending.send
    event = DeliveryReported(
        type="delivery.reported.v1",
        event_id=derived_id("report", send.message_id, outcome.state.value),
        tenant_id=send.tenant_id,
        channel_id=send.channel_id,
        channel_kind=send.channel_kind,
        recorded_at=now,
        conversation_id=send.conversation_id,
        message_id=send.message_id,
        state=outcome.state,
        provider_ids=list(ending.provider_ids),
        failure=outcome.failure,
        contact_blocked=outcome.contact_blocked,
        is_late_refusal=False,
        happened_at=now,
    )
    return report_fields(event, ending.traceparent)


def report_fields(event: DeliveryReported, traceparent: str | None) -> dict[str, str | None]:
    """A report as it stands in the document of its send until it is confirmed."""
    return {
        "event_id": event.event_id,
        "routing_key": topology.conversation_key(event.channel_kind, event.conversation_id),
        "body": event.model_dump_json(),
        "traceparent": traceparent,
    }


def report_message(report: Mapping[str, Any]) -> Outgoing:
    """The message that brings such a report to inbox."""
    return Outgoing(
        exchange=topology.INBOUND,
        routing_key=report["routing_key"],
        body=report["body"].encode(),
        event_id=report["event_id"],
        type="delivery.reported.v1",
        traceparent=report["traceparent"],
    )
