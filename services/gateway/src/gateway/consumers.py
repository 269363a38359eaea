"""What is told beside the log: connectors say what they are, other gateways who types and looks where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from faststream import AckPolicy
from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange, RabbitMessage, RabbitQueue
from pydantic import ValidationError

from msgkit.contracts.ids import new_id
from msgkit.contracts.manifest import Manifest, ManifestAnnounced
from msgkit.contracts.presence import PRESENCE as NOTICE
from msgkit.contracts.presence import TypingNoticed, ViewingNoticed
from msgkit.contracts.topology import ANNOUNCEMENT_KEY, PRESENCE
from msgkit.contracts.views import ChannelView
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable

log = get_logger(__name__)

AWAY_AFTER_SECONDS = 90.0
"""A connector silent for this long is taken as away."""
MAX_KINDS = 64
NOTICES = frozenset({"typing.v1", "viewing.v1"})


@dataclass(frozen=True, slots=True)
class Announced:
    manifest: Manifest
    internal_url: str
    heard_at: float


class Manifests:
    """The connectors heard of, by kind. What one can is remembered also while it is away."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_kind: dict[str, Announced] = {}

    def hear(self, announced: ManifestAnnounced) -> bool:
        """Take an announcement in; True if it says something new."""
        kind = announced.manifest.kind
        known = self._by_kind.get(kind)
        if known is None:
            if len(self._by_kind) >= MAX_KINDS:
                log.warning("too_many_kinds", kind=kind)
                return False
            log.info("connector_announced", kind=kind, connector=announced.manifest.service)
        self._by_kind[kind] = Announced(announced.manifest, announced.internal_url, self._clock())
        return known is None or (known.manifest, known.internal_url) != (
            announced.manifest,
            announced.internal_url,
        )

    def of(self, kind: str) -> Announced | None:
        return self._by_kind.get(kind)

    def is_here(self, kind: str) -> bool:
        known = self._by_kind.get(kind)
        return known is not None and self._clock() - known.heard_at <= AWAY_AFTER_SECONDS

    def all(self) -> list[Announced]:
        return [self._by_kind[kind] for kind in sorted(self._by_kind)]

    def reply_hours(self, channel: ChannelView) -> int | None:
        """How long after the client's last message an operator may answer there; None: always."""
        known = self._by_kind.get(channel.kind)
        if known is None:
            return None
        longer = known.manifest.human_reply_window_hours if channel.settings.human_agent else None
        return longer or known.manifest.reply_window_hours

    def limits(self, kind: str) -> dict[str, int]:
        known = self._by_kind.get(kind)
        return {} if known is None else {name: limit.value for name, limit in known.manifest.limits.items()}

    def limit_units(self, kind: str) -> dict[str, str]:
        known = self._by_kind.get(kind)
        return {} if known is None else {name: limit.unit for name, limit in known.manifest.limits.items()}


def subscribe(
    broker: RabbitBroker,
    manifests: Manifests,
    instance: str,
    keep: Callable[[ManifestAnnounced], Awaitable[None]],
    on_notice: Callable[[TypingNoticed | ViewingNoticed], None],
) -> None:
    """Hear what is not kept, in a queue of this replica's own, which goes when the replica goes.

    Args:
        keep: remembers what is new, so that the next start knows the messengers before it hears of them.
        on_notice: what operators do right now, on this replica and on others.
    """
    # A name of this very process: the broker may hold that of its predecessor locked for a moment.
    name = f"gateway.presence.{instance}.{new_id()[:8]}"
    queue = RabbitQueue(name, durable=False, exclusive=True, auto_delete=True, routing_key="#")
    exchange = RabbitExchange(PRESENCE, type=ExchangeType.FANOUT, durable=True)

    @broker.subscriber(queue, exchange, ack_policy=AckPolicy.ACK)
    async def on_presence(message: RabbitMessage) -> None:
        if message.raw_message.type in NOTICES:
            try:
                on_notice(NOTICE.validate_json(message.body))
            except ValidationError as exc:
                log.warning("notice_unreadable", errors=exc.error_count())
            return
        if message.raw_message.type != ANNOUNCEMENT_KEY:
            return
        try:
            announced = ManifestAnnounced.model_validate_json(message.body)
        except ValidationError as exc:
            log.warning("announcement_unreadable", errors=exc.error_count())
            return
        if manifests.hear(announced):
            try:
                await keep(announced)
            except StoreUnavailable as exc:
                log.warning("announcement_not_kept", reason=str(exc))
