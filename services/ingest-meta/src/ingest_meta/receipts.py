"""What Meta says later of a message it took: delivered, read, and echoes with our mark. Pure.

Source: fact sheet 1.2 («Reaction, read, delivery, edit», «Echo»), 1.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal

from ingest_meta.envelope import Frame
from ingest_meta.payloads import moment
from msgkit.connector.contract import Parsed, ProviderReceipt
from msgkit.connector.raw import Node, items, node, opaque, text
from msgkit.contracts.words import MessageState

_OURS: Final = re.compile(r"[0-9a-f]{32}\.[0-9]{1,9}")
"""A mark of ours. Other programs write to the same people, with words of their own in `metadata`."""
_Seen = Literal[MessageState.DELIVERED, MessageState.READ]


def mark_of(message: Node) -> str | None:
    """Our mark in an echo; None for a message that was sent elsewhere."""
    mark = text(message.get("metadata"))
    return mark if mark is not None and _OURS.fullmatch(mark) else None


def to_sent(mid: str, mark: str, at: datetime) -> Parsed:
    """An echo of our own call: it was taken, whatever became of the answer."""
    # A mid is unique within the channel.
    return Parsed(counted=("echo_own",), receipts=(_receipt(None, mid, MessageState.SENT, at, mark=mark),))


def to_delivered(told: Node, contact_key: str | None, frame: Frame) -> Parsed:
    """`delivery`: mids, a watermark, or both; without a time of its own sometimes."""
    delivery, at = node(told.get("delivery")), frame.moment(told)
    mids = dict.fromkeys(opaque(mid) for mid in items(delivery.get("mids")))
    receipts = [_receipt(None, mid, MessageState.DELIVERED, at) for mid in mids if mid is not None]
    receipts += _up_to(delivery, contact_key, MessageState.DELIVERED, frame, at)
    return _counted("delivery", receipts)


def to_read(told: Node, contact_key: str | None, frame: Frame) -> Parsed:
    """`read`: a watermark in Messenger, in Instagram the id of the last message that was read."""
    read, at = node(told.get("read")), frame.moment(told)
    receipts = list(_up_to(read, contact_key, MessageState.READ, frame, at))
    mid = opaque(read.get("mid"))
    if mid is not None:
        conversation = None if contact_key is None else frame.conversation_id(contact_key)
        # What was sent before it was read with it; within a dialogue that is known.
        receipts.append(
            _receipt(conversation, mid, MessageState.READ, at, and_earlier=conversation is not None)
        )
    return _counted("read", receipts)


def _up_to(
    told: Node, contact_key: str | None, state: _Seen, frame: Frame, at: datetime
) -> Iterator[ProviderReceipt]:
    watermark = moment(told.get("watermark"))
    if watermark is not None and contact_key is not None:
        yield _receipt(frame.conversation_id(contact_key), None, state, at, up_to=watermark)


def _receipt(
    conversation: str | None,
    mid: str | None,
    state: Literal[MessageState.SENT, MessageState.DELIVERED, MessageState.READ],
    at: datetime,
    *,
    and_earlier: bool = False,
    mark: str | None = None,
    up_to: datetime | None = None,
) -> ProviderReceipt:
    return ProviderReceipt(
        conversation_id=conversation,
        provider_id=mid,
        state=state,
        and_earlier=and_earlier,
        failure=None,
        contact_blocked=False,
        happened_at=at,
        mark=mark,
        up_to=up_to,
    )


def _counted(name: str, receipts: list[ProviderReceipt]) -> Parsed:
    return Parsed(counted=(name if receipts else f"{name}_of_nothing",), receipts=tuple(receipts))
