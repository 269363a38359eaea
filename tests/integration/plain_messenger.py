"""A messenger of the tests' own: signed JSON webhooks with receipts, and a phone in this process."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from msgkit.connector.contract import (
    Account,
    ConnectionReport,
    Identity,
    MediaStream,
    Parsed,
    ProviderReceipt,
    Receipt,
    WebhookRequest,
)
from msgkit.connector.errors import PayloadInvalid, SignatureInvalid
from msgkit.contracts.events import Contact, Content, Failure, MessageReceived, SendMessage
from msgkit.contracts.ids import conversation_id, inbound_event_id
from msgkit.contracts.internal_api import AccountSettings
from msgkit.contracts.manifest import Abilities, Limit, Manifest
from msgkit.contracts.words import FailureCode, MessageKind, MessageState
from msgkit.runtime.clock import utc_now

KIND = "plain"
SERVICE = "ingest-plain"
MANIFEST = Manifest(
    kind=KIND,
    title="Plain",
    service=SERVICE,
    abilities=Abilities(
        bot=True,
        buttons=False,
        edit=False,
        delete=False,
        typing=False,
        receipts=True,
        knows_phone=False,
        needs_prior_inbound=True,
        read_marks=False,
        reactions=False,
        templates=False,
        media_kinds=[],
    ),
    limits={"calls": Limit(value=200, unit="per_second", source="our own")},
    reply_window_hours=None,
    human_reply_window_hours=None,
    human_agent_by_default=False,
    credentials_schema={"properties": {"token": {"type": "string"}}, "required": ["token"]},
)
PART = "|"
"""Splits a text into the parts it goes out in."""
AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Part:
    """One request: a part of a message."""

    message_id: str
    client: str
    text: str


Reaction = Callable[[Part], Sequence[str] | Exception | None]
"""What a call ends with: the ids, an error, or None for the ordinary answer."""


@dataclass
class Phone:
    """What arrived, and what the messenger answers."""

    seen: list[tuple[str, str, str, float]] = field(default_factory=list)
    """(channel, client, text, moment of the loop) of each call."""
    calls: Counter[str] = field(default_factory=Counter)
    react: Reaction = lambda _part: None
    hold: asyncio.Event | None = None
    """While set, the answers are held until it is."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    settings: list[AccountSettings] = field(default_factory=list)
    settings_fault: Exception | None = None
    next_id: int = 5_741_311_803_571_721_087

    def texts(self, channel_id: str) -> list[str]:
        return [text for channel, _, text, _ in self.seen if channel == channel_id]


class PlainConnector:
    """The connector of this messenger."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone

    @property
    def manifest(self) -> Manifest:
        return MANIFEST

    def verify(self, request: WebhookRequest, account: Account) -> None:
        given = request.headers.get(b"x-signature", b"")
        if not hmac.compare_digest(given, signature(request.body, account.credentials["token"])):
            raise SignatureInvalid("not ours")

    def parse(self, request: WebhookRequest, account: Account) -> Parsed:
        try:
            said = json.loads(request.body)
        except ValueError as exc:
            raise PayloadInvalid("no JSON") from exc
        return Parsed(
            events=tuple(_received(one, request, account) for one in said.get("messages", ())),
            receipts=tuple(_receipt(one, account) for one in said.get("receipts", ())),
            reply=request.query,
            is_kept=not said.get("check"),
        )

    def plan(self, message: SendMessage, account: Account) -> Sequence[Part]:
        del account
        return [Part(message.message_id, message.contact_key, text) for text in message.text.split(PART)]

    async def deliver(self, request: Part, account: Account) -> Receipt:
        phone = self._phone
        phone.seen.append(
            (account.channel_id, request.client, request.text, asyncio.get_running_loop().time())
        )
        phone.arrived.set()
        answer = phone.react(request)
        if phone.hold is not None:
            await phone.hold.wait()
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            phone.next_id += 1
            answer = [str(phone.next_id)]
        return Receipt(answer[0] if answer else None, tuple(answer[1:]))

    async def probe(self, account: Account) -> Identity:
        return Identity(account.credentials["token"], "plain")

    async def connect(self, account: Account, webhook_url: str) -> None:
        del account, webhook_url

    async def check(self, account: Account, webhook_url: str) -> ConnectionReport:
        del account, webhook_url
        return ConnectionReport(True, None, None)

    async def disconnect(self, account: Account) -> None:
        del account

    @asynccontextmanager
    async def open_media(self, ref: str, account: Account) -> AsyncIterator[MediaStream]:
        del ref, account

        async def nothing() -> AsyncIterator[bytes]:
            yield b"a plain file"

        yield MediaStream(None, None, None, nothing())

    async def apply_settings(self, settings: AccountSettings, account: Account) -> None:
        del account
        if self._phone.settings_fault is not None:
            raise self._phone.settings_fault
        self._phone.settings.append(settings)

    async def aclose(self) -> None:
        """Nothing is open."""


def signature(body: bytes, token: str) -> bytes:
    return hmac.new(token.encode(), body, sha256).hexdigest().encode()


def _received(said: Mapping[str, Any], request: WebhookRequest, account: Account) -> MessageReceived:
    client, provider_id = str(said["client"]), str(said["id"])
    return MessageReceived(
        type="message.received.v1",
        event_id=inbound_event_id(account.kind, account.channel_id, provider_id, "message.received.v1"),
        tenant_id=account.tenant_id,
        channel_id=account.channel_id,
        channel_kind=account.kind,
        recorded_at=utc_now(),
        conversation_id=conversation_id(account.channel_id, client),
        webhook_id=request.webhook_id,
        raw=json.dumps(said),
        contact=Contact(key=client, name="Олена", username=None, phone=None, language=None),
        provider_id=provider_id,
        provider_seq=0,
        sent_at=AT,
        content=Content(
            kind=MessageKind.TEXT,
            text=said["text"],
            entities=[],
            media=said.get("media", []),
            place=None,
            shared_contact=None,
            shared_link=None,
            unsupported=None,
        ),
        reply_to_provider_id=None,
        start_payload=None,
        group_id=None,
        pressed=None,
        is_standby=False,
    )


def _receipt(said: Mapping[str, Any], account: Account) -> ProviderReceipt:
    state = MessageState(said["state"])
    assert state in {MessageState.DELIVERED, MessageState.READ, MessageState.FAILED}
    is_refusal = state is MessageState.FAILED
    return ProviderReceipt(
        conversation_id=conversation_id(account.channel_id, str(said["client"])),
        provider_id=said["id"],
        state=state,
        and_earlier=state is MessageState.READ,
        failure=Failure(code=FailureCode.REJECTED, text="Не показано.") if is_refusal else None,
        contact_blocked=False,
        happened_at=AT,
    )
