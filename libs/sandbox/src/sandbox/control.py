"""The control API: tests, demos and the phone page move the clients, break things and read what happened.

Addresses begin with `/control`; `{c}` stands for `/control/{channel_id}/clients/{client}`: the channel of the
bot (before it had a webhook: the number in its token) and a short id of our own choice, a new one makes a new
person. Every body may have `name` (names or renames the client). Refusals are `application/problem+json` with
`code` and `detail`: 404 unknown channel, 409 the phone cannot do that now, 413, 422 wrong body.

`POST {c}/messages` → `{provider_id, provider_ids[], chat_id, update_id|null, media_group_id?}`; one of
    {"text": "Добрий день", "reply_to"?: 41}
    {"kind": "photo"|"video"|"video_note"|"animation"|"voice"|"audio"|"document"|"sticker",
     "caption"?: "…", "file"?: <file>}
    {"kind": "location", "latitude"?: 50.45, "longitude"?: 30.52}
    {"kind": "contact", "phone_number"?: "380…"}                       somebody else's card
    {"album": [{"kind"?: "photo", "file"?: <file>, "caption"?: "…"}, …], "caption"?: "…"}    2 to 10 files
    {"kind": "unsupported", "extra": {"poll": {…}}}                    `extra` adds keys to any message
  <file>: {"generate"?: "photo"|"png"|"video"|…|"text", "bytes"?: 5000000, "name"?, "mime"?, "width"?,
     "height"?, "duration"?, "gps"?: true, "orientation"?: 6}        a real file of about that size; left out:
     a small one | {"base64": "…", "name": "a.exe", "mime": "image/png"}: these bytes with these claims |
     "рахунок.pdf": only a name.
  or `multipart/form-data`: the same as JSON in a field `json`, or flat fields `kind`, `text`/`caption`,
     `name`, `reply_to`; file parts (any name): one is a message, several an album; they are streamed to disk.
`POST {c}/edit` {"text": "…", "provider_id"?: "41"} · `block` {} · `unblock` {"start"?: true}
`POST {c}/press` {"text"|"button": "Так"} or {"data": "c:1"}, "provider_id"|"message_id"?; {"data": …,
    "provider_id": …, "forge": true} sends data no button has → receipt and `callback_query_id` if inline
`GET {c}/presses` → [{callback_query_id, provider_id, text, data, at, answered, answered_at?, notice?, alert}]
`POST {c}/share-contact` {"own"?: true, "phone_number"?: "380…"} · `read · delete · type`: 409 with Telegram
`GET {c}/messages` → [{provider_id, direction: in|out, kind, text, at, edited, caption?, keyboard?, reply_to?,
    group?, file?: {name?, mime, size, url, width?, height?, duration?, thumb_url?}, location?, contact?}]
`GET {c}/phone` and `{c}/phone/live` (server-sent events): the whole phone with keyboard, commands, presses
`PUT /control/faults` {"seed"?: 0, "faults": [{"kind": …, "channel_id"?, "client"?, "method"?, "after"?,
    "count"?, "probability"?, …}]} replaces all faults, see `faults.py`; `GET` tells how often each fired
`GET /control/ledger?after=&limit=` · `POST /control/reset` · `GET /control/channels` · `PUT /control/pace`
`POST /control/{channel_id}/burst` · `GET /control/burst/{id}` · `GET /control/{channel_id}/webhook · clients`
`POST /control/{channel_id}/revoke-token` {} → {token}: as /revoke at BotFather, the old one is refused
`GET /control/files/{id}`: bytes of a file a phone shows
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.burst import BurstOrder, Bursts
from sandbox.faults import FaultPlan, Faults
from sandbox.ledger import Ledger
from sandbox.screen import bubble, phone, presses
from sandbox.studio import MAX_BYTES
from sandbox.telegram.acts import Body, Editing, Pressing, Sharing, Unblocking, Writing
from sandbox.telegram.clients import UNSEEN, Phones, Refused
from sandbox.telegram.delivery import Delivery, Pace
from sandbox.telegram.files import Files
from sandbox.telegram.posting import Posting
from sandbox.telegram.state import Bot, Chat, Telegram
from sandbox.uploads import Form, TooBig, form_of

KIND = "telegram_bot"
LEDGER_PAGE = 1_000
LEDGER_PAGE_MAX = 10_000
LIVE_PING_SECONDS = 15.0

_CLIENT = re.compile(r"[A-Za-z0-9_-]{1,64}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Json = dict[str, object]
BodyT = TypeVar("BodyT", bound=BaseModel)


class PaceBody(BaseModel):
    """Body of `PUT /control/pace`: waiting times between webhook retries are divided by this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retry_divisor: float = Field(ge=1.0, le=1000.0)


class Problem(Exception):
    """An answer that is not a success: status, machine code, and a sentence that says what to do."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class Control:
    """The doors of the control API."""

    def __init__(
        self,
        telegram: Telegram,
        phones: Phones,
        posting: Posting,
        files: Files,
        bursts: Bursts,
        faults: FaultPlan,
        ledger: Ledger,
        pace: Pace,
        delivery: Callable[[Bot], Delivery],
    ) -> None:
        self._telegram = telegram
        self._posting = posting
        self._files = files
        self._phones = phones
        self._bursts = bursts
        self._faults = faults
        self._ledger = ledger
        self._pace = pace
        self._delivery = delivery
        self._closing = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """All addresses under `/control`."""
        client = "/control/{channel_id}/clients/{client}"
        return [
            web.get("/control/channels", self._channels),
            web.put("/control/faults", self._put_faults),
            web.get("/control/faults", self._get_faults),
            web.put("/control/pace", self._put_pace),
            web.get("/control/ledger", self._get_ledger),
            web.post("/control/reset", self._reset),
            web.get("/control/burst/{burst_id}", self._burst_progress),
            web.post("/control/{channel_id}/burst", self._start_burst),
            web.get("/control/{channel_id}/webhook", self._webhook),
            web.post("/control/{channel_id}/revoke-token", self._revoke_token),
            web.get("/control/{channel_id}/clients", self._clients),
            web.get(f"{client}/messages", self._messages),
            web.get(f"{client}/phone", self._phone),
            web.get(f"{client}/phone/live", self._phone_live),
            web.get(f"{client}/presses", self._presses),
            web.post(f"{client}/messages", self._write),
            web.post(f"{client}/edit", self._act(Editing, self._phones.edit)),
            web.post(f"{client}/block", self._act(Body, self._phones.block)),
            web.post(f"{client}/unblock", self._act(Unblocking, self._phones.unblock)),
            web.post(f"{client}/press", self._act(Pressing, self._phones.press)),
            web.post(f"{client}/share-contact", self._act(Sharing, self._phones.share_contact)),
            *(web.post(f"{client}/{action}", self._unseen(action)) for action in UNSEEN),
        ]

    def close(self) -> None:
        """End the live streams."""
        self._closing.set()

    def _act(self, body_type: type[BodyT], action: Callable[[Bot, str, BodyT], Json]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            body = await _body(request, body_type)
            try:
                return web.json_response(action(self._bot(request), _client(request), body))
            except Refused as refused:
                raise Problem(409, refused.code, refused.detail) from refused

        return handle

    async def _write(self, request: web.Request) -> web.Response:
        bot, client = self._bot(request), _client(request)
        try:
            if request.content_type != "multipart/form-data":
                return web.json_response(await self._posting.post(bot, client, await _body(request, Writing)))
            async with form_of(request, self._files.draft, MAX_BYTES) as form:
                body = _form_body(form)
                arrived = [file for _, file in form.files]
                return web.json_response(await self._posting.post(bot, client, body, arrived))
        except Refused as refused:
            raise Problem(409, refused.code, refused.detail) from refused
        except TooBig as exc:
            detail = f"Файл довший за {MAX_BYTES} байтів: надішліть менший."
            raise Problem(413, "too_big", detail) from exc

    def _unseen(self, action: str) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            self._bot(request)
            _client(request)
            raise Problem(409, "not_visible_to_bots", UNSEEN[action])

        return handle

    async def _channels(self, _: web.Request) -> web.Response:
        found: list[Json] = [
            {
                "channel_id": bot.address,
                "kind": KIND,
                "title": bot.account.name,
                "username": bot.account.username,
                "connected": bot.webhook is not None,
                "polls": bot.polls,
                "pending": self._delivery(bot).pending_count,
            }
            for bot in self._telegram.bots.values()
            if bot.channel_id is not None or bot.polls
        ]
        return web.json_response(found)

    async def _revoke_token(self, request: web.Request) -> web.Response:
        return web.json_response({"token": self._telegram.revoke_token(self._bot(request))})

    async def _webhook(self, request: web.Request) -> web.Response:
        webhook = self._bot(request).webhook
        if webhook is None:
            raise Problem(
                409, "webhook_not_set", "Бот зняв свій вебхук: підключіть канал знову (setWebhook)."
            )
        return web.json_response({"url": webhook.url, "secret_token": webhook.secret_token})

    async def _clients(self, request: web.Request) -> web.Response:
        chats = self._bot(request).chats.values()
        return web.json_response(
            [{"client": c.user.client, "name": c.user.full_name, "chat_id": c.user.id} for c in chats]
        )

    async def _messages(self, request: web.Request) -> web.Response:
        chat = self._chat(request)
        return web.json_response([] if chat is None else [bubble(message) for message in chat.messages])

    async def _presses(self, request: web.Request) -> web.Response:
        chat = self._chat(request)
        return web.json_response([] if chat is None else presses(chat))

    async def _phone(self, request: web.Request) -> web.Response:
        return web.json_response(self._phone_state(self._bot(request), _client(request)))

    async def _phone_live(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the whole state of the phone at each change, and when «друкує…» ends."""
        bot, client = self._bot(request), _client(request)
        chat = bot.chat(self._telegram.people.get(client))
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        async with _watching(chat) as changed:
            while not self._closing.is_set():
                changed.clear()
                state = json.dumps(self._phone_state(bot, client), ensure_ascii=False)
                await response.write(f"data: {state}\n\n".encode())
                typing_seconds = chat.typing_until - self._telegram.clock()
                wait_seconds = typing_seconds if typing_seconds > 0 else LIVE_PING_SECONDS
                closing = asyncio.ensure_future(self._closing.wait())
                change = asyncio.ensure_future(changed.wait())
                await asyncio.wait(
                    {closing, change}, timeout=wait_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                for waiting in (closing, change):
                    waiting.cancel()
        return response

    async def _put_faults(self, request: web.Request) -> web.Response:
        self._faults.replace(await _body(request, Faults))
        return await self._get_faults(request)

    async def _get_faults(self, _: web.Request) -> web.Response:
        return web.json_response({"seed": self._faults.seed, "faults": self._faults.state()})

    async def _put_pace(self, request: web.Request) -> web.Response:
        body = await _body(request, PaceBody)
        self._pace.divisor = body.retry_divisor
        return web.json_response({"retry_divisor": self._pace.divisor})

    async def _get_ledger(self, request: web.Request) -> web.Response:
        after = _query_number(request, "after", 0, 1 << 53)
        limit = _query_number(request, "limit", LEDGER_PAGE, LEDGER_PAGE_MAX)
        headers = {"X-Ledger-Dropped": str(self._ledger.dropped)}
        return web.json_response(self._ledger.after(after, limit), headers=headers)

    async def _reset(self, _: web.Request) -> web.Response:
        """Forget dialogues, pending updates, faults, bursts and the ledger; webhooks, people and ids stay."""
        await self._bursts.stop()
        self._faults.replace(Faults())
        for bot in self._telegram.bots.values():
            self._delivery(bot).drop_pending()
            for chat in bot.chats.values():
                chat.forget()
            bot.queries.clear()
        self._files.clear()
        self._ledger.clear()
        return web.json_response({})

    async def _start_burst(self, request: web.Request) -> web.Response:
        order = await _body(request, BurstOrder)
        burst = self._bursts.start(self._bot(request), order)
        return web.json_response(burst.progress(), status=202)

    async def _burst_progress(self, request: web.Request) -> web.Response:
        burst = self._bursts.get(request.match_info["burst_id"])
        if burst is None:
            raise Problem(
                404, "burst_not_found", "Такого прогону немає: id дає POST /control/{channel_id}/burst."
            )
        return web.json_response(burst.progress())

    def _bot(self, request: web.Request) -> Bot:
        channel_id = request.match_info["channel_id"]
        bot = self._telegram.bot_of(channel_id)
        if bot is None:
            raise Problem(
                404,
                "channel_not_found",
                f"Жоден бот не давав вебхука …/webhooks/{KIND}/{channel_id}: підключіть канал (setWebhook) "
                "або назвіть бота числом з його токена.",
            )
        return bot

    def _chat(self, request: web.Request) -> Chat | None:
        """The dialogue, if there was one; looking makes nobody."""
        bot, client = self._bot(request), _client(request)
        return next((chat for chat in bot.chats.values() if chat.user.client == client), None)

    def _phone_state(self, bot: Bot, client: str) -> Json:
        chat = bot.chat(self._telegram.people.get(client))
        return phone(bot, chat, self._telegram.clock())


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal of the control API in one shape: `application/problem+json`."""
    try:
        return await handler(request)
    except Problem as problem:
        body = {"code": problem.code, "detail": problem.detail, "status": problem.status}
        return web.json_response(body, status=problem.status, content_type="application/problem+json")


@asynccontextmanager
async def _watching(chat: Chat) -> AsyncIterator[asyncio.Event]:
    changed = asyncio.Event()
    chat.watchers.add(changed)
    try:
        yield changed
    finally:
        chat.watchers.discard(changed)


async def _body(request: web.Request, body_type: type[BodyT]) -> BodyT:
    return _read(body_type, await request.read() or b"{}")


def _form_body(form: Form) -> Writing:
    """What the fields of a form say: a `json` field, or each key as a field of its own."""
    given = form.values.get("json")
    return _read(Writing, json.dumps(form.values) if given is None else given)


def _read(body_type: type[BodyT], raw: bytes | str) -> BodyT:
    try:
        return body_type.model_validate_json(raw)
    except ValidationError as exc:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in exc.errors())
        raise Problem(422, "invalid_body", f"Виправте тіло запиту: {wrong}") from exc


def _client(request: web.Request) -> str:
    client = request.match_info["client"]
    if not _CLIENT.fullmatch(client):
        raise Problem(
            422, "invalid_client", "Короткий id клієнта: від 1 до 64 латинських літер, цифр, «_», «-»."
        )
    return client


def _query_number(request: web.Request, name: str, default: int, high: int) -> int:
    given = request.query.get(name)
    if given is None:
        return default
    if not given.isascii() or not given.isdigit() or int(given) > high:
        raise Problem(422, "invalid_query", f"{name}: ціле число від 0 до {high}.")
    return int(given)
