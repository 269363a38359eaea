"""Viber bots as a connector: each member is one or two lines into inbound, outbound or client."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from urllib.parse import parse_qsl

from ingest_viber import payloads, welcome
from ingest_viber.client import ViberClient
from ingest_viber.downloads import Downloads
from ingest_viber.inbound import is_check, to_parsed
from ingest_viber.outbound import to_requests
from ingest_viber.payloads import Request
from ingest_viber.webhook_report import to_report
from msgkit.connector.contract import (
    Account,
    ConnectionReport,
    Identity,
    MediaStream,
    Parsed,
    Receipt,
    WebhookRequest,
)
from msgkit.connector.errors import SignatureInvalid
from msgkit.contracts.events import SendMessage
from msgkit.contracts.internal_api import AccountSettings
from msgkit.contracts.manifest import Abilities, Limit, Manifest
from msgkit.contracts.words import MessageKind

KIND = "viber_bot"
SERVICE = "ingest-viber"
CHECK_MAX_BYTES = 4096
"""Of a callback that may come unsigned; Viber's own are a tenth of it."""
_API = "https://developers.viber.com/docs/api/rest-bot-api/"

MANIFEST = Manifest(
    kind=KIND,
    title="Viber-бот",
    service=SERVICE,
    abilities=Abilities(
        bot=True,
        buttons=True,
        edit=False,
        delete=False,
        typing=False,
        receipts=True,
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
            )
        ],
    ),
    limits={
        "text": Limit(value=payloads.TEXT_MAX_CHARS, unit="chars", source=f"{_API}#text-message"),
        "body": Limit(value=payloads.BODY_MAX_BYTES, unit="bytes", source=f"{_API}#send-message"),
        "caption": Limit(value=payloads.CAPTION_MAX_CHARS, unit="chars", source=f"{_API}#picture-message"),
        "file": Limit(value=payloads.FILE_MAX_BYTES, unit="bytes", source=f"{_API}#file-message"),
        "image": Limit(value=payloads.PICTURE_MAX_BYTES, unit="bytes", source=f"{_API}#picture-message"),
        "video": Limit(value=payloads.VIDEO_MAX_BYTES, unit="bytes", source=f"{_API}#video-message"),
        "sends": Limit(value=payloads.SENDS_PER_SECOND, unit="per_second", source=f"{_API}#send-message"),
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
                "description": "У Viber: Більше → Налаштування → Боти → Редагувати, поле «Ваш ключ».",
                "writeOnly": True,
            }
        },
    },
)


class ViberBotConnector:
    """Kind `viber_bot`."""

    manifest = MANIFEST

    def __init__(self, client: ViberClient, downloads: Downloads) -> None:
        self._client = client
        self._downloads = downloads

    def verify(self, request: WebhookRequest, account: Account) -> None:
        """HMAC-SHA256 of the raw bytes by the token; the address may carry it where the header is missing.

        Source: fact sheet 3.3.
        """
        token = account.credentials.get("token", "")
        if not token:
            raise SignatureInvalid
        given = request.headers.get(payloads.SIGNATURE_HEADER)
        if given is None:
            given = _in_query(request.query)
        if given is None:
            if len(request.body) <= CHECK_MAX_BYTES and is_check(request.body):
                return
            raise SignatureInvalid
        wanted = hmac.new(token.encode(), request.body, "sha256").hexdigest().encode()
        if not hmac.compare_digest(given, wanted):
            raise SignatureInvalid

    def parse(self, request: WebhookRequest, account: Account) -> Parsed:
        return to_parsed(request, account)

    def plan(self, message: SendMessage, account: Account) -> Sequence[Request]:
        return to_requests(message, account)

    async def deliver(self, request: Request, account: Account) -> Receipt:
        return await self._client.send(account, request)

    async def probe(self, account: Account) -> Identity:
        return await self._client.who_am_i(account)

    async def connect(self, account: Account, webhook_url: str) -> None:
        await self._client.set_webhook(account, webhook_url)

    async def check(self, account: Account, webhook_url: str) -> ConnectionReport:
        return to_report(await self._client.account_info(account), webhook_url)

    async def disconnect(self, account: Account) -> None:
        await self._client.delete_webhook(account)

    def open_media(self, ref: str, account: Account) -> AbstractAsyncContextManager[MediaStream]:
        return self._downloads.open(ref, account)

    async def apply_settings(self, settings: AccountSettings, account: Account) -> None:
        # Nothing to tell Viber: the welcome is said when a chat is opened. But it must be sayable.
        welcome.checked(settings, account)

    async def aclose(self) -> None:
        await self._client.aclose()
        await self._downloads.aclose()


def _in_query(query: bytes) -> bytes | None:
    """The signature in the address; None without one. Two are as wrong as none of ours."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=None)
    found = [value for name, value in pairs if name == "sig"]
    return None if not found else found[0].encode("latin-1", "replace") if len(found) == 1 else b""
