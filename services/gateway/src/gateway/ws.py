"""The door for the operators' sockets: who comes in, what all are told, how everybody is sent away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Coroutine, Iterable
from typing import Any

from fastapi import APIRouter, WebSocket
from opentelemetry.trace import SpanKind
from starlette.websockets import WebSocketDisconnect

from gateway import frames
from gateway.auth import Auth
from gateway.bodies import Bodies
from gateway.clients import Channels, Inbox
from gateway.counters import Counters
from gateway.frames import (
    CLOSE_NO_ACCESS,
    CLOSE_RESTART,
    CLOSE_SECONDS,
    CLOSE_TOO_MUCH,
    CLOSE_TRY_AGAIN,
    CLOSE_UNAUTHORIZED,
    SUBPROTOCOL,
    Ending,
    Refused,
    error_frame,
)
from gateway.live import Live
from gateway.presence import Presence, Turn, typing_data, viewers_data
from gateway.ring import Push
from gateway.schemas import Session
from gateway.socket import SEND_SECONDS, Socket, Surroundings
from gateway.store import Revocation
from msgkit.contracts.presence import TYPING_TTL_S, TypingNoticed
from msgkit.runtime import metrics
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.problems import Problem
from msgkit.runtime.telemetry import span

log = get_logger(__name__)

MERGE_SECONDS = 0.005
"""Under load, events of this span travel in one frame; alone, an event goes at once."""
RECONNECT_WITHIN_MS = 5_000
DRAIN_BATCH = 50
PLACES_AT_START = 100
"""Of dialogues somebody looks at, what a new window is told at once."""


class Sockets:
    """All sockets of this replica."""

    def __init__(
        self,
        live: Live,
        auth: Auth,
        channels: Channels,
        inbox: Inbox,
        presence: Presence,
        origins: frozenset[str],
        per_user: int,
    ) -> None:
        self._counters = Counters(inbox, self._of_user)
        self._presence = presence
        self._around = Surroundings(
            live=live,
            bodies=Bodies(live),
            on_pushed=self._on_pushed,
            on_typing=presence.typing,
            on_viewing=self._on_viewing,
        )
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
        live.on_answer = presence.answered
        presence.on_typing = self._on_typing
        presence.on_turn = self._on_turn
        auth.listen(self._on_revoked)

    def router(self) -> APIRouter:
        router = APIRouter()

        @router.websocket("/api/v1/ws")
        async def ws(websocket: WebSocket) -> None:
            await self.serve(websocket)

        return router

    def background(self) -> Iterable[tuple[str, Coroutine[Any, Any, None]]]:
        """What has to run beside the sockets."""
        yield "counters", self._counters.run()
        yield "access", self._follow_access()
        yield "presence", self._presence.speak()
        yield "presence reminder", self._presence.remind()

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
        await frames.close(websocket, ending)

    async def _serve(self, websocket: WebSocket) -> Ending:
        hello = await frames.read_hello(websocket)
        session, channels = await self._admitted(hello.ticket)
        socket = Socket(websocket, session, channels, self._around)
        self._by_tenant.setdefault(session.tenant_id, set()).add(socket)
        self._all_gone.clear()
        self._show_places(socket)
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
                raise Refused(Ending(CLOSE_UNAUTHORIZED, error_frame("unauthorized")))
            channels = await self._channels.allowed(session)
        except (Problem, StoreUnavailable) as exc:
            raise Refused(Ending(CLOSE_TRY_AGAIN, error_frame("unavailable"))) from exc
        if not channels:
            raise Refused(Ending(CLOSE_NO_ACCESS, error_frame("no_access")))
        if len(self._of_user((session.tenant_id, session.user_id))) >= self._per_user:
            raise Refused(Ending(CLOSE_TOO_MUCH, error_frame("too_many_windows")))
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

    def _on_pushed(self, socket: Socket, pushes: Iterable[Push]) -> None:
        """Measure the way of what has just reached its first socket."""
        self._counters.mark(socket.session)
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
        self._presence.left(socket)
        key = (socket.session.tenant_id, socket.session.user_id)
        if not self._of_user(key):
            self._counters.forget(key)
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

    # Presence: beside the stream, for whoever may see the channel, and never about oneself

    async def _on_viewing(self, socket: Socket, conversation_id: str | None) -> None:
        if await self._presence.looks(socket, conversation_id) and conversation_id is not None:
            socket.tell(self._viewers_event(socket.session, conversation_id))

    def _show_places(self, socket: Socket) -> None:
        """What a window that comes in cannot know: who looks at what already."""
        told = 0
        for channel_id, conversation_id in self._presence.viewers.places(socket.session.tenant_id):
            if told < PLACES_AT_START and socket.may_see(channel_id):
                told += 1
                socket.tell(self._viewers_event(socket.session, conversation_id))

    def _on_turn(self, turn: Turn) -> None:
        for socket in self._by_tenant.get(turn.tenant_id, ()):
            # For the one who came or went nothing changed: nobody is a colleague of themselves.
            if socket.session.user_id != turn.user_id and socket.may_see(turn.channel_id):
                socket.tell(self._viewers_event(socket.session, turn.conversation_id))

    def _on_typing(self, notice: TypingNoticed) -> None:
        event = _event("typing", typing_data(notice, TYPING_TTL_S))
        for socket in self._by_tenant.get(notice.tenant_id, ()):
            if socket.session.user_id != notice.user.id and socket.may_see(notice.channel_id):
                socket.tell(event)

    def _viewers_event(self, session: Session, conversation_id: str) -> str:
        viewers = self._presence.viewers.of(session.tenant_id, conversation_id, session.user_id)
        return _event("presence", viewers_data(conversation_id, viewers))

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


def _event(type_: str, data: dict[str, Any]) -> str:
    return json.dumps({"type": type_, "data": data}, ensure_ascii=False, separators=(",", ":"))
