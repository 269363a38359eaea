"""The frame of a webhook: entries, their items, and which account each of them is about. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic_core import to_json

from ingest_meta.payloads import OBJECTS, moment
from msgkit.connector.contract import Account, AppPart, WebhookRequest
from msgkit.connector.errors import PayloadInvalid
from msgkit.connector.event_fields import event_fields, raw_of
from msgkit.connector.raw import Node, is_node, items, node, opaque, read_json, text
from msgkit.contracts.ids import conversation_id

Where = Literal["messaging", "standby", "changes", "nothing"]
_LISTS: Final[tuple[Where, ...]] = ("messaging", "standby", "changes")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing an entry says, or what stood in its place."""

    entry_id: str | None
    where: Where
    """In which list of the entry it stood; `nothing`: the entry has none with anything in it."""
    told: object
    time: object
    """`time` of the entry, as it came."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A webhook whose frame was understood."""

    kind: str | None
    """Which of our kinds it is about; None: a test of the dashboard, which has no envelope."""
    items: Sequence[Item]


def opened(body: bytes) -> Envelope:
    """Everything a webhook says, in order.

    Raises:
        PayloadInvalid: not JSON, or of another product.

    Source: fact sheet 1.1, 1.2.
    """
    whole = _whole(body)
    found = [item for entry in items(whole.get("entry")) for item in _items_of(entry)]
    return Envelope(OBJECTS.get(text(whole.get("object")) or ""), found)


def split(body: bytes) -> Sequence[AppPart]:
    """What it says of whom: one body for each account, its entries in order.

    Raises:
        PayloadInvalid: not JSON, or of another product.

    Source: fact sheet 1.1, «Routing to a channel record».
    """
    whole = _whole(body)
    kind = OBJECTS.get(text(whole.get("object")) or "")
    parts: dict[str, list[Any]] = {}
    for entry in items(whole.get("entry")):
        # What is no entry is nobody's, and kept as such.
        parts.setdefault(opaque(node(entry).get("id")) or "", []).append(entry)
    if len(parts) == 1:
        return [AppPart(known_as, body, kind) for known_as in parts]
    return [
        AppPart(known_as, to_json({"object": whole["object"], "entry": entries}), kind)
        for known_as, entries in parts.items()
    ]


def _whole(body: bytes) -> Node:
    try:
        whole = read_json(body)
    except ValueError as exc:
        raise PayloadInvalid(f"not readable as JSON: {str(exc)[:200]}") from None
    if not is_node(whole):
        raise PayloadInvalid("not a JSON object")
    if "entry" not in whole and "object" not in whole and text(whole.get("field")) is not None:
        return whole
    if text(whole.get("object")) not in OBJECTS:
        raise PayloadInvalid("a webhook of another product")
    if not isinstance(whole.get("entry"), list):
        raise PayloadInvalid("a webhook without entries")
    return whole


def _items_of(entry: object) -> Iterator[Item]:
    """Each item of an entry; an entry without any once, so that it is not lost."""
    told = node(entry)
    entry_id, time = opaque(told.get("id")), told.get("time")
    found = [(where, item) for where in _LISTS for item in items(told.get(where))]
    if not found and "field" in told:
        # So Instagram Login tells of comments (fact sheet 1.3).
        found = [("changes", {"field": told.get("field")})]
    for where, item in found:
        yield Item(entry_id, where, item, time)
    if not found:
        yield Item(entry_id, "nothing", entry, time)


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds one item."""

    item: Item
    request: WebhookRequest
    account: Account

    @property
    def at(self) -> datetime:
        """When it was told, for what has no time of its own."""
        return moment(self.item.time) or self.request.received_at.astimezone(UTC)

    @property
    def is_standby(self) -> bool:
        """Another app holds the thread (fact sheet 1.2, «Handover/standby»)."""
        return self.item.where == "standby"

    def moment(self, told: Node) -> datetime:
        """The time of an item."""
        return moment(told.get("timestamp")) or self.at

    def conversation_id(self, contact_key: str) -> str:
        """The dialogue with this person."""
        return conversation_id(self.account.channel_id, contact_key)

    def common(self, told: Node, contact_key: str, provider_key: str, event_type: str) -> dict[str, Any]:
        """The fields every event has.

        Args:
            told: the item it is made of.
            contact_key: the person's id.
            provider_key: what makes a repeat the same event.
            event_type: the event's `type`.
        """
        return event_fields(
            self.account,
            self.request,
            conversation_id=self.conversation_id(contact_key),
            provider_key=provider_key,
            event_type=event_type,
            raw=raw_of(told),
        )
