"""`make chaos OUTAGE=10`: RabbitMQ is killed under callbacks to ingest-viber; nothing may be lost.

Two replicas of the real service, a real broker and database of its own, callbacks signed as Viber signs them.
Exit 1 if a callback was not answered 200, an event is lost, an order is broken, or draining took too long.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from msgkit.contracts import topology
from msgkit.contracts.events import INBOUND, MessageReceived
from msgkit.contracts.ids import PARTITIONS, new_id
from msgkit.runtime import bus
from msgkit.runtime.mongo import Mongo
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.infra import Broker, broker, database
from msgkit.testing.processes import DetachedProcess, free_port
from msgkit.testing.wire import Call, WireFake, as_json

DRAINED_WITHIN_S = 60.0
READY_WITHIN_S = 60.0
READ_WITHIN_S = 120.0
CHANNEL = "b" * 32
TOKEN = "44b935abea139fd6-53fa53b32559c4a6-12dbd3d883b06835"  # noqa: S105 - the fact sheet's example
SERVICE = "ingest-viber"

Post = Callable[[int, int], Awaitable[int]]
"""Client and number of the callback → status of the answer; 0 when there was none."""


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in, and for how long RabbitMQ is away."""

    away_s: float
    rate_per_s: float = 20.0
    clients: int = 20
    before_s: float = 5.0
    after_s: float = 5.0


@dataclass
class Figures:
    """What came of it."""

    posted: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    away_ms: list[float] = field(default_factory=list)
    """How long each answer took while RabbitMQ was away."""
    most_rows: int = 0
    drained_s: float = 0.0
    """From the moment RabbitMQ took logins again until nothing waited."""
    lost: int = 0
    repeated: int = 0
    """Events that came more than once; each has the same id every time."""
    order_violations: int = 0

    @property
    def p99_ms(self) -> float:
        return sorted(self.away_ms)[int(len(self.away_ms) * 0.99)] if self.away_ms else 0.0

    @property
    def complaints(self) -> list[str]:
        found = []
        if self.statuses.keys() != {200}:
            found.append(f"not all answers are 200: {self.statuses}")
        if self.lost:
            found.append(f"{self.lost} events are lost")
        if self.order_violations:
            found.append(f"{self.order_violations} events came before an earlier one of their conversation")
        if self.drained_s > DRAINED_WITHIN_S:
            found.append(f"drained in {self.drained_s:.0f} s, {DRAINED_WITHIN_S:.0f} s are allowed")
        return found

    def line(self) -> str:
        slowest = max(self.away_ms, default=0.0)
        return (
            f"posted={self.posted} statuses={self.statuses} lost={self.lost} repeated={self.repeated} "
            f"order_violations={self.order_violations} most_rows={self.most_rows} "
            f"drained_s={self.drained_s:.1f} away_p99_ms={self.p99_ms:.0f} away_max_ms={slowest:.0f}"
        )


async def outage(
    load: Load, post: Post, *, server: Broker, amqp_url: str, rows: Callable[[], Awaitable[int]]
) -> Figures:
    """Kill the broker under load, bring it back, and compare what was answered 200 with what arrived.

    Args:
        load: how much, how long.
        post: brings one callback whose text is `<client>:<number>`; a client posts the next one after it.
        server: is killed and started.
        amqp_url: where the queues of inbox are; nobody else may read them.
        rows: how much waits in the spool.
    """
    figures = Figures()
    is_away = asyncio.Event()
    end = asyncio.Event()
    answered: dict[int, list[int]] = {client: [] for client in range(load.clients)}

    async def speak(client: int) -> None:
        await asyncio.sleep(client / load.rate_per_s)
        number = 0
        while not end.is_set():
            started, was_away = time.perf_counter(), is_away.is_set()
            status = await post(client, number)
            figures.posted += 1
            figures.statuses[status] = figures.statuses.get(status, 0) + 1
            took = time.perf_counter() - started
            if was_away and is_away.is_set():
                figures.away_ms.append(took * 1000)
            if status == 200:
                answered[client].append(number)
            number += 1
            await asyncio.sleep(max(0.0, load.clients / load.rate_per_s - took))

    async with asyncio.TaskGroup() as tasks:
        for client in range(load.clients):
            tasks.create_task(speak(client))
        await asyncio.sleep(load.before_s)
        await asyncio.to_thread(server.kill)
        is_away.set()
        await asyncio.sleep(load.away_s)
        is_away.clear()
        figures.most_rows = await rows()
        await asyncio.to_thread(server.start)
        back_at = time.monotonic()
        while await rows():
            if time.monotonic() - back_at > 2 * DRAINED_WITHIN_S:
                break
            await asyncio.sleep(0.1)
        figures.drained_s = time.monotonic() - back_at
        await asyncio.sleep(load.after_s)
        end.set()
    wanted = {f"{client}:{number}" for client, numbers in answered.items() for number in numbers}
    _compare(figures, wanted, await arrived(amqp_url, wanted))
    return figures


def _compare(figures: Figures, wanted: set[str], texts: Sequence[str]) -> None:
    latest: dict[str, int] = {}
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            figures.repeated += 1
            continue
        seen.add(text)
        client, number = text.split(":")
        if int(number) < latest.get(client, -1):
            figures.order_violations += 1
        latest[client] = max(latest.get(client, -1), int(number))
    figures.lost = len(wanted - seen)


async def arrived(amqp_url: str, wanted: set[str]) -> list[str]:
    """The texts of all messages in inbox's queues, each queue in its order."""
    found: list[str] = []
    missing = set(wanted)
    complete = asyncio.Event()

    async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        event = INBOUND.validate_json(message.body)
        if isinstance(event, MessageReceived):
            found.append(event.content.text)
            missing.discard(event.content.text)
        await message.ack()
        if not missing:
            complete.set()

    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=500)
        for partition in range(PARTITIONS):
            queue = await channel.declare_queue(topology.inbound_queue_name(partition), passive=True)
            await queue.consume(on_message)
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                await complete.wait()
        except TimeoutError:
            pass  # what is missing is lost, and is told
    return found


async def is_declared(amqp_url: str) -> bool:
    """Whether inbox's last queue is there; its queues are declared in order."""
    return await bus.queue_exists(amqp_url, topology.inbound_queue_name(PARTITIONS - 1))


# --- with the real ingest-viber


class _Replicas:
    """Two processes of ingest-viber, and a Viber that only knows who the bot is."""

    def __init__(self, folder: Path, amqp_url: str, mongo_url: str, api_url: str) -> None:
        self._folder = folder
        self._api_url = api_url
        self._seed, public = _key_pair()
        self._ports = [(free_port(), free_port()) for _ in range(2)]
        self.public = [f"http://127.0.0.1:{port}" for port, _ in self._ports]
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "RABBITMQ_URL": amqp_url,
            "MONGO_URL": mongo_url,
            "ROZMOVA_SERVICE_KEY": _key_pair()[0],
            "ROZMOVA_SERVICE_PUBLIC_KEYS": json.dumps({"gateway": public}),
            "ROZMOVA_PUBLIC_URL": "https://chat.example.com",
            "ROZMOVA_API_BASES": json.dumps([api_url]),
            "ROZMOVA_OBJECTS_URL": (folder / "objects").as_uri(),
            "ROZMOVA_CREDENTIAL_KEYS": json.dumps(
                {"primary": "k1", "keys": {"k1": base64.b64encode(b"k" * 32).decode()}}
            ),
        }
        self._processes: list[DetachedProcess] = []

    async def start(self) -> None:
        for number, (public_port, internal_port) in enumerate(self._ports):
            process = DetachedProcess(
                f"{SERVICE}-{number}", self._folder / f"{number}.pid", self._folder / f"{number}.log"
            )
            own = {
                "ROZMOVA_PUBLIC_PORT": str(public_port),
                "ROZMOVA_INTERNAL_PORT": str(internal_port),
                "ROZMOVA_INTERNAL_URL": f"http://127.0.0.1:{internal_port}",
                "ROZMOVA_INSTANCE": f"{SERVICE}-{number}",
            }
            process.start(
                [sys.executable, "-m", "ingest_viber.app"], env=self._environment | own, cwd=self._folder
            )
            self._processes.append(process)
        async with httpx2.AsyncClient() as http:
            for address, process in zip(self.public, self._processes, strict=True):
                await _ready(http, address, process)
            await self._connect(http)

    async def _connect(self, http: httpx2.AsyncClient) -> None:
        token = ServiceTokens("gateway", self._seed, {}).issue(SERVICE, tenant_id="salon", user_id="outage")
        headers = {"authorization": f"Bearer {token}"}
        account = f"http://127.0.0.1:{self._ports[0][1]}/internal/accounts/{CHANNEL}"
        order = {
            "kind": "viber_bot",
            "tenant_id": "salon",
            "credentials": {"token": TOKEN},
            "api_base": self._api_url,
        }
        (await http.put(account, json=order, headers=headers)).raise_for_status()
        (await http.post(f"{account}/activate", headers=headers)).raise_for_status()

    def stop(self) -> None:
        for process in self._processes:
            process.stop()


async def _ready(http: httpx2.AsyncClient, address: str, process: DetachedProcess) -> None:
    give_up_at = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up_at:
        if process.pid is None:
            break
        try:
            if (await http.get(f"{address}/health/ready")).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit(f"{process.name} is not ready. Read {process.log_file}.")


def _key_pair() -> tuple[str, str]:
    key = Ed25519PrivateKey.generate()
    raw = serialization.Encoding.Raw
    seed = key.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    public = key.public_key().public_bytes(raw, serialization.PublicFormat.Raw)
    return base64.b64encode(seed).decode(), base64.b64encode(public).decode()


def _viber(call: Call) -> Any:
    """Answers of Viber's API as far as a connected bot needs them. Source: fact sheet 3.2."""
    if call.method == "set_webhook":
        return as_json({"status": 0, "status_message": "ok"})
    return as_json({"status": 0, "status_message": "ok", "id": "pa:1", "name": "Салон", "uri": "salon"})


def callback(client: int, number: int) -> bytes:
    """A client's message as Viber sends it. Source: fact sheet 3.5."""
    return json.dumps(
        {
            "event": "message",
            "timestamp": int(time.time() * 1000),
            "chat_hostname": "SN-CALLBACK-04_",
            "message_token": 5_851_650_804_048_782_321 + client * 1_000_000 + number,
            "sender": {"id": f"{client:020d}==", "name": "Олена"},
            "message": {"type": "text", "text": f"{client}:{number}"},
            "silent": False,
        }
    ).encode()


@asynccontextmanager
async def _real(folder: Path, server: Broker, mongo_url: str) -> AsyncIterator[Post]:
    wire = WireFake(_viber)
    await wire.start()
    replicas = _Replicas(folder, server.url, mongo_url, wire.url)
    try:
        await replicas.start()
        async with httpx2.AsyncClient(timeout=15) as http:

            async def post(client: int, number: int) -> int:
                body = callback(client, number)
                address = replicas.public[(client + number) % len(replicas.public)]
                signature = hmac.new(TOKEN.encode(), body, hashlib.sha256).hexdigest()
                try:
                    answer = await http.post(
                        f"{address}/webhooks/viber_bot/{CHANNEL}",
                        content=body,
                        headers={"x-viber-content-signature": signature},
                    )
                except httpx2.TransportError:
                    return 0
                return answer.status_code

            yield post
    finally:
        await asyncio.to_thread(replicas.stop)
        await wire.stop()


async def run(folder: Path, load: Load) -> Figures:
    """The outage with the real ingest-viber, on servers in `folder`."""
    server, store = broker(folder / "rabbitmq"), database(folder / "mongodb")
    try:
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(store.start)
        await bus.declare(server.url, topology.inbound_queues())
        for partition in range(PARTITIONS):
            await asyncio.to_thread(server.wait_until_on_disk, topology.inbound_queue_name(partition))
        mongo = Mongo(store.url, "rozmova_" + SERVICE.replace("-", "_"))

        async def rows() -> int:
            return await mongo.database["spool"].count_documents({})

        async with _real(folder, server, store.url) as post:
            for partition in range(PARTITIONS):
                name = topology.sends_queue_name(SERVICE, partition)
                await asyncio.to_thread(server.wait_until_on_disk, name)
            figures = await outage(load, post, server=server, amqp_url=server.url, rows=rows)
        mongo.close()
    finally:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(store.kill)
        await asyncio.to_thread(store.stop)
    return figures


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long RabbitMQ is away")
    parser.add_argument("--rate", type=float, default=20.0, help="callbacks per second")
    parser.add_argument("--folder", type=Path, help="keep data and logs here")
    arguments = parser.parse_args(words)
    load = Load(away_s=arguments.minutes * 60, rate_per_s=arguments.rate)
    with tempfile.TemporaryDirectory(prefix=f"rozmova-outage-{new_id()[:6]}-") as temporary:
        print(f"RabbitMQ away for {load.away_s:g} s under {load.rate_per_s:g} callbacks/s …", flush=True)
        figures = asyncio.run(run(arguments.folder or Path(temporary), load))
    print(figures.line())
    for complaint in figures.complaints:
        print(f"BROKEN: {complaint}")
    return 1 if figures.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
