"""Middlewares for every answer and every body: security headers, and a limit for what is read."""

from __future__ import annotations

import contextlib

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msgkit.runtime.problems import Problem

_ALWAYS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_OVER_HTTPS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_NAMES = frozenset(name for name, _ in (*_ALWAYS, _OVER_HTTPS))


class SecurityHeaders:
    """Adds the headers an answer does not have yet: a route that sets its own Cache-Control keeps it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                present = {name.lower() for name, _ in own} & _NAMES
                own.extend(header for header in _ALWAYS if header[0] not in present)
                if scope.get("scheme") == "https" and _OVER_HTTPS[0] not in present:
                    own.append(_OVER_HTTPS)
                message["headers"] = own
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Answers 413 to a body over the limit: at once if its length is announced, else when it is passed."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = _announced_bytes(scope)
        if announced is None:
            await self._count(scope, receive, send)
        elif announced > self._max_bytes:
            await self._refuse(scope, receive, send)
        else:
            # The server reads no more than was announced.
            await self._app(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0
        started = False

        async def counted_receive() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > self._max_bytes:
                    raise _BodyTooLarge
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if taken > self._max_bytes and not started:
                return  # what the app says about the broken body gives way to our 413
            started = True
            await send(message)

        with contextlib.suppress(_BodyTooLarge):
            await self._app(scope, counted_receive, guarded_send)
        if taken > self._max_bytes and not started:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = Problem(
            413,
            "body_too_large",
            f"Тіло запиту більше за {self._max_bytes} байтів.",
            headers={"Connection": "close"},  # the rest of the body is not worth reading
            max_bytes=self._max_bytes,
        )
        await problem.response()(scope, receive, send)


class _BodyTooLarge(HTTPException):
    """An HTTPException, so that no layer between takes it for an unexpected error."""

    def __init__(self) -> None:
        super().__init__(413)


def _announced_bytes(scope: Scope) -> int | None:
    """The Content-Length; 0 without a body; None for a chunked one, whatever length it claims."""
    announced: int | None = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            announced = int(value) if value.isdigit() else None
    return announced
