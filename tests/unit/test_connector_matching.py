"""Which contact a person is: ids known, unknown, changed, given up, taken over, and said in any order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from msgkit.connector.contract import PersonSeen
from msgkit.connector.matching import Alias, Matched, match

T = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
B, B2 = "bsuid:UA.1", "bsuid:UA.2"
P, P2 = "phone:380671112233", "phone:380502223344"


def seen(
    *ids: str, also: tuple[str, ...] = (), retired: tuple[str, ...] = (), at: int = 0, key: str = ""
) -> PersonSeen:
    return PersonSeen(key or ids[0], ids, also, retired, ids[-1], T + timedelta(seconds=at))


def after(*people: PersonSeen) -> tuple[Matched, dict[str, Alias]]:
    """All of them, one webhook each."""
    rows: dict[str, Alias] = {}
    matched = Matched()
    for person in people:
        one = match([person], rows)
        matched.contacts += one.contacts
        matched.conflicts += one.conflicts
        matched.robbed += one.robbed
        matched.moved += one.moved
    return matched, rows


CASES: list[tuple[str, list[PersonSeen], list[str]]] = [
    ("the same again", [seen(P), seen(P)], [P, P]),
    ("phone first, then both, then the BSUID alone", [seen(P), seen(B, P), seen(B)], [P, P, P]),
    ("BSUID first, then both, then the phone alone", [seen(B), seen(B, P), seen(P)], [B, B, B]),
    ("two people", [seen(B, P), seen(B2, P2), seen(P), seen(P2)], [B, B2, B, B2]),
    ("another spelling is found and not remembered", [seen(P), seen(P2, also=(P,))], [P, P]),
    ("another spelling of nobody", [seen(P, also=(P2,)), seen(P2)], [P, P2]),
    ("the id itself before another spelling", [seen(P), seen(P2), seen(P, also=(P2,))], [P, P2, P]),
    ("ids of two contacts: the strongest", [seen(B), seen(P), seen(B, P), seen(P)], [B, P, B, P]),
    (
        "a new number",
        [seen(B, P), seen(B2, P2, retired=(B, P), at=5), seen(B2, P2, at=6), seen(P2, at=7)],
        [B, B, B, B],
    ),
    (
        "a new number without BSUIDs",
        [seen(P), seen(P2, retired=(P,), at=5), seen(P2, at=6)],
        [P, P, P],
    ),
    (
        "a late word from the old number",
        [seen(P), seen(P2, retired=(P,), at=5), seen(P, at=4), seen(P, at=5)],
        [P, P, P, P],
    ),
    (
        "the old number is somebody else's later",
        [seen(B, P), seen(B2, P2, retired=(B, P), at=5), seen("bsuid:UA.3", P, at=60), seen(P, at=61)],
        [B, B, "bsuid:UA.3", "bsuid:UA.3"],
    ),
    (
        "and its key is not that of its first owner",
        [
            seen(P),
            seen(P2, retired=(P,), at=5),
            seen(P, at=60),
            seen(P, at=61),
            seen("phone:3", retired=(P,), at=70),
            seen(P, at=80),
        ],
        [P, P, f"{P}~2", f"{P}~2", f"{P}~2", f"{P}~3"],
    ),
    (
        "a late word of its first owner is still the first owner's",
        [seen(P), seen(P2, retired=(P,), at=5), seen(P, at=60), seen(P, at=3)],
        [P, P, f"{P}~2", P],
    ),
    (
        "the change said twice, the second time after the old number passed on",
        [
            seen(P),
            seen(P2, retired=(P,), at=5),
            seen(P, at=60),
            seen(P2, retired=(P,), at=5),
            seen(P, at=61),
        ],
        [P, P, f"{P}~2", P, f"{P}~2"],
    ),
    (
        "back to the old number",
        [
            seen(P),
            seen(P2, retired=(P,), at=5),
            seen(P, retired=(P2,), at=9),
            seen(P2, retired=(P,), at=5),
            seen(P, at=10),
        ],
        [P, P, P, P, P],
    ),
    (
        "the new number had been somebody else's, who never said a word of it",
        [seen(P2, at=-9), seen(P), seen(P2, retired=(P,), at=5), seen(P2, at=6), seen(P2, at=-9)],
        [P2, P, P, P, P2],
    ),
    (
        "he wrote from the new number before the word of the change came",
        [seen(P), seen(P2, at=6), seen(P2, retired=(P,), at=5), seen(P2, at=7)],
        [P, P2, P2, P2],
    ),
    (
        "two contacts wrote with the new ids before the word of the change came: each keeps its own",
        [seen(B, P), seen(B2, at=6), seen(P2, at=6), seen(B2, P2, retired=(B, P), at=5), seen(P2, at=7)],
        [B, B2, P2, B2, P2],
    ),
    ("a change of somebody never seen", [seen(P2, retired=(P,), at=5), seen(P, at=4)], [P2, P2]),
]


@pytest.mark.parametrize(("people", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_who_is_who(people: list[PersonSeen], wanted: list[str]) -> None:
    matched, rows = after(*people)
    assert matched.contacts == wanted
    again = dict(rows)
    match(people, again)
    assert again == rows, "all of it once more changes nothing"


@pytest.mark.parametrize(("people", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_webhook_with_all_of_it_is_the_same(people: list[PersonSeen], wanted: list[str]) -> None:
    assert match(people, {}).contacts == wanted


def test_an_id_of_two_contacts_is_counted_and_nothing_is_merged() -> None:
    matched, rows = after(seen(B), seen(P), seen(B, P))
    assert matched.conflicts == 1
    assert (rows[B].contact_key, rows[P].contact_key) == (B, P)


def test_who_lost_his_number_is_named_also_on_a_repeat() -> None:
    change = seen(P2, retired=(P,), at=5)
    matched, _ = after(seen(P2, at=-9), seen(P), change, change)
    assert matched.robbed == [(P2, P2), (P2, P2)]
    matched, _ = after(seen(P), change, seen(P, retired=(P2,), at=9), seen(P, retired=(P2,), at=9))
    assert matched.robbed == [], "nobody robs himself"


def test_the_dialogue_left_behind_is_named_so_that_it_reaches_the_person() -> None:
    matched, _ = after(seen(P), seen(P2, at=6), seen(P2, retired=(P,), at=5))
    assert matched.moved == [None, None, P]


def only_known(*ids: str, also: tuple[str, ...] = (), at: int = 0) -> PersonSeen:
    return replace(seen(*ids, also=also, at=at), is_known_only=True)


@pytest.mark.parametrize(
    ("before", "looked_for", "wanted"),
    [
        ([], only_known(P), None),
        ([seen(B, P)], only_known(P), B),
        ([seen(P)], only_known(P2, also=(P,)), P),
        ([seen(P), seen(P2, retired=(P,), at=5)], only_known(P, at=9), None),
        ([seen(P), seen(P2, retired=(P,), at=5)], only_known(P2, at=9), P),
    ],
    ids=["nobody", "by one id", "by another spelling", "a number given up", "the number now"],
)
def test_who_is_only_looked_for_is_found_and_nothing_is_remembered(
    before: list[PersonSeen], looked_for: PersonSeen, wanted: str | None
) -> None:
    _, rows = after(*before)
    known = dict(rows)
    matched = match([looked_for], rows)
    assert (matched.contacts, matched.moved, matched.robbed) == ([wanted], [None], [])
    assert rows == known


def test_who_is_looked_for_and_writes_in_one_webhook_is_found_whatever_comes_first() -> None:
    for people in ([only_known(P), seen(B, P)], [seen(B, P), only_known(P)]):
        assert match(people, {}).contacts == [B, B]


def test_what_others_may_share_is_written_first() -> None:
    matched = match([seen(B, "bsuid:ENT.1", P, retired=(P2,))], {})
    assert matched.waves == {P: 0, P2: 0, "bsuid:ENT.1": 1, B: 2}


def test_what_this_call_stored_before_it_lost_gives_way() -> None:
    """We stored P for B, then found that somebody knows B's other id as another contact."""
    other = Alias("bsuid:ENT.1", "bsuid:ENT.1", T, None, rev=1)
    rows = {P: Alias(P, B, T, None, rev=1), "bsuid:ENT.1": other}
    matched = match([seen(B, "bsuid:ENT.1", P)], rows, ours=frozenset({P}))
    assert matched.contacts == ["bsuid:ENT.1"]
    assert {row.contact_key for row in rows.values()} == {"bsuid:ENT.1"}
