"""Viber's REST API: `POST /viber/pa/<method>`, with Viber's own answers.

Errors are HTTP 200 with a `status`. Viber wants an https webhook with a certificate of a known authority;
this sandbox also takes plain http to this machine or to a name without a dot (a service of compose or a
cluster). Query strings of webhooks are dropped, as Viber drops them.
Source: the fact sheet, 3.2 and 3.6–3.7; lists of fields of `get_account_info`, `get_user_details` and
`get_online` as the official client reads them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.faults import VIBER_FAULTS, Fault, FaultPlan
from sandbox.ledger import Ledger
from sandbox.serving import Serving
from sandbox.viber.checks import check_message, is_receiver_id
from sandbox.viber.delivery import EVENT_TYPES, ViberDelivery
from sandbox.viber.handset import Handsets
from sandbox.viber.state import API_VERSION, Bot, Chat, Hook, Json, PhoneMessage, Viber
from sandbox.viber.statuses import (
    BAD_DATA,
    BAD_RECEIVER_ID,
    INVALID_AUTH_TOKEN,
    INVALID_URL,
    MISSING_DATA,
    NO_PUBLIC_CHAT,
    OK,
    RECEIVER_NOT_REGISTERED,
    RECEIVER_NOT_SUBSCRIBED,
    TOO_MANY_REQUESTS,
    WEBHOOK_NOT_SET,
    WORDS,
    ApiRefusal,
)

HOSTNAME = "SN-CHAT-05_"
SESSION_SECONDS = 24 * 3600.0
"""Messages within this time after the client's last one are free."""
IN_SESSION, CHARGED = 1, 5
"""`billing_status`."""
DETAILS_SECONDS = 12 * 3600.0
"""`get_user_details` may ask about a person twice in this time."""
MAX_ONLINE_IDS = 100
MAX_BROADCAST = 300

_FAULT_HTTP = {"429": 429, "500": 500, "502": 502}


@dataclass(slots=True)
class _Called:
    """What a call did: its answer and the message it made."""

    answer: Json = field(default_factory=dict)
    chat: Chat | None = None
    messages: list[tuple[Chat, PhoneMessage]] = field(default_factory=list)


class ViberApi:
    """The methods a bot may call."""

    def __init__(
        self,
        viber: Viber,
        handsets: Handsets,
        faults: FaultPlan,
        ledger: Ledger,
        delivery: Callable[[Bot], ViberDelivery],
        serving: Serving,
    ) -> None:
        self._viber = viber
        self._handsets = handsets
        self._faults = faults
        self._ledger = ledger
        self._delivery = delivery
        self._serving = serving
        self._methods = {
            "get_account_info": self.get_account_info,
            "send_message": self.send_message,
            "broadcast_message": self.broadcast_message,
            "get_user_details": self.get_user_details,
            "get_online": self.get_online,
            "post": self.post,
        }

    def routes(self) -> list[web.RouteDef]:
        """The addresses bots call."""
        return [web.post("/viber/pa/{method}", self._handle)]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        if method != "set_webhook" and method not in self._methods:
            return web.json_response({"status": BAD_DATA, "status_message": "no such method"}, status=404)
        raw = await request.read()
        bot: Bot | None = None
        try:
            call = _json_object(raw)
            bot = self._bot(request, call)
        except ApiRefusal as refused:
            return _answer(_refusal(refused))
        self._learn_base(bot, request)
        return await self._call(request, bot, method, call, len(raw))

    async def _call(
        self, request: web.Request, bot: Bot, method: str, call: Json, size_bytes: int
    ) -> web.StreamResponse:
        receiver = call.get("receiver", call.get("id"))
        chat = bot.chat_of(receiver) if isinstance(receiver, str) else None
        client = None if chat is None else chat.user.client
        fault = self._faults.for_call(method, bot.channel_id, client, VIBER_FAULTS)
        called = _Called()
        error: str | None = None
        if fault is None or _goes_through(fault):
            try:
                if method == "set_webhook":
                    called.answer = await self.set_webhook(bot, call)
                else:
                    called = self._methods[method](bot, call, size_bytes, fault)
            except ApiRefusal as refused:
                error = refused.message
                called.answer = _refusal(refused)
        elif fault.kind == "status":
            scripted = ApiRefusal(fault.status, fault.status_message)
            error, called.answer = scripted.message, _refusal(scripted)
        self._log(bot, method, call, chat, called, error, fault)
        if fault is not None and fault.kind in ("hang", "accept_then_drop", "reset"):
            return await self._serving.silence(request, fault)
        if fault is not None and fault.kind in _FAULT_HTTP:
            status = _FAULT_HTTP[fault.kind]
            headers = {"Retry-After": str(fault.retry_after)} if status == 429 else {}
            return web.Response(status=status, text="<html><body>nginx</body></html>", headers=headers)
        if fault is not None and fault.kind == "slow":
            await self._serving.wait(fault.seconds)
        return _answer(called.answer)

    # --- methods: one function each, named like the method

    async def set_webhook(self, bot: Bot, call: Json) -> Json:
        """Set the webhook once it has answered the check with 200; an empty url removes it."""
        url = call.get("url")
        if url == "":
            bot.hook = None
            self._viber.changed()
            return {"status": OK, "status_message": WORDS[OK]}
        if not isinstance(url, str):
            raise ApiRefusal(MISSING_DATA, "missing url")
        _check_url(url)
        url = urlsplit(url)._replace(query="", fragment="").geturl()
        types = _event_types(call.get("event_types"))
        failure = await self._delivery(bot).ring(url)
        if failure is not None:
            raise ApiRefusal(INVALID_URL, failure)
        bot.hook = Hook(
            url=url,
            event_types=types,
            send_name=call.get("send_name") is True,
            send_photo=call.get("send_photo") is True,
        )
        self._viber.learn_channel(bot, url)
        self._viber.changed()
        self._delivery(bot).wake()
        return {"status": OK, "status_message": WORDS[OK], "event_types": list(types or EVENT_TYPES)}

    def get_account_info(self, bot: Bot, _: Json, __: int, ___: Fault | None) -> _Called:
        """Who the bot is."""
        account, hook = bot.account, bot.hook
        info: Json = {
            "status": OK,
            "status_message": WORDS[OK],
            "id": account.id,
            "chat_hostname": HOSTNAME,
            "name": account.name,
            "uri": account.uri,
            "icon": f"{bot.base}/viber/download_photo?dlid={account.uri}&fltp=jpg&imsz=0000",
            "category": "Beauty",
            "subcategory": "Salon",
            "country": "UA",
            "subscribers_count": sum(chat.subscribed for chat in bot.chats.values()),
            "members": [],
        }
        if hook is not None:
            info |= {"webhook": hook.url, "event_types": list(hook.event_types or EVENT_TYPES)}
        return _Called(info)

    def send_message(self, bot: Bot, call: Json, size_bytes: int, fault: Fault | None) -> _Called:
        """A message to one person."""
        check_message(call, size_bytes=size_bytes)
        chat = self._receiver(bot, call["receiver"])
        if bot.hook is None:
            raise ApiRefusal(WEBHOOK_NOT_SET)
        token = self._viber.tokens.take()
        message = self._received(bot, chat, token, call, fault)
        answer = {**_accepted(token), "billing_status": self._billing(chat)}
        return _Called(answer, chat, [(chat, message)])

    def broadcast_message(self, bot: Bot, call: Json, size_bytes: int, fault: Fault | None) -> _Called:
        """The same message to many; who cannot get it is named in the answer."""
        check_message(call, size_bytes=size_bytes, with_receiver=False)
        listed = call.get("broadcast_list")
        if not isinstance(listed, list) or not listed:
            raise ApiRefusal(MISSING_DATA, "missing broadcast_list")
        if len(listed) > MAX_BROADCAST:
            raise ApiRefusal(BAD_DATA, "broadcast_list is too long")
        if bot.hook is None:
            raise ApiRefusal(WEBHOOK_NOT_SET)
        token = self._viber.tokens.take()
        failed: list[Json] = []
        made: list[tuple[Chat, PhoneMessage]] = []
        for receiver in listed:
            try:
                chat = self._receiver(bot, receiver)
            except ApiRefusal as refused:
                failed.append({"receiver": receiver, **_refusal(refused)})
            else:
                made.append((chat, self._received(bot, chat, token, call, fault)))
        return _Called({**_accepted(token), "failed_list": failed}, None, made)

    def get_user_details(self, bot: Bot, call: Json, _: int, __: Fault | None) -> _Called:
        """What Viber tells of a person, twice in twelve hours."""
        chat = self._receiver(bot, call.get("id"), must_subscribe=False)
        now = self._viber.clock()
        asked = chat.details_asked
        if len(asked) == asked.maxlen and asked[0] > now - DETAILS_SECONDS:
            raise ApiRefusal(TOO_MANY_REQUESTS)
        asked.append(now)
        person: Json = {
            "id": chat.user_id,
            "name": chat.user.full_name,
            "avatar": f"{bot.base}/viber/download_photo?dlid={chat.user.client}&fltp=jpg&imsz=0000",
            "country": "UA",
            "language": "uk",
            "primary_device_os": f"{chat.device_os} 15",
            "api_version": API_VERSION,
            "viber_version": "22.5.0",
            "mcc": 255,
            "mnc": 3,
            "device_type": chat.device_os,
        }
        return _Called({**_accepted(self._viber.tokens.take()), "user": person}, chat)

    def get_online(self, bot: Bot, call: Json, _: int, __: Fault | None) -> _Called:
        """Who is online: here everybody who wrote in the last minutes."""
        ids = call.get("ids")
        if not isinstance(ids, list) or not ids:
            raise ApiRefusal(MISSING_DATA, "missing ids")
        if len(ids) > MAX_ONLINE_IDS:
            raise ApiRefusal(BAD_DATA, "ids is too long")
        users = [self._online(bot, user_id) for user_id in ids]
        return _Called({"status": OK, "status_message": WORDS[OK], "users": users})

    def post(self, _: Bot, __: Json, ___: int, ____: Fault | None) -> _Called:
        """Posts to a public chat: bots have had none for years."""
        raise ApiRefusal(NO_PUBLIC_CHAT)

    # --- shared by the methods

    def _received(self, bot: Bot, chat: Chat, token: int, call: Json, fault: Fault | None) -> PhoneMessage:
        fails = fault is not None and fault.kind == "fails_later"
        desc = None if fault is None else fault.desc
        return self._handsets.receive(bot, chat, token, call, fails=fails, desc=desc)

    def _bot(self, request: web.Request, call: Json) -> Bot:
        token = request.headers.get("X-Viber-Auth-Token") or call.get("auth_token")
        if not token:
            raise ApiRefusal(INVALID_AUTH_TOKEN, "missing_auth_token")
        bot = self._viber.bots.get(token) if isinstance(token, str) else None
        if bot is None:
            raise ApiRefusal(INVALID_AUTH_TOKEN)
        return bot

    def _learn_base(self, bot: Bot, request: web.Request) -> None:
        """Addresses of media must lead here from where the bot stands: it has just called some address."""
        base = f"{request.scheme}://{request.host}"
        if bot.base != base:
            bot.base = base
            self._viber.changed()

    def _receiver(self, bot: Bot, user_id: object, *, must_subscribe: bool = True) -> Chat:
        if user_id is None:
            raise ApiRefusal(MISSING_DATA, "missing id")
        if not isinstance(user_id, str) or not is_receiver_id(user_id):
            raise ApiRefusal(BAD_RECEIVER_ID)
        chat = bot.chat_of(user_id)
        if chat is None or not (chat.opened or chat.subscribed):
            raise ApiRefusal(RECEIVER_NOT_REGISTERED)
        if must_subscribe and not chat.subscribed:
            raise ApiRefusal(RECEIVER_NOT_SUBSCRIBED)
        return chat

    def _billing(self, chat: Chat) -> int:
        wrote = chat.wrote_at
        return IN_SESSION if wrote is not None and self._viber.clock() - wrote < SESSION_SECONDS else CHARGED

    def _online(self, bot: Bot, user_id: object) -> Json:
        chat = bot.chat_of(user_id) if isinstance(user_id, str) else None
        if chat is None:
            return {"id": user_id, "online_status": 4, "online_status_message": "unavailable"}
        now = self._viber.clock()
        if chat.wrote_at is not None and now - chat.wrote_at < 300:
            return {"id": user_id, "online_status": 0, "online_status_message": "online"}
        offline: Json = {"id": user_id, "online_status": 1, "online_status_message": "offline"}
        return offline if chat.wrote_at is None else {**offline, "last_online": int(chat.wrote_at * 1000)}

    def _log(
        self,
        bot: Bot,
        method: str,
        call: Json,
        chat: Chat | None,
        called: _Called,
        error: str | None,
        fault: Fault | None,
    ) -> None:
        """One line per message that appeared; a call without any has one line too."""
        silent = fault is not None and fault.kind in ("hang", "accept_then_drop", "reset")
        status = None if silent else 200 if fault is None else _FAULT_HTTP.get(fault.kind, 200)
        words = call.get("text")
        lines: list[tuple[Chat | None, PhoneMessage | None]] = [*called.messages] or [(chat, None)]
        for owner, message in lines:
            self._ledger.api(
                channel_id=bot.channel_id,
                client=None if owner is None else owner.user.client,
                chat_id=None if owner is None else owner.user_id,
                message_id=None if message is None else str(message.token),
                text=words if isinstance(words, str) else None,
                kind=None if message is None else message.kind,
                method=method,
                status=status,
                error=error,
                accepted=message is not None,
                fault=None if fault is None else fault.kind,
            )


def _json_object(raw: bytes) -> Json:
    try:
        call = json.loads(raw or b"{}")
    except ValueError as exc:
        raise ApiRefusal(BAD_DATA, "failed to parse JSON") from exc
    if not isinstance(call, dict):
        raise ApiRefusal(BAD_DATA, "failed to parse JSON")
    return call


def _answer(answer: Json) -> web.Response:
    return web.json_response({**answer, "chat_hostname": HOSTNAME})


def _accepted(token: int) -> Json:
    return {"status": OK, "status_message": WORDS[OK], "message_token": token}


def _refusal(refused: ApiRefusal) -> Json:
    return {"status": refused.status, "status_message": refused.message}


def _goes_through(fault: Fault) -> bool:
    """Whether the call has its effect in spite of the fault."""
    return fault.kind in ("accept_then_drop", "slow", "fails_later") or (
        fault.kind == "hang" and fault.accepted
    )


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as exc:
        raise ApiRefusal(INVALID_URL) from exc
    near = host is not None and (host in ("127.0.0.1", "::1") or "." not in host)
    if not host or (parts.scheme != "https" and not (parts.scheme == "http" and near)):
        raise ApiRefusal(INVALID_URL)


def _event_types(given: object) -> tuple[str, ...] | None:
    if given is None:
        return None
    known = (*EVENT_TYPES, "message", "webhook")
    if not isinstance(given, list) or not all(kind in known for kind in given):
        raise ApiRefusal(BAD_DATA, "event_types is not valid")
    return tuple(kind for kind in EVENT_TYPES if kind in given)
