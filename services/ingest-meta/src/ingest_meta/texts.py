"""A text within Meta's limits: cut between paragraphs, lines or words, never inside a character. Pure.

Source: fact sheet 2.4: Messenger counts characters, Instagram bytes of UTF-8.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ingest_meta.payloads import FACEBOOK_TEXT_MAX_CHARS, INSTAGRAM_TEXT_MAX_BYTES

_BORDERS: Final = ("\n\n", "\n", " ")
"""Where a long text is cut, the best first: between paragraphs, lines, words."""
_JOINER: Final = "\u200d"
_CHAR_MAX: Final = 32
"""Of signs that are one character together; a longer row of marks is no character of anybody's."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much text one message takes."""

    size: int
    counts_bytes: bool

    def holds(self, said: str) -> bool:
        return self._measure(said) <= self.size

    def fitting(self, said: str) -> int:
        """How many signs from the start fit."""
        if not self.counts_bytes:
            return min(len(said), self.size)
        return len(said.encode()[: self.size].decode("utf-8", "ignore"))

    def _measure(self, said: str) -> int:
        return len(said.encode()) if self.counts_bytes else len(said)


MESSENGER_ROOM: Final = Room(FACEBOOK_TEXT_MAX_CHARS, counts_bytes=False)
INSTAGRAM_ROOM: Final = Room(INSTAGRAM_TEXT_MAX_BYTES, counts_bytes=True)


def split_text(said: str, room: Room) -> list[str]:
    """Parts that each fit; blanks at a cut go."""
    # Half a surrogate pair cannot be written at all.
    rest = said.encode("utf-8", "replace").decode().strip()
    parts = []
    while rest and not room.holds(rest):
        fits = _border(rest, room.fitting(rest))
        part = rest[:fits].rstrip()
        if part:
            parts.append(part)
        rest = rest[fits:].lstrip()
    return [*parts, rest] if rest else parts


def cut_end(said: str, max_chars: int) -> tuple[str, str]:
    """A text that is too long beside buttons: what goes before, and its end that fits beside them."""
    least = len(said) - max_chars
    if least <= 0:
        return "", said
    for border in _BORDERS:
        at = said.find(border, least)
        if 0 <= at < len(said) - max_chars // 2:
            return said[:at].rstrip(), said[at:].lstrip()
    at = next(at for at in _whole(said, range(least, len(said) + 1)))
    return said[:at].rstrip(), said[at:].lstrip()


def shortened(said: str, max_chars: int) -> str:
    """One line of at most so many characters, cut after a word if that leaves enough to read."""
    plain = " ".join(said.split())
    if len(plain) <= max_chars:
        return plain
    kept = plain[: next(_whole(plain, range(max_chars - 1, 0, -1)), max_chars - 1)]
    words_end = kept.rfind(" ")
    return f"{(kept[:words_end] if words_end > max_chars // 2 else kept).rstrip(' ,.:;–—-')}…"


def _border(said: str, fits: int) -> int:
    for border in _BORDERS:
        # A border right after what fits is a good cut too. In the first half it would make crumbs.
        at = said.rfind(border, fits // 2, fits + len(border))
        if at > 0:
            return at
    return next(_whole(said, range(fits, max(1, fits - _CHAR_MAX) - 1, -1)), fits)


def _whole(said: str, places: range) -> Iterator[int]:
    """Those of the places that lie between two characters, not inside one."""
    return (at for at in places if not _is_inside(said, at))


def _is_inside(said: str, at: int) -> bool:
    """Whether a cut here would tear a sign that is written with several, e.g. a flag or a family."""
    if not 0 < at < len(said):
        return False
    before, after = said[at - 1], said[at]
    if _JOINER in (before, after) or unicodedata.category(after) in {"Mn", "Me", "Mc"}:
        return True
    # Skin, and the letters of flags of regions.
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True
    if not _is_flag_half(after):
        return before == "\r" and after == "\n"
    halves = 0
    while halves < at and _is_flag_half(said[at - 1 - halves]):
        halves += 1
    return halves % 2 == 1


def _is_flag_half(sign: str) -> bool:
    return "\U0001f1e6" <= sign <= "\U0001f1ff"
