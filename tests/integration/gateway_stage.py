"""A stage for tests of the gateway: the real process, a wire that speaks as inbox, windows that count."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx2
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fastapi import Depends, FastAPI, Request, Response
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from msgkit.contracts.access import may_see
from msgkit.contracts.facts import Change, FactsEnvelope, UiEvent
from msgkit.contracts.ids import new_id
from msgkit.contracts.internal_api import LiveEpoch, MediaRecord, MessageTemplate, ReadMark, Trail
from msgkit.contracts.manifest import Abilities, Limit, Manifest, ManifestAnnounced
from msgkit.contracts.topology import ANNOUNCEMENT_KEY, FACTS, PRESENCE, facts_key, live_stream
from msgkit.contracts.views import (
    AuthorView,
    ChannelRef,
    ChannelSettings,
    ChannelView,
    ContactView,
    Counters,
    MessageView,
    ReplyWindow,
    ViewerRow,
)
from msgkit.contracts.words import (
    AuthorKind,
    Box,
    Direction,
    Handler,
    MessageKind,
    MessageState,
    Status,
)
from msgkit.runtime.bus import Outgoing, Publisher, declare
from msgkit.runtime.problems import Problem, install_problem_handlers
from msgkit.runtime.tokens import Caller, ServiceTokens, caller_dependency
from msgkit.testing.processes import DetachedProcess, free_port, write_private

PASSWORD = "correct horse battery"
USERS = [
    ("olena", "salon", ["admin"]),
    ("ivan", "salon", ["reception"]),
    ("viktor", "salon", ["viber-only"]),
    ("nobody", "salon", []),
    ("maria", "clinic", ["admin"]),
]
TELEGRAM, VIBER, CLINIC = "salon-telegram", "salon-viber", "clinic-telegram"
WHATSAPP = "salon-whatsapp"


@dataclass(frozen=True)
class Keys:
    private: str
    public: str

    @classmethod
    def new(cls) -> Self:
        key = Ed25519PrivateKey.generate()
        raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return cls(base64.b64encode(raw).decode(), base64.b64encode(public).decode())


def channel_view(channel_id: str, roles: list[str] | None, kind: str = "telegram_bot") -> ChannelView:
    return ChannelView(
        id=channel_id,
        kind=kind,
        title=channel_id,
        state="active",
        connected=True,
        account_name="bot",
        credentials_hint="…1234",
        webhook_url=f"http://127.0.0.1/webhooks/{kind}/{channel_id}",
        problem=None,
        settings=ChannelSettings(roles=roles),
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
        rev=1,
    )


@dataclass
class InboxWire:
    """Speaks inbox's internal API; what it says is set by the test."""

    amqp_url: str
    tokens: ServiceTokens
    epoch: str = field(default_factory=new_id)
    channels: dict[str, list[ChannelView]] = field(default_factory=dict)
    counters: dict[str, Counters] = field(default_factory=dict)
    callers: list[Caller] = field(default_factory=list)
    rows: dict[str, ViewerRow] = field(default_factory=dict)
    """Conversations of the salon."""
    media: dict[str, MediaRecord] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    """What operators did, in order."""
    refusal: Problem | None = None
    """The answer to what operators do, instead of doing it."""

    def add_row(self, conversation_id: str, channel_id: str) -> ViewerRow:
        """A conversation of the salon in this channel."""
        self.rows[conversation_id] = conversation_row(conversation_id, channel_id)
        return self.rows[conversation_id]

    def _row(self, who: Caller, conversation_id: str) -> ViewerRow:
        row = self.rows.get(conversation_id)
        channels = {view.id: view for view in self.channels.get(who.tenant_id or "", [])}
        channel = None if row is None else channels.get(row.channel.id)
        if row is None or channel is None or not may_see(who.roles, channel.settings.roles):
            raise Problem(404, "not_found", "Такого немає.")
        return row

    def app(self) -> FastAPI:
        app = FastAPI()
        install_problem_handlers(app)
        caller: Any = Depends(caller_dependency(self.tokens, {"gateway"}))

        @app.get("/internal/live")
        async def live(_who: Caller = caller) -> LiveEpoch:
            return LiveEpoch(epoch=self.epoch)

        @app.post("/internal/live/renew")
        async def renew(body: LiveEpoch, _who: Caller = caller) -> LiveEpoch:
            if body.epoch == self.epoch:
                self.epoch = new_id()
                await declare(self.amqp_url, [live_stream(self.epoch)])
            return LiveEpoch(epoch=self.epoch)

        @app.get("/internal/channels")
        async def channels(who: Caller = caller) -> list[ChannelView]:
            return self.channels.get(who.tenant_id or "", [])

        @app.get("/internal/counters")
        async def counters(who: Caller = caller) -> Counters:
            self.callers.append(who)
            return self.counters.get(who.user_id or "", Counters(lists={"active": 0}, red=0, blue=0))

        self._add_operators_routes(app, caller)
        return app

    def _add_operators_routes(self, app: FastAPI, caller: Any) -> None:
        async def note(request: Request, who: Caller, *id_: str) -> None:
            body = await request.body()
            path = request.url.path.removeprefix("/internal/")
            match = request.headers.get("if-match")
            self.asked.append(Asked(request.method, path, json.loads(body) if body else None, match, who))
            if self.refusal is not None:
                raise self.refusal

        @app.get("/internal/conversations/{conversation_id}")
        async def conversation(conversation_id: str, who: Caller = caller) -> ViewerRow:
            return self._row(who, conversation_id)

        @app.post("/internal/conversations/{conversation_id}/messages", status_code=202)
        async def post(conversation_id: str, request: Request, who: Caller = caller) -> MessageView:
            self._row(who, conversation_id)
            await note(request, who)
            return message_view(conversation_id, who, self.asked[-1].body or {})

        @app.post("/internal/conversations/{conversation_id}/unread")
        async def unread(conversation_id: str, request: Request, who: Caller = caller) -> ReadMark:
            self._row(who, conversation_id)
            await note(request, who)
            return ReadMark(conversation_id=conversation_id, in_seq=0)

        @app.post("/internal/conversations/{conversation_id}/{action}")
        async def act(conversation_id: str, request: Request, who: Caller = caller) -> ViewerRow:
            row = self._row(who, conversation_id)
            await note(request, who)
            return row

        @app.post("/internal/messages/{message_id}/{action}")
        async def decide(message_id: str, request: Request, who: Caller = caller) -> MessageView:
            await note(request, who)
            return message_view("c", who, {"client_msg_id": message_id})

        @app.delete("/internal/messages/{message_id}", status_code=204)
        async def withdraw(message_id: str, request: Request, who: Caller = caller) -> Response:
            await note(request, who)
            return Response(status_code=204)

        @app.get("/internal/messages/{message_id}/trail")
        async def trail(message_id: str, request: Request, who: Caller = caller) -> Trail:
            await note(request, who)
            return Trail(message_id=message_id, steps=[])

        @app.get("/internal/media/{attachment_id}")
        async def media(attachment_id: str, who: Caller = caller) -> MediaRecord:
            if attachment_id not in self.media or who.tenant_id != "salon":
                raise Problem(404, "not_found", "Такого немає.")
            return self.media[attachment_id]


@dataclass
class ConnectorWire:
    """Speaks the internal API of the ingest service of a messenger with templates."""

    KIND = "whatsapp"

    tokens: ServiceTokens
    templates: list[MessageTemplate] = field(default_factory=list)
    refusal: Problem | None = None
    asked: list[Caller] = field(default_factory=list)
    """Who wanted the templates, question by question."""

    def app(self) -> FastAPI:
        app = FastAPI()
        install_problem_handlers(app)
        caller: Any = Depends(caller_dependency(self.tokens, {"gateway"}))

        @app.get("/internal/accounts/{channel_id}/templates")
        async def templates(channel_id: str, who: Caller = caller) -> list[MessageTemplate]:
            self.asked.append(who)
            if self.refusal is not None:
                raise self.refusal
            return self.templates if channel_id == WHATSAPP else []

        return app


@dataclass(frozen=True)
class Asked:
    """One thing an operator did, as inbox was asked for it."""

    method: str
    path: str
    body: dict[str, Any] | None
    if_match: str | None
    who: Caller


def conversation_row(conversation_id: str, channel_id: str) -> ViewerRow:
    kind = ConnectorWire.KIND if channel_id == WHATSAPP else "telegram_bot"
    return ViewerRow(
        id=conversation_id,
        v=3,
        title="Ірина",
        channel=ChannelRef(id=channel_id, kind=kind, title=channel_id),
        contact=ContactView(name="Ірина"),
        client=None,
        handler=Handler.OPERATOR,
        status=Status.OPEN,
        box=Box.NEW,
        assignee=None,
        request=None,
        last_message=None,
        activity_at=datetime(2026, 11, 21, tzinfo=UTC),
        in_seq=1,
        answered_seq=0,
        window=ReplyWindow(open=True),
        rev=3,
        unread=1,
        mark_in_seq=0,
    )


def message_view(conversation_id: str, who: Caller, body: dict[str, Any]) -> MessageView:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    return MessageView(
        id="m1",
        n=1,
        in_seq=0,
        pos_at=now,
        conversation_id=conversation_id,
        request_id="r1",
        client_msg_id=body.get("client_msg_id"),
        direction=Direction.OUT,
        author=AuthorView(kind=AuthorKind.OPERATOR, id=who.user_id, name=who.user_name),
        kind=MessageKind.TEXT,
        text=str(body.get("text", "")),
        provider_time=now,
        created_at=now,
        state=MessageState.QUEUED,
        rev=1,
    )


class Window:
    """A window that keeps the rules of the protocol and everything it was shown."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.ready: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.frames: list[dict[str, Any]] = []
        self.resyncs = 0
        self._told = 0
        self.epoch, self.pos, self.id = "", -1, None

    async def next(self, timeout: float = 10) -> dict[str, Any]:
        """The next frame, after its position was checked and taken over."""
        async with asyncio.timeout(timeout):
            frame: dict[str, Any] = json.loads(await self.socket.recv())
        self.frames.append(frame)
        match frame["type"]:
            case "ready":
                if self.ready:
                    self.resyncs += 1
                self.ready = frame
                if frame["mode"] != "resumed":
                    self.epoch, self.pos, self.id = frame["epoch"], frame["pos"], frame["id"]
            case "batch":
                assert frame["prev"] == self.pos, f"a gap: {frame['prev']} after {self.pos}"
                self.pos, self.id = frame["pos"], frame["id"]
                self.events.extend(frame["events"])
            case "pos":
                self.pos, self.id = frame["pos"], frame["id"]
            case "ping":
                await self.socket.send('{"type":"pong"}')
        return frame

    async def until(self, type_: str, timeout: float = 10) -> dict[str, Any]:
        """Frames up to the first of this type."""
        async with asyncio.timeout(timeout):
            while True:
                frame = await self.next(timeout)
                if frame["type"] == type_:
                    return frame

    async def until_event(self, key: str, timeout: float = 10) -> None:
        """Frames until the event with this `data.id` came."""
        async with asyncio.timeout(timeout):
            while key not in self.ids():
                await self.next(timeout)

    async def until_told(self, type_: str, timeout: float = 10, **data: Any) -> dict[str, Any]:
        """The data of the next event of this type with these values, after the one found before."""
        async with asyncio.timeout(timeout):
            while True:
                for event in self.events[self._told :]:
                    self._told += 1
                    if event["type"] == type_ and data.items() <= event["data"].items():
                        found: dict[str, Any] = event["data"]
                        return found
                await self.next(timeout)

    async def say(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def until_closed(self, timeout: float = 10) -> int:
        """The close code."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    await self.next(timeout)
        except ConnectionClosed:
            return self.socket.close_code or 0

    def ids(self) -> list[str]:
        return [event["data"].get("id", "") for event in self.events]


class Gateway:
    """The real process, its HTTP client and its windows."""

    def __init__(self, folder: Path, env: dict[str, str], port: int, internal_port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.internal_url = f"http://127.0.0.1:{internal_port}"
        self.database = f"{env['ROZMOVA_MONGO_PREFIX']}gateway"
        self._env = env
        self._folder = folder
        self.process = DetachedProcess("gateway", folder / "gateway.pid", folder / "gateway.log")
        self.http = httpx2.AsyncClient(base_url=self.url, trust_env=False, timeout=10)

    async def start(self) -> None:
        self.process.start([sys.executable, "-m", "gateway.app"], env=self._env, cwd=self._folder)
        await self.until_ready()

    async def until_ready(self, timeout: float = 40) -> None:
        async with asyncio.timeout(timeout):
            while True:
                assert self.process.pid is not None, self.process.log_tail(40)
                with contextlib.suppress(httpx2.TransportError):
                    if (await self.http.get("/health/ready")).status_code == 200:
                        return
                await asyncio.sleep(0.05)  # pace: a process that starts has no event to wait for

    @contextlib.asynccontextmanager
    async def twin(self, **more_env: str) -> AsyncIterator[Gateway]:
        """Another replica, on ports of its own; its windows say they come from the first one's pages."""
        port, internal_port = free_port(), free_port()
        folder = self._folder / f"twin-{port}"
        folder.mkdir()
        env = self._env | {
            "ROZMOVA_PUBLIC_PORT": str(port),
            "ROZMOVA_INTERNAL_PORT": str(internal_port),
            "ROZMOVA_INSTANCE": f"twin-{port}",
        }
        twin = Gateway(folder, env | more_env, port, internal_port)
        try:
            await twin.start()
            yield twin
        finally:
            await twin.http.aclose()
            await twin.stop()

    async def stop(self) -> bool:
        return await asyncio.to_thread(self.process.stop, 30)

    def rss_mb(self) -> float:
        """Resident memory of the process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    async def login(self, login: str, password: str = PASSWORD) -> str:
        answer = await self.http.post("/api/v1/auth/login", json={"login": login, "password": password})
        assert answer.status_code == 200, answer.text
        self.http.cookies.clear()  # every login of a test is another browser
        return str(answer.json()["access_token"])

    async def ticket(self, token: str) -> str:
        answer = await self.http.post(
            "/api/v1/ws-ticket", json={}, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["ticket"])

    @contextlib.asynccontextmanager
    async def socket(self, origin: str | None = None) -> AsyncIterator[Window]:
        """A socket that has not said hello."""
        async with connect(
            self.url.replace("http", "ws") + "/api/v1/ws",
            origin=Origin(origin or self.url),
            subprotocols=[Subprotocol("rozmova.v1")],
            proxy=None,
            close_timeout=1,
        ) as socket:
            yield Window(socket)

    @contextlib.asynccontextmanager
    async def window(self, token: str, *, resume: Window | None = None) -> AsyncIterator[Window]:
        """A window that said hello and got its ready."""
        ticket = await self.ticket(token)
        async with self.socket() as window:
            hello: dict[str, Any] = {"type": "hello", "ticket": ticket, "client_id": "test", "build": "test"}
            if resume is not None:
                window.epoch, window.pos, window.id = resume.epoch, resume.pos, resume.id
                window.events = list(resume.events)
                hello |= {"epoch": resume.epoch, "pos": resume.pos, "id": resume.id}
            await window.socket.send(json.dumps(hello))
            await window.until("ready")
            yield window


def announced(kind: str, internal_url: str) -> ManifestAnnounced:
    """What a connector of this kind says of itself."""
    with_templates = kind == ConnectorWire.KIND
    abilities = Abilities(
        bot=True, buttons=True, edit=True, delete=True, typing=True, receipts=False, knows_phone=False,
        needs_prior_inbound=True,
        read_marks=False,
        reactions=False,
        templates=with_templates, media_kinds=[],
    )  # fmt: skip
    manifest = Manifest(
        kind=kind,
        title=kind.title(),
        service=f"ingest-{kind}",
        abilities=abilities,
        limits={"text": Limit(value=4096, unit="utf16_units", source="https://core.telegram.org/bots/api")},
        reply_window_hours=24 if with_templates else None,
        human_reply_window_hours=None,
        human_agent_by_default=False,
        credentials_schema={"type": "object"},
    )
    return ManifestAnnounced(
        type="manifest.announced.v1",
        manifest=manifest,
        internal_url=internal_url,
        instance="test",
        at=datetime.now(UTC),
    )


@dataclass
class Stage:
    amqp_url: str
    inbox: InboxWire
    connector: ConnectorWire
    connector_url: str
    gateway: Gateway
    publisher: Publisher

    async def tell(
        self,
        event_type: str = "message.created",
        *,
        tenant: str = "salon",
        channel: str | None = TELEGRAM,
        conversation: str | None = None,
        v: int | None = None,
        user: str | None = None,
        data: dict[str, Any] | None = None,
        traceparent: str | None = None,
    ) -> str:
        """Publish one fact as inbox does; returns the `data.id` of its event."""
        key = new_id()
        change = Change(
            tenant_id=tenant,
            channel_id=channel,
            conversation_id=conversation,
            user_id=user,
            v=v,
            traceparent=traceparent,
            received_at=datetime.now(UTC),
            events=[UiEvent(type=event_type, data={"id": key, "text": "Добрий день"} | (data or {}))],
        )
        await self.publish([change])
        return key

    async def announce(self, kind: str) -> None:
        """Say as a connector of this kind that it is there; the one with templates really is."""
        url = self.connector_url if kind == ConnectorWire.KIND else "http://127.0.0.1:1"
        body = announced(kind, url).model_dump_json().encode()
        await self.publisher.publish(
            Outgoing(PRESENCE, ANNOUNCEMENT_KEY, body, new_id(), ANNOUNCEMENT_KEY, persistent=False)
        )

    async def kinds(self, bearer: dict[str, str]) -> list[dict[str, Any]]:
        """What the gateway heard of."""
        found: list[dict[str, Any]] = (
            await self.gateway.http.get("/api/v1/channel-kinds", headers=bearer)
        ).json()
        return found

    async def publish(self, changes: list[Change]) -> None:
        await self.publisher.publish(as_fact(changes))


def as_fact(changes: list[Change]) -> Outgoing:
    """What inbox publishes of these changes."""
    envelope = FactsEnvelope(
        type="facts.v1", event_id=new_id(), partition=0, published_at=datetime.now(UTC), changes=changes
    )
    return Outgoing(
        exchange=FACTS,
        routing_key=facts_key(0),
        body=envelope.model_dump_json().encode(),
        event_id=envelope.event_id,
        type=envelope.type,
    )


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals of the test stay the test's."""
        yield


@contextlib.asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """The address of the app, served in this loop."""
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="off", ws="none")
    server = _QuietServer(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)  # pace: the line above says why
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def stage(
    folder: Path, amqp_url: str, mongo_url: str, mongo_prefix: str, **more_env: str
) -> AsyncIterator[Stage]:
    """A gateway process with two tenants; `more_env` overrides its environment."""
    inbox_keys, gateway_keys, session_keys = Keys.new(), Keys.new(), Keys.new()
    connector_keys = Keys.new()
    public_keys = {"inbox": inbox_keys.public, "gateway": gateway_keys.public}
    wire = InboxWire(amqp_url, ServiceTokens("inbox", inbox_keys.private, public_keys))
    connector = ConnectorWire(
        ServiceTokens(f"ingest-{ConnectorWire.KIND}", connector_keys.private, public_keys)
    )
    wire.channels = {
        "salon": [channel_view(TELEGRAM, None), channel_view(VIBER, ["admin", "viber-only"])],
        "clinic": [channel_view(CLINIC, None)],
    }
    await declare(amqp_url, [live_stream(wire.epoch)])
    users_file = folder / "users.json"
    write_users(users_file)
    async with serving(wire.app()) as inbox_url, serving(connector.app()) as connector_url:
        port, internal_port = free_port(), free_port()
        env = {
            "PATH": os.environ["PATH"],
            "RABBITMQ_URL": amqp_url,
            "MONGO_URL": mongo_url,
            "ROZMOVA_MONGO_PREFIX": mongo_prefix,
            "ROZMOVA_PUBLIC_PORT": str(port),
            "ROZMOVA_INTERNAL_PORT": str(internal_port),
            "ROZMOVA_SERVICE_KEY": gateway_keys.private,
            "ROZMOVA_SERVICE_PUBLIC_KEYS": json.dumps(public_keys),
            "ROZMOVA_INBOX_URL": inbox_url,
            "ROZMOVA_SESSION_KEY": session_keys.private,
            "ROZMOVA_USERS_FILE": str(users_file),
            "ROZMOVA_OBJECTS_URL": (folder / "objects").as_uri(),
            "ROZMOVA_UPLOADS_PER_MINUTE_USER": "0",
            "ROZMOVA_REST_PER_S_USER": "0",
            "ROZMOVA_REST_PER_S_TENANT": "0",
            "ROZMOVA_TICKETS_PER_MINUTE_USER": "0",
        } | more_env
        gateway = Gateway(folder, env, port, internal_port)
        publisher = Publisher(amqp_url, "test")
        try:
            await gateway.start()
            yield Stage(amqp_url, wire, connector, connector_url, gateway, publisher)
        finally:
            await publisher.close()
            await gateway.http.aclose()
            await gateway.stop()


def write_users(path: Path, users: list[tuple[str, str, list[str]]] | None = None) -> None:
    write_private(
        path,
        json.dumps(
            {
                "tenants": [{"id": "salon", "title": "Салон"}, {"id": "clinic", "title": "Клініка"}],
                "users": [
                    {"id": f"u-{login}", "tenant": tenant, "login": login, "name": login.title(),
                     "password": PASSWORD, "roles": roles}
                    for login, tenant, roles in (users or USERS)
                ],
            }
        ),
    )  # fmt: skip
