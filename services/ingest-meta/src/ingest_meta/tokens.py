"""How long a token lives and what it may do, in words for the administrator. Pure.

Source: fact sheet 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from ingest_meta.flavours import Flavour
from ingest_meta.payloads import moment
from msgkit.connector.errors import CredentialsInvalid
from msgkit.connector.raw import Node, integer, items, opaque

WARNED_BEFORE: Final = timedelta(days=7)
LIVES: Final = timedelta(days=60)
"""Of a token of Instagram's login."""
RENEWED_AFTER: Final = timedelta(hours=24)
"""A younger one is not renewed."""
EXPIRES_AT: Final = "token_expires_at"
"""Beside the token in the credentials: when it ends at the latest, in seconds since 1970."""
NOT_RENEWED: Final = "Instagram не поновлює токен каналу. Отримайте новий і замініть ключ каналу."

_NEEDED: Final = {
    Flavour.PAGE: ("pages_messaging", "pages_manage_metadata"),
    Flavour.INSTAGRAM_BY_PAGE: ("instagram_basic", "instagram_manage_messages", "pages_manage_metadata"),
    Flavour.INSTAGRAM_LOGIN: (),
}
"""Of Instagram's login nothing tells the permissions."""


def app_of(told: Node) -> str | None:
    """The app of a token, as `debug_token` says; None if it does not."""
    return opaque(told.get("app_id"))


def problem_of(flavour: Flavour, told: Node, now: datetime) -> str | None:
    """What an administrator should do about a token; None: nothing.

    Args:
        flavour: of the account.
        told: `data` of `debug_token`; empty if it was not told.
        now: the moment.

    Raises:
        CredentialsInvalid: it is not valid any more.
    """
    if told.get("is_valid") is False:
        raise CredentialsInvalid("Токен доступу Meta більше не діє. Отримайте новий і замініть ключ каналу.")
    ends = [
        moment(told.get(key)) for key in ("expires_at", "data_access_expires_at") if integer(told.get(key))
    ]
    problem = ending(min((end for end in ends if end is not None), default=None), now)
    if problem is not None:
        return problem
    scopes = items(told.get("scopes"))
    missing = [scope for scope in _NEEDED[flavour] if scope not in scopes]
    # A list that is not there says nothing.
    if scopes and missing:
        return f"Токену бракує прав: {', '.join(missing)}. Надайте їх застосунку й замініть токен каналу."
    return None


def ending(end: datetime | None, now: datetime) -> str | None:
    """What to say of a token that ends soon; None of one that does not."""
    if end is None or end - now > WARNED_BEFORE:
        return None
    return f"Токен доступу діє до {end:%d.%m.%Y}. Отримайте новий і замініть ключ каналу, до цього дня."


def end_of(credentials: Mapping[str, str]) -> datetime | None:
    """When a token ends, at the latest; None if nobody knows."""
    return moment(credentials.get(EXPIRES_AT))


def is_young(credentials: Mapping[str, str], now: datetime) -> bool:
    """Whether a token was made so short a time ago that it cannot be renewed yet."""
    end = end_of(credentials)
    return end is not None and now - (end - LIVES) < RENEWED_AFTER


def dated(credentials: Mapping[str, str], now: datetime) -> dict[str, str]:
    """The same credentials with the latest moment their token can end, for one that does not say."""
    return {**credentials, EXPIRES_AT: _stamp(now + LIVES)}


def renewed(credentials: Mapping[str, str], answer: Node, now: datetime) -> dict[str, str] | None:
    """The credentials with the token of the answer; None if it holds none."""
    token = opaque(answer.get("access_token"), 4096)
    if token is None:
        return None
    lives = integer(answer.get("expires_in"))
    end = now + (LIVES if lives is None or not 0 < lives < 10**9 else timedelta(seconds=lives))
    return {**credentials, "access_token": token, EXPIRES_AT: _stamp(end)}


def _stamp(moment: datetime) -> str:
    return str(int(moment.astimezone(UTC).timestamp()))
