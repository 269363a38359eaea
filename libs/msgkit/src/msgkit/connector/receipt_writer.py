"""Writes what a receipt changes in a send, with the report to inbox in the same document, and tells of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgkit.connector.contract import ProviderReceipt
from msgkit.connector.reach import store_reached
from msgkit.connector.receipt_rules import Rise
from msgkit.connector.send_documents import report_fields, report_message
from msgkit.contracts.events import DeliveryReported, Failure
from msgkit.contracts.ids import derived_id
from msgkit.contracts.words import MessageState
from msgkit.runtime import metrics
from msgkit.runtime.bus import Outgoing
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import Database, Document
from msgkit.runtime.telemetry import current_traceparent

log = get_logger(__name__)

Report = tuple[str, Outgoing]
"""A message id of ours and the report of it."""


class ReceiptWriter:
    """Changes of states in the collection `sends` of one ingest service."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._sends = database["sends"]
        self._clock = clock
        self._listener: Callable[[Sequence[Report]], None] | None = None

    def on_report(self, listener: Callable[[Sequence[Report]], None]) -> None:
        """Give `listener` each new report, which is written down already, to be published now."""
        self._listener = listener

    async def raised(self, send: Mapping[str, Any], rise: Rise | None, receipt: ProviderReceipt) -> bool:
        """Write what rises, if anything does; False if the document has changed meanwhile.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        return rise is None or await self.write(send, rise, receipt, {})

    async def write(
        self, send: Mapping[str, Any], rise: Rise, receipt: ProviderReceipt, more: Document
    ) -> bool:
        """Write what rises and `more`; False if the document has changed meanwhile.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        change: Document = {**more, "marks": rise.marks, "marks_rev": send.get("marks_rev", 0) + 1}
        report: Mapping[str, Any] | None = None
        if rise.state is not None and rise.by is not None:
            event = self._event({**send, **more}, rise.state, rise.by)
            report = report_fields(event, current_traceparent())
            failure = rise.by["failure"]
            change |= {
                "state": rise.state.value,
                "refused_late": rise.state is MessageState.FAILED,
                "failure": None if failure is None else failure["code"],
                # Instead of one that is not confirmed yet: this one says more.
                "report": report,
                "report_due": self._clock(),
            }
        with store_reached("sends"):
            result = await self._sends.update_one(
                {
                    "_id": send["_id"],
                    "state": send["state"],
                    "provider_ids": send["provider_ids"],
                    "marks_rev": send.get("marks_rev"),
                },
                {"$set": change},
            )
        if not result.matched_count:
            return False
        if report is not None and rise.state is not None:
            metrics.delivery_total.labels(kind=send["channel_kind"], outcome=rise.state.value).inc()
            log.info(
                "send_state_risen", message_id=send["_id"], state=rise.state.value, by=receipt.state.value
            )
            if self._listener is not None:
                self._listener([(str(send["_id"]), report_message(report))])
        return True

    def _event(self, send: Mapping[str, Any], state: MessageState, by: Mapping[str, Any]) -> DeliveryReported:
        is_late = state is MessageState.FAILED
        return DeliveryReported(
            type="delivery.reported.v1",
            event_id=derived_id("report", send["_id"], f"late:{state.value}" if is_late else state.value),
            tenant_id=send["tenant_id"],
            channel_id=send["channel_id"],
            channel_kind=send["channel_kind"],
            recorded_at=self._clock(),
            conversation_id=send["conversation_id"],
            message_id=send["_id"],
            state=state,
            provider_ids=send["provider_ids"],
            failure=None if by["failure"] is None else Failure.model_validate(by["failure"]),
            contact_blocked=by["contact_blocked"],
            is_late_refusal=is_late,
            happened_at=by["at"],
        )
