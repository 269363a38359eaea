"""Channels' settings: every query of them, what the hot path knows of them, and who is told of a change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from inbox.domain import Door, Messenger
from msgkit.contracts.events import Frozen
from msgkit.contracts.views import ChannelSettings, ChannelView
from msgkit.runtime.clock import utc_now
from msgkit.runtime.mongo import (
    ASCENDING,
    Database,
    Document,
    DuplicateKeyError,
    ReturnDocument,
    keep_index,
)

CHANNELS_FRESH_S: Final = 2.0
"""The hot path may know a channel's settings this late."""


DELETED: Final = "deleted"
"""State of a channel that was removed and keeps its dialogues."""
_DELETED_TEXT: Final = "Канал видалено. Підключіть цей акаунт знову як новий канал."
_KNOWN: Final[Document] = {"$or": [{"deleted": False}, {"view.state": DELETED}]}


class ChannelRecord(Frozen):
    """A channel as stored; `account_id` is the provider's own id of the account."""

    tenant_id: str
    account_id: str | None
    view: ChannelView
    human_agent_at: datetime | None = None
    """When an administrator last said whether the setting `human_agent` is on."""


class AlreadyConnected(Exception):
    """The account is a channel of somebody already."""


class ChannelStore:
    """The collection `channels`."""

    def __init__(self, database: Database) -> None:
        self._channels = database["channels"]

    async def prepare(self) -> None:
        """Make the indexes; does nothing where they are there."""
        await keep_index(
            self._channels,
            [("view.kind", ASCENDING), ("account_id", ASCENDING)],
            unique=True,
            partialFilterExpression={"account_id": {"$type": "string"}},
            name="account",
        )
        await keep_index(self._channels, [("tenant_id", ASCENDING)], name="tenant")

    async def channels(self, tenant_id: str) -> list[ChannelRecord]:
        """The channels of a tenant, oldest first; removed ones too, whose dialogues stay readable."""
        cursor = self._channels.find({"tenant_id": tenant_id, **_KNOWN}).sort("view.created_at")
        return [_channel_of(document) for document in await cursor.to_list(None)]

    async def channels_by_id(self, ids: Collection[str]) -> dict[str, ChannelRecord]:
        """Channels of any tenant, for the relay; who asks compares the tenant."""
        cursor = self._channels.find({"_id": {"$in": sorted(ids)}, **_KNOWN})
        return {document["_id"]: _channel_of(document) for document in await cursor.to_list(None)}

    async def channel(self, tenant_id: str, channel_id: str) -> ChannelRecord | None:
        found = await self._channels.find_one({"_id": channel_id, "tenant_id": tenant_id, "deleted": False})
        return None if found is None else _channel_of(found)

    async def put_channel(
        self, tenant_id: str, channel_id: str, account_id: str, fields: Document
    ) -> ChannelRecord:
        """Store a channel or change it; `fields` are those of ChannelView the caller decides.

        Raises:
            AlreadyConnected: the account, or the id, belongs to another channel.
        """
        named = _named(fields)
        usual = {f"view.settings.{name}": value for name, value in ChannelSettings().model_dump().items()}
        try:
            document = await self._channels.find_one_and_update(
                {"_id": channel_id, "tenant_id": tenant_id},
                {
                    "$set": {**named, "account_id": account_id, "deleted": False},
                    "$inc": {"view.rev": 1},
                    "$setOnInsert": {
                        **{name: value for name, value in usual.items() if name not in named},
                        "view.id": channel_id,
                        "view.state": "pending",
                        "view.connected": False,
                        "view.problem": None,
                        "view.created_at": utc_now(),
                    },
                },
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError as exc:
            raise AlreadyConnected from exc
        return _channel_of(document)

    async def change_channel(self, tenant_id: str, channel_id: str, fields: Document) -> ChannelRecord | None:
        document: Document | None = await self._channels.find_one_and_update(
            {"_id": channel_id, "tenant_id": tenant_id, "deleted": False},
            {"$set": _named(fields), "$inc": {"view.rev": 1}},
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _channel_of(document)

    async def refuse_human_agent(self, tenant_id: str, channel_id: str, at: datetime) -> ChannelRecord | None:
        """Put `human_agent` off because the messenger refused it then.

        None if it is off and told, or an administrator has decided since. What was put off and perhaps not
        told is given again, until `told`.
        """
        document: Document | None = await self._channels.find_one_and_update(
            {
                "_id": channel_id,
                "tenant_id": tenant_id,
                "deleted": False,
                "$and": [
                    {"$or": [{"human_agent_at": {"$exists": False}}, {"human_agent_at": {"$lte": at}}]},
                    {"$or": [{"view.settings.human_agent": True}, {"untold": True}]},
                ],
            },
            {"$set": {"view.settings.human_agent": False, "untold": True}, "$inc": {"view.rev": 1}},
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _channel_of(document)

    async def remove_channel(self, tenant_id: str, channel_id: str) -> ChannelRecord | None:
        """End a channel and free its account; its dialogues stay readable. One never finished vanishes."""
        is_unfinished = {"$eq": ["$view.state", "pending"]}
        document: Document | None = await self._channels.find_one_and_update(
            {"_id": channel_id, "tenant_id": tenant_id, "deleted": False},
            [
                {
                    "$set": {
                        "deleted": True,
                        "view.state": {"$cond": [is_unfinished, "disabled", DELETED]},
                        "view.connected": False,
                        "view.problem": _DELETED_TEXT,
                        "view.rev": {"$add": ["$view.rev", 1]},
                    }
                },
                {"$unset": "account_id"},
            ],
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _channel_of(document)

    async def note_health(
        self, tenant_id: str, channel_id: str, *, connected: bool, problem: str | None, at: datetime
    ) -> ChannelRecord | None:
        """Note how an account is doing; None if that is not news, or nobody needs to hear of it any more.

        What was noted and perhaps not told is given again, until `told`.
        """
        document: Document | None = await self._channels.find_one_and_update(
            {
                "_id": channel_id,
                "tenant_id": tenant_id,
                "deleted": False,
                "$and": [
                    {"$or": [{"health_at": {"$exists": False}}, {"health_at": {"$lte": at}}]},
                    {
                        "$or": [
                            {"view.connected": {"$ne": connected}},
                            {"view.problem": {"$ne": problem}},
                            {"untold": True},
                        ]
                    },
                ],
            },
            {
                "$set": {
                    "view.connected": connected,
                    "view.problem": problem,
                    "health_at": at,
                    "untold": True,
                },
                "$inc": {"view.rev": 1},
            },
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _channel_of(document)

    async def told(self, record: ChannelRecord) -> None:
        """The windows have heard of this revision."""
        await self._channels.update_one(
            {"_id": record.view.id, "tenant_id": record.tenant_id, "view.rev": record.view.rev},
            {"$unset": {"untold": ""}},
        )


class ChannelBook:
    """Channels for the hot path, at most CHANNELS_FRESH_S old. Access is never decided by it."""

    def __init__(self, store: ChannelStore) -> None:
        self._store = store
        self._known: dict[str, tuple[float, ChannelRecord | None]] = {}
        self._reading = asyncio.Lock()

    async def look_up(self, ids: Collection[str]) -> Mapping[str, ChannelRecord | None]:
        """Channels by id; None for one that is not there (any more)."""
        fresh_since = time.monotonic() - CHANNELS_FRESH_S
        if any(id_ not in self._known or self._known[id_][0] < fresh_since for id_ in ids):
            async with self._reading:
                stale = {id_ for id_ in ids if id_ not in self._known or self._known[id_][0] < fresh_since}
                if stale:
                    found = await self._store.channels_by_id(stale)
                    now = time.monotonic()
                    self._known.update({id_: (now, found.get(id_)) for id_ in stale})
        return {id_: self._known[id_][1] for id_ in ids}

    def forget(self, channel_id: str) -> None:
        self._known.pop(channel_id, None)


def _channel_of(document: Document) -> ChannelRecord:
    return ChannelRecord(
        tenant_id=document["tenant_id"],
        account_id=document.get("account_id"),
        view=ChannelView.model_validate(document["view"]),
        human_agent_at=document.get("human_agent_at"),
    )


def channel_fields(
    *, title: str | None = None, settings: ChannelSettings | None = None, **others: object
) -> Document:
    """Fields of a ChannelView as they are stored; of the settings only what is named."""
    fields: Document = dict(others)
    if title is not None:
        fields["title"] = title
    if settings is not None:
        named = settings.model_dump(mode="python", include=settings.model_fields_set)
        fields |= {f"settings.{name}": value for name, value in named.items()}
    return fields


def _named(fields: Document) -> Document:
    """What an update sets; with `human_agent` when it was decided, for what is older must not undo it."""
    changes: Document = {f"view.{name}": value for name, value in fields.items()}
    if "settings.human_agent" in fields:
        changes["human_agent_at"] = utc_now()
    return changes


def door_of(channel: ChannelRecord | None, messenger: Messenger) -> Door:
    """What a decision must know of a channel; of one that is not there nothing goes out."""
    if channel is None:
        return Door(bot_enabled=False, connected=False, messenger=messenger)
    view = channel.view
    is_active = view.connected and view.state == "active"
    return Door(
        view.settings.bot_enabled,
        is_active,
        view.state in {"disabled", DELETED},
        messenger,
        view.settings.human_agent,
        channel.human_agent_at,
    )
