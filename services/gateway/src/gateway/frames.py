"""What travels on a socket besides events: reading the window's frames, refusing, and the last word."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Final

from fastapi import WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from gateway.schemas import CLIENT_FRAME, ClientFrame, Hello
from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

SUBPROTOCOL: Final = "rozmova.v1"
HELLO_SECONDS = 10.0
CLOSE_SECONDS = 1.0
FRAME_MAX_CHARS = 8 * 1024
"""A frame of the window is a few hundred characters."""

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


def error_frame(code: str) -> str:
    return json.dumps({"type": "error", "code": code})


async def read_hello(websocket: WebSocket) -> Hello:
    """The first frame.

    Raises:
        Refused: it did not come in time or is none.
    """
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            frame = await read_frame(websocket)
    except TimeoutError as exc:
        raise Refused(Ending(CLOSE_SLOW, error_frame("hello_expected"))) from exc
    except BadFrame as exc:
        raise Refused(Ending(exc.code, error_frame("bad_frame"))) from exc
    if not isinstance(frame, Hello):
        raise Refused(Ending(CLOSE_BAD_FRAME, error_frame("hello_expected")))
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


async def close(websocket: WebSocket, ending: Ending) -> None:
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
