"""The rules of receipts: ids rise one by one, a message when all of its ids have; nothing falls. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgkit.connector.contract import ProviderReceipt
from msgkit.contracts.words import LATE_REFUSAL_RANK, STATE_RANK, MessageState
from msgkit.runtime.mongo import Document

SENT_RANK = STATE_RANK[MessageState.SENT]
_PARTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Rise:
    """What a receipt changes in the document of a send."""

    marks: list[Document]
    """The state of each provider id that has one, as far as receipts tell."""
    state: MessageState | None
    """The new state of the whole message; None: it stays."""
    by: Document | None
    """The mark that decided it."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """A provider id that only the mark of its call tells, for a send that has ended without it."""

    provider_ids: list[str]
    parts_done: int
    is_whole: bool
    """With it the messenger is known to have taken every part, which was not known before."""


def adoption(send: Mapping[str, Any], part: int, provider_id: str) -> Adoption | None:
    """What the id of a part changes in a send that has ended; None: nothing, it cannot be of this part.

    Args:
        send: the document of the send, without this id.
        part: which part of it the receipt names, from 0.
        provider_id: the messenger's id of that part.
    """
    parts, done, ids = send.get("parts", 0), send.get("parts_done", 0), list(send["provider_ids"])
    if part >= parts:
        return None
    if _rank(send) < SENT_RANK and part == done:
        # It was the one whose fate was not known: nothing after it went out.
        return Adoption([*ids, provider_id], done + 1, is_whole=done + 1 == parts)
    if (part < done or _rank(send) >= SENT_RANK) and len(ids) < parts:
        # The messenger took it without telling the id.
        return Adoption([*ids[:part], provider_id, *ids[part:]], done, is_whole=False)
    return None


def read_mark(mark: str | None) -> tuple[str, int] | None:
    """(message id, part) of a mark as `send_mark` makes it; None for anything else."""
    message_id, _, part = (mark or "").rpartition(".")
    if not message_id or not (part.isascii() and part.isdigit() and len(part) <= len(str(_PARTS_MAX))):
        return None
    return message_id, int(part)


def risen(send: Mapping[str, Any], receipt: ProviderReceipt) -> Rise | None:
    """What a receipt of one of its ids changes in a send that has ended; None: nothing.

    Each id rises by itself. The message is delivered or read when all its ids are; it is refused when one of
    them is, and reading a later part does not show the refused one. While the messenger has not taken every
    part, as with `unknown` and `failed`, no receipt of a part makes the message delivered.

    Args:
        send: the document of the send.
        receipt: of one of its `provider_ids`.
    """
    if receipt.state is MessageState.SENT or receipt.provider_id is None:
        return None  # an id is known because the messenger took its part
    ids: list[str] = send["provider_ids"]
    until = ids.index(receipt.provider_id)
    touched = ids[: until + 1] if receipt.and_earlier else ids[until : until + 1]
    return _rise(send, touched, receipt)


def wholly_risen(send: Mapping[str, Any], receipt: ProviderReceipt) -> Rise | None:
    """What a receipt of a later message changes in a send the messenger took; None: nothing."""
    mark = mark_of("", receipt)
    if _rank(send) >= mark_rank(mark):
        return None
    rise = _rise(send, send["provider_ids"], receipt)
    marks = list(send.get("marks", [])) if rise is None else rise.marks
    return Rise(marks, receipt.state, mark)  # the messenger may have told no id at all


def risen_until(send: Mapping[str, Any], receipt: ProviderReceipt) -> Rise | None:
    """What a watermark changes in a send the messenger took; None: nothing.

    It is about the parts that were said until then; of a message with some later ones only those rise.

    Args:
        send: the document of the send.
        receipt: with `up_to`.
    """
    if receipt.up_to is None:
        return None
    moments = said_at(send)
    reached = next((part for part, at in enumerate(moments) if at > receipt.up_to), len(moments))
    if reached == len(moments):
        return wholly_risen(send, receipt)
    ids: list[str] = send["provider_ids"]
    # With more ids than parts, or fewer, nobody knows which are whose: then it waits for the whole.
    return _rise(send, ids[:reached], receipt) if reached and len(ids) == len(moments) else None


def said_at(send: Mapping[str, Any]) -> list[datetime]:
    """When each part of a send was said: as the messenger told, else when our last call for it began."""
    told: Mapping[str, datetime] = send.get("told", {})
    began: dict[int, datetime] = {attempt["part"]: attempt["at"] for attempt in send.get("attempts", ())}
    return [
        told.get(str(part)) or began.get(part) or send["accepted_at"]
        for part in range(max(1, send.get("parts", 1)))
    ]


def _rise(send: Mapping[str, Any], touched: Sequence[str], receipt: ProviderReceipt) -> Rise | None:
    marks = {mark["id"]: mark for mark in send.get("marks", [])}
    before = dict(marks)
    for provider_id in touched:
        fresh = mark_of(provider_id, receipt)
        is_its_own = provider_id == receipt.provider_id
        if not is_its_own and mark_rank(marks.get(provider_id)) == LATE_REFUSAL_RANK:
            continue  # only a receipt of its own proves a refusal wrong
        if mark_rank(fresh) > mark_rank(marks.get(provider_id)):
            marks[provider_id] = fresh
    if marks == before:
        return None
    ranked = [marks.get(provider_id) for provider_id in send["provider_ids"]]
    refused = next((one for one in ranked if mark_rank(one) == LATE_REFUSAL_RANK), None)
    lowest = min(ranked, key=mark_rank) if refused is None else refused
    is_complete = refused is not None or _rank(send) >= SENT_RANK
    if lowest is None or not is_complete or mark_rank(lowest) <= _rank(send):
        return Rise(list(marks.values()), None, None)
    # Of those equally low the one that came last says when and why.
    by = marks[touched[-1]] if mark_rank(marks[touched[-1]]) == mark_rank(lowest) else lowest
    return Rise(list(marks.values()), MessageState(lowest["state"]), by)


def _rank(send: Mapping[str, Any]) -> float:
    state = MessageState(send["state"])
    if state is MessageState.FAILED and send.get("refused_late"):
        return LATE_REFUSAL_RANK
    return STATE_RANK[state]


def mark_of(provider_id: str, receipt: ProviderReceipt) -> Document:
    failure = receipt.failure
    return {
        "id": provider_id,
        "state": receipt.state.value,
        "failure": None if failure is None else failure.model_dump(mode="json"),
        "contact_blocked": receipt.contact_blocked,
        "at": receipt.happened_at,
    }


def mark_rank(mark: Mapping[str, Any] | None) -> float:
    if mark is None:
        return 0.0
    state = MessageState(mark["state"])
    return LATE_REFUSAL_RANK if state is MessageState.FAILED else STATE_RANK[state]


def states_below(state: MessageState) -> list[MessageState]:
    """What a message the messenger took can rise from to this state."""
    return [
        lower
        for lower in (MessageState.SENT, MessageState.DELIVERED)
        if STATE_RANK[lower] < STATE_RANK[state]
    ]
