"""A running sandbox, a bot of the unmodified aiogram and the bot's webhook: the contract tests' stage."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiogram import Bot
from aiogram.exceptions import TelegramAPIError
from aiohttp import web

from sandbox.settings import BotSettings, Settings

SAMPLES = Path(__file__).parent.parent / "fixtures" / "telegram"
TOKEN = "7000000001:AAGsandbox-contract_test"
OTHER_TOKEN = "7000000002:AAGsandbox-contract_other"
SECRET = "s3cret_-A"
CHANNEL = "ch_contract"
DEADLINE_SECONDS = 15.0
BOTS = (
    BotSettings(token=TOKEN, username="shop_bot", name="Shop"),
    BotSettings(token=OTHER_TOKEN, username="clinic_bot", name="Clinic"),
)

Json = dict[str, object]
Answer = Callable[[Json, int], Awaitable[web.Response]]
"""From an update and the number of its attempt (from 1) to the webhook's answer."""


async def _ok(_: Json, __: int) -> web.Response:
    return web.Response()


@dataclass
class Edge:
    """A webhook of our own: what a bot's server would be."""

    url: str
    answer: Answer = _ok
    got: list[Json] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    attempts: dict[object, int] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.Response:
        """Write the webhook down, then answer as the test wants."""
        body = await request.read()
        update: Json = json.loads(body)
        attempt = self.attempts[update["update_id"]] = self.attempts.get(update["update_id"], 0) + 1
        async with self.changed:
            self.raw.append(body)
            self.got.append(update)
            self.headers.append(dict(request.headers))
            self.changed.notify_all()
        return await self.answer(update, attempt)

    async def wait_for(self, enough: Callable[[list[Json]], bool]) -> list[Json]:
        """All webhooks so far, as soon as they are enough."""
        async with asyncio.timeout(DEADLINE_SECONDS), self.changed:
            await self.changed.wait_for(lambda: enough(self.got))
        return list(self.got)

    def texts(self) -> list[str]:
        """Texts of all webhooks in the order they came, repeats too."""
        return [message_of(update)["text"] for update in self.got if "message" in update]  # type: ignore[misc]


@dataclass
class Playground:
    """One running sandbox, a bot of aiogram, and the bot's webhook."""

    url: str
    bot: Bot
    edge: Edge
    http: aiohttp.ClientSession

    async def control(self, path: str, body: Json | None = None, method: str | None = None) -> Json:
        """A call of the control API that must succeed."""
        status, answer = await self.try_control(path, body, method)
        assert status < 300, answer
        return answer

    async def try_control(
        self, path: str, body: Json | None = None, method: str | None = None
    ) -> tuple[int, Json]:
        """A call of the control API: status and JSON."""
        verb = method or ("GET" if body is None else "POST")
        async with self.http.request(verb, f"{self.url}/control/{path}", json=body) as answer:
            return answer.status, await answer.json(content_type=None)

    async def act(self, client: str, action: str, **body: object) -> Json:
        """The client does something."""
        return await self.control(f"{CHANNEL}/clients/{client}/{action}", body)

    async def phone(self, client: str) -> list[Json]:
        """What the client's phone shows."""
        async with self.http.get(f"{self.url}/control/{CHANNEL}/clients/{client}/messages") as answer:
            shown: list[Json] = await answer.json()
            return shown

    async def faults(self, *faults: Json, seed: int = 0) -> None:
        """Replace the faults in force."""
        await self.control("faults", {"seed": seed, "faults": list(faults)}, "PUT")

    async def ledger(self, **query: int) -> list[Json]:
        """The ledger behind a cursor."""
        async with self.http.get(f"{self.url}/control/ledger", params=query) as answer:
            entries: list[Json] = await answer.json()
            return entries

    async def chat_id(self, client: str) -> int:
        """The client writes something and so becomes reachable."""
        receipt = await self.act(client, "messages", text="Добрий день")
        assert isinstance(receipt["chat_id"], int)
        return receipt["chat_id"]

    async def raw(self, path: str, **request: object) -> tuple[int, Json, dict[str, str]]:
        """A call of the Bot API without any client library."""
        verb = str(request.pop("verb", "POST"))
        async with self.http.request(verb, f"{self.url}{path}", **request) as answer:  # type: ignore[arg-type]
            return answer.status, await answer.json(content_type=None), dict(answer.headers)

    async def set_webhook(self) -> None:
        """Register the edge."""
        await self.bot.set_webhook(
            f"{self.edge.url}/webhooks/telegram_bot/{CHANNEL}",
            secret_token=SECRET,
            allowed_updates=["message", "edited_message", "callback_query", "my_chat_member"],
            max_connections=20,
        )


def sandbox_settings(state: Path | None = None) -> Settings:
    """Two bots on a free port."""
    return Settings(host="127.0.0.1", public_port=0, sandbox_bots=BOTS, sandbox_state=state)


def message_of(update: Json) -> Json:
    """The message of an update."""
    message = update["message"]
    assert isinstance(message, dict)
    return message


async def until(read: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Ask for a state until it is the wanted one, with a deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (seen := await read()) != wanted:  # noqa: ASYNC110  # a state of another process has no event
            await asyncio.sleep(0.01)  # pace: polls a state with a deadline
    assert seen == wanted


async def pending(play: Playground) -> int:
    """How many updates the bot's webhook has not answered with 2xx."""
    return (await play.bot.get_webhook_info()).pending_update_count


async def caught(call: Callable[[], Awaitable[object]]) -> object:
    """What a call gives, or the refusal it raises."""
    try:
        return await call()
    except TelegramAPIError as exc:
        return exc
