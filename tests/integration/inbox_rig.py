"""Inbox on real servers inside the test's process, and the words its tests speak."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import httpx2
from aio_pika.abc import AbstractChannel
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inbox.app import Inbox, assemble
from inbox.domain import Fact
from inbox.settings import Settings
from msgkit.contracts.events import (
    Contact,
    ContactAvailability,
    Content,
    DeliveryReported,
    Failure,
    MediaRef,
    MediaSettled,
    MessageEchoed,
    MessageEdited,
    MessageReceived,
    OutboundButton,
    StoredMedia,
)
from msgkit.contracts.facts import FactsEnvelope
from msgkit.contracts.ids import (
    attachment_id,
    conversation_id,
    inbound_event_id,
    inbound_message_id,
    new_id,
    partition_of,
)
from msgkit.contracts.topology import INBOUND, conversation_key
from msgkit.contracts.words import AuthorKind, MessageKind, MessageState
from msgkit.runtime import bus
from msgkit.runtime.bus import Outgoing
from msgkit.runtime.clock import utc_now
from msgkit.runtime.partition_reader import Delivery
from msgkit.runtime.tokens import ServiceTokens

KIND = "telegram_bot"
_SEEDS = {
    name: bytes([number]) * 32 for number, name in enumerate(("gateway", "inbox", "ingest-telegram"), 1)
}


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


PUBLIC_KEYS = {
    name: _b64(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())
    for name, seed in _SEEDS.items()
}


def settings_for(amqp_url: str, mongo_url: str, mongo_prefix: str, instance: str = "one") -> Settings:
    return Settings.model_validate(
        {
            "RABBITMQ_URL": amqp_url,
            "MONGO_URL": mongo_url,
            "mongo_prefix": mongo_prefix,
            "internal_port": 0,
            "instance": instance,
            "service_key": _b64(_SEEDS["inbox"]),
            "service_public_keys": PUBLIC_KEYS,
        }
    )


@dataclass
class Client:
    """A client of one channel, who writes, edits, blocks."""

    channel_id: str
    tenant_id: str = "salon"
    key: str = "501"
    name: str = "Оля"
    numbers: int = field(default=0)

    @property
    def conversation_id(self) -> str:
        return conversation_id(self.channel_id, self.key)

    @property
    def _common(self) -> dict[str, Any]:
        return {
            "tenant_id": self.tenant_id,
            "channel_id": self.channel_id,
            "channel_kind": KIND,
            "recorded_at": utc_now(),
            "conversation_id": self.conversation_id,
        }

    @property
    def _contact(self) -> Contact:
        return Contact(key=self.key, name=self.name, username=None, phone=None, language="uk")

    def says(
        self,
        text: str,
        *,
        provider_id: str | None = None,
        sent_at: datetime | None = None,
        seq: int | None = None,
        reply_to: str | None = None,
        content: Content | None = None,
    ) -> MessageReceived:
        self.numbers += 1
        provider_id = provider_id or str(self.numbers)
        return MessageReceived(
            **self._common,
            type="message.received.v1",
            event_id=inbound_event_id(
                KIND, self.channel_id, f"{self.key}:{provider_id}", "message.received.v1"
            ),
            webhook_id=new_id(),
            raw="{}",
            contact=self._contact,
            provider_id=provider_id,
            provider_seq=seq or self.numbers,
            sent_at=sent_at or utc_now(),
            content=content or text_content(text),
            reply_to_provider_id=reply_to,
            start_payload=None,
            group_id=None,
            pressed=None,
        )

    def hears(
        self,
        text: str,
        provider_id: str,
        author_kind: Literal[AuthorKind.OPERATOR, AuthorKind.BOT],
        content: Content | None = None,
        buttons: Sequence[Sequence[OutboundButton]] = (),
    ) -> MessageEchoed:
        """Something was said to them that inbox did not order."""
        self.numbers += 1
        return MessageEchoed(
            **self._common,
            type="message.echoed.v1",
            event_id=inbound_event_id(
                KIND, self.channel_id, f"{self.key}:{provider_id}", "message.echoed.v1"
            ),
            webhook_id=new_id(),
            raw="{}",
            contact=self._contact,
            provider_id=provider_id,
            provider_seq=self.numbers,
            sent_at=utc_now(),
            author_kind=author_kind,
            content=content or text_content(text),
            buttons=[list(row) for row in buttons],
            reply_to_provider_id=None,
        )

    def edits(self, provider_id: str, text: str, edited_at: datetime | None = None) -> MessageEdited:
        at = edited_at or utc_now()
        return MessageEdited(
            **self._common,
            type="message.edited.v1",
            event_id=new_id(),
            webhook_id=new_id(),
            raw="{}",
            contact=self._contact,
            provider_id=provider_id,
            edited_at=at,
            content=text_content(text),
        )

    def turns(self, *, available: bool, at: datetime | None = None) -> ContactAvailability:
        return ContactAvailability(
            **self._common,
            type="contact.availability.v1",
            event_id=new_id(),
            webhook_id=new_id(),
            raw="{}",
            contact=self._contact,
            available=available,
            happened_at=at or utc_now() + timedelta(seconds=1),
        )

    def gets(
        self,
        message_id: str,
        state: MessageState,
        *,
        provider_ids: tuple[str, ...] = (),
        failure: Failure | None = None,
        blocked: bool = False,
        is_late_refusal: bool = False,
    ) -> DeliveryReported:
        return DeliveryReported(
            **self._common,
            type="delivery.reported.v1",
            event_id=new_id(),
            message_id=message_id,
            state=state,
            provider_ids=list(provider_ids),
            failure=failure,
            contact_blocked=blocked,
            is_late_refusal=is_late_refusal,
            happened_at=utc_now() + timedelta(seconds=1),
        )

    def file_of(self, provider_id: str, ref: str) -> str:
        """The id of a file of a message of theirs."""
        return attachment_id(inbound_message_id(self.conversation_id, provider_id), ref)

    def file_settled(self, provider_id: str, ref: str, *, lost: Any = None) -> MediaSettled:
        """Their file was fetched, or why it is lost."""
        stored = StoredMedia(
            key=f"objects/{ref}",
            mime="image/png",
            size_bytes=900,
            width=600,
            height=400,
            duration_s=None,
            thumb_key=f"objects/{ref}-thumb",
        )
        return MediaSettled(
            **self._common,
            type="media.settled.v1",
            event_id=new_id(),
            message_id=inbound_message_id(self.conversation_id, provider_id),
            attachment_id=self.file_of(provider_id, ref),
            stored=None if lost else stored,
            reason=lost,
            happened_at=utc_now(),
        )


def text_content(text: str) -> Content:
    return Content(
        kind=MessageKind.TEXT,
        text=text,
        entities=[],
        media=[],
        place=None,
        shared_contact=None,
        unsupported=None,
    )


def photo_content(ref: str, text: str = "") -> Content:
    file = MediaRef(
        ref=ref,
        kind=MessageKind.IMAGE,
        name=None,
        mime="image/jpeg",
        size_bytes=1000,
        width=640,
        height=480,
        duration_s=None,
    )
    return text_content(text).model_copy(update={"kind": MessageKind.IMAGE, "media": [file]})


def delivery_of(event: Fact) -> Delivery:
    """What the reader of partitions would hand over."""
    return Delivery(
        partition=partition_of(event.conversation_id),
        body=event.model_dump_json().encode(),
        type=event.type,
        event_id=event.event_id,
        traceparent=None,
        delivery_count=0,
        received_at=0.0,
    )


class Api:
    """Calls the internal API as the gateway does for one user."""

    def __init__(self, inbox: Inbox, tenant_id: str, user_id: str, name: str, roles: tuple[str, ...]) -> None:
        self._tokens = ServiceTokens("gateway", _b64(_SEEDS["gateway"]), PUBLIC_KEYS)
        self._claims: dict[str, Any] = {
            "tenant_id": tenant_id,
            "user_id": user_id,
            "user_name": name,
            "roles": roles,
        }
        transport = httpx2.ASGITransport(app=inbox.service.internal)
        self._http = httpx2.AsyncClient(transport=transport, base_url="http://inbox")

    async def call(
        self,
        method: str,
        path: str,
        json_body: Any = None,
        headers: dict[str, str] | None = None,
        **params: Any,
    ) -> httpx2.Response:
        token = self._tokens.issue("inbox", **self._claims)
        return await self._http.request(
            method,
            f"/internal{path}",
            json=json_body,
            params=params,
            headers={"Authorization": f"Bearer {token}", **(headers or {})},
        )

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.call("GET", path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def messages(self, conversation: str, **params: Any) -> list[dict[str, Any]]:
        page = await self.get(f"/conversations/{conversation}/messages", **params)
        items: list[dict[str, Any]] = page["items"]
        return items

    async def reply(self, conversation: str, text: str, **more: Any) -> httpx2.Response:
        body = {"client_msg_id": new_id(), "text": text, **more}
        return await self.call("POST", f"/conversations/{conversation}/messages", body)

    async def connect_channel(self, roles: list[str] | None = None, title: str = "Telegram") -> str:
        """A channel ready for work; needs the role admin."""
        channel_id = new_id()
        body = {
            "kind": KIND,
            "title": title,
            "account_id": new_id(),
            "account_name": "@bot",
            "credentials_hint": "abcd",
            "webhook_url": None,
            "settings": {"roles": roles},
        }
        answer = await self.call("PUT", f"/channels/{channel_id}", body)
        assert answer.status_code == 200, answer.text
        state = {"state": "active", "connected": True, "problem": None}
        answer = await self.call("POST", f"/channels/{channel_id}/state", state)
        assert answer.status_code == 200, answer.text
        return channel_id

    async def aclose(self) -> None:
        await self._http.aclose()


@dataclass
class Rig:
    """A running inbox, with what it published to others."""

    inbox: Inbox
    settings: Settings
    channel: AbstractChannel
    handled: int = 0
    """Deliveries handed over so far: none if the test could not begin."""
    _apis: list[Api] = field(default_factory=list)

    def api(
        self, user_id: str = "u-olena", tenant_id: str = "salon", roles: tuple[str, ...] = ("admin",)
    ) -> Api:
        api = Api(self.inbox, tenant_id, user_id, user_id.removeprefix("u-").title(), roles)
        self._apis.append(api)
        return api

    async def receive(self, *events: Any) -> None:
        """What the reader does with a batch, without waiting for the bus."""
        await self.handle(*(delivery_of(event) for event in events))

    async def handle(self, *deliveries: Delivery) -> None:
        """Both steps of a batch, one after the other."""
        self.handled += len(deliveries)
        finish = await self.inbox.handle(deliveries)
        await finish()

    async def publish(self, *events: Any) -> None:
        """Put events on the bus as an ingest service does."""
        await self.inbox.publisher.publish_all(
            [
                Outgoing(
                    INBOUND,
                    conversation_key(KIND, event.conversation_id),
                    event.model_dump_json().encode(),
                    event.event_id,
                    event.type,
                )
                for event in events
            ]
        )

    async def listen(self, exchange: str) -> Callable[[], Any]:
        """A queue of our own bound to everything of an exchange; returns a reader of what came."""
        queue = await self.channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "#")

        async def take() -> list[Any]:
            found = []
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                found.append(json.loads(message.body))
            return found

        return take

    async def close(self) -> None:
        for api in self._apis:
            await api.aclose()


async def eventually(read: Callable[[], Any], wanted: Callable[[Any], bool], timeout_s: float = 10.0) -> Any:
    """Read until it is as wanted; the last value is in the failure."""
    value: Any = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                value = await read()
                if wanted(value):
                    return value
                await asyncio.sleep(0.02)  # pace: another task is at work
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:g} s; the last value was {value!r}") from None


@asynccontextmanager
async def running(settings: Settings, *, reads: bool = True) -> AsyncIterator[Rig]:
    """An inbox from start to stop; without `reads` nothing is taken from the bus, the test hands it over."""
    inbox = assemble(settings)
    amqp_url = settings.rabbitmq_url.get_secret_value()
    if reads:
        await inbox.service.start()
        await inbox.reader.subscribed.wait()
    else:
        await inbox.store.prepare()
        await inbox.channels.prepare()
        await inbox.live.ensure()
        await inbox.publisher.connect()
        await inbox.membership.join()
    connection = await bus.connect(amqp_url, "test")
    channel = connection.channel()
    await channel.initialize()
    rig = Rig(inbox, settings, channel)
    try:
        yield rig
    finally:
        await rig.close()
        await inbox.service.drain() if reads else await inbox.membership.leave()
        await inbox.service.stop()
        await connection.close()


def changes(envelopes: list[Any]) -> list[dict[str, Any]]:
    """All changes of facts in order; each envelope must be one."""
    found: list[dict[str, Any]] = []
    for envelope in envelopes:
        FactsEnvelope.model_validate(envelope)
        found += envelope["changes"]
    return found
