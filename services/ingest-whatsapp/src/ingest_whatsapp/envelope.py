"""The frame of a webhook: entries, changes, and which account each of them is about. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from ingest_whatsapp.payloads import NUMBER_PREFIX, OBJECT, WABA_PREFIX, digits_of, moment
from msgkit.connector.contract import Account, AppPart, WebhookRequest
from msgkit.connector.errors import PayloadInvalid
from msgkit.connector.event_fields import event_fields, raw_of
from msgkit.connector.raw import Node, is_node, items, node, opaque, read_json, text
from msgkit.contracts.ids import conversation_id


@dataclass(frozen=True, slots=True)
class Change:
    """One element of `changes[]`, or what stood in its place."""

    waba_id: str | None
    field: str
    value: Node | None
    time: object
    """`time` of the entry, as it came."""

    @property
    def phone_number_id(self) -> str | None:
        """Which number of ours it is about; None for what is about the whole account."""
        return opaque(node(node(self.value).get("metadata")).get("phone_number_id"))

    @property
    def display_digits(self) -> str:
        """The digits of our number; empty if it is not told."""
        told = node(self.value)
        shown = node(told.get("metadata")).get("display_phone_number")
        return digits_of(shown or told.get("phone_number") or told.get("display_phone_number"))

    @property
    def known_as(self) -> str:
        """What the account is known as, as exactly as the change says it.

        Source: fact sheet 1.1, «Routing to a channel record».
        """
        if self.phone_number_id is not None:
            return self.phone_number_id
        digits = self.display_digits
        # One number may be thrown out, and the others of the same account work on.
        return f"{NUMBER_PREFIX}{digits}" if digits else f"{WABA_PREFIX}{self.waba_id or ''}"


def changes_of(body: bytes) -> Sequence[Change]:
    """Everything a webhook says, in order; nothing for the dashboard's test, which has no envelope.

    Raises:
        PayloadInvalid: not JSON, or of another product.

    Source: fact sheet 1.1, 1.4.
    """
    return [_change(entry, change) for entry, change in _walk(_whole(body))]


def split(body: bytes) -> Sequence[AppPart]:
    """What it says of whom: one body for each account, its changes in order.

    Raises:
        PayloadInvalid: not JSON, or of another product.
    """
    parts: dict[str, list[Any]] = {}
    for entry, change in _walk(_whole(body)):
        entries = parts.setdefault(_change(entry, change).known_as, [])
        told = entry if is_node(entry) else {}
        frame = {key: told[key] for key in ("id", "time") if key in told}
        if not entries or {**entries[-1], "changes": None} != {**frame, "changes": None}:
            entries.append({**frame, "changes": []})
        entries[-1]["changes"].append(change)
    if len(parts) == 1:
        return [AppPart(known_as, body) for known_as in parts]
    return [
        AppPart(known_as, to_json({"object": OBJECT, "entry": entries}))
        for known_as, entries in parts.items()
    ]


def is_test(body: bytes) -> bool:
    """Whether this is the dashboard's test: one change without its envelope (fact sheet 1.1)."""
    whole = _whole(body)
    return "entry" not in whole and "object" not in whole


def _whole(body: bytes) -> Node:
    try:
        whole = read_json(body)
    except ValueError as exc:
        raise PayloadInvalid(f"not readable as JSON: {str(exc)[:200]}") from None
    if not is_node(whole):
        raise PayloadInvalid("not a JSON object")
    if "entry" not in whole and "object" not in whole and text(whole.get("field")) is not None:
        return whole
    if whole.get("object") != OBJECT:
        raise PayloadInvalid("a webhook of another product")
    if not isinstance(whole.get("entry"), list):
        raise PayloadInvalid("a webhook without entries")
    return whole


def _walk(whole: Node) -> Sequence[tuple[object, object]]:
    """Each change with its entry; an entry without changes once, so that it is not lost."""
    return [
        (entry, change)
        for entry in items(whole.get("entry"))
        for change in (items(node(entry).get("changes")) or [None])
    ]


def _change(entry: object, change: object) -> Change:
    told = node(change)
    value = told.get("value")
    return Change(
        waba_id=opaque(node(entry).get("id")),
        field=text(told.get("field")) or "",
        value=value if is_node(value) else None,
        time=node(entry).get("time"),
    )


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds everything a change says."""

    change: Change
    request: WebhookRequest
    account: Account

    @property
    def at(self) -> datetime:
        """When it was told, for what has no time of its own."""
        return moment(self.change.time, self.request.received_at.astimezone(UTC))

    @property
    def value(self) -> Node:
        return node(self.change.value)

    def moment(self, told: Node) -> datetime:
        """The time of an element."""
        return moment(told.get("timestamp"), self.at)

    def common(self, told: Node, contact_key: str, provider_key: str, event_type: str) -> dict[str, Any]:
        """The fields every event has.

        Args:
            told: the element it is made of.
            contact_key: the strongest id of the person.
            provider_key: what makes a repeat the same event; never an id of the person, those change.
            event_type: the event's `type`.
        """
        return event_fields(
            self.account,
            self.request,
            conversation_id=conversation_id(self.account.channel_id, contact_key),
            provider_key=provider_key,
            event_type=event_type,
            raw=raw_of(told),
        )
