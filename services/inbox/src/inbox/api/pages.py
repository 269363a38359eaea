"""Pages: cursors of lists, and parts of a dialogue with what is not projected yet."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from inbox.api.doors import Viewer
from inbox.api.shown import shown
from inbox.domain import Message, State
from inbox.lists import Lists, Position
from inbox.projections import Key
from msgkit.contracts.internal_api import MessagesPage
from msgkit.runtime.problems import Problem

_SEAL_BYTES: Final = 12


class Seal:
    """Cursors nobody can make or carry over to another list: 422 for those."""

    def __init__(self, key: bytes, viewer: Viewer, *filters: str | None) -> None:
        self._key = key
        self._scope = json.dumps([viewer.tenant_id, viewer.user_id, *filters])

    def close(self, row: State) -> str:
        assert row.activity_at is not None
        position = json.dumps([int(row.activity_at.timestamp() * 1000), row.id]).encode()
        return base64.urlsafe_b64encode(self._sign(position) + position).decode().rstrip("=")

    def open(self, cursor: str) -> tuple[datetime, str]:
        wrong = Problem(422, "invalid_cursor", "Курсор не з цього списку. Почніть список спочатку.")
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as exc:
            raise wrong from exc
        signature, position = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
        if not hmac.compare_digest(signature, self._sign(position)):
            raise wrong
        at_ms, id_ = json.loads(position)
        return datetime.fromtimestamp(at_ms / 1000, UTC), id_

    def _sign(self, position: bytes) -> bytes:
        words = self._scope.encode() + b"\x1f" + position
        return hmac.digest(self._key, words, hashlib.sha256)[:_SEAL_BYTES]


class Pages:
    """Pages of one dialogue, the projection with what is newer merged in."""

    def __init__(self, lists: Lists, key: Key, newer: Mapping[str, Message], limit: int) -> None:
        self._lists = lists
        self._key = key
        self._newer = newer
        self._limit = limit
        # The projection may show these still, so a page must have room for them.
        self._replaced = sum(message.replaced_by is not None for message in newer.values())

    async def before(self, anchor_id: str | None) -> MessagesPage:
        anchor = None if anchor_id is None else await self._anchor(anchor_id)
        items, has_before = await self._before(anchor, self._limit)
        return _page(items, has_before, anchor is not None)

    async def after(self, anchor_id: str) -> MessagesPage:
        items, has_after = await self._after(await self._anchor(anchor_id), self._limit)
        return _page(items, True, has_after)

    async def around(self, anchor_id: str) -> MessagesPage:
        anchor = await self._anchor(anchor_id)
        half = self._limit // 2
        # The anchor itself is the first after the position right before it.
        following, has_after = await self._after(Position(anchor.pos_at, anchor.n - 1), self._limit - half)
        preceding, has_before = await self._before(anchor, half) if half else ([], True)
        return _page([*preceding, *following], has_before, has_after)

    async def _anchor(self, message_id: str) -> Position:
        newer = self._newer.get(message_id)
        if newer is not None:
            return _position(newer)
        found = await self._lists.position(self._key, message_id)
        if found is None:
            raise Problem(422, "invalid_cursor", "У цьому чаті немає такого повідомлення.")
        return found

    async def _before(self, anchor: Position | None, limit: int) -> tuple[list[Message], bool]:
        stored = await self._lists.page_before(self._key, anchor, limit + 1 + self._replaced)
        oldest = _position(stored[0]) if len(stored) > limit + self._replaced else None
        items = self._merged(
            stored,
            lambda at: (anchor is None or at < anchor) and (oldest is None or at > oldest),
        )
        return items[-limit:], len(items) > limit

    async def _after(self, anchor: Position, limit: int) -> tuple[list[Message], bool]:
        stored = await self._lists.page_after(self._key, anchor, limit + 1 + self._replaced)
        newest = _position(stored[-1]) if len(stored) > limit + self._replaced else None
        items = self._merged(stored, lambda at: at > anchor and (newest is None or at < newest))
        return items[:limit], len(items) > limit

    def _merged(self, stored: Sequence[Message], within: Callable[[Position], bool]) -> list[Message]:
        merged = {message.id: self._newer.get(message.id, message) for message in stored}
        merged |= {id_: message for id_, message in self._newer.items() if within(_position(message))}
        return sorted((one for one in merged.values() if one.replaced_by is None), key=_position)


def _position(message: Message) -> Position:
    return Position(message.pos_at, message.n)


def _page(items: Sequence[Message], has_before: bool, has_after: bool) -> MessagesPage:
    return MessagesPage(
        items=[shown(message) for message in items], has_before=has_before, has_after=has_after
    )
