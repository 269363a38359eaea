"""The baselines of `make bench`: a bare FastAPI route with a confirmed publish, a raw aio-pika consumer."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aio_pika
import uvicorn
from aio_pika.abc import AbstractExchange, AbstractIncomingMessage
from fastapi import FastAPI

from msgkit.contracts import topology
from msgkit.contracts.ids import PARTITIONS


def bare_fastapi(url: str) -> FastAPI:
    """A route that takes JSON and answers when the broker has confirmed: the least that keeps a promise."""
    exchanges: list[AbstractExchange] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        connection = await aio_pika.connect(url)
        async with connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            exchanges.append(await channel.get_exchange(topology.INBOUND))
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/webhook")
    async def webhook(update: dict[str, Any]) -> dict[str, bool]:
        partition = update["message"]["chat"]["id"] % PARTITIONS
        await exchanges[0].publish(
            aio_pika.Message(json.dumps(update).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT),
            f"telegram_bot.p{partition:02d}",
            mandatory=True,
        )
        return {"ok": True}

    return app


async def raw_consume(url: str, count: int) -> float:
    """Consume `count` messages of all partitions with prefetch 100, acknowledged by fifty; per second."""
    connection = await aio_pika.connect(url)
    done = asyncio.Event()
    last: dict[int, AbstractIncomingMessage] = {}
    seen = 0

    async def on_message(partition: int, message: AbstractIncomingMessage) -> None:
        nonlocal seen
        seen += 1
        if seen >= count:
            done.set()
        if (message.delivery_tag or 0) % 50 == 0:
            last.pop(partition, None)
            await message.ack(multiple=True)
        else:
            last[partition] = message

    async with connection:
        started = time.perf_counter()
        for partition in range(PARTITIONS):
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=100)
            queue = await channel.get_queue(topology.inbound_queue_name(partition))
            await queue.consume(partial(on_message, partition))
        await asyncio.wait_for(done.wait(), 120)
        for message in list(last.values()):
            await message.ack(multiple=True)
        return count / (time.perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["serve", "consume"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.role == "serve":
        uvicorn.run(bare_fastapi(arguments.url), port=arguments.port, access_log=False, log_level="warning")
    else:
        print(asyncio.run(raw_consume(arguments.url, arguments.count)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
