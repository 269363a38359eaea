"""FastStream's broker where RabbitMQ is away: waited for, and given up without a trace."""

from __future__ import annotations

import asyncio

import pytest

from msgkit.runtime.bus import faststream_broker

NOBODY_LISTENS = "amqp://guest:guest@127.0.0.1:1/"


@pytest.mark.parametrize("turns", [*range(12), 200])
async def test_nobody_goes_on_connecting_for_who_has_left(turns: int) -> None:
    """It happened: cancelled in the middle of an attempt, the attempts went on, and the process with them."""
    before = asyncio.all_tasks()
    starting = asyncio.create_task(faststream_broker(NOBODY_LISTENS).start())
    for _ in range(turns):
        await asyncio.sleep(0)  # pace: one turn of the loop, so that each moment of an attempt is met
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert asyncio.all_tasks() == before
