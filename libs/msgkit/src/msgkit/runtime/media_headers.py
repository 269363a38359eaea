"""What a file is by its own bytes: a closed table of types, and the measures written in video headers.

A table of our own because it is a list of what we let a browser show: a library that knows a thousand types
would have to be cut down to it, and again with each release.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

UNKNOWN = "application/octet-stream"
"""Also SVG, HTML, XML and scripts: nothing a browser could run has a type here."""

HEAD_BYTES = 4096
_TAIL_BYTES = 256 * 1024
_BOXES_MAX = 10_000
_OOXML = "application/vnd.openxmlformats-officedocument"
_OFFICE_PARTS = (
    (b"word/document.xml", f"{_OOXML}.wordprocessingml.document"),
    (b"xl/workbook.xml", f"{_OOXML}.spreadsheetml.sheet"),
    (b"ppt/presentation.xml", f"{_OOXML}.presentationml.presentation"),
)
_STARTS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"fLaC", "audio/flac"),
    (b"#!AMR", "audio/amr"),
    (b"ID3", "audio/mpeg"),
)
_BRANDS = (
    # Source: ISO/IEC 14496-12 (ftyp); registered brands: mp4ra.org/registered-types/brands
    ({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}, "image/heic"),
    ({b"avif", b"avis"}, "image/avif"),
    ({b"M4A ", b"M4B "}, "audio/mp4"),
    ({b"qt  "}, "video/quicktime"),
)


@dataclass(frozen=True, slots=True)
class VideoHeader:
    """What the header of an MP4 or QuickTime file says."""

    duration_s: float | None
    width: int | None
    """Pixels as shown, after the track's rotation."""
    height: int | None
    has_video: bool


def type_of(path: Path) -> str:
    """The MIME type by magic bytes; UNKNOWN for all that is not in the table."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if head[:4] == b"PK\x03\x04":
            return _type_of_zip(file, head)
        if head[:4] == b"PK\x05\x06":
            return "application/zip"
    for start, mime in _STARTS:
        if head.startswith(start):
            return mime
    return _type_of_container(head) or _type_of_boxes(head) or _type_of_frames(head) or UNKNOWN


def read_video(path: Path) -> VideoHeader:
    """Duration and size from an MP4's `moov`, wherever in the file it stands.

    Source: ISO/IEC 14496-12: mvhd, tkhd, hdlr; the QuickTime file format has the same boxes.

    Raises:
        ValueError: there is no such header.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        moov = next((box for box in _boxes(file, 0, end) if box[0] == b"moov"), None)
        if moov is None:
            raise ValueError("the file has no moov box")
        duration, width, height, has_video = None, None, None, False
        for kind, start, stop in _boxes(file, moov[1], moov[2]):
            if kind == b"mvhd":
                duration = _duration(_read(file, start, min(stop, start + 32)))
            elif kind == b"trak":
                track = _track(file, start, stop)
                if track.has_video and not has_video:
                    has_video, width, height = True, track.width, track.height
    return VideoHeader(duration, width, height, has_video)


def _type_of_zip(file: BinaryIO, head: bytes) -> str:
    # The list of names stands at the end; nothing is unpacked.
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - _TAIL_BYTES))
    names = head + file.read(_TAIL_BYTES)
    if b"[Content_Types].xml" in names:
        for part, mime in _OFFICE_PARTS:
            if part in names:
                return mime
    return "application/zip"


def _type_of_container(head: bytes) -> str | None:
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12])
    if head[:4] == b"OggS":
        return "video/ogg" if b"\x80theora" in head[:512] else "audio/ogg"
    if head[:4] == b"\x1aE\xdf\xa3" and b"webm" in head[:64]:
        return "video/webm"  # Matroska proper may hold anything; browsers play WebM only
    return None


def _type_of_boxes(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        length = min(int.from_bytes(head[:4], "big"), 256)
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
        for known, mime in _BRANDS:
            if brands[0] in known:
                return mime
        if brands[0].startswith((b"3gp", b"3g2")):
            return "video/3gpp"
        for known, mime in _BRANDS[:2]:
            if known.intersection(brands):
                return mime
        return "video/mp4"
    if head[4:8] in {b"moov", b"wide", b"mdat"}:
        return "video/quicktime"  # older than ftyp
    return None


def _type_of_frames(head: bytes) -> str | None:
    """Audio without a container: a frame header of MPEG audio or ADTS.

    Source: ISO/IEC 11172-3 2.4.1.3, ISO/IEC 13818-7 6.2.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    return "audio/mpeg" if version != 1 and layer == 1 and bitrate not in {0, 15} and rate != 3 else None


def _track(file: BinaryIO, start: int, stop: int) -> VideoHeader:
    width, height, has_video = None, None, False
    for kind, at, end in _boxes(file, start, stop):
        if kind == b"tkhd":
            width, height = _measures(_read(file, at, min(end, at + 104)))
        elif kind == b"mdia":
            for inner, inner_at, inner_end in _boxes(file, at, end):
                if inner == b"hdlr":
                    has_video = _read(file, inner_at, min(inner_end, inner_at + 12))[8:12] == b"vide"
    return VideoHeader(None, width, height, has_video)


def _duration(mvhd: bytes) -> float | None:
    try:
        if mvhd[0] == 1:
            scale, length = struct.unpack_from(">IQ", mvhd, 20)
            unknown = 2**64 - 1
        else:
            scale, length = struct.unpack_from(">II", mvhd, 12)
            unknown = 2**32 - 1
    except (struct.error, IndexError) as exc:
        raise ValueError("the mvhd box is too short") from exc
    return round(length / scale, 3) if scale and length not in {0, unknown} else None


def _measures(tkhd: bytes) -> tuple[int | None, int | None]:
    try:
        matrix = 52 if tkhd[0] == 1 else 40
        a, b = struct.unpack_from(">ii", tkhd, matrix)
        width, height = (side >> 16 for side in struct.unpack_from(">II", tkhd, matrix + 36))
    except (struct.error, IndexError) as exc:
        raise ValueError("the tkhd box is too short") from exc
    if not (width and height):
        return None, None
    # A quarter turn: phones film upright and say so here.
    return (height, width) if a == 0 and b != 0 else (width, height)


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, first byte of the content, byte after it) of the boxes between two places."""
    for _ in range(_BOXES_MAX):
        if stop - start < 8:
            return
        head = _read(file, start, min(stop, start + 16))
        length, kind, skipped = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1 and len(head) == 16:
            length, skipped = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:
            length = stop - start
        if length < skipped or start + length > stop:
            raise ValueError("a box is longer than the file")
        yield kind, start + skipped, start + length
        start += length


def _read(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    return file.read(stop - start)
