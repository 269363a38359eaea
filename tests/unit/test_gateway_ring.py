"""The ring: who reads from it or comes back to it sees each event once, in order, or has to start anew."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule

from gateway.ring import Entry, Position, Push, Ring


def _entry(pos: int, *, events: int = 1, at: float | None = None, size: int = 10) -> Entry:
    pushes = tuple(Push("salon", None, None, f"{pos}.{n}" + "x" * size) for n in range(events))
    return Entry(pos, f"id{pos}", float(pos) if at is None else at, pushes)


def _ring(count: int, **limits: int) -> Ring:
    ring = Ring("e1", **limits)
    for pos in range(count):
        ring.append(_entry(pos))
    return ring


SMALL = {"hot_bytes": 3_000, "segment_bytes": 1_500, "max_bytes": 20_000}


def test_what_follows_a_position_comes_in_order() -> None:
    ring = _ring(100, **SMALL)
    assert [entry.pos for entry in ring.after(ring.last.pos - 5 if ring.last else 0, 10**9)] == list(
        range(95, 100)
    )
    assert [entry.pos for entry in ring.after(-1, 10**9)] == list(range(100))


def test_sealed_parts_say_the_same_as_before() -> None:
    ring, plain = _ring(60, **SMALL), _ring(60)
    assert [(e.pos, e.id, e.at, [p.data for p in e.pushes]) for e in ring.after(-1, 10**9)] == [
        (e.pos, e.id, e.at, [p.data for p in e.pushes]) for e in plain.after(-1, 10**9)
    ]


def test_a_page_is_limited_but_never_empty() -> None:
    ring = _ring(50, **SMALL)
    assert [entry.pos for entry in ring.after(10, 1)] == [11]


@pytest.mark.parametrize("pos", [0, 7, 30, 59])
def test_it_holds_what_it_holds(pos: int) -> None:
    ring = _ring(60, **SMALL)
    assert ring.holds(pos, f"id{pos}")
    assert not ring.holds(pos, "another")
    assert not ring.holds(60, "id60")
    assert not ring.holds(-1, "id-1")


def test_before_the_first_entry_of_a_stream_nothing_is_missing() -> None:
    young, old = _ring(3), _ring(10, max_events=5)
    assert young.holds(-1, "")
    assert not young.holds(-1, "id0"), "it names something that was never there"
    assert not old.holds(-1, ""), "the first ones are gone"
    assert not Ring("e1").holds(-1, ""), "nobody knows yet where the stream stands"


def test_old_entries_go_by_count_and_by_bytes() -> None:
    by_count = Ring("e", max_events=10, **{**SMALL, "max_bytes": 10**9})
    by_bytes = Ring("e", **SMALL)
    for pos in range(2_000):
        by_count.append(_entry(pos))
        by_bytes.append(_entry(pos))
    assert by_count.events <= 10
    assert by_bytes.size_bytes <= 20_000
    for ring in (by_count, by_bytes):
        assert ring.last == Position(1_999, "id1999")
        assert not ring.holds(0, "id0")
        assert not ring.has_after(0)


def test_one_huge_entry_does_not_empty_it_of_the_newest() -> None:
    ring = Ring("e", max_events=5, **SMALL)
    ring.append(_entry(0, events=20, size=1_000))
    ring.append(_entry(1))
    assert ring.last == Position(1, "id1")


def test_offsets_may_have_holes() -> None:
    ring = Ring("e1")
    for pos in (3, 4, 9):
        ring.append(_entry(pos))
    assert [entry.pos for entry in ring.after(4, 10**9)] == [9]
    assert not ring.holds(5, "id5")
    assert (ring.has_after(2), ring.has_after(1)) == (True, False)


def test_order_is_demanded() -> None:
    ring = _ring(3)
    with pytest.raises(ValueError, match="offset 2 after 2"):
        ring.append(_entry(2))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (50.0, Position(50, "id50")),
        (50.5, Position(50, "id50")),
        (1000.0, Position(99, "id99")),
        (-1.0, Position(-1, "")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("limits", [{}, SMALL | {"max_bytes": 10**9}], ids=["hot", "sealed"])
def test_a_position_by_time(at: float, expected: Position, limits: dict[str, int]) -> None:
    assert _ring(100, **limits).position_before(at) == expected


def test_an_empty_ring_has_no_position() -> None:
    ring = Ring("e")
    assert (ring.last, ring.position_before(0), ring.has_after(0)) == (None, None, False)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(0, 400), st.integers(1, 4_000))
def test_reading_page_by_page_misses_nothing(events: list[int], start: int, page: int) -> None:
    ring = Ring("e", hot_bytes=2_000, segment_bytes=700)
    for pos, count in enumerate(events):
        ring.append(_entry(pos, events=count))
    at, seen = start - 1, []
    while found := ring.after(at, page):
        seen += [entry.pos for entry in found]
        at = found[-1].pos
    assert seen == list(range(start, len(events)))


@dataclass
class _Client:
    epoch: str
    start: Position
    pos: Position
    seen: list[int] = field(default_factory=list)


class Resuming(RuleBasedStateMachine):
    """Windows read, go, come back; the stream grows, is restored, is replaced; old parts are dropped."""

    clients = Bundle("clients")

    @initialize()
    def begin(self) -> None:
        self.ring = Ring("e0", max_events=120, hot_bytes=2_500, segment_bytes=900, max_bytes=12_000)
        self.history: list[int] = []
        self.epochs = 0
        self.generation = 0
        self.next = 0
        self._append(1, 0)

    def _append(self, count: int, hole: int) -> None:
        for _ in range(count):
            pos = self.next + hole
            self.ring.append(Entry(pos, f"g{self.generation}.{pos}", float(pos), _entry(pos).pushes))
            self.history.append(pos)
            self.next = pos + 1

    @rule(count=st.integers(1, 40), hole=st.sampled_from([0, 0, 0, 1]))
    def grow(self, count: int, hole: int) -> None:
        self._append(count, hole)

    @rule(same_epoch=st.booleans(), back=st.integers(0, 30))
    def lose_the_stream(self, same_epoch: bool, back: int) -> None:
        """A new stream, or an old one restored: same name, same offsets, other envelopes."""
        self.generation += 1
        if not same_epoch:
            self.epochs += 1
        self.ring.reset(f"e{self.epochs}")
        self.history = []
        self.next = max(0, self.next - back) if same_epoch else 0
        self._append(3, 0)

    @rule(target=clients, back=st.integers(0, 10))
    def connect(self, back: int) -> _Client:
        start = self.ring.position_before(self.next - 1 - back)
        assert start is not None
        return _Client(self.ring.epoch, start, start)

    @rule(client=clients, page=st.integers(1, 3_000))
    def read(self, client: _Client, page: int) -> None:
        """A connected window takes its next frame; the server has checked that it may."""
        if not self._may_resume(client):
            return
        for entry in self.ring.after(client.pos.pos, page):
            client.seen.append(entry.pos)
            client.pos = Position(entry.pos, entry.id)

    @rule(client=clients)
    def come_back(self, client: _Client) -> None:
        if self._may_resume(client):
            client.seen += [entry.pos for entry in self.ring.after(client.pos.pos, 10**9)]
            last = self.ring.last
            assert last is not None
            client.pos = last
            # Gapless, in order, nothing twice: exactly the history since it began.
            assert client.seen == [pos for pos in self.history if pos > client.start.pos]
        else:
            start = self.ring.position_before(self.next - 4)
            assert start is not None
            client.epoch, client.start, client.pos, client.seen = self.ring.epoch, start, start, []

    def _may_resume(self, client: _Client) -> bool:
        return (
            client.epoch == self.ring.epoch
            and bool(client.pos.id)
            and self.ring.holds(client.pos.pos, client.pos.id)
        )


TestResuming = Resuming.TestCase
TestResuming.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
