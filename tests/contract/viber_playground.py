"""A running sandbox with a Viber bot and that bot's webhook: the stage of Viber's contract tests."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from sandbox.app import running
from sandbox.settings import Settings, ViberBotSettings

TOKEN = "44b935abea139fd6-53fa53b32559c4a6-12dbd3d883b06835"
OTHER_TOKEN = "44b935abea139fd6-53fa53b32559c4a6-00000000000000ff"
CHANNEL = "ch_viber"
PATH = f"/webhooks/viber_bot/{CHANNEL}"
DEADLINE_SECONDS = 15.0
BOTS = (
    ViberBotSettings(token=TOKEN, name="Мавка", uri="mavka"),
    ViberBotSettings(token=OTHER_TOKEN, name="Клініка", uri="clinic"),
)

Json = dict[str, Any]
T = TypeVar("T")


async def _ok(_: Json) -> web.Response:
    return web.Response()


@dataclass
class Edge:
    """A webhook of our own: what a bot's server would be. It also gives files to phones."""

    url: str = ""
    answer: Callable[[Json], Awaitable[web.Response]] = _ok
    got: list[Json] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    signatures: list[tuple[str, str]] = field(default_factory=list)
    """The header's and the address's, of each callback."""
    files: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.Response:
        """Write the callback down, then answer as the test wants."""
        body = await request.read()
        callback: Json = json.loads(body)
        answer = await self.answer(callback)
        async with self.changed:
            self.raw.append(body)
            self.got.append(callback)
            header = request.headers.get("X-Viber-Content-Signature", "")
            self.signatures.append((header, request.query.get("sig", "")))
            self.changed.notify_all()
        return answer

    async def give(self, request: web.Request) -> web.Response:
        """A file of the bot's."""
        body, mime = self.files[request.match_info["name"]]
        return web.Response(body=body, content_type=mime)

    def serve(self, name: str, body: bytes, mime: str = "application/octet-stream") -> str:
        """A public address of these bytes."""
        self.files[name] = body, mime
        return f"{self.url}/m/{name}"

    async def until(self, event: str, count: int = 1) -> list[Json]:
        """All callbacks of this kind, as soon as there are enough."""
        async with asyncio.timeout(DEADLINE_SECONDS), self.changed:
            await self.changed.wait_for(lambda: len(self.of(event)) >= count)
        return self.of(event)

    async def until_said(self, text: str) -> list[str]:
        """Texts of all messages so far, repeats too, as soon as this one is among them."""
        async with asyncio.timeout(DEADLINE_SECONDS), self.changed:
            await self.changed.wait_for(lambda: text in self.texts())
        return self.texts()

    def texts(self) -> list[str]:
        """Texts of all messages in the order they came, repeats too."""
        messages = [callback["message"] for callback in self.of("message")]
        return [str(message.get("text")) for message in messages if isinstance(message, dict)]

    def of(self, event: str) -> list[Json]:
        """All callbacks of this kind so far."""
        return [callback for callback in self.got if callback["event"] == event]


@dataclass
class Stage:
    """One running sandbox, one Viber bot, and the bot's webhook."""

    url: str
    edge: Edge
    http: aiohttp.ClientSession

    async def api(self, method: str, token: str | None = TOKEN, **call: Any) -> Json:
        """A call of Viber's API: HTTP 200 always, the status is in the body."""
        headers = {} if token is None else {"X-Viber-Auth-Token": token}
        # UTF-8: escaped, 7,000 Cyrillic letters would be more than the 30 kB of a call.
        body = json.dumps(call, ensure_ascii=False).encode()
        async with self.http.post(f"{self.url}/viber/pa/{method}", data=body, headers=headers) as answer:
            assert answer.status == 200
            said: Json = await answer.json()
        return said

    async def connect(self, **options: Any) -> Json:
        """Register the edge, with names and photos."""
        asked: dict[str, Any] = {"send_name": True, "send_photo": True, **options}
        return await self.api("set_webhook", url=f"{self.edge.url}{PATH}", **asked)

    async def send(self, client: str, **message: Any) -> Json:
        """The bot writes to the client; a text unless the message says otherwise."""
        filled: dict[str, Any] = {"type": "text", "sender": {"name": "Мавка"}, **message}
        if filled["type"] == "text":
            filled.setdefault("text", "Вітаю")
        return await self.api("send_message", receiver=await self.user_id(client), **filled)

    async def try_control(
        self, path: str, body: Json | None = None, method: str | None = None
    ) -> tuple[int, Json]:
        """A call of the control API: status and JSON."""
        verb = method or ("GET" if body is None else "POST")
        async with self.http.request(verb, f"{self.url}/control/{path}", json=body) as answer:
            return answer.status, await answer.json(content_type=None)

    async def control(self, path: str, body: Json | None = None, method: str | None = None) -> Any:
        """A call of the control API that must succeed."""
        status, answer = await self.try_control(path, body, method)
        assert status < 300, answer
        return answer

    async def act(self, client: str, action: str, **body: object) -> Json:
        """The client does something."""
        return dict(await self.control(f"{CHANNEL}/clients/{client}/{action}", body))

    async def refused(self, client: str, action: str, **body: object) -> Json:
        """The client cannot do that."""
        status, answer = await self.try_control(f"{CHANNEL}/clients/{client}/{action}", body)
        assert status == 409, answer
        return answer

    async def phone(self, client: str) -> Json:
        """The whole phone."""
        return dict(await self.control(f"{CHANNEL}/clients/{client}/phone"))

    async def shows(self, client: str) -> list[Json]:
        """What the client's phone shows."""
        return list(await self.control(f"{CHANNEL}/clients/{client}/messages"))

    async def user_id(self, client: str) -> str:
        """Viber's id of a person."""
        return str((await self.phone(client))["chat_id"])

    async def until_shown(self, client: str, text: str) -> Json:
        """The bubble with this text, as soon as the phone shows it."""

        async def find() -> list[Json]:
            return [bubble for bubble in await self.shows(client) if bubble["text"] == text]

        return (await eventually(find))[-1]

    async def faults(self, *faults: Json, seed: int = 0) -> None:
        """Replace the faults in force."""
        await self.control("faults", {"seed": seed, "faults": list(faults)}, "PUT")

    async def pace(self, divisor: float) -> None:
        """Let the hour pass faster."""
        await self.control("pace", {"retry_divisor": divisor}, "PUT")

    async def ledger(self, **wanted: object) -> list[Json]:
        """Entries of the ledger with these values."""
        entries = await self.control("ledger")
        return [e for e in entries if all(e.get(name) == value for name, value in wanted.items())]


def signed(body: bytes, token: str = TOKEN) -> str:
    """The signature of a body."""
    return hmac.new(token.encode(), body, hashlib.sha256).hexdigest()


def shape(value: object) -> object:
    """Keys and types of a JSON value; what differs from run to run is gone."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


async def eventually(read: Callable[[], Awaitable[T]]) -> T:
    """What `read` gives when it first gives something, with a deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (found := await read()):  # noqa: ASYNC110  # a state of another process has no event
            await asyncio.sleep(0.01)  # pace: polls a state with a deadline
    return found


def viber_settings(state: Path | None = None) -> Settings:
    """Two Viber bots on a free port."""
    return Settings(
        host="127.0.0.1", public_port=0, sandbox_bots=(), sandbox_viber_bots=BOTS, sandbox_state=state
    )


@asynccontextmanager
async def stage_of(settings: Settings) -> AsyncIterator[Stage]:
    """A sandbox whose Viber bots have no webhook yet."""
    async with AsyncExitStack() as stack:
        edge = Edge()
        app = web.Application()
        app.router.add_post("/webhooks/{kind}/{channel}", edge.handle)
        app.router.add_get("/m/{name}", edge.give)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        edge.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        url = await stack.enter_async_context(running(settings))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Stage(url, edge, http)
