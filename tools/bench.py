"""`make bench`: how fast it is, as ratios against baselines of the same run; writes `.rozmova/bench.json`.

The machine is shared and noisy, so every ratio is the median of pairs measured right after each other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aio_pika
import httpx2

from bench_media import measure_media
from bench_webhooks import measure_webhooks
from msgkit.contracts import topology
from msgkit.contracts.events import INBOUND
from msgkit.contracts.ids import PARTITIONS, conversation_id, inbound_event_id, new_id
from msgkit.contracts.topology import Queue
from msgkit.runtime.bus import Outgoing, Publisher, declare
from msgkit.testing.processes import DetachedProcess, free_port
from msgkit.testing.system import System
from msgkit.testing.window import Window

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
BASELINE = Path(__file__).resolve().parent / "bench_baseline.py"

CONNECTIONS = 32
INGEST_REQUESTS = 6_000
INBOX_MESSAGES = 20_000
CONVERSATIONS = 100
PAIRS = 3
E2E_RATES = ((200, 20), (500, 60))
"""(messages per second, seconds)."""
_ORIGIN = datetime.now(UTC) - timedelta(hours=12)
_BETWEEN_MESSAGES = timedelta(seconds=3)
"""Nobody writes two messages in one second, so nor do the clients whose backlog inbox works off."""
_ASK_EVERY_S = 0.8
"""Between two looks at a service's metrics: each costs it as much as forty messages."""
FACTS_READER = Queue(
    "bench.facts", {"x-queue-type": "quorum", "x-max-length": 20_000}, ((topology.FACTS, "#"),)
)
"""Stands for the other readers of facts: the messages go into it, nobody reads."""


PARTS = ("rss", "media", "e2e", "ingest", "inbox", "inbox2", "webhooks")
SECOND = "inbox-2"
"""A second replica, started only where two are measured."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, to see that it works")
    parser.add_argument("--only", choices=PARTS, action="append")
    arguments = parser.parse_args()
    wanted = set(arguments.only or PARTS)
    scale = 0.15 if arguments.quick else 1.0
    report: Json = {}
    with tempfile.TemporaryDirectory(prefix="rozmova-bench-") as temporary:
        if wanted - {"webhooks"}:
            report |= measure_system(Path(temporary) / "main", wanted, scale)
        if "webhooks" in wanted:
            # A system of its own, so that what is measured above has no further service beside it.
            report["webhooks"] = measure_webhooks(Path(temporary) / "meta", scale)
            show({"webhooks": report["webhooks"]})
    target = ROOT / ".rozmova" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(report, indent=2) + "\n")
    say(f"written to {target.relative_to(ROOT)}")
    return 0


def measure_system(folder: Path, wanted: set[str], scale: float) -> Json:
    """What is wanted of the parts measured on one system."""
    report: Json = {}
    system = System(folder, replicas={"inbox": 2})
    try:
        say("starting the system …")
        system.start(without=[SECOND])
        for part, measure in parts(system, scale).items():
            if part.removesuffix("_mb") in wanted:
                report[part] = measure()
                show({part: report[part]})
    finally:
        system.stop()
    return report


def parts(system: System, scale: float) -> dict[str, Callable[[], Json]]:
    """What is measured, in this order: memory before any load, the loads that stop services last."""
    return {
        "rss_mb": lambda: measure_memory(system),
        "media": lambda: asyncio.run(measure_media(system)),
        "e2e": lambda: {
            str(rate): asyncio.run(measure_end_to_end(system, rate, max(3, int(seconds * scale))))
            for rate, seconds in E2E_RATES
        },
        "ingest": lambda: measure_ingest(system, int(INGEST_REQUESTS * scale)),
        "inbox": lambda: measure_inbox(system, int(INBOX_MESSAGES * scale)),
        "inbox2": lambda: measure_two_inboxes(system, int(2 * INBOX_MESSAGES * max(scale, 0.5))),
    }


def measure_memory(system: System) -> Json:
    """Resident memory of every part after start, before any load."""
    resident = system.resident_mb()
    return {**resident, "total": round(sum(resident.values()), 1)}


async def measure_end_to_end(system: System, rate: int, seconds: int) -> Json:
    """From the first try of the messenger's webhook to the frame at the operator's socket."""
    prefix = f"bench{rate}"
    arrived: dict[str, float] = {}
    doubled = 0

    def on_event(event: Json, _: float) -> None:
        nonlocal doubled
        if event["type"] == "message.created":
            text = event["data"]["text"]
            doubled += text in arrived
            arrived.setdefault(text, time.time())

    account = system.account("olena")
    window = Window(system.gateway_url, account.login, account.password, on_event)
    watching = asyncio.ensure_future(window.run())
    clients = 100
    total = rate * seconds // clients * clients
    async with httpx2.AsyncClient(base_url=system.sandbox_url, timeout=30) as sandbox:
        await sandbox.post("/control/reset")
        await asyncio.wait_for(window.live.wait(), 30)
        channel = system.channels["salon"]["id"]
        order = {
            "clients": clients,
            "messages_per_client": total // clients,
            "rate_per_s": rate,
            "text_prefix": prefix,
            "client_prefix": prefix,
        }
        answer = await sandbox.post(f"/control/{channel}/burst", json=order)
        answer.raise_for_status()
        burst = answer.json()["id"]
        written_at = await until_written(sandbox, burst)
        deadline = written_at + 60
        while len(arrived) < total and time.time() < deadline:  # noqa: ASYNC110 - the events are counted elsewhere
            await asyncio.sleep(0.05)
        drained_s = max(arrived.values(), default=written_at) - written_at
        sent = await first_tries(sandbox, prefix)
    await window.aclose()
    watching.cancel()
    latencies = sorted((arrived[text] - at) * 1000 for text, at in sent.items() if text in arrived)
    return {
        "messages": total,
        "p50_ms": percentile(latencies, 0.50),
        "p95_ms": percentile(latencies, 0.95),
        "p99_ms": percentile(latencies, 0.99),
        "lost": total - len(arrived),
        "doubled": doubled,
        "drained_s": round(drained_s, 2),
    }


async def until_written(sandbox: httpx2.AsyncClient, burst: str) -> float:
    """Wall time when the last message was written by its client."""
    while True:
        progress = (await sandbox.get(f"/control/burst/{burst}")).json()
        if progress["state"] != "running":
            return float(progress["written_at"] or time.time())
        await asyncio.sleep(0.2)


async def first_tries(sandbox: httpx2.AsyncClient, prefix: str) -> dict[str, float]:
    """Text → wall time when the messenger first sent its webhook."""
    sent: dict[str, float] = {}
    after = 0
    while True:
        entries = (await sandbox.get("/control/ledger", params={"after": after, "limit": 5000})).json()
        if not entries:
            return sent
        for entry in entries:
            if entry["type"] == "webhook" and (entry["text"] or "").startswith(prefix):
                sent.setdefault(entry["text"], entry["at"] - (entry["took_ms"] or 0) / 1000)
        after = entries[-1]["seq"]


def measure_ingest(system: System, requests: int) -> Json:
    """Accepted webhooks per second against a bare FastAPI route with one confirmed publish."""
    stop_services(system, "inbox", "gateway")
    port = free_port()
    folder = system.folder / "baseline"
    folder.mkdir(exist_ok=True)
    baseline = DetachedProcess("baseline", folder / "pid", folder / "log")
    baseline.start(
        [sys.executable, str(BASELINE), "serve", "--url", system.rabbitmq.url, "--port", str(port)],
        env=system.parts["inbox"].environment,
        cwd=folder,
    )
    channel = system.channels["salon"]["id"]
    try:
        wait_until(lambda: not _refused(port), 20)
        secret = httpx2.get(f"{system.sandbox_url}/control/{channel}/webhook").json()["secret_token"]
        ours = Target(system.ingest_url, f"/webhooks/telegram_bot/{channel}", secret)
        bare = Target(f"http://127.0.0.1:{port}", "/webhook", "")
        for target in (bare, ours):
            asyncio.run(load(target, requests // 6, 0))
        pairs = []
        for number in range(1, PAIRS + 1):
            bare_rate = asyncio.run(load(bare, requests, number * 10_000_000))
            our_rate = asyncio.run(load(ours, requests, number * 10_000_000))
            pairs.append((our_rate, bare_rate))
            say(f"ingest {our_rate:,.0f}/s, bare FastAPI {bare_rate:,.0f}/s")
    finally:
        baseline.kill()
        baseline.stop()
        system.revive("inbox")
        system.revive("gateway")
        system.wait_ready(without=[SECOND])
    return {
        "accept_per_s": round(statistics.median(ours_ for ours_, _ in pairs)),
        "bare_per_s": round(statistics.median(bare_ for _, bare_ in pairs)),
        "accept_ratio": round(statistics.median(ours_ / bare_ for ours_, bare_ in pairs), 2),
    }


class Target:
    """An address with the bytes of a webhook to post to it."""

    def __init__(self, base: str, path: str, secret: str) -> None:
        self.host, _, port = base.removeprefix("http://").partition(":")
        self.port = int(port)
        self._path = path
        self._secret = secret

    def request(self, number: int) -> bytes:
        client = 900_000_000 + number % 400
        body = json.dumps(
            {
                "update_id": number,
                "message": {
                    "message_id": number,
                    "from": {"id": client, "is_bot": False, "first_name": "Олена", "language_code": "uk"},
                    "chat": {"id": client, "first_name": "Олена", "type": "private"},
                    "date": int(time.time()),
                    "text": f"Добрий день, чи є вільний час завтра о 15:00? {number}",
                },
            },
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
            f"X-Telegram-Bot-Api-Secret-Token: {self._secret}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def load(target: Target, requests: int, first: int) -> float:
    """Post over kept connections as fast as answers come; every answer must be 200. Requests per second."""
    numbers = iter(range(first, first + requests))

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(target.host, target.port)
        try:
            for number in numbers:
                writer.write(target.request(number))
                status = await reader.readline()
                if b" 200 " not in status:
                    raise AssertionError(f"not accepted: {status!r}")
                length = 0
                while (line := await reader.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                await reader.readexactly(length)
        finally:
            writer.close()
            await writer.wait_closed()

    started = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return requests / (time.perf_counter() - started)


def measure_inbox(system: System, messages: int) -> Json:
    """Persisted messages per second, facts published to live and to a bound queue, against a raw consumer."""
    stop_services(system, "gateway")
    asyncio.run(declare(system.rabbitmq.url, [FACTS_READER]))
    pairs = []
    for number in range(PAIRS):
        stop_services(system, "inbox")
        asyncio.run(empty_partitions(system))
        asyncio.run(fill(system, messages, number * 2))
        raw = float(
            subprocess.run(
                [
                    sys.executable,
                    str(BASELINE),
                    "consume",
                    "--url",
                    system.rabbitmq.url,
                    "--count",
                    str(messages),
                ],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
        )
        asyncio.run(fill(system, messages, number * 2 + 1))
        ours = persisted_per_s(system, messages)
        pairs.append((ours, raw))
        say(f"inbox {ours:,.0f}/s, raw consumer {raw:,.0f}/s")
    system.revive("gateway")
    return {
        "persist_per_s": round(statistics.median(ours_ for ours_, _ in pairs)),
        "raw_per_s": round(statistics.median(raw_ for _, raw_ in pairs)),
        "persist_ratio": round(statistics.median(ours_ / raw_ for ours_, raw_ in pairs), 2),
    }


def measure_two_inboxes(system: System, messages: int) -> Json:
    """Persisted messages per second of two replicas against one, both on this machine's few cores."""
    stop_services(system, "gateway")
    asyncio.run(declare(system.rabbitmq.url, [FACTS_READER]))
    pairs = []
    for number in range(PAIRS):
        rates = []
        for generation, replicas in enumerate((("inbox",), ("inbox", SECOND))):
            stop_services(system, "inbox", SECOND)
            asyncio.run(empty_partitions(system))
            asyncio.run(fill(system, messages, 1000 + number * 2 + generation))
            rates.append(persisted_per_s(system, messages, replicas))
        pairs.append((rates[1], rates[0]))
        say(f"two inboxes {rates[1]:,.0f}/s, one {rates[0]:,.0f}/s")
    stop_services(system, SECOND)
    system.revive("gateway")
    return {
        "persist_per_s": round(statistics.median(two for two, _ in pairs)),
        "one_per_s": round(statistics.median(one for _, one in pairs)),
        "two_to_one_ratio": round(statistics.median(two / one for two, one in pairs), 2),
    }


async def empty_partitions(system: System) -> None:
    """What the part before has left for inbox is not measured: those of ingest are tens of thousands."""
    async with await aio_pika.connect(system.rabbitmq.url) as connection, connection.channel() as channel:
        for partition in range(PARTITIONS):
            queue = await channel.get_queue(topology.inbound_queue_name(partition), ensure=False)
            await queue.purge()


async def fill(system: System, messages: int, generation: int) -> None:
    """Put messages of CONVERSATIONS conversations into the partitions."""
    publisher = Publisher(system.rabbitmq.url, "bench")
    channel = system.channels["salon"]["id"]
    batch: list[Outgoing] = []
    for number in range(messages):
        turn = generation * (messages // CONVERSATIONS + 1) + number // CONVERSATIONS
        sent_at = _ORIGIN + turn * _BETWEEN_MESSAGES
        contact = str(500_000_000 + number % CONVERSATIONS)
        conversation = conversation_id(channel, contact)
        provider_id = f"{generation}-{number}"
        event = {
            "type": "message.received.v1",
            "event_id": inbound_event_id("telegram_bot", channel, provider_id, "message.received.v1"),
            "tenant_id": "salon",
            "channel_id": channel,
            "channel_kind": "telegram_bot",
            "recorded_at": (sent_at + timedelta(milliseconds=200)).isoformat(),
            "conversation_id": conversation,
            "webhook_id": new_id(),
            "raw": json.dumps({"update_id": number, "message": {"text": "Добрий день" * 5}}),
            "contact": {"key": contact, "name": "Олена", "username": None, "phone": None, "language": "uk"},
            "provider_id": provider_id,
            "provider_seq": generation * messages + number,
            "sent_at": sent_at.isoformat(),
            "content": {
                "kind": "text",
                "text": f"Добрий день, чи є вільний час завтра о 15:00? {number}",
                "entities": [],
                "media": [],
                "place": None,
                "shared_contact": None,
                "shared_link": None,
                "unsupported": None,
            },
            "reply_to_provider_id": None,
            "start_payload": None,
            "group_id": None,
            "pressed": None,
            "is_standby": False,
        }
        if number == 0:
            INBOUND.validate_python(event)  # else all of them would go to quarantine
        batch.append(
            Outgoing(
                topology.INBOUND,
                topology.conversation_key("telegram_bot", conversation),
                json.dumps(event, ensure_ascii=False).encode(),
                str(event["event_id"]),
                "message.received.v1",
            )
        )
        if len(batch) == 200:
            await publisher.publish_all(batch, timeout_s=30)
            batch.clear()
    await publisher.publish_all(batch, timeout_s=30)
    await publisher.close()


def persisted_per_s(system: System, messages: int, replicas: Sequence[str] = ("inbox",)) -> float:
    """Start inbox on full partitions and read its own counter of stored messages.

    Several replicas are measured from the moment when each has stored something: before, one works alone
    while the other is still starting.
    """
    for replica in replicas:
        system.revive(replica)
    urls = [f"{system.internal_url(replica)}/metrics" for replica in replicas]
    first: tuple[float, float] | None = None
    last = (0.0, 0.0)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        each = [_stored(url) for url in urls]
        stored, now = sum(each), time.perf_counter()
        if stored >= messages:
            # When exactly the last one was stored nobody knows: the answer before tells of full work only.
            if first is None or last[1] <= first[1]:
                raise AssertionError("all was stored before every replica had its share: use more messages")
            return (last[1] - first[1]) / (last[0] - first[0])
        last = (now, stored)
        if all(each) and first is None:
            first = last
        time.sleep(_ASK_EVERY_S)
    raise TimeoutError(f"inbox stored {sum(map(_stored, urls)):.0f} of {messages} messages within 120 s")


def _stored(url: str) -> float:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback address
            text = answer.read().decode()
    except OSError:
        return 0.0
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("rozmova_inbound_e2e_seconds_count")
    )


def stop_services(system: System, *names: str) -> None:
    for name in names:
        system.parts[name].process.stop()


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.05)


def _refused(port: int) -> bool:
    try:
        httpx2.get(f"http://127.0.0.1:{port}/docs", timeout=1)
    except httpx2.TransportError:
        return True
    return False


def percentile(ordered: list[float], share: float) -> float | None:
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)


def show(report: Mapping[str, Any]) -> None:
    say("")
    for part, figures in report.items():
        say(part)
        for name, value in figures.items():
            if isinstance(value, dict):
                say(f"  {name:>16}  " + "  ".join(f"{k}={v}" for k, v in value.items()))
            else:
                say(f"  {name:>16}  {value}")


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
