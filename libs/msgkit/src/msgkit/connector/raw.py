"""Careful readers of a messenger's raw JSON: whatever stands there, they answer and never raise. Pure.

Webhooks are read as raw dicts, because a model refuses the whole of it for one unknown word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from pydantic_core import from_json

INT_MAX: Final = 2**63 - 1
"""What a database and a broker can hold."""
ID_MAX_CHARS: Final = 512
"""Of an id of the longest kind; the longest any messenger of ours is known to write are about half of it."""

_NUMBER_MAX_CHARS = 64
_DIGITS = re.compile(r"[0-9]{1,19}")
_HALF_OF_A_SIGN = re.compile(rb"\\u[dD][89a-fA-F]")
"""A surrogate. Two of them are a sign beyond the first 65,536 of Unicode; one alone is nothing."""

Node = Mapping[str, Any]


def read_json(body: bytes) -> Any:
    """What a body says; a text that was cut in the middle of a sign does not cost what stands beside it.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError:
        if not _HALF_OF_A_SIGN.search(body):
            raise
    try:
        said = json.dumps(json.loads(body), ensure_ascii=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return from_json(said.encode("utf-8", "replace"), allow_inf_nan=False)


def is_node(value: object) -> TypeGuard[Node]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def node(value: object) -> Node:
    """The object, or an empty one."""
    return value if is_node(value) else {}


def items(value: object) -> list[Any]:
    """The list, or an empty one."""
    return value if isinstance(value, list) else []


def json_integer(value: object) -> int | None:
    """The whole number that JSON writes as one, if we can keep it. JSON's true is no number."""
    return value if type(value) is int and abs(value) <= INT_MAX else None


def integer(value: object) -> int | None:
    """The whole number, also one written as text, if we can keep it. JSON's true is no number."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    return json_integer(value)


def json_number(value: object) -> float | None:
    """The number that JSON writes as one, whole or not."""
    return float(value) if type(value) is float or (type(value) is int and abs(value) <= INT_MAX) else None


def number(value: object) -> float | None:
    """The number, whole or not, also one written as text; never what is not a number at all."""
    if isinstance(value, str):
        try:
            value = float(value[:_NUMBER_MAX_CHARS])
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An endless one is not within the bound, and nothing else that is no number.
    return float(value) if abs(value) <= INT_MAX else None


def text(value: object) -> str | None:
    """The string, if it is one."""
    return value if isinstance(value, str) else None


def short(value: object, max_chars: int) -> str | None:
    """The string cut to its first characters; None if it is empty or none."""
    found = text(value)
    return found[:max_chars] if found else None


def words(value: object, max_chars: int) -> str | None:
    """One line: without line breaks and doubled spaces, cut; None if nothing is left."""
    return " ".join((text(value) or "")[: max_chars * 4].split())[:max_chars] or None


def opaque(value: object, max_chars: int = ID_MAX_CHARS) -> str | None:
    """An id as text, whichever way it is written; None if it is none or too long to be one."""
    if type(value) is int and 0 < value <= INT_MAX:
        return str(value)
    found = text(value)
    if not found or len(found) > max_chars or not found.isprintable() or found.isspace():
        return None
    return found


def utf16_units(value: str) -> int:
    """How long a text is by the count of messengers that count in UTF-16, and of entities over it."""
    return len(value) + sum(char > "\uffff" for char in value)
