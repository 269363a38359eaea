"""Inbox on real servers inside the test's process, and the words its tests speak."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from aio_pika.abc import AbstractChannel
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from inbox_client import KIND

from inbox.app import Inbox, assemble
from inbox.domain import Fact
from inbox.settings import Settings
from msgkit.contracts.facts import FactsEnvelope
from msgkit.contracts.ids import (
    new_id,
    partition_of,
)
from msgkit.contracts.topology import INBOUND, conversation_key
from msgkit.runtime import bus
from msgkit.runtime.bus import Outgoing
from msgkit.runtime.partition_reader import Delivery
from msgkit.runtime.tokens import ServiceTokens

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

    async def connect_channel(
        self, roles: list[str] | None = None, title: str = "Telegram", **settings: Any
    ) -> str:
        """A channel ready for work; needs the role admin."""
        channel_id = new_id()
        body = {
            "kind": KIND,
            "title": title,
            "account_id": new_id(),
            "account_name": "@bot",
            "credentials_hint": "abcd",
            "webhook_url": None,
            "settings": {"roles": roles, **settings},
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
        await inbox.kinds.load()
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
