"""A webhook of a thousand updates: taken in order, fast and small; broken off in the middle and repeated."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
import pytest
from app_messenger import KIND, SERVICE
from app_stage import (
    APP,
    CLINIC,
    CLINIC_NUMBER,
    SALON,
    SALON_NUMBER,
    SECRET,
    TOKEN,
    app_staged,
    entry,
    tenant_of,
)
from connector_process import Process
from connector_stage import GATEWAY_SEED, process_environment
from plain_messenger import signature

from msgkit.contracts import topology
from msgkit.contracts.events import INBOUND, MessageReceived
from msgkit.contracts.ids import PARTITIONS
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.processes import free_port
from msgkit.testing.servers import RabbitMQServer

pytestmark = pytest.mark.servers

END = "кінець"
UPDATES = 1_000
CLIENTS = 40
BEFORE_THE_END = 300
TIMES = 4
ACCEPT_SECONDS = 2.0
RESIDENT_MB = 150.0


def batch() -> list[dict[str, Any]]:
    """A thousand messages of two tenants, the clients taking turns."""
    return [
        entry(
            SALON_NUMBER if client % 2 else CLINIC_NUMBER,
            *(f"{n:04}" for n in range(client, UPDATES, CLIENTS)),
            client=str(client),
        )
        for client in range(CLIENTS)
    ]


async def test_a_thousand_updates_are_taken_in_order_fast_and_in_bounded_memory(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    environment = process_environment(
        amqp_url,
        mongo_url,
        mongo_prefix,
        "http://127.0.0.1:9",
        free_port(),
        free_port(),
        tmp_path / "objects",
    ) | {
        "PYTHONPATH": str(Path(__file__).parent),
        "PATH": os.environ["PATH"],
        "ROZMOVA_META_APP_SECRETS": json.dumps([SECRET]),
        "ROZMOVA_META_VERIFY_TOKENS": json.dumps([TOKEN]),
    }
    process = Process(environment, tmp_path / "log", module="app_messenger")
    await process.start()
    try:
        async with httpx2.AsyncClient(timeout=30) as http:
            await _connect(http, process.internal)
            took = []
            for _ in range(TIMES):
                began = time.perf_counter()
                await _accepted(http, process.public, batch())
                took.append(time.perf_counter() - began)
            await _accepted(http, process.public, ends())
            # The best: others use these processors too.
            assert min(took) < ACCEPT_SECONDS, f"{UPDATES} updates took {took}"
            assert process.resident_mb <= RESIDENT_MB
        events = await _queued(amqp_url)
        assert len(events) == TIMES * UPDATES
        _assert_whole_and_in_order(events)
    finally:
        assert await process.end(signal.SIGTERM) == 0, process.written
    assert SECRET not in process.written


async def _accepted(http: httpx2.AsyncClient, public: str, entries: list[dict[str, Any]]) -> None:
    body = json.dumps({"entries": entries}).encode()
    headers = {"x-signature": signature(body, SECRET).decode()}
    assert (await http.post(f"{public}{APP}", content=body, headers=headers)).status_code == 200


def ends() -> list[dict[str, Any]]:
    """The last words of every client."""
    return [
        entry(SALON_NUMBER if client % 2 else CLINIC_NUMBER, END, client=str(client))
        for client in range(CLIENTS)
    ]


async def _connect(http: httpx2.AsyncClient, internal: str) -> None:
    for channel_id, number in ((SALON, SALON_NUMBER), (CLINIC, CLINIC_NUMBER)):
        tenant = tenant_of(channel_id)
        token = ServiceTokens("gateway", GATEWAY_SEED, {}).issue(SERVICE, tenant_id=tenant, user_id="olena")
        headers = {"authorization": f"Bearer {token}"}
        at = f"{internal}/internal/accounts/{channel_id}"
        body = {"kind": KIND, "tenant_id": tenant, "credentials": {"token": number}, "api_base": None}
        assert (await http.put(at, json=body, headers=headers)).status_code == 200
        assert (await http.post(f"{at}/activate", headers=headers)).status_code == 200


async def test_the_broker_gone_in_the_middle_is_503_and_the_repeat_adds_only_what_was_missing(
    tmp_path_factory: pytest.TempPathFactory, mongo_url: str, mongo_prefix: str
) -> None:
    broker = RabbitMQServer(tmp_path_factory.mktemp("broker"))
    await asyncio.to_thread(broker.start)
    try:
        async with app_staged(broker.url, mongo_url, mongo_prefix, watch=False) as stage:
            await stage.connected()
            await stage.connected(CLINIC, CLINIC_NUMBER)
            assert (await stage.post(entry(SALON_NUMBER, "перед"))).status_code == 200
            for queue in (topology.inbound_queue_name(p) for p in (0, PARTITIONS - 1)):
                await asyncio.to_thread(broker.wait_until_on_disk, queue, vhost="rozmova")
            await asyncio.to_thread(
                broker.wait_until_on_disk, topology.sends_queue_name(SERVICE, 15), vhost="rozmova"
            )

            async with _killed_when_seen(broker, BEFORE_THE_END):
                first = await stage.post(*batch())
            assert (first.status_code, first.headers["retry-after"]) == (503, "1")

            await asyncio.to_thread(broker.start)
            async with asyncio.timeout(60):
                while (await stage.post(*batch())).status_code != 200:  # noqa: ASYNC110 - it is the messenger
                    await asyncio.sleep(0.5)  # pace: between two tries, as a messenger repeats
            assert (await stage.post(*ends())).status_code == 200
        events = await _queued(broker.url)
        came_twice = len(events) - 1 - UPDATES
        assert came_twice > 0, "it was broken off before anything was there"
        _assert_whole_and_in_order([event for event in events if event.content.text != "перед"])
    finally:
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.stop)


@asynccontextmanager
async def _killed_when_seen(broker: RabbitMQServer, count: int) -> AsyncIterator[None]:
    """End the broker without a word as soon as so many messages went through it."""
    pid = broker.pid
    assert pid is not None
    connection = await aio_pika.connect(broker.url)
    try:
        channel = await connection.channel()
        seen = 0

        async def on_message(_: aio_pika.abc.AbstractIncomingMessage) -> None:
            nonlocal seen
            seen += 1
            if seen == count:
                os.kill(pid, signal.SIGKILL)

        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.INBOUND, "#")
        await queue.consume(on_message, no_ack=True)
        yield
    finally:
        await connection.close()


async def _queued(amqp_url: str) -> list[MessageReceived]:
    """What waits for inbox, in the order of its queues, up to the END of every client."""
    found: list[MessageReceived] = []
    ended: set[str] = set()
    is_over = asyncio.Event()

    async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        event = INBOUND.validate_json(message.body)
        if not isinstance(event, MessageReceived):
            return
        if event.content.text == END:
            ended.add(event.conversation_id)
        else:
            found.append(event)
        if len(ended) == CLIENTS:
            is_over.set()

    connection = await aio_pika.connect(amqp_url)
    try:
        channel = await connection.channel()
        for partition in range(PARTITIONS):
            queue = await channel.get_queue(topology.inbound_queue_name(partition), ensure=False)
            await queue.consume(on_message, no_ack=True)
        async with asyncio.timeout(30):
            await is_over.wait()
    finally:
        await connection.close()
    return found


def _assert_whole_and_in_order(events: list[MessageReceived]) -> None:
    """As inbox sees it: the first of each event id counts, and each conversation is in its order."""
    conversations: dict[str, dict[str, str]] = {}
    for event in events:
        conversations.setdefault(event.conversation_id, {}).setdefault(event.event_id, event.content.text)
    assert sum(len(texts) for texts in conversations.values()) == UPDATES
    assert len(conversations) == CLIENTS
    for texts in conversations.values():
        assert list(texts.values()) == sorted(texts.values())
