"""Tells the windows what belongs to no conversation's log: a mark of reading, a channel."""

from __future__ import annotations

from inbox.relay import Relay
from msgkit.contracts.facts import Change, FactsEnvelope, UiEvent
from msgkit.contracts.ids import new_id
from msgkit.contracts.topology import FACTS, facts_key
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown, PublishUnroutable
from msgkit.runtime.clock import Clock
from msgkit.runtime.telemetry import current_traceparent, sampled


class Beside:
    """The publisher of such changes."""

    def __init__(self, publisher: Publisher, relay: Relay, clock: Clock) -> None:
        self._publisher = publisher
        self._relay = relay
        self._clock = clock

    async def tell(
        self,
        tenant_id: str,
        channel_id: str | None,
        event: str,
        data: dict[str, object],
        user_id: str | None = None,
    ) -> None:
        """Publish a change.

        Raises:
            PublishUnknown: nobody may have heard of it; repeat.
        """
        now = self._clock()
        change = Change(
            tenant_id=tenant_id,
            channel_id=channel_id,
            conversation_id=None,
            user_id=user_id,
            v=None,
            traceparent=sampled(current_traceparent()),
            received_at=now,
            events=[UiEvent(type=event, data=data)],
        )
        envelope = FactsEnvelope(
            type="facts.v1", event_id=new_id(), partition=None, published_at=now, changes=[change]
        )
        body = envelope.model_dump_json().encode()
        message = Outgoing(FACTS, facts_key(None), body, envelope.event_id, envelope.type)
        try:
            await self._publisher.publish(message)
        except PublishUnroutable:
            await self._relay.revive()
            try:
                await self._publisher.publish(message)
            except PublishUnroutable as exc:
                raise PublishUnknown("no queue takes facts: is the live stream there?") from exc
