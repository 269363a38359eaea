"""What is known of calls when an echo comes, and the echoes that wait for the end of one, in order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from msgkit.connector.reach import store_reached
from msgkit.connector.send_documents import IN_DOUBT
from msgkit.contracts.events import MessageEchoed, SendMessage
from msgkit.contracts.ids import partition_of
from msgkit.contracts.words import AuthorKind
from msgkit.runtime.mongo import BulkWriteError, Database, StoreUnavailable, keep_index

UNDER_WAY: Final = ("sending", IN_DOUBT)
"""States of a send whose call was begun and whose end is not written."""
LOOKED_AT_ONCE: Final = 500
_DUPLICATE_KEY = 11000
_UNMANNED = (AuthorKind.BOT, AuthorKind.AUTORESPONDER)


@dataclass(frozen=True, slots=True)
class CallUnderWay:
    """A call to a client that was begun: an echo that comes now may be of it."""

    message_id: str
    part: int
    order: SendMessage
    told_ids: frozenset[str]
    """Ids of its parts that are known already, also by our mark alone."""

    @property
    def is_unmanned(self) -> bool:
        """Nobody typed it: its echo must not look like a person's answer."""
        return self.order.author_kind in _UNMANNED

    def says(self, echo: MessageEchoed) -> bool:
        """Whether the echo has words of this order; for one without words, whether both are of a kind."""
        words = " ".join(echo.content.text.split())
        if words:
            return words in " ".join(self.order.text.split())
        return echo.content.kind in {file.kind for file in self.order.media}


@dataclass(frozen=True, slots=True)
class CallNow:
    """How a call an echo waits for stands now."""

    state: str
    part: int
    provider_ids: frozenset[str]

    def is_out(self, part: int) -> bool:
        """Whether the end of the call for this part is still not written."""
        return self.state in UNDER_WAY and self.part == part


@dataclass(frozen=True, slots=True)
class HeldCall:
    """A call an echo waits for, as it stood when the echo came."""

    message_id: str
    part: int
    is_unmanned: bool
    is_alike: bool
    """The echo says what this call said. That proves nothing, but it tells who probably speaks."""


@dataclass(frozen=True, slots=True)
class HeldEcho:
    """An echo that waits."""

    event: MessageEchoed
    held_at: datetime
    calls: tuple[HeldCall, ...]
    """Empty for one that only waits for those before it."""
    traceparent: str | None


class EchoStore:
    """The collection `held_echoes` of one ingest service, and what `sends` tells of echoes."""

    def __init__(self, database: Database) -> None:
        self._held = database["held_echoes"]
        self._sends = database["sends"]

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("held_echoes"):
            await keep_index(self._held, [("partition", 1), ("held_at", 1), ("place", 1)])
            await keep_index(self._held, "conversation_id")
            await keep_index(self._sends, [("channel_id", 1), ("provider_ids", 1)])

    async def calls_under_way(self, echoes: Iterable[MessageEchoed]) -> dict[str, list[CallUnderWay]]:
        """Conversation → calls to its client whose end is not written.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        channels, conversations = _where(echoes)
        with store_reached("sends"):
            documents = await self._sends.find(
                {
                    "open": True,
                    "channel_id": {"$in": channels},
                    "conversation_id": {"$in": conversations},
                    "state": {"$in": UNDER_WAY},
                },
                {"conversation_id": 1, "parts_done": 1, "order": 1, "provider_ids": 1, "marked": 1},
            ).to_list(None)
        found: dict[str, list[CallUnderWay]] = {}
        for document in documents:
            found.setdefault(document["conversation_id"], []).append(
                CallUnderWay(
                    document["_id"],
                    document["parts_done"],
                    SendMessage.model_validate_json(document["order"]),
                    _told_ids(document),
                )
            )
        return found

    async def own_ids(self, echoes: Iterable[MessageEchoed]) -> set[tuple[str, str]]:
        """(channel, provider id) of those that are sends of ours, as far as their ends are written.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        ids: dict[str, set[str]] = {}
        for echo in echoes:
            ids.setdefault(echo.channel_id, set()).add(echo.provider_id)
        found: set[tuple[str, str]] = set()
        for channel_id, of_channel in ids.items():
            with store_reached("sends"):
                documents = await self._sends.find(
                    {"channel_id": channel_id, "provider_ids": {"$in": sorted(of_channel)}},
                    {"provider_ids": 1},
                ).to_list(None)
            found.update(
                (channel_id, one) for document in documents for one in of_channel & _told_ids(document)
            )
        return found

    async def conversations_that_wait(self, echoes: Iterable[MessageEchoed]) -> set[str]:
        """Conversations of these with echoes that came before and still wait.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        _, conversations = _where(echoes)
        with store_reached("held_echoes"):
            return set(
                await self._held.distinct("conversation_id", {"conversation_id": {"$in": conversations}})
            )

    async def hold(self, echoes: Sequence[HeldEcho]) -> None:
        """Keep these in their order; one that is kept already stays as it is.

        Raises:
            StoreUnavailable: not confirmed; the messenger must repeat.
        """
        documents = [
            {
                "_id": echo.event.event_id,
                "channel_id": echo.event.channel_id,
                "conversation_id": echo.event.conversation_id,
                "partition": partition_of(echo.event.channel_id),
                "held_at": echo.held_at,
                "place": place,
                "calls": [
                    {
                        "message_id": call.message_id,
                        "part": call.part,
                        "is_unmanned": call.is_unmanned,
                        "is_alike": call.is_alike,
                    }
                    for call in echo.calls
                ],
                "event": echo.event.model_dump_json(),
                "traceparent": echo.traceparent,
            }
            for place, echo in enumerate(echoes)
        ]
        try:
            with store_reached("held_echoes"):
                await self._held.insert_many(documents, ordered=False)
        except BulkWriteError as exc:
            if exc.details.get("writeConcernErrors"):
                raise StoreUnavailable("held_echoes: the write was not confirmed") from exc
            if any(error["code"] != _DUPLICATE_KEY for error in exc.details["writeErrors"]):
                raise

    async def held(self, partitions: Collection[int]) -> list[HeldEcho]:
        """Those that wait in these partitions, in the order they came.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("held_echoes"):
            documents = (
                await self._held.find({"partition": {"$in": sorted(partitions)}})
                .sort([("held_at", 1), ("place", 1)])
                .to_list(LOOKED_AT_ONCE)
            )
        return [
            HeldEcho(
                event=MessageEchoed.model_validate_json(document["event"]),
                held_at=document["held_at"],
                calls=tuple(HeldCall(**call) for call in document["calls"]),
                traceparent=document["traceparent"],
            )
            for document in documents
        ]

    async def calls_now(self, message_ids: Collection[str]) -> dict[str, CallNow]:
        """How these sends stand now; one that is not known any more is missing.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("sends"):
            documents = await self._sends.find(
                {"_id": {"$in": sorted(message_ids)}},
                {"state": 1, "parts_done": 1, "provider_ids": 1, "marked": 1},
            ).to_list(None)
        return {
            document["_id"]: CallNow(document["state"], document["parts_done"], _told_ids(document))
            for document in documents
        }

    async def forget(self, event_ids: Collection[str]) -> None:
        """They were published, or are our own. Losing this write only publishes them again, without effect.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("held_echoes"):
            await self._held.delete_many({"_id": {"$in": sorted(event_ids)}})


def _where(echoes: Iterable[MessageEchoed]) -> tuple[list[str], list[str]]:
    places = {(echo.channel_id, echo.conversation_id) for echo in echoes}
    return sorted({channel for channel, _ in places}), sorted({conversation for _, conversation in places})


def _told_ids(document: Mapping[str, Any]) -> frozenset[str]:
    marked: Mapping[str, str] = document.get("marked", {})
    return frozenset((*document["provider_ids"], *marked.values()))
