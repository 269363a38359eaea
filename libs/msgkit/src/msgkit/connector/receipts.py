"""What a messenger says later of our messages: delivered, read, refused; made durable before its 200.

A receipt may come before the id of its message is written: the call to the messenger and its webhook are on
different ways. So a receipt nobody can place is parked first and placed again then, and whoever ends a send
looks into what is parked before its report is forgotten: one of the two always sees the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast

from msgkit.connector.contract import Account, ProviderReceipt
from msgkit.connector.reach import store_reached
from msgkit.connector.receipt_rules import (
    Adoption,
    Rise,
    adoption,
    mark_of,
    read_mark,
    risen,
    states_below,
    wholly_risen,
)
from msgkit.connector.send_documents import report_fields, report_message
from msgkit.contracts.events import DeliveryReported, Failure
from msgkit.contracts.ids import derived_id
from msgkit.contracts.words import MessageState
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
AT_ONCE = 16
"""Messages whose receipts are written side by side: one webhook may carry a thousand."""

ReceiptState = Literal[MessageState.DELIVERED, MessageState.READ, MessageState.FAILED]

Report = tuple[str, Outgoing]
"""A message id of ours and the report of it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a receipt came from: it can only be about a send of there."""

    tenant_id: str
    channel_id: str


class Receipts:
    """Receipts of one ingest service: the collection `parked_statuses`, and the states in `sends`."""

    def __init__(self, database: Database, kind: str, clock: Clock = utc_now) -> None:
        self._sends = database["sends"]
        self._parked = database["parked_statuses"]
        self._kind = kind
        self._clock = clock
        self._listener: Callable[[Sequence[Report]], None] | None = None
        self._understood: Callable[[str, str], None] | None = None

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            await self._sends.create_index([("conversation_id", 1), ("provider_ids", 1)])
            await self._sends.create_index([("channel_id", 1), ("provider_ids", 1)])
            await self._sends.create_index([("conversation_id", 1), ("state", 1), ("out_seq", 1)])
            await self._parked.create_index("expires_at", expireAfterSeconds=0)
            await self._parked.create_index([("channel_id", 1), ("provider_id", 1)])
            await self._parked.create_index(
                "message_id", partialFilterExpression={"message_id": {"$exists": True}}
            )

    def on_report(self, listener: Callable[[Sequence[Report]], None]) -> None:
        """Give `listener` each new report, which is written down already, to be published now."""
        self._listener = listener

    def on_understood(self, listener: Callable[[str, str], None]) -> None:
        """Call `listener` with (channel id, conversation id) when the mark of an open send came back."""
        self._understood = listener

    async def take(self, account: Account, receipts: Sequence[ProviderReceipt]) -> None:
        """Make receipts durable and let them work. Taking the same again has no further effect.

        Raises:
            StoreUnavailable: not confirmed; the messenger must repeat.
        """
        place = _Place(account.tenant_id, account.channel_id)
        failed: list[StoreUnavailable] = []
        at_once = asyncio.Semaphore(AT_ONCE)

        async def take_in_order(of_one_message: Sequence[ProviderReceipt]) -> None:
            async with at_once:
                try:
                    for receipt in of_one_message:
                        await self._take(place, receipt)
                except StoreUnavailable as exc:
                    failed.append(exc)

        try:
            async with asyncio.timeout(TAKE_SECONDS), asyncio.TaskGroup() as tasks:
                for of_one_message in _by_message(receipts):
                    tasks.create_task(take_in_order(of_one_message))
        except TimeoutError as exc:
            raise StoreUnavailable(f"receipts: not confirmed within {TAKE_SECONDS:g} s") from exc
        if failed:
            raise failed[0]

    async def catch_up(self, reports: Sequence[Report]) -> None:
        """Place what came before these sends had ended. Call it before their reports are forgotten.

        Raises:
            StoreUnavailable: MongoDB does not answer; call it again.
        """
        marked = {message_id for message_id, _ in reports}
        ids: dict[str, set[str]] = {}
        told: set[tuple[str | None, str]] = set()
        for _, outgoing in reports:
            report = DeliveryReported.model_validate_json(outgoing.body)
            ids.setdefault(report.channel_id, set()).update(report.provider_ids)
            told.update(
                (scope, one) for scope in (report.conversation_id, None) for one in report.provider_ids
            )
        # By the ids and not by what is parked of each: with nothing parked that is one look for each id.
        any_of: list[Document] = [
            {"channel_id": channel_id, "provider_id": {"$in": sorted(of_channel)}}
            for channel_id, of_channel in ids.items()
        ]
        any_of.append({"message_id": {"$in": sorted(marked)}})
        with store_reached("parked_statuses"):
            found = await self._parked.find({"$or": any_of}).sort("happened_at", 1).to_list(None)
        for document in found:
            # Where messages are numbered within a dialogue others have the same number.
            is_told = (document["conversation_id"], document["provider_id"]) in told
            if not is_told and document.get("message_id") not in marked:
                continue
            place = _Place(document.get("tenant_id", ""), document["channel_id"])
            if await self._placed(place, _receipt(document)):
                await self._forget(document["_id"])
                self._count(document["state"], "placed_later")

    async def _take(self, place: _Place, receipt: ProviderReceipt) -> None:
        if await self._placed(place, receipt):
            self._count(receipt.state, "placed")
            return
        if receipt.state is MessageState.SENT:
            # Nothing waits for it: an open send has written its mark down, and any other is not ours.
            self._count(receipt.state, "noted")
            return
        parked_id = await self._park(place, receipt)
        # It may have ended between the look and the parking.
        if await self._placed(place, receipt):
            await self._forget(parked_id)
            self._count(receipt.state, "placed")
        else:
            self._count(receipt.state, "parked")

    async def _park(self, place: _Place, receipt: ProviderReceipt) -> str:
        now = self._clock()
        failure = receipt.failure
        fields: Document = {
            "tenant_id": place.tenant_id,
            "channel_id": place.channel_id,
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
        named = read_mark(receipt.mark)
        if named is not None:
            fields |= {"mark": receipt.mark, "message_id": named[0]}
        parked_id = _parked_id(
            receipt.conversation_id or place.channel_id, receipt.provider_id, receipt.state
        )
        with store_reached("parked_statuses"):
            await self._parked.update_one({"_id": parked_id}, {"$setOnInsert": fields}, upsert=True)
        return parked_id

    async def _forget(self, parked_id: str) -> None:
        """It did its work, and that is written: placing it again with every later report would be in vain."""
        with store_reached("parked_statuses"):
            await self._parked.delete_one({"_id": parked_id})

    async def _placed(self, place: _Place, receipt: ProviderReceipt) -> bool:
        """Let the receipt work on the send that has its id or its mark; False if none that ended has it.

        One that has not ended waits: its end looks into what is parked.
        """
        known: Document = {"channel_id": place.channel_id, "provider_ids": receipt.provider_id, "open": False}
        if receipt.conversation_id is not None:
            # Some messengers number messages within a dialogue only.
            known["conversation_id"] = receipt.conversation_id
        while True:
            with store_reached("sends"):
                send = await self._sends.find_one(known)
            if send is None:
                if await self._adopted(place, receipt):
                    continue
                return False
            if await self._raised(send, risen(send, receipt), receipt):
                break
        if receipt.and_earlier and receipt.state is not MessageState.FAILED:
            await self._raise_earlier(send, receipt)
        return True

    # --- ids that only a mark tells

    async def _adopted(self, place: _Place, receipt: ProviderReceipt) -> bool:
        """Whether a send that ended without the id has it now, or may have."""
        named = read_mark(receipt.mark)
        if named is None:
            return False
        message_id, part = named
        ours: Document = {"_id": message_id, "tenant_id": place.tenant_id, "channel_id": place.channel_id}
        if receipt.conversation_id is not None:
            ours["conversation_id"] = receipt.conversation_id
        with store_reached("sends"):
            send = await self._sends.find_one_and_update(
                # Only what was tried: nobody can have taken another part.
                {**ours, "open": True, "parts": {"$gt": part}},
                {"$set": {f"marked.{part}": receipt.provider_id}},
                projection={"conversation_id": 1},
            )
            if send is not None:
                if self._understood is not None:
                    self._understood(place.channel_id, send["conversation_id"])
                return False
            send = await self._sends.find_one({**ours, "open": False})
        if send is None or receipt.provider_id in send["provider_ids"]:
            return send is not None
        adopted = adoption(send, part, receipt.provider_id)
        if adopted is None:
            return False
        await self._adopt(send, adopted, receipt)
        return True

    async def _adopt(self, send: Mapping[str, Any], adopted: Adoption, receipt: ProviderReceipt) -> None:
        """Write the id down; if somebody changed the send meanwhile, the caller looks again."""
        change: Document = {"provider_ids": adopted.provider_ids, "parts_done": adopted.parts_done}
        state: MessageState | None = None
        by: Document | None = None
        if adopted.is_whole:
            state = MessageState.SENT
            by = {**mark_of(receipt.provider_id, receipt), "failure": None, "contact_blocked": False}
        rise = Rise(list(send.get("marks", [])), state, by)
        await self._write(send, rise, receipt, change)

    async def _raise_earlier(self, send: Mapping[str, Any], receipt: ProviderReceipt) -> None:
        """Everything before it that the messenger took is in this state too.

        Not what is `unknown` or was refused: nobody says that it ever arrived.
        """
        lower = [state.value for state in states_below(receipt.state)]
        before: Document = {
            "conversation_id": send["conversation_id"],
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
        return rise is None or await self._write(send, rise, receipt, {})

    async def _write(
        self, send: Mapping[str, Any], rise: Rise, receipt: ProviderReceipt, more: Document
    ) -> bool:
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


def _by_message(receipts: Iterable[ProviderReceipt]) -> Iterable[Sequence[ProviderReceipt]]:
    """Those of one message in their order; those of a whole conversation, if one may be about many."""
    found: dict[str, list[ProviderReceipt]] = {}
    for receipt in receipts:
        named = read_mark(receipt.mark)
        key = receipt.conversation_id or (receipt.provider_id if named is None else named[0])
        found.setdefault(key, []).append(receipt)
    return found.values()


def _parked_id(scope: str, provider_id: str, state: MessageState) -> str:
    # The scope is the conversation where messages are numbered within a dialogue only, else the channel.
    return derived_id("parked", scope, provider_id, state.value)


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
        mark=parked.get("mark"),
    )
