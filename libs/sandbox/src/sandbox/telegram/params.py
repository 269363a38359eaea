"""Calls of the Bot API: their arguments in every way they may come, refusals, outcomes."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from sandbox.files import Files
from sandbox.telegram.payloads import Json
from sandbox.telegram.state import Bot, Chat, PhoneMessage
from sandbox.uploads import Arrived, Form, TooBig, form_of

MAX_UPLOAD_BYTES = 50 * 1024 * 1024
"""Longest file of a multipart call. Source: Bot API, «Sending files»; answered 413 by Telegram's front."""


class ApiError(Exception):
    """A refusal in Telegram's words."""

    def __init__(self, code: int, description: str, parameters: Json | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


class Params:
    """The arguments of a call, wherever they came from; values are strings or, in a JSON body, JSON."""

    def __init__(self, values: Mapping[str, object], form: Form | None = None) -> None:
        self._values = values
        self._form = form or Form()

    def text(self, name: str) -> str:
        """A string; empty when absent."""
        value = self._values.get(name)
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return value if isinstance(value, str) else json.dumps(value)

    def required(self, name: str) -> str:
        """A string that must be there.

        Raises:
            ApiError: it is not.
        """
        value = self.text(name)
        if not value:
            raise ApiError(400, f'Bad Request: parameter "{name}" is required')
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A number, forced into its range; what is no number is the default, as with Telegram."""
        try:
            return max(low, min(high, int(self.text(name))))
        except ValueError:
            return default

    def flag(self, name: str) -> bool:
        """True for `true`, `yes` and `1` in any case."""
        return self.text(name).strip().lower() in ("true", "yes", "1")

    def json(self, name: str) -> object:
        """A nested value, given as JSON or as a string of JSON; None when absent.

        Raises:
            ValueError: the string is no JSON.
        """
        value = self._values.get(name)
        if isinstance(value, str):
            return json.loads(value) if value.strip() else None
        return value

    def nested(self, name: str, what: str) -> object:
        """A nested value; `what` names it in Telegram's refusal.

        Raises:
            ApiError: it is no JSON.
        """
        try:
            return self.json(name)
        except ValueError as exc:
            raise ApiError(400, f"Bad Request: can't parse {what} JSON object") from exc

    def file(self, name: str) -> Arrived | None:
        """The file uploaded in the part of this name."""
        return self._form.file(name)


@dataclass(slots=True)
class Outcome:
    """What a call did: its result and the bubbles it touched."""

    result: object
    description: str | None = None
    chat: Chat | None = None
    messages: list[PhoneMessage] = field(default_factory=list)


Method = Callable[[Bot, Params], Outcome | Awaitable[Outcome]]


@asynccontextmanager
async def params_of(request: web.Request, files: Files) -> AsyncIterator[Params]:
    """Query, form, multipart and JSON arguments together; the body wins. Uploads not kept are removed.

    Raises:
        ApiError: a file is too big.
        ValueError: the body cannot be read.
    """
    values: dict[str, object] = dict(request.query)
    if request.content_type == "multipart/form-data":
        try:
            async with form_of(request, files.draft, MAX_UPLOAD_BYTES) as form:
                yield Params({**values, **form.values}, form)
        except TooBig as exc:
            raise ApiError(413, "Request Entity Too Large") from exc
        return
    if request.content_type == "application/json":
        body = json.loads(await request.read() or b"{}")
        if not isinstance(body, dict):
            raise ValueError("the body is no JSON object")  # one kind of refusal for a bad body
        values.update(body)
    elif request.can_read_body:
        values.update(
            {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        )
    yield Params(values)
