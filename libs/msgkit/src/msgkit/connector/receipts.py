"""What a messenger says later of our messages: delivered, read, refused; made durable before its 200.

A receipt may come before the id of its message is written: the call to the messenger and its webhook are on
different ways. So a receipt nobody can place is parked first and placed again then, and whoever ends a send
looks into what is parked before its report is forgotten: one of the two always sees the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast

from msgkit.connector.contract import Account, ProviderReceipt
from msgkit.connector.reach import store_reached
from msgkit.connector.send_store import report_fields, report_message
from msgkit.contracts.events import DeliveryReported, Failure
from msgkit.contracts.ids import derived_id
from msgkit.contracts.words import LATE_REFUSAL_RANK, STATE_RANK, MessageState
from msgkit.runtime import metrics
from msgkit.runtime.bus import Outgoing
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import Database, Document, StoreUnavailable
from msgkit.runtime.telemetry import current_traceparent

log = get_logger(__name__)

PARKED_FOR = timedelta(hours=24)
"""Longer than any call to a messenger and the writing of its outcome may take."""
TAKE_SECONDS = 4.0
"""The messenger waits for our 200 meanwhile."""

ReceiptState = Literal[MessageState.DELIVERED, MessageState.READ, MessageState.FAILED]
_STATES: tuple[ReceiptState, ...] = (MessageState.DELIVERED, MessageState.READ, MessageState.FAILED)
_SENT_RANK = STATE_RANK[MessageState.SENT]

Report = tuple[str, Outgoing]
"""A message id of ours and the report of it."""


@dataclass(frozen=True, slots=True)
class Rise:
    """What a receipt changes in the document of a send."""

    marks: list[Document]
    """The state of each provider id that has one, as far as receipts tell."""
    state: MessageState | None
    """The new state of the whole message; None: it stays."""
    by: Document | None
    """The mark that decided it."""


class Receipts:
    """Receipts of one ingest service: the collection `parked_statuses`, and the states in `sends`."""

    def __init__(self, database: Database, kind: str, clock: Clock = utc_now) -> None:
        self._sends = database["sends"]
        self._parked = database["parked_statuses"]
        self._kind = kind
        self._clock = clock
        self._listener: Callable[[Sequence[Report]], None] | None = None

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            await self._sends.create_index([("conversation_id", 1), ("provider_ids", 1)])
            await self._sends.create_index([("conversation_id", 1), ("state", 1), ("out_seq", 1)])
            await self._parked.create_index("expires_at", expireAfterSeconds=0)

    def on_report(self, listener: Callable[[Sequence[Report]], None]) -> None:
        """Give `listener` each new report, which is written down already, to be published now."""
        self._listener = listener

    async def take(self, account: Account, receipts: Sequence[ProviderReceipt]) -> None:
        """Make receipts durable and let them work. Taking the same again has no further effect.

        Raises:
            StoreUnavailable: not confirmed; the messenger must repeat.
        """
        try:
            async with asyncio.timeout(TAKE_SECONDS):
                for receipt in receipts:
                    await self._take(account, receipt)
        except TimeoutError as exc:
            raise StoreUnavailable(f"receipts: not confirmed within {TAKE_SECONDS:g} s") from exc

    async def catch_up(self, reports: Sequence[Report]) -> None:
        """Place what came before these sends had ended. Call it before their reports are forgotten.

        Raises:
            StoreUnavailable: MongoDB does not answer; call it again.
        """
        wanted = []
        for _, outgoing in reports:
            report = DeliveryReported.model_validate_json(outgoing.body)
            wanted += [
                _parked_id(report.conversation_id, provider_id, state)
                for provider_id in report.provider_ids
                for state in _STATES
            ]
        if not wanted:
            return
        with store_reached("parked_statuses"):
            found = await self._parked.find({"_id": {"$in": wanted}}).sort("happened_at", 1).to_list(None)
        for document in found:
            if await self._placed(_receipt(document)):
                await self._forget(document["_id"])
                self._count(document["state"], "placed_later")

    async def _take(self, account: Account, receipt: ProviderReceipt) -> None:
        if await self._placed(receipt):
            self._count(receipt.state, "placed")
            return
        parked_id = await self._park(account, receipt)
        # It may have ended between the look and the parking.
        if await self._placed(receipt):
            await self._forget(parked_id)
            self._count(receipt.state, "placed")
        else:
            self._count(receipt.state, "parked")

    async def _park(self, account: Account, receipt: ProviderReceipt) -> str:
        now = self._clock()
        failure = receipt.failure
        fields: Document = {
            "channel_id": account.channel_id,
            "conversation_id": receipt.conversation_id,
            "provider_id": receipt.provider_id,
            "state": receipt.state.value,
            "and_earlier": receipt.and_earlier,
            "failure": None if failure is None else failure.model_dump(mode="json"),
            "contact_blocked": receipt.contact_blocked,
            "happened_at": receipt.happened_at,
            "parked_at": now,
            "expires_at": now + PARKED_FOR,
        }
        parked_id = _parked_id(receipt.conversation_id, receipt.provider_id, receipt.state)
        with store_reached("parked_statuses"):
            await self._parked.update_one({"_id": parked_id}, {"$setOnInsert": fields}, upsert=True)
        return parked_id

    async def _forget(self, parked_id: str) -> None:
        """It did its work, and that is written: placing it again with every later report would be in vain."""
        with store_reached("parked_statuses"):
            await self._parked.delete_one({"_id": parked_id})

    async def _placed(self, receipt: ProviderReceipt) -> bool:
        """Let the receipt work on the send that has its id; False if none that ended has it.

        One that has not ended waits: its end looks into what is parked.
        """
        while True:
            with store_reached("sends"):
                send = await self._sends.find_one(
                    {
                        "conversation_id": receipt.conversation_id,
                        "provider_ids": receipt.provider_id,
                        "open": False,
                    }
                )
            if send is None:
                return False
            if await self._raised(send, risen(send, receipt), receipt):
                break
        if receipt.and_earlier and receipt.state is not MessageState.FAILED:
            await self._raise_earlier(send, receipt)
        return True

    async def _raise_earlier(self, send: Mapping[str, Any], receipt: ProviderReceipt) -> None:
        """Everything before it that the messenger took is in this state too.

        Not what is `unknown` or was refused: nobody says that it ever arrived.
        """
        lower = [
            state.value for state in (MessageState.SENT, MessageState.DELIVERED) if _below(state, receipt)
        ]
        before: Document = {
            "conversation_id": receipt.conversation_id,
            "state": {"$in": lower},
            "out_seq": {"$lt": send["out_seq"]},
        }
        while True:
            with store_reached("sends"):
                earlier = await self._sends.find(before).sort("out_seq", 1).to_list(100)
            for document in earlier:
                await self._raised(document, wholly_risen(document, receipt), receipt)
            if len(earlier) < 100 and not await self._any_left(before):
                return

    async def _any_left(self, before: Document) -> bool:
        """Whether one of them was changed by another receipt while we did it."""
        with store_reached("sends"):
            return await self._sends.find_one(before, {"_id": 1}) is not None

    async def _raised(self, send: Mapping[str, Any], rise: Rise | None, receipt: ProviderReceipt) -> bool:
        """Write it, with the report in the same document; False if the document has changed meanwhile."""
        if rise is None:
            return True
        change: Document = {"marks": rise.marks, "marks_rev": send.get("marks_rev", 0) + 1}
        report: Mapping[str, Any] | None = None
        if rise.state is not None and rise.by is not None:
            report = report_fields(self._event(send, rise.state, rise.by), current_traceparent())
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
            metrics.delivery_total.labels(kind=self._kind, outcome=rise.state.value).inc()
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

    def _count(self, state: str, outcome: str) -> None:
        metrics.receipts_total.labels(kind=self._kind, state=str(state), outcome=outcome).inc()


def risen(send: Mapping[str, Any], receipt: ProviderReceipt) -> Rise | None:
    """What a receipt of one of its ids changes in a send that has ended; None: nothing.

    Each id rises by itself. The message is delivered or read when all its ids are; it is refused when one of
    them is, and reading a later part does not show the refused one. While the messenger has not taken every
    part, as with `unknown` and `failed`, no receipt of a part makes the message delivered.

    Args:
        send: the document of the send.
        receipt: of one of its `provider_ids`.
    """
    ids: list[str] = send["provider_ids"]
    until = ids.index(receipt.provider_id)
    touched = ids[: until + 1] if receipt.and_earlier else ids[until : until + 1]
    return _rise(send, touched, receipt)


def wholly_risen(send: Mapping[str, Any], receipt: ProviderReceipt) -> Rise | None:
    """What a receipt of a later message changes in a send the messenger took; None: nothing."""
    mark = _mark("", receipt)
    if _rank(send) >= _mark_rank(mark):
        return None
    rise = _rise(send, send["provider_ids"], receipt)
    marks = list(send.get("marks", [])) if rise is None else rise.marks
    return Rise(marks, receipt.state, mark)  # the messenger may have told no id at all


def _rise(send: Mapping[str, Any], touched: Sequence[str], receipt: ProviderReceipt) -> Rise | None:
    marks = {mark["id"]: mark for mark in send.get("marks", [])}
    before = dict(marks)
    for provider_id in touched:
        fresh = _mark(provider_id, receipt)
        is_its_own = provider_id == receipt.provider_id
        if not is_its_own and _mark_rank(marks.get(provider_id)) == LATE_REFUSAL_RANK:
            continue  # only a receipt of its own proves a refusal wrong
        if _mark_rank(fresh) > _mark_rank(marks.get(provider_id)):
            marks[provider_id] = fresh
    if marks == before:
        return None
    ranked = [marks.get(provider_id) for provider_id in send["provider_ids"]]
    refused = next((one for one in ranked if _mark_rank(one) == LATE_REFUSAL_RANK), None)
    lowest = min(ranked, key=_mark_rank) if refused is None else refused
    is_complete = refused is not None or _rank(send) >= _SENT_RANK
    if lowest is None or not is_complete or _mark_rank(lowest) <= _rank(send):
        return Rise(list(marks.values()), None, None)
    # Of those equally low the one that came last says when and why.
    by = marks[touched[-1]] if _mark_rank(marks[touched[-1]]) == _mark_rank(lowest) else lowest
    return Rise(list(marks.values()), MessageState(lowest["state"]), by)


def _rank(send: Mapping[str, Any]) -> float:
    state = MessageState(send["state"])
    if state is MessageState.FAILED and send.get("refused_late"):
        return LATE_REFUSAL_RANK
    return STATE_RANK[state]


def _mark(provider_id: str, receipt: ProviderReceipt) -> Document:
    failure = receipt.failure
    return {
        "id": provider_id,
        "state": receipt.state.value,
        "failure": None if failure is None else failure.model_dump(mode="json"),
        "contact_blocked": receipt.contact_blocked,
        "at": receipt.happened_at,
    }


def _mark_rank(mark: Mapping[str, Any] | None) -> float:
    if mark is None:
        return 0.0
    state = MessageState(mark["state"])
    return LATE_REFUSAL_RANK if state is MessageState.FAILED else STATE_RANK[state]


def _below(state: MessageState, receipt: ProviderReceipt) -> bool:
    return STATE_RANK[state] < STATE_RANK[receipt.state]


def _parked_id(conversation_id: str, provider_id: str, state: MessageState) -> str:
    # Of the conversation, not of the channel: some messengers number messages within a dialogue only.
    return derived_id("parked", conversation_id, provider_id, state.value)


def _receipt(parked: Mapping[str, Any]) -> ProviderReceipt:
    failure = parked["failure"]
    return ProviderReceipt(
        conversation_id=parked["conversation_id"],
        provider_id=parked["provider_id"],
        state=cast("ReceiptState", MessageState(parked["state"])),
        and_earlier=parked["and_earlier"],
        failure=None if failure is None else Failure.model_validate(failure),
        contact_blocked=parked["contact_blocked"],
        happened_at=parked["happened_at"],
    )
