"""A running sandbox with pages, Instagram accounts and their webhook: the stage of Meta's contract tests."""

import asyncio
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
from sandbox.settings import InstagramSettings, PageSettings, Settings

PAGE = "682498302938465"
IG = "17841405726653026"
LOGIN_IG = "17841405726653099"
PAGE_TOKEN = "EAAGpageToken0123456789"
LOGIN_TOKEN = "IGAAloginToken0123456789"
APP_ID = "1517776481860111"
LOGIN_APP_ID = "1517776481860222"
SECRET = "9e107d9d372bb6826bd81d3542a419d6"
LOGIN_SECRET = "e4d909c290d0fb1ca068ffaddf22cbd0"
VERIFY = "перевір-мене"
CHANNELS = {PAGE: "ch_page", IG: "ch_instagram", LOGIN_IG: "ch_login"}
PAGE_FIELDS = (
    "messages,messaging_postbacks,message_echoes,message_deliveries,message_reads,message_reactions,"
    "message_edits,messaging_referrals,messaging_optins,messaging_handovers,standby,"
    "messaging_policy_enforcement"
)
LOGIN_FIELDS = (
    "messages,messaging_postbacks,messaging_seen,message_reactions,messaging_referral,messaging_handover,"
    "message_edit,message_echoes,standby"
)
DEADLINE_SECONDS = 15.0
HOSTS = {PAGE: "graph-meta", IG: "graph-meta", LOGIN_IG: "graph-instagram"}
HOLDERS = {PAGE: PAGE, IG: PAGE, LOGIN_IG: LOGIN_IG}
TOKENS = {PAGE: PAGE_TOKEN, IG: PAGE_TOKEN, LOGIN_IG: LOGIN_TOKEN}
PAGES = (
    PageSettings(
        page_id=PAGE, name="Мавка", username="mavka.salon", token=PAGE_TOKEN, app_id=APP_ID,
        app_secret=SECRET, verify_token=VERIFY, channel_id=CHANNELS[PAGE], human_agent=True,
    ),
)  # fmt: skip
ACCOUNTS = (
    InstagramSettings(
        ig_id=IG, username="mavka", name="Мавка", token=PAGE_TOKEN, login="page", page_id=PAGE, app_id=APP_ID,
        app_secret=SECRET, verify_token=VERIFY, channel_id=CHANNELS[IG], human_agent=True,
    ),
    InstagramSettings(
        ig_id=LOGIN_IG, username="clinic", name="Клініка", token=LOGIN_TOKEN, login="instagram",
        app_id=LOGIN_APP_ID, app_secret=LOGIN_SECRET, verify_token=VERIFY, channel_id=CHANNELS[LOGIN_IG],
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

    def items(self, list_name: str = "messaging", account: str | None = None) -> list[Json]:
        """All elements of these lists so far, in the order they came."""
        return [
            item
            for payload in self.got
            for entry in payload["entry"]
            if account in (None, entry["id"])
            for item in entry.get(list_name, [])
        ]

    def of(self, key: str) -> list[Json]:
        """All elements that have this key; messages are those of clients."""
        found = [item for item in self.items() if key in item]
        return [item for item in found if key != "message" or not item["message"].get("is_echo")]

    def echoes(self) -> list[Json]:
        """What the business wrote, as it is told of it."""
        return [item for item in self.items() if item.get("message", {}).get("is_echo")]

    async def until(self, read: Callable[[], list[Json]], count: int = 1) -> list[Json]:
        """What `read` gives as soon as there is enough of it."""
        async with asyncio.timeout(DEADLINE_SECONDS), self.changed:
            await self.changed.wait_for(lambda: len(read()) >= count)
        return read()

    async def until_of(self, key: str, count: int = 1) -> Json:
        """The newest element with this key, as soon as there are so many."""
        return (await self.until(lambda: self.of(key), count))[-1]


@dataclass
class Stage:
    """One running sandbox, a page, two Instagram accounts, and their webhook."""

    url: str
    edge: Edge
    http: aiohttp.ClientSession

    async def graph(
        self,
        path: str,
        body: Json | None = None,
        *,
        account: str = PAGE,
        token: str | None = "",
        method: str | None = None,
        data: aiohttp.FormData | None = None,
        version: str = "v25.0",
    ) -> tuple[int, Json]:
        """A call of the Graph API of an account's host: status and JSON."""
        verb = method or ("GET" if body is None and data is None else "POST")
        key = TOKENS[account] if token == "" else token
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        address = f"{self.url}/{HOSTS[account]}/{version}/{path}"
        async with self.http.request(verb, address, json=body, data=data, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def good(self, path: str, body: Json | None = None, **options: Any) -> Json:
        """A call of the Graph API that must succeed."""
        status, answer = await self.graph(path, body, **options)
        assert status == 200, answer
        return answer

    async def error(self, path: str, body: Json | None = None, **options: Any) -> tuple[int, int, int | None]:
        """Status, code and subcode of a call that is refused."""
        status, answer = await self.graph(path, body, **options)
        assert status >= 400, answer
        error = answer["error"]
        assert {"message", "type", "code", "fbtrace_id"} <= error.keys()
        return status, error["code"], error.get("error_subcode")

    async def connect(self, *accounts: str) -> None:
        """The callbacks are saved and the accounts subscribed to everything."""
        for account in accounts or (PAGE, IG, LOGIN_IG):
            kind = "facebook" if account == PAGE else "instagram"
            await self.control(f"meta/{account}", {"callback_url": f"{self.edge.url}/webhooks/{kind}"}, "PUT")
            await self.subscribe(account)

    async def subscribe(self, account: str = PAGE) -> None:
        """The app subscribes to everything it may."""
        fields = LOGIN_FIELDS if account == LOGIN_IG else PAGE_FIELDS
        asked = {"subscribed_fields": fields}
        path = f"{HOLDERS[account]}/subscribed_apps"
        assert await self.good(path, asked, account=account) == {"success": True}

    async def contact(self, client: str = "olena", account: str = PAGE) -> str:
        """PSID or IGSID of a client."""
        phone = await self.control(f"{CHANNELS[account]}/clients/{client}/phone")
        return str(phone["chat_id"])

    async def send(self, client: str = "olena", account: str = PAGE, **body: Any) -> tuple[int, Json]:
        """The business writes to the client; a text unless the body says otherwise."""
        filled: Json = {"recipient": {"id": await self.contact(client, account)}, **body}
        if "message" not in filled and "sender_action" not in filled:
            filled["message"] = {"text": "Вітаю"}
        if "message" in filled:
            filled.setdefault("messaging_type", "RESPONSE")
        return await self.graph(f"{HOLDERS[account]}/messages", filled, account=account)

    async def sent(self, client: str = "olena", account: str = PAGE, **body: Any) -> str:
        """The mid of a message that was accepted."""
        status, answer = await self.send(client, account, **body)
        assert status == 200, answer
        assert answer.keys() == {"recipient_id", "message_id"}
        return str(answer["message_id"])

    async def refused(
        self, client: str = "olena", account: str = PAGE, **body: Any
    ) -> tuple[int, int | None]:
        """Code and subcode of a message that was not accepted."""
        status, answer = await self.send(client, account, **body)
        assert status >= 400, answer
        return answer["error"]["code"], answer["error"].get("error_subcode")

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

    async def dashboard(self, account: str = PAGE, **body: Any) -> Json:
        """What is set by hand, or what Meta does."""
        return dict(await self.control(f"meta/{account}", body, "PUT"))

    async def act(self, client: str, action: str, account: str = PAGE, **body: Any) -> Json:
        """The client does something."""
        return dict(await self.control(f"{CHANNELS[account]}/clients/{client}/{action}", body))

    async def cannot(self, client: str, action: str, account: str = PAGE, **body: Any) -> str:
        """The client cannot do that: the code that says why."""
        status, answer = await self.try_control(f"{CHANNELS[account]}/clients/{client}/{action}", body)
        assert status == 409, answer
        return str(answer["code"])

    async def shows(self, client: str = "olena", account: str = PAGE) -> list[Json]:
        """What the client's phone shows."""
        return list(await self.control(f"{CHANNELS[account]}/clients/{client}/messages"))

    async def writes(self, client: str = "olena", account: str = PAGE, **message: Any) -> Json:
        """The client writes; the element of `messaging[]` that came of it."""
        before = len(self.edge.of("message"))
        said = message if message.keys() & {"text", "kind", "album"} else {"text": "Добрий день", **message}
        await self.act(client, "messages", account, **said)
        return await self.edge.until_of("message", before + 1)

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


def meta_settings(state: Path | None = None) -> Settings:
    """A page, its Instagram account, and one of Instagram Login, on a free port."""
    return Settings(
        host="127.0.0.1",
        public_port=0,
        sandbox_bots=(),
        sandbox_pages=PAGES,
        sandbox_instagram_accounts=ACCOUNTS,
        sandbox_state=state,
    )


@asynccontextmanager
async def meta_stage(settings: Settings) -> AsyncIterator[Stage]:
    """A sandbox whose pages and accounts have no webhook yet."""
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
