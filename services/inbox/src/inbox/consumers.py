"""The door to the bus: bodies become facts, batches go to the conversations, what nobody can use is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from faststream import AckPolicy
from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange, RabbitMessage, RabbitQueue
from pydantic import ValidationError

from inbox.desk import ChannelDesk
from inbox.intake import Intake, Received
from inbox.kinds import Kinds
from inbox.projections import Key
from inbox.store import STORE_TROUBLE, Store
from msgkit.contracts.events import INBOUND, ChannelHealthReported, ConversationPoked, HumanAgentRefused
from msgkit.contracts.ids import new_id
from msgkit.contracts.manifest import ManifestAnnounced
from msgkit.contracts.topology import ANNOUNCEMENT_KEY, PRESENCE
from msgkit.runtime import metrics
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.partition_reader import Delivery, Finish

log = get_logger(__name__)

Handle = Callable[[Sequence[Delivery]], Awaitable[Finish]]
Quarantine = Callable[[Delivery, str], Awaitable[None]]


def quarantine(store: Store) -> Quarantine:
    """Keeps a delivery with its reason, to be read and replayed."""

    async def keep(delivery: Delivery, reason: str) -> None:
        try:
            await store.quarantine(
                {
                    "_id": delivery.event_id or new_id(),
                    "partition": delivery.partition,
                    "type": delivery.type,
                    "body": delivery.body,
                    "traceparent": delivery.traceparent,
                    "reason": reason,
                }
            )
        except STORE_TROUBLE as exc:
            raise StoreUnavailable(f"quarantine: {type(exc).__name__}") from exc

    return keep


def hear_manifests(broker: RabbitBroker, kinds: Kinds, instance: str) -> None:
    """Hear what connectors say of themselves, in a queue that goes when this replica goes."""
    # A name of this very process: the broker may hold that of its predecessor locked for a moment.
    name = f"inbox.presence.{instance}.{new_id()[:8]}"
    queue = RabbitQueue(name, durable=False, exclusive=True, auto_delete=True, routing_key="#")
    exchange = RabbitExchange(PRESENCE, type=ExchangeType.FANOUT, durable=True)

    @broker.subscriber(queue, exchange, ack_policy=AckPolicy.ACK)
    async def on_presence(message: RabbitMessage) -> None:
        if message.raw_message.type != ANNOUNCEMENT_KEY:
            return
        try:
            announced = ManifestAnnounced.model_validate_json(message.body)
        except ValidationError as exc:
            log.warning("announcement_unreadable", errors=exc.error_count())
            return
        await kinds.hear(announced)


def partition_handler(intake: Intake, desk: ChannelDesk, keep: Quarantine) -> Handle:
    """Handles the deliveries of the owned partitions; an empty batch relays what others left."""

    async def put_aside(delivery: Delivery, reason: str) -> None:
        await keep(delivery, reason)
        metrics.quarantine_total.labels(service="inbox").inc()
        log.error("delivery_quarantined", event_id=delivery.event_id, type=delivery.type, reason=reason)

    async def note_channel(told: ChannelHealthReported | HumanAgentRefused) -> None:
        try:
            if isinstance(told, HumanAgentRefused):
                await desk.refuse_human_agent(told)
            else:
                await desk.note_health(told)
        except StoreUnavailable:
            raise
        except STORE_TROUBLE as exc:
            raise StoreUnavailable(f"channels: {type(exc).__name__}") from exc

    async def handle(deliveries: Sequence[Delivery]) -> Finish:
        received: list[Received] = []
        origin: dict[int, Delivery] = {}
        poked: list[Key] = []
        for delivery in deliveries:
            try:
                event = INBOUND.validate_json(delivery.body)
            except ValidationError as exc:
                fields = sorted(
                    {".".join(map(str, error["loc"])) for error in exc.errors(include_input=False)}
                )
                await put_aside(delivery, f"the body is no event we know: {', '.join(fields) or 'no JSON'}")
                continue
            if isinstance(event, ConversationPoked):
                poked.append(Key(event.tenant_id, event.conversation_id))
            elif isinstance(event, ChannelHealthReported | HumanAgentRefused):
                await note_channel(event)
            else:
                received.append(Received(event, delivery.traceparent))
                origin[id(event)] = delivery
        written = await intake.receive_batch(received, poked)
        for rejected in written.rejected:
            await put_aside(origin[id(rejected.fact)], rejected.reason)
        return written.finish

    return handle
