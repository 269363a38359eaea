"""A whole ingest-telegram in the test's process: real RabbitMQ and MongoDB, a Bot API on a real socket."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from ingest_telegram.client import TelegramClient
from ingest_telegram.connector import KIND, SERVICE, TelegramBotConnector
from ingest_telegram.settings import Settings
from msgkit.connector.ingest import build_ingest
from msgkit.connector.settings import CredentialKeys
from msgkit.contracts import topology
from msgkit.contracts.events import (
    INBOUND,
    CancelSend,
    ChannelHealthReported,
    DeliveryReported,
    Inbound,
    SendMessage,
)
from msgkit.contracts.ids import conversation_id, new_id
from msgkit.contracts.words import AuthorKind
from msgkit.runtime.bus import Outgoing, Publisher
from msgkit.runtime.clock import utc_now
from msgkit.runtime.mongo import Database, Mongo
from msgkit.runtime.objects import ObjectStore
from msgkit.runtime.service import Service
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.wire import Answer, Call, WireFake, as_json

TOKEN = "7000000001:AAE-canary-token-0123456789abcdefgh"
OTHER_TOKEN = "7000000002:AAE-canary-token-0123456789abcdefgh"
CHANNEL = "c" * 32
CLIENT = 6021557731


def _keys() -> tuple[str, str]:
    key = Ed25519PrivateKey.generate()
    raw, public = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    seed = key.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    return base64.b64encode(seed).decode(), base64.b64encode(
        key.public_key().public_bytes(raw, public)
    ).decode()


GATEWAY_SEED, GATEWAY_PUBLIC = _keys()
SERVICE_SEED, SERVICE_PUBLIC = _keys()
CREDENTIAL_KEY = base64.b64encode(b"k" * 32).decode()


class BotApi:
    """The Bot API as far as we call it; `script` answers before the ordinary answers do."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.by_chat: dict[str, list[Answer]] = {}
        self.webhooks: dict[str, Mapping[str, str]] = {}
        self.next_id = 100
        self.wire = WireFake(self._respond)

    def _respond(self, call: Call) -> Answer:
        token, method = call.path.removeprefix("/bot").split("/")
        bot_id = int(token.split(":")[0])
        if bot_id not in {7000000001, 7000000002}:
            return refusal(401, "Unauthorized")
        if method == "sendMessage":
            return self._send(call)
        if method == "getMe":
            return as_json(
                {"ok": True, "result": {"id": bot_id, "is_bot": True, "username": f"bot_{bot_id}"}}
            )
        if method == "setWebhook":
            self.webhooks[token] = call.fields
            return as_json({"ok": True, "result": True})
        if method == "getWebhookInfo":
            url = self.webhooks.get(token, {}).get("url", "")
            return as_json({"ok": True, "result": {"url": url, "pending_update_count": 0}})
        if method == "deleteWebhook":
            self.webhooks.pop(token, None)
        return as_json({"ok": True, "result": True})

    def _send(self, call: Call) -> Answer:
        scripted = self.by_chat.get(call.fields["chat_id"]) or self.script
        if scripted:
            return scripted.pop(0)
        self.next_id += 1
        return as_json({"ok": True, "result": {"message_id": self.next_id, "something_new": {"type": "?"}}})

    @property
    def sent(self) -> list[str]:
        """Texts of all sendMessage calls, in order."""
        return [call.fields["text"] for call in self.wire.calls if call.method == "sendMessage"]


def refusal(code: int, description: str, **parameters: int) -> Answer:
    """A refusal of the Bot API, as the fact sheet shows it."""
    body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if parameters:
        body["parameters"] = parameters
    return as_json(body, code)


@dataclass
class Stage:
    """One running replica and what a test needs around it."""

    api: BotApi
    service: Service
    database: Database
    publisher: Publisher
    public: httpx2.AsyncClient
    internal: httpx2.AsyncClient
    inbound: asyncio.Queue[tuple[Inbound, aio_pika.abc.AbstractIncomingMessage]]
    journal: asyncio.Queue[dict[str, Any]]
    health: asyncio.Queue[ChannelHealthReported]
    out_seq: dict[int, int] = field(default_factory=dict)
    has_crashed: bool = False

    async def put_account(
        self, channel_id: str = CHANNEL, *, token: str = TOKEN, tenant: str = "salon", **more: Any
    ) -> httpx2.Response:
        body = {
            "kind": KIND,
            "tenant_id": tenant,
            "credentials": {"token": token},
            "api_base": self.api.wire.url,
            **more,
        }
        return await self.internal.put(
            f"/internal/accounts/{channel_id}", json=body, headers=caller_headers(tenant)
        )

    async def activate(self, channel_id: str = CHANNEL, tenant: str = "salon") -> httpx2.Response:
        return await self.internal.post(
            f"/internal/accounts/{channel_id}/activate", headers=caller_headers(tenant)
        )

    async def connected(self, channel_id: str = CHANNEL, *, token: str = TOKEN, tenant: str = "salon") -> str:
        """An active channel; returns its webhook secret."""
        assert (await self.put_account(channel_id, token=token, tenant=tenant)).status_code == 200
        assert (await self.activate(channel_id, tenant)).status_code == 200
        return self.api.webhooks[token]["secret_token"]

    async def post(
        self, body: bytes | dict[str, Any], secret: str | bytes | None, channel_id: str = CHANNEL
    ) -> httpx2.Response:
        """A webhook as Telegram sends it."""
        headers: dict[bytes, bytes] = {b"content-type": b"application/json"}
        if secret is not None:
            headers[b"x-telegram-bot-api-secret-token"] = (
                secret if isinstance(secret, bytes) else secret.encode()
            )
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return await self.public.post(
            f"/webhooks/{KIND}/{channel_id}", content=content, headers=list(headers.items())
        )

    async def next_inbound(self) -> Inbound:
        async with asyncio.timeout(10):
            event, _ = await self.inbound.get()
        return event

    async def report_of(self, message_id: str) -> DeliveryReported:
        """The report of one send; those of others are put back."""
        others = []
        async with asyncio.timeout(20):
            while True:
                event, message = await self.inbound.get()
                if isinstance(event, DeliveryReported) and event.message_id == message_id:
                    break
                others.append((event, message))
        for other in others:
            self.inbound.put_nowait(other)
        return event

    def order(
        self, text: str, *, client: int = CLIENT, out_seq: int | None = None, **more: Any
    ) -> SendMessage:
        """An order to send, with the next `out_seq` of the conversation."""
        if out_seq is None:
            out_seq = self.out_seq.get(client, 0) + 1
        self.out_seq[client] = max(out_seq, self.out_seq.get(client, 0))
        fields: dict[str, Any] = {
            "type": "send.ordered.v1",
            "event_id": new_id(),
            "tenant_id": "salon",
            "channel_id": CHANNEL,
            "channel_kind": KIND,
            "recorded_at": utc_now(),
            "conversation_id": conversation_id(CHANNEL, str(client)),
            "contact_key": str(client),
            "message_id": new_id(),
            "out_seq": out_seq,
            "author_kind": AuthorKind.OPERATOR,
            "client_wrote_at": None,
            "text": text,
            "media": [],
            "buttons": [],
            "reply_to_provider_id": None,
            "place": None,
            "shared_contact": None,
            "template": None,
            "is_reaction": False,
        }
        return SendMessage(**{**fields, **more})

    async def publish(self, *orders: SendMessage | CancelSend) -> None:
        """Put orders on the bus, as inbox does."""
        await self.publisher.publish_all(
            [
                Outgoing(
                    exchange=topology.SENDS,
                    routing_key=topology.channel_key(KIND, order.channel_id),
                    body=order.model_dump_json().encode(),
                    event_id=order.event_id,
                    type=order.type,
                )
                for order in orders
            ]
        )

    async def say(self, text: str, **more: Any) -> SendMessage:
        order = self.order(text, **more)
        await self.publish(order)
        return order

    async def crash(self) -> None:
        """End without a word: nothing is drained, nobody says goodbye."""
        self.has_crashed = True
        await self.service.stop()


def make_settings(amqp_url: str, mongo_url: str, mongo_prefix: str, api_url: str, **more: Any) -> Settings:
    values: dict[str, Any] = {
        "rabbitmq_url": SecretStr(amqp_url),
        "mongo_url": SecretStr(mongo_url),
        "mongo_prefix": mongo_prefix,
        "public_port": 0,
        "internal_port": 0,
        "instance": f"test-{new_id()[:8]}",
        "service_key": SecretStr(SERVICE_SEED),
        "service_public_keys": {"gateway": GATEWAY_PUBLIC, "inbox": SERVICE_PUBLIC},
        "public_url": "http://127.0.0.1:8081",
        "internal_url": "http://127.0.0.1:9081",
        "api_bases": (api_url,),
        "credential_keys": CredentialKeys(primary="k1", keys={"k1": SecretStr(CREDENTIAL_KEY)}),
        **more,
    }
    return Settings(**values)


def process_environment(
    amqp_url: str,
    mongo_url: str,
    mongo_prefix: str,
    api_url: str,
    public_port: int,
    internal_port: int,
    objects: Path,
) -> dict[str, str]:
    """The environment of `python -m ingest_telegram.app`."""
    return {
        "RABBITMQ_URL": amqp_url,
        "MONGO_URL": mongo_url,
        "ROZMOVA_MONGO_PREFIX": mongo_prefix,
        "ROZMOVA_PUBLIC_PORT": str(public_port),
        "ROZMOVA_INTERNAL_PORT": str(internal_port),
        "ROZMOVA_SERVICE_KEY": SERVICE_SEED,
        "ROZMOVA_SERVICE_PUBLIC_KEYS": json.dumps({"gateway": GATEWAY_PUBLIC}),
        "ROZMOVA_PUBLIC_URL": f"http://127.0.0.1:{public_port}",
        "ROZMOVA_INTERNAL_URL": f"http://127.0.0.1:{internal_port}",
        "ROZMOVA_API_BASES": json.dumps([api_url]),
        "ROZMOVA_OBJECTS_URL": objects.as_uri(),
        "ROZMOVA_CREDENTIAL_KEYS": json.dumps({"primary": "k1", "keys": {"k1": CREDENTIAL_KEY}}),
    }


def caller_headers(tenant: str = "salon") -> dict[str, str]:
    """The headers of a call from gateway."""
    token = ServiceTokens("gateway", GATEWAY_SEED, {}).issue(SERVICE, tenant_id=tenant, user_id="olena")
    return {"authorization": f"Bearer {token}"}


@asynccontextmanager
async def running(
    api: BotApi,
    amqp_url: str,
    mongo_url: str,
    mongo_prefix: str,
    *,
    watch: bool = True,
    serve: bool = True,
    **more: Any,
) -> AsyncIterator[Stage]:
    """A replica that runs while the block does.

    `watch` False leaves the bus unread; `serve` False starts no replica: one runs elsewhere; `more` are
    settings.
    """
    objects = tempfile.TemporaryDirectory()
    own = {"objects_url": Path(objects.name).as_uri()}
    settings = make_settings(amqp_url, mongo_url, mongo_prefix, api.wire.url, **(own | more))
    service = build_ingest(
        TelegramBotConnector(TelegramClient(KIND, ObjectStore(settings.objects_url))), settings
    )
    if serve:
        await service.start()
    publisher = Publisher(amqp_url, "test")
    mongo = Mongo(mongo_url, settings.database_name(SERVICE))
    inbound: asyncio.Queue[Any] = asyncio.Queue()
    journal: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    health: asyncio.Queue[ChannelHealthReported] = asyncio.Queue()
    connection = await aio_pika.connect(amqp_url)
    assert service.public is not None
    public = httpx2.AsyncClient(transport=httpx2.ASGITransport(service.public), base_url="http://public")
    internal = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(service.internal), base_url="http://internal"
    )
    stage = Stage(api, service, mongo.database, publisher, public, internal, inbound, journal, health)
    try:
        if watch:
            await _watch(connection, inbound, journal, health)
        yield stage
    finally:
        try:
            if serve and not stage.has_crashed:
                async with asyncio.timeout(30):
                    await service.drain()
        finally:
            await service.stop()
            await public.aclose()
            await internal.aclose()
            await publisher.close()
            await connection.close()
            mongo.close()
            objects.cleanup()
            # aio-pika closes connections that never came to be when they are collected, which needs a loop.
            gc.collect()


async def _watch(
    connection: aio_pika.abc.AbstractConnection,
    inbound: asyncio.Queue[Any],
    journal: asyncio.Queue[dict[str, Any]],
    health: asyncio.Queue[ChannelHealthReported],
) -> None:
    channel = await connection.channel()

    async def on_inbound(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        event = INBOUND.validate_json(message.body)
        if isinstance(event, ChannelHealthReported):
            health.put_nowait(event)  # comes whenever the watch looks: between any two others
        else:
            inbound.put_nowait((event, message))

    async def on_journal(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        journal.put_nowait(json.loads(message.body))

    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(topology.INBOUND, "#")
    await queue.consume(on_inbound, no_ack=True)
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(topology.JOURNAL_EXCHANGE, "#")
    await queue.consume(on_journal, no_ack=True)
