"""What a call of the Graph API is, what it did, and the nested list of fields it asks for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from sandbox.faults import Fault
from sandbox.meta.codes import bad_parameter
from sandbox.meta.state import Business, Chat, Json, PhoneMessage, Token
from sandbox.uploads import Arrived, Form


@dataclass(frozen=True, slots=True)
class Call:
    """One call, its token checked."""

    request: web.Request
    token: Token
    object_id: str
    """`me` is already the object the token is for."""
    body: Json
    """Query and body together."""
    fault: Fault | None = None
    form: Form | None = None
    """The files of a multipart body."""

    @property
    def verb(self) -> str:
        """HTTP method."""
        return self.request.method

    @property
    def upload(self) -> Arrived | None:
        """The file in `filedata`."""
        return None if self.form is None else self.form.file("filedata")


@dataclass(slots=True)
class Called:
    """What a call did: its answer, and the message it made."""

    answer: object = field(default_factory=dict)
    business: Business | None = None
    chat: Chat | None = None
    message: PhoneMessage | None = None
    violation: str | None = None
    """A rule of Meta's that was broken though the call was taken."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field asked for, with its modifiers and what is asked of what it leads to."""

    name: str
    limit: int | None = None
    after: str | None = None
    inner: tuple["Field", ...] = ()


def fields_of(given: object) -> tuple[Field, ...]:
    """`name,messages.limit(10){id,from}` taken apart.

    Raises:
        GraphRefusal: brackets do not match.
    """
    if given is None:
        return ()
    if not isinstance(given, str):
        raise bad_parameter("fields must be a string")
    found, rest = _fields(given.replace(" ", ""), 0)
    if rest != len(given.replace(" ", "")):
        raise bad_parameter("Syntax error in the parameter fields")
    return found


def _fields(text: str, at: int) -> tuple[tuple[Field, ...], int]:
    found: list[Field] = []
    while at < len(text) and text[at] != "}":
        begin = at
        while at < len(text) and (text[at].isalnum() or text[at] == "_"):
            at += 1
        name = text[begin:at]
        if not name:
            raise bad_parameter(f"Syntax error in the parameter fields at {begin}")
        modifiers: dict[str, str] = {}
        while at < len(text) and text[at] == ".":
            key, _, value = text[at + 1 :].partition("(")
            value, closed, _ = value.partition(")")
            if not closed:
                raise bad_parameter("Syntax error in the parameter fields: a modifier does not end")
            modifiers[key] = value
            at += len(key) + len(value) + 3
        inner: tuple[Field, ...] = ()
        if at < len(text) and text[at] == "{":
            inner, at = _fields(text, at + 1)
            if at >= len(text):
                raise bad_parameter("Syntax error in the parameter fields: a bracket does not close")
            at += 1
        limit = modifiers.get("limit", "")
        found.append(Field(name, int(limit) if limit.isdigit() else None, modifiers.get("after"), inner))
        if at < len(text) and text[at] == ",":
            at += 1
    return tuple(found), at


def chosen(known: Mapping[str, object], asked: tuple[Field, ...], node: str) -> Json:
    """Of what is known the fields asked for; a field without a value is left out, as Graph does.

    Raises:
        GraphRefusal: there is no such field.
    """
    told: Json = {}
    for one in asked:
        if one.name not in known:
            raise bad_parameter(f"Tried accessing nonexisting field ({one.name}) on node type ({node})")
        value = known[one.name]
        if value is None:
            continue
        told[one.name] = chosen(value, one.inner, node) if one.inner and isinstance(value, dict) else value
    return told


def as_object(given: object, name: str) -> Json:
    """A parameter that is an object, or JSON of one as forms have it.

    Raises:
        GraphRefusal: it is neither.
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as exc:
            raise bad_parameter(f"The parameter {name} is no valid JSON.") from exc
    if not isinstance(given, dict):
        raise bad_parameter(f"The parameter {name} is required.")
    return given
