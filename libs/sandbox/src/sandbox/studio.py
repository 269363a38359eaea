"""Makes the files a client would have on a phone: photos, stickers, videos, recordings, documents.

Everything is real: it decodes, plays and has the size that was asked for. What was made once is kept as a
file and given out as a hard link, so a thousand clients may send the same photo. Making blocks: use threads.
"""

import base64
import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw
from pydantic import BaseModel, ConfigDict, Field

from sandbox import recordings

MAX_BYTES = 200 * 1024 * 1024
"""More than any limit that is to be tested."""
_PHOTO_BYTES_PER_PIXEL = 0.42
"""A phone's photo of 12 megapixels has about 5 MB."""
_MAX_PIXELS = 12_000_000
_QUALITIES = (90, 80, 65, 50, 35, 20)
_COMMENT_BYTES = 65_533
_TILE = 512

Generated = Literal[
    "photo", "png", "video", "animation", "video_note", "voice", "audio", "document", "sticker", "text"
]


class FileOrder(BaseModel):
    """The bytes of one file: given as base64, or made here.

    `{"base64": "…", "name": "a.pdf", "mime": "application/pdf"}`: exactly these bytes, with a name and a type
    as the sender claims them; or `{"generate": "photo", "bytes": 5000000}`: a real file of about that size
    (voice and text ignore it, stickers are padded). `gps` and `orientation` write EXIF into a photo.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str | None = Field(None, max_length=255, description="File name as the sender claims it")
    mime: str | None = Field(None, max_length=127, description="MIME type as the sender claims it")
    base64: str | None = None
    generate: Generated | None = Field(None, description="Left out: what fits the kind of the message")
    size_bytes: int | None = Field(None, alias="bytes", ge=1, le=MAX_BYTES, description="Size to make")
    width: int | None = Field(None, ge=1, le=20_000, description="Pixels; photos, stickers, videos")
    height: int | None = Field(None, ge=1, le=20_000, description="Pixels; photos, stickers, videos")
    duration: float | None = Field(None, gt=0, le=3600, description="Seconds; recordings")
    gps: bool = Field(False, description="Photo: write a place in Kyiv into its EXIF")
    orientation: int | None = Field(None, ge=1, le=8, description="Photo: EXIF orientation")

    def decoded(self) -> bytes | None:
        """The given bytes; None when the file is to be made.

        Raises:
            ValueError: it is no base64.
        """
        return None if self.base64 is None else base64.b64decode(self.base64, validate=True)


@dataclass(frozen=True, slots=True)
class Made:
    """A file made here."""

    path: Path
    name: str
    mime: str
    width: int = 0
    height: int = 0
    duration: float = 0.0


_Maker = Callable[[FileOrder, Path], Made]


class Studio:
    """Makes files on demand and remembers them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Made] = {}

    def make(self, what: Generated, order: FileOrder) -> Made:
        """The file for this order; blocks, so call it in a thread."""
        asked = order.model_dump_json(exclude={"name", "mime", "base64", "generate"})
        key = hashlib.sha256(f"{what}{asked}".encode()).hexdigest()[:24]
        known = self._made.get(key)
        if known is None or not known.path.exists():
            # Two threads may make the same file at once: each writes its own, the later one stays.
            draft = self._folder / f"{key}-{os.urandom(4).hex()}"
            known = self._made[key] = _MAKERS[what](order, draft)
        return known


def picture(width: int, height: int) -> Image.Image:
    """A landscape: sky, sun, hills; the same for the same size."""
    sky = Image.linear_gradient("L")
    shades = ((90, 0.5), (150, 0.33), (230, -0.12))  # red, green, blue: at the top, and its change downwards
    # Joined while small, then drawn out: one big picture in memory instead of five.
    image = Image.merge(
        "RGB", [sky.point([round(top + change * v) for v in range(256)]) for top, change in shades]
    )
    image = image.resize((width, height))
    draw = ImageDraw.Draw(image)
    radius = max(2, min(width, height) // 9)
    sun = (width * 0.72, height * 0.28)
    draw.ellipse((sun[0] - radius, sun[1] - radius, sun[0] + radius, sun[1] + radius), fill=(255, 214, 92))
    for share, color in ((0.55, (106, 153, 120)), (0.68, (73, 122, 92)), (0.82, (47, 88, 66))):
        top = height * share
        draw.ellipse((-width * 0.4, top, width * (share + 0.3), height * 2.2), fill=color)
        draw.ellipse((width * (share - 0.3), top + height * 0.06, width * 1.5, height * 2.3), fill=color)
    return image


def _photo(order: FileOrder, path: Path) -> Made:
    width, height = _photo_sides(order)
    image = picture(width, height)
    if order.size_bytes is not None:
        _add_grain(image)
    options: dict[str, bytes] = (
        {} if order.gps is False and order.orientation is None else {"exif": _exif(order)}
    )
    encoded = b""
    for quality in _QUALITIES if order.size_bytes is not None else (80,):
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=quality, **options)
        encoded = buffer.getvalue()
        if order.size_bytes is None or len(encoded) <= order.size_bytes:
            break
    path.write_bytes(_commented(encoded, order.size_bytes))
    return Made(path, "IMG_2026.jpg", "image/jpeg", width, height)


def _photo_sides(order: FileOrder) -> tuple[int, int]:
    """Sides as asked, or in the usual 4:3 and fitting the size in bytes."""
    if order.width is not None or order.height is not None:
        width = order.width or round((order.height or 3) * 4 / 3)
        return width, order.height or max(1, round(width * 3 / 4))
    if order.size_bytes is None:
        return 1280, 960
    pixels = min(_MAX_PIXELS, order.size_bytes / _PHOTO_BYTES_PER_PIXEL)
    height = max(1, int((pixels * 3 / 4) ** 0.5))
    return max(1, height * 4 // 3), height


def _add_grain(image: Image.Image) -> None:
    """Noise of a sensor, one tile over and over: what makes a photo heavy."""
    tile = Image.effect_noise((_TILE, _TILE), 70).convert("RGB")
    for left in range(0, image.width, _TILE):
        for top in range(0, image.height, _TILE):
            box = (left, top, min(left + _TILE, image.width), min(top + _TILE, image.height))
            part = tile.crop((0, 0, box[2] - left, box[3] - top))
            image.paste(Image.blend(image.crop(box), part, 0.35), box)


def _exif(order: FileOrder) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "Sandbox"
    if order.orientation is not None:
        exif[0x0112] = order.orientation
    if order.gps:
        exif.get_ifd(0x8825).update({1: "N", 2: (50.0, 27.0, 0.36), 3: "E", 4: (30.0, 31.0, 24.24)})
    return exif.tobytes()


def _commented(jpeg: bytes, size_bytes: int | None) -> bytes:
    """The same picture with comments after its first marker, as long as wanted."""
    missing = 0 if size_bytes is None else size_bytes - len(jpeg)
    comments = bytearray()
    while missing >= 4:
        length = min(missing - 4, _COMMENT_BYTES)
        comments += b"\xff\xfe" + struct.pack(">H", length + 2) + b" " * length
        missing -= length + 4
    return jpeg[:2] + bytes(comments) + jpeg[2:]


def _png(order: FileOrder, path: Path) -> Made:
    width, height = order.width or 800, order.height or 600
    picture(width, height).save(path, "PNG")
    _fill_up(path, order.size_bytes)
    return Made(path, "знімок.png", "image/png", width, height)


def _sticker(order: FileOrder, path: Path) -> Made:
    image = Image.new("RGBA", (order.width or 512, order.height or 512), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    side = min(image.size)
    draw.ellipse((side * 0.06, side * 0.06, side * 0.94, side * 0.94), fill=(255, 205, 66, 255))
    for x in (0.34, 0.66):
        draw.ellipse((side * (x - 0.06), side * 0.3, side * (x + 0.06), side * 0.46), fill=(84, 54, 16, 255))
    smile = (side * 0.26, side * 0.34, side * 0.74, side * 0.76)
    draw.arc(smile, 20, 160, fill=(84, 54, 16, 255), width=max(1, side // 20))
    image.save(path, "WEBP", quality=80)
    return Made(path, "sticker.webp", "image/webp", *image.size)


def _movie(name: str, sides: tuple[int, int], seconds: float) -> _Maker:
    def make(order: FileOrder, path: Path) -> Made:
        block = recordings.MACROBLOCK
        width, height = (
            min(1280, max(block, given // block * block))
            for given in (order.width or sides[0], order.height or sides[1])
        )
        duration = order.duration or seconds
        movie = recordings.movie(picture(width, height), duration)
        with path.open("wb") as file:
            file.write(movie)
            for piece in recordings.filler((order.size_bytes or 0) - len(movie)):
                file.write(piece)
        return Made(path, name, "video/mp4", width, height, duration)

    return make


def _voice(order: FileOrder, path: Path) -> Made:
    duration = order.duration or 7.0
    path.write_bytes(recordings.voice(duration))
    return Made(path, "voice.ogg", "audio/ogg", duration=duration)


def _audio(order: FileOrder, path: Path) -> Made:
    duration = order.duration or 15.0
    path.write_bytes(recordings.song(duration, order.size_bytes))
    return Made(path, "пісня.mp3", "audio/mpeg", duration=duration)


def _document(order: FileOrder, path: Path) -> Made:
    """A PDF of one page; a stream nobody shows makes it as long as wanted."""
    line = b"BT /F1 24 Tf 72 720 Td (Sandbox document) Tj ET"
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>\nstream\n%b\nendstream" % (len(line), line),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    filling = max(0, (order.size_bytes or 0) - 900)
    parts.append(b"<</Length %d>>\nstream\n%b\nendstream" % (filling, b" " * filling))
    body = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, part in enumerate(parts, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, part)
    table = len(body)
    body += b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
    for offset in offsets:
        body += b"%010d 00000 n \n" % offset
    body += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, table)
    path.write_bytes(body)
    _fill_up(path, order.size_bytes)
    return Made(path, "рахунок.pdf", "application/pdf")


def _text(_: FileOrder, path: Path) -> Made:
    path.write_text("Нотатка клієнта\n", encoding="utf-8")
    return Made(path, "нотатка.txt", "text/plain")


def _fill_up(path: Path, size_bytes: int | None) -> None:
    """Zeros behind the end, which readers of these formats ignore."""
    if size_bytes is not None and path.stat().st_size < size_bytes:
        os.truncate(path, size_bytes)


_MAKERS: dict[Generated, _Maker] = {
    "photo": _photo,
    "png": _png,
    "sticker": _sticker,
    "video": _movie("IMG_1.MP4", (368, 640), 5.0),
    "animation": _movie("кіт.mp4", (320, 240), 3.0),
    "video_note": _movie("note.mp4", (384, 384), 5.0),
    "voice": _voice,
    "audio": _audio,
    "document": _document,
    "text": _text,
}
