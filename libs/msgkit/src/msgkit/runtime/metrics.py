"""Our metrics, and the page Prometheus reads. Labels never carry ids of conversations or users."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    make_asgi_app,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from starlette.types import Receive, Scope, Send

disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series per metric that nobody reads

REGISTRY = CollectorRegistry(auto_describe=True)
"""Ours alone: a library that registers with the default registry does not appear here by accident."""

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_FAST_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SLOW_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)


class BatchHistogram(Collector):
    """A histogram with one label that takes many values at once, from one thread.

    The library's takes two locks and walks its buckets for each value: 2 % of what a message costs inbox.
    """

    def __init__(self, name: str, documentation: str, label: str, buckets: Sequence[float]) -> None:
        self._name, self._documentation, self._label = name, documentation, label
        self._bounds = tuple(map(float, buckets))
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        REGISTRY.register(self)

    def observe_all(self, label: str, values: Iterable[float]) -> None:
        """Count these values under the label; one below 0, of a clock that runs ahead, counts as 0."""
        counts = self._counts.setdefault(label, [0] * (len(self._bounds) + 1))
        total = 0.0
        for each in values:
            value = max(each, 0.0)
            counts[bisect_left(self._bounds, value)] += 1
            total += value
        self._sums[label] = self._sums.get(label, 0.0) + total

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Without values: the registry refuses a second one of the same name."""
        yield self._family()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """As Prometheus reads it: each bucket holds those below it, too."""
        family = self._family()
        for label, counts in self._counts.items():
            below = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                below += count
                buckets.append((bound, below))
            family.add_metric([label], buckets, self._sums[label])
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._documentation, labels=[self._label])


webhook_requests_total = Counter(
    "rozmova_webhook_requests_total",
    "Webhook calls by how they ended",
    ["kind", "outcome"],
    registry=REGISTRY,
)
inbound_e2e_seconds = BatchHistogram(
    "rozmova_inbound_e2e_seconds", "From the webhook to the log", "kind", _SLOW_SECONDS
)
visible_seconds = Histogram(
    "rozmova_visible_seconds",
    "From the webhook to the operator's socket",
    ["kind"],
    buckets=_SLOW_SECONDS,
    registry=REGISTRY,
)
outbound_e2e_seconds = Histogram(
    "rozmova_outbound_e2e_seconds",
    "From the operator's answer to the messenger's acceptance",
    ["kind"],
    buckets=_SLOW_SECONDS,
    registry=REGISTRY,
)
delivery_total = Counter(
    "rozmova_delivery_total", "Answers by the state they reached", ["kind", "outcome"], registry=REGISTRY
)
provider_request_seconds = Histogram(
    "rozmova_provider_request_seconds",
    "Calls to a messenger's API",
    ["kind", "method", "outcome"],
    buckets=_FAST_SECONDS,
    registry=REGISTRY,
)
dedup_hits_total = Counter(
    "rozmova_dedup_hits_total", "Repeats that had no effect", ["service"], registry=REGISTRY
)
queue_messages = Gauge(
    "rozmova_queue_messages", "Messages waiting in one of our queues", ["queue"], registry=REGISTRY
)
partition_owned = Gauge(
    "rozmova_partition_owned",
    "1 on the replica that owns the partition",
    ["service", "partition"],
    registry=REGISTRY,
)
ws_connections = Gauge("rozmova_ws_connections", "Open WebSockets of operators", registry=REGISTRY)
batch_size = Histogram(
    "rozmova_batch_size",
    "Deliveries handled together",
    buckets=(1, 2, 5, 10, 20, 50, 100),
    registry=REGISTRY,
)
publish_seconds = Histogram(
    "rozmova_publish_seconds",
    "From publish to the broker's confirm",
    ["exchange"],
    buckets=_FAST_SECONDS,
    registry=REGISTRY,
)
out_of_order_gap_total = Counter(
    "rozmova_out_of_order_gap_total",
    "Sends that did not wait any longer for a gap",
    ["kind"],
    registry=REGISTRY,
)
reactions_dropped_total = Counter(
    "rozmova_reactions_dropped_total",
    "Reactions to messages that are not here",
    ["kind"],
    registry=REGISTRY,
)
quarantine_total = Counter(
    "rozmova_quarantine_total",
    "Messages put aside because nobody could handle them",
    ["service"],
    registry=REGISTRY,
)


acknowledgements_total = Counter(
    "rozmova_acknowledgements_total",
    "Words a messenger waits for beside the 200, by how they went",
    ["kind", "outcome"],
    registry=REGISTRY,
)
polled_updates_total = Counter(
    "rozmova_polled_updates_total",
    "Updates fetched by long polling, by how they ended",
    ["kind", "outcome"],
    registry=REGISTRY,
)


media_files_total = Counter(
    "rozmova_media_files_total",
    "Files of clients' messages by how they ended: stored, or why they are lost",
    ["kind", "outcome"],
    registry=REGISTRY,
)
media_seconds = Histogram(
    "rozmova_media_seconds",
    "From the webhook to the file in the object store, or to its loss",
    ["kind"],
    buckets=_SLOW_SECONDS,
    registry=REGISTRY,
)


receipts_total = Counter(
    "rozmova_receipts_total",
    "What messengers said later of our messages: placed, or parked because nobody knows the id",
    ["kind", "state", "outcome"],
    registry=REGISTRY,
)
echoes_total = Counter(
    "rozmova_echoes_total",
    "Messages to clients as messengers tell them back: our own, foreign, held until a call had ended",
    ["kind", "outcome"],
    registry=REGISTRY,
)
people_conflicts_total = Counter(
    "rozmova_people_conflicts_total",
    "People whose ids are known as several contacts: the strongest id decided, nothing was merged",
    ["kind"],
    registry=REGISTRY,
)
registrations_lost_total = Counter(
    "rozmova_registrations_lost_total",
    "Accounts whose messenger did not bring us anything any more, by cause: dropped, or changed outside",
    ["kind", "cause"],
    registry=REGISTRY,
)
gaps_open = Gauge(
    "rozmova_gaps_open",
    "Accounts of this replica whose missed messages are being read again",
    registry=REGISTRY,
)
recalled_messages_total = Counter(
    "rozmova_recalled_messages_total",
    "Messages read again after a gap, known ones among them",
    ["kind"],
    registry=REGISTRY,
)
profiles_total = Counter(
    "rozmova_profiles_total",
    "Clients asked for at the messenger, by how it went",
    ["kind", "outcome"],
    registry=REGISTRY,
)
renewals_total = Counter(
    "rozmova_renewals_total",
    "Credentials that end by themselves, by how their renewal went",
    ["kind", "outcome"],
    registry=REGISTRY,
)
signals_total = Counter(
    "rozmova_signals_total",
    "Readings and typing shown to clients, by how they went",
    ["kind", "signal", "outcome"],
    registry=REGISTRY,
)
spool_rows = Gauge(
    "rozmova_spool_rows",
    "Webhooks that wait in MongoDB for RabbitMQ, in the partitions of this replica",
    ["kind"],
    registry=REGISTRY,
)
spool_oldest_seconds = Gauge(
    "rozmova_spool_oldest_seconds",
    "Age of the oldest webhook in the spool, in the partitions of this replica",
    ["kind"],
    registry=REGISTRY,
)


class _MetricsApp:
    """A class, because Starlette would call a plain function with a request."""

    def __init__(self) -> None:
        self._app = make_asgi_app(REGISTRY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def metrics_app() -> _MetricsApp:
    """The ASGI application for GET /metrics."""
    return _MetricsApp()
