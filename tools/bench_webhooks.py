"""How fast ingest-meta answers Meta's webhooks at a steady rate, on a system of its own."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from msgkit.testing import demo
from msgkit.testing.parts import SERVICES
from msgkit.testing.system import System
from msgkit.testing.window import Window

Json = dict[str, Any]
RATE = 100
"""Webhooks per second."""
SECONDS = 60
CLIENTS = 60
_ARRIVAL_DEADLINE_S = 60


def measure_webhooks(folder: Path, scale: float) -> Json:
    """Milliseconds from the first byte of a webhook to its answer, and what of it reached the window."""
    system = System(folder)
    try:
        system.start((*SERVICES, "ingest-meta"))
        return asyncio.run(_measure(system, max(300, int(RATE * SECONDS * scale))))
    finally:
        system.stop()


async def _measure(system: System, total: int) -> Json:
    prefix = f"bench-meta-{time.time_ns()}"
    arrived: dict[str, int] = {}

    def on_event(event: Json, _: float) -> None:
        if event["type"] == "message.created" and event["data"]["text"].startswith(prefix):
            arrived[event["data"]["text"]] = arrived.get(event["data"]["text"], 0) + 1

    account = system.account("olena")
    window = Window(system.gateway_url, account.login, account.password, on_event)
    watching = asyncio.ensure_future(window.run())
    await asyncio.wait_for(window.live.wait(), 30)
    took: list[float] = []
    refused = 0
    limits = httpx2.Limits(max_connections=RATE, max_keepalive_connections=RATE)
    async with httpx2.AsyncClient(base_url=system.meta_url, timeout=30, limits=limits) as meta:

        async def post(number: int) -> None:
            nonlocal refused
            body = _body(f"{prefix} {number}", number)
            began = time.perf_counter()
            answer = await meta.post("/webhooks/facebook", content=body, headers=_headers(body))
            took.append((time.perf_counter() - began) * 1000)
            refused += answer.status_code != 200

        started = time.perf_counter()
        async with asyncio.TaskGroup() as posting:
            for number in range(total):
                # By the clock and not by answers: a slow answer must not slow the messenger down.
                await asyncio.sleep(max(0.0, started + number / RATE - time.perf_counter()))
                posting.create_task(post(number))
        spent = time.perf_counter() - started
    deadline = time.monotonic() + _ARRIVAL_DEADLINE_S
    while len(arrived) < total and time.monotonic() < deadline:  # noqa: ASYNC110 - counted by the window
        await asyncio.sleep(0.05)
    await window.aclose()
    watching.cancel()
    took.sort()
    return {
        "rate_per_s": round(total / spent, 1),
        "answered": len(took),
        **{f"p{share}_ms": round(took[len(took) * share // 100], 1) for share in (50, 95, 99)},
        "max_ms": round(took[-1], 1),
        "not_200": refused,
        "lost": total - len(arrived),
        "doubled": sum(count - 1 for count in arrived.values()),
    }


def _body(text: str, number: int) -> bytes:
    """A client of the page writes, as Meta puts it on the wire: escaped, slashes too."""
    now_ms = int(time.time() * 1000)
    page = str(demo.PAGE["page_id"])
    said: Mapping[str, object] = {
        "sender": {"id": str(6_000_000_000_000_000 + number % CLIENTS)},
        "recipient": {"id": page},
        "timestamp": now_ms,
        "message": {"mid": f"m_{text.replace(' ', '_')}", "text": text},
    }
    payload = {"object": "page", "entry": [{"id": page, "time": now_ms, "messaging": [said]}]}
    return json.dumps(payload, separators=(",", ":")).replace("/", "\\/").encode()


def _headers(body: bytes) -> dict[str, str]:
    signature = hmac.new(str(demo.PAGE["app_secret"]).encode(), body, "sha256").hexdigest()
    return {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={signature}"}
