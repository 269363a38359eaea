"""Token buckets: bursts pass, floods wait, and strangers cannot fill the memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import Buckets


class _Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_the_next_one_waits() -> None:
    time = _Time()
    buckets = Buckets(per_second=2, burst=3, clock=time)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 1]
    time.now += 0.5
    assert [buckets.take("a"), buckets.take("a")] == [0, 1]


def test_keys_do_not_share() -> None:
    buckets = Buckets(per_second=1, burst=1, clock=_Time())
    assert [buckets.take("a"), buckets.take("b"), buckets.take("a")] == [0, 0, 1]


def test_the_wait_is_long_enough() -> None:
    time = _Time()
    buckets = Buckets(per_second=0.1, burst=1, clock=time)
    buckets.take("a")
    time.now += buckets.take("a")
    assert buckets.take("a") == 0


def test_zero_means_no_limit() -> None:
    buckets = Buckets(per_second=0, burst=0, clock=_Time())
    assert {buckets.take("a") for _ in range(1000)} == {0}


def test_memory_is_bounded() -> None:
    buckets = Buckets(per_second=1, burst=1, clock=_Time(), max_keys=2)
    for key in "abc":
        buckets.take(key)
    assert buckets.take("c") == 1
    assert buckets.take("a") == 0  # forgotten, hence full again


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=60))
def test_never_more_than_the_rate_allows(pauses: list[float]) -> None:
    time = _Time()
    buckets = Buckets(per_second=2, burst=5, clock=time)
    passed = 0
    for pause in pauses:
        time.now += pause
        passed += buckets.take("a") == 0
    assert passed <= 5 + 2 * sum(pauses) + 1e-6
