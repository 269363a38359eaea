"""The Bot API calls we make: each is one request, and tells our errors."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import aiogram.types
from aiogram.client.bot import Bot
from aiogram.methods import (
    AnswerCallbackQuery,
    DeleteMyCommands,
    DeleteWebhook,
    GetFile,
    GetMe,
    GetUpdates,
    GetWebhookInfo,
    SendAnimation,
    SendAudio,
    SendDocument,
    SendMediaGroup,
    SendMessage,
    SendPhoto,
    SendSticker,
    SendVideo,
    SendVoice,
    SetMyCommands,
    SetWebhook,
    TelegramMethod,
)
from aiogram.utils.token import TokenValidationError
from opentelemetry.trace import SpanKind

from ingest_telegram.payloads import (
    ALLOWED_UPDATES,
    DOWNLOAD_MAX_BYTES,
    POLL_MAX_SECONDS,
    POLL_UPDATES,
    File,
    FileMethod,
    Request,
    SendAlbum,
    SendFile,
    SendText,
)
from ingest_telegram.refusals import FILE_TABLE, to_error, token_refused
from ingest_telegram.wire import CALL_SECONDS, Terms, Upload, Wire
from msgkit.connector.contract import Account, Identity, MediaStream, Polled, Receipt
from msgkit.connector.errors import PROVIDER_ERRORS, DeliveryUnknown, ProviderUnavailable
from msgkit.connector.raw import is_node, items, json_integer, node, text
from msgkit.contracts.views import BotCommand
from msgkit.runtime import metrics
from msgkit.runtime.objects import ObjectStore
from msgkit.runtime.telemetry import span

API_URL = "https://api.telegram.org"
_PLAIN = Terms()
_FILE = Terms(table=FILE_TABLE)
_FILE_PATH = re.compile(r"[\w-]+(?:/[\w-][\w. -]*)+")
"""`documents/file_7.pdf`: never absolute, never upwards, nothing that means something in an address."""
_SENDS: dict[FileMethod, type[TelegramMethod[Any]]] = {
    FileMethod.PHOTO: SendPhoto,
    FileMethod.VIDEO: SendVideo,
    FileMethod.ANIMATION: SendAnimation,
    FileMethod.AUDIO: SendAudio,
    FileMethod.VOICE: SendVoice,
    FileMethod.STICKER: SendSticker,
    FileMethod.DOCUMENT: SendDocument,
}
_METHODS: tuple[type[TelegramMethod[Any]], ...] = (
    *_SENDS.values(),
    AnswerCallbackQuery,
    DeleteMyCommands,
    DeleteWebhook,
    GetFile,
    GetMe,
    GetUpdates,
    GetWebhookInfo,
    SendMediaGroup,
    SendMessage,
    SetMyCommands,
    SetWebhook,
)
_MEASURED = frozenset({FileMethod.VIDEO, FileMethod.ANIMATION})
_TIMED = frozenset({FileMethod.VIDEO, FileMethod.ANIMATION, FileMethod.AUDIO, FileMethod.VOICE})


@dataclass(frozen=True, slots=True)
class WebhookInfo:
    """What Telegram says of our webhook."""

    url: str
    pending_updates: int | None
    last_error: str | None
    last_error_at: int | None
    """Unix seconds."""
    allowed_updates: tuple[str, ...] | None
    """None: Telegram did not say, so everything it sends by default."""


class TelegramClient:
    """The Bot API calls we make. One pool of connections per address, shared by all bots."""

    def __init__(self, kind: str, objects: ObjectStore, api_url: str = API_URL) -> None:
        self._kind = kind
        self._objects = objects
        self._api_url = api_url
        self._wires: dict[str, Wire] = {}
        # A poll holds its connection for half a minute: hundreds of them must not keep an answer waiting.
        self._poll_wires: dict[str, Wire] = {}
        # Does nothing where aiogram has built its models already; see app.py.
        names = {name: getattr(aiogram.types, name) for name in aiogram.types.__all__}
        for method in _METHODS:
            method.model_rebuild(_types_namespace=names)
        # Built by its own name, not inside a method.
        aiogram.types.ReplyParameters.model_rebuild(_types_namespace=names)

    async def aclose(self) -> None:
        for wire in (*self._wires.values(), *self._poll_wires.values()):
            await wire.close()

    # --- answers

    async def send(self, account: Account, request: Request) -> Receipt:
        """One request of an answer. Raises the errors of `msgkit.connector.errors`."""
        match request:
            case SendText():
                sent = await self._send_text(account, request)
            case SendFile():
                sent = await self._send_file(account, request)
            case SendAlbum():
                sent = await self._send_album(account, request)
        ids = [json_integer(node(message).get("message_id")) for message in items(sent) or [sent]]
        told = [str(message_id) for message_id in ids if message_id is not None]
        return Receipt(told[0], tuple(told[1:])) if told else Receipt(None)

    async def _send_text(self, account: Account, request: SendText) -> Any:
        return await self._call(
            account,
            SendMessage(
                chat_id=request.chat_id,
                text=request.text,
                parse_mode=None,
                reply_markup=request.reply_markup,  # type: ignore[arg-type]  # pydantic makes the model of it
                reply_parameters=_reply_to(request.reply_to_message_id),
            ),
        )

    async def _send_file(self, account: Account, request: SendFile) -> Any:
        file = request.file
        upload = Upload(self._objects, file)
        method = _SENDS[file.method]
        call = method(
            chat_id=request.chat_id,
            reply_markup=request.reply_markup,
            reply_parameters=_reply_to(request.reply_to_message_id),
            **{file.method.value: upload},
            **_about(file),
        )
        return await self._call(account, call, Terms(uploads=(upload,)))

    async def _send_album(self, account: Account, request: SendAlbum) -> Any:
        uploads = [Upload(self._objects, file) for file in request.files]
        media = [
            {"type": file.method.value, "media": upload, **_about(file)}
            for file, upload in zip(request.files, uploads, strict=True)
        ]
        call = SendMediaGroup(
            chat_id=request.chat_id,
            media=media,  # type: ignore[arg-type]  # pydantic makes the models of it
            reply_parameters=_reply_to(request.reply_to_message_id),
        )
        return await self._call(account, call, Terms(uploads=uploads))

    # --- what comes in

    @asynccontextmanager
    async def open_file(self, account: Account, file_id: str) -> AsyncIterator[MediaStream]:
        """getFile, then the file itself. Raises the errors of `msgkit.connector.errors`.

        The address holds the token: it goes nowhere else.
        Source: core.telegram.org/bots/api#getfile; fact sheet 1.7.
        """
        bot, wire = self._bot(account)
        try:
            found = node(await self._call(account, GetFile(file_id=file_id), _FILE))
        except DeliveryUnknown as exc:
            # Nothing was to be delivered: asking again harms nobody.
            raise ProviderUnavailable(str(exc)) from None
        path = text(found.get("file_path")) or ""
        if (json_integer(found.get("file_size")) or 0) > DOWNLOAD_MAX_BYTES:
            raise to_error(400, "file is too big", None, FILE_TABLE)
        if not _FILE_PATH.fullmatch(path):
            raise to_error(400, "wrong file_id", None, FILE_TABLE)
        with self._watched(account, "file"):
            async with wire.download(bot, path) as stream:
                yield stream

    async def poll(self, account: Account, position: str | None, wait_s: float) -> Polled:
        """getUpdates after `position`, the id of the last update and one.

        After an empty answer no position is needed: Telegram has forgotten what lay before it, and after a
        quiet week it begins with other ids, which may be lower.
        Source: core.telegram.org/bots/api#getupdates, #update; fact sheet 1.1.
        """
        wait = min(int(wait_s), POLL_MAX_SECONDS)
        call = GetUpdates(
            offset=None if position is None else int(position),
            limit=POLL_UPDATES,
            timeout=wait,
            allowed_updates=list(ALLOWED_UPDATES),
        )
        terms = Terms(seconds=wait + CALL_SECONDS)
        updates = [update for update in items(await self._call(account, call, terms)) if is_node(update)]
        ids = [found for update in updates if (found := json_integer(update.get("update_id"))) is not None]
        if updates and not ids:
            raise ProviderUnavailable("updates without an id: the answer is not Telegram's")
        return Polled(
            updates=tuple(json.dumps(update, separators=(",", ":")).encode() for update in updates),
            position=str(ids[-1] + 1) if ids else None,
        )

    async def answer_press(self, account: Account, query_id: str) -> None:
        """answerCallbackQuery without a text: the spinner on the button ends."""
        await self._call(account, AnswerCallbackQuery(callback_query_id=query_id))

    # --- the account

    async def who_am_i(self, account: Account) -> Identity:
        """getMe: the bot behind a token."""
        me = node(await self._call(account, GetMe()))
        bot_id = json_integer(me.get("id"))
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
        allowed = info.get("allowed_updates")
        return WebhookInfo(
            url=text(info.get("url")) or "",
            pending_updates=json_integer(info.get("pending_update_count")),
            last_error=text(info.get("last_error_message")),
            last_error_at=json_integer(info.get("last_error_date")),
            allowed_updates=tuple(kind for kind in allowed if isinstance(kind, str))
            if isinstance(allowed, list)
            else None,
        )

    async def delete_webhook(self, account: Account) -> None:
        """deleteWebhook; what waits at Telegram is kept."""
        await self._call(account, DeleteWebhook(drop_pending_updates=False))

    async def set_commands(self, account: Account, commands: Sequence[BotCommand]) -> None:
        """setMyCommands for every language; deleteMyCommands for an empty list."""
        if not commands:
            await self._call(account, DeleteMyCommands())
            return
        listed = [{"command": entry.command, "description": entry.description} for entry in commands]
        await self._call(
            account,
            SetMyCommands(commands=listed),  # type: ignore[arg-type]  # pydantic makes the models of it
        )

    # --- shared by the calls

    async def _call(self, account: Account, method: TelegramMethod[Any], terms: Terms = _PLAIN) -> Any:
        is_poll = isinstance(method, GetUpdates)
        bot, wire = self._bot(account, self._poll_wires if is_poll else self._wires)
        # A span of half a minute that means "nothing came" tells nobody anything.
        with self._watched(account, method.__api_method__, traced=not is_poll):
            return await wire.call(bot, method, terms)

    def _watched(self, account: Account, name: str, *, traced: bool = True) -> AbstractContextManager[object]:
        attributes = {"url.template": f"/bot{{token}}/{name}", "channel_id": account.channel_id}
        traces = span(f"telegram {name}", kind=SpanKind.CLIENT, attributes=attributes)
        return _Measured(self._kind, name, traces if traced else nullcontext())

    def _bot(self, account: Account, wires: dict[str, Wire] | None = None) -> tuple[Bot, Wire]:
        wires = self._wires if wires is None else wires
        api_base = account.api_base or self._api_url
        wire = wires.get(api_base)
        if wire is None:
            wire = wires[api_base] = Wire(api_base, connections=0 if wires is self._poll_wires else 100)
        try:
            return Bot(account.credentials["token"], session=wire), wire
        except TokenValidationError:
            raise token_refused("неправильний вигляд") from None


class _Measured:
    """Counts and times a call, inside its span."""

    def __init__(self, kind: str, name: str, traces: AbstractContextManager[object]) -> None:
        self._kind = kind
        self._name = name
        self._traces = traces
        self._started = time.perf_counter()

    def __enter__(self) -> None:
        self._traces.__enter__()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: Any) -> None:
        outcome = type(exc).__name__ if isinstance(exc, PROVIDER_ERRORS) else "ok" if exc is None else "ended"
        took_s = time.perf_counter() - self._started
        metrics.provider_request_seconds.labels(kind=self._kind, method=self._name, outcome=outcome).observe(
            took_s
        )
        self._traces.__exit__(kind, exc, trace)


def _reply_to(message_id: int | None) -> aiogram.types.ReplyParameters | None:
    if message_id is None:
        return None
    return aiogram.types.ReplyParameters(message_id=message_id, allow_sending_without_reply=True)


def _about(file: File) -> dict[str, Any]:
    """What the phone wants to know of a file before it has it."""
    about: dict[str, Any] = {}
    if file.caption:
        about |= {"caption": file.caption, "parse_mode": None}
    if file.method in _MEASURED and file.width and file.height:
        about |= {"width": file.width, "height": file.height}
    if file.method in _TIMED and file.duration_s:
        about["duration"] = file.duration_s
    if file.method is FileMethod.VIDEO:
        about["supports_streaming"] = True
    return about
