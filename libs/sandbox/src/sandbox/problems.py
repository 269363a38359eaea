"""Refusals of the control API, and reading of its bodies: every mistake says what to do."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BodyT = TypeVar("BodyT", bound=BaseModel)


class Problem(Exception):
    """An answer that is not a success: status, machine code, and a sentence that says what to do."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class Refused(Problem):
    """The phone cannot do that now; the text says why and what to do."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(409, code, detail)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal of the control API in one shape: `application/problem+json`."""
    try:
        return await handler(request)
    except Problem as problem:
        body = {"code": problem.code, "detail": problem.detail, "status": problem.status}
        return web.json_response(body, status=problem.status, content_type="application/problem+json")


def read_body(body_type: type[BodyT], raw: bytes | str) -> BodyT:
    """A body of the control API; nothing at all is an empty object.

    Raises:
        Problem: it is not of this shape.
    """
    try:
        return body_type.model_validate_json(raw or b"{}")
    except ValidationError as exc:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in exc.errors())
        raise Problem(422, "invalid_body", f"Виправте тіло запиту: {wrong}") from exc
