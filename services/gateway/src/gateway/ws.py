"""The sockets of the operators: hello, resume, batches, heartbeat, and every way a socket ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter, WebSocket
from opentelemetry.trace import SpanKind
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from gateway.auth import Auth
from gateway.clients import Channels, Inbox
from gateway.limits import Buckets
from gateway.live import Live
from gateway.ring import Entry, Push
from gateway.schemas import CLIENT_FRAME, ClientFrame, Hello, Session
from gateway.store import Revocation
from msgkit.runtime import metrics
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.problems import Problem
from msgkit.runtime.telemetry import span

log = get_logger(__name__)

SUBPROTOCOL: Final = "rozmova.v1"
HELLO_SECONDS = 10.0
HEARTBEAT_SECONDS = 25.0
SILENT_SECONDS = 3 * HEARTBEAT_SECONDS
"""No frame from the window for this long, though it was pinged: the connection is half open."""
SEND_SECONDS = 5.0
CLOSE_SECONDS = 1.0
FRAME_BYTES = 128 * 1024
FRAME_MAX_CHARS = 8 * 1024
"""A frame of the window is a few hundred characters."""
FRAMES_PER_MINUTE = 120
MERGE_SECONDS = 0.005
"""Under load, events of this span travel in one frame; alone, an event goes at once."""
BESIDE_MAX_FRAMES = 256
BESIDE_MAX_CHARS = 1024 * 1024
CACHED_CHARS = 1024 * 1024
"""Of joined events, for the sockets that want the same right now; the newest ones stay in any case."""
COUNTERS_TICK_SECONDS = 0.25
COUNTERS_SETTLE_SECONDS = 0.4
"""Inbox counts from what it writes after it published: asked too early it gives the old counts."""
COUNTERS_EVERY_SECONDS = 1.0
COUNTERS_AGAIN_SECONDS = 3.0
COUNTERS_AT_ONCE = 4
RECONNECT_WITHIN_MS = 5_000
DRAIN_BATCH = 50

CLOSE_UNAUTHORIZED = 4401
CLOSE_NO_ACCESS = 4403
CLOSE_SLOW = 4408
CLOSE_BAD_FRAME = 4400
CLOSE_TOO_MUCH = 4429
CLOSE_TRY_AGAIN = 1013
CLOSE_RESTART = 1012
CLOSE_TOO_BIG = 1009
CLOSE_NORMAL = 1000


@dataclass(frozen=True, slots=True)
class Ending:
    """How a socket ends: a last frame, if any, and the close code."""

    code: int
    frame: str | None = None


def _error(code: str) -> str:
    return json.dumps({"type": "error", "code": code})


@dataclass(frozen=True, slots=True)
class Access:
    """Whose events a socket gets. Sockets with the same one share their frames."""

    tenant_id: str
    channels: frozenset[str]
    user_id: str

    def admits(self, push: Push) -> bool:
        return (
            push.tenant_id == self.tenant_id
            and (push.user_id is None or push.user_id == self.user_id)
            and (push.channel_id is None or push.channel_id in self.channels)
        )


@dataclass(frozen=True, slots=True)
class _Body:
    """The events of a frame, joined; the same for all sockets with the same access and position."""

    events: str
    pos: int
    id: str
    pushes: tuple[Push, ...]


_BODY_CHARS = 500
"""What one costs besides its events."""


class Bodies:
    """Joins events once per access set, however many sockets want them."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._known: OrderedDict[tuple[object, ...], _Body] = OrderedDict()
        self._chars = 0

    def after(self, pos: int, access: Access) -> _Body | None:
        """What follows `pos`; None if nothing does."""
        ring = self._live.ring
        last = ring.last
        if last is None or last.pos <= pos:
            return None
        entries = ring.after(pos, FRAME_BYTES)
        # Nothing per viewer is in most frames: then the user is no part of the key.
        user = access.user_id if _concerns(entries, access) else ""
        key = (self._live.generation, pos, entries[-1].pos, access.tenant_id, access.channels, user)
        known = self._known.get(key)
        if known is not None:
            return known
        pushes = tuple(push for entry in entries for push in entry.pushes if access.admits(push))
        body = _Body(",".join(push.data for push in pushes), entries[-1].pos, entries[-1].id, pushes)
        self._known[key] = body
        self._chars += _BODY_CHARS + len(body.events)
        while self._chars > CACHED_CHARS and len(self._known) > 1:
            _, old = self._known.popitem(last=False)
            self._chars -= _BODY_CHARS + len(old.events)
        return body


def _concerns(entries: Iterable[Entry], access: Access) -> bool:
    return any(
        push.user_id == access.user_id and push.tenant_id == access.tenant_id
        for entry in entries
        for push in entry.pushes
    )


class Socket:
    """One operator's window: a reader of its frames and a writer that pulls from the ring.

    Nothing of the ring is queued per socket: a socket keeps its place and takes what follows when its last
    frame has gone out. What travels beside the ring is queued, within limits.
    """

    def __init__(
        self, websocket: WebSocket, session: Session, channels: frozenset[str], sockets: Sockets
    ) -> None:
        self.session = session
        self.access = Access(session.tenant_id, channels, session.user_id)
        self._websocket = websocket
        self._sockets = sockets
        self._live = sockets.live
        self._wake = asyncio.Event()
        self._ending: Ending | None = None
        self._gone = False
        self._beside: deque[str] = deque()
        self._beside_chars = 0
        self._generation = 0
        self._looked = -1
        """Up to here the ring was looked at for this socket; its window knows `_sent`."""
        self._looked_id = ""
        self._sent = -1
        self._sent_id = ""
        self._start_anew = False
        self._opening = ""
        self._sent_at = time.monotonic()
        self._heard_at = time.monotonic()
        self._frames = Buckets(FRAMES_PER_MINUTE / 60, FRAMES_PER_MINUTE / 2, time.monotonic, max_keys=1)

    # What others may do with a socket: never blocks

    def wake(self) -> None:
        self._wake.set()

    def end(self, ending: Ending) -> None:
        """End it soon; the first reason counts."""
        if self._ending is None:
            self._ending = ending
        self._wake.set()

    def admit(self, channels: frozenset[str]) -> None:
        """The user works with other channels now: the window has to ask for everything again."""
        if channels == self.access.channels:
            return
        self.access = replace(self.access, channels=channels)
        if not channels:
            self.end(Ending(CLOSE_NO_ACCESS, _error("no_access")))
        self._start_anew = True
        self._wake.set()

    def place(self) -> str:
        """The end of a frame that leaves the position where it is."""
        return f'"pos":{self._sent},"id":{json.dumps(self._sent_id or None)},"prev":{self._sent}'

    def tell(self, event: str) -> None:
        """Send an event that has no place in the stream."""
        if len(self._beside) >= BESIDE_MAX_FRAMES or self._beside_chars + len(event) > BESIDE_MAX_CHARS:
            self.end(Ending(CLOSE_SLOW))
            return
        self._beside.append(event)
        self._beside_chars += len(event)
        self._wake.set()

    # Its life

    async def live_on(self, hello: Hello) -> Ending:
        """Serve the window until it or we go; returns how to close."""
        if not self._begin(hello):
            return Ending(CLOSE_TRY_AGAIN, _error("not_ready"))
        reading = asyncio.create_task(self._read())
        try:
            return await self._write()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _begin(self, hello: Hello) -> bool:
        if not self._live.ready.is_set():
            return False
        ring = self._live.ring
        if (
            hello.epoch == ring.epoch
            and hello.pos is not None
            and hello.id
            and ring.holds(hello.pos, hello.id)
        ):
            self._place(hello.pos, hello.id)
            self._ready("resumed")
        else:
            self._place_anew("fresh" if hello.pos is None else "resync")
        return True

    def _place_anew(self, mode: str) -> None:
        start = self._live.start_position()
        assert start is not None, "a ring that is ready holds at least our own marker"
        self._place(start.pos, start.id)
        self._ready(mode)

    def _place(self, pos: int, id_: str) -> None:
        self._generation = self._live.generation
        self._looked = self._sent = pos
        self._looked_id = self._sent_id = id_
        self._start_anew = False

    def _ready(self, mode: str) -> None:
        frame = {
            "type": "ready",
            "mode": mode,
            "epoch": self._live.epoch,
            "pos": self._sent,
            "id": self._sent_id or None,
            "heartbeat_s": int(HEARTBEAT_SECONDS),
        }
        # Ahead of anything else: what comes after it is counted from its position.
        self._opening = json.dumps(frame)

    async def _write(self) -> Ending:
        try:
            await self._send(self._opening)
            while True:
                # Cleared before looking: what comes while we look or send wakes us again.
                self._wake.clear()
                if self._ending is not None:
                    return self._ending
                if self._gone:
                    return Ending(CLOSE_NORMAL)
                if self._expired():
                    return Ending(CLOSE_UNAUTHORIZED, _error("unauthorized"))
                if await self._send_next():
                    continue
                due = await self._rest()
                if due is not None:
                    return due
        except TimeoutError:
            return Ending(CLOSE_SLOW)
        except (WebSocketDisconnect, RuntimeError):
            return Ending(CLOSE_NORMAL)  # the window went while we wrote

    async def _send_next(self) -> bool:
        """Send one frame if there is something to say; False if not."""
        if not self._live.ready.is_set():
            return False
        if self._start_anew or self._generation != self._live.generation:
            self._place_anew("resync")
            await self._send(self._opening)
            return True
        if not self._live.ring.has_after(self._looked):
            # Idle for long while others were busy: nothing of ours may be missing, but nobody can tell.
            self._place_anew("resync")
            await self._send(self._opening)
            return True
        body = self._sockets.bodies.after(self._looked, self.access)
        if body is None and not self._beside:
            return False
        events: list[str] = []
        prev = self._sent
        if body is not None:
            self._looked, self._looked_id = body.pos, body.id
            if body.events:
                events.append(body.events)
        events.extend(self._beside)
        self._beside.clear()
        self._beside_chars = 0
        if not events:
            return True  # looked at more of the ring, and there was nothing for this window
        self._sent, self._sent_id = self._looked, self._looked_id
        await self._send(
            f'{{"type":"batch","events":[{",".join(events)}],"pos":{self._sent},'
            f'"id":{json.dumps(self._sent_id or None)},"prev":{prev}}}'
        )
        if body is not None and body.pushes:
            self._sockets.pushed(body.pushes)
            self._sockets.counters.mark(self.session)
        return True

    async def _rest(self) -> Ending | None:
        """Wait for something to do; keep the heart beating."""
        now = time.monotonic()
        beat_in = max(0.0, self._sent_at + HEARTBEAT_SECONDS - now)
        ends_in = max(0.0, (self.session.expires_at - datetime.now(UTC)).total_seconds())
        try:
            async with asyncio.timeout(min(beat_in, ends_in)):
                await self._wake.wait()
        except TimeoutError:
            pass
        now = time.monotonic()
        if now - self._heard_at > SILENT_SECONDS:
            return Ending(CLOSE_SLOW)
        if now - self._sent_at >= HEARTBEAT_SECONDS:
            if self._looked > self._sent and self._generation == self._live.generation:
                self._sent, self._sent_id = self._looked, self._looked_id
                await self._send(json.dumps({"type": "pos", "pos": self._sent, "id": self._sent_id or None}))
            await self._send('{"type":"ping"}')
        return None

    def _expired(self) -> bool:
        return datetime.now(UTC) >= self.session.expires_at

    async def _send(self, frame: str) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._websocket.send_text(frame)
        self._sent_at = time.monotonic()

    async def _read(self) -> None:
        try:
            while True:
                frame = await read_frame(self._websocket)
                self._heard_at = time.monotonic()
                if self._frames.take(""):
                    self.end(Ending(CLOSE_TOO_MUCH, _error("rate_limited")))
                    return
                if isinstance(frame, Hello):
                    self.end(Ending(CLOSE_BAD_FRAME, _error("bad_frame")))
                    return
                # Typing and viewing are valid words; who tells colleagues comes with a later version.
        except BadFrame as exc:
            self.end(Ending(exc.code, _error("bad_frame")))
        except (WebSocketDisconnect, RuntimeError):
            self._gone = True
            self._wake.set()


class Refused(Exception):
    """A socket that does not come in; it is closed like this."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.code)
        self.ending = ending


class BadFrame(Exception):
    """The window (or whoever plays one) sent what no window sends."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


async def _hello(websocket: WebSocket) -> Hello:
    """The first frame.

    Raises:
        Refused: it did not come in time or is none.
    """
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            frame = await read_frame(websocket)
    except TimeoutError as exc:
        raise Refused(Ending(CLOSE_SLOW, _error("hello_expected"))) from exc
    except BadFrame as exc:
        raise Refused(Ending(exc.code, _error("bad_frame"))) from exc
    if not isinstance(frame, Hello):
        raise Refused(Ending(CLOSE_BAD_FRAME, _error("hello_expected")))
    return frame


async def read_frame(websocket: WebSocket) -> ClientFrame:
    """The next frame of the window.

    Raises:
        BadFrame: binary, too long, or not one of our frames.
        WebSocketDisconnect: it went.
    """
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text = message.get("text")
    if text is None:
        raise BadFrame(CLOSE_BAD_FRAME)
    if len(text) > FRAME_MAX_CHARS:
        raise BadFrame(CLOSE_TOO_BIG)
    try:
        return CLIENT_FRAME.validate_json(text)
    except ValidationError:
        raise BadFrame(CLOSE_BAD_FRAME) from None


class Counters:
    """Fresh absolute counters for users whose chats changed: at most once a second for each."""

    def __init__(self, inbox: Inbox, find: Callable[[tuple[str, str]], list[Socket]]) -> None:
        self._inbox = inbox
        self._find = find
        self._due: dict[tuple[str, str], float] = {}
        self._told_at: dict[tuple[str, str], float] = {}
        self._told: dict[tuple[str, str], str] = {}

    def mark(self, session: Session) -> None:
        """Something this user may see changed."""
        key = (session.tenant_id, session.user_id)
        now = time.monotonic()
        due = max(now + COUNTERS_SETTLE_SECONDS, self._told_at.get(key, 0.0) + COUNTERS_EVERY_SECONDS)
        self._due[key] = min(due, self._due.get(key, due))

    def forget(self, key: tuple[str, str]) -> None:
        for known in (self._due, self._told_at, self._told):
            known.pop(key, None)

    async def run(self) -> None:
        slots = asyncio.Semaphore(COUNTERS_AT_ONCE)

        async def tell(key: tuple[str, str], again: bool) -> None:
            async with slots:
                await self._tell(key, again)

        while True:
            now = time.monotonic()
            due = [key for key, at in self._due.items() if at <= now]
            for key in due:
                del self._due[key]
            async with asyncio.TaskGroup() as tasks:
                for key in due:
                    tasks.create_task(tell(key, True))
            await asyncio.sleep(COUNTERS_TICK_SECONDS)

    async def _tell(self, key: tuple[str, str], again: bool) -> None:
        sockets = self._find(key)
        if not sockets:
            self.forget(key)
            return
        now = time.monotonic()
        self._told_at[key] = now
        try:
            counters = await self._inbox.counters(sockets[0].session.caller)
        except Problem as exc:
            log.info("counters_unread", code=exc.code)
            self._due.setdefault(key, now + COUNTERS_AGAIN_SECONDS)
            return
        data = counters.model_dump_json()
        if self._told.get(key) != data:
            self._told[key] = data
            for socket in self._find(key):
                socket.tell(f'{{"type":"counters.updated","data":{data}}}')
            # Once more when all is settled: a count may have been taken in between two writes.
            self._due.setdefault(key, now + COUNTERS_AGAIN_SECONDS)


class Sockets:
    """All sockets of this replica."""

    def __init__(
        self,
        live: Live,
        auth: Auth,
        channels: Channels,
        inbox: Inbox,
        origins: frozenset[str],
        per_user: int,
    ) -> None:
        self.live = live
        self.bodies = Bodies(live)
        self.counters = Counters(inbox, self._of_user)
        self._auth = auth
        self._channels = channels
        self._origins = origins
        self._per_user = per_user
        self._by_tenant: dict[str, set[Socket]] = {}
        self._draining = False
        self._all_gone = asyncio.Event()
        self._all_gone.set()
        self._changed_tenants: set[str] = set()
        self._changed = asyncio.Event()
        self._to_wake: set[str] = set()
        self._wake_timer: asyncio.TimerHandle | None = None
        self._woken_at = 0.0
        live.on_entries = self._on_entries
        live.on_turn = self._wake_all
        live.on_channels = self._on_channels
        auth.listen(self._on_revoked)

    def router(self) -> APIRouter:
        router = APIRouter()

        @router.websocket("/api/v1/ws")
        async def ws(websocket: WebSocket) -> None:
            await self.serve(websocket)

        return router

    def background(self) -> Iterable[tuple[str, Coroutine[Any, Any, None]]]:
        """What has to run beside the sockets."""
        yield "counters", self.counters.run()
        yield "access", self._follow_access()

    async def serve(self, websocket: WebSocket) -> None:
        """One socket from the handshake to its close."""
        offered = websocket.scope.get("subprotocols", [])
        if (
            self._draining
            or websocket.headers.get("origin") not in self._origins
            or SUBPROTOCOL not in offered
        ):
            await websocket.close()  # before the upgrade this is a plain 403
            return
        await websocket.accept(subprotocol=SUBPROTOCOL)
        metrics.ws_connections.inc()
        try:
            ending = await self._serve(websocket)
        except Refused as refused:
            ending = refused.ending
        except (WebSocketDisconnect, RuntimeError):
            return  # it went before it said who it is
        finally:
            metrics.ws_connections.dec()
        await _close(websocket, ending)

    async def _serve(self, websocket: WebSocket) -> Ending:
        hello = await _hello(websocket)
        session, channels = await self._admitted(hello.ticket)
        socket = Socket(websocket, session, channels, self)
        self._by_tenant.setdefault(session.tenant_id, set()).add(socket)
        self._all_gone.clear()
        try:
            return await socket.live_on(hello)
        finally:
            self._forget(socket)

    async def _admitted(self, ticket: str) -> tuple[Session, frozenset[str]]:
        """Whose socket it is and which channels they work with.

        Raises:
            Refused: the ticket is no good, or they may not or cannot come in now.
        """
        try:
            session = await self._auth.redeem(ticket)
            if session is None:
                raise Refused(Ending(CLOSE_UNAUTHORIZED, _error("unauthorized")))
            channels = await self._channels.allowed(session)
        except (Problem, StoreUnavailable) as exc:
            raise Refused(Ending(CLOSE_TRY_AGAIN, _error("unavailable"))) from exc
        if not channels:
            raise Refused(Ending(CLOSE_NO_ACCESS, _error("no_access")))
        if len(self._of_user((session.tenant_id, session.user_id))) >= self._per_user:
            raise Refused(Ending(CLOSE_TOO_MUCH, _error("too_many_windows")))
        if self._draining:
            raise Refused(_bye())
        return session, channels

    async def drain(self) -> None:
        """Send everybody away, spread over some seconds of coming back; returns when they are gone."""
        self._draining = True
        everybody = [socket for sockets in self._by_tenant.values() for socket in sockets]
        for start in range(0, len(everybody), DRAIN_BATCH):
            for socket in everybody[start : start + DRAIN_BATCH]:
                socket.end(_bye())
            await asyncio.sleep(0.01)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEND_SECONDS + CLOSE_SECONDS):
                await self._all_gone.wait()

    def pushed(self, pushes: Iterable[Push]) -> None:
        """Measure the way of what has just reached its first socket."""
        now = time.time()
        for push in pushes:
            if push.measured:
                continue
            push.measured = True
            if push.received_at is not None and push.channel_id is not None:
                view = self._channels.known(push.tenant_id, push.channel_id)
                kind = "unknown" if view is None else view.kind
                metrics.visible_seconds.labels(kind=kind).observe(max(0.0, now - push.received_at))
            if push.traceparent is not None:
                with span("socket.push", parent=push.traceparent, kind=SpanKind.CONSUMER):
                    pass

    def _of_user(self, key: tuple[str, str]) -> list[Socket]:
        tenant_id, user_id = key
        return [socket for socket in self._by_tenant.get(tenant_id, ()) if socket.session.user_id == user_id]

    def _forget(self, socket: Socket) -> None:
        sockets = self._by_tenant.get(socket.session.tenant_id)
        if sockets is None:
            return
        sockets.discard(socket)
        key = (socket.session.tenant_id, socket.session.user_id)
        if not self._of_user(key):
            self.counters.forget(key)
        if not sockets:
            del self._by_tenant[socket.session.tenant_id]
        if not self._by_tenant:
            self._all_gone.set()

    # Called by the reader of the stream and by the auth: never block

    def _on_entries(self, tenants: set[str]) -> None:
        self._to_wake |= tenants & self._by_tenant.keys()
        if not self._to_wake or self._wake_timer is not None:
            return
        loop = asyncio.get_running_loop()
        wait = self._woken_at + MERGE_SECONDS - loop.time()
        if wait <= 0:
            self._wake_some()
        else:
            self._wake_timer = loop.call_later(wait, self._wake_some)

    def _wake_some(self) -> None:
        self._wake_timer = None
        self._woken_at = asyncio.get_running_loop().time()
        tenants, self._to_wake = self._to_wake, set()
        for tenant in tenants:
            for socket in self._by_tenant.get(tenant, ()):
                socket.wake()

    def _wake_all(self) -> None:
        for sockets in self._by_tenant.values():
            for socket in sockets:
                socket.wake()

    def _on_channels(self, tenant_id: str) -> None:
        if tenant_id in self._by_tenant:
            self._changed_tenants.add(tenant_id)
            self._changed.set()

    def _on_revoked(self, revocation: Revocation) -> None:
        for socket in self._by_tenant.get(revocation.tenant_id, ()):
            session = socket.session
            by_user = revocation.user_id == session.user_id and session.issued_at <= revocation.at.timestamp()
            if revocation.sid == session.sid or by_user:
                last = (
                    f'{{"type":"batch","events":[{{"type":"session.revoked","data":{{}}}}],{socket.place()}}}'
                )
                socket.end(Ending(CLOSE_UNAUTHORIZED, last))

    async def _follow_access(self) -> None:
        """When the channels of a tenant changed, let its sockets see what they may see now, and no more."""
        while True:
            # Without a word of change, look from time to time: a word may have been lost with a broker.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(30.0):
                    await self._changed.wait()
            self._changed.clear()
            tenants, self._changed_tenants = self._changed_tenants or set(self._by_tenant), set()
            for tenant_id in tenants:
                for socket in list(self._by_tenant.get(tenant_id, ())):
                    try:
                        socket.admit(await self._channels.allowed(socket.session))
                    except Problem as exc:
                        log.warning("access_unknown", code=exc.code)
                        self._changed_tenants.add(tenant_id)
                        break
            if self._changed_tenants:
                await asyncio.sleep(1.0)
                self._changed.set()


def _bye() -> Ending:
    after_ms = random.randint(0, RECONNECT_WITHIN_MS)  # noqa: S311 - spreads load, keeps no secret
    frame = {"type": "bye", "code": "restart", "reconnect_after_ms": after_ms}
    return Ending(CLOSE_RESTART, json.dumps(frame))


async def _close(websocket: WebSocket, ending: Ending) -> None:
    """Say the last word and close; cut the line of a window that does not read."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            if ending.frame is not None:
                await websocket.send_text(ending.frame)
            await websocket.close(ending.code)
    except TimeoutError:
        _cut(websocket)
    except (WebSocketDisconnect, RuntimeError):
        pass  # gone already


def _cut(websocket: WebSocket) -> None:
    # The server waits for room in a buffer that nobody empties, also to close, and has no word for
    # "cut now"; its transport has.
    transport = getattr(getattr(websocket._receive, "__self__", None), "transport", None)
    if transport is None:
        log.error("slow_socket_not_cut", reason="the server hides its transport")
    else:
        transport.abort()
