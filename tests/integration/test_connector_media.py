"""Files of clients' messages: fetched from a real server, kept in a real store, told on a real bus."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import aio_pika
import httpx2
import pytest
import pytest_asyncio
from PIL import Image

from msgkit.connector import media_jobs, media_store
from msgkit.connector.acceptance import Acceptance, NotAccepted
from msgkit.connector.account_alerts import AccountAlerts
from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import (
    Account,
    AccountState,
    Connector,
    MediaStream,
    Parsed,
    WebhookRequest,
)
from msgkit.connector.credentials import Keyring
from msgkit.connector.errors import MessageRejected, ProviderUnavailable, Throttled
from msgkit.connector.media_jobs import MediaJobs, Patience
from msgkit.connector.media_store import MediaStore
from msgkit.connector.quarantine import Quarantine
from msgkit.contracts import topology
from msgkit.contracts.events import (
    INBOUND,
    Contact,
    Content,
    MediaRef,
    MediaSettled,
    MessageEchoed,
    MessageReceived,
    StoredMedia,
)
from msgkit.contracts.ids import attachment_id, conversation_id, inbound_message_id, new_id
from msgkit.contracts.manifest import Abilities, Limit, Manifest
from msgkit.contracts.words import AuthorKind, FailureCode, MessageKind
from msgkit.runtime import bus
from msgkit.runtime.bus import Publisher
from msgkit.runtime.clock import utc_now
from msgkit.runtime.http import authorities
from msgkit.runtime.media import MediaInspector, Workspace
from msgkit.runtime.mongo import Mongo, StoreUnavailable
from msgkit.runtime.objects import ObjectMissing, ObjectStore, new_key
from msgkit.testing.phone import until
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers

KIND = "played_bot"
CHANNEL = "a" * 32
OTHER_CHANNEL = "b" * 32
LIMIT = 30 * 1024 * 1024
QUICK = Patience(first_pause_s=0.05)
NO_PATIENCE = Patience(
    transfer_s=0.5, messenger=timedelta(0), tries_at_least=2, ourselves=timedelta(hours=1), first_pause_s=0.05
)

Speak = Callable[[asyncio.StreamWriter], Awaitable[None]]


def photo() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "CanaryPhone"
    buffer = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((800, 600)).save(buffer, format="JPEG", exif=exif)
    return buffer.getvalue()


class FileServer:
    """The messenger's server of files; each path is answered as its `files` entry says."""

    def __init__(self) -> None:
        self.files: dict[str, Speak] = {}
        self.asked: list[str] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def until_asked(self, count: int) -> None:
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.asked) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode().removeprefix("/")
            async with self._arrived:
                self.asked.append(path)
                self._arrived.notify_all()
            await self.files.get(path, status(404))(writer)
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client went away, or the test ended
        finally:
            self._open.discard(task)
            writer.close()


def whole(data: bytes, *, length: int | None = None) -> Speak:
    async def speak(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {length or len(data)}\r\n\r\n".encode() + data)

    return speak


def status(code: int) -> Speak:
    async def speak(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {code} X\r\ncontent-length: 0\r\n\r\n".encode())

    return speak


def endless(*, pause_s: float = 0.0, size: int = 65536) -> Speak:
    """Bytes without an announced length, for ever."""

    async def speak(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        while True:
            writer.write(bytes(size))
            await writer.drain()
            await asyncio.sleep(pause_s)  # pace: the server is slow

    return speak


def first_then(first: Speak, then: Speak) -> Speak:
    turns = iter([first])

    async def speak(writer: asyncio.StreamWriter) -> None:
        await next(turns, then)(writer)

    return speak


class PlayedMessenger:
    """As much of a connector as files need: a reference is a path on its server."""

    def __init__(self, base_url: str) -> None:
        self._http = httpx2.AsyncClient(base_url=base_url, trust_env=False, verify=authorities())
        self.manifest = Manifest(
            kind=KIND,
            title="Played",
            service="ingest-played",
            abilities=Abilities(
                bot=True,
                buttons=False,
                edit=False,
                delete=False,
                typing=False,
                receipts=False,
                knows_phone=False,
                needs_prior_inbound=True,
                read_marks=False,
                reactions=False,
                templates=False,
                media_kinds=["image"],
            ),
            limits={"file_in": Limit(value=LIMIT, unit="bytes", source="this test")},
            reply_window_hours=None,
            human_reply_window_hours=None,
            human_agent_by_default=False,
            credentials_schema={},
        )

    @asynccontextmanager
    async def open_media(self, ref: str, account: Account) -> AsyncIterator[MediaStream]:
        assert account.credentials["token"] == "secret"
        if ref == "a-bug":
            raise ZeroDivisionError
        try:
            async with self._http.stream("GET", ref) as response:
                if response.status_code == 404:
                    raise MessageRejected(FailureCode.REJECTED, "Файл уже недоступний.")
                if response.status_code == 429:
                    raise Throttled(0.6)
                if response.status_code != 200:
                    raise ProviderUnavailable(str(response.status_code))
                length = response.headers.get("content-length")
                yield MediaStream(None if length is None else int(length), None, None, response.aiter_bytes())
        except httpx2.TransportError as exc:
            raise ProviderUnavailable(type(exc).__name__) from exc

    async def aclose(self) -> None:
        await self._http.aclose()


@dataclass
class Stage:
    """What every replica of the service shares, and the bus as inbox sees it."""

    server: FileServer
    accounts: AccountStore
    store: MediaStore
    database: Any
    objects: ObjectStore
    publisher: Publisher
    settled: asyncio.Queue[MediaSettled]
    received: asyncio.Queue[MessageReceived]
    sent: int = 0
    connectors: list[PlayedMessenger] = field(default_factory=list)

    def jobs(self, patience: Patience = QUICK, **more: Any) -> MediaJobs:
        """One replica, not yet running."""
        connector = PlayedMessenger(self.server.url)
        self.connectors.append(connector)
        parts: dict[str, Any] = {
            "connector": connector,
            "manifests": (connector.manifest,),
            "accounts": self.accounts,
            "store": self.store,
            "objects": self.objects,
            "inspector": MediaInspector(),
            "workspace": Workspace("ingest-played"),
            "publisher": self.publisher,
            "patience": patience,
        }
        return MediaJobs(**{**parts, **more})

    @asynccontextmanager
    async def running(self, jobs: MediaJobs | None = None) -> AsyncIterator[MediaJobs]:
        jobs = jobs or self.jobs()
        await jobs.prepare()
        task = asyncio.create_task(jobs.run())
        yield jobs
        async with asyncio.timeout(20):
            await jobs.drain()
            await task

    def message(self, *refs: str, channel_id: str = CHANNEL) -> MessageReceived:
        self.sent += 1
        return MessageReceived(
            type="message.received.v1",
            event_id=new_id(),
            tenant_id="salon",
            channel_id=channel_id,
            channel_kind=KIND,
            recorded_at=utc_now(),
            conversation_id=conversation_id(channel_id, "client"),
            webhook_id=new_id(),
            raw="{}",
            contact=Contact(key="client", name="Оля", username=None, phone=None, language=None),
            provider_id=str(self.sent),
            provider_seq=self.sent,
            sent_at=utc_now(),
            content=Content(
                kind=MessageKind.IMAGE if refs else MessageKind.TEXT,
                text="",
                entities=[],
                media=[_media(ref) for ref in refs],
                place=None,
                shared_contact=None,
                shared_link=None,
                unsupported=None,
            ),
            reply_to_provider_id=None,
            start_payload=None,
            group_id=None,
            pressed=None,
            is_standby=False,
        )

    async def was_throttled(self) -> bool:
        return await self.database["media_jobs"].find_one({"problem": "throttled"}) is not None

    async def next_settled(self) -> MediaSettled:
        async with asyncio.timeout(15):
            return await self.settled.get()

    async def account(self, channel_id: str, state: AccountState = "active") -> None:
        await self.accounts.save(
            Account(
                channel_id=channel_id,
                tenant_id="salon",
                kind=KIND,
                account_id=channel_id,
                account_name=None,
                api_base=None,
                state=state,
                problem=None,
                paused_until=None,
                credentials={"token": "secret"},
                webhook_secret="webhook-secret",
            )
        )

    async def kept(self, stored: StoredMedia | None) -> bytes:
        assert stored is not None
        return b"".join([chunk async for chunk in self.objects.read(stored.key)])

    async def open_jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.database["media_jobs"].find({"open": True}).to_list(None)
        return found


def _media(ref: str) -> MediaRef:
    return MediaRef(
        ref=ref, kind=MessageKind.IMAGE, name="знімок.jpg", mime="image/jpeg", size_bytes=None, width=None,
        height=None, duration_s=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    server = FileServer()
    await server.start()
    mongo = Mongo(mongo_url, mongo_prefix + "played")
    publisher = Publisher(amqp_url, "test")
    connection = await aio_pika.connect(amqp_url)
    settled: asyncio.Queue[MediaSettled] = asyncio.Queue()
    received: asyncio.Queue[MessageReceived] = asyncio.Queue()

    async def on_inbound(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        event = INBOUND.validate_json(message.body)
        assert message.routing_key == topology.conversation_key(
            KIND, conversation_id(event.channel_id, "client")
        )
        assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
        if isinstance(event, MediaSettled):
            settled.put_nowait(event)
        elif isinstance(event, MessageReceived):
            received.put_nowait(event)

    await bus.declare(amqp_url, ())
    queue = await (await connection.channel()).declare_queue(exclusive=True)
    await queue.bind(topology.INBOUND, "#")
    await queue.consume(on_inbound, no_ack=True)
    stage = Stage(
        server=server,
        accounts=AccountStore(mongo.database, Keyring("k1", {"k1": _key()})),
        store=MediaStore(mongo.database),
        database=mongo.database,
        objects=ObjectStore((tmp_path / "objects").as_uri()),
        publisher=publisher,
        settled=settled,
        received=received,
    )
    await stage.account(CHANNEL)
    await stage.account(OTHER_CHANNEL)
    yield stage
    await server.stop()
    for connector in stage.connectors:
        await connector.aclose()
    await publisher.close()
    await connection.close()
    mongo.close()


def _key() -> str:
    return base64.b64encode(b"k" * 32).decode()


async def test_photo_is_kept_and_told_once(stage: Stage) -> None:
    data = photo()
    assert b"CanaryPhone" in data
    stage.server.files["photo"] = whole(data)
    async with stage.running() as jobs:
        message = stage.message("photo")
        await asyncio.gather(*(jobs.enqueue([message]) for _ in range(3)))
        event = await stage.next_settled()
        await jobs.enqueue([message])

        message_id = inbound_message_id(message.conversation_id, message.provider_id)
        assert event.message_id == message_id
        assert event.attachment_id == attachment_id(message_id, "photo")
        assert (event.tenant_id, event.channel_id, event.reason) == ("salon", CHANNEL, None)
        assert event.stored is not None
        kept = await stage.kept(event.stored)
        assert b"CanaryPhone" not in kept
        assert (event.stored.mime, event.stored.size_bytes) == ("image/jpeg", len(kept))
        assert (event.stored.width, event.stored.height) == (800, 600)
        assert event.stored.thumb_key is not None
        assert 0 < await stage.objects.size(event.stored.thumb_key) < len(kept)
    assert stage.server.asked == ["photo"]
    assert stage.settled.empty()
    assert await stage.open_jobs() == []
    (done,) = await stage.database["media_jobs"].find({}).to_list(None)
    assert done["expires_at"] - utc_now() > timedelta(days=6)


async def test_every_file_of_a_message_is_a_job_and_texts_are_none(stage: Stage) -> None:
    for n in range(5):
        stage.server.files[f"f{n}"] = whole(b"%PDF-1.7 " + bytes([n]))
    async with stage.running() as jobs:
        await jobs.enqueue([stage.message(), stage.message("f0", "f1", "f2"), stage.message("f3", "f4")])
        events = [await stage.next_settled() for _ in range(5)]
    assert {(await stage.kept(event.stored))[-1] for event in events} == set(range(5))
    assert await stage.database["media_jobs"].count_documents({}) == 5


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (status(404), "gone"),
        (whole(b"x" * 100, length=LIMIT + 1), "too_big"),
        (endless(), "too_big"),
        (whole(b"", length=0), "unreadable"),
        (
            whole(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\xc3\x50\x00\x00\xc3\x50\x08\x02\x00\x00\x00"),
            None,
        ),
    ],
    ids=["gone", "announced", "endless", "empty", "half a png"],
)
async def test_file_that_cannot_be_had_says_why(stage: Stage, answer: Speak, reason: str | None) -> None:
    stage.server.files["file"] = answer
    async with stage.running() as jobs:
        await jobs.enqueue([stage.message("file")])
        event = await stage.next_settled()
    assert (event.reason, event.stored is None) == (reason, reason is not None)
    assert await stage.open_jobs() == []


@pytest.mark.parametrize("answer", [endless(pause_s=0.05, size=10), status(500), whole(b"half", length=9)])
async def test_messenger_that_does_not_deliver_is_unavailable_in_the_end(stage: Stage, answer: Speak) -> None:
    """A slow drip, a fault of the server, a connection that breaks off: tried again, then lost."""
    stage.server.files["file"] = answer
    async with stage.running(stage.jobs(NO_PATIENCE)) as jobs:
        await jobs.enqueue([stage.message("file")])
        event = await stage.next_settled()
    assert event.reason == "unavailable"
    assert len(stage.server.asked) == 2


async def test_fault_of_the_connector_ends_no_service(stage: Stage) -> None:
    stage.server.files["good"] = whole(b"%PDF-")
    async with stage.running(stage.jobs(NO_PATIENCE)) as jobs:
        await jobs.enqueue([stage.message("a-bug"), stage.message("good")])
        reasons = {(await stage.next_settled()).reason for _ in range(2)}
    assert reasons == {"unavailable", None}


async def test_short_trouble_costs_only_time(stage: Stage) -> None:
    stage.server.files["file"] = first_then(status(503), whole(photo()))
    async with stage.running() as jobs:
        await jobs.enqueue([stage.message("file")])
        event = await stage.next_settled()
    assert event.stored is not None
    assert len(stage.server.asked) == 2


async def test_throttled_channel_waits_and_no_attempt_is_counted(stage: Stage) -> None:
    stage.server.files |= {
        "first": first_then(status(429), whole(b"%PDF-1")),
        "second": whole(b"%PDF-2"),
        "other": whole(b"%PDF-3"),
    }
    async with stage.running() as jobs:
        await jobs.enqueue([stage.message("first")])
        await until(stage.was_throttled)
        await jobs.enqueue([stage.message("second"), stage.message("other", channel_id=OTHER_CHANNEL)])
        kept = [await stage.kept((await stage.next_settled()).stored) for _ in range(3)]
    assert kept[0] == b"%PDF-3"
    assert (await stage.database["media_jobs"].find_one({"ref": "first"}))["attempts"] == 1


async def test_slow_channel_does_not_hold_another(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_jobs, "DRAIN_S", 0.1)
    stage.server.files |= {"slow": endless(pause_s=0.05, size=10), "quick": whole(b"%PDF-1")}
    async with stage.running(stage.jobs(Patience(transfer_s=5))) as jobs:
        await jobs.enqueue([stage.message(*["slow"]) for _ in range(6)])
        await stage.server.until_asked(media_jobs.WORKERS_PER_CHANNEL)
        await jobs.enqueue([stage.message("quick", channel_id=OTHER_CHANNEL)])
        event = await stage.next_settled()
        assert event.channel_id == OTHER_CHANNEL
        assert stage.server.asked.count("slow") == media_jobs.WORKERS_PER_CHANNEL


async def test_stopped_channel_keeps_its_files_waiting(stage: Stage) -> None:
    await stage.account(CHANNEL, "disconnected")
    stage.server.files |= {"file": whole(b"%PDF-1"), "other": whole(b"%PDF-2")}
    async with stage.running() as jobs:
        await jobs.enqueue([stage.message("file")])
        await jobs.enqueue([stage.message("other", channel_id=OTHER_CHANNEL)])
        assert (await stage.next_settled()).channel_id == OTHER_CHANNEL
    assert stage.server.asked == ["other"]
    (waiting,) = await stage.open_jobs()
    assert waiting["attempts"] == 0


async def test_files_of_a_removed_channel_are_gone(stage: Stage) -> None:
    async with stage.running() as jobs:
        await jobs.enqueue([stage.message("file", channel_id="d" * 32)])
        assert (await stage.next_settled()).reason == "gone"


async def test_job_of_a_dead_worker_is_done_by_another(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_store, "LEASE_SECONDS", 0.3)
    stage.server.files["file"] = whole(photo())
    await stage.store.add([stage.message("file")])
    assert await stage.store.claim("dead", ()) is not None
    assert await stage.store.claim("too early", ()) is None
    async with stage.running():
        event = await stage.next_settled()
    assert event.stored is not None


async def test_long_transfer_stays_with_its_worker(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times as long as the lease, with another replica waiting for it."""
    monkeypatch.setattr(media_store, "LEASE_SECONDS", 0.6)
    monkeypatch.setattr(media_jobs, "LEASE_SECONDS", 0.6)
    monkeypatch.setattr(media_jobs, "NET_S", 0.05)

    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2)  # pace: the messenger is slow
        await whole(b"%PDF-slow")(writer)

    stage.server.files["file"] = slow
    async with stage.running() as jobs, stage.running():
        await jobs.enqueue([stage.message("file")])
        assert await stage.kept((await stage.next_settled()).stored) == b"%PDF-slow"
    assert stage.server.asked == ["file"]
    assert stage.settled.empty()


async def test_decision_of_a_dead_worker_is_told_as_it_was(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the decision was written and before it was told: not fetched again, told once more."""
    monkeypatch.setattr(media_store, "LEASE_SECONDS", 0.3)
    await stage.store.add([stage.message("file")])
    job = await stage.store.claim("dead", ())
    assert job is not None
    decision = media_jobs._settled(job, None, "too_big", utc_now())
    assert await stage.store.decide(job, "dead", decision)
    async with stage.running():
        assert await stage.next_settled() == decision
    assert stage.server.asked == []
    assert await stage.open_jobs() == []


async def test_worker_whose_job_was_taken_over_removes_its_object(stage: Stage, tmp_path: Path) -> None:
    let_go = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await let_go.wait()
        await whole(b"%PDF-late")(writer)

    stage.server.files["file"] = late
    async with stage.running() as jobs:
        await jobs.enqueue([stage.message("file")])
        await stage.server.until_asked(1)
        await stage.database["media_jobs"].update_one({}, {"$set": {"owner": "another"}})
        let_go.set()
    assert stage.settled.empty()
    assert [p for p in (tmp_path / "objects").rglob("*") if p.is_file()] == []
    assert len(await stage.open_jobs()) == 1


async def test_drained_replica_leaves_its_files_to_another(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_jobs, "DRAIN_S", 0.1)
    stage.server.files["file"] = first_then(endless(pause_s=0.05, size=10), whole(photo()))
    async with stage.running() as jobs:
        await jobs.enqueue([stage.message("file")])
        await stage.server.until_asked(1)
    (left,) = await stage.open_jobs()
    assert left["attempts"] == 0
    async with stage.running():
        assert (await stage.next_settled()).stored is not None


async def test_object_store_that_is_away_loses_no_file(stage: Stage, tmp_path: Path) -> None:
    place = tmp_path / "nobody-can-write-here"
    place.write_bytes(b"a file, where a folder should be")
    objects = ObjectStore(place.as_uri())
    stage.server.files["file"] = whole(photo())
    jobs = stage.jobs(NO_PATIENCE, objects=objects)
    await jobs._workspace.prepare()
    running = asyncio.create_task(jobs.run())
    await jobs.enqueue([stage.message("file")])
    await stage.server.until_asked(3)
    place.unlink()
    event = await stage.next_settled()
    assert event.stored is not None
    assert await objects.size(event.stored.key) == event.stored.size_bytes
    await jobs.drain()
    await running


async def test_store_that_is_away_is_said_to_the_messenger(
    stage: Stage, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_jobs, "ENQUEUE_S", 0.5)
    mongo = Mongo(f"mongodb://127.0.0.1:{unused_tcp_port}/?replicaSet=rs0", "nowhere")
    jobs = stage.jobs(store=MediaStore(mongo.database))
    await jobs.enqueue([stage.message()])  # a text needs no store
    with pytest.raises(StoreUnavailable):
        await jobs.enqueue([stage.message("file")])
    mongo.close()


async def test_large_file_is_never_in_memory(stage: Stage) -> None:
    size = 20 * 1024 * 1024
    piece = os.urandom(65536)

    async def film(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n".encode())
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()

    stage.server.files |= {"film": film, "warm": whole(photo())}
    async with stage.running() as jobs:
        await jobs.enqueue([stage.message("warm")])
        await stage.next_settled()
        tracemalloc.start()
        await jobs.enqueue([stage.message("film")])
        event = await stage.next_settled()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert event.stored is not None
    assert event.stored.size_bytes == size
    assert await stage.objects.size(event.stored.key) == size
    assert peak < 10 * 1024 * 1024


async def test_nothing_is_left_in_the_working_folder(stage: Stage, tmp_path: Path) -> None:
    stage.server.files |= {"a": whole(photo()), "b": endless()}
    async with stage.running() as jobs:
        await jobs.enqueue([stage.message("a"), stage.message("b"), stage.message("c")])
        for _ in range(3):
            await stage.next_settled()
    assert [p for p in (tmp_path / "tmp").rglob("*") if p.is_file()] == []
    with pytest.raises(ObjectMissing):
        await stage.objects.size(new_key())


async def test_files_of_a_message_inbox_did_not_order_are_fetched_too(stage: Stage) -> None:
    """What an operator sent in the messenger's own app."""
    said = stage.message("file")
    fields = said.model_dump(exclude={"type", "start_payload", "group_id", "pressed"})
    echo = MessageEchoed(type="message.echoed.v1", author_kind=AuthorKind.OPERATOR, buttons=[], **fields)
    await stage.jobs().enqueue((echo,))
    (job,) = await stage.open_jobs()
    assert job["message_id"] == inbound_message_id(echo.conversation_id, echo.provider_id)


async def test_messenger_must_repeat_a_file_nobody_wrote_down(
    stage: Stage, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is out before the job is tried; its repeat has the same id, so nothing is doubled."""
    monkeypatch.setattr(media_jobs, "ENQUEUE_S", 0.5)
    away = Mongo(f"mongodb://127.0.0.1:{unused_tcp_port}/?replicaSet=rs0", "nowhere")
    message, text = stage.message("file"), stage.message()
    connector = _Says(stage.server.url)
    stage.connectors.append(connector)
    account = await stage.accounts.get(CHANNEL)
    assert account is not None
    request = WebhookRequest({}, b"{}", new_id(), utc_now())

    def acceptance(store: MediaStore) -> Acceptance:
        return Acceptance(
            connector=cast("Connector[Any]", connector),
            road=stage.publisher,
            quarantine=Quarantine(stage.database, "ingest-played"),
            acknowledgements=None,
            media=stage.jobs(store=store),
            alerts=AccountAlerts(stage.database, stage.accounts),
        )

    connector.events = (message,)
    with pytest.raises(NotAccepted, match="store_unavailable"):
        await acceptance(MediaStore(away.database)).take(request, account)
    assert await stage.received.get() == message
    assert (await acceptance(stage.store).take(request, account))[1] == "accepted"
    assert await stage.received.get() == message
    assert len(await stage.open_jobs()) == 1

    connector.events = (text,)
    assert (await acceptance(MediaStore(away.database)).take(request, account))[1] == "accepted"
    away.close()


class _Says(PlayedMessenger):
    """A messenger whose next webhook is known."""

    events: tuple[MessageReceived, ...] = ()

    def parse(self, request: WebhookRequest, account: Account) -> Parsed:
        return Parsed(events=self.events)
