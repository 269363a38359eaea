"""Our own histogram says to Prometheus what the library's would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from msgkit.runtime import metrics
from msgkit.runtime.metrics import BatchHistogram

BOUNDS = (0.01, 0.5, 1, 60)


@given(st.lists(st.lists(st.floats(0, 100)), max_size=4))
def test_a_batch_counts_as_its_values_one_by_one(batches: list[list[float]]) -> None:
    theirs_in, ours_in = CollectorRegistry(), CollectorRegistry()
    theirs = Histogram("took_seconds", "What it took", ["kind"], buckets=BOUNDS, registry=theirs_in)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "REGISTRY", ours_in)
        ours = BatchHistogram("took_seconds", "What it took", "kind", BOUNDS)
    for batch in batches:
        ours.observe_all("viber_bot", batch)
        each = theirs.labels(kind="viber_bot")
        for value in batch:
            each.observe(value)
    assert _series(ours_in) == pytest.approx(_series(theirs_in))


def test_a_clock_that_runs_ahead_counts_as_no_time() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "REGISTRY", CollectorRegistry())
        ours = BatchHistogram("took_seconds", "What it took", "kind", BOUNDS)
        ours.observe_all("viber_bot", [-3.0])
        assert _series(metrics.REGISTRY)['took_seconds_sum{kind="viber_bot"}'] == 0
        assert _series(metrics.REGISTRY)['took_seconds_bucket{kind="viber_bot",le="0.01"}'] == 1


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="Duplicated"):
        BatchHistogram("rozmova_inbound_e2e_seconds", "again", "kind", BOUNDS)


def _series(registry: CollectorRegistry) -> dict[str, float]:
    lines = generate_latest(registry).decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if "#" not in name
    }
