"""Traces as files: one line of OTLP-JSON per batch, readable by any collector, without one running."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes

FILE_BYTES = 32 * 1024 * 1024
"""A full file becomes `.1` and replaces the former `.1`: a service keeps at most two."""


class TraceFiles(SpanExporter):
    """Appends spans to `<folder>/<name>.jsonl`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.jsonl"

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Writes one line. Called by the batch processor's own thread."""
        if not spans:
            return SpanExportResult.SUCCESS
        line = json.dumps(_resource_spans(spans), ensure_ascii=False, separators=(",", ":"))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists() and self._path.stat().st_size > FILE_BYTES:
                self._path.replace(self._path.with_suffix(".jsonl.1"))
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS


def _resource_spans(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(spans[0].resource.attributes)},
                "scopeSpans": [{"scope": {"name": "msgkit"}, "spans": [_span(item) for item in spans]}],
            }
        ]
    }


def _span(item: ReadableSpan) -> dict[str, Any]:
    context = item.context
    assert context is not None
    found: dict[str, Any] = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "name": item.name,
        # OTLP counts kinds from 1 (0 is "unspecified"), the SDK from 0.
        "kind": item.kind.value + 1,
        # 64-bit numbers are strings in protobuf's JSON.
        "startTimeUnixNano": str(item.start_time),
        "endTimeUnixNano": str(item.end_time),
        "attributes": _attributes(item.attributes),
        "events": [
            {
                "name": event.name,
                "timeUnixNano": str(event.timestamp),
                "attributes": _attributes(event.attributes),
            }
            for event in item.events
        ],
        "links": [
            {"traceId": f"{link.context.trace_id:032x}", "spanId": f"{link.context.span_id:016x}"}
            for link in item.links
        ],
        "status": {"code": item.status.status_code.value, "message": item.status.description or ""},
    }
    if item.parent is not None:
        found["parentSpanId"] = f"{item.parent.span_id:016x}"
    return found


def _attributes(attributes: Attributes | Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in (attributes or {}).items()]


def _value(value: object) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case Sequence():
            return {"arrayValue": {"values": [_value(part) for part in value]}}
        case _:
            return {"stringValue": str(value)}
