"""Frames as many sockets get them: who may have which event, joined once for all with the same access."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.live import Live
from gateway.ring import Entry, Push

FRAME_BYTES = 128 * 1024
CACHED_CHARS = 1024 * 1024
"""Of joined events, for the sockets that want the same right now; the newest ones stay in any case."""
_BODY_CHARS = 500
"""What one costs besides its events."""


@dataclass(frozen=True, slots=True)
class Access:
    """Whose events a socket gets. Sockets with the same one share their frames."""

    tenant_id: str
    channels: frozenset[str]
    user_id: str

    def admits(self, push: Push) -> bool:
        return (
            push.tenant_id == self.tenant_id
            and (push.user_id is None or push.user_id == self.user_id)
            and (push.channel_id is None or push.channel_id in self.channels)
        )


@dataclass(frozen=True, slots=True)
class Body:
    """The events of a frame, joined; the same for all sockets with the same access and position."""

    events: str
    pos: int
    id: str
    pushes: tuple[Push, ...]


class Bodies:
    """Joins events once per access set, however many sockets want them."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._known: OrderedDict[tuple[object, ...], Body] = OrderedDict()
        self._chars = 0

    def after(self, pos: int, access: Access) -> Body | None:
        """What follows `pos`; None if nothing does."""
        ring = self._live.ring
        last = ring.last
        if last is None or last.pos <= pos:
            return None
        entries = ring.after(pos, FRAME_BYTES)
        # Nothing per viewer is in most frames: then the user is no part of the key.
        user = access.user_id if _concerns(entries, access) else ""
        key = (self._live.generation, pos, entries[-1].pos, access.tenant_id, access.channels, user)
        known = self._known.get(key)
        if known is not None:
            return known
        pushes = tuple(push for entry in entries for push in entry.pushes if access.admits(push))
        body = Body(",".join(push.data for push in pushes), entries[-1].pos, entries[-1].id, pushes)
        self._known[key] = body
        self._chars += _BODY_CHARS + len(body.events)
        while self._chars > CACHED_CHARS and len(self._known) > 1:
            _, old = self._known.popitem(last=False)
            self._chars -= _BODY_CHARS + len(old.events)
        return body


def _concerns(entries: Iterable[Entry], access: Access) -> bool:
    return any(
        push.user_id == access.user_id and push.tenant_id == access.tenant_id
        for entry in entries
        for push in entry.pushes
    )
