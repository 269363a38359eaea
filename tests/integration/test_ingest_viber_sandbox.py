"""ingest-viber and the sandbox's Viber over real HTTP: neither knows the other's code."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aio_pika
import httpx2
import pytest
from connector_process import Process
from connector_stage import GATEWAY_SEED, process_environment
from PIL import Image

from ingest_viber.client import PAUSE_FIRST_S
from ingest_viber.connector import KIND, SERVICE
from msgkit.contracts import topology
from msgkit.contracts.events import (
    INBOUND,
    ContactAvailability,
    DeliveryReported,
    Inbound,
    MediaSettled,
    MessageEchoed,
    MessageReceived,
    SendMessage,
)
from msgkit.contracts.ids import conversation_id, new_id
from msgkit.contracts.words import AuthorKind, FailureCode, MessageKind, MessageState
from msgkit.runtime.bus import Outgoing, Publisher
from msgkit.runtime.clock import utc_now
from msgkit.runtime.objects import ObjectStore, new_key
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.processes import free_port
from sandbox.app import running as sandbox_running
from sandbox.settings import Settings as SandboxSettings
from sandbox.settings import ViberBotSettings

pytestmark = pytest.mark.servers

TOKEN = "44b935abea139fd6-53fa53b32559c4a6-12dbd3d883b06835"
OTHER_TOKEN = "55b935abea139fd6-53fa53b32559c4a6-12dbd3d883b06835"
CHANNEL, OTHER_CHANNEL = "c" * 32, "d" * 32
RSS_MAX_MB = 130
EventT = TypeVar("EventT")


@dataclass
class Stage:
    """One service, one phone, and what a test hears on the bus."""

    process: Process
    phone: httpx2.AsyncClient
    gateway: httpx2.AsyncClient
    publisher: Publisher
    objects: ObjectStore
    heard: list[Inbound] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    out_seq: dict[str, int] = field(default_factory=dict)

    async def next(self, kind: type[EventT], **fields: Any) -> EventT:
        """The next event of this kind with these fields; those before it stay."""

        def found() -> Any:
            for event in self.heard:
                if isinstance(event, kind) and all(getattr(event, n) == v for n, v in fields.items()):
                    return event
            return None

        async with asyncio.timeout(20), self.news:
            event = await self.news.wait_for(found)
        self.heard.remove(event)
        assert isinstance(event, kind)
        return event

    async def act(self, what: str, channel: str = CHANNEL, **body: Any) -> Any:
        """The client does something on the phone."""
        answer = await self.phone.post(f"/control/{channel}/clients/olena/{what}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def shown(self, count: int) -> list[dict[str, Any]]:
        """What the bot's side of the phone shows, once it is so much."""
        async with asyncio.timeout(10):
            while True:
                messages = (await self.phone.get(f"/control/{CHANNEL}/clients/olena/messages")).json()
                found = [message for message in messages if message["direction"] == "out"]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.05)  # pace: between two looks at the phone

    async def fail(self, *faults: dict[str, Any]) -> None:
        """Script what Viber's API does wrong from now on."""
        answer = await self.phone.put("/control/faults", json={"faults": faults})
        assert answer.is_success, answer.text

    async def failed(self) -> None:
        """Wait until the first of the scripted faults has struck."""
        async with asyncio.timeout(10):
            while True:
                if (await self.phone.get("/control/faults")).json()["faults"][0]["fired"]:
                    return
                await asyncio.sleep(0.02)  # pace: between two looks at the faults

    async def say(self, text: str, person: str, channel: str = CHANNEL, **more: Any) -> str:
        """An order, as inbox gives it; returns the id of the message."""
        self.out_seq[channel] = self.out_seq.get(channel, 0) + 1
        order = SendMessage.model_validate(
            {
                "type": "send.ordered.v1",
                "event_id": new_id(),
                "tenant_id": "salon",
                "channel_id": channel,
                "channel_kind": KIND,
                "recorded_at": utc_now(),
                "conversation_id": conversation_id(channel, person),
                "contact_key": person,
                "message_id": new_id(),
                "out_seq": self.out_seq[channel],
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
                **more,
            }
        )
        await self.publisher.publish(
            Outgoing(
                exchange=topology.SENDS,
                routing_key=topology.channel_key(KIND, channel),
                body=order.model_dump_json().encode(),
                event_id=order.event_id,
                type=order.type,
            )
        )
        return order.message_id

    async def reported(self, message_id: str, state: MessageState) -> DeliveryReported:
        return await self.next(DeliveryReported, message_id=message_id, state=state)


@pytest.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path) -> AsyncIterator[Stage]:
    bots = (
        ViberBotSettings(token=TOKEN, name="Мавка", uri="mavka"),
        ViberBotSettings(token=OTHER_TOKEN, name="Лісова", uri="lisova"),
    )
    async with sandbox_running(SandboxSettings(public_port=0, sandbox_viber_bots=bots)) as sandbox:
        environment = process_environment(
            amqp_url,
            mongo_url,
            mongo_prefix,
            f"{sandbox}/viber",
            free_port(),
            free_port(),
            tmp_path / "objects",
        )
        environment |= {
            "ROZMOVA_LOG_LEVEL": "DEBUG",
            "ROZMOVA_TRACES_DIR": str(tmp_path / "traces"),
            "ROZMOVA_HEALTH_EVERY_S": "0.5",
        }
        process = Process(environment, tmp_path / "log", module="ingest_viber.app")
        await process.start()
        token = ServiceTokens("gateway", GATEWAY_SEED, {}).issue(SERVICE, tenant_id="salon", user_id="olena")
        objects = ObjectStore(environment["ROZMOVA_OBJECTS_URL"])
        publisher = Publisher(amqp_url, "test")
        try:
            async with (
                httpx2.AsyncClient(base_url=sandbox) as phone,
                httpx2.AsyncClient(
                    base_url=process.internal, headers={"authorization": f"Bearer {token}"}, timeout=20
                ) as gateway,
            ):
                stage = Stage(process, phone, gateway, publisher, objects)
                async with _hearing(amqp_url, stage):
                    await _connect(stage, f"{sandbox}/viber")
                    yield stage
        finally:
            await process.end(signal.SIGKILL)
            await publisher.close()


@asynccontextmanager
async def _hearing(amqp_url: str, stage: Stage) -> AsyncIterator[None]:
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.INBOUND, "#")

        async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            async with stage.news:
                stage.heard.append(INBOUND.validate_json(message.body))
                stage.news.notify_all()

        await queue.consume(on_message, no_ack=True)
        yield


async def _connect(stage: Stage, api_base: str, channel: str = CHANNEL, token: str = TOKEN) -> None:
    body = {"kind": KIND, "tenant_id": "salon", "credentials": {"token": token}, "api_base": api_base}
    probe = await stage.gateway.put(f"/internal/accounts/{channel}", json=body)
    assert (probe.status_code, probe.json()["account_name"] in {"Мавка", "Лісова"}) == (200, True)
    settings = {
        "welcome": {"text": "Вітаємо у «Мавці»!", "buttons": [{"text": "Ціни", "value": "cmd:price"}]},
        "commands": [],
    }
    kept = await stage.gateway.put(f"/internal/accounts/{channel}/settings", json=settings)
    assert kept.status_code == 204, kept.text
    health = (await stage.gateway.post(f"/internal/accounts/{channel}/activate")).json()
    assert (health["connected"], health["problem"]) == (True, None), health


async def test_a_dialogue_with_the_phone(stage: Stage) -> None:
    """Welcome, press, answer with buttons, receipts, own number, leaving and coming back."""
    await stage.act("open", context="crm_7f3A")
    (welcome,) = await stage.shown(1)
    assert welcome["text"] == "Вітаємо у «Мавці»!"

    await stage.act("press", text="Ціни")
    echo = await stage.next(MessageEchoed)
    pressed = await stage.next(MessageReceived)
    assert (echo.content.text, echo.author_kind) == ("Вітаємо у «Мавці»!", AuthorKind.BOT)
    assert echo.sent_at <= pressed.sent_at
    assert (pressed.content.text, pressed.start_payload) == ("Ціни", "crm_7f3A")
    assert pressed.pressed is not None
    assert pressed.pressed.value == "cmd:price"
    person = pressed.contact.key

    answer = await stage.say(
        "Манікюр 500 ₴. Ваш номер?",
        person,
        buttons=[[{"text": "Мій номер", "action": "share_phone", "value": ""}]],
    )
    sent = await stage.reported(answer, MessageState.SENT)
    await stage.reported(answer, MessageState.DELIVERED)
    assert len(sent.provider_ids) == 1
    assert str((await stage.shown(2))[-1]["provider_id"]) == sent.provider_ids[0]
    await stage.act("read")
    await stage.reported(answer, MessageState.READ)

    await stage.act("press", text="Мій номер")
    shared = await stage.next(MessageReceived)
    assert shared.content.shared_contact is not None
    assert shared.content.shared_contact.is_own
    assert shared.contact.phone == shared.content.shared_contact.phone
    assert shared.start_payload is None

    await stage.act("block")
    gone = await stage.next(ContactAvailability)
    assert not gone.available
    refused = await stage.reported(await stage.say("Ви тут?", person), MessageState.FAILED)
    assert refused.contact_blocked
    assert refused.failure is not None
    assert refused.failure.code is FailureCode.BOT_BLOCKED
    await stage.act("messages", text="Я знову тут")
    back = await stage.next(MessageReceived)
    assert (back.content.text, back.contact.key) == ("Я знову тут", person)


async def test_files_both_ways_and_nothing_secret_is_written(stage: Stage, tmp_path: Path) -> None:
    await stage.act("messages", kind="photo", caption="було", file={"generate": "photo"})
    photo = await stage.next(MessageReceived)
    assert (photo.content.kind, photo.content.text) == (MessageKind.IMAGE, "було")
    settled = await stage.next(MediaSettled)
    assert settled.stored is not None, settled.reason
    assert settled.stored.mime == "image/jpeg"

    key, path = new_key(), tmp_path / "picture"
    Image.new("RGB", (64, 48), "red").save(path, "PNG")
    await stage.objects.put_file(key, path)
    file = {
        "attachment_id": "a" * 32,
        "key": key,
        "kind": "image",
        "name": "стало.png",
        "mime": "image/png",
        "size_bytes": path.stat().st_size,
        "width": 64,
        "height": 48,
        "duration_s": None,
    }
    person = photo.contact.key
    answer = await stage.say("стало", person, media=[file, {**file, "kind": "file"}])
    sent = await stage.reported(answer, MessageState.SENT)
    assert len(sent.provider_ids) == 3
    await stage.reported(answer, MessageState.DELIVERED)
    assert [(message["kind"], message["text"]) for message in await stage.shown(3)] == [
        ("photo", ""),
        ("document", ""),
        ("text", "стало"),
    ]

    assert stage.process.resident_mb < RSS_MAX_MB
    assert await stage.process.end(signal.SIGTERM) == 0
    traces = "".join(file.read_text() for file in (tmp_path / "traces").rglob("*") if file.is_file())
    assert "/pa/send_message" in traces
    for canary in (TOKEN, "стало", json.dumps("стало")[1:-1]):
        assert canary not in stage.process.written + traces


async def test_bot_that_must_wait_holds_no_other_and_a_lost_webhook_comes_back(stage: Stage) -> None:
    base = f"{str(stage.phone.base_url).rstrip('/')}/viber"
    await _connect(stage, base, OTHER_CHANNEL, OTHER_TOKEN)
    people = {}
    for channel in (CHANNEL, OTHER_CHANNEL):
        await stage.act("messages", channel, text="Добрий день")
        people[channel] = (await stage.next(MessageReceived, channel_id=channel)).contact.key

    await stage.fail({"status": 12, "channel_id": CHANNEL, "method": "send_message", "count": 1})
    held = await stage.say("зачекає", people[CHANNEL])
    await stage.failed()
    began = time.monotonic()
    for number in range(5):
        free = await stage.say(f"іде {number}", people[OTHER_CHANNEL], OTHER_CHANNEL)
        await stage.reported(free, MessageState.SENT)
    took_s = time.monotonic() - began
    assert all(getattr(event, "message_id", "") != held for event in stage.heard)
    assert took_s < PAUSE_FIRST_S, took_s
    sent = await stage.reported(held, MessageState.SENT)
    assert len(sent.provider_ids) == 1
    assert [message["text"] for message in await stage.shown(1)] == ["зачекає"]

    taken = await stage.phone.post(
        "/viber/pa/set_webhook", json={"url": ""}, headers={"X-Viber-Auth-Token": TOKEN}
    )
    assert taken.json()["status"] == 0
    await stage.reported(await stage.say("після втрати", people[CHANNEL]), MessageState.SENT)
    assert [message["text"] for message in await stage.shown(2)] == ["зачекає", "після втрати"]
    health = (await stage.gateway.get(f"/internal/accounts/{CHANNEL}/health")).json()
    assert health["connected"], health
