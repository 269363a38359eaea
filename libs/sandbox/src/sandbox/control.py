"""The control API: tests, demos and the phone page move the clients, break things and read what happened.

Addresses begin with `/control`; `{c}` stands for `/control/{channel_id}/clients/{client}`: the channel of the
bot (before it had a webhook: the number in its Telegram token, its Viber uri, its phone_number_id, its page
id or its Instagram id) and a short id of our own choice, a new one makes a new person. Every body may have
`name` (names or renames the client). Refusals are `application/problem+json` with `code` and `detail`: 404
unknown channel or action, 409 the phone cannot do that now (or its messenger never tells bots), 413, 422
wrong body.

`POST {c}/messages` → `{provider_id, provider_ids[], chat_id, update_id|null, media_group_id?}`; one of
    {"text": "Добрий день", "reply_to"?: 41}                           reply_to: Telegram
    {"kind": "photo"|"video"|"video_note"|"animation"|"voice"|"audio"|"document"|"sticker",
     "caption"?: "…", "file"?: <file>}         Viber: photo (image, picture), video, document (file), sticker
    {"kind": "location", "latitude"?: 50.45, "longitude"?: 30.52}
    {"kind": "contact", "phone_number"?: "380…"}                       somebody else's card
    {"url": "https://…"} · {"sticker_id": 153500} · {…, "silent": true}                            Viber
    {"album": [{"kind"?: "photo", "file"?: <file>, "caption"?: "…"}, …], "caption"?: "…"}    2 to 10 files
    {"kind": "unsupported", "extra": {"poll": {…}}}                    `extra` adds keys to any message
  <file>: {"generate"?: "photo"|"png"|"video"|…|"text", "bytes"?: 5000000, "name"?, "mime"?, "width"?,
     "height"?, "duration"?, "gps"?: true, "orientation"?: 6}        a real file of about that size; left out:
     a small one | {"base64": "…", "name": "a.exe", "mime": "image/png"}: these bytes with these claims |
     "рахунок.pdf": only a name.
  or `multipart/form-data`: the same as JSON in a field `json`, or flat fields `kind`, `text`/`caption`,
     `name`, `reply_to`; file parts (any name): one is a message, several an album; they are streamed to disk.
`POST {c}/block` {} · `share-contact` {"own"?: true, "phone_number"?: "380…"}
  Telegram: `edit` {"text": "…", "provider_id"?: "41"} · `unblock` {"start"?: true}
    `press` {"text"|"button": "Так"} or {"data": "c:1"}, "provider_id"|"message_id"?; {"data": …,
    "provider_id": …, "forge": true} sends data no button has → receipt and `callback_query_id` if inline
    `read · delete · type`: 409
  Viber: `open` {"context"?: "…"} (conversation_started; the answer's welcome appears) · `subscribe` and
    `unblock` {} (`subscribed`) · `block` (`unsubscribed`) · `read` {} (`seen` of everything unread) · `press`
    {"text"|"button"?, "data"?: the ActionBody} → receipt, `opens` for a link · `devices` {"count": 2} (each
    reports `delivered`) · `raw` {"callback": {…}} (any callback, signed) · `edit · delete · type`: 409
  WhatsApp: edit, delete, react, press, read, play, offline, wait, identity, change-number, echo, history, raw
    and `PUT /control/whatsapp/{phone_number_id}`: see `whatsapp/line.py`
  Messenger and Instagram: press, start, referral, react, edit, delete, read, inbox, handover, wait, profile,
    raw… and `PUT /control/meta/{id}`: see `meta/line.py`
`GET {c}/presses` → [{callback_query_id, provider_id, text, data, at, answered, answered_at?, notice?, alert}]
`GET {c}/messages` → [{provider_id, direction: in|out, kind, text, at, edited, caption?, keyboard?, reply_to?,
    group?, file?: {name?, mime, size, url, width?, height?, duration?, thumb_url?}, location?, contact?,
    Viber: state: sent|delivered|seen, sender?, url?, welcome?, rich_media?}]; kinds are named alike in both
`GET {c}/phone` and `{c}/phone/live` (server-sent events): the whole phone with keyboard, commands, presses;
    Viber and WhatsApp: `unread`, `failures` [{provider_id, reason, at, code?}]; Viber: `subscribed`;
    WhatsApp: `user_id`, `identity`, `window_open`, `offline`
`PUT /control/faults` {"seed"?: 0, "faults": [{"kind": …, "channel_id"?, "client"?, "method"?, "event"?,
    "after"?, "count"?, "probability"?, …}]} replaces all faults, see `faults.py`; `GET` tells how often each
    fired; for Viber {"status": 12} is a fault too, for WhatsApp {"code": 131056} and {"statuses": […]}
`GET /control/ledger?after=&limit=` · `POST /control/reset` · `GET /control/channels` · `PUT /control/pace`
`POST /control/{channel_id}/burst` · `GET /control/burst/{id}` · `GET /control/{channel_id}/clients`
`GET /control/{channel_id}/webhook` → {url, secret_token} of Telegram, {url, token} of Viber (the token
    signs), {url, app_secret, verify_token, phone_number_id, waba_id} of WhatsApp (the secret signs),
    {url, app_secret, verify_token, account_id, object} of Messenger and Instagram (the secret signs)
`POST /control/{channel_id}/revoke-token` {} → {token}: as /revoke at BotFather, the old one is refused
`GET /control/files/{id}`: bytes of a file a phone shows
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from sandbox.burst import BurstOrder, Bursts
from sandbox.delivery import Pace
from sandbox.faults import FaultPlan, Faults
from sandbox.files import Files
from sandbox.ledger import Ledger
from sandbox.line import Line, Messenger
from sandbox.problems import BodyT, Problem, read_body
from sandbox.studio import MAX_BYTES
from sandbox.uploads import Form, TooBig, form_of

LEDGER_PAGE = 1_000
LEDGER_PAGE_MAX = 10_000
LIVE_PING_SECONDS = 15.0

_CLIENT = re.compile(r"[A-Za-z0-9_-]{1,64}")


class PaceBody(BaseModel):
    """Body of `PUT /control/pace`: waiting times between webhook retries are divided by this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retry_divisor: float = Field(ge=1.0, le=1_000_000.0)


class Control:
    """The doors of the control API."""

    def __init__(
        self,
        messengers: Sequence[Messenger],
        files: Files,
        bursts: Bursts,
        faults: FaultPlan,
        ledger: Ledger,
        pace: Pace,
    ) -> None:
        self._messengers = messengers
        self._files = files
        self._bursts = bursts
        self._faults = faults
        self._ledger = ledger
        self._pace = pace
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
            web.post(f"{client}/{{action}}", self._act),
        ]

    def close(self) -> None:
        """End the live streams."""
        self._closing.set()

    async def _act(self, request: web.Request) -> web.Response:
        line, client = self._line(request), _client(request)
        done = await line.act(client, request.match_info["action"], await request.read())
        return web.json_response(done)

    async def _write(self, request: web.Request) -> web.Response:
        line, client = self._line(request), _client(request)
        if request.content_type != "multipart/form-data":
            return web.json_response(await line.post(client, await request.read(), ()))
        try:
            async with form_of(request, self._files.draft, MAX_BYTES) as form:
                arrived = [file for _, file in form.files]
                return web.json_response(await line.post(client, _form_body(form), arrived))
        except TooBig as exc:
            detail = f"Файл довший за {MAX_BYTES} байтів: надішліть менший."
            raise Problem(413, "too_big", detail) from exc

    async def _channels(self, _: web.Request) -> web.Response:
        shown = [line.summary for messenger in self._messengers for line in messenger.lines()]
        return web.json_response([summary for summary in shown if summary is not None])

    async def _revoke_token(self, request: web.Request) -> web.Response:
        return web.json_response({"token": self._line(request).revoke_token()})

    async def _webhook(self, request: web.Request) -> web.Response:
        return web.json_response(self._line(request).webhook())

    async def _clients(self, request: web.Request) -> web.Response:
        return web.json_response(self._line(request).clients())

    async def _messages(self, request: web.Request) -> web.Response:
        return web.json_response(self._line(request).messages(_client(request)))

    async def _presses(self, request: web.Request) -> web.Response:
        return web.json_response(self._line(request).presses(_client(request)))

    async def _phone(self, request: web.Request) -> web.Response:
        return web.json_response(self._line(request).phone(_client(request)))

    async def _phone_live(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the whole state of the phone at each change, and when «друкує…» ends."""
        line, client = self._line(request), _client(request)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        with suppress(ConnectionResetError):  # the page was closed, or shows another phone
            await self._keep_telling(response, line, client)
        return response

    async def _keep_telling(self, response: web.StreamResponse, line: Line, client: str) -> None:
        async with _watching(line.watchers(client)) as changed:
            while not self._closing.is_set():
                changed.clear()
                state = json.dumps(line.phone(client), ensure_ascii=False)
                await response.write(f"data: {state}\n\n".encode())
                typing_seconds = line.typing_seconds(client)
                wait_seconds = typing_seconds if typing_seconds > 0 else LIVE_PING_SECONDS
                closing = asyncio.ensure_future(self._closing.wait())
                change = asyncio.ensure_future(changed.wait())
                await asyncio.wait(
                    {closing, change}, timeout=wait_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                for waiting in (closing, change):
                    waiting.cancel()

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
        for messenger in self._messengers:
            for line in messenger.lines():
                line.reset()
        self._files.clear()
        self._ledger.clear()
        return web.json_response({})

    async def _start_burst(self, request: web.Request) -> web.Response:
        order = await _body(request, BurstOrder)
        burst = self._bursts.start(self._line(request), order)
        return web.json_response(burst.progress(), status=202)

    async def _burst_progress(self, request: web.Request) -> web.Response:
        burst = self._bursts.get(request.match_info["burst_id"])
        if burst is None:
            raise Problem(
                404, "burst_not_found", "Такого прогону немає: id дає POST /control/{channel_id}/burst."
            )
        return web.json_response(burst.progress())

    def _line(self, request: web.Request) -> Line:
        channel_id = request.match_info["channel_id"]
        for messenger in self._messengers:
            line = messenger.line(channel_id)
            if line is not None:
                return line
        kinds = ", ".join(f"…/webhooks/{messenger.kind}/{channel_id}" for messenger in self._messengers)
        raise Problem(
            404,
            "channel_not_found",
            f"Жоден бот не давав вебхука {kinds}: підключіть канал (setWebhook, set_webhook, "
            "subscribed_apps) або назвіть бота так, як він зветься до вебхука: у Telegram числом з його "
            "токена, у Viber його uri, у WhatsApp його phone_number_id, у Messenger id сторінки, в Instagram "
            "id акаунта.",
        )


@asynccontextmanager
async def _watching(watchers: set[asyncio.Event]) -> AsyncIterator[asyncio.Event]:
    changed = asyncio.Event()
    watchers.add(changed)
    try:
        yield changed
    finally:
        watchers.discard(changed)


async def _body(request: web.Request, body_type: type[BodyT]) -> BodyT:
    return read_body(body_type, await request.read())


def _form_body(form: Form) -> str:
    """What the fields of a form say: a `json` field, or each key as a field of its own."""
    given = form.values.get("json")
    return json.dumps(form.values) if given is None else given


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
