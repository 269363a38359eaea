"""The rules of receipts: ids rise one by one, a message when all of its ids have, and nothing ever falls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgkit.connector.contract import ProviderReceipt, send_mark
from msgkit.connector.receipt_rules import adoption, read_mark, risen, risen_until, said_at, wholly_risen
from msgkit.contracts.events import Failure
from msgkit.contracts.words import LATE_REFUSAL_RANK, STATE_RANK, FailureCode, MessageState

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
    ids = sorted({receipt.provider_id for receipt in receipts if receipt.provider_id is not None})
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


# --- watermarks


def moment(second: float) -> datetime:
    return AT + timedelta(seconds=second)


def spoken(*seconds: float, told: dict[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """A send whose parts were called for at these seconds; `told` is what the messenger says of them."""
    ids = [f"{number}" for number in range(len(seconds))]
    return send(
        *more.pop("ids", ids),
        parts=len(seconds),
        accepted_at=moment(-60),
        attempts=[{"part": part, "at": moment(second)} for part, second in enumerate(seconds)],
        told={part: moment(second) for part, second in (told or {}).items()},
        **more,
    )


def until(second: float, word: str = "delivered") -> ProviderReceipt:
    state: Any = MessageState(word)
    return ProviderReceipt("c", None, state, False, None, False, AT, up_to=moment(second))


WATERMARKS: list[tuple[dict[str, Any], ProviderReceipt, str | None, list[str]]] = [
    (spoken(5), until(4.999), None, []),
    (spoken(5), until(5), "delivered", ["0"]),
    (spoken(5), until(9, "read"), "read", ["0"]),
    (spoken(5, state="delivered"), until(9), None, []),
    (spoken(5, state="delivered"), until(9, "read"), "read", ["0"]),
    # of two parts the first
    (spoken(5, 7), until(6), None, ["0"]),
    (spoken(5, 7), until(7), "delivered", ["0", "1"]),
    # the messenger's own time decides, whichever way it differs
    (spoken(5, told={"0": 8}), until(7), None, []),
    (spoken(5, told={"0": 3}), until(4), "delivered", ["0"]),
    (spoken(5, 7, told={"1": 9}), until(8), None, ["0"]),
    # an album of one call, and a part without an id: only the whole can be said of them
    (spoken(5, ids=["0", "0b", "0c"]), until(5), "delivered", ["0", "0b", "0c"]),
    (spoken(5, 7, ids=["0", "0b", "1"]), until(6), None, []),
    (spoken(5, ids=[]), until(5, "read"), "read", []),
    # the call was tried twice; the second one is meant
    (
        spoken(5) | {"attempts": [{"part": 0, "at": moment(1)}, {"part": 0, "at": moment(5)}]},
        until(3),
        None,
        [],
    ),
    # nothing of it is remembered: since it was accepted
    (spoken(5) | {"attempts": []}, until(0), "delivered", ["0"]),
]


@pytest.mark.parametrize(("document", "receipt", "state", "ids"), WATERMARKS)
def test_a_watermark_is_about_what_was_said_until_then(
    document: dict[str, Any], receipt: ProviderReceipt, state: str | None, ids: list[str]
) -> None:
    rise = risen_until(document, receipt)
    if rise is None:
        assert (state, ids) == (None, [])
        return
    assert (None if rise.state is None else rise.state.value) == state
    assert sorted(mark["id"] for mark in rise.marks) == ids


def test_when_the_parts_were_said() -> None:
    assert said_at(spoken(1, 2, 3, told={"1": 9})) == [moment(1), moment(9), moment(3)]
    assert said_at({"accepted_at": AT}) == [AT]


def test_a_watermark_does_not_show_a_refused_part() -> None:
    document = spoken(5, 7)
    refused = risen(document, said("0", "failed"))
    assert refused is not None
    document |= {"marks": refused.marks, "state": "failed", "refused_late": True}
    rise = risen_until(document, until(6, "read"))
    assert rise is None or rise.state is None


_PARTS = 3
_words = st.lists(
    st.one_of(
        st.builds(until, st.integers(0, 12), st.sampled_from(["delivered", "read"])),
        st.builds(said, st.sampled_from("012"), st.sampled_from(["delivered", "read"])),
    ),
    max_size=8,
)


def _heard(document: dict[str, Any], receipts: list[ProviderReceipt]) -> list[float]:
    """The rank of the message after each receipt."""
    ranks = []
    for receipt in receipts:
        rise = risen(document, receipt) if receipt.up_to is None else risen_until(document, receipt)
        if rise is not None:
            document = {**document, "marks": rise.marks}
            if rise.state is not None:
                document["state"] = rise.state.value
        ranks.append(STATE_RANK[MessageState(document["state"])])
    return ranks


@given(receipts=_words, order=st.randoms())
def test_in_any_order_nothing_falls_and_all_end_the_same(receipts: list[ProviderReceipt], order: Any) -> None:
    document = spoken(2, 5, 8)
    assert len(document["provider_ids"]) == _PARTS
    ranks = _heard(document, receipts)
    assert ranks == sorted(ranks)
    assert LATE_REFUSAL_RANK not in ranks
    shuffled = [*receipts, *receipts]
    order.shuffle(shuffled)
    assert _heard(document, shuffled)[-1:] == ranks[-1:]
