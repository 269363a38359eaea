"""ingest-whatsapp and the sandbox's Cloud API over real HTTP: neither knows the other's code."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
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

from ingest_whatsapp.connector import KIND, SERVICE
from msgkit.contracts import topology
from msgkit.contracts.events import (
    INBOUND,
    BusEvent,
    ContactChanged,
    DeliveryReported,
    Inbound,
    MediaSettled,
    MessageReceived,
    ReadChat,
    SendMessage,
)
from msgkit.contracts.ids import new_id
from msgkit.contracts.presence import TypingNoticed
from msgkit.contracts.views import UserRef
from msgkit.contracts.words import AuthorKind, FailureCode, MessageKind, MessageState
from msgkit.runtime.bus import Outgoing, Publisher
from msgkit.runtime.clock import utc_now
from msgkit.runtime.objects import ObjectStore, new_key
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.processes import free_port
from sandbox.app import running as sandbox_running
from sandbox.settings import Settings as SandboxSettings
from sandbox.settings import WhatsAppNumberSettings

pytestmark = pytest.mark.servers

TOKEN = "EAAGcanaryTokenOfTheNumber0123456789"
SECRET = "9e107d9d372bb6826bd81d3542a419d6"
VERIFY = "words-of-the-handshake"
NUMBER, WABA = "106540352242922", "102290129340398"
CHANNEL = "c" * 32
RSS_MAX_MB = 150
EventT = TypeVar("EventT")


@dataclass
class Stage:
    """One service, two phones, and what a test hears on the bus."""

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

    async def act(self, what: str, client: str = "olena", **body: Any) -> Any:
        """The client does something on the phone."""
        answer = await self.phone.post(f"/control/{CHANNEL}/clients/{client}/{what}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def wrote(self, text: str, client: str = "olena", **more: Any) -> MessageReceived:
        """The client's message, as inbox gets it."""
        written = await self.act("messages", client, text=text, **more)
        return await self.next(MessageReceived, provider_id=written["provider_id"])

    async def shown(
        self, holds: Callable[[list[dict[str, Any]]], Any], client: str = "olena"
    ) -> list[dict[str, Any]]:
        """What the phone shows, once it is as it should be."""
        async with asyncio.timeout(15):
            while True:
                messages = (await self.phone.get(f"/control/{CHANNEL}/clients/{client}/messages")).json()
                if holds(messages):
                    return list(messages)
                await asyncio.sleep(0.05)  # pace: between two looks at the phone

    async def screen(self, client: str = "olena") -> dict[str, Any]:
        """The whole phone."""
        return dict((await self.phone.get(f"/control/{CHANNEL}/clients/{client}/phone")).json())

    async def shown_typing(self, client: str = "olena") -> None:
        """The phone says that we type."""
        async with asyncio.timeout(15):
            while True:
                if (await self.screen(client))["typing"]:
                    return
                await asyncio.sleep(0.05)  # pace: between two looks at the phone

    async def answers(self, count: int, client: str = "olena") -> list[dict[str, Any]]:
        """Our side of the dialogue, once there is so much of it."""
        messages = await self.shown(lambda seen: len(_ours(seen)) >= count, client)
        return _ours(messages)

    async def fail(self, *faults: dict[str, Any]) -> None:
        """Script what the API does wrong from now on."""
        answer = await self.phone.put("/control/faults", json={"faults": faults})
        assert answer.is_success, answer.text

    async def say(self, text: str, to: MessageReceived, **more: Any) -> str:
        """An order, as inbox gives it; returns the id of the message."""
        key = to.conversation_id
        self.out_seq[key] = self.out_seq.get(key, 0) + 1
        order = SendMessage.model_validate(
            {
                **_envelope("send.ordered.v1"),
                "conversation_id": to.conversation_id,
                "contact_key": to.contact.key,
                "message_id": new_id(),
                "out_seq": self.out_seq[key],
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
        await self._order(order)
        return order.message_id

    async def read(self, message: MessageReceived) -> None:
        """An operator has read it, as inbox says."""
        await self._order(
            ReadChat.model_validate(
                {
                    **_envelope("chat.read.v1"),
                    "conversation_id": message.conversation_id,
                    "contact_key": message.contact.key,
                    "provider_id": message.provider_id,
                    "read_at": utc_now(),
                }
            )
        )

    async def type(self, message: MessageReceived) -> None:
        """An operator types, as gateway says."""
        notice = TypingNoticed(
            type="typing.v1",
            tenant_id="salon",
            channel_id=CHANNEL,
            conversation_id=message.conversation_id,
            user=UserRef(id="olena", name="Олена"),
            at=utc_now(),
        )
        body = notice.model_dump_json().encode()
        await self.publisher.publish(
            Outgoing(topology.PRESENCE, notice.type, body, new_id(), notice.type, persistent=False)
        )

    async def _order(self, order: BusEvent) -> None:
        kind: str = getattr(order, "type")  # noqa: B009 - each of them has one
        await self.publisher.publish(
            Outgoing(
                exchange=topology.SENDS,
                routing_key=topology.channel_key(KIND, CHANNEL),
                body=order.model_dump_json().encode(),
                event_id=order.event_id,
                type=kind,
            )
        )

    async def reported(self, message_id: str, state: MessageState) -> DeliveryReported:
        return await self.next(DeliveryReported, message_id=message_id, state=state)

    async def kept(self, path: Path, kind: str, mime: str, name: str) -> dict[str, Any]:
        """A file of ours, as an order names it."""
        key = new_key()
        await self.objects.put_file(key, path)
        size = await self.objects.size(key)
        return {
            "attachment_id": new_id(),
            "key": key,
            "kind": kind,
            "name": name,
            "mime": mime,
            "size_bytes": size,
            "width": None,
            "height": None,
            "duration_s": None,
        }


def _envelope(kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "event_id": new_id(),
        "tenant_id": "salon",
        "channel_id": CHANNEL,
        "channel_kind": KIND,
        "recorded_at": utc_now(),
    }


def _ours(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["direction"] == "out"]


@pytest.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path) -> AsyncIterator[Stage]:
    number = WhatsAppNumberSettings(
        phone_number_id=NUMBER,
        display_phone_number="+380 44 555 07 83",
        waba_id=WABA,
        token=TOKEN,
        app_secret=SECRET,
        verify_token=VERIFY,
        name="Мавка",
        channel_id=CHANNEL,
    )
    settings = SandboxSettings(public_port=0, sandbox_bots=(), sandbox_whatsapp_numbers=(number,))
    async with sandbox_running(settings) as sandbox:
        api_base = f"{sandbox}/graph"
        environment = process_environment(
            amqp_url, mongo_url, mongo_prefix, api_base, free_port(), free_port(), tmp_path / "objects"
        )
        environment |= {
            "ROZMOVA_META_APP_SECRETS": json.dumps([SECRET]),
            "ROZMOVA_META_VERIFY_TOKENS": json.dumps([VERIFY]),
            "ROZMOVA_LOG_LEVEL": "DEBUG",
            "ROZMOVA_TRACES_DIR": str(tmp_path / "traces"),
        }
        process = Process(environment, tmp_path / "log", module="ingest_whatsapp.app")
        await process.start()
        token = ServiceTokens("gateway", GATEWAY_SEED, {}).issue(SERVICE, tenant_id="salon", user_id="olena")
        publisher = Publisher(amqp_url, "test")
        try:
            async with (
                httpx2.AsyncClient(base_url=sandbox, timeout=30) as phone,
                httpx2.AsyncClient(
                    base_url=process.internal, headers={"authorization": f"Bearer {token}"}, timeout=20
                ) as gateway,
            ):
                objects = ObjectStore(environment["ROZMOVA_OBJECTS_URL"])
                stage = Stage(process, phone, gateway, publisher, objects)
                async with _hearing(amqp_url, stage):
                    await _connect(stage, api_base)
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


async def _connect(stage: Stage, api_base: str) -> None:
    """What the vendor does in Meta's dashboard, then what the administrator does in the window."""
    dashboard = {"callback_url": f"{stage.process.public}/webhooks/{KIND}"}
    saved = await stage.phone.put(f"/control/whatsapp/{NUMBER}", json=dashboard)
    assert saved.is_success, saved.text
    credentials = {"phone_number_id": NUMBER, "waba_id": WABA, "access_token": TOKEN}
    body = {"kind": KIND, "tenant_id": "salon", "credentials": credentials, "api_base": api_base}
    wrong = {**body, "credentials": {**credentials, "access_token": "EAAGwrong"}}
    refused = await stage.gateway.put(f"/internal/accounts/{CHANNEL}", json=wrong)
    assert (refused.status_code, refused.json()["code"]) == (422, "credentials_invalid")
    probe = await stage.gateway.put(f"/internal/accounts/{CHANNEL}", json=body)
    assert (probe.status_code, probe.json().get("account_id")) == (200, NUMBER), probe.text
    health = (await stage.gateway.post(f"/internal/accounts/{CHANNEL}/activate")).json()
    assert (health["connected"], health["problem"]) == (True, None), health


async def test_a_dialogue_with_a_phone_and_with_a_user_id_alone(stage: Stage) -> None:
    """Both are answered and read; buttons, lists, reactions, typing; another number is the same person."""
    hello = await stage.wrote("Добрий день")
    number = (await stage.screen())["phone_number"]
    assert hello.contact.phone == f"+{number}"

    buttons = [[{"text": "Манікюр", "action": "callback", "value": "cmd:nails"}]]
    answer = await stage.say("Що робимо?", hello, buttons=buttons, reply_to_provider_id=hello.provider_id)
    sent = await stage.reported(answer, MessageState.SENT)
    await stage.reported(answer, MessageState.DELIVERED)
    (bubble,) = await stage.answers(1)
    assert ([bubble["provider_id"]], bubble["reply_to"]) == (sent.provider_ids, hello.provider_id)
    await stage.act("press", text="Манікюр")
    pressed = await stage.next(MessageReceived)
    assert (pressed.content.text, pressed.pressed and pressed.pressed.value) == ("Манікюр", "cmd:nails")

    hours = [[{"text": f"{hour}:00", "action": "callback", "value": f"at:{hour}"}] for hour in range(9, 15)]
    await stage.reported(await stage.say("О котрій?", hello, buttons=hours), MessageState.DELIVERED)
    await stage.act("press", text="11:00")
    chosen = await stage.next(MessageReceived)
    assert (chosen.content.text, chosen.pressed and chosen.pressed.value) == ("11:00", "at:11")

    sign = {"is_reaction": True, "reply_to_provider_id": chosen.provider_id}
    await stage.reported(await stage.say("👍", hello, **sign), MessageState.SENT)
    await stage.shown(lambda seen: any(one.get("reactions") == {"business": "👍"} for one in seen))

    await stage.type(chosen)
    await stage.shown_typing()
    await stage.read(chosen)
    await stage.shown(lambda seen: all(one["state"] == "read" for one in seen if one["direction"] == "in"))
    last = await stage.say("Чекаємо", hello)
    await stage.reported(last, MessageState.DELIVERED)
    await stage.act("read")
    await stage.reported(last, MessageState.READ)

    await stage.act("change-number", phone_number="380501112233")
    changed = await stage.next(ContactChanged)
    assert (changed.contact.phone, changed.is_new_number) == ("+380501112233", True)
    moved = await stage.wrote("Це мій новий номер")
    assert (moved.conversation_id, moved.contact.key) == (hello.conversation_id, hello.contact.key)
    await stage.reported(await stage.say("Записали", moved), MessageState.DELIVERED)

    await stage.act("identity", "mykola", variant="user_id_only", username="mykola")
    hidden = await stage.wrote("А я без номера", "mykola")
    assert (hidden.contact.phone, hidden.contact.username) == (None, "mykola")
    assert hidden.contact.key.startswith("bsuid:")
    await stage.reported(await stage.say("Вітаємо", hidden), MessageState.DELIVERED)
    assert [one["text"] for one in await stage.answers(1, "mykola")] == ["Вітаємо"]


async def test_files_both_ways_and_nothing_secret_is_written(stage: Stage, tmp_path: Path) -> None:
    photo = await stage.wrote("було", kind="photo", file={"generate": "photo"})
    assert (photo.content.kind, photo.content.text) == (MessageKind.IMAGE, "було")
    settled = await stage.next(MediaSettled)
    assert settled.stored is not None, settled.reason
    assert settled.stored.mime == "image/jpeg"

    picture, prices, archive = tmp_path / "picture", tmp_path / "prices", tmp_path / "archive"
    Image.new("RGB", (64, 48), "red").save(picture, "PNG")
    prices.write_text("Манікюр;500\n")
    archive.write_bytes(b"PK\x05\x06" + b"\x00" * 18)
    files = [
        await stage.kept(picture, "image", "image/png", "стало.png"),
        await stage.kept(prices, "file", "application/octet-stream", "ціни.csv"),
    ]
    place = {"latitude": 50.45, "longitude": 30.52, "title": "Салон", "address": None}
    card = {"name": "Олена", "phone": "+380671234567", "is_own": False}
    answer = await stage.say("Ваші фото", photo, media=files, place=place, shared_contact=card)
    sent = await stage.reported(answer, MessageState.SENT)
    assert len(sent.provider_ids) == 5
    await stage.reported(answer, MessageState.DELIVERED)
    shown = await stage.answers(5)
    assert [one["kind"] for one in shown] == ["photo", "document", "location", "contact", "text"]
    assert shown[1]["file"]["name"] == "ціни.csv"

    # What the upload does not take is refused before anything of it is sent.
    packed = await stage.kept(archive, "file", "application/zip", "усе.zip")
    refused = await stage.reported(await stage.say("Усе разом", photo, media=[packed]), MessageState.FAILED)
    assert refused.failure is not None
    assert refused.failure.code is FailureCode.UNSUPPORTED_KIND
    assert "посилання" in refused.failure.text
    assert len(await stage.answers(5)) == 5

    assert stage.process.resident_mb < RSS_MAX_MB
    assert await stage.process.end(signal.SIGTERM) == 0
    traces = "".join(file.read_text() for file in (tmp_path / "traces").rglob("*") if file.is_file())
    assert "{id}/messages" in traces
    for canary in (TOKEN, SECRET, VERIFY, "Ваші фото", json.dumps("Ваші фото")[1:-1]):
        assert canary not in stage.process.written + traces


async def test_after_a_day_a_template_and_each_failure_ends_in_its_true_state(stage: Stage) -> None:
    olena = await stage.wrote("Добрий день")
    mykola = await stage.wrote("Вітаю", "mykola")

    await stage.fail({"kind": "accept_then_drop", "method": "messages", "client": "olena", "count": 1})
    lost = await stage.say("Відповідь згубилася", olena)
    began = time.monotonic()
    sent = await stage.reported(lost, MessageState.SENT)
    assert time.monotonic() - began < 5
    (only,) = await stage.answers(1)
    assert sent.provider_ids == [only["provider_id"]]

    await stage.fail({"code": 131056, "client": "olena", "count": 1})
    held = await stage.say("Зачекає", olena)
    for number in range(3):
        free = await stage.say(f"Іде {number}", mykola)
        await stage.reported(free, MessageState.SENT)
    assert not [event for event in stage.heard if getattr(event, "message_id", None) == held]
    await stage.reported(held, MessageState.SENT)

    await stage.act("wait", hours=25)
    closed = await stage.reported(await stage.say("Ви ще тут?", olena), MessageState.FAILED)
    assert closed.failure is not None
    assert closed.failure.code is FailureCode.WINDOW_CLOSED

    listed = (await stage.gateway.get(f"/internal/accounts/{CHANNEL}/templates")).json()
    usable = {one["name"] for one in listed if one["unusable"] is None}
    assert {"hello_world", "order_update", "appointment_reminder", "order_ready"} <= usable
    assert "photo_ready" not in usable
    values = [{"part": "body", "index": 0, "name": None, "value": value} for value in ("Олено", "завтра")]
    template = {"name": "appointment_reminder", "language": "uk", "values": values}
    reminded = await stage.say("Вітаємо, Олено! Чекаємо на вас завтра.", olena, template=template)
    await stage.reported(reminded, MessageState.DELIVERED)
    named = [{"part": "body", "index": 0, "name": name, "value": "x"} for name in ("number", "name")]
    ready = {"name": "order_ready", "language": "uk", "values": named}
    await stage.reported(await stage.say("Замовлення x", olena, template=ready), MessageState.DELIVERED)
    assert "Олено" in (await stage.answers(4))[-2]["text"]
    wrong = {"name": "order_update", "language": "en_US", "values": []}
    refused = await stage.reported(await stage.say("x", olena, template=wrong), MessageState.FAILED)
    assert refused.failure is not None
    assert refused.failure.code is FailureCode.REJECTED
    await stage.act("press", text="Буду")
    assert (await stage.next(MessageReceived)).content.text == "Буду"
