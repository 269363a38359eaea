"""Range headers: which part of a file somebody asks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass

HEADER_MAX_CHARS = 100


class RangeRefused(Exception):
    """The file has no such part, or several parts were asked for: answer 416."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes from `start` up to but not including `end`."""

    start: int
    end: int


def part_of(header: str | None, size: int) -> Part | None:
    """The part a Range header asks for; None for the whole file.

    Source: RFC 9110, 14.1.2 and 14.2: what is no range of bytes counts for nothing.

    Args:
        header: as it came.
        size: of the file, bytes.

    Raises:
        RangeRefused: nothing of the file lies in it, or it names several parts: players and downloads ask
            for one, a thousand parts only cost.
    """
    unit, _, wanted = (header or "").partition("=")
    if unit.strip().lower() != "bytes":
        return None
    if "," in wanted or len(wanted) > HEADER_MAX_CHARS:
        raise RangeRefused("one part at a time")
    first, dash, last = (piece.strip() for piece in wanted.partition("-"))
    if not dash or not (first + last).isdecimal() or not (first + last).isascii():
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), size if not last else min(int(last) + 1, size)
        if last and int(last) < start:
            return None
    if start >= end:
        raise RangeRefused("nothing of the file lies there")
    return Part(start, end)
