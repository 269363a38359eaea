"""Every exchange, queue and stream of the bus, with their arguments. Nothing else declares names.

Queue arguments cannot change, so names carry the topology version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from msgkit.contracts.ids import PARTITIONS, partition_of

VERSION: Final = "v1"

INBOUND: Final = "inbound"
"""What happened at a messenger, and orders to inbox. Key: `<kind>.pNN` of the conversation."""
FACTS: Final = "facts"
"""What inbox decided, in envelopes. Key: `inbox.pNN`, `inbox.beside` (beside the log), `live.marker`."""
SENDS: Final = "sends"
"""Orders to connectors. Key: `<kind>.pNN` of the channel."""
PRESENCE: Final = "presence"
"""Typing and viewing between gateways, and announcements of connectors. Its messages are not persistent."""
JOURNAL_EXCHANGE: Final = "journal"
"""Whole webhooks that do not travel as one event. Key: the channel's kind."""
DEAD: Final = "dead"
"""What the broker gave up on. Key: the queue it came from."""

JOURNAL: Final = "journal"
"""The stream with every webhook, send order and delivery report of the last days."""
DEAD_QUEUE: Final = f"dead.{VERSION}"

ANNOUNCEMENT_KEY: Final = "manifest.announced.v1"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: str = "topic"


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with its arguments and what it is bound to: (exchange, routing key) pairs."""

    name: str
    arguments: Mapping[str, str | int | bool]
    bindings: tuple[tuple[str, str], ...] = field(default=())


EXCHANGES: Final = (
    Exchange(INBOUND),
    Exchange(FACTS),
    Exchange(SENDS),
    Exchange(JOURNAL_EXCHANGE),
    Exchange(DEAD),
    Exchange(PRESENCE, kind="fanout"),
)


def conversation_key(kind: str, conversation_id: str) -> str:
    """Routing key of something that happened in a conversation."""
    return f"{kind}.p{partition_of(conversation_id):02d}"


def channel_key(kind: str, channel_id: str) -> str:
    """Routing key of an order to the connector of a channel."""
    return f"{kind}.p{partition_of(channel_id):02d}"


def partition_of_key(routing_key: str) -> int | None:
    """The partition a key of the above names; None for a key without one, e.g. of the journal."""
    head, _, number = routing_key.rpartition(".p")
    return int(number) if head and number.isdigit() else None


def facts_key(partition: int | None) -> str:
    return "inbox.beside" if partition is None else f"inbox.p{partition:02d}"


def _partition_arguments(name: str) -> dict[str, str | int | bool]:
    return {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        # A low limit loses innocent neighbours of a poison message: all in flight share the blame.
        "x-delivery-limit": 1000,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-routing-key": name,
        "x-dead-letter-strategy": "at-least-once",
    }


def inbound_queue_name(partition: int) -> str:
    return f"inbox.inbound.p{partition:02d}.{VERSION}"


def sends_queue_name(service: str, partition: int) -> str:
    return f"{service}.sends.p{partition:02d}.{VERSION}"


def inbound_queues() -> tuple[Queue, ...]:
    """Queues of inbox: one per partition, every kind of messenger."""
    return tuple(
        Queue(name, _partition_arguments(name), ((INBOUND, f"*.p{p:02d}"),))
        for p in range(PARTITIONS)
        for name in [inbound_queue_name(p)]
    )


def sends_queues(service: str, kinds: tuple[str, ...]) -> tuple[Queue, ...]:
    """Queues of one ingest service: one per partition, bound to its kinds."""
    return tuple(
        Queue(name, _partition_arguments(name), tuple((SENDS, f"{kind}.p{p:02d}") for kind in kinds))
        for p in range(PARTITIONS)
        for name in [sends_queue_name(service, p)]
    )


def dead_queue() -> Queue:
    return Queue(DEAD_QUEUE, {"x-queue-type": "quorum"}, ((DEAD, "#"),))


def journal_stream(max_bytes: int = 256 * 1024 * 1024) -> Queue:
    """The journal: 7 days, or `max_bytes` if that is less."""
    return Queue(
        JOURNAL,
        {
            "x-queue-type": "stream",
            "x-max-age": "7D",
            "x-max-length-bytes": max_bytes,
            "x-stream-max-segment-size-bytes": 16 * 1024 * 1024,
        },
        ((JOURNAL_EXCHANGE, "#"), (INBOUND, "#"), (SENDS, "#")),
    )


def live_stream(epoch: str) -> Queue:
    """The stream gateways read; its offsets are the positions of the sockets."""
    return Queue(
        f"live.{epoch}",
        {
            "x-queue-type": "stream",
            "x-max-age": "1h",
            "x-max-length-bytes": 256 * 1024 * 1024,
            "x-stream-max-segment-size-bytes": 16 * 1024 * 1024,
        },
        ((FACTS, "#"),),
    )
