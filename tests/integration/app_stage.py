"""A whole ingest service of the app's messenger in the test's process, on real RabbitMQ and MongoDB."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
from app_messenger import KIND, SERVICE, Answers, AppConnector
from connector_stage import GATEWAY_SEED, make_settings
from plain_messenger import Phone, signature

from msgkit.connector.ingest import build_ingest
from msgkit.connector.settings import AppKeys
from msgkit.contracts import topology
from msgkit.contracts.events import INBOUND, ChannelHealthReported, Inbound, MessageReceived
from msgkit.runtime.mongo import Database, Mongo
from msgkit.runtime.service import Service
from msgkit.runtime.tokens import ServiceTokens

SALON, CLINIC = "c" * 32, "d" * 32
SALON_NUMBER, CLINIC_NUMBER = "106540352242922", "106540352242933"
SECRET, NEW_SECRET = "the-app-secret-0123456789", "the-app-secret-9876543210"
TOKEN, NEW_TOKEN = "the-verify-token-1", "the-verify-token-2"
KEYS = AppKeys((SECRET, NEW_SECRET), (TOKEN, NEW_TOKEN))
APP = f"/webhooks/{KIND}"


def entry(of: str, *texts: str, client: str = "7", **more: Any) -> dict[str, Any]:
    """A part of a webhook: what clients of one account wrote."""
    messages = [{"client": client, "id": f"{of}-{client}-{text}", "text": text} for text in texts]
    return {"of": of, "messages": messages, **more}


@dataclass
class AppStage:
    """One replica, and what a test needs around it."""

    service: Service
    public: httpx2.AsyncClient
    internal: httpx2.AsyncClient
    database: Database
    answers: Answers
    inbound: asyncio.Queue[Inbound] = field(default_factory=asyncio.Queue)
    health: asyncio.Queue[ChannelHealthReported] = field(default_factory=asyncio.Queue)
    journal: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    async def call(self, method: str, channel_id: str, step: str = "", **more: Any) -> httpx2.Response:
        """A call from gateway for the tenant of the channel."""
        tenant = more.pop("tenant", tenant_of(channel_id))
        token = ServiceTokens("gateway", GATEWAY_SEED, {}).issue(SERVICE, tenant_id=tenant, user_id="olena")
        return await self.internal.request(
            method,
            f"/internal/accounts/{channel_id}{step}",
            headers={"authorization": f"Bearer {token}"},
            **more,
        )

    async def put(
        self, channel_id: str, number: str, *, kind: str = KIND, **credentials: str
    ) -> httpx2.Response:
        body = {
            "kind": kind,
            "tenant_id": tenant_of(channel_id),
            "credentials": {"token": number, **credentials},
            "api_base": None,
        }
        return await self.call("PUT", channel_id, json=body)

    async def connected(self, channel_id: str = SALON, number: str = SALON_NUMBER, **more: str) -> None:
        """An active channel."""
        assert (await self.put(channel_id, number, **more)).status_code == 200
        assert (await self.call("POST", channel_id, "/activate")).json()["connected"]

    async def post(
        self,
        *entries: dict[str, Any],
        body: bytes | None = None,
        secret: str = SECRET,
        path: str = APP,
        public: httpx2.AsyncClient | None = None,
    ) -> httpx2.Response:
        """A signed webhook of the whole app."""
        raw = json.dumps({"entries": entries}).encode() if body is None else body
        headers = {"x-signature": signature(raw, secret).decode()}
        return await (public or self.public).post(path, content=raw, headers=headers)

    async def texts(self, count: int) -> list[tuple[str, str]]:
        """(tenant, text) of the next messages."""
        found: list[tuple[str, str]] = []
        async with asyncio.timeout(15):
            while len(found) < count:
                event = await self.inbound.get()
                assert isinstance(event, MessageReceived)
                found.append((event.tenant_id, event.content.text))
        return found

    async def journalled(self, count: int) -> list[tuple[str, str]]:
        """(channel, body) of the next entries of the journal."""
        found: list[tuple[str, str]] = []
        async with asyncio.timeout(15):
            while len(found) < count:
                kept = await self.journal.get()
                found.append((kept["channel_id"], base64.b64decode(kept["body"]).decode()))
        return found

    async def quarantined(self) -> list[dict[str, Any]]:
        return await self.database["quarantine"].find({}).sort("at", 1).to_list(None)

    async def told(self, is_news: Callable[[ChannelHealthReported], bool]) -> ChannelHealthReported:
        """The next word about an account's health that is meant."""
        async with asyncio.timeout(15):
            while not is_news(event := await self.health.get()):
                pass
        return event


def tenant_of(channel_id: str) -> str:
    return "salon" if channel_id == SALON else "clinic"


@asynccontextmanager
async def app_staged(
    amqp_url: str,
    mongo_url: str,
    prefix: str,
    *,
    keys: AppKeys = KEYS,
    watch: bool = True,
    answers: Answers | None = None,
    connector: AppConnector | None = None,
    **more: Any,
) -> AsyncIterator[AppStage]:
    """A stage that stands while the block runs; `watch` False leaves the bus unread; `more` are settings."""
    answers = answers or Answers()
    with tempfile.TemporaryDirectory() as objects:
        settings = make_settings(
            amqp_url, mongo_url, prefix, "http://127.0.0.1:9", objects_url=Path(objects).as_uri(), **more
        )
        service = build_ingest(connector or AppConnector(Phone(), answers), settings, app=keys)
        await service.start()
        mongo = Mongo(mongo_url, settings.database_name(SERVICE))
        connection = await aio_pika.connect(amqp_url)
        assert service.public is not None
        stage = AppStage(
            service,
            httpx2.AsyncClient(transport=httpx2.ASGITransport(service.public), base_url="http://public"),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(service.internal), base_url="http://internal"),
            mongo.database,
            answers,
        )
        try:
            if watch:
                await _watch(connection, stage)
            yield stage
        finally:
            try:
                async with asyncio.timeout(30):
                    await service.drain()
            finally:
                await service.stop()
                await stage.public.aclose()
                await stage.internal.aclose()
                await connection.close()
                mongo.close()
                gc.collect()  # connections that never came to be are closed when collected


async def _watch(connection: aio_pika.abc.AbstractConnection, stage: AppStage) -> None:
    channel = await connection.channel()

    async def on_inbound(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        event = INBOUND.validate_json(message.body)
        if isinstance(event, ChannelHealthReported):
            stage.health.put_nowait(event)
        else:
            stage.inbound.put_nowait(event)

    async def on_journal(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        stage.journal.put_nowait(json.loads(message.body))

    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(topology.INBOUND, "#")
    await queue.consume(on_inbound, no_ack=True)
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(topology.JOURNAL_EXCHANGE, "#")
    await queue.consume(on_journal, no_ack=True)
