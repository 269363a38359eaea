"""The Bot API over HTTP: `/bot<token>/<method>`, with Telegram's own answers and error texts.

Here are the calls about the bot itself, its webhook and its updates; the rooms beside it (`sending`,
`commands`, `downloads`) bring their own methods. Formatting is not played: a `parse_mode` is refused, since
the senders this sandbox serves send none.
Source: open Bot API server (error texts, checks, limits).
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.faults import Fault, FaultPlan
from sandbox.files import Files
from sandbox.ledger import Ledger
from sandbox.serving import Serving
from sandbox.telegram import payloads
from sandbox.telegram.delivery import (
    CALLBACK_LIFE_SECONDS,
    NOT_BY_DEFAULT,
    UPDATE_TYPES,
    PollTerminated,
    TelegramDelivery,
)
from sandbox.telegram.params import ApiError, Method, Outcome, Params, params_of
from sandbox.telegram.payloads import Json
from sandbox.telegram.sending import known_chat, writable_chat
from sandbox.telegram.state import Bot, PhoneMessage, Telegram, Webhook

MAX_ANSWER_CHARS = 200
"""Characters of a callback answer. Source: Bot API, answerCallbackQuery."""
MAX_POLL_SECONDS = 50
"""Longest wait of getUpdates. Source: open Bot API server."""
TYPING_SECONDS = 5.0
"""So long a phone shows an action. Source: Bot API, sendChatAction."""
HTTPS_PORTS = frozenset({80, 88, 443, 8443})

_SECRET_TOKEN = re.compile(r"[A-Za-z0-9_-]*")
_ACTIONS = frozenset({
    "cancel", "typing", "record_video", "upload_video", "record_audio", "upload_audio", "record_voice",
    "upload_voice", "upload_photo", "upload_document", "choose_sticker", "pick_up_location", "find_location",
    "record_video_note", "upload_video_note",
})  # fmt: skip
_BAD_GATEWAY = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.18.0</center>\r\n</body>\r\n</html>\r\n"
)


class BotApi:
    """The methods a bot may call."""

    def __init__(
        self,
        telegram: Telegram,
        files: Files,
        faults: FaultPlan,
        ledger: Ledger,
        delivery: Callable[[Bot], TelegramDelivery],
        rooms: Mapping[str, Method],
        serving: Serving,
    ) -> None:
        self._telegram = telegram
        self._files = files
        self._faults = faults
        self._ledger = ledger
        self._delivery = delivery
        self._serving = serving
        self._methods: dict[str, Method] = {
            "getme": self.get_me,
            "setwebhook": self.set_webhook,
            "deletewebhook": self.delete_webhook,
            "getwebhookinfo": self.get_webhook_info,
            "getupdates": self.get_updates,
            "sendchataction": self.send_chat_action,
            "answercallbackquery": self.answer_callback_query,
            "getchat": self.get_chat,
            **rooms,
        }

    def routes(self) -> list[web.RouteDef]:
        """The addresses bots call."""
        path = "/bot{token:[^/]*}/{method:[^/]+}"
        return [
            web.get(path, self._handle, allow_head=False),
            web.post(path, self._handle),
            web.route("*", "/bot{tail:.*}", self._not_found),
        ]

    async def _not_found(self, _: web.Request) -> web.Response:
        return _answer(ApiError(404, "Not Found"))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        token = request.match_info["token"]
        method = request.match_info["method"]
        bot = self._telegram.bots.get(token)
        if bot is None:
            shaped = ":" in token and not token.startswith("0") and len(token) <= 80
            text = "Unauthorized" if shaped else "Unauthorized: invalid token specified"
            return _answer(ApiError(401, text))
        function = self._methods.get(method.lower())
        if function is None:
            return _answer(ApiError(404, "Not Found: method not found"))
        async with AsyncExitStack() as stack:
            try:
                params = await stack.enter_async_context(params_of(request, self._files))
            except ApiError as refused:
                return _answer(refused)
            except ValueError:
                return _answer(ApiError(400, "Bad Request: can't parse the request body as JSON object"))
            return await self._call(request, bot, method, function, params)

    async def _call(
        self,
        request: web.Request,
        bot: Bot,
        method: str,
        function: Method,
        params: Params,
    ) -> web.StreamResponse:
        person = self._telegram.people.by_id(params.integer("chat_id", 0, 0, 1 << 62))
        client = None if person is None else person.client
        fault = self._faults.for_call(method, bot.channel_id, client)
        outcome = Outcome(None)
        error = None if fault is None else _fault_error(fault)
        if error is None and (fault is None or _goes_through(fault)):
            try:
                made = function(bot, params)
                outcome = await made if isinstance(made, Awaitable) else made
            except ApiError as refused:
                error = refused
        silent = fault is not None and fault.kind in ("hang", "accept_then_drop", "reset")
        status = None if silent else 200 if error is None else error.code
        if fault is not None and fault.kind == "502":
            status = 502
        # One line per message that appeared; a call without any has one line too.
        touched: list[PhoneMessage | None] = [*outcome.messages] or [None]
        for message in touched:
            self._ledger.api(
                channel_id=bot.channel_id,
                client=client,
                chat_id=None if person is None else person.id,
                message_id=None if message is None else message.message_id,
                text=(params.text("text") or params.text("caption") or None)
                if message is None
                else message.text,
                kind=None if message is None else message.kind,
                method=method,
                status=status,
                error=None if error is None else error.description,
                accepted=message is not None,
                fault=None if fault is None else fault.kind,
            )
        if fault is not None and silent:
            return await self._serving.silence(request, fault)
        if fault is not None and fault.kind == "502":
            return web.Response(status=502, text=_BAD_GATEWAY, content_type="text/html")
        return _answer(error) if error is not None else _result(outcome)

    # --- methods: one function each, named like the method

    def get_me(self, bot: Bot, _: Params) -> Outcome:
        """Who the bot is."""
        return Outcome(payloads.bot_itself(bot.account))

    def set_webhook(self, bot: Bot, params: Params) -> Outcome:
        """Set or, with an empty url, remove the webhook; plain http only to this machine or network."""
        url = params.text("url").strip()
        drop = params.flag("drop_pending_updates")
        if not url:
            return self._remove_webhook(bot, drop_pending=drop)
        _check_webhook_url(url)
        secret_token = params.text("secret_token")
        if len(secret_token) > 256:
            raise ApiError(400, "Bad Request: secret token is too long")
        if not _SECRET_TOKEN.fullmatch(secret_token):
            raise ApiError(400, "Bad Request: secret token contains unallowed characters")
        allowed = _allowed_updates(params)
        if allowed is not None:
            bot.allowed_updates = None if set(allowed) == set(UPDATE_TYPES) - NOT_BY_DEFAULT else allowed
        webhook = Webhook(
            url=url,
            secret_token=secret_token or None,
            max_connections=params.integer("max_connections", 40, 1, 100),
            allowed_updates=bot.allowed_updates,
        )
        already = bot.webhook == webhook and not drop
        self._telegram.learn_channel(bot, url)
        self._delivery(bot).retarget(webhook, drop_pending=drop)
        self._telegram.changed()
        return Outcome(True, "Webhook is already set" if already else "Webhook was set")

    def delete_webhook(self, bot: Bot, params: Params) -> Outcome:
        """Remove the webhook."""
        return self._remove_webhook(bot, drop_pending=params.flag("drop_pending_updates"))

    def get_webhook_info(self, bot: Bot, _: Params) -> Outcome:
        """State of the webhook: the only place where a bot sees why its updates do not arrive."""
        delivery = self._delivery(bot)
        webhook = bot.webhook
        info: Json = {
            "url": "" if webhook is None else webhook.url,
            "has_custom_certificate": False,
            "pending_update_count": delivery.pending_count,
        }
        if webhook is not None:
            if delivery.last_error is not None:
                info["last_error_date"], info["last_error_message"] = delivery.last_error
            info["max_connections"] = webhook.max_connections
        if bot.allowed_updates is not None:
            info["allowed_updates"] = list(bot.allowed_updates)
        return Outcome(info)

    async def get_updates(self, bot: Bot, params: Params) -> Outcome:
        """Updates for a bot without a webhook; the offset confirms."""
        if bot.webhook is not None:
            raise ApiError(
                409,
                "Conflict: can't use getUpdates method while webhook is active; "
                "use deleteWebhook to delete the webhook first",
            )
        bot.polls = True
        allowed = _allowed_updates(params)
        if allowed is not None:
            bot.allowed_updates = allowed
            self._telegram.changed()
        offset_text = params.text("offset")
        offset = None if offset_text in ("", "0") else params.integer("offset", 0, -(1 << 31), (1 << 31) - 1)
        limit = params.integer("limit", 100, 1, 100)
        timeout_seconds = params.integer("timeout", 0, 0, MAX_POLL_SECONDS)
        try:
            return Outcome(await self._delivery(bot).poll(offset, limit, timeout_seconds))
        except PollTerminated as ended:
            raise ApiError(409, str(ended)) from ended

    def send_chat_action(self, bot: Bot, params: Params) -> Outcome:
        """Show «друкує…» on the phone for some seconds."""
        chat = writable_chat(bot, params)
        action = params.text("action").lower()
        if action not in _ACTIONS:
            raise ApiError(400, "Bad Request: wrong parameter action in request")
        chat.typing_until = 0.0 if action == "cancel" else self._telegram.clock() + TYPING_SECONDS
        chat.action = action
        chat.changed()
        return Outcome(True, chat=chat)

    def answer_callback_query(self, bot: Bot, params: Params) -> Outcome:
        """Stop the spinner on the pressed button, with a notice if there is a text."""
        press = bot.queries.pop(params.text("callback_query_id"), None)
        now = self._telegram.clock()
        if press is None or press.at + CALLBACK_LIFE_SECONDS < now:
            raise ApiError(
                400, "Bad Request: query is too old and response timeout expired or query ID is invalid"
            )
        notice = params.text("text")
        if len(notice) > MAX_ANSWER_CHARS:
            bot.queries[press.query_id] = press
            raise ApiError(400, "Bad Request: MESSAGE_TOO_LONG")
        press.answered_at, press.notice, press.show_alert = now, notice or None, params.flag("show_alert")
        chat = bot.chats[press.user_id]
        chat.notice = press.notice
        chat.changed()
        return Outcome(True, chat=chat)

    def get_chat(self, bot: Bot, params: Params) -> Outcome:
        """Who the client is."""
        chat = known_chat(bot, params)
        return Outcome(payloads.full_chat(chat.user), chat=chat)

    def _remove_webhook(self, bot: Bot, *, drop_pending: bool) -> Outcome:
        was_set = bot.webhook is not None
        self._delivery(bot).retarget(None, drop_pending=drop_pending)
        self._telegram.changed()
        return Outcome(True, "Webhook was deleted" if was_set else "Webhook is already deleted")


def _answer(error: ApiError) -> web.Response:
    body: Json = {"ok": False, "error_code": error.code, "description": error.description}
    headers = {}
    if error.parameters is not None:
        body["parameters"] = error.parameters
        if "retry_after" in error.parameters:
            headers["Retry-After"] = str(error.parameters["retry_after"])
    return web.json_response(body, status=error.code, headers=headers)


def _result(outcome: Outcome) -> web.Response:
    body: Json = {"ok": True, "result": outcome.result}
    if outcome.description is not None:
        body["description"] = outcome.description
    return web.json_response(body)


def _fault_error(fault: Fault) -> ApiError | None:
    if fault.kind == "429":
        parameters: Json = {"retry_after": fault.retry_after}
        return ApiError(429, f"Too Many Requests: retry after {fault.retry_after}", parameters)
    if fault.kind == "500":
        return ApiError(500, "Internal Server Error: restart")
    return None


def _goes_through(fault: Fault) -> bool:
    """Whether the call has its effect in spite of the fault."""
    return fault.kind == "accept_then_drop" or (fault.kind == "hang" and fault.accepted)


def _check_webhook_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ApiError(400, "Bad Request: invalid webhook URL specified")
    # A loopback address or a name without a dot (a compose or cluster service) is never Telegram's internet.
    if host in ("127.0.0.1", "::1") or "." not in host:
        return
    if parts.scheme == "http":
        raise ApiError(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
    if (port or 443) not in HTTPS_PORTS:
        text = "Bad Request: bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"
        raise ApiError(400, text)


def _allowed_updates(params: Params) -> tuple[str, ...] | None:
    """The kinds asked for; None when nothing readable was given: Telegram then keeps what was set before."""
    try:
        given = params.json("allowed_updates")
    except ValueError:
        return None
    if not isinstance(given, list) or not all(isinstance(kind, str) for kind in given):
        return None
    wanted = {kind.lower() for kind in given}
    known = tuple(kind for kind in UPDATE_TYPES if kind in wanted)
    return known or tuple(kind for kind in UPDATE_TYPES if kind not in NOT_BY_DEFAULT)
