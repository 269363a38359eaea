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
from msgkit.connector.receipt_writer import ReceiptWriter, Report
from msgkit.connector.watermarks import Watermarks, watermarks_of
from msgkit.contracts.events import DeliveryReported, Failure
from msgkit.contracts.ids import derived_id
from msgkit.contracts.words import MessageState
from msgkit.runtime import metrics
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import Database, Document, StoreUnavailable, keep_index

log = get_logger(__name__)

PARKED_FOR = timedelta(hours=24)
"""Longer than any call to a messenger and the writing of its outcome may take."""
TAKE_SECONDS = 4.0
"""The messenger waits for our 200 meanwhile."""
AT_ONCE = 16
"""Messages whose receipts are written side by side: one webhook may carry a thousand."""

ReceiptState = Literal[MessageState.DELIVERED, MessageState.READ, MessageState.FAILED]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a receipt came from: it can only be about a send of there."""

    tenant_id: str
    channel_id: str
    kind: str


class Receipts:
    """Receipts of one ingest service: the collection `parked_statuses`, and the states in `sends`."""

    def __init__(self, database: Database, clock: Clock = utc_now, *, keeps_times: bool = False) -> None:
        """
        Args:
            keeps_times: the messenger's own time of our messages, as receipts with our mark tell it, is
                remembered: its watermarks are compared with that.
        """
        self._sends = database["sends"]
        self._parked = database["parked_statuses"]
        self._clock = clock
        self._keeps_times = keeps_times
        self._writer = ReceiptWriter(database, clock)
        self._watermarks = Watermarks(database, self._writer, clock)
        self._understood: Callable[[str, str], None] | None = None

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            await keep_index(self._sends, [("conversation_id", 1), ("provider_ids", 1)])
            await keep_index(self._sends, [("channel_id", 1), ("provider_ids", 1)])
            await keep_index(self._sends, [("conversation_id", 1), ("state", 1), ("out_seq", 1)])
            await keep_index(self._parked, "expires_at", expireAfterSeconds=0)
            await keep_index(self._parked, [("channel_id", 1), ("provider_id", 1)])
            await keep_index(
                self._parked, "message_id", partialFilterExpression={"message_id": {"$exists": True}}
            )
        await self._watermarks.prepare()

    def on_report(self, listener: Callable[[Sequence[Report]], None]) -> None:
        """Give `listener` each new report, which is written down already, to be published now."""
        self._writer.on_report(listener)

    def on_understood(self, listener: Callable[[str, str], None]) -> None:
        """Call `listener` with (channel id, conversation id) when the mark of an open send came back."""
        self._understood = listener

    async def take(self, account: Account, receipts: Sequence[ProviderReceipt]) -> None:
        """Make receipts durable and let them work. Taking the same again has no further effect.

        Raises:
            StoreUnavailable: not confirmed; the messenger must repeat.
        """
        place = _Place(account.tenant_id, account.channel_id, account.kind)
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
        conversations: set[str] = set()
        ids: dict[str, set[str]] = {}
        told: set[tuple[str | None, str]] = set()
        for _, outgoing in reports:
            report = DeliveryReported.model_validate_json(outgoing.body)
            conversations.add(report.conversation_id)
            ids.setdefault(report.channel_id, set()).update(report.provider_ids)
            told.update(
                (scope, one) for scope in (report.conversation_id, None) for one in report.provider_ids
            )
        # By the ids and not by what is parked of each: with nothing parked that is one look for each id.
        any_of: list[Document] = [
            {"channel_id": channel_id, "provider_id": {"$in": sorted(of_channel)}}
            for channel_id, of_channel in ids.items()
        ]
        any_of += [{"message_id": {"$in": sorted(marked)}}, watermarks_of(conversations)]
        with store_reached("parked_statuses"):
            found = await self._parked.find({"$or": any_of}).sort("happened_at", 1).to_list(None)
        for document in found:
            if "up_to" in document:
                continue
            # Where messages are numbered within a dialogue others have the same number.
            is_told = (document["conversation_id"], document["provider_id"]) in told
            if not is_told and document.get("message_id") not in marked:
                continue
            place = _Place(document.get("tenant_id", ""), document["channel_id"], document.get("kind", ""))
            if await self._placed(place, _receipt(document)):
                await self._forget(document["_id"])
                self._count(place, document["state"], "placed_later")
        await self._watermarks.work_again(document for document in found if "up_to" in document)

    async def _take(self, place: _Place, receipt: ProviderReceipt) -> None:
        if receipt.up_to is not None:
            await self._watermarks.take(place.channel_id, receipt)
            self._count(place, receipt.state, "watermark")
        if receipt.provider_id is None:
            return
        if await self._placed(place, receipt):
            self._count(place, receipt.state, "placed")
            return
        if receipt.state is MessageState.SENT:
            # Nothing waits for it: an open send has written its mark down, and any other is not ours.
            self._count(place, receipt.state, "noted")
            return
        parked_id = await self._park(place, receipt.provider_id, receipt)
        # It may have ended between the look and the parking.
        if await self._placed(place, receipt):
            await self._forget(parked_id)
            self._count(place, receipt.state, "placed")
        else:
            self._count(place, receipt.state, "parked")

    async def _park(self, place: _Place, provider_id: str, receipt: ProviderReceipt) -> str:
        now = self._clock()
        failure = receipt.failure
        fields: Document = {
            "tenant_id": place.tenant_id,
            "channel_id": place.channel_id,
            "kind": place.kind,
            "conversation_id": receipt.conversation_id,
            "provider_id": provider_id,
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
        parked_id = _parked_id(receipt.conversation_id or place.channel_id, provider_id, receipt.state)
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
            if await self._writer.raised(send, risen(send, receipt), receipt):
                break
        if receipt.state is MessageState.SENT:
            await self._keep_time(send["conversation_id"], receipt)
        if receipt.and_earlier and receipt.state is not MessageState.FAILED:
            await self._raise_earlier(send, receipt)
        return True

    # --- ids that only a mark tells

    async def _adopted(self, place: _Place, receipt: ProviderReceipt) -> bool:
        """Whether a send that ended without the id has it now, or may have."""
        named, provider_id = read_mark(receipt.mark), receipt.provider_id
        if named is None or provider_id is None:
            return False
        message_id, part = named
        ours: Document = {"_id": message_id, "tenant_id": place.tenant_id, "channel_id": place.channel_id}
        if receipt.conversation_id is not None:
            ours["conversation_id"] = receipt.conversation_id
        told: Document = {f"marked.{part}": provider_id}
        if self._keeps_times and receipt.state is MessageState.SENT:
            told[f"told.{part}"] = receipt.happened_at
        with store_reached("sends"):
            send = await self._sends.find_one_and_update(
                # Only what was tried: nobody can have taken another part.
                {**ours, "open": True, "parts": {"$gt": part}},
                {"$set": told},
                projection={"conversation_id": 1},
            )
            if send is not None:
                if self._understood is not None:
                    self._understood(place.channel_id, send["conversation_id"])
                return False
            send = await self._sends.find_one({**ours, "open": False})
        if send is None or provider_id in send["provider_ids"]:
            return send is not None
        adopted = adoption(send, part, provider_id)
        if adopted is None:
            return False
        await self._adopt(send, adopted, provider_id, receipt)
        return True

    async def _adopt(
        self, send: Mapping[str, Any], adopted: Adoption, provider_id: str, receipt: ProviderReceipt
    ) -> None:
        """Write the id down; if somebody changed the send meanwhile, the caller looks again."""
        change: Document = {"provider_ids": adopted.provider_ids, "parts_done": adopted.parts_done}
        state: MessageState | None = None
        by: Document | None = None
        if adopted.is_whole:
            state = MessageState.SENT
            by = {**mark_of(provider_id, receipt), "failure": None, "contact_blocked": False}
        rise = Rise(list(send.get("marks", [])), state, by)
        await self._writer.write(send, rise, receipt, change)

    async def _keep_time(self, conversation_id: str, receipt: ProviderReceipt) -> None:
        """When the messenger says that our message was said: a watermark may wait for just that."""
        named = read_mark(receipt.mark)
        if named is None or not self._keeps_times:
            return
        message_id, part = named
        with store_reached("sends"):
            kept = await self._sends.update_one(
                {"_id": message_id, "conversation_id": conversation_id, "parts": {"$gt": part}},
                {"$set": {f"told.{part}": receipt.happened_at}},
            )
        if kept.modified_count:
            await self._watermarks.catch_up({conversation_id})

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
                await self._writer.raised(document, wholly_risen(document, receipt), receipt)
            if len(earlier) < 100 and not await self._any_left(before):
                return

    async def _any_left(self, before: Document) -> bool:
        """Whether one of them was changed by another receipt while we did it."""
        with store_reached("sends"):
            return await self._sends.find_one(before, {"_id": 1}) is not None

    def _count(self, place: _Place, state: str, outcome: str) -> None:
        metrics.receipts_total.labels(kind=place.kind, state=str(state), outcome=outcome).inc()


def _by_message(receipts: Iterable[ProviderReceipt]) -> Iterable[Sequence[ProviderReceipt]]:
    """Those of one message in their order; those of a whole conversation, if one may be about many."""
    found: dict[str, list[ProviderReceipt]] = {}
    for receipt in receipts:
        named = read_mark(receipt.mark)
        key = receipt.conversation_id or (receipt.provider_id or "" if named is None else named[0])
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
