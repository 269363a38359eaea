"""Telegram bots as a connector: each member is one or two lines into inbound, outbound or client."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from ingest_telegram import payloads
from ingest_telegram.client import TelegramClient
from ingest_telegram.commands import checked_commands
from ingest_telegram.inbound import to_parsed
from ingest_telegram.outbound import to_requests
from ingest_telegram.payloads import Request
from ingest_telegram.webhook_report import to_report
from msgkit.connector.contract import (
    Account,
    ConnectionReport,
    Identity,
    MediaStream,
    Parsed,
    Polled,
    Receipt,
    WebhookRequest,
)
from msgkit.connector.errors import SignatureInvalid
from msgkit.contracts.events import SendMessage
from msgkit.contracts.internal_api import AccountSettings
from msgkit.contracts.manifest import Abilities, Limit, Manifest
from msgkit.contracts.words import MessageKind
from msgkit.runtime.clock import Clock, utc_now

KIND = "telegram_bot"
SERVICE = "ingest-telegram"
_API = "https://core.telegram.org/bots/api"
_FAQ = "https://core.telegram.org/bots/faq"

MANIFEST = Manifest(
    kind=KIND,
    title="Telegram-бот",
    service=SERVICE,
    abilities=Abilities(
        bot=True,
        buttons=True,
        edit=False,
        delete=False,
        typing=False,
        receipts=False,
        knows_phone=False,
        needs_prior_inbound=True,
        read_marks=False,
        reactions=False,
        templates=False,
        media_kinds=[
            kind.value
            for kind in (
                MessageKind.IMAGE,
                MessageKind.VIDEO,
                MessageKind.AUDIO,
                MessageKind.VOICE,
                MessageKind.FILE,
                MessageKind.STICKER,
            )
        ],
    ),
    limits={
        "text": Limit(value=payloads.TEXT_MAX_UNITS, unit="utf16_units", source=f"{_API}#sendmessage"),
        "caption": Limit(value=payloads.CAPTION_MAX_UNITS, unit="utf16_units", source=f"{_API}#sendphoto"),
        "file": Limit(value=payloads.UPLOAD_MAX_BYTES, unit="bytes", source=f"{_API}#sending-files"),
        "file_in": Limit(value=payloads.DOWNLOAD_MAX_BYTES, unit="bytes", source=f"{_API}#getfile"),
        "image": Limit(value=payloads.PHOTO_MAX_BYTES, unit="bytes", source=f"{_API}#sendphoto"),
        "image_sides": Limit(value=payloads.PHOTO_MAX_SIDES_PX, unit="pixels", source=f"{_API}#sendphoto"),
        "album": Limit(value=payloads.ALBUM_MAX_FILES, unit="files", source=f"{_API}#sendmediagroup"),
        "sends": Limit(value=payloads.SENDS_PER_SECOND, unit="per_second", source=_FAQ),
    },
    reply_window_hours=None,
    human_reply_window_hours=None,
    human_agent_by_default=False,
    credentials_schema={
        "type": "object",
        "required": ["token"],
        "additionalProperties": False,
        "properties": {
            "token": {
                "type": "string",
                "title": "Токен бота",
                "description": "Його дає @BotFather після /newbot або /token.",
                "writeOnly": True,
            }
        },
    },
)


class TelegramBotConnector:
    """Kind `telegram_bot`."""

    manifest = MANIFEST

    def __init__(self, client: TelegramClient, clock: Clock = utc_now) -> None:
        self._client = client
        self._clock = clock

    def verify(self, request: WebhookRequest, account: Account) -> None:
        given = request.headers.get(payloads.SECRET_HEADER, b"")
        # No early end: how long it takes must not tell which secret came close.
        matches = [
            hmac.compare_digest(given, secret.encode()) for secret in account.webhook_secrets if secret
        ]
        if not any(matches):
            raise SignatureInvalid

    def parse(self, request: WebhookRequest, account: Account) -> Parsed:
        return to_parsed(request, account)

    def plan(self, message: SendMessage, account: Account) -> Sequence[Request]:
        return to_requests(message)

    async def deliver(self, request: Request, account: Account) -> Receipt:
        return await self._client.send(account, request)

    async def acknowledge(self, token: str, account: Account) -> None:
        await self._client.answer_press(account, token)

    async def probe(self, account: Account) -> Identity:
        return await self._client.who_am_i(account)

    async def connect(self, account: Account, webhook_url: str) -> None:
        await self._client.set_webhook(account, webhook_url)

    async def check(self, account: Account, webhook_url: str) -> ConnectionReport:
        return to_report(await self._client.webhook_info(account), webhook_url, self._clock())

    async def disconnect(self, account: Account) -> None:
        await self._client.delete_webhook(account)

    async def prepare_polling(self, account: Account) -> None:
        await self._client.delete_webhook(account)

    async def poll(self, position: str | None, account: Account, wait_s: float) -> Polled:
        return await self._client.poll(account, position, wait_s)

    def open_media(self, ref: str, account: Account) -> AbstractAsyncContextManager[MediaStream]:
        return self._client.open_file(account, ref)

    async def apply_settings(self, settings: AccountSettings, account: Account) -> None:
        # The welcome is no business of Telegram's: the bot says it when somebody presses Start.
        await self._client.set_commands(account, checked_commands(settings.commands))

    async def aclose(self) -> None:
        await self._client.aclose()
