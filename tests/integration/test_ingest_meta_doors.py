"""ingest-meta put together: both doors of the app, the spool behind them, receipts and echoes beside."""

from __future__ import annotations

import asyncio
import gc
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
import pytest
import pytest_asyncio
from connector_stage import GATEWAY_SEED, make_settings

from ingest_meta.client import GraphClient
from ingest_meta.connector import MetaConnector
from ingest_meta.manifests import SERVICE
from msgkit.connector.contract import send_mark
from msgkit.connector.ingest import build_ingest
from msgkit.connector.settings import AppKeys
from msgkit.contracts import topology
from msgkit.contracts.events import INBOUND, Inbound, MessageEchoed, MessageReceived
from msgkit.contracts.ids import new_id
from msgkit.contracts.words import AuthorKind
from msgkit.runtime.mongo import Database, Mongo
from msgkit.runtime.objects import ObjectStore
from msgkit.runtime.service import Service
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.servers import VirtualHosts
from msgkit.testing.wire import Answer, Call, WireFake, as_json

pytestmark = pytest.mark.servers

SECRET, VERIFY = "the-app-secret-0123456789", "the-verify-token-1"
KEYS = AppKeys((SECRET,), (VERIFY,))
PAGE, PSID = "604455667788990", "6721445566778899"
IG, IGSID = "17841477001122334", "998877665544332"
CHANNELS = {"facebook": "c" * 32, "instagram": "d" * 32}
CREDENTIALS = {
    "facebook": {"page_id": PAGE, "access_token": "EAAcanaryPageToken"},
    "instagram": {"access_token": "IGAAcanaryToken"},
}
OBJECTS = {"facebook": "page", "instagram": "instagram"}
NOBODY_LISTENS = "amqp://guest:guest@127.0.0.1:1/"
AT_MS = 1795257001877


def graph(call: Call) -> Answer:
    """Who the accounts are; everything else is taken."""
    if call.path.split("?")[0].endswith("/me"):
        is_page = "IGAA" not in call.headers.get("authorization", "")
        return as_json({"id": PAGE, "name": "Мавка"} if is_page else {"user_id": IG, "username": "mavka"})
    return as_json({"success": True, "data": []})


@dataclass
class Replica:
    service: Service
    public: httpx2.AsyncClient
    internal: httpx2.AsyncClient

    async def post(self, kind: str, *items: Any, secret: str = SECRET, door: str | None = None) -> int:
        """A signed webhook of the whole app about the account of this kind, at its own address or another."""
        us = PAGE if kind == "facebook" else IG
        said = {"object": OBJECTS[kind], "entry": [{"id": us, "time": AT_MS, "messaging": list(items)}]}
        body = json.dumps(said, separators=(",", ":")).replace("/", "\\/").encode()
        sealed = hmac.new(secret.encode(), body, "sha256").hexdigest()
        headers = {"x-hub-signature-256": f"sha256={sealed}"}
        answer = await self.public.post(f"/webhooks/{door or kind}", content=body, headers=headers)
        return answer.status_code

    async def connected(self, kind: str, api_base: str) -> None:
        token = ServiceTokens("gateway", GATEWAY_SEED, {}).issue(SERVICE, tenant_id="salon", user_id="olena")
        headers = {"authorization": f"Bearer {token}"}
        at = f"/internal/accounts/{CHANNELS[kind]}"
        body = {
            "kind": kind,
            "tenant_id": "salon",
            "credentials": CREDENTIALS[kind],
            "api_base": api_base,
        }
        put = await self.internal.put(at, json=body, headers=headers)
        assert put.status_code == 200, put.text
        activated = await self.internal.post(f"{at}/activate", headers=headers)
        assert activated.status_code == 200, activated.text


@dataclass
class Stage:
    wire: WireFake
    amqp_url: str
    mongo_url: str
    prefix: str
    objects: str
    database: Database
    heard: list[Inbound] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def replica(self, amqp_url: str | None = None) -> AsyncIterator[Replica]:
        settings = make_settings(
            amqp_url or self.amqp_url, self.mongo_url, self.prefix, self.wire.url, objects_url=self.objects
        )
        connector = MetaConnector(GraphClient(ObjectStore(self.objects)))
        service = build_ingest(connector, settings, has_spool=True, app=KEYS)
        await service.start()
        assert service.public is not None
        replica = Replica(
            service,
            httpx2.AsyncClient(transport=httpx2.ASGITransport(service.public), base_url="http://public"),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(service.internal), base_url="http://internal"),
        )
        try:
            yield replica
        finally:
            try:
                async with asyncio.timeout(30):
                    await service.drain()
            finally:
                await service.stop()
                await replica.public.aclose()
                await replica.internal.aclose()

    async def said(self, channel_id: str, count: int) -> list[MessageReceived | MessageEchoed]:
        """So many messages of this channel, in the order they came."""

        def found() -> list[MessageReceived | MessageEchoed]:
            said = (event for event in self.heard if isinstance(event, MessageReceived | MessageEchoed))
            return [event for event in said if event.channel_id == channel_id]

        async with asyncio.timeout(30), self.news:
            await self.news.wait_for(lambda: len(found()) >= count)
        return found()


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path) -> AsyncIterator[Stage]:
    wire = WireFake(graph)
    await wire.start()
    mongo = Mongo(mongo_url, f"{mongo_prefix}{SERVICE.replace('-', '_')}")
    stage = Stage(wire, amqp_url, mongo_url, mongo_prefix, tmp_path.as_uri(), mongo.database)
    try:
        yield stage
    finally:
        mongo.close()
        await wire.stop()
        gc.collect()  # connections that never came to be are closed when collected


@asynccontextmanager
async def listening(stage: Stage) -> AsyncIterator[None]:
    """Hears what is published; the exchange is there once a replica has started."""
    connection = await aio_pika.connect(stage.amqp_url)
    channel = await connection.channel()

    async def on_inbound(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        async with stage.news:
            stage.heard.append(INBOUND.validate_json(message.body))
            stage.news.notify_all()

    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(topology.INBOUND, "#")
    await queue.consume(on_inbound, no_ack=True)
    try:
        yield
    finally:
        await connection.close()


def wrote(us: str, them: str, mid: str, text: str) -> dict[str, Any]:
    return {
        "sender": {"id": them},
        "recipient": {"id": us},
        "timestamp": AT_MS,
        "message": {"mid": mid, "text": text},
    }


def answered(us: str, them: str, mid: str, text: str, **more: Any) -> dict[str, Any]:
    return {**wrote(them, us, mid, text), "message": {"mid": mid, "text": text, "is_echo": True, **more}}


def seen(kind: str, us: str, them: str) -> dict[str, Any]:
    """What this messenger says later of our message."""
    said = {"delivery": {"mids": [f"{kind}-own"]}} if kind == "facebook" else {"read": {"mid": f"{kind}-own"}}
    return {"sender": {"id": them}, "recipient": {"id": us}, "timestamp": AT_MS, **said}


async def test_both_messengers_come_in_by_doors_of_their_own_even_without_the_broker(stage: Stage) -> None:
    mark = send_mark(new_id(), 0)
    async with stage.replica() as whole, listening(stage):
        for kind in CHANNELS:
            await whole.connected(kind, stage.wire.url)
            shaken = await whole.public.get(
                f"/webhooks/{kind}?hub.mode=subscribe&hub.verify_token={VERIFY}&hub.challenge=77"
            )
            assert (shaken.status_code, shaken.content) == (200, b"77")
        async with stage.replica(NOBODY_LISTENS) as cut_off:
            assert await cut_off.service.health.is_ready()
            for kind, us, them in (("facebook", PAGE, PSID), ("instagram", IG, IGSID)):
                for n, door in enumerate((kind, "facebook", "instagram")):
                    # In the App Dashboard one address may stand for both messengers.
                    assert await cut_off.post(kind, wrote(us, them, f"{kind}-{n}", str(n)), door=door) == 200
                assert await cut_off.post(kind, answered(us, them, f"{kind}-typed", "так")) == 200
                own = answered(us, them, f"{kind}-own", "так", metadata=mark)
                assert await cut_off.post(kind, own, seen(kind, us, them)) == 200
                assert await cut_off.post(kind, wrote(us, them, "forged", "ні"), secret="another's") == 403
        for kind, channel_id in CHANNELS.items():
            said = await stage.said(channel_id, 4)
            assert [event.provider_id for event in said] == [
                *(f"{kind}-{n}" for n in range(3)),
                f"{kind}-typed",
            ]
            assert {event.channel_kind for event in said} == {kind}
            assert [event.author_kind for event in said if isinstance(event, MessageEchoed)] == [
                AuthorKind.OPERATOR
            ]
        # The own echoes are no messages; what is said of their messages waits for the end of their calls.
        parked = await stage.database["parked_statuses"].find({}).sort("kind", 1).to_list(None)
        assert [(each["kind"], each["provider_id"], each["state"]) for each in parked] == [
            ("facebook", "facebook-own", "delivered"),
            ("instagram", "instagram-own", "read"),
        ]
