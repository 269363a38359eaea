"""WhatsApp by number as a connector: each member is one or two lines into inbound, outbound or client."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from ingest_whatsapp import envelope, payloads
from ingest_whatsapp.bodies import Request
from ingest_whatsapp.client import GraphClient
from ingest_whatsapp.inbound import to_parsed
from ingest_whatsapp.outbound import to_requests
from msgkit.connector.contract import (
    Account,
    AppPart,
    ConnectionReport,
    Identity,
    MediaStream,
    Parsed,
    Receipt,
    WebhookRequest,
)
from msgkit.connector.hub import challenge_of, signed_by
from msgkit.contracts.events import SendMessage
from msgkit.contracts.internal_api import AccountSettings, MessageTemplate
from msgkit.contracts.manifest import Abilities, Limit, Manifest
from msgkit.contracts.words import MessageKind

KIND = "whatsapp"
SERVICE = "ingest-whatsapp"
RESOLVES_UNKNOWN_S = 30.0
"""Statuses come within seconds; one later than this still lifts an answer that is unknown."""

MANIFEST = Manifest(
    kind=KIND,
    title="WhatsApp (Cloud API)",
    service=SERVICE,
    abilities=Abilities(
        bot=True,
        buttons=True,
        edit=False,
        delete=False,
        typing=True,
        receipts=True,
        knows_phone=True,
        # A template may be the first word.
        needs_prior_inbound=False,
        read_marks=True,
        reactions=True,
        templates=True,
        media_kinds=[
            kind.value
            for kind in (
                MessageKind.IMAGE,
                MessageKind.VIDEO,
                MessageKind.AUDIO,
                MessageKind.VOICE,
                MessageKind.FILE,
                MessageKind.STICKER,
                MessageKind.LOCATION,
                MessageKind.CONTACT,
            )
        ],
    ),
    limits={
        "text": Limit(
            value=payloads.TEXT_MAX_CHARS, unit="chars", source=f"{payloads.DOCS}messages/text-messages"
        ),
        "caption": Limit(
            value=payloads.CAPTION_MAX_CHARS, unit="chars", source=f"{payloads.DOCS}messages/image-messages"
        ),
        "file": Limit(
            value=payloads.DOCUMENT_MAX_BYTES,
            unit="bytes",
            source=f"{payloads.DOCS}business-phone-numbers/media",
        ),
        "image": Limit(
            value=payloads.IMAGE_MAX_BYTES,
            unit="bytes",
            source=f"{payloads.DOCS}business-phone-numbers/media",
        ),
        "video": Limit(
            value=payloads.VIDEO_MAX_BYTES,
            unit="bytes",
            source=f"{payloads.DOCS}business-phone-numbers/media",
        ),
        "audio": Limit(
            value=payloads.AUDIO_MAX_BYTES,
            unit="bytes",
            source=f"{payloads.DOCS}business-phone-numbers/media",
        ),
        "sends": Limit(
            value=payloads.SENDS_PER_SECOND, unit="per_second", source=f"{payloads.DOCS}throughput"
        ),
    },
    reply_window_hours=payloads.REPLY_WINDOW_HOURS,
    human_reply_window_hours=None,
    human_agent_by_default=False,
    credentials_schema={
        "type": "object",
        "required": ["phone_number_id", "waba_id", "access_token"],
        "additionalProperties": False,
        "properties": {
            "phone_number_id": {
                "type": "string",
                "title": "Phone number ID",
                "description": "У Meta for Developers: ваш застосунок → WhatsApp → API Setup, під номером.",
                "pattern": "^[0-9]{5,32}$",
            },
            "waba_id": {
                "type": "string",
                "title": "WhatsApp Business Account ID",
                "description": "Там само, поруч із номером.",
                "pattern": "^[0-9]{5,32}$",
            },
            "access_token": {
                "type": "string",
                "title": "Токен доступу",
                "description": "Токен системного користувача без строку дії, "
                "з правами whatsapp_business_messaging і whatsapp_business_management.",
                "writeOnly": True,
            },
            "app_secret": {
                "type": "string",
                "title": "App Secret власного застосунку",
                "description": "Лише якщо номер підключено до вашого власного застосунку Meta: "
                "App settings → Basic. Інакше залиште порожнім.",
                "writeOnly": True,
            },
        },
    },
)


class WhatsAppConnector:
    """Kind `whatsapp`."""

    manifest = MANIFEST
    resolves_unknown_s = RESOLVES_UNKNOWN_S

    def __init__(self, client: GraphClient) -> None:
        self._client = client

    def verify(self, request: WebhookRequest, account: Account) -> None:
        """At an address of its own an account is signed for by its own app, and by no other."""
        signed_by([account.credentials.get("app_secret", "")], request)

    def verify_app(self, request: WebhookRequest, secrets: Sequence[str]) -> None:
        signed_by(secrets, request)

    def shake_hands(self, query: bytes, verify_tokens: Sequence[str]) -> bytes:
        return challenge_of(query, verify_tokens)

    def split(self, request: WebhookRequest) -> Sequence[AppPart]:
        return envelope.split(request.body)

    def needs_own_address(self, account: Account) -> bool:
        return bool(account.credentials.get("app_secret"))

    def parse(self, request: WebhookRequest, account: Account) -> Parsed:
        return to_parsed(request, account)

    def plan(self, message: SendMessage, account: Account) -> Sequence[Request]:
        return to_requests(message, account)

    async def deliver(self, request: Request, account: Account) -> Receipt:
        return await self._client.send(account, request)

    async def probe(self, account: Account) -> Identity:
        return await self._client.who_am_i(account)

    async def connect(self, account: Account, webhook_url: str) -> None:
        await self._client.connect(account, webhook_url)

    async def check(self, account: Account, webhook_url: str) -> ConnectionReport:
        return await self._client.check(account, webhook_url)

    async def disconnect(self, account: Account) -> None:
        await self._client.disconnect(account)

    async def mark_read(self, address: str, provider_id: str, account: Account) -> None:
        await self._client.mark_read(address, provider_id, account)

    async def show_typing(self, address: str, provider_id: str, account: Account) -> None:
        await self._client.show_typing(address, provider_id, account)

    async def templates(self, account: Account) -> Sequence[MessageTemplate]:
        return await self._client.templates(account)

    def open_media(self, ref: str, account: Account) -> AbstractAsyncContextManager[MediaStream]:
        return self._client.open_media(ref, account)

    async def apply_settings(self, settings: AccountSettings, account: Account) -> None:
        # Nothing to tell WhatsApp: there is no welcome before the client writes, and no menu of commands.
        del settings, account

    async def aclose(self) -> None:
        await self._client.aclose()
