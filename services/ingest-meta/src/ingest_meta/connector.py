"""Messenger and Instagram as a connector: each member is one or two lines into what does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime

from ingest_meta import envelope
from ingest_meta.bodies import Request
from ingest_meta.client import GraphClient
from ingest_meta.inbound import to_parsed
from ingest_meta.manifests import FACEBOOK_MANIFEST, INSTAGRAM_MANIFEST
from ingest_meta.outbound import to_requests
from msgkit.connector.contract import (
    Account,
    AppPart,
    ConnectionReport,
    Identity,
    MediaStream,
    Parsed,
    Profile,
    Recalled,
    Receipt,
    WebhookRequest,
)
from msgkit.connector.hub import challenge_of, signed_by
from msgkit.contracts.events import SendMessage
from msgkit.contracts.internal_api import AccountSettings

RESOLVES_UNKNOWN_S = 30.0
"""Echoes come within seconds; one later than this still lifts an answer that is unknown."""
ECHO_WAIT_S = 5.0
"""How long an echo waits for the end of a call to the same client. Source: fact sheet 1.3, «wait»."""


class MetaConnector:
    """Kinds `facebook` and `instagram`."""

    manifest = FACEBOOK_MANIFEST
    manifests = (FACEBOOK_MANIFEST, INSTAGRAM_MANIFEST)
    resolves_unknown_s = RESOLVES_UNKNOWN_S
    echo_wait_s = ECHO_WAIT_S

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

    async def profile(self, contact_key: str, account: Account) -> Profile | None:
        return await self._client.profile(contact_key, account)

    async def recall(self, since: datetime, cursor: str | None, account: Account) -> Recalled:
        return await self._client.recall(since, cursor, account)

    async def renew(self, account: Account) -> Mapping[str, str] | None:
        return await self._client.renew(account)

    def open_media(self, ref: str, account: Account) -> AbstractAsyncContextManager[MediaStream]:
        return self._client.open_media(ref, account)

    async def apply_settings(self, settings: AccountSettings, account: Account) -> None:
        # Nothing to tell Meta: late answers of people are decided with each call.
        del settings, account

    async def aclose(self) -> None:
        await self._client.aclose()
