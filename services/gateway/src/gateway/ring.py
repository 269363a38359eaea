"""The last minutes of the live stream in memory: what sockets read from and resume from. Pure."""

from __future__ import annotations

import json
import zlib
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_EVENTS = 50_000
MAX_BYTES = 24 * 1024 * 1024
"""What the ring may hold in memory. Older parts lie compressed, about one eighth of their size."""
HOT_BYTES = 2 * 1024 * 1024
"""The newest part, uncompressed: every socket that keeps up reads only here."""
SEGMENT_BYTES = 256 * 1024
ENTRY_OVERHEAD_BYTES = 400
BEFORE_ALL = -1
"""Where somebody stands who has seen nothing of a stream that has just begun."""
_DECODED_SEGMENTS = 4


@dataclass(slots=True)
class Push:
    """One event as it goes out, already written as JSON, and who may have it.

    `channel_id` None: everybody of the tenant; `user_id`: only that user.
    """

    tenant_id: str
    channel_id: str | None
    user_id: str | None
    data: str
    traceparent: str | None = None
    received_at: float | None = None
    """Seconds of the epoch when the webhook or call came in; only on the first event of a change."""
    measured: bool = False
    """Whether its way to the first socket was measured."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One envelope of the stream: its offset, its id, and what it brings."""

    pos: int
    id: str
    at: float
    pushes: tuple[Push, ...]
    size: int = field(default=0)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the stream: everything up to and with `pos` was looked at."""

    pos: int
    id: str


@dataclass(frozen=True, slots=True)
class _Segment:
    first: int
    last: int
    last_at: float
    events: int
    blob: bytes


class Ring:
    """Entries in order of `pos`, oldest dropped first.

    Offsets of a stream rise but need not be dense: the broker may use some for itself. That nothing is
    missing between two entries is the reader's promise, which calls `reset` when it cannot give it.
    """

    def __init__(
        self,
        epoch: str = "",
        *,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
        hot_bytes: int = HOT_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._hot_limit = hot_bytes
        self._segment_bytes = segment_bytes
        self.reset(epoch)

    def reset(self, epoch: str) -> None:
        """Forget everything: the stream is another one, or a part of it was missed."""
        self.epoch = epoch
        self._sealed: deque[_Segment] = deque()
        self._hot: deque[Entry] = deque()
        self._decoded: OrderedDict[int, list[Entry]] = OrderedDict()
        self._events = 0
        self._hot_bytes = 0
        self._sealed_bytes = 0

    @property
    def last(self) -> Position | None:
        return Position(self._hot[-1].pos, self._hot[-1].id) if self._hot else None

    @property
    def size_bytes(self) -> int:
        return self._hot_bytes + self._sealed_bytes

    @property
    def events(self) -> int:
        return self._events

    def append(self, entry: Entry) -> None:
        """Add the next entry of the stream.

        Raises:
            ValueError: its `pos` is not above the last one.
        """
        if self._hot and entry.pos <= self._hot[-1].pos:
            raise ValueError(f"offset {entry.pos} after {self._hot[-1].pos}")
        size = ENTRY_OVERHEAD_BYTES + sum(ENTRY_OVERHEAD_BYTES // 2 + len(push.data) for push in entry.pushes)
        self._hot.append(Entry(entry.pos, entry.id, entry.at, entry.pushes, size))
        self._hot_bytes += size
        self._events += len(entry.pushes)
        while self._hot_bytes > self._hot_limit and len(self._hot) > 1:
            self._seal()
        while (self._events > self._max_events or self.size_bytes > self._max_bytes) and self._sealed:
            dropped = self._sealed.popleft()
            self._events -= dropped.events
            self._sealed_bytes -= len(dropped.blob)
            self._decoded.pop(dropped.first, None)
        while self._events > self._max_events and len(self._hot) > 1:
            old = self._hot.popleft()
            self._events -= len(old.pushes)
            self._hot_bytes -= old.size

    def holds(self, pos: int, id_: str) -> bool:
        """Whether the entry at `pos` is here and has this id: then a resume from it misses nothing.

        Before the first entry of a stream there is none; who stands there needs everything from its start.
        """
        if pos == BEFORE_ALL and not id_:
            return self._first_pos() == 0
        entries = self._part_with(pos)
        at = bisect_left(entries, pos, key=_pos_of)
        return at < len(entries) and entries[at].pos == pos and entries[at].id == id_

    def has_after(self, pos: int) -> bool:
        """Whether every entry after `pos` is still here (there may be none)."""
        first = self._first_pos()
        return first is not None and first - 1 <= pos

    def after(self, pos: int, max_bytes: int) -> list[Entry]:
        """The entries following `pos`, in order, as many as fit into `max_bytes` but at least one."""
        found: list[Entry] = []
        size = 0
        for entry in self._from(pos + 1):
            size += entry.size
            if found and size > max_bytes:
                break
            found.append(entry)
        return found

    def position_before(self, at: float) -> Position | None:
        """The newest position whose entry is not younger than `at`.

        If all are younger, the place before the oldest one, which has no id.
        """
        for entry in reversed(self._hot):
            if entry.at <= at:
                return Position(entry.pos, entry.id)
        for segment in reversed(self._sealed):
            for entry in reversed(self._decode(segment)):
                if entry.at <= at:
                    return Position(entry.pos, entry.id)
        first = self._first_pos()
        return None if first is None else Position(first - 1, "")

    def _first_pos(self) -> int | None:
        if self._sealed:
            return self._sealed[0].first
        return self._hot[0].pos if self._hot else None

    def _part_with(self, pos: int) -> list[Entry]:
        if self._hot and pos >= self._hot[0].pos:
            return list(self._hot)
        for segment in self._sealed:
            if segment.first <= pos <= segment.last:
                return self._decode(segment)
        return []

    def _from(self, pos: int) -> Iterator[Entry]:
        # Sockets that keep up ask for the last few: walk back from the end instead of over everything.
        if self._hot and pos > self._hot[0].pos:
            tail: list[Entry] = []
            for entry in reversed(self._hot):
                if entry.pos < pos:
                    break
                tail.append(entry)
            yield from reversed(tail)
            return
        for segment in self._sealed:
            if segment.last >= pos:
                yield from (entry for entry in self._decode(segment) if entry.pos >= pos)
        yield from (entry for entry in self._hot if entry.pos >= pos)

    def _seal(self) -> None:
        taken: list[Entry] = []
        size = 0
        while len(self._hot) > 1 and size < self._segment_bytes:
            entry = self._hot.popleft()
            taken.append(entry)
            size += entry.size
        plain = [
            (e.pos, e.id, e.at, e.size, [(p.tenant_id, p.channel_id, p.user_id, p.data) for p in e.pushes])
            for e in taken
        ]
        blob = zlib.compress(json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode(), 1)
        self._hot_bytes -= size
        self._sealed_bytes += len(blob)
        events = sum(len(entry.pushes) for entry in taken)
        self._sealed.append(_Segment(taken[0].pos, taken[-1].pos, taken[-1].at, events, blob))

    def _decode(self, segment: _Segment) -> list[Entry]:
        # Many sockets resume from the same place after an outage: the last few stay decoded.
        entries = self._decoded.pop(segment.first, None)
        if entries is None:
            entries = [
                Entry(pos, id_, at, tuple(Push(t, c, u, d, measured=True) for t, c, u, d in pushes), size)
                for pos, id_, at, size, pushes in json.loads(zlib.decompress(segment.blob))
            ]
        self._decoded[segment.first] = entries
        if len(self._decoded) > _DECODED_SEGMENTS:
            self._decoded.popitem(last=False)
        return entries


def _pos_of(entry: Entry) -> int:
    return entry.pos
