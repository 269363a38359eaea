"""Whole ingest services of the plain messenger in the test's process, on real RabbitMQ and MongoDB."""

from __future__ import annotations

import asyncio
import gc
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
from connector_stage import GATEWAY_SEED, make_settings
from plain_messenger import KIND, SERVICE, Phone, PlainConnector, signature

from msgkit.connector.ingest import build_ingest
from msgkit.contracts import topology
from msgkit.contracts.events import INBOUND, ChannelHealthReported, DeliveryReported, Inbound, SendMessage
from msgkit.contracts.ids import conversation_id, new_id
from msgkit.contracts.words import AuthorKind
from msgkit.runtime.bus import Outgoing, Publisher
from msgkit.runtime.clock import utc_now
from msgkit.runtime.mongo import Database, Mongo
from msgkit.runtime.service import Service
from msgkit.runtime.tokens import ServiceTokens

CHANNEL = "c" * 32
TOKEN = "plain-token-0123456789"


@dataclass
class Replica:
    """One ingest service."""

    service: Service
    public: httpx2.AsyncClient
    internal: httpx2.AsyncClient
    is_gone: bool = False

    async def connected(self, channel_id: str = CHANNEL, token: str = TOKEN) -> None:
        """An active channel."""
        body = {"kind": KIND, "tenant_id": "salon", "credentials": {"token": token}, "api_base": None}
        at = f"/internal/accounts/{channel_id}"
        assert (await self.internal.put(at, json=body)).status_code == 200
        assert (await self.internal.post(f"{at}/activate")).status_code == 200

    async def post(
        self, body: dict[str, Any], *, channel_id: str = CHANNEL, token: str = TOKEN, query: str = ""
    ) -> httpx2.Response:
        """A signed webhook."""
        raw = json.dumps(body).encode()
        return await self.public.post(
            f"/webhooks/{KIND}/{channel_id}{query}",
            content=raw,
            headers={"x-signature": signature(raw, token).decode()},
        )

    async def ready(self) -> bool:
        """Whether it wants webhooks, as its readiness says."""
        return await self.service.health.is_ready()

    async def stop(self) -> None:
        if self.is_gone:
            return
        self.is_gone = True
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


async def started(
    phone: Phone,
    amqp_url: str,
    mongo_url: str,
    prefix: str,
    *,
    connector: PlainConnector | None = None,
    has_people: bool = False,
    **more: Any,
) -> Replica:
    """A replica that runs; `more` are settings."""
    settings = make_settings(amqp_url, mongo_url, prefix, "http://127.0.0.1:9", **more)
    service = build_ingest(
        connector or PlainConnector(phone), settings, has_spool=True, has_people=has_people
    )
    await service.start()
    token = ServiceTokens("gateway", GATEWAY_SEED, {}).issue(SERVICE, tenant_id="salon", user_id="olena")
    assert service.public is not None
    return Replica(
        service,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(service.public), base_url="http://public"),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(service.internal),
            base_url="http://internal",
            headers={"authorization": f"Bearer {token}"},
        ),
    )


@dataclass
class Stage:
    """One replica, and what a test needs around it."""

    phone: Phone
    replica: Replica
    database: Database
    publisher: Publisher
    inbound: asyncio.Queue[Inbound]
    out_seq: dict[str, int] = field(default_factory=dict)

    async def say(
        self, text: str, *, client: str = "7", channel_id: str = CHANNEL, **more: Any
    ) -> SendMessage:
        """An order to send, as inbox gives it; `more` are further fields."""
        key = f"{channel_id}{client}"
        self.out_seq[key] = self.out_seq.get(key, 0) + 1
        order = SendMessage(
            type="send.ordered.v1",
            event_id=new_id(),
            tenant_id="salon",
            channel_id=channel_id,
            channel_kind=KIND,
            recorded_at=utc_now(),
            conversation_id=conversation_id(channel_id, client),
            contact_key=client,
            message_id=new_id(),
            out_seq=self.out_seq[key],
            author_kind=AuthorKind.OPERATOR,
            client_wrote_at=None,
            text=text,
            media=[],
            buttons=[],
            reply_to_provider_id=None,
            place=None,
            shared_contact=None,
            template=None,
            is_reaction=False,
        ).model_copy(update=more)
        await self.publisher.publish(
            Outgoing(
                exchange=topology.SENDS,
                routing_key=topology.channel_key(KIND, channel_id),
                body=order.model_dump_json().encode(),
                event_id=order.event_id,
                type=order.type,
            )
        )
        return order

    async def report(self, message_id: str) -> DeliveryReported:
        """The next report of this message."""
        others: list[Inbound] = []
        async with asyncio.timeout(15):
            while True:
                event = await self.inbound.get()
                if isinstance(event, DeliveryReported) and event.message_id == message_id:
                    break
                others.append(event)
        for other in others:
            self.inbound.put_nowait(other)
        return event

    async def receipts(self, *said: dict[str, Any]) -> int:
        """A webhook with these receipts."""
        return (await self.replica.post({"receipts": list(said)})).status_code

    def reports_waiting(self) -> list[DeliveryReported]:
        """Every report nobody has taken yet."""
        return [event for event in _emptied(self.inbound) if isinstance(event, DeliveryReported)]


def _emptied(queue: asyncio.Queue[Inbound]) -> list[Inbound]:
    found = []
    while not queue.empty():
        found.append(queue.get_nowait())
    return found


@asynccontextmanager
async def staged(
    amqp_url: str, mongo_url: str, prefix: str, phone: Phone | None = None, **more: Any
) -> AsyncIterator[Stage]:
    """A stage that stands while the block runs; `more` as for `started`."""
    phone = phone or Phone()
    with tempfile.TemporaryDirectory() as objects:
        own = {"objects_url": Path(objects).as_uri()}
        replica = await started(phone, amqp_url, mongo_url, prefix, **(own | more))
        settings = make_settings(amqp_url, mongo_url, prefix, "http://127.0.0.1:9", **own)
        mongo = Mongo(mongo_url, settings.database_name(SERVICE))
        publisher = Publisher(amqp_url, "test")
        connection = await aio_pika.connect(amqp_url)
        inbound: asyncio.Queue[Inbound] = asyncio.Queue()
        try:
            channel = await connection.channel()

            async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                event = INBOUND.validate_json(message.body)
                if not isinstance(event, ChannelHealthReported):
                    inbound.put_nowait(event)

            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(topology.INBOUND, "#")
            await queue.consume(on_message, no_ack=True)
            yield Stage(phone, replica, mongo.database, publisher, inbound)
        finally:
            await replica.stop()
            await publisher.close()
            await connection.close()
            mongo.close()
            gc.collect()  # connections that never came to be are closed when collected, which needs a loop
