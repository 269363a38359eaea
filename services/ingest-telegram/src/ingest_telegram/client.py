"""Calls to the Bot API through aiogram, and what each of its errors means to us.

aiogram only carries requests: it builds the form, keeps the connections, knows the addresses. Answers are
read here from raw JSON, because its models refuse an answer with one unknown tag, and a message that was
delivered must not look like a failure.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiogram.types
import aiohttp
from aiogram.client.bot import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.methods import DeleteWebhook, GetMe, GetWebhookInfo, SendMessage, SetWebhook, TelegramMethod
from aiogram.utils.token import TokenValidationError
from opentelemetry.trace import SpanKind
from pydantic_core import from_json

from ingest_telegram.payloads import ALLOWED_UPDATES, SendText, integer, is_node, node, text
from msgkit.connector.contract import Account, Identity, Receipt
from msgkit.connector.errors import (
    PROVIDER_ERRORS,
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.contracts.words import FailureCode
from msgkit.runtime import metrics
from msgkit.runtime.telemetry import span

API_URL = "https://api.telegram.org"
CALL_SECONDS = 20.0
"""An answer that takes longer counts as unknown; Telegram answers in well under a second."""
CONNECT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 4.0
"""Shorter than any server's: a connection the server closes as we write would make a delivery unknown."""
DEFAULT_RETRY_AFTER_SECONDS = 5.0
_REASON_MAX_CHARS = 200
_METHODS: tuple[type[TelegramMethod[Any]], ...] = (
    SendMessage,
    GetMe,
    SetWebhook,
    GetWebhookInfo,
    DeleteWebhook,
)

# --- what an error of the Bot API means

_TBA = "telegram-bot-api Client.cpp (fact sheet 1.8)"
_TDLIB = "TDLib error texts (fact sheet 1.8)"
_DOCS = "core.telegram.org/bots/api#making-requests (fact sheet 1.8)"


def _blocked(_reason: str) -> Exception:
    return RecipientUnreachable(
        blocked=True, text="Клієнт заблокував бота. Писати можна, коли клієнт знову напише."
    )


def _deactivated(_reason: str) -> Exception:
    return RecipientUnreachable(blocked=False, text="Клієнт видалив свій акаунт Telegram.")


def _not_started(_reason: str) -> Exception:
    return RecipientUnreachable(
        blocked=False, text="Бот не може написати першим: клієнт має сам почати розмову."
    )


def _unreachable(reason: str) -> Exception:
    return RecipientUnreachable(blocked=False, text=f"Telegram не знаходить цю розмову: {reason}")


def _rejected(reason: str) -> Exception:
    return MessageRejected(FailureCode.REJECTED, f"Telegram відхилив повідомлення: {reason}")


def _too_long(_reason: str) -> Exception:
    return MessageRejected(FailureCode.TOO_LONG, "Повідомлення задовге для Telegram. Скоротіть його.")


def _too_big(_reason: str) -> Exception:
    return MessageRejected(FailureCode.FILE_TOO_BIG, "Файл завеликий для Telegram.")


def _token_refused(reason: str) -> Exception:
    return CredentialsInvalid(
        f"Telegram не приймає токен бота ({reason}). Візьміть чинний у @BotFather і збережіть канал знову."
    )


def _busy(_reason: str) -> Exception:
    return ProviderUnavailable("another request of this bot is in the way")


def _server_fault(_reason: str) -> Exception:
    return DeliveryUnknown("the server of Telegram failed")


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One row of the table: a code, words of the description, and our error. The first match counts."""

    code: int
    words: str
    """A regular expression, searched without regard to case."""
    error: Callable[[str], Exception]
    source: str


ERROR_TABLE: tuple[ErrorRow, ...] = (
    ErrorRow(403, r"bot was blocked by the user", _blocked, _TBA),
    ErrorRow(403, r"user is deactivated", _deactivated, _TBA),
    ErrorRow(403, r"bot can't initiate conversation", _not_started, _TDLIB),
    ErrorRow(403, r"bot was kicked|is not a member|chat was deleted", _unreachable, _TBA),
    ErrorRow(403, r"", _unreachable, _TBA),
    ErrorRow(400, r"chat not found|chat_id is empty", _unreachable, _TBA),
    ErrorRow(400, r"chat was upgraded to a supergroup", _unreachable, _TBA),
    ErrorRow(400, r"message is too long", _too_long, _TDLIB),
    ErrorRow(400, r"message text is empty", _rejected, _TBA),
    ErrorRow(400, r"can't parse entities", _rejected, _TDLIB),
    ErrorRow(400, r"wrong HTTP URL|failed to get HTTP URL|wrong file_id", _rejected, _TBA),
    ErrorRow(400, r"file is too big", _too_big, _TBA),
    ErrorRow(400, r"Logged out", _token_refused, _TBA),
    # A 403 whose text is a constant arrives as a 400.
    ErrorRow(400, r"USER_IS_BLOCKED", _blocked, _TBA),
    ErrorRow(400, r"USER_DEACTIVATED|INPUT_USER_DEACTIVATED", _deactivated, _TBA),
    ErrorRow(400, r"PEER_ID_INVALID|CHAT_WRITE_FORBIDDEN|USER_ID_INVALID", _unreachable, _TBA),
    ErrorRow(400, r"", _rejected, _DOCS),
    ErrorRow(401, r"", _token_refused, _TBA),
    ErrorRow(404, r"method not found", _rejected, _TBA),
    ErrorRow(404, r"", _token_refused, _TBA),
    ErrorRow(409, r"", _busy, _TBA),
    ErrorRow(413, r"", _too_big, _DOCS),
)
"""`message is not modified` and `query is too old` belong to methods we do not call yet. 429 and 5xx carry
more than a description: see `to_error`."""


def to_error(code: int, description: str, parameters: object) -> Exception:
    """What a refusal of the Bot API means.

    Args:
        code: the HTTP status, which equals `error_code`.
        description: Telegram's words.
        parameters: `parameters` of the answer, whatever it is.

    Returns:
        One of the errors of `msgkit.connector.errors`.

    Source: core.telegram.org/bots/api#making-requests; fact sheet 1.8.
    """
    if code == 429:
        return Throttled(_retry_after_seconds(description, parameters))
    if code >= 500:
        return _server_fault(description)
    reason = description[:_REASON_MAX_CHARS]
    for row in ERROR_TABLE:
        if row.code == code and re.search(row.words, description, re.IGNORECASE):
            return row.error(reason)
    # Redirects and unheard-of codes: a refusal, but we cannot be sure of what.
    return _rejected(reason) if 400 <= code < 500 else _server_fault(reason)


def _retry_after_seconds(description: str, parameters: object) -> float:
    seconds = integer(node(parameters).get("retry_after"))
    if seconds is None:
        said = re.search(r"retry after (\d{1,6})", description, re.IGNORECASE)
        seconds = int(said.group(1)) if said else None
    return float(seconds) if seconds is not None and seconds > 0 else DEFAULT_RETRY_AFTER_SECONDS


# --- the wire


class _Wire(AiohttpSession):
    """aiogram's session, answering with raw JSON or raising our errors."""

    def __init__(self, api_base: str) -> None:
        super().__init__(api=TelegramAPIServer.from_base(api_base))
        self._connector_init["keepalive_timeout"] = KEEP_ALIVE_SECONDS

    async def make_request(self, bot: Bot, method: TelegramMethod[Any], timeout: int | None = None) -> Any:
        session = await self.create_session()
        url = self.api.api_url(token=bot.token, method=method.__api_method__)
        form = self.build_form_data(bot=bot, method=method)
        limits = aiohttp.ClientTimeout(total=CALL_SECONDS, connect=CONNECT_SECONDS)
        # `from None` throughout: errors of aiohttp may carry the address, and with it the token.
        try:
            async with session.post(url, data=form, timeout=limits, allow_redirects=False) as response:
                status, content = response.status, await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
            raise ProviderUnavailable(f"no connection to the Bot API: {type(exc).__name__}") from None
        except TimeoutError:
            raise DeliveryUnknown(f"no answer within {CALL_SECONDS:g} s") from None
        except aiohttp.ClientError as exc:
            raise DeliveryUnknown(f"the connection broke: {type(exc).__name__}") from None
        return _result(status, content)


def _result(status: int, content: bytes) -> Any:
    try:
        answer = from_json(content)
    except ValueError:
        answer = None
    if not is_node(answer):
        if status == 429:
            raise Throttled(DEFAULT_RETRY_AFTER_SECONDS)
        raise DeliveryUnknown(f"an unreadable answer with status {status}")
    if status < 300 and answer.get("ok") is True:
        return answer.get("result")
    code = integer(answer.get("error_code")) or status
    raise to_error(code, text(answer.get("description")) or "", answer.get("parameters"))


@dataclass(frozen=True, slots=True)
class WebhookInfo:
    """What Telegram says of our webhook."""

    url: str
    pending_updates: int | None
    last_error: str | None
    last_error_at: int | None
    """Unix seconds."""


class TelegramClient:
    """The Bot API calls we make. One pool of connections per address, shared by all bots."""

    def __init__(self, kind: str, api_url: str = API_URL) -> None:
        self._kind = kind
        self._api_url = api_url
        self._wires: dict[str, _Wire] = {}
        # Does nothing where aiogram has built its models already; see app.py.
        names = {name: getattr(aiogram.types, name) for name in aiogram.types.__all__}
        for method in _METHODS:
            method.model_rebuild(_types_namespace=names)

    async def aclose(self) -> None:
        for wire in self._wires.values():
            await wire.close()

    async def send_text(self, account: Account, request: SendText) -> Receipt:
        """One sendMessage. Raises the errors of `msgkit.connector.errors`."""
        reply_to = request.reply_to_message_id
        sent = await self._call(
            account,
            SendMessage(
                chat_id=request.chat_id,
                text=request.text,
                parse_mode=None,
                reply_markup=request.reply_markup,  # type: ignore[arg-type]  # pydantic makes the model of it
                reply_parameters=None
                if reply_to is None
                else aiogram.types.ReplyParameters(message_id=reply_to, allow_sending_without_reply=True),
            ),
        )
        message_id = integer(node(sent).get("message_id"))
        return Receipt(None if message_id is None else str(message_id))

    async def who_am_i(self, account: Account) -> Identity:
        """getMe: the bot behind a token."""
        me = node(await self._call(account, GetMe()))
        bot_id = integer(me.get("id"))
        if bot_id is None:
            raise DeliveryUnknown("getMe answered without an id")
        name = text(me.get("username"))
        return Identity(str(bot_id), None if name is None else f"@{name}")

    async def set_webhook(self, account: Account, url: str) -> None:
        """setWebhook with every option every time; what waits at Telegram is kept."""
        await self._call(
            account,
            SetWebhook(
                url=url,
                secret_token=account.webhook_secret,
                allowed_updates=list(ALLOWED_UPDATES),
                drop_pending_updates=False,
            ),
        )

    async def webhook_info(self, account: Account) -> WebhookInfo:
        """getWebhookInfo: the only place where Telegram tells of its trouble with us."""
        info = node(await self._call(account, GetWebhookInfo()))
        return WebhookInfo(
            url=text(info.get("url")) or "",
            pending_updates=integer(info.get("pending_update_count")),
            last_error=text(info.get("last_error_message")),
            last_error_at=integer(info.get("last_error_date")),
        )

    async def delete_webhook(self, account: Account) -> None:
        await self._call(account, DeleteWebhook(drop_pending_updates=False))

    async def _call(self, account: Account, method: TelegramMethod[Any]) -> Any:
        name = method.__api_method__
        try:
            bot = Bot(account.credentials["token"], session=self._wire(account.api_base or self._api_url))
        except TokenValidationError:
            raise _token_refused("неправильний вигляд") from None
        started, outcome = time.perf_counter(), "ok"
        attributes = {"url.template": f"/bot{{token}}/{name}", "channel_id": account.channel_id}
        try:
            with span(f"telegram {name}", kind=SpanKind.CLIENT, attributes=attributes):
                return await bot(method)
        except PROVIDER_ERRORS as exc:
            outcome = type(exc).__name__
            raise
        finally:
            metrics.provider_request_seconds.labels(kind=self._kind, method=name, outcome=outcome).observe(
                time.perf_counter() - started
            )

    def _wire(self, api_base: str) -> _Wire:
        wire = self._wires.get(api_base)
        if wire is None:
            wire = self._wires[api_base] = _Wire(api_base)
        return wire
