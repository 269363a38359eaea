"""A chat window without a screen: REST and socket by the public contract, for load, faults and measuring.

It keeps what an operator would see, applies the rules of the real window (`prev`/`pos`, `rev`, resync) and
notes everything odd. It is a client of the gateway like any other and imports nothing of our services.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx2
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from msgkit.runtime.http import authorities

Json = dict[str, Any]

_PAGE = 100


class WindowRefused(Exception):
    """The gateway refused a call; `status` and `code` say how."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"{status} {body.get('code')}: {body.get('detail')}")
        self.status = status
        self.code = str(body.get("code", ""))
        self.body = body


@dataclass
class Seen:
    """What one window has on its screen, and how it came there."""

    rows: dict[str, Json] = field(default_factory=dict)
    messages: dict[str, dict[str, Json]] = field(default_factory=dict)
    """conversation → message id → message."""
    applied_events: int = 0
    repeated_events: int = 0
    gaps: int = 0
    resumes: int = 0
    resyncs: int = 0

    def texts(self, conversation_id: str, direction: str) -> list[str]:
        """Texts of one direction in display order (pos_at, n)."""
        messages = sorted(self.messages.get(conversation_id, {}).values(), key=_place)
        return [str(m["text"]) for m in messages if m["direction"] == direction]


@dataclass
class Tally:
    """How calls ended, as a person would notice."""

    calls: int = 0
    server_errors: int = 0
    """Answers with 5xx."""
    broken: int = 0
    """No answer at all."""
    repeated: int = 0
    """Sent again without anybody noticing, as a browser does with a GET whose kept connection was closed."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.calls + other.calls,
            self.server_errors + other.server_errors,
            self.broken + other.broken,
            self.repeated + other.repeated,
        )

    @property
    def failed_share(self) -> float:
        return (self.server_errors + self.broken) / max(1, self.calls)


class Window:
    """One operator's window.

    Args:
        gateway: base URL, without /api/v1.
        login, password: of the embedded login.
        on_event: called with (event, monotonic seconds of its arrival) for every applied event.
    """

    def __init__(
        self,
        gateway: str,
        login: str,
        password: str,
        on_event: Callable[[Json, float], None] | None = None,
    ) -> None:
        self._gateway = gateway.rstrip("/")
        self._login = login
        self._password = password
        self._on_event = on_event
        self._http = httpx2.AsyncClient(base_url=self._gateway, timeout=15, verify=authorities())
        self._token = ""
        self._token_until = 0.0
        self._logging_in = asyncio.Lock()
        self._client_id = uuid4().hex
        self.seen = Seen()
        self.tally = Tally()
        self.epoch: str | None = None
        self.pos: int | None = None
        self.id: str | None = None
        self.live = asyncio.Event()
        """Set while the socket is caught up."""
        self._stopping = False
        self._socket: ClientConnection | None = None

    async def aclose(self) -> None:
        self._stopping = True
        if self._socket is not None:
            await self._socket.close()
        await self._http.aclose()

    async def call(
        self, method: str, path: str, body: Json | None = None, params: Mapping[str, str | int] | None = None
    ) -> Any:
        """One REST call with the access token.

        Raises:
            WindowRefused: any answer that is not 2xx.
            httpx2.TransportError: no answer.
        """
        await self._authorise()
        answer = await self._request(
            method,
            f"/api/v1{path}",
            json=body,
            params=dict(params) if params else None,
            headers={"Authorization": f"Bearer {self._token}"},
        )
        if answer.status_code == 401:
            self._token_until = 0.0
        if not answer.is_success:
            raise WindowRefused(answer.status_code, _json_or_empty(answer))
        return answer.json() if answer.content else None

    async def upload(self, data: bytes, name: str) -> Json:
        """Bring one file for an answer.

        Raises:
            WindowRefused: any answer that is not 2xx.
        """
        await self._authorise()
        headers = {"Authorization": f"Bearer {self._token}", "X-File-Name": quote(name)}
        answer = await self._http.post("/api/v1/uploads", content=data, headers=headers)
        if not answer.is_success:
            raise WindowRefused(answer.status_code, _json_or_empty(answer))
        return dict(answer.json())

    async def send(self, conversation_id: str, text: str, patience_s: float = 120.0) -> Json:
        """Answer a client; repeats with the same client key until the gateway accepts.

        Raises:
            WindowRefused: refused for a reason that waiting does not cure.
            TimeoutError: not accepted within `patience_s`.
        """
        body: Json = {"client_msg_id": uuid4().hex, "text": text, "force": True}
        until = time.monotonic() + patience_s
        pause = 0.1
        while True:
            try:
                return dict(await self.call("POST", f"/conversations/{conversation_id}/messages", body))
            except WindowRefused as exc:
                if exc.status < 500 and exc.status not in {401, 429}:
                    raise
            except httpx2.TransportError:
                pass
            if time.monotonic() > until:
                raise TimeoutError(f"the answer was not accepted within {patience_s:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    async def patiently(
        self, method: str, path: str, params: Mapping[str, str | int] | None = None, patience_s: float = 60.0
    ) -> Any:
        """Like `call`, over every 5xx, 429 and loss of connection within `patience_s`."""
        until = time.monotonic() + patience_s
        while True:
            try:
                return await self.call(method, path, None, params)
            except WindowRefused as exc:
                if exc.status < 500 and exc.status not in {401, 429}:
                    raise
            except httpx2.TransportError:
                pass
            if time.monotonic() > until:
                raise TimeoutError(f"{method} {path}: no answer within {patience_s:g} s")
            await asyncio.sleep(0.2)

    async def all_rows(self) -> list[Json]:
        """Every conversation of the lists a newcomer would page through."""
        rows: dict[str, Json] = {}
        for name in ("active", "bot", "waiting", "done"):
            cursor = ""
            while True:
                params: dict[str, str | int] = {"list": name, "limit": _PAGE}
                if cursor:
                    params["cursor"] = cursor
                page = await self.patiently("GET", "/conversations", params)
                rows.update({row["id"]: row for row in page["items"]})
                cursor = page["next_cursor"] or ""
                if not cursor:
                    break
        return list(rows.values())

    async def all_messages(self, conversation_id: str) -> list[Json]:
        """The whole dialogue, oldest first, read page by page upwards as the window does."""
        messages: list[Json] = []
        params: dict[str, str | int] = {"limit": _PAGE}
        while True:
            page = await self.patiently("GET", f"/conversations/{conversation_id}/messages", params)
            messages = page["items"] + messages
            if not page["has_before"] or not page["items"]:
                return messages
            params["before"] = page["items"][0]["id"]

    async def run(self) -> None:
        """Keep the socket open and the screen true, until `aclose`."""
        pause = 0.1
        while not self._stopping:
            try:
                await self._session()
                pause = 0.1
            except (
                OSError,
                TimeoutError,
                ConnectionClosed,
                InvalidHandshake,
                httpx2.TransportError,
                WindowRefused,
            ):
                pass
            self.live.clear()
            if not self._stopping:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)

    async def _request(self, method: str, path: str, **content: Any) -> httpx2.Response:
        self.tally.calls += 1
        for may_repeat in (method == "GET", False):
            try:
                answer = await self._http.request(method, path, **content)
            except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
                if not may_repeat:
                    self.tally.broken += 1
                    raise
                self.tally.repeated += 1
            except httpx2.TransportError:
                self.tally.broken += 1
                raise
            else:
                self.tally.server_errors += answer.status_code >= 500
                return answer
        raise AssertionError("the second try returns or raises")

    async def _authorise(self) -> None:
        async with self._logging_in:
            if time.monotonic() < self._token_until:
                return
            answer = await self._http.post(
                "/api/v1/auth/login", json={"login": self._login, "password": self._password}
            )
            if not answer.is_success:
                raise WindowRefused(answer.status_code, _json_or_empty(answer))
            tokens = answer.json()
            self._token = tokens["access_token"]
            self._token_until = time.monotonic() + max(1.0, tokens["expires_in"] - 30)

    async def _session(self) -> None:
        ticket = (await self.call("POST", "/ws-ticket", {}))["ticket"]
        url = self._gateway.replace("http", "ws", 1) + "/api/v1/ws"
        async with connect(
            url,
            subprotocols=[websockets.Subprotocol("rozmova.v1")],
            origin=websockets.Origin(self._gateway),
            open_timeout=10,
            max_size=None,
        ) as socket:
            self._socket = socket
            hello: Json = {"type": "hello", "ticket": ticket, "client_id": self._client_id, "build": "test"}
            if self.pos is not None:
                hello |= {"epoch": self.epoch, "pos": self.pos, "id": self.id}
            await socket.send(json.dumps(hello))
            async for frame in socket:
                arrived = time.monotonic()
                await self._frame(socket, json.loads(frame), arrived)

    async def _frame(self, socket: ClientConnection, frame: Json, arrived: float) -> None:
        match frame["type"]:
            case "ready":
                await self._ready(frame)
            case "batch":
                if self.pos is not None and frame["pos"] <= self.pos:
                    return
                if frame["prev"] != self.pos:
                    self.seen.gaps += 1
                    await socket.close()
                    return
                for event in frame["events"]:
                    self._apply(event, arrived)
                self.pos, self.id = frame["pos"], frame["id"]
            case "pos":
                if self.pos is None or frame["pos"] > self.pos:
                    self.pos, self.id = frame["pos"], frame["id"]
            case "ping":
                await socket.send('{"type":"pong"}')
            case "bye" | "error":
                await socket.close()
            case _:
                pass

    async def _ready(self, frame: Json) -> None:
        if frame["mode"] == "resumed":
            self.seen.resumes += 1
        else:
            self.epoch, self.pos, self.id = frame["epoch"], frame["pos"], frame["id"]
            if frame["mode"] == "resync":
                self.seen.resyncs += 1
            # Events that come meanwhile wait in the socket's buffer; `rev` makes the overlap harmless.
            await self._refetch()
        self.live.set()

    async def _refetch(self) -> None:
        for row in await self.all_rows():
            self._store_row(row)
            for message in await self.all_messages(row["id"]):
                self._store_message(message)

    def _apply(self, event: Json, arrived: float) -> None:
        data = event["data"]
        match event["type"]:
            case "conversation.upserted":
                fresh = self._store_row(data)
            case "message.created" | "message.updated":
                fresh = self._store_message(data)
            case _:
                fresh = True
        if fresh:
            self.seen.applied_events += 1
            if self._on_event is not None:
                self._on_event(event, arrived)
        else:
            self.seen.repeated_events += 1

    def _store_row(self, row: Json) -> bool:
        known = self.seen.rows.get(row["id"])
        if known is not None and known["rev"] >= row["rev"]:
            return False
        self.seen.rows[row["id"]] = row
        return True

    def _store_message(self, message: Json) -> bool:
        dialogue = self.seen.messages.setdefault(message["conversation_id"], {})
        known = dialogue.get(message["id"])
        if known is not None and known["rev"] >= message["rev"]:
            return False
        dialogue[message["id"]] = message
        return True


def _place(message: Json) -> tuple[datetime, int]:
    # Times are compared as times: their texts differ in precision.
    return datetime.fromisoformat(message["pos_at"]), message["n"]


def _json_or_empty(answer: httpx2.Response) -> Json:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
