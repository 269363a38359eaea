"""Telegram bots as a connector: each member is one or two lines into inbound, outbound or client."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from ingest_telegram import payloads
from ingest_telegram.client import TelegramClient, WebhookInfo
from ingest_telegram.inbound import to_parsed
from ingest_telegram.outbound import to_requests
from ingest_telegram.payloads import SendText
from msgkit.connector.contract import (
    Account,
    ConnectionReport,
    Identity,
    Parsed,
    Receipt,
    WebhookRequest,
)
from msgkit.connector.errors import SignatureInvalid
from msgkit.contracts.events import SendMessage
from msgkit.contracts.manifest import Abilities, Limit, Manifest

KIND = "telegram_bot"
SERVICE = "ingest-telegram"
_DOCS = "https://core.telegram.org/bots/api#sendmessage"
_FAQ = "https://core.telegram.org/bots/faq"
_MANY_PENDING = 100

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
        media_kinds=[],
    ),
    limits={
        "text": Limit(value=payloads.TEXT_MAX_UNITS, unit="utf16_units", source=_DOCS),
        "sends": Limit(value=payloads.SENDS_PER_SECOND, unit="per_second", source=_FAQ),
    },
    reply_window_hours=None,
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

    def __init__(self, client: TelegramClient) -> None:
        self._client = client

    def verify(self, request: WebhookRequest, account: Account) -> None:
        given = request.headers.get(payloads.SECRET_HEADER, b"")
        wanted = account.webhook_secret.encode()
        if not wanted or not hmac.compare_digest(given, wanted):
            raise SignatureInvalid

    def parse(self, request: WebhookRequest, account: Account) -> Parsed:
        return to_parsed(request, account)

    def plan(self, message: SendMessage, account: Account) -> Sequence[SendText]:
        return to_requests(message)

    async def deliver(self, request: SendText, account: Account) -> Receipt:
        return await self._client.send_text(account, request)

    async def probe(self, account: Account) -> Identity:
        return await self._client.who_am_i(account)

    async def connect(self, account: Account, webhook_url: str) -> None:
        await self._client.set_webhook(account, webhook_url)

    async def check(self, account: Account, webhook_url: str) -> ConnectionReport:
        return to_report(await self._client.webhook_info(account), webhook_url)

    async def disconnect(self, account: Account) -> None:
        await self._client.delete_webhook(account)

    async def aclose(self) -> None:
        await self._client.aclose()


def to_report(info: WebhookInfo, webhook_url: str) -> ConnectionReport:
    """What the administrator should know of a bot's webhook.

    Source: core.telegram.org/bots/api#webhookinfo; fact sheet 1.1.
    """
    problem = None
    if not info.url:
        problem = "Вебхук не встановлено. Збережіть канал ще раз."
    elif info.url != webhook_url:
        problem = "Вебхук цього бота веде до іншої системи. Вимкніть її або збережіть канал ще раз."
    elif info.last_error is not None and (info.pending_updates or 0) >= _MANY_PENDING:
        problem = f"Telegram не може передати нам повідомлення: {info.last_error[:200]}"
    return ConnectionReport(
        connected=info.url == webhook_url, problem=problem, pending_updates=info.pending_updates
    )
