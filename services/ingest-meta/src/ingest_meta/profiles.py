"""How a client calls himself, and which refusals mean that Meta does not tell. Pure.

Source: fact sheet 3; the refusals: 2.8.
"""

from __future__ import annotations

from typing import Final

from ingest_meta.flavours import Flavour
from ingest_meta.payloads import NAME_MAX_CHARS, WORD_MAX_CHARS
from ingest_meta.refusals import Does, row_of, to_error
from msgkit.connector.contract import Profile
from msgkit.connector.raw import Node, integer, words

MESSENGER_FIELDS: Final = "first_name,last_name,name"
"""Language, time zone and gender need permissions of their own, and one that is missing costs all of them."""
INSTAGRAM_FIELDS: Final = "name,username"

_BAD_TOKEN: Final = frozenset({0, 190, 368})


class NotTold(Exception):
    """Meta does not tell this profile; nothing is wrong with the account."""


def fields_of(flavour: Flavour) -> str:
    """What to ask for."""
    return INSTAGRAM_FIELDS if flavour.is_instagram else MESSENGER_FIELDS


def to_profile(told: Node) -> Profile | None:
    """Who it is; None if nothing is told."""
    parts = [words(told.get(key), NAME_MAX_CHARS) for key in ("first_name", "last_name")]
    name = words(told.get("name"), NAME_MAX_CHARS) or " ".join(filter(None, parts)) or None
    username = words(told.get("username"), WORD_MAX_CHARS)
    if username is not None:
        username = username.removeprefix("@") or None
    return None if name is None and username is None else Profile(name, username)


def refused(error: Node) -> Exception:
    """What a refusal means: mostly that this person or this app does not get it (230, 9010, 2018218, …)."""
    row = row_of(error)
    is_temporary = error.get("is_transient") is True or (
        row is not None and row.does in {Does.WAIT, Does.RETRY}
    )
    return to_error(error) if is_temporary or integer(error.get("code")) in _BAD_TOKEN else NotTold()
