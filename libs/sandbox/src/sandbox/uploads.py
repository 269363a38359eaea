"""Files that come in as multipart forms: streamed to disk, counted, never whole in memory."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import BodyPartReader, web

MAX_FIELDS_BYTES = 4 * 1024 * 1024
"""All fields of a form that are no files, together."""
_CHUNK_BYTES = 256 * 1024


class TooBig(Exception):
    """A file or the fields of the form are over the limit; the rest of the body was read and dropped."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file that came in over HTTP: where its bytes are, and what the sender says of it."""

    place: Path
    name: str | None
    mime: str | None
    size: int


@dataclass(slots=True)
class Form:
    """The fields of a form and its files, by the name of their part."""

    values: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, Arrived]] = field(default_factory=list)

    def file(self, name: str) -> Arrived | None:
        """The file in the part of this name."""
        return next((arrived for part, arrived in self.files if part == name), None)


@asynccontextmanager
async def form_of(request: web.Request, draft: Callable[[], Path], max_bytes: int) -> AsyncIterator[Form]:
    """The form of a request; files that nobody took are removed at the end.

    Args:
        draft: gives a place for the bytes of one file.
        max_bytes: longest file.

    Raises:
        TooBig: a file is longer, or the fields together are over `MAX_FIELDS_BYTES`.
        ValueError: the body is no such form.
    """
    form = Form()
    try:
        too_big = False
        left = MAX_FIELDS_BYTES
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise ValueError("a form within a form")  # noqa: TRY004  # one refusal for all bad bodies
            if part.filename is None:
                value = await _field(part, left)
                left -= len(value)
                too_big = too_big or left < 0
                form.values[part.name or ""] = value[:MAX_FIELDS_BYTES].decode(errors="replace")
                continue
            arrived = await _file(part, draft(), max_bytes)
            form.files.append((part.name or "", arrived))
            too_big = too_big or arrived.size > max_bytes
        if too_big:
            raise TooBig
        yield form
    finally:
        for _, arrived in form.files:
            arrived.place.unlink(missing_ok=True)


async def _field(part: BodyPartReader, left: int) -> bytes:
    value = bytearray()
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        if len(value) <= left:
            value += chunk
    return bytes(value)


async def _file(part: BodyPartReader, place: Path, max_bytes: int) -> Arrived:
    """Read all of it, as a proxy would, but keep no more than one byte over the limit."""
    size = 0
    with place.open("wb") as file:  # the page cache takes the pieces: they are small
        while chunk := await part.read_chunk(_CHUNK_BYTES):
            if size <= max_bytes:
                file.write(chunk)
            size += len(chunk)
    return Arrived(place, part.filename, part.headers.get("Content-Type"), size)


@contextmanager
def files_folder(state_file: Path | None) -> Iterator[Path]:
    """An empty folder that goes with its user, beside the state file if there is one; the owner's only.

    What a killed process left behind beside its state file is removed at the next start.
    """
    if state_file is None:
        with tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    folder = state_file.with_suffix(".files")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
