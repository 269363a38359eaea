"""Turns bytes into what a messenger keeps of them: sides, a thumbnail, a type; for clients and for bots."""

import asyncio
import os
import shutil
from dataclasses import replace
from pathlib import Path, PurePath

from PIL import Image

from sandbox.files import Files, Looks, StoredFile, guess_mime
from sandbox.studio import FileOrder, Generated, Studio, picture
from sandbox.uploads import Arrived

MAX_SIDES = 10_000
"""Width and height of a photo together, in pixels. Source: Bot API, sendPhoto."""
MAX_RATIO = 20
"""Source: Bot API, sendPhoto."""
MAX_DECODED_PIXELS = 50_000_000
"""A picture with more gets no thumbnail: this process stays small."""
THUMBNAIL_PIXELS = 320
FILM = frozenset({"video", "animation", "video_note"})
"""Kinds with moving pictures."""
NAMED = frozenset({"video", "animation", "audio", "document"})
"""Kinds that keep a file name."""
WITH_FILE = FILM | NAMED | {"photo", "voice", "sticker"}
"""Kinds of messages that carry a file."""

_MADE_FOR_SUFFIX: dict[str, Generated] = {
    ".jpg": "photo", ".jpeg": "photo", ".png": "png", ".mp4": "video", ".mp3": "audio", ".ogg": "voice",
    ".webp": "sticker", ".txt": "text",
}  # fmt: skip
_FOR_KIND: dict[str, Generated] = {
    "photo": "photo",
    "video": "video",
    "animation": "animation",
    "video_note": "video_note",
    "voice": "voice",
    "audio": "audio",
    "document": "document",
    "sticker": "sticker",
}


class BadPicture(Exception):
    """A bot's photo that Telegram cannot take; the text is Telegram's."""


class Darkroom:
    """Makes stored files out of orders and uploads."""

    def __init__(self, files: Files, studio: Studio) -> None:
        self._files = files
        self._studio = studio
        self._thumbnails: dict[Path, tuple[Path, tuple[int, int]]] = {}
        """Thumbnails of what the studio made, by its place: no photo of it is decoded twice."""

    async def picked(
        self, bot_id: int, kind: str, order: FileOrder, arrived: Arrived | None, client: str
    ) -> StoredFile:
        """What a client picked to send as `kind`: uploaded, given or made; nothing is refused.

        Raises:
            ValueError: the base64 of the order is none.
        """
        return await asyncio.to_thread(self._picked, bot_id, kind, order, arrived, client)

    async def drawn(self, bot_id: int, picture: bytes, client: str) -> StoredFile:
        """A picture the messenger itself has: a sticker of its shop."""
        return await asyncio.to_thread(self._drawn, bot_id, picture, client)

    async def received(
        self, bot_id: int, kind: str, arrived: Arrived, told: Looks, client: str | None
    ) -> StoredFile:
        """A bot's upload.

        Args:
            told: what the bot says of duration and sides.

        Raises:
            BadPicture: the photo is none, or its sides are beyond Telegram's limits.
        """
        return await asyncio.to_thread(self._received, bot_id, kind, arrived, told, client)

    def _drawn(self, bot_id: int, picture: bytes, client: str) -> StoredFile:
        place = self._files.draft()
        place.write_bytes(picture)
        width, height = _sides(place) or (0, 0)
        looks = Looks("image/png", None, width, height)
        return self._files.keep(bot_id, "sticker", place, looks, client=client)

    def _picked(
        self, bot_id: int, kind: str, order: FileOrder, arrived: Arrived | None, client: str
    ) -> StoredFile:
        place = self._files.draft()
        given = order.decoded()
        made: Looks
        origin: Path | None = None
        if arrived is not None:
            arrived.place.rename(place)
            name = order.name or arrived.name
            made = Looks(arrived.mime or guess_mime(name), name)
        elif given is not None:
            place.write_bytes(given)
            made = Looks(guess_mime(order.name), order.name)
        else:
            suffix = PurePath(order.name or "").suffix.lower()
            what = order.generate or (_MADE_FOR_SUFFIX.get(suffix) if kind == "document" else None)
            result = self._studio.make(what or _FOR_KIND[kind], order)
            origin = result.path
            os.link(origin, place)
            mime = result.mime if order.name is None else guess_mime(order.name, result.mime)
            made = Looks(
                mime,
                order.name or result.name,
                result.width,
                result.height,
                max(1, round(result.duration)) if result.duration else 0,
            )
        if order.mime is not None:
            made = replace(made, mime=order.mime)
        if given is not None or arrived is not None:
            width, height = _sides(place) or (order.width or 0, order.height or 0)
            made = replace(made, width=width, height=height, duration=round(order.duration or 0))
        return self._keep(bot_id, kind, place, made, client, origin)

    def _received(
        self, bot_id: int, kind: str, arrived: Arrived, told: Looks, client: str | None
    ) -> StoredFile:
        looks = replace(told, name=arrived.name)
        if kind == "photo":
            width, height = _sides(arrived.place) or (0, 0)
            if not width or not height:
                raise BadPicture("IMAGE_PROCESS_FAILED")
            if width + height > MAX_SIDES or max(width, height) > MAX_RATIO * min(width, height):
                raise BadPicture("PHOTO_INVALID_DIMENSIONS")
            looks = replace(looks, mime="image/jpeg", width=width, height=height)
        elif kind == "sticker":
            head = _head(arrived.place)
            if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
                width, height = _sides(arrived.place) or (512, 512)
                looks = replace(looks, mime="image/webp", width=width, height=height)
            elif head[:2] == b"\x1f\x8b" or head[:4] == b"\x1a\x45\xdf\xa3":
                animated = head[:2] == b"\x1f\x8b"
                mime = "application/x-tgsticker" if animated else "video/webm"
                looks = replace(
                    looks, mime=mime, width=512, height=512, animated=animated, moving=not animated
                )
            else:
                kind = "document"  # what is no sticker arrives as a file
        if kind == "document":
            looks = replace(looks, mime=guess_mime(arrived.name))
        return self._keep(bot_id, kind, arrived.place, looks, client)

    def _keep(
        self,
        bot_id: int,
        kind: str,
        place: Path,
        looks: Looks,
        client: str | None,
        origin: Path | None = None,
    ) -> StoredFile:
        thumbnail = None
        if kind == "photo" or kind in FILM:
            thumbnail = self._thumbnail(bot_id, place if kind == "photo" else None, looks, client, origin)
        if kind not in NAMED:
            looks = replace(looks, name=None)
        return self._files.keep(bot_id, kind, place, looks, thumbnail=thumbnail, client=client)

    def _thumbnail(
        self, bot_id: int, photo: Path | None, looks: Looks, client: str | None, origin: Path | None
    ) -> StoredFile | None:
        """A small JPEG of a photo; of a film, which nothing here can decode, a picture of its shape."""
        draft = self._files.draft()
        known = None if origin is None else self._thumbnails.get(origin)
        if known is None:
            sides = _draw_film(looks, draft) if photo is None else _shrink(photo, looks, draft)
            if sides is None:
                draft.unlink(missing_ok=True)
                return None
            if origin is not None:
                kept = origin.with_name(f"{origin.name}-thumbnail")
                shutil.copyfile(draft, kept)
                self._thumbnails[origin] = kept, sides
        else:
            shutil.copyfile(known[0], draft)
            sides = known[1]
        return self._files.keep(bot_id, "thumbnail", draft, Looks("image/jpeg", None, *sides), client=client)


def _draw_film(looks: Looks, target: Path) -> tuple[int, int]:
    share = THUMBNAIL_PIXELS / max(looks.width, looks.height, 1)
    sides = (max(1, round(looks.width * share)), max(1, round(looks.height * share)))
    image = picture(*(sides if looks.width and looks.height else (320, 240)))
    image.save(target, "JPEG", quality=70)
    return image.size


def _shrink(photo: Path, looks: Looks, target: Path) -> tuple[int, int] | None:
    """Sides of the thumbnail written; None when the photo cannot be read."""
    if looks.width * looks.height > MAX_DECODED_PIXELS:
        return None
    small = (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS)
    try:
        with Image.open(photo) as full:
            full.draft("RGB", small)
            full.thumbnail(small)
            image = full.convert("RGB")
            image.save(target, "JPEG", quality=70)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    return image.size


def _sides(place: Path) -> tuple[int, int] | None:
    """Sides of a picture in pixels, from its header; None when it is none."""
    try:
        with Image.open(place) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def _head(place: Path) -> bytes:
    with place.open("rb") as file:
        return file.read(16)
