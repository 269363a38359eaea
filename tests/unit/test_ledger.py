"""The checker finds every kind of broken promise, and is silent about kept ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from msgkit.testing.ledger import Answer, Ledger, check

KEPT = Ledger(
    written={"olena": ["1", "2", "3"]},
    shown={"olena": ["1", "2", "3"]},
    answers=[
        Answer("olena", "a", accepted=True, state="sent"),
        Answer("olena", "b", accepted=True, state="unknown"),
        Answer("olena", "c", accepted=True, state="failed"),
        Answer("olena", "d", accepted=True, state="sent"),
    ],
    phones={"olena": ["a", "d"]},
    windows=[{"olena": ["1", "2", "3"]}],
)


def test_kept_promises_are_clean() -> None:
    verdict = check(KEPT)
    assert verdict.clean, verdict.complaints
    assert (verdict.attempt, verdict.acked, verdict.ok, verdict.unknown) == (7, 7, 7, 1)


def test_an_unknown_answer_may_have_arrived_once() -> None:
    assert check(replace(KEPT, phones={"olena": ["a", "b", "d"]})).clean


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (replace(KEPT, shown={"olena": ["1", "3"]}), "lost"),
        (replace(KEPT, shown={}), "lost"),
        (replace(KEPT, shown={"olena": ["1", "2", "2", "3"]}), "duplicated"),
        (replace(KEPT, shown={"olena": ["2", "1", "3"]}), "order_violations"),
        (replace(KEPT, phones={"olena": ["a", "a", "d"]}), "duplicated"),
        (replace(KEPT, phones={"olena": ["a", "b", "b", "d"]}), "duplicated"),
        (replace(KEPT, phones={"olena": ["d", "a"]}), "order_violations"),
        (replace(KEPT, phones={"olena": ["a"]}), "lost"),
        (replace(KEPT, answers=[Answer("olena", "a", accepted=True, state="queued")]), "lost"),
    ],
)
def test_a_broken_promise_is_counted(broken: Ledger, field: str) -> None:
    verdict = check(broken)
    assert not verdict.clean
    assert getattr(verdict, field) >= 1


@pytest.mark.parametrize(
    "broken",
    [
        replace(KEPT, shown={"olena": ["1", "2", "3", "ghost"]}),
        replace(KEPT, shown={**KEPT.shown, "taras": ["ghost"]}),
        replace(KEPT, phones={"olena": ["a", "c", "d"]}),
        replace(KEPT, phones={"olena": ["a", "d", "ghost"]}),
        replace(KEPT, windows=[{"olena": ["1", "3"]}]),
        replace(KEPT, windows=[{"olena": ["1", "2", "2", "3"]}]),
        replace(KEPT, windows=[{}]),
    ],
)
def test_a_lie_is_a_complaint(broken: Ledger) -> None:
    verdict = check(broken)
    assert not verdict.clean
    assert verdict.complaints
