"""A client sends something: texts at once, files after they were made or uploaded, several one by one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from weakref import WeakValueDictionary

from sandbox.darkroom import Darkroom
from sandbox.files import StoredFile
from sandbox.problems import Refused
from sandbox.studio import FileOrder
from sandbox.uploads import Arrived
from sandbox.viber.acts import MAX_ALBUM, MediaKind, Writing
from sandbox.viber.clients import ViberPhones
from sandbox.viber.downloads import ViberDownloads
from sandbox.viber.state import Bot, Json

WITH_FILE = frozenset({"photo", "video", "document"})
_KIND_OF_MIME: tuple[tuple[str, MediaKind], ...] = (
    ("image/jpeg", "photo"),
    ("image/png", "photo"),
    ("video/mp4", "video"),
)


@dataclass(frozen=True, slots=True)
class _Part:
    """One file to send."""

    kind: MediaKind
    order: FileOrder
    arrived: Arrived | None
    caption: str | None


class ViberPosting:
    """Brings what a client wants to send into the shape the phones send."""

    def __init__(self, phones: ViberPhones, darkroom: Darkroom, downloads: ViberDownloads) -> None:
        self._phones = phones
        self._darkroom = darkroom
        self._downloads = downloads
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def post(self, bot: Bot, client: str, body: Writing, arrived: Sequence[Arrived] = ()) -> Json:
        """Send it, after everything this client sent before.

        Args:
            arrived: uploaded files; each becomes a message of its own, as with Viber.

        Returns:
            The receipt of the first message; `provider_ids` are all of them.

        Raises:
            Refused: it cannot be sent; says why.
        """
        parts = _parts(body, arrived)
        # The local name keeps the lock alive; the dictionary forgets it when nobody waits any more.
        turn = self._turns.setdefault((bot.account.uri, client), asyncio.Lock())
        async with turn:
            return await self._post(bot, client, body, parts)

    async def _post(self, bot: Bot, client: str, body: Writing, parts: list[_Part]) -> Json:
        if not parts:
            file = await self._sticker(bot, client, body) if body.kind == "sticker" else None
            receipt = self._phones.write(bot, client, body, file=file)
            return {**receipt, "provider_ids": [receipt["provider_id"]]}
        number = bot.account.number
        try:
            files = [
                await self._darkroom.picked(number, part.kind, part.order, part.arrived, client)
                for part in parts
            ]
        except ValueError as exc:
            raise Refused("bad_base64", "file.base64 не читається: надішліть стандартний Base64.") from exc
        receipts = []
        for part, file in zip(parts, files, strict=True):
            change = {"kind": part.kind, "text": part.caption, "album": None}
            receipts.append(self._phones.write(bot, client, body.model_copy(update=change), file=file))
        return {**receipts[0], "provider_ids": [receipt["provider_id"] for receipt in receipts]}

    async def _sticker(self, bot: Bot, client: str, body: Writing) -> StoredFile:
        """The picture of a sticker as the phone shows it."""
        return await self._darkroom.drawn(
            bot.account.number, self._downloads.sticker_picture(body.sticker_id), client
        )


def _parts(body: Writing, arrived: Sequence[Arrived]) -> list[_Part]:
    """The files of a message, the caption with the first one unless each has its own."""
    if len(arrived) > MAX_ALBUM:
        raise Refused("album_too_long", f"За раз не більше {MAX_ALBUM} файлів: надішліть решту окремо.")
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
    return file if isinstance(file, FileOrder) else FileOrder(name=file)


def _kind(body: Writing, arrived: Arrived) -> MediaKind:
    """The kind that was asked for, else what the app would make of such a file."""
    if body.kind in WITH_FILE:
        return cast("MediaKind", body.kind)
    mime = arrived.mime or ""
    return next((kind for begin, kind in _KIND_OF_MIME if mime.startswith(begin)), "document")
