"""ingest-meta and the sandbox over real HTTP, by all three doors of Meta: neither knows the other's code."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import aio_pika
import httpx2
import pytest
from connector_process import Process
from connector_stage import GATEWAY_SEED, process_environment
from PIL import Image

from ingest_meta.manifests import SERVICE
from msgkit.contracts import topology
from msgkit.contracts.events import (
    INBOUND,
    BusEvent,
    ContactChanged,
    DeliveryReported,
    HumanAgentRefused,
    Inbound,
    MediaSettled,
    MessageEchoed,
    MessageReceived,
    ReadChat,
    SendMessage,
)
from msgkit.contracts.ids import new_id
from msgkit.contracts.words import AuthorKind, FailureCode, MessageKind, MessageState
from msgkit.runtime.bus import Outgoing, Publisher
from msgkit.runtime.clock import utc_now
from msgkit.runtime.objects import ObjectStore, new_key
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.processes import free_port
from msgkit.testing.servers import VirtualHosts, drop_databases
from sandbox.app import running as sandbox_running
from sandbox.settings import InstagramSettings, PageSettings
from sandbox.settings import Settings as SandboxSettings

pytestmark = pytest.mark.servers

SECRET, VERIFY, APP = "9e107d9d372bb6826bd81d3542a419d6", "words-of-the-handshake", "1517776481860111"
TOKEN, LOGIN_TOKEN = "EAAGcanaryTokenOfThePage0123456789", "IGAAcanaryTokenOfTheLogin0123456789"
PAGE, IG, LOGIN_IG = "604455667788990", "17841477001122334", "17841477005566778"
RSS_MAX_MB = 160
EventT = TypeVar("EventT")


@dataclass(frozen=True)
class Door:
    """One of the three ways an account is connected."""

    kind: str
    channel_id: str
    account_id: str
    host: str
    credentials: dict[str, str]


BY_PAGE = {"page_id": PAGE, "access_token": TOKEN}
MESSENGER = Door("facebook", "a" * 32, PAGE, "graph-meta", BY_PAGE)
INSTAGRAM = Door("instagram", "b" * 32, IG, "graph-meta", BY_PAGE)
LOGIN = Door("instagram", "c" * 32, LOGIN_IG, "graph-instagram", {"access_token": LOGIN_TOKEN})
DOORS = (MESSENGER, INSTAGRAM, LOGIN)


@dataclass
class Stage:
    """One service, the phones of its clients, and what a test hears on the bus."""

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

    async def act(self, door: Door, what: str, client: str, **body: Any) -> Any:
        """The client does something on the phone."""
        answer = await self.phone.post(f"/control/{door.channel_id}/clients/{client}/{what}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def wrote(self, door: Door, text: str, client: str, **more: Any) -> MessageReceived:
        """The client's message, as inbox gets it."""
        written = await self.act(door, "messages", client, text=text, **more)
        return await self.next(
            MessageReceived, provider_id=written["provider_id"], channel_id=door.channel_id
        )

    async def answers(
        self, door: Door, client: str, holds: Callable[[list[dict[str, Any]]], Any]
    ) -> list[dict[str, Any]]:
        """Our side of the dialogue on the phone, once it is as it should be."""
        async with asyncio.timeout(15):
            while True:
                address = f"/control/{door.channel_id}/clients/{client}/messages"
                seen = (await self.phone.get(address)).json()
                ours = [one for one in seen if one["direction"] == "out"]
                if holds(ours):
                    return ours
                await asyncio.sleep(0.05)  # pace: between two looks at the phone

    async def violations(self) -> list[dict[str, Any]]:
        """Rules of Meta's that we broke though it took the call, e.g. a tag within 24 hours."""
        entries = (await self.phone.get("/control/ledger")).json()
        return [one for one in entries if one.get("method") == "policy_violation"]

    async def meta(self, door: Door, **does: Any) -> dict[str, Any]:
        """What Meta does by itself, or its dashboard."""
        answer = await self.phone.put(f"/control/meta/{door.account_id}", json=does)
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def fail(self, *faults: dict[str, Any]) -> None:
        """Script what the API does wrong from now on."""
        answer = await self.phone.put("/control/faults", json={"faults": faults})
        assert answer.is_success, answer.text

    async def say(self, door: Door, text: str, to: MessageReceived, **more: Any) -> str:
        """An order, as inbox gives it; returns the id of the message."""
        key = to.conversation_id
        self.out_seq[key] = self.out_seq.get(key, 0) + 1
        order = SendMessage.model_validate(
            {
                **_envelope("send.ordered.v1", door),
                "conversation_id": key,
                "contact_key": to.contact.key,
                "message_id": new_id(),
                "out_seq": self.out_seq[key],
                "author_kind": AuthorKind.OPERATOR,
                "client_wrote_at": to.sent_at,
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
        await self.order(door, order)
        return order.message_id

    async def order(self, door: Door, order: BusEvent) -> None:
        """What inbox orders."""
        kind: str = getattr(order, "type")  # noqa: B009 - each of them has one
        await self.publisher.publish(
            Outgoing(
                exchange=topology.SENDS,
                routing_key=topology.channel_key(door.kind, door.channel_id),
                body=order.model_dump_json().encode(),
                event_id=order.event_id,
                type=kind,
            )
        )

    async def reported(self, message_id: str, state: MessageState) -> DeliveryReported:
        """What became of an order."""
        return await self.next(DeliveryReported, message_id=message_id, state=state)

    async def failed(self, message_id: str) -> FailureCode:
        """Why it did not go out."""
        report = await self.reported(message_id, MessageState.FAILED)
        assert report.failure is not None
        return report.failure.code

    async def kept(self, path: Path, kind: str, mime: str, name: str) -> dict[str, Any]:
        """A file of ours, as an order names it."""
        key = new_key()
        await self.objects.put_file(key, path)
        size = await self.objects.size(key)
        sides: dict[str, Any] = {"width": None, "height": None, "duration_s": None}
        named = {"attachment_id": new_id(), "key": key, "kind": kind, "name": name, "mime": mime}
        return {**named, "size_bytes": size, **sides}

    async def settings(self, door: Door, *, human_agent: bool) -> None:
        """The administrator's choice, as inbox and gateway bring it here."""
        body = {"welcome": {"text": "", "buttons": []}, "commands": [], "human_agent": human_agent}
        answer = await self.gateway.put(f"/internal/accounts/{door.channel_id}/settings", json=body)
        assert answer.status_code == 204, answer.text


def _envelope(kind: str, door: Door) -> dict[str, Any]:
    return {
        "type": kind,
        "event_id": new_id(),
        "tenant_id": "salon",
        "channel_id": door.channel_id,
        "channel_kind": door.kind,
        "recorded_at": utc_now(),
    }


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest.fixture(scope="module")
def mongo_prefix(mongo_url: str) -> Iterator[str]:
    prefix = f"t{new_id()[:10]}_"
    yield prefix
    drop_databases(mongo_url, prefix)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ingest-meta")


@pytest.fixture(scope="module")
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str, folder: Path) -> AsyncIterator[Stage]:
    """One for all tests, each with clients of its own; the last one ends the service."""
    app = {"app_id": APP, "app_secret": SECRET, "verify_token": VERIFY, "name": "Мавка", "human_agent": True}
    settings = SandboxSettings(
        public_port=0,
        sandbox_bots=(),
        sandbox_pages=(PageSettings(page_id=PAGE, token=TOKEN, channel_id=MESSENGER.channel_id, **app),),
        sandbox_instagram_accounts=(
            InstagramSettings(
                ig_id=IG, username="mavka", token=TOKEN, page_id=PAGE, channel_id=INSTAGRAM.channel_id, **app
            ),
            InstagramSettings(
                ig_id=LOGIN_IG,
                username="mavka.two",
                token=LOGIN_TOKEN,
                login="instagram",
                channel_id=LOGIN.channel_id,
                **app,
            ),
        ),
    )
    async with sandbox_running(settings) as sandbox:
        environment = process_environment(
            amqp_url, mongo_url, mongo_prefix, sandbox, free_port(), free_port(), folder / "objects"
        )
        bases = [f"{sandbox}/graph-meta", f"{sandbox}/graph-instagram"]
        environment |= {
            "ROZMOVA_API_BASES": json.dumps(bases),
            "ROZMOVA_META_APP_SECRETS": json.dumps([SECRET]),
            "ROZMOVA_META_VERIFY_TOKENS": json.dumps([VERIFY]),
            "ROZMOVA_HEALTH_EVERY_S": "1.5",
            "ROZMOVA_LOG_LEVEL": "DEBUG",
            "ROZMOVA_TRACES_DIR": str(folder / "traces"),
        }
        process = Process(environment, folder / "log", module="ingest_meta.app")
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
                    for door in DOORS:
                        await _connect(stage, door, sandbox)
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
        known: set[str] = set()

        async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            event = INBOUND.validate_json(message.body)
            # At least once is what the bus promises; inbox knows a repeat by its id as well.
            if event.event_id in known:
                return
            known.add(event.event_id)
            async with stage.news:
                stage.heard.append(event)
                stage.news.notify_all()

        await queue.consume(on_message, no_ack=True)
        yield


async def _connect(stage: Stage, door: Door, sandbox: str) -> None:
    """What the vendor does in Meta's dashboard, then what the administrator does in the window."""
    await stage.meta(door, callback_url=f"{stage.process.public}/webhooks/{door.kind}")
    body = {
        "kind": door.kind,
        "tenant_id": "salon",
        "credentials": door.credentials,
        "api_base": f"{sandbox}/{door.host}",
    }
    wrong = {**body, "credentials": {**door.credentials, "access_token": "EAAGwrong"}}
    address = f"/internal/accounts/{door.channel_id}"
    refused = await stage.gateway.put(address, json=wrong)
    assert (refused.status_code, refused.json()["code"]) == (422, "credentials_invalid"), refused.text
    probe = await stage.gateway.put(address, json=body)
    assert (probe.status_code, probe.json().get("account_id")) == (200, door.account_id), probe.text
    health = (await stage.gateway.post(f"{address}/activate")).json()
    assert (health["connected"], health["problem"]) == (True, None), health


async def test_a_dialogue_at_each_door(stage: Stage) -> None:
    for door in DOORS:
        await _dialogue(stage, door)


async def _dialogue(stage: Stage, door: Door) -> None:
    """Named, answered, pressed, reacted to, read; what staff type elsewhere is theirs and not ours."""
    hello = await stage.wrote(door, "Добрий день", "olena")
    named = await stage.next(ContactChanged, conversation_id=hello.conversation_id)
    assert named.contact.name or named.contact.username

    buttons = [[{"text": "Манікюр", "action": "callback", "value": "cmd:nails"}]]
    answer = await stage.say(
        door, "Що робимо?", hello, buttons=buttons, reply_to_provider_id=hello.provider_id
    )
    sent = await stage.reported(answer, MessageState.SENT)
    (bubble,) = await stage.answers(door, "olena", len)
    assert ([bubble["provider_id"]], bubble["reply_to"]) == (sent.provider_ids, hello.provider_id)
    await stage.act(door, "press", "olena", text="Манікюр")
    pressed = await stage.next(MessageReceived)
    assert (pressed.content.text, pressed.pressed and pressed.pressed.value) == ("Манікюр", "cmd:nails")

    sign = {"is_reaction": True, "reply_to_provider_id": pressed.provider_id}
    await stage.reported(await stage.say(door, "❤️", hello, **sign), MessageState.SENT)
    read = {"contact_key": hello.contact.key, "provider_id": pressed.provider_id, "read_at": utc_now()}
    read |= {"conversation_id": hello.conversation_id}
    await stage.order(door, ReadChat.model_validate({**_envelope("chat.read.v1", door), **read}))

    links = [[{"text": "Наш сайт", "action": "url", "value": "https://mavka.example/"}]]
    last = await stage.say(door, "слово " * 400, hello, buttons=links)
    parts = (await stage.reported(last, MessageState.SENT)).provider_ids
    assert len(parts) == (2 if door is MESSENGER else 5)
    await stage.answers(door, "olena", lambda ours: len(ours) == 1 + len(parts))
    await stage.act(door, "read", "olena")
    await stage.reported(last, MessageState.READ)

    await stage.act(door, "inbox", "olena", text="Пише колега з іншого місця")
    echoed = await stage.next(MessageEchoed)
    assert echoed.content.text == "Пише колега з іншого місця"
    # Each answer of ours was told to us as well; none of them came through as somebody else's.
    assert not [event for event in stage.heard if isinstance(event, MessageEchoed)]
    assert await stage.violations() == []


async def test_windows_by_author_and_what_nobody_granted(stage: Stage) -> None:
    day, minute = timedelta(hours=24), timedelta(minutes=1)
    for door in DOORS:
        await stage.settings(door, human_agent=True)
    ages = {
        "anna": day - minute,
        "mykola": day + minute,
        "iryna": 7 * day - minute,
        "taras": 7 * day + minute,
    }
    for door in (MESSENGER, LOGIN):
        people = {
            who: await stage.wrote(door, "Добрий день", who, seconds_ago=age.total_seconds())
            for who, age in ages.items()
        }
        for who, is_in_time in (("anna", True), ("mykola", True), ("iryna", True), ("taras", False)):
            order = await stage.say(door, "Так", people[who])
            if is_in_time:
                await stage.reported(order, MessageState.SENT)
            else:
                assert await stage.failed(order) is FailureCode.WINDOW_CLOSED
        bot = {"author_kind": AuthorKind.BOT}
        await stage.reported(await stage.say(door, "Так", people["anna"], **bot), MessageState.SENT)
        late = await stage.say(door, "Так", people["mykola"], **bot)
        assert await stage.failed(late) is FailureCode.WINDOW_CLOSED
    assert await stage.violations() == []

    await stage.meta(INSTAGRAM, human_agent=False)
    hello = await stage.wrote(INSTAGRAM, "Добрий день", "anna", seconds_ago=(day + minute).total_seconds())
    assert await stage.failed(await stage.say(INSTAGRAM, "Так", hello)) is FailureCode.WINDOW_CLOSED
    await stage.next(HumanAgentRefused, channel_id=INSTAGRAM.channel_id)


async def test_each_failure_ends_in_its_true_state(stage: Stage) -> None:
    door = MESSENGER
    roman = await stage.wrote(door, "Добрий день", "roman")

    await stage.fail({"kind": "accept_then_drop", "method": "messages", "client": "roman", "count": 1})
    lost = await stage.say(door, "Відповідь згубилася", roman)
    sent = await stage.reported(lost, MessageState.SENT)
    (only,) = await stage.answers(door, "roman", len)
    assert sent.provider_ids == [only["provider_id"]]
    assert not [event for event in stage.heard if isinstance(event, MessageEchoed)]

    await stage.act(door, "handover", "roman", to="inbox")
    taken = await stage.say(door, "Тепер веду я", roman)
    await stage.reported(taken, MessageState.SENT)

    await stage.act(door, "block", "roman")
    assert await stage.failed(await stage.say(door, "Ви тут?", roman)) is FailureCode.RECIPIENT_UNAVAILABLE


async def test_what_was_said_while_we_were_not_subscribed_is_found(stage: Stage) -> None:
    """Dropped by Meta, missed messages of both sides, and the watch that brings them in order."""
    for door in (MESSENGER, LOGIN):
        await stage.wrote(door, "Добрий день", "sofia")
        await stage.meta(door, unsubscribe=True)
        said = [f"Пропущене {n}" for n in range(5)]
        mids = [(await stage.act(door, "messages", "sofia", text=text))["provider_id"] for text in said]
        await stage.act(door, "inbox", "sofia", text="Відповіли з телефону")
        found = [await stage.next(MessageReceived, provider_id=mid) for mid in mids]
        assert [event.content.text for event in found] == said
        echoed = await stage.next(MessageEchoed, channel_id=door.channel_id)
        assert echoed.content.text == "Відповіли з телефону"
        # A pass that was under way before the loss may find them, and ends before the subscription is back.
        async with asyncio.timeout(20):
            while not (await stage.meta(door))["subscribed_fields"]:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)  # pace: between two looks at the sandbox
        await stage.wrote(door, "Знову на зв'язку", "sofia")


async def test_files_both_ways_and_nothing_secret_is_written(stage: Stage, folder: Path) -> None:
    picture, bill = folder / "picture", folder / "bill"
    Image.new("RGB", (64, 48), "red").save(picture, "PNG")
    bill.write_bytes(b"%PDF-1.4\n%%EOF\n")
    for door in DOORS:
        photo = await stage.wrote(door, "було", "petro", kind="photo", file={"generate": "photo"})
        assert (photo.content.kind, photo.content.text) == (MessageKind.IMAGE, "було")
        settled = await stage.next(MediaSettled, channel_id=door.channel_id)
        assert settled.stored is not None, settled.reason
        assert settled.stored.mime == "image/jpeg"
        files = [
            await stage.kept(picture, "image", "image/png", "стало.png"),
            await stage.kept(bill, "file", "application/pdf", "рахунок.pdf"),
        ]
        answer = await stage.say(door, "Ваші фото", photo, media=files)
        sent = await stage.reported(answer, MessageState.SENT)
        assert len(sent.provider_ids) == 3
        shown = await stage.answers(door, "petro", lambda ours: len(ours) == 3)
        assert shown[2]["text"] == "Ваші фото"
        assert shown[1]["file"]["name"] == "рахунок.pdf"
        archive = {**files[1], "mime": "application/zip", "name": "усе.zip"}
        packed = await stage.say(door, "Усе", photo, media=[archive])
        if door is not MESSENGER:
            assert await stage.failed(packed) is FailureCode.UNSUPPORTED_KIND

    assert stage.process.resident_mb < RSS_MAX_MB
    assert await stage.process.end(signal.SIGTERM) == 0
    traces = "".join(file.read_text() for file in (folder / "traces").rglob("*") if file.is_file())
    assert "{id}/messages" in traces
    for canary in (TOKEN, LOGIN_TOKEN, SECRET, VERIFY, "Ваші фото", json.dumps("Ваші фото")[1:-1]):
        assert canary not in stage.process.written + traces
