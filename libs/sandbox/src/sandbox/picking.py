"""What a client picked to send, the same in every messenger: words, files, captions, turns."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

from pydantic import BaseModel, ConfigDict, Field

from sandbox.darkroom import Darkroom
from sandbox.files import StoredFile
from sandbox.problems import Refused
from sandbox.studio import FileOrder
from sandbox.uploads import Arrived

MAX_ALBUM = 10
"""So many files go at once. Source: Bot API, sendMediaGroup; the other apps take at least as many."""

Json = dict[str, object]


class Body(BaseModel):
    """Body of a control call; `name` names the client at the first use or renames him."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str | None = Field(None, min_length=1, max_length=128)


class Sharing(Body):
    """The client shares his own number, or with `own: false` somebody else's card."""

    own: bool = True
    phone_number: str | None = None


class Item(Protocol):
    """One file of several picked at once."""

    @property
    def kind(self) -> str: ...
    @property
    def file(self) -> FileOrder | str | None: ...
    @property
    def caption(self) -> str | None: ...


class Written(Protocol):
    """What a client writes, as far as files go."""

    @property
    def kind(self) -> str: ...
    @property
    def text(self) -> str | None: ...
    @property
    def file(self) -> FileOrder | str | None: ...
    @property
    def album(self) -> Sequence[Item] | None: ...


@dataclass(frozen=True, slots=True)
class Part:
    """One file to send."""

    kind: str
    order: FileOrder
    arrived: Arrived | None
    caption: str | None


@dataclass(frozen=True, slots=True)
class Picker:
    """How an app makes messages of picked files.

    Args:
        with_file: kinds of messages that carry a file.
        kind_of_mime: what the app makes of a file, by the beginning of its type; anything else is a document.
        together: how a refusal calls several files, «В альбомі» or «За раз».
    """

    with_file: frozenset[str]
    kind_of_mime: tuple[tuple[str, str], ...]
    together: str

    def parts(self, body: Written, arrived: Sequence[Arrived]) -> list[Part]:
        """The files of a message, the caption with the first one unless each has its own.

        Raises:
            Refused: they are too many.
        """
        if len(arrived) > MAX_ALBUM:
            detail = f"{self.together} не більше {MAX_ALBUM} файлів: надішліть решту окремо."
            raise Refused("album_too_long", detail)
        if body.album is not None:
            return [
                Part(item.kind, _order(item.file), None, item.caption or (body.text if number == 0 else None))
                for number, item in enumerate(body.album)
            ]
        if arrived:
            return [
                Part(self._kind(body, one), _order(body.file), one, body.text if number == 0 else None)
                for number, one in enumerate(arrived)
            ]
        if body.kind in self.with_file:
            return [Part(body.kind, _order(body.file), None, body.text)]
        return []

    def _kind(self, body: Written, arrived: Arrived) -> str:
        """The kind that was asked for, else what the app would make of such a file."""
        if body.kind in self.with_file:
            return body.kind
        mime = arrived.mime or ""
        return next((kind for begin, kind in self.kind_of_mime if mime.startswith(begin)), "document")


class Turns:
    """Each client sends one thing after the other: a heavy photo is not overtaken by a text."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[object, str], asyncio.Lock] = WeakValueDictionary()

    def of(self, line: object, client: str) -> asyncio.Lock:
        """The lock of this client; it is forgotten when nobody holds it or waits any more."""
        return self._locks.setdefault((line, client), asyncio.Lock())


async def file_of(darkroom: Darkroom, files_id: int, part: Part, client: str) -> StoredFile:
    """The stored file of a part.

    Raises:
        Refused: its base64 cannot be read.
    """
    try:
        return await darkroom.picked(files_id, part.kind, part.order, part.arrived, client)
    except ValueError as exc:
        raise Refused("bad_base64", "file.base64 не читається: надішліть стандартний Base64.") from exc


def receipt_of(receipts: Sequence[Json]) -> Json:
    """The receipt of the first message; `provider_ids` are all of them."""
    return {**receipts[0], "provider_ids": [receipt["provider_id"] for receipt in receipts]}


def one_text(data: object, implied: Mapping[str, str]) -> object:
    """A body before it is checked: one text, and the kind that a key of its own implies.

    Raises:
        ValueError: it has a text and a caption.
    """
    if not isinstance(data, dict):
        return data
    if "text" in data and "caption" in data:
        raise ValueError("give text or caption, they are the same")
    kind = next((kind for key, kind in implied.items() if key in data), None)
    return data if kind is None or "kind" in data else {**data, "kind": kind}


def _order(file: FileOrder | str | None) -> FileOrder:
    return file if isinstance(file, FileOrder) else FileOrder(name=file)
