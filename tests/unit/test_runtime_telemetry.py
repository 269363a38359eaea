"""Traces: their ids travel, their number is limited, their files are OTLP-JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision

from msgkit.runtime import telemetry
from msgkit.runtime.settings import ServiceSettings
from msgkit.runtime.telemetry import (
    RateLimitedSampler,
    RequestSpans,
    configure_telemetry,
    current_traceparent,
    span,
)

SAMPLED = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
UNSAMPLED = "00-" + "c" * 32 + "-" + "d" * 16 + "-00"

Spans = Callable[[], list[dict[str, Any]]]


def _configure(folder: Path, rate: float) -> telemetry.Telemetry:
    settings = SimpleNamespace(instance="one", traces_dir=folder, trace_rate_per_s=rate)
    return configure_telemetry("testing", cast("ServiceSettings", settings))


@pytest.fixture
def spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Tracing into files; call it to end tracing and read them."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(telemetry, "_tracing", telemetry._Tracing())
    tracing = _configure(tmp_path, 1000)

    def read() -> list[dict[str, Any]]:
        tracing.close()
        lines = (tmp_path / "testing-one.jsonl").read_text().splitlines()
        batches = [json.loads(line)["resourceSpans"][0] for line in lines]
        return [found for batch in batches for found in batch["scopeSpans"][0]["spans"]]

    yield read
    tracing.close()


def test_a_traceparent_goes_out_and_comes_in(spans: Spans) -> None:
    with span("outer"):
        sent = current_traceparent()
    assert sent is not None
    with span(
        "inner", parent=sent, kind=trace.SpanKind.CONSUMER, attributes={"n": 1, "ok": True, "s": ["a"]}
    ):
        further = current_traceparent()
    assert further is not None
    outer, inner = spans()
    assert sent.startswith(f"00-{outer['traceId']}-{outer['spanId']}-")
    assert inner["traceId"] == outer["traceId"]
    assert inner["parentSpanId"] == outer["spanId"]
    assert inner["kind"] == 5
    assert {item["key"]: item["value"] for item in inner["attributes"]} == {
        "n": {"intValue": "1"},
        "ok": {"boolValue": True},
        "s": {"arrayValue": {"values": [{"stringValue": "a"}]}},
    }
    assert "parentSpanId" not in outer


def test_blocks_nest_without_passing_anything(spans: Spans) -> None:
    with span("outer"), span("inner"):
        pass
    inner, outer = spans()
    assert inner["parentSpanId"] == outer["spanId"]


def test_the_block_gives_the_surrounding_span_back(spans: Spans) -> None:
    assert current_traceparent() is None
    with span("outer"):
        before = current_traceparent()
        with pytest.raises(KeyError), span("inner"):
            raise KeyError("x")
        assert current_traceparent() == before
    assert current_traceparent() is None
    inner, outer = spans()
    assert (inner["status"]["code"], outer["status"]["code"]) == (2, 0)
    assert inner["events"][0]["name"] == "exception"


def test_what_the_root_does_not_record_nobody_records_but_the_ids_travel(spans: Spans) -> None:
    with span("a", parent=UNSAMPLED):
        assert current_traceparent() == UNSAMPLED
        with span("b"):
            assert current_traceparent() == UNSAMPLED
    with span("c", parent=SAMPLED):
        assert str(current_traceparent()).startswith("00-" + "a" * 32)
    assert [found["name"] for found in spans()] == ["c"]


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "00",
        "00-x-y-z",
        SAMPLED.replace("a", "g"),
        "01" + SAMPLED[2:],
        SAMPLED + "-x",
        "00-" + "0" * 32 + SAMPLED[35:],
    ],
)
def test_an_unreadable_traceparent_starts_a_trace_of_its_own(spans: Spans, bad: str) -> None:
    with span("a", parent=bad):
        pass
    assert "parentSpanId" not in spans()[0]


def test_without_a_place_to_write_nothing_is_recorded_but_lines_can_be_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telemetry, "_tracing", telemetry._Tracing())
    with span("a") as outer, span("b"):
        assert not outer.is_recording()
        assert str(current_traceparent()).endswith("-00")


def test_the_sampler_lets_through_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(telemetry, "time", SimpleNamespace(monotonic=lambda: now))
    sampler = RateLimitedSampler(10)

    def sampled(times: int) -> int:
        results = [sampler.should_sample(None, 1, "x").decision for _ in range(times)]
        return results.count(Decision.RECORD_AND_SAMPLE)

    assert sampled(1000) == 10
    assert sampler.exhausted
    now += 0.5
    assert not sampler.exhausted
    assert sampled(1000) == 5
    now += 3600
    assert sampled(1000) == 10, "unused budget does not pile up"


def test_load_does_not_pay_for_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_tracing", telemetry._Tracing())
    tracing = _configure(tmp_path, 1)
    recorded = 0
    for _ in range(500):
        with span("root") as current, span("child") as child:
            assert current.is_recording() == child.is_recording(), "a trace is whole or not there"
            recorded += current.is_recording()
    tracing.close()
    assert 1 <= recorded <= 3


def test_a_full_file_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spans: Spans) -> None:
    monkeypatch.setattr("msgkit.runtime.trace_files.FILE_BYTES", 10)
    (tmp_path / "testing-one.jsonl").write_text("x" * 11 + "\n")
    with span("a"):
        pass
    assert [found["name"] for found in spans()] == ["a"]
    assert (tmp_path / "testing-one.jsonl.1").read_text().startswith("xxx")


async def test_requests_are_named_by_route_and_only_the_inside_is_believed(spans: Spans) -> None:
    app = FastAPI()

    @app.get("/clients/{client}")
    async def client(client: str) -> str:
        return client

    for trusted in (True, False):
        wrapped = RequestSpans(app, continue_callers_trace=trusted)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(wrapped), base_url="http://t") as http:
            await http.get("/clients/7?q=380671234567", headers={"traceparent": SAMPLED})
            await http.get("/health/live")
    inside, outside = spans()
    assert inside["name"] == outside["name"] == "GET /clients/{client}"
    assert inside["traceId"] == "a" * 32
    assert outside["traceId"] != "a" * 32
    assert "67123" not in json.dumps([inside, outside])
    assert {"key": "http.response.status_code", "value": {"intValue": "200"}} in inside["attributes"]
