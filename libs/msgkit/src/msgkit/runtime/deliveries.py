"""Deliveries of a channel, handed over as they are read.

aiormq starts a task for every delivery, which may wait. Ours never do: they go to a list. The tasks were a
tenth of what a message costs inbox (ADR 19).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from pamqp.commands import Basic
from pamqp.header import ContentHeader


async def consume_directly(
    channel: Channel, queue: str, take: Callable[[DeliveredMessage], None]
) -> Basic.ConsumeOk:
    """Consume a queue; `take` is called for each delivery, in order, and must not fail.

    The channel must have no other consumer: all its deliveries go to `take`.

    Raises:
        aiormq.AMQPError: as `basic_consume`.
    """

    async def on_deliver(frame: Basic.Deliver) -> None:
        header = cast("ContentHeader", await channel._get_frame())
        take(await channel._read_content(frame, header))

    async def on_message(message: DeliveredMessage) -> None:
        """What aiormq calls if a release of it asks another method for deliveries: slower, and as right."""
        take(message)

    # There is no door for this. What is replaced here has no state and is called by nobody else.
    setattr(channel, "_on_deliver_frame", on_deliver)  # noqa: B010
    return await channel.basic_consume(queue, on_message)
