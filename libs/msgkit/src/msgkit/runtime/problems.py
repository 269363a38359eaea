"""Errors over HTTP: one shape, application/problem+json with a machine `code`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is not a success; raise it anywhere under a route."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: object,
    ) -> None:
        """
        Args:
            status: HTTP status.
            code: What a program decides by; stable.
            detail: What a person reads: what happened and what to do next.
            headers: For example Retry-After.
            extra: More members of the body, models included.
        """
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra

    def body(self) -> bytes:
        """The JSON that is sent."""
        content = {**self.extra, "status": self.status, "code": self.code, "detail": self.detail}
        return json.dumps(content, default=_plain, ensure_ascii=False, separators=(",", ":")).encode()

    def response(self) -> Response:
        """The answer itself, for code that is no route (a middleware)."""
        return Response(self.body(), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def install_problem_handlers(app: FastAPI) -> None:
    """Makes every error of the app a problem: ours, unknown paths, wrong bodies, and what nobody expected."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_middleware(_UnexpectedErrors)


class _UnexpectedErrors:
    """Turns an unexpected exception into a 500 without details, logged once.

    A middleware and not a handler for Exception, because Starlette raises again after such a handler and the
    server would log the same error a second time.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception:
            log.exception("request_failed", method=scope["method"], route=_route(scope))
            if started:
                return  # too late for an answer: the server closes the connection
            await _INTERNAL.response()(scope, receive, send)


_INTERNAL = Problem(
    500, "internal", "Внутрішня помилка. Спробуйте ще раз; якщо повториться, напишіть у підтримку."
)


async def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _on_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Only where and why: the refused value may be a client's words or a secret.
    errors = [
        {"loc": list(item["loc"]), "type": item["type"], "msg": _message(item)} for item in error.errors()
    ]
    return Problem(422, "invalid", "Запит має неправильні поля; дивіться errors.", errors=errors).response()


def _message(item: Mapping[str, object]) -> str:
    # A message of our own validators may quote the value; those of pydantic do not.
    kind = item["type"]
    return "Value is not allowed" if kind in {"value_error", "assertion_error"} else str(item["msg"])


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, detail = _CODES.get(error.status_code, ("", ""))
    if not code:
        code = HTTPStatus(error.status_code).name.lower()
        detail = str(error.detail)
    return Problem(error.status_code, code, detail, headers=error.headers).response()


_CODES = {
    400: ("bad_request", "Тіло запиту не читається."),
    404: ("not_found", "Немає такого шляху або обʼєкта."),
    405: ("method_not_allowed", "Цей шлях не приймає такого методу."),
}


def _route(scope: Scope) -> str:
    # The template of the route; a path may hold what must not be logged.
    return str(getattr(scope.get("route"), "path", "unknown"))


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)
