"""The part of `make bench` about files: a photo from the phone to the window, and 20 MB up and down."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from typing import Any

import httpx2

from msgkit.testing.system import System
from msgkit.testing.window import Window

Json = dict[str, Any]
PHOTO_BYTES = 5_000_000
FILE_BYTES = 20_000_000
ROUNDS = 5


async def measure_media(system: System) -> Json:
    """Seconds from the client's tap to what the operator has: the median and the worst of ROUNDS.

    `shown_s`: the message is in the window, `thumb_s`: the thumbnail's bytes are there, `photo_s`: all of the
    photo is, each after the tap. `gateway_growth_mb`: what 20 MB up leave in gateway's memory.
    """
    ready: asyncio.Queue[tuple[float, Json]] = asyncio.Queue()
    shown: dict[str, float] = {}

    def on_event(event: Json, at: float) -> None:
        if event["type"] == "message.created":
            shown[event["data"]["id"]] = at
        elif event["type"] == "message.updated" and _is_ready(event["data"]):
            ready.put_nowait((at, event["data"]))

    account = system.account("olena")
    window = Window(system.gateway_url, account.login, account.password, on_event)
    watching = asyncio.ensure_future(window.run())
    channel = system.channels["salon"]["id"]
    order = {"kind": "photo", "file": {"generate": "photo", "bytes": PHOTO_BYTES}}
    messages: list[float] = []
    thumbs: list[float] = []
    photos: list[float] = []
    async with httpx2.AsyncClient(timeout=60) as http:
        await asyncio.wait_for(window.live.wait(), 30)
        for number in range(ROUNDS + 1):
            tapped = time.monotonic()
            client = f"{system.sandbox_url}/control/{channel}/clients/photographer"
            (await http.post(f"{client}/messages", json=order)).raise_for_status()
            _, message = await asyncio.wait_for(ready.get(), 60)
            file = message["attachments"][0]
            await _fetched(http, window, system.gateway_url, file["thumb_url"])
            messages.append(shown[message["id"]] - tapped)
            thumbs.append(time.monotonic() - tapped)
            size = await _fetched(http, window, system.gateway_url, file["url"])
            photos.append(time.monotonic() - tapped)
            if size < PHOTO_BYTES / 4:
                raise AssertionError(f"the photo came with {size} bytes")
            if number == 0:
                # The sandbox makes its photo at the first time only.
                for times in (messages, thumbs, photos):
                    times.clear()
        before = system.resident_mb()["gateway"]
        data = secrets.token_bytes(FILE_BYTES)
        began = time.monotonic()
        await window.upload(data, "архів.bin")
        uploaded_s = time.monotonic() - began
        growth = system.resident_mb()["gateway"] - before
    await window.aclose()
    watching.cancel()
    return {
        "shown_s": round(statistics.median(messages), 2),
        "thumb_s": round(statistics.median(thumbs), 2),
        "thumb_worst_s": round(max(thumbs), 2),
        "photo_s": round(statistics.median(photos), 2),
        "photo_worst_s": round(max(photos), 2),
        "upload_20mb_s": round(uploaded_s, 2),
        "gateway_growth_mb": round(growth, 1),
    }


def _is_ready(message: Json) -> bool:
    return bool(message["attachments"]) and all(file["state"] == "ready" for file in message["attachments"])


async def _fetched(http: httpx2.AsyncClient, window: Window, gateway: str, path: str) -> int:
    """Bytes behind the path of an attachment, by its signed address."""
    address = await window.call("GET", path.removeprefix("/api/v1"))
    size = 0
    async with http.stream("GET", f"{gateway}{address['url']}") as answer:
        answer.raise_for_status()
        async for chunk in answer.aiter_bytes():
            size += len(chunk)
    return size
