"""Ingest services of the messenger that can be read again, on real RabbitMQ and MongoDB."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
from connector_stage import GATEWAY_SEED, make_settings
from plain_messenger import signature
from recalling_messenger import KIND, SERVICE, Platform, RecallingConnector, Script

from msgkit.connector.ingest import build_ingest
from msgkit.contracts import topology
from msgkit.contracts.events import INBOUND, ChannelHealthReported, ContactChanged, MessageReceived
from msgkit.runtime.clock import utc_now
from msgkit.runtime.mongo import Database, Mongo
from msgkit.runtime.service import Service
from msgkit.runtime.tokens import ServiceTokens

CHANNEL = "c" * 32
TOKEN = "recalling-token-0123456789"
BOT = f"/webhooks/{KIND}/{CHANNEL}"


@dataclass
class Heard:
    """What was published, in the bus's order."""

    messages: list[MessageReceived] = field(default_factory=list)
    changes: dict[str, ContactChanged] = field(default_factory=dict)
    """By the id of the event: said again it is the same."""
    health: asyncio.Queue[ChannelHealthReported] = field(default_factory=asyncio.Queue)

    @property
    def people(self) -> list[ContactChanged]:
        """Each change of a contact once, in the order of the first time."""
        return list(self.changes.values())

    @property
    def texts(self) -> list[str]:
        """Each message once, in the order of the first time."""
        return list(dict.fromkeys(event.content.text for event in self.messages))

    async def told(self) -> tuple[bool, str | None]:
        """The next word about the account's health."""
        async with asyncio.timeout(20):
            event = await self.health.get()
        return event.connected, event.problem


@dataclass
class Replica:
    """One ingest service in this process."""

    service: Service
    public: httpx2.AsyncClient
    internal: httpx2.AsyncClient
    script: Script
    is_gone: bool = False

    async def put(self, token: str = TOKEN) -> httpx2.Response:
        return await self.internal.put(f"/internal/accounts/{CHANNEL}", json=account(token))

    async def step(self, name: str, method: str = "POST") -> httpx2.Response:
        return await self.internal.request(method, f"/internal/accounts/{CHANNEL}{name}")

    async def connected(self) -> None:
        assert (await self.put()).status_code == 200
        assert (await self.step("/activate")).json()["connected"]

    async def post(self, *messages: dict[str, Any], token: str = TOKEN) -> int:
        """A signed webhook."""
        raw = json.dumps({"messages": messages}).encode()
        headers = {"x-signature": signature(raw, token).decode()}
        return (await self.public.post(BOT, content=raw, headers=headers)).status_code

    async def stop(self) -> None:
        if self.is_gone:
            return
        try:
            async with asyncio.timeout(30):
                await self.service.drain()
        finally:
            await self.crash()

    async def crash(self) -> None:
        """End without a word."""
        self.is_gone = True
        await self.service.stop()
        await self.public.aclose()
        await self.internal.aclose()


@dataclass
class Stage:
    """A messenger, a replica, and what a test needs around them."""

    platform: Platform
    replica: Replica
    database: Database
    heard: Heard
    start: Callable[[], Awaitable[Replica]]
    """One more replica."""

    @property
    def script(self) -> Script:
        return self.replica.script

    async def account(self) -> dict[str, Any]:
        return await self.database["accounts"].find_one({"_id": CHANNEL}) or {}

    async def gap(self) -> dict[str, Any]:
        return await self.database["gaps"].find_one({"_id": CHANNEL}) or {}

    async def backdate(self, name: str, by: timedelta) -> None:
        await self.database["accounts"].update_one({"_id": CHANNEL}, {"$set": {name: utc_now() - by}})

    async def connected_since(self, moment: timedelta) -> None:
        """A channel that was switched on so long ago."""
        await self.replica.connected()
        await self.backdate("heard_since", moment)


def account(token: str = TOKEN) -> dict[str, Any]:
    return {"kind": KIND, "tenant_id": "salon", "credentials": {"token": token}, "api_base": None}


def caller_headers() -> dict[str, str]:
    token = ServiceTokens("gateway", GATEWAY_SEED, {}).issue(SERVICE, tenant_id="salon", user_id="olena")
    return {"authorization": f"Bearer {token}"}


async def until(true: Callable[[], Awaitable[object]], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not await true():  # noqa: ASYNC110 - a state in a store has no event
            await asyncio.sleep(0.02)  # pace: polls a state with a deadline


@asynccontextmanager
async def listening(amqp_url: str) -> AsyncIterator[Heard]:
    """What is published while the block runs."""
    heard = Heard()
    connection = await aio_pika.connect(amqp_url)
    channel = await connection.channel()

    async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        event = INBOUND.validate_json(message.body)
        if isinstance(event, ChannelHealthReported):
            heard.health.put_nowait(event)
        elif isinstance(event, MessageReceived):
            heard.messages.append(event)
        elif isinstance(event, ContactChanged):
            heard.changes.setdefault(event.event_id, event)

    queue = await channel.declare_queue(exclusive=True)
    await channel.declare_exchange(topology.INBOUND, "topic", durable=True)
    await queue.bind(topology.INBOUND, "#")
    await queue.consume(on_message, no_ack=True)
    try:
        yield heard
    finally:
        await connection.close()
        gc.collect()  # connections that never came to be are closed when collected, which needs a loop


@asynccontextmanager
async def recalled_stage(
    amqp_url: str, mongo_url: str, prefix: str, folder: Path, **more: Any
) -> AsyncIterator[Stage]:
    """A stage that stands while the block runs; `more` are settings."""
    platform = Platform(folder)
    script = Script()
    replicas: list[Replica] = []
    own: dict[str, Any] = {"objects_url": (folder / "objects").as_uri(), "health_every_s": 0.1}

    async def start() -> Replica:
        settings = make_settings(amqp_url, mongo_url, prefix, "http://127.0.0.1:9", **(own | more))
        service = build_ingest(RecallingConnector(platform, script), settings)
        await service.start()
        assert service.public is not None
        replica = Replica(
            service,
            httpx2.AsyncClient(transport=httpx2.ASGITransport(service.public), base_url="http://public"),
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(service.internal),
                base_url="http://internal",
                headers=caller_headers(),
            ),
            script,
        )
        replicas.append(replica)
        return replica

    named = make_settings(amqp_url, mongo_url, prefix, "http://127.0.0.1:9", **own)
    mongo = Mongo(mongo_url, named.database_name(SERVICE))
    try:
        async with listening(amqp_url) as heard:
            yield Stage(platform, await start(), mongo.database, heard, start)
    finally:
        for replica in replicas:
            await replica.stop()
        mongo.close()
        gc.collect()  # as above
