"""Deliveries straight from a real channel: all of them, in order, whole, and none with a task of its own."""

from __future__ import annotations

import asyncio
from typing import cast

import aio_pika
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

from msgkit.runtime.deliveries import consume_directly

_OVER_ONE_FRAME = b"x" * 300_000
"""RabbitMQ's frames have 131,072 bytes."""


async def _taken(amqp_url: str, bodies: list[bytes]) -> tuple[list[bytes], set[asyncio.Task[None] | None]]:
    """What comes of these messages, and in which tasks it came."""
    taken: list[bytes] = []
    tasks: set[asyncio.Task[None] | None] = set()
    all_came = asyncio.Event()

    def take(message: DeliveredMessage) -> None:
        taken.append(message.body)
        tasks.add(asyncio.current_task())
        if len(taken) == len(bodies):
            all_came.set()

    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        queue = await channel.declare_queue("deliveries", durable=True)
        for body in bodies:
            await channel.default_exchange.publish(aio_pika.Message(body), queue.name)
        underlay = cast("Channel", await channel.get_underlay_channel())
        await consume_directly(underlay, queue.name, take)
        async with asyncio.timeout(20):
            await all_came.wait()
    return taken, tasks


async def test_every_delivery_comes_whole_and_in_order(amqp_url: str) -> None:
    bodies = [b"first", b"", _OVER_ONE_FRAME, *(str(number).encode() for number in range(50)), b""]
    assert (await _taken(amqp_url, bodies))[0] == bodies


async def test_a_delivery_costs_no_task(amqp_url: str) -> None:
    taken, tasks = await _taken(amqp_url, [b"small"] * 50)
    assert len(taken) == 50
    assert len(tasks) == 1, "aiormq starts a task for each: it no longer asks the method we replace (ADR 19)"
