"""Watermarks: «everything said here until then was delivered», or read; for messengers that do not name ids.

The highest of each conversation is kept for a day before it works on anything, and whoever ends a send looks
for it: a call whose end is written after its watermark came misses nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, cast

from msgkit.connector.contract import ProviderReceipt
from msgkit.connector.reach import store_reached
from msgkit.connector.receipt_rules import risen_until, states_below
from msgkit.connector.receipt_writer import ReceiptWriter
from msgkit.contracts.ids import derived_id
from msgkit.contracts.words import MessageState
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import Database, Document, keep_index

log = get_logger(__name__)

KEPT = timedelta(hours=24)
"""As receipts of ids are: longer than any call and the writing of its outcome may take."""
AT_ONCE = 100
_REACHED = (MessageState.DELIVERED, MessageState.READ)


class Watermarks:
    """Those of one ingest service, in the collection `parked_statuses` beside receipts of ids."""

    def __init__(self, database: Database, writer: ReceiptWriter, clock: Clock = utc_now) -> None:
        self._sends = database["sends"]
        self._parked = database["parked_statuses"]
        self._writer = writer
        self._clock = clock

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("parked_statuses"):
            await keep_index(
                self._parked,
                "conversation_id",
                name="watermarks",
                partialFilterExpression={"up_to": {"$exists": True}},
            )

    async def take(self, channel_id: str, receipt: ProviderReceipt) -> None:
        """Keep it, and let it work on everything that has ended. An older one has no effect.

        Raises:
            StoreUnavailable: not confirmed; the messenger must repeat.
        """
        if receipt.conversation_id is None or receipt.state not in _REACHED:
            # Our bug; a repeat would change nothing.
            log.error("watermark_of_nothing", channel_id=channel_id, fix="conversation_id, delivered or read")
            return
        await self._keep(channel_id, receipt.conversation_id, receipt)
        await self._place(channel_id, receipt.conversation_id, receipt)

    async def catch_up(self, conversations: Collection[str]) -> None:
        """Let those work that came before something of these conversations had ended, or before its time.

        Raises:
            StoreUnavailable: MongoDB does not answer; call it again.
        """
        with store_reached("parked_statuses"):
            found = await self._parked.find(watermarks_of(conversations)).to_list(None)
        await self.work_again(found)

    async def work_again(self, kept: Iterable[Mapping[str, Any]]) -> None:
        """Let these work, documents of what `watermarks_of` finds.

        Raises:
            StoreUnavailable: MongoDB does not answer; call it again.
        """
        for document in kept:
            await self._place(document["channel_id"], document["conversation_id"], _receipt(document))

    async def _keep(self, channel_id: str, conversation_id: str, receipt: ProviderReceipt) -> None:
        kept: Document = {
            "channel_id": channel_id,
            "conversation_id": conversation_id,
            "state": receipt.state.value,
            "up_to": receipt.up_to,
            "happened_at": receipt.happened_at,
            "expires_at": self._clock() + KEPT,
        }
        is_higher = {"$gt": [receipt.up_to, "$up_to"]}
        watermark_id = derived_id("watermark", channel_id, conversation_id, receipt.state.value)
        with store_reached("parked_statuses"):
            await self._parked.update_one(
                {"_id": watermark_id},
                [
                    {
                        "$set": {
                            name: {"$cond": [is_higher, {"$literal": value}, f"${name}"]}
                            for name, value in kept.items()
                        }
                    }
                ],
                upsert=True,
            )

    async def _place(self, channel_id: str, conversation_id: str, receipt: ProviderReceipt) -> None:
        """Let it work on what the messenger took, not on what is `unknown` or was refused."""
        lower = [state.value for state in states_below(receipt.state)]
        after = 0
        while True:
            with store_reached("sends"):
                found = (
                    await self._sends.find(
                        {
                            "conversation_id": conversation_id,
                            "channel_id": channel_id,
                            "state": {"$in": lower},
                            "out_seq": {"$gt": after},
                        }
                    )
                    .sort("out_seq", 1)
                    .to_list(AT_ONCE)
                )
            for document in found:
                await self._raise(document, receipt)
            if len(found) < AT_ONCE:
                return
            after = found[-1]["out_seq"]

    async def _raise(self, document: Mapping[str, Any], receipt: ProviderReceipt) -> None:
        send: Mapping[str, Any] | None = document
        while send is not None and not await self._writer.raised(send, risen_until(send, receipt), receipt):
            # Another receipt changed it at this moment.
            with store_reached("sends"):
                lower = [state.value for state in states_below(receipt.state)]
                send = await self._sends.find_one({"_id": document["_id"], "state": {"$in": lower}})


def watermarks_of(conversations: Collection[str]) -> Document:
    """What finds those of these conversations among `parked_statuses`."""
    return {"conversation_id": {"$in": sorted(conversations)}, "up_to": {"$exists": True}}


def _receipt(kept: Mapping[str, Any]) -> ProviderReceipt:
    return ProviderReceipt(
        conversation_id=kept["conversation_id"],
        provider_id=None,
        state=cast("Literal[MessageState.DELIVERED, MessageState.READ]", MessageState(kept["state"])),
        and_earlier=False,
        failure=None,
        contact_blocked=False,
        happened_at=kept["happened_at"],
        up_to=kept["up_to"],
    )
