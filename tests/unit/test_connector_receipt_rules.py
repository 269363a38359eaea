"""The rules of receipts: ids rise one by one, a message when all of its ids have, and nothing ever falls."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from msgkit.connector.contract import ProviderReceipt, send_mark
from msgkit.connector.receipt_rules import adoption, read_mark, risen, wholly_risen
from msgkit.contracts.events import Failure
from msgkit.contracts.words import FailureCode, MessageState

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
REFUSAL = Failure(code=FailureCode.REJECTED, text="Не показано.")


def send(*ids: str, state: str = "sent", **more: Any) -> dict[str, Any]:
    return {"_id": "m", "conversation_id": "c", "provider_ids": list(ids), "state": state, **more}


def said(provider_id: str, word: str, *, and_earlier: bool = False) -> ProviderReceipt:
    state: Any = MessageState(word)
    failure = REFUSAL if word == "failed" else None
    return ProviderReceipt("c", provider_id, state, and_earlier, failure, False, AT)


def after(document: dict[str, Any], *receipts: ProviderReceipt) -> tuple[str, bool]:
    """The state of the message after these receipts, and whether it was refused late."""
    for receipt in receipts:
        rise = risen(document, receipt)
        if rise is None:
            continue
        document = {**document, "marks": rise.marks}
        if rise.state is not None:
            document["state"] = rise.state.value
            document["refused_late"] = rise.state is MessageState.FAILED
    return document["state"], bool(document.get("refused_late"))


ONE_PART: list[tuple[tuple[str, ...], tuple[str, bool]]] = [
    (("delivered",), ("delivered", False)),
    (("read",), ("read", False)),
    (("failed",), ("failed", True)),
    (("failed", "delivered"), ("delivered", False)),
    (("delivered", "read"), ("read", False)),
    (("delivered", "failed"), ("delivered", False)),
    (("failed", "delivered", "read"), ("read", False)),
]


@pytest.mark.parametrize(("words", "wanted"), ONE_PART)
def test_one_part_in_every_order_and_doubled(words: tuple[str, ...], wanted: tuple[str, bool]) -> None:
    for order in permutations(words * 2):
        assert after(send("1"), *(said("1", word) for word in order)) == wanted, order


def test_two_parts_are_delivered_and_read_when_both_are() -> None:
    first = (said("1", "delivered"), said("1", "read"))
    assert after(send("1", "2"), *first) == ("sent", False)
    assert after(send("1", "2"), *first, said("2", "delivered")) == ("delivered", False)
    assert after(send("1", "2"), *first, said("2", "read")) == ("read", False)


def test_reading_a_later_part_is_reading_the_earlier_ones() -> None:
    assert after(send("1", "2", "3"), said("2", "read", and_earlier=True)) == ("sent", False)
    assert after(send("1", "2", "3"), said("3", "read", and_earlier=True)) == ("read", False)


@pytest.mark.parametrize("order", list(permutations(["1 delivered", "2 failed"])))
def test_one_refused_part_fails_the_message(order: tuple[str, ...]) -> None:
    receipts = [said(*text.split()) for text in order]
    assert after(send("1", "2"), *receipts) == ("failed", True)
    assert after(send("1", "2"), *receipts, said("2", "delivered")) == ("delivered", False)


@pytest.mark.parametrize(
    "receipts",
    [
        [said("1", "failed"), said("2", "read", and_earlier=True)],
        [
            said("1", "delivered"),
            said("1", "failed"),
            said("2", "failed"),
            said("3", "read", and_earlier=True),
        ],
    ],
    ids=["one of two", "one of three"],
)
def test_reading_a_later_part_does_not_show_a_refused_one(receipts: list[ProviderReceipt]) -> None:
    ids = sorted({receipt.provider_id for receipt in receipts})
    for order in (receipts, [*receipts, *receipts]):
        assert after(send(*ids), *order) == ("failed", True)
    proofs = [said(id_, "delivered") for id_ in ids]
    assert after(send(*ids), *receipts, *proofs) == ("delivered", False)


@pytest.mark.parametrize("state", ["unknown", "failed"])
def test_a_known_part_does_not_deliver_a_message_whose_rest_is_not_known(state: str) -> None:
    """Part 1 was taken, what became of part 2 nobody knows: its delivery would be a lie."""
    document = send("1", state=state)
    assert after(document, said("1", "delivered"), said("1", "read")) == (state, False)
    assert after(document, said("1", "failed")) == ("failed", True)


def test_a_repeat_changes_nothing() -> None:
    rise = risen(send("1"), said("1", "delivered"))
    assert rise is not None
    assert risen(send("1", state="delivered", marks=rise.marks), said("1", "delivered")) is None
    assert risen(send("1", state="read", marks=rise.marks), said("1", "delivered")) is None


def test_a_message_without_ids_is_read_with_what_came_after_it() -> None:
    rise = wholly_risen(send(), said("9", "read", and_earlier=True))
    assert rise is not None
    assert rise.state is MessageState.READ
    assert wholly_risen(send(state="read"), said("9", "read", and_earlier=True)) is None


def test_that_it_was_sent_says_nothing_new_of_an_id_we_know() -> None:
    assert risen(send("1"), said("1", "sent")) is None
    assert risen(send("1", state="unknown"), said("1", "sent")) is None


ADOPTIONS: list[tuple[dict[str, Any], int, tuple[list[str], int, bool] | None]] = [
    # the one part, unanswered
    (send(state="unknown", parts=1, parts_done=0), 0, (["new"], 1, True)),
    # refused in error: the receipt proves it wrong
    (send(state="failed", parts=1, parts_done=0), 0, (["new"], 1, True)),
    # the last of three
    (send("1", "2", state="unknown", parts=3, parts_done=2), 2, (["1", "2", "new"], 3, True)),
    # the second of three: the third never went out
    (send("1", state="unknown", parts=3, parts_done=1), 1, (["1", "new"], 2, False)),
    # a part that was taken without telling its id
    (send("2", state="sent", parts=2, parts_done=1), 0, (["new", "2"], 1, False)),
    (send("1", state="sent", parts=2, parts_done=1), 1, (["1", "new"], 1, False)),
    # every part has its id: this one is of nobody
    (send("1", "2", state="sent", parts=2, parts_done=1), 1, None),
    # a part that was never tried, and one that is none
    (send("1", state="unknown", parts=3, parts_done=1), 2, None),
    (send(state="unknown", parts=1, parts_done=0), 1, None),
    # cancelled before it came
    (send(state="failed"), 0, None),
]


@pytest.mark.parametrize(("document", "part", "wanted"), ADOPTIONS)
def test_an_id_that_only_the_mark_tells(
    document: dict[str, Any], part: int, wanted: tuple[list[str], int, bool] | None
) -> None:
    adopted = adoption(document, part, "new")
    assert (None if adopted is None else (adopted.provider_ids, adopted.parts_done, adopted.is_whole)) == (
        wanted
    )


@pytest.mark.parametrize(
    ("mark", "wanted"),
    [
        (send_mark("a" * 32, 0), ("a" * 32, 0)),
        (send_mark("a.b", 12), ("a.b", 12)),
        (None, None),
        ("", None),
        ("65f0c1", None),
        (".1", None),
        ("a.", None),
        ("a.-1", None),
        ("a.²", None),
        ("a.99999999999999999999", None),
    ],
)
def test_a_mark_is_read_only_as_we_write_it(mark: str | None, wanted: tuple[str, int] | None) -> None:
    assert read_mark(mark) == wanted
