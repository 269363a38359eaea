"""Traces: few, whole, and without secrets. New ones are limited per second; children follow their parent."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msgkit.runtime.redaction import redactor
from msgkit.runtime.trace_files import TraceFiles

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, TraceState
    from opentelemetry.util.types import Attributes, AttributeValue

    from msgkit.runtime.settings import ServiceSettings

_CLOSE_SECONDS = 2.0
_EXPORT_DELAY_MS = 1000


@dataclass(frozen=True)
class Telemetry:
    """The tracing of this process."""

    provider: TracerProvider | None
    """None when nothing is exported: then spans cost nothing."""

    def close(self) -> None:
        """Writes what is still in memory, for at most 2 seconds. Blocks."""
        if self.provider is None:
            return
        # The exporter repeats for many seconds while a collector is away, whatever time it is given. A daemon
        # thread can be left behind: the process ends without it.
        closing = threading.Thread(target=self.provider.shutdown, name="telemetry-close", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


def configure_telemetry(service: str, settings: ServiceSettings) -> Telemetry:
    """Starts tracing: to OTEL_EXPORTER_OTLP_ENDPOINT if set, else to files in `traces_dir`, else nowhere."""
    exporter = _exporter(service, settings)
    if exporter is None or settings.trace_rate_per_s <= 0:
        return Telemetry(provider=None)
    limit = RateLimitedSampler(settings.trace_rate_per_s)
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.instance.id": settings.instance}),
        sampler=ParentBased(limit),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(ScrubbingExporter(exporter), schedule_delay_millis=_EXPORT_DELAY_MS)
    )
    _tracing.tracer = provider.get_tracer("msgkit")
    _tracing.limit = limit
    return Telemetry(provider=provider)


def tracer() -> trace.Tracer:
    """The tracer of this process; before configure_telemetry it makes no spans."""
    return _tracing.tracer


class _Tracing:
    """Holds the tracer, instead of OpenTelemetry's global provider.

    FastAPI traces by itself as soon as the global one is set: it follows trace headers of strangers, writes
    query strings (names, phone numbers) into spans, opens one per WebSocket and three more per request.
    """

    def __init__(self) -> None:
        self.tracer: trace.Tracer = trace.NoOpTracer()
        self.limit: RateLimitedSampler | None = None


_tracing = _Tracing()


def current_traceparent() -> str | None:
    """The current span as a W3C traceparent, to be sent along or stored; None outside a trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def sampled(traceparent: str | None) -> str | None:
    """The traceparent if its trace is recorded: load must not pay for carrying the others."""
    return traceparent if traceparent is not None and traceparent.endswith("-01") else None


def span(
    name: str,
    *,
    parent: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> AbstractContextManager[Span]:
    """A span around a block; an exception that leaves the block marks it as failed.

    Args:
        name: Few different ones: never an id in it.
        parent: A traceparent that came with a message or a request of ours; without it (or if it is
            unreadable) the current span is the parent. Never one from outside the system.
        kind: SERVER, CLIENT, PRODUCER, CONSUMER or INTERNAL.
        attributes: Ids and counts; never text, phones or tokens.
    """
    return _SpanBlock(name, parent, kind, attributes)


class _SpanBlock:
    """A class and not a generator: it is on the way of every message."""

    __slots__ = ("_attributes", "_kind", "_name", "_parent", "_span", "_token")

    def __init__(
        self, name: str, parent: str | None, kind: SpanKind, attributes: Mapping[str, AttributeValue] | None
    ) -> None:
        self._name = name
        self._parent = parent
        self._kind = kind
        self._attributes = attributes

    def __enter__(self) -> Span:
        self._span = self._start()
        self._token = otel_context.attach(trace.set_span_in_context(self._span))
        return self._span

    def _start(self) -> Span:
        remote = None if self._parent is None else _span_context(self._parent)
        if remote is not None:
            parent: Span = trace.NonRecordingSpan(remote)
        else:
            parent = trace.get_current_span()
        parent_context = parent.get_span_context()
        if not parent_context.is_valid:
            if _tracing.limit is None or _tracing.limit.exhausted:
                return _unrecorded_root()
        elif not parent_context.trace_flags & TraceFlags.SAMPLED:
            # Nothing to record, but what we send on must name the same trace.
            return parent
        return _tracing.tracer.start_span(
            self._name, trace.set_span_in_context(parent), self._kind, self._attributes
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        otel_context.detach(self._token)
        if isinstance(error, Exception) and self._span.is_recording():
            self._span.record_exception(error)
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()


class RateLimitedSampler(Sampler):
    """Samples at most `per_second` new traces, evenly over time, so that load does not pay for spans."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second)
        self._budget = self._burst
        self._seen_at = time.monotonic()
        self._lock = threading.Lock()

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Record if this second has budget left."""
        if not self._take():
            return SamplingResult(Decision.DROP)
        # The span begins with the attributes of this result, not with those of the call.
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)

    def get_description(self) -> str:
        """What the SDK writes about this sampler."""
        return f"RateLimitedSampler({self._per_second}/s)"

    @property
    def exhausted(self) -> bool:
        """Whether a new trace would be dropped now: saves building a span under load."""
        return self._budget + (time.monotonic() - self._seen_at) * self._per_second < 1

    def _take(self) -> bool:
        with self._lock:
            now = time.monotonic()
            self._budget = min(self._burst, self._budget + (now - self._seen_at) * self._per_second)
            self._seen_at = now
            if self._budget < 1:
                return False
            self._budget -= 1
            return True


class ScrubbingExporter(SpanExporter):
    """Redacts spans right before they leave: names, attributes, events (with tracebacks) and status."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hands redacted copies to the real exporter."""
        return self._exporter.export([_scrubbed(item) for item in spans])

    def shutdown(self) -> None:
        """Shuts the real exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flushes the real exporter."""
        return self._exporter.force_flush(timeout_millis)


class RequestSpans:
    """A SERVER span around every HTTP request; named by method and route, without address or query."""

    def __init__(self, app: ASGIApp, *, continue_callers_trace: bool) -> None:
        """
        Args:
            app: What is traced.
            continue_callers_trace: Only for an internal side: a stranger must not decide what we record.
        """
        self._app = app
        self._continue = continue_callers_trace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(("/health", "/metrics")):
            await self._app(scope, receive, send)
            return
        parent = _header(scope, b"traceparent") if self._continue else None
        with span(scope["method"], parent=parent, kind=SpanKind.SERVER) as current:

            async def send_with_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    current.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self._app(scope, receive, send_with_status if current.is_recording() else send)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None and current.is_recording():
                    current.update_name(f"{scope['method']} {route}")
                    current.set_attribute("http.route", route)


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


def _unrecorded_root() -> Span:
    # Its ids join the log lines of one piece of work, though no span is recorded.
    trace_id, span_id = random.getrandbits(128) or 1, random.getrandbits(64) or 1
    return trace.NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False))


def _exporter(service: str, settings: ServiceSettings) -> SpanExporter | None:
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        # Imported only where it is used: it brings protobuf and a second HTTP client.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    if settings.traces_dir is not None:
        return TraceFiles(settings.traces_dir, f"{service}-{settings.instance}")
    return None


def _span_context(traceparent: str) -> SpanContext | None:
    """The context a traceparent names; None if it is not one (W3C Trace Context, version 00)."""
    parts = traceparent.split("-")
    if len(parts) != 4 or [len(part) for part in parts] != [2, 32, 16, 2] or parts[0] != "00":
        return None
    try:
        trace_id, span_id, flags = (int(part, 16) for part in parts[1:])
    except ValueError:
        return None
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid else None


def _scrubbed(item: ReadableSpan) -> ReadableSpan:
    description = item.status.description
    return ReadableSpan(
        name=redactor.scrub(item.name),
        context=item.context,
        parent=item.parent,
        resource=item.resource,
        attributes=_scrubbed_attributes(item.attributes),
        events=[
            Event(redactor.scrub(event.name), _scrubbed_attributes(event.attributes), event.timestamp)
            for event in item.events
        ],
        links=item.links,
        kind=item.kind,
        status=Status(item.status.status_code, redactor.scrub(description) if description else None),
        start_time=item.start_time,
        end_time=item.end_time,
        instrumentation_scope=item.instrumentation_scope,
    )


def _scrubbed_attributes(attributes: Attributes) -> dict[str, AttributeValue]:
    return {name: _scrubbed_value(value) for name, value in (attributes or {}).items()}


def _scrubbed_value(value: AttributeValue) -> AttributeValue:
    if isinstance(value, str):
        return redactor.scrub(value)
    if isinstance(value, Sequence):
        return [redactor.scrub(part) if isinstance(part, str) else part for part in value]
    return value
