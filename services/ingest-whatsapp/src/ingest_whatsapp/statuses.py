"""What WhatsApp says later of a message it took: receipts. Pure. Source: fact sheet 1.4, «Statuses»."""

from __future__ import annotations

import re
from typing import Any, Final

from ingest_whatsapp.envelope import Frame
from ingest_whatsapp.identity import People, of_recipient
from ingest_whatsapp.payloads import MARK_MAX_CHARS
from ingest_whatsapp.refusals import to_failure
from msgkit.connector.contract import Parsed, PersonSeen, ProviderReceipt
from msgkit.connector.raw import Node, opaque, text
from msgkit.contracts.words import MessageState

_STATES: Final[dict[str, Any]] = {
    "sent": MessageState.SENT,
    "delivered": MessageState.DELIVERED,
    "read": MessageState.READ,
    # Of a voice note: it was heard, so it was read.
    "played": MessageState.READ,
    "failed": MessageState.FAILED,
}
_OURS = re.compile(r"[0-9a-f]{32}\.[0-9]+")
"""A mark of ours. Other programs may write by the same number: their people are none of our business."""
_IDS = 2


def to_receipt(status: Node, frame: Frame, people: People) -> Parsed:
    """One element of `statuses[]`.

    Args:
        status: the element.
        frame: what surrounds it.
        people: `contacts[]` beside it; absent with `failed`.
    """
    name = text(status.get("status")) or ""
    state = _STATES.get(name)
    provider_id = opaque(status.get("id"))
    if state is None:
        return Parsed(counted=("status_deleted" if name == "deleted" else "status_unknown",))
    if provider_id is None:
        return Parsed(counted=("status_of_nothing",))
    at = frame.moment(status)
    mark = text(status.get("biz_opaque_callback_data"))
    receipt = ProviderReceipt(
        conversation_id=None,
        provider_id=provider_id,
        state=state,
        # Each message is told by itself, and a skipped step is implied by the state.
        and_earlier=False,
        failure=to_failure(status.get("errors")) if state is MessageState.FAILED else None,
        contact_blocked=False,
        happened_at=at,
        mark=mark if mark and len(mark) <= MARK_MAX_CHARS else None,
    )
    seen: tuple[PersonSeen, ...] = ()
    if state is MessageState.SENT and receipt.mark is not None and _OURS.fullmatch(receipt.mark):
        person = people.find(of_recipient(status))
        # Only both ids together say something new, and they say it once a message.
        if person is not None and len(person.ids.keys) == _IDS:
            seen = (person.seen(at),)
    return Parsed(counted=(f"status_{name}",), receipts=(receipt,), people=seen)
