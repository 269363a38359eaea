"""The Bot API over HTTP: `/bot<token>/<method>`, with Telegram's own answers and error texts.

Plays plain text: a `parse_mode` is refused, since the senders this sandbox serves send none. Media calls
(`sendPhoto`, `getFile`, …) are not there yet and answer as unknown methods.
Source: open Bot API server (error texts, checks, limits).
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.faults import Fault, FaultPlan
from sandbox.ledger import Ledger
from sandbox.telegram import payloads
from sandbox.telegram.clients import message_json
from sandbox.telegram.delivery import (
    CALLBACK_LIFE_SECONDS,
    NOT_BY_DEFAULT,
    UPDATE_TYPES,
    Delivery,
    PollTerminated,
)
from sandbox.telegram.payloads import Json
from sandbox.telegram.state import Bot, Chat, PhoneMessage, Telegram, Webhook

MAX_TEXT_UNITS = 4096
"""UTF-16 code units, after trimming. Source: Bot API, sendMessage."""
MAX_CALLBACK_DATA_BYTES = 64
"""UTF-8 bytes. Source: Bot API, InlineKeyboardButton."""
MAX_ANSWER_CHARS = 200
"""Characters of a callback answer. Source: Bot API, answerCallbackQuery."""
MAX_POLL_SECONDS = 50
"""Longest wait of getUpdates. Source: open Bot API server."""
DELETE_WITHIN_SECONDS = 48 * 3600
"""Source: Bot API, deleteMessage."""
TYPING_SECONDS = 5.0
"""So long a phone shows an action. Source: Bot API, sendChatAction."""
HTTPS_PORTS = frozenset({80, 88, 443, 8443})

_SECRET_TOKEN = re.compile(r"[A-Za-z0-9_-]*")
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")
_ACTIONS = frozenset({
    "cancel", "typing", "record_video", "upload_video", "record_audio", "upload_audio", "record_voice",
    "upload_voice", "upload_photo", "upload_document", "choose_sticker", "pick_up_location", "find_location",
    "record_video_note", "upload_video_note",
})  # fmt: skip
_BAD_GATEWAY = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.18.0</center>\r\n</body>\r\n</html>\r\n"
)


class ApiError(Exception):
    """A refusal in Telegram's words."""

    def __init__(self, code: int, description: str, parameters: Json | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


class Params:
    """The arguments of a call, wherever they came from; values are strings or, in a JSON body, JSON."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """A string; empty when absent."""
        value = self._values.get(name)
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return value if isinstance(value, str) else json.dumps(value)

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A number, forced into its range; what is no number is the default, as with Telegram."""
        try:
            return max(low, min(high, int(self.text(name))))
        except ValueError:
            return default

    def flag(self, name: str) -> bool:
        """True for `true`, `yes` and `1` in any case."""
        return self.text(name).strip().lower() in ("true", "yes", "1")

    def json(self, name: str) -> object:
        """A nested value, given as JSON or as a string of JSON; None when absent.

        Raises:
            ValueError: the string is no JSON.
        """
        value = self._values.get(name)
        if isinstance(value, str):
            return json.loads(value) if value.strip() else None
        return value


@dataclass(slots=True)
class Outcome:
    """What a call did: its result and the bubble it touched."""

    result: object
    description: str | None = None
    chat: Chat | None = None
    message: PhoneMessage | None = None


class BotApi:
    """The methods a bot may call."""

    def __init__(
        self,
        telegram: Telegram,
        faults: FaultPlan,
        ledger: Ledger,
        delivery: Callable[[Bot], Delivery],
    ) -> None:
        self._telegram = telegram
        self._faults = faults
        self._ledger = ledger
        self._delivery = delivery
        self._closing = asyncio.Event()
        self._methods: dict[str, Callable[[Bot, Params], Outcome | Awaitable[Outcome]]] = {
            method.__name__.replace("_", ""): method
            for method in (
                self.get_me,
                self.set_webhook,
                self.delete_webhook,
                self.get_webhook_info,
                self.get_updates,
                self.send_message,
                self.send_chat_action,
                self.answer_callback_query,
                self.edit_message_text,
                self.delete_message,
                self.set_my_commands,
                self.get_chat,
            )
        }

    def routes(self) -> list[web.RouteDef]:
        """The addresses bots call."""
        path = "/bot{token:[^/]*}/{method:[^/]+}"
        return [
            web.get(path, self._handle, allow_head=False),
            web.post(path, self._handle),
            web.route("*", "/bot{tail:.*}", self._not_found),
        ]

    def close(self) -> None:
        """Let go of the calls a fault holds."""
        self._closing.set()

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
        try:
            params = Params(await _arguments(request))
        except ValueError:
            return _answer(ApiError(400, "Bad Request: can't parse the request body as JSON object"))
        return await self._call(request, bot, method, function, params)

    async def _call(
        self,
        request: web.Request,
        bot: Bot,
        method: str,
        function: Callable[[Bot, Params], Outcome | Awaitable[Outcome]],
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
        self._ledger.api(
            channel_id=bot.channel_id,
            client=client,
            chat_id=None if person is None else person.id,
            message_id=None if outcome.message is None else outcome.message.message_id,
            text=params.text("text") or None if outcome.message is None else outcome.message.text,
            method=method,
            status=status,
            error=None if error is None else error.description,
            accepted=outcome.message is not None,
            fault=None if fault is None else fault.kind,
        )
        if fault is not None and silent:
            return await self._silence(request, fault)
        if fault is not None and fault.kind == "502":
            return web.Response(status=502, text=_BAD_GATEWAY, content_type="text/html")
        return _answer(error) if error is not None else _result(outcome)

    async def _silence(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        """No answer at all: the connection just ends."""
        if fault.kind == "hang":
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), fault.seconds)
        transport = request.transport
        if transport is not None:
            if fault.kind == "reset":
                transport.abort()
            else:
                transport.close()
        return web.Response()  # goes nowhere: the connection is gone

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

    def send_message(self, bot: Bot, params: Params) -> Outcome:
        """Show a text on the client's phone."""
        chat = self._writable_chat(bot, params)
        content = _text_content(params)
        keyboard = _keyboard(params)
        message = PhoneMessage(
            message_id=0,
            from_client=False,
            kind="text",
            content=content,
            at=self._telegram.clock(),
            keyboard=keyboard if keyboard is not None and "inline_keyboard" in keyboard else None,
            reply_to=_reply_to(chat, params),
        )
        message.message_id = bot.message_ids.take()
        chat.messages.append(message)
        if keyboard is not None and "keyboard" in keyboard:
            chat.keyboard, chat.keyboard_message_id = keyboard, message.message_id
        elif keyboard is not None and keyboard.get("remove_keyboard") is True:
            chat.keyboard = chat.keyboard_message_id = None
        chat.typing_until = 0.0
        chat.changed()
        return Outcome(message_json(bot, chat, message), chat=chat, message=message)

    def send_chat_action(self, bot: Bot, params: Params) -> Outcome:
        """Show «друкує…» on the phone for some seconds."""
        chat = self._writable_chat(bot, params)
        action = params.text("action").lower()
        if action not in _ACTIONS:
            raise ApiError(400, "Bad Request: wrong parameter action in request")
        chat.typing_until = 0.0 if action == "cancel" else self._telegram.clock() + TYPING_SECONDS
        chat.changed()
        return Outcome(True, chat=chat)

    def answer_callback_query(self, bot: Bot, params: Params) -> Outcome:
        """Stop the spinner on the pressed button, with a notice if there is a text."""
        known = bot.queries.pop(params.text("callback_query_id"), None)
        if known is None or known[1] + CALLBACK_LIFE_SECONDS < self._telegram.clock():
            raise ApiError(
                400, "Bad Request: query is too old and response timeout expired or query ID is invalid"
            )
        notice = params.text("text")
        if len(notice) > MAX_ANSWER_CHARS:
            raise ApiError(400, "Bad Request: MESSAGE_TOO_LONG")
        chat = bot.chats[known[0]]
        chat.notice = notice or None
        chat.changed()
        return Outcome(True, chat=chat)

    def edit_message_text(self, bot: Bot, params: Params) -> Outcome:
        """Change a text the bot sent."""
        chat, message = self._message(bot, params, "edit")
        if message.from_client or message.kind != "text":
            raise ApiError(400, "Bad Request: message can't be edited")
        content = _text_content(params)
        keyboard = _keyboard(params)
        if keyboard is not None and "inline_keyboard" not in keyboard:
            raise ApiError(400, "Bad Request: inline keyboard expected")
        if keyboard is not None and not keyboard["inline_keyboard"]:
            keyboard = None
        if content == message.content and keyboard == message.keyboard:
            raise ApiError(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are "
                "exactly the same as a current content and reply markup of the message",
            )
        message.content, message.keyboard, message.edited_at = content, keyboard, self._telegram.clock()
        chat.changed()
        return Outcome(message_json(bot, chat, message), chat=chat, message=message)

    def delete_message(self, bot: Bot, params: Params) -> Outcome:
        """Take a message off the phone."""
        chat, message = self._message(bot, params, "delete")
        if message.at + DELETE_WITHIN_SECONDS < self._telegram.clock():
            raise ApiError(400, "Bad Request: message can't be deleted for everyone")
        chat.messages.remove(message)
        chat.changed()
        return Outcome(True, chat=chat, message=message)

    def set_my_commands(self, bot: Bot, params: Params) -> Outcome:
        """The list of commands the phone offers."""
        commands = _json(params, "commands", "BotCommand")
        if not isinstance(commands, list):
            raise ApiError(400, "Bad Request: expected an Array of BotCommand")
        if len(commands) > 100:
            raise ApiError(400, "Bad Request: too many commands specified")
        for command in commands:
            if not isinstance(command, dict):
                raise ApiError(400, "Bad Request: expected an Object as BotCommand")
            name = str(command.get("command", "")).removeprefix("/")
            if not _COMMAND.fullmatch(name):
                raise ApiError(400, "Bad Request: BOT_COMMAND_INVALID")
            if not 1 <= payloads.utf16_units(str(command.get("description", ""))) <= 256:
                raise ApiError(400, "Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")
        bot.commands = commands
        return Outcome(True)

    def get_chat(self, bot: Bot, params: Params) -> Outcome:
        """Who the client is."""
        chat = self._chat(bot, params)
        return Outcome(payloads.full_chat(chat.user), chat=chat)

    # --- shared by the methods

    def _remove_webhook(self, bot: Bot, *, drop_pending: bool) -> Outcome:
        was_set = bot.webhook is not None
        self._delivery(bot).retarget(None, drop_pending=drop_pending)
        self._telegram.changed()
        return Outcome(True, "Webhook was deleted" if was_set else "Webhook is already deleted")

    def _chat(self, bot: Bot, params: Params) -> Chat:
        chat_id = params.text("chat_id").strip()
        if not chat_id:
            raise ApiError(400, "Bad Request: chat_id is empty")
        chat = bot.chats.get(int(chat_id)) if re.fullmatch(r"-?\d{1,18}", chat_id) else None
        if chat is None or not chat.started:
            raise ApiError(400, "Bad Request: chat not found")
        return chat

    def _writable_chat(self, bot: Bot, params: Params) -> Chat:
        chat = self._chat(bot, params)
        if chat.blocked:
            raise ApiError(403, "Forbidden: bot was blocked by the user")
        return chat

    def _message(self, bot: Bot, params: Params, what: str) -> tuple[Chat, PhoneMessage]:
        chat = self._chat(bot, params)
        message = chat.message(params.integer("message_id", 0, 0, 1 << 53))
        if message is None:
            raise ApiError(400, f"Bad Request: message to {what} not found")
        return chat, message


async def _arguments(request: web.Request) -> dict[str, object]:
    """Query, form, multipart and JSON arguments together; the body wins."""
    values: dict[str, object] = dict(request.query)
    if request.content_type == "application/json":
        body = json.loads(await request.read() or b"{}")
        if not isinstance(body, dict):
            raise ValueError("the body is no JSON object")  # one kind of refusal for a bad body
        values.update(body)
    elif request.can_read_body:
        form = await request.post()
        values.update({name: value for name, value in form.items() if isinstance(value, str)})
    return values


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


def _text_content(params: Params) -> Json:
    if params.text("parse_mode"):
        raise ApiError(400, "Bad Request: unsupported parse_mode")
    text = params.text("text").strip()
    if not text:
        raise ApiError(400, "Bad Request: message text is empty")
    if payloads.utf16_units(text) > MAX_TEXT_UNITS:
        raise ApiError(400, "Bad Request: message is too long")
    return payloads.text(text)


def _keyboard(params: Params) -> Json | None:
    markup = _json(params, "reply_markup", "reply keyboard markup")
    if markup is None:
        return None
    if not isinstance(markup, dict):
        raise ApiError(400, "Bad Request: object expected as reply markup")
    for key in ("inline_keyboard", "keyboard"):
        rows = markup.get(key)
        if rows is None:
            continue
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            field = "inline keyboard" if key == "inline_keyboard" else "keyboard"
            raise ApiError(400, f'Bad Request: field "{key}" of the {field} must be of type Array of Array')
        # A reply button may be a bare string; Telegram makes a button of it.
        clean = [[{"text": b} if isinstance(b, str) else b for b in row] for row in rows]
        for button in (button for row in clean for button in row):
            _check_button(button, inline=key == "inline_keyboard")
        return {**markup, key: clean}
    return markup


def _check_button(button: object, *, inline: bool) -> None:
    if not isinstance(button, dict):
        raise ApiError(400, "Bad Request: button must be an Object")
    if not str(button.get("text", "")).strip():
        raise ApiError(400, "Bad Request: button text must be non-empty")
    if not inline:
        return
    data = button.get("callback_data")
    if data is None and not any(key in button for key in ("url", "web_app", "copy_text")):
        text = "Text buttons are unallowed in the inline keyboard"
        raise ApiError(400, f"Bad Request: can't parse inline keyboard button: {text}")
    if data is not None and not 1 <= len(str(data).encode()) <= MAX_CALLBACK_DATA_BYTES:
        raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")


def _reply_to(chat: Chat, params: Params) -> int | None:
    given = _json(params, "reply_parameters", "reply parameters")
    if not isinstance(given, dict):
        return None
    message_id = given.get("message_id")
    if isinstance(message_id, int) and chat.message(message_id) is not None:
        return message_id
    if given.get("allow_sending_without_reply") is True:
        return None
    raise ApiError(400, "Bad Request: message to be replied not found")


def _json(params: Params, name: str, what: str) -> object:
    try:
        return params.json(name)
    except ValueError as exc:
        raise ApiError(400, f"Bad Request: can't parse {what} JSON object") from exc
