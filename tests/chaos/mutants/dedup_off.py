"""inbox with its safety net cut: every repeat of a message counts as a new one. The checker must see it."""

from __future__ import annotations

from uuid import uuid4

from inbox import consumers
from inbox.app import build
from msgkit.contracts.events import INBOUND, Inbound, MessageReceived
from msgkit.runtime.service import run


class NeverTheSame:
    """Reads messages of the bus and gives each a provider id nobody has seen."""

    @staticmethod
    def validate_json(body: bytes) -> Inbound:
        event = INBOUND.validate_json(body)
        if isinstance(event, MessageReceived):
            return event.model_copy(update={"provider_id": f"{event.provider_id}-{uuid4().hex}"})
        return event


setattr(consumers, "INBOUND", NeverTheSame())  # noqa: B010  # the mutation: not a name others may use

if __name__ == "__main__":
    run(build)
