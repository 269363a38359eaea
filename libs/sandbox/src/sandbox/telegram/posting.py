"""A client sends something: texts at once, files after they were made or uploaded, albums as one."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from weakref import WeakValueDictionary

from sandbox.darkroom import WITH_FILE, Darkroom
from sandbox.problems import Refused
from sandbox.studio import FileOrder
from sandbox.telegram.acts import MAX_ALBUM, MediaKind, Writing
from sandbox.telegram.clients import Phones
from sandbox.telegram.payloads import Json
from sandbox.telegram.state import Bot
from sandbox.uploads import Arrived

_KIND_OF_MIME: tuple[tuple[str, MediaKind], ...] = (
    ("image/jpeg", "photo"),
    ("image/png", "photo"),
    ("video/mp4", "video"),
    ("audio/mpeg", "audio"),
)


@dataclass(frozen=True, slots=True)
class _Part:
    """One file to send."""

    kind: MediaKind
    order: FileOrder
    arrived: Arrived | None
    caption: str | None


class Posting:
    """Brings what a client wants to send into the shape the phones send."""

    def __init__(self, phones: Phones, darkroom: Darkroom) -> None:
        self._phones = phones
        self._darkroom = darkroom
        self._turns: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()

    async def post(self, bot: Bot, client: str, body: Writing, arrived: Sequence[Arrived] = ()) -> Json:
        """Send it, after everything this client sent before: a heavy photo is not overtaken by a text.

        Args:
            arrived: uploaded files; one is a message, several are an album.

        Returns:
            The receipt of the first message; `provider_ids` are all of them.

        Raises:
            Refused: it cannot be sent; says why.
        """
        parts = _parts(body, arrived)
        # The local name keeps the lock alive; the dictionary forgets it when nobody waits any more.
        turn = self._turns.setdefault((bot.account.id, client), asyncio.Lock())
        async with turn:
            return await self._post(bot, client, body, parts)

    async def _post(self, bot: Bot, client: str, body: Writing, parts: list[_Part]) -> Json:
        if not parts:
            receipt = self._phones.write(bot, client, body)
            return {**receipt, "provider_ids": [receipt["provider_id"]]}
        try:
            files = [
                await self._darkroom.picked(bot.account.id, part.kind, part.order, part.arrived, client)
                for part in parts
            ]
        except ValueError as exc:
            raise Refused("bad_base64", "file.base64 не читається: надішліть стандартний Base64.") from exc
        group = body.media_group_id
        if len(parts) > 1:
            group = group or str(secrets.randbits(62) | 1 << 61)
        receipts = []
        for part, file in zip(parts, files, strict=True):
            change = {"kind": part.kind, "text": part.caption, "media_group_id": group, "album": None}
            receipts.append(self._phones.write(bot, client, body.model_copy(update=change), file=file))
        result = {**receipts[0], "provider_ids": [receipt["provider_id"] for receipt in receipts]}
        return result if group is None else {**result, "media_group_id": group}


def _parts(body: Writing, arrived: Sequence[Arrived]) -> list[_Part]:
    """The files of a message, the caption with the first one unless each has its own."""
    if len(arrived) > MAX_ALBUM:
        raise Refused("album_too_long", f"В альбомі не більше {MAX_ALBUM} файлів: надішліть решту окремо.")
    if body.album is not None:
        return [
            _Part(item.kind, _order(item.file), None, item.caption or (body.text if number == 0 else None))
            for number, item in enumerate(body.album)
        ]
    if arrived:
        return [
            _Part(_kind(body, one), _order(body.file), one, body.text if number == 0 else None)
            for number, one in enumerate(arrived)
        ]
    if body.kind in WITH_FILE:
        return [_Part(cast("MediaKind", body.kind), _order(body.file), None, body.text)]
    return []


def _order(file: FileOrder | str | None) -> FileOrder:
    if isinstance(file, FileOrder):
        return file
    return FileOrder(name=file)


def _kind(body: Writing, arrived: Arrived) -> MediaKind:
    """The kind that was asked for, else what the app would make of such a file."""
    if body.kind in WITH_FILE:
        return cast("MediaKind", body.kind)
    mime = arrived.mime or ""
    return next((kind for begin, kind in _KIND_OF_MIME if mime.startswith(begin)), "document")
