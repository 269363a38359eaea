"""Who may see which channel: the one rule, used by REST, socket, search, counters and media."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

DEFAULT_ROLES: frozenset[str] = frozenset({"admin", "reception"})
"""Roles that work with a channel without a list of its own."""

ADMIN = "admin"
"""The role that may create and change channels of its tenant."""


def may_see(user_roles: Iterable[str], channel_roles: Iterable[str] | None) -> bool:
    """Whether somebody with `user_roles` works with a channel that lists `channel_roles`.

    None stands for the tenant's default; an empty list for nobody.
    """
    wanted = DEFAULT_ROLES if channel_roles is None else frozenset(channel_roles)
    return not wanted.isdisjoint(user_roles)


def allowed_channels(
    user_roles: Iterable[str], channels: Mapping[str, Iterable[str] | None]
) -> frozenset[str]:
    """The ids of the channels somebody may see.

    Args:
        user_roles: the roles of the user in the tenant these channels belong to.
        channels: channel id → roles of its settings.
    """
    roles = frozenset(user_roles)
    return frozenset(id_ for id_, wanted in channels.items() if may_see(roles, wanted))
