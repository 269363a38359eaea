"""A running sandbox with WhatsApp numbers and their webhook: the stage of WhatsApp's contract tests."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from viber_playground import eventually

from sandbox.app import running
from sandbox.settings import Settings, WhatsAppNumberSettings

TOKEN = "EAAGplainNumberToken0123456789"
COEX_TOKEN = "EAAGcoexistenceToken0123456789"
SECRET = "9e107d9d372bb6826bd81d3542a419d6"
VERIFY = "перевір-мене"
NUMBER = "106540352242922"
COEX = "106540352242955"
WABA = "102290129340398"
COEX_WABA = "102290129340399"
CHANNEL = "ch_whatsapp"
PATH = f"/webhooks/whatsapp/{CHANNEL}"
COEX_PATH = "/webhooks/whatsapp/ch_coex"
DEADLINE_SECONDS = 15.0
NUMBERS = (
    WhatsAppNumberSettings(
        phone_number_id=NUMBER, display_phone_number="+380 44 555 07 83", waba_id=WABA, token=TOKEN,
        app_secret=SECRET, verify_token=VERIFY, name="Мавка",
    ),
    WhatsAppNumberSettings(
        phone_number_id=COEX, display_phone_number="380445550784", waba_id=COEX_WABA, token=COEX_TOKEN,
        app_secret=SECRET, verify_token=VERIFY, name="Клініка", coexistence=True,
    ),
)  # fmt: skip

Json = dict[str, Any]


async def _ok(_: Json) -> web.Response:
    return web.Response()


@dataclass
class Edge:
    """A webhook of our own: what the server of a business would be. It also gives files to Meta."""

    url: str = ""
    answer: Callable[[Json], Awaitable[web.Response]] = _ok
    handshakes: list[Json] = field(default_factory=list)
    got: list[Json] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    files: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def greet(self, request: web.Request) -> web.Response:
        """The handshake: give the challenge back if the verify token is right."""
        self.handshakes.append(dict(request.query))
        if request.query.get("hub.verify_token") != VERIFY:
            return web.Response(status=403)
        return web.Response(text=request.query["hub.challenge"])

    async def handle(self, request: web.Request) -> web.Response:
        """Write the payload down, then answer as the test wants."""
        body = await request.read()
        payload: Json = json.loads(body)
        answer = await self.answer(payload)
        async with self.changed:
            self.raw.append(body)
            self.got.append(payload)
            self.signatures.append(request.headers.get("X-Hub-Signature-256", ""))
            self.paths.append(request.path)
            self.changed.notify_all()
        return answer

    async def give(self, request: web.Request) -> web.Response:
        """A file of the business."""
        body, mime = self.files[request.match_info["name"]]
        return web.Response(body=body, content_type=mime)

    def serve(self, name: str, body: bytes, mime: str) -> str:
        """A public address of these bytes."""
        self.files[name] = body, mime
        return f"{self.url}/m/{name}"

    def values(self, field_name: str = "messages") -> list[Json]:
        """All values of this field, in the order they came."""
        return [
            change["value"]
            for payload in self.got
            for entry in payload["entry"]
            for change in entry["changes"]
            if change["field"] == field_name
        ]

    def messages(self) -> list[Json]:
        """All elements of `messages[]` so far."""
        return [message for value in self.values() for message in value.get("messages", [])]

    def statuses(self) -> list[Json]:
        """All elements of `statuses[]` so far."""
        return [status for value in self.values() for status in value.get("statuses", [])]

    async def until(self, read: Callable[[], list[Json]], count: int = 1) -> list[Json]:
        """What `read` gives as soon as there is enough of it."""
        async with asyncio.timeout(DEADLINE_SECONDS), self.changed:
            await self.changed.wait_for(lambda: len(read()) >= count)
        return read()

    async def until_statuses(self, *states: str) -> list[Json]:
        """All statuses, as soon as so many came as are named; they must be these, in this order."""
        found = await self.until(self.statuses, len(states))
        assert [one["status"] for one in found] == list(states)
        return found


@dataclass
class Stage:
    """One running sandbox, two numbers, and their webhook."""

    url: str
    edge: Edge
    http: aiohttp.ClientSession

    async def graph(
        self,
        path: str,
        body: Json | None = None,
        *,
        token: str | None = TOKEN,
        method: str | None = None,
        data: aiohttp.FormData | None = None,
    ) -> tuple[int, Json]:
        """A call of the Graph API: status and JSON."""
        verb = method or ("GET" if body is None and data is None else "POST")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        address = f"{self.url}/graph/v25.0/{path}"
        async with self.http.request(verb, address, json=body, data=data, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def good(self, path: str, body: Json | None = None, **options: Any) -> Json:
        """A call of the Graph API that must succeed."""
        status, answer = await self.graph(path, body, **options)
        assert status == 200, answer
        return answer

    async def connect(self) -> None:
        """Both business accounts get an address of their own."""
        for waba, token, path in ((WABA, TOKEN, PATH), (COEX_WABA, COEX_TOKEN, COEX_PATH)):
            asked = {"override_callback_uri": f"{self.edge.url}{path}", "verify_token": VERIFY}
            assert await self.good(f"{waba}/subscribed_apps", asked, token=token) == {"success": True}

    async def send(self, client: str = "olena", **message: Any) -> tuple[int, Json]:
        """The business writes to the client's phone; a text unless the message says otherwise."""
        filled: Json = {"messaging_product": "whatsapp", "type": "text", **message}
        if "to" not in filled and "recipient" not in filled:
            filled["to"] = (await self.phone(client))["phone_number"]
        if filled["type"] == "text":
            filled.setdefault("text", {"body": "Вітаю"})
        return await self.graph(f"{NUMBER}/messages", filled)

    async def sent(self, client: str = "olena", **message: Any) -> str:
        """The id of a message that was accepted."""
        status, answer = await self.send(client, **message)
        assert status == 200, answer
        assert answer["messages"][0]["message_status"] == "accepted"
        return str(answer["messages"][0]["id"])

    async def refused(self, status: int, code: int, client: str = "olena", **message: Any) -> Json:
        """The error of a message that was not accepted."""
        got, answer = await self.send(client, **message)
        assert (got, answer["error"]["code"]) == (status, code), answer
        return dict(answer["error"])

    async def upload(self, name: str, body: bytes, mime: str) -> str:
        """The media id of an upload."""
        form = aiohttp.FormData()
        form.add_field("messaging_product", "whatsapp")
        form.add_field("file", body, filename=name, content_type=mime)
        return str((await self.good(f"{NUMBER}/media", data=form))["id"])

    async def try_control(
        self, path: str, body: Json | None = None, method: str | None = None
    ) -> tuple[int, Any]:
        """A call of the control API: status and JSON."""
        verb = method or ("GET" if body is None else "POST")
        async with self.http.request(verb, f"{self.url}/control/{path}", json=body) as answer:
            return answer.status, await answer.json(content_type=None)

    async def control(self, path: str, body: Json | None = None, method: str | None = None) -> Any:
        """A call of the control API that must succeed."""
        status, answer = await self.try_control(path, body, method)
        assert status < 300, answer
        return answer

    async def act(self, client: str, action: str, channel: str = CHANNEL, **body: Any) -> Json:
        """The client does something."""
        return dict(await self.control(f"{channel}/clients/{client}/{action}", body))

    async def cannot(self, client: str, action: str, channel: str = CHANNEL, **body: Any) -> str:
        """The client cannot do that: the code that says why."""
        status, answer = await self.try_control(f"{channel}/clients/{client}/{action}", body)
        assert status == 409, answer
        return str(answer["code"])

    async def phone(self, client: str, channel: str = CHANNEL) -> Json:
        """The whole phone."""
        return dict(await self.control(f"{channel}/clients/{client}/phone"))

    async def shows(self, client: str = "olena", channel: str = CHANNEL) -> list[Json]:
        """What the client's phone shows."""
        return list(await self.control(f"{channel}/clients/{client}/messages"))

    async def writes(self, client: str = "olena", **message: Any) -> Json:
        """The client writes; the element of `messages[]` that came of it."""
        before = len(self.edge.messages())
        await self.act(client, "messages", **(message or {"text": "Добрий день"}))
        return (await self.edge.until(self.edge.messages, before + 1))[-1]

    async def faults(self, *faults: Json) -> None:
        """Replace the faults in force."""
        await self.control("faults", {"faults": list(faults)}, "PUT")

    async def pace(self, divisor: float) -> None:
        """Let waiting times pass faster."""
        await self.control("pace", {"retry_divisor": divisor}, "PUT")

    async def ledger(self, **wanted: object) -> list[Json]:
        """Entries of the ledger with these values."""
        entries = await self.control("ledger")
        return [e for e in entries if all(e.get(name) == value for name, value in wanted.items())]

    async def until_ledger(self, **wanted: object) -> list[Json]:
        """The same, as soon as there are some."""
        return await eventually(lambda: self.ledger(**wanted))


def signed(body: bytes) -> str:
    """The signature of a body."""
    return f"sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}"


def whatsapp_settings(state: Path | None = None) -> Settings:
    """Two WhatsApp numbers on a free port."""
    return Settings(
        host="127.0.0.1",
        public_port=0,
        sandbox_bots=(),
        sandbox_whatsapp_numbers=NUMBERS,
        sandbox_state=state,
    )


@asynccontextmanager
async def whatsapp_stage(settings: Settings) -> AsyncIterator[Stage]:
    """A sandbox whose numbers have no webhook yet."""
    async with AsyncExitStack() as stack:
        edge = Edge()
        app = web.Application()
        for path in ("/webhooks/{kind}", "/webhooks/{kind}/{channel}"):
            app.router.add_post(path, edge.handle)
            app.router.add_get(path, edge.greet)
        app.router.add_get("/m/{name}", edge.give)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        edge.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        url = await stack.enter_async_context(running(settings))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Stage(url, edge, http)
