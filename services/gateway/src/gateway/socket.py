"""One operator's window: a reader of its frames and a writer that pulls from the ring."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from gateway.bodies import Access, Bodies
from gateway.frames import (
    CLOSE_BAD_FRAME,
    CLOSE_NO_ACCESS,
    CLOSE_NORMAL,
    CLOSE_SLOW,
    CLOSE_TOO_MUCH,
    CLOSE_TRY_AGAIN,
    CLOSE_UNAUTHORIZED,
    BadFrame,
    Ending,
    error_frame,
    read_frame,
)
from gateway.limits import Buckets
from gateway.live import Live
from gateway.ring import Push
from gateway.schemas import Hello, Session, Typing, Viewing
from msgkit.contracts.ids import new_id

HEARTBEAT_SECONDS = 25.0
SILENT_SECONDS = 3 * HEARTBEAT_SECONDS
"""No frame from the window for this long, though it was pinged: the connection is half open."""
SEND_SECONDS = 5.0
FRAMES_PER_MINUTE = 120
BESIDE_MAX_FRAMES = 256
BESIDE_MAX_CHARS = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a socket works with; the same for all of a replica."""

    live: Live
    bodies: Bodies
    on_pushed: Callable[[Socket, Iterable[Push]], None]
    """Called after events have gone out."""
    on_typing: Callable[[Socket, str], Awaitable[None]]
    on_viewing: Callable[[Socket, str | None], Awaitable[None]]


class Socket:
    """Nothing of the ring is queued per socket: a socket keeps its place and takes what follows when its last
    frame has gone out. What travels beside the ring is queued, within limits.
    """

    def __init__(
        self, websocket: WebSocket, session: Session, channels: frozenset[str], around: Surroundings
    ) -> None:
        self.id = new_id()
        self.session = session
        self.access = Access(session.tenant_id, channels, session.user_id)
        self._websocket = websocket
        self._around = around
        self._live = around.live
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

    def may_see(self, channel_id: str) -> bool:
        return channel_id in self.access.channels

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
            self.end(Ending(CLOSE_NO_ACCESS, error_frame("no_access")))
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
            return Ending(CLOSE_TRY_AGAIN, error_frame("not_ready"))
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
        if hello.epoch == ring.epoch and hello.pos is not None and ring.holds(hello.pos, hello.id or ""):
            self._place(hello.pos, hello.id or "")
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
                    return Ending(CLOSE_UNAUTHORIZED, error_frame("unauthorized"))
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
        body = self._around.bodies.after(self._looked, self.access)
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
            self._around.on_pushed(self, body.pushes)
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
                    self.end(Ending(CLOSE_TOO_MUCH, error_frame("rate_limited")))
                    return
                if isinstance(frame, Hello):
                    self.end(Ending(CLOSE_BAD_FRAME, error_frame("bad_frame")))
                    return
                if isinstance(frame, Typing):
                    await self._around.on_typing(self, frame.conversation_id)
                elif isinstance(frame, Viewing):
                    await self._around.on_viewing(self, frame.conversation_id)
        except BadFrame as exc:
            self.end(Ending(exc.code, error_frame("bad_frame")))
        except (WebSocketDisconnect, RuntimeError):
            self._gone = True
            self._wake.set()
