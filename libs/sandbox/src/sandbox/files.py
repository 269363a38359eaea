"""Files the messengers keep: bytes on disk, and the ids and paths by which a bot knows them."""

import hashlib
import os
import threading
from base64 import urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path, PurePath

MAX_KEPT_BYTES = 2 * 1024**3
"""The oldest files are forgotten when all together are longer: a run of the sandbox stays bounded."""

MIMES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif",
    ".webp": "image/webp", ".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm",
    ".ogg": "audio/ogg", ".oga": "audio/ogg", ".mp3": "audio/mpeg", ".m4a": "audio/mp4",
    ".wav": "audio/x-wav", ".pdf": "application/pdf", ".zip": "application/zip", ".txt": "text/plain",
    ".html": "text/html",
    ".svg": "image/svg+xml", ".tgs": "application/x-tgsticker", ".json": "application/json",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Shelf:
    """How files of one kind are named. Source: shapes of ids and paths as bots receive them."""

    title: str
    id_prefix: str
    unique_prefix: str
    folder: str
    suffix: str


_SHELVES = {
    "photo": _Shelf("Photo", "AgACAgIAAxkBAAI", "AQAD", "photos", ".jpg"),
    "video": _Shelf("Video", "BAACAgIAAxkBAAI", "AgAD", "videos", ".mp4"),
    "animation": _Shelf("Animation", "CgACAgIAAxkBAAI", "AgAD", "animations", ".mp4"),
    "video_note": _Shelf("VideoNote", "DQACAgIAAxkBAAI", "AgAD", "video_notes", ".mp4"),
    "voice": _Shelf("VoiceNote", "AwACAgIAAxkBAAI", "AgAD", "voice", ".oga"),
    "audio": _Shelf("Audio", "CQACAgIAAxkBAAI", "AgAD", "music", ".mp3"),
    "document": _Shelf("Document", "BQACAgIAAxkBAAI", "AgAD", "documents", ""),
    "sticker": _Shelf("Sticker", "CAACAgIAAxkBAAI", "AgAD", "stickers", ".webp"),
    "thumbnail": _Shelf("Thumbnail", "AAMCAgADGQEAAg", "AQAD", "thumbnails", ".jpg"),
}


@dataclass(frozen=True, slots=True)
class Looks:
    """What is known of a file's content."""

    mime: str
    name: str | None = None
    width: int = 0
    height: int = 0
    duration: int = 0
    title: str | None = None
    performer: str | None = None
    animated: bool = False
    """A sticker drawn by an animation of vectors."""
    moving: bool = False
    """A sticker that is a video."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file as one bot knows it."""

    bot_id: int
    kind: str
    file_id: str
    unique_id: str
    file_path: str
    """The path `getFile` tells."""
    size: int
    looks: Looks
    place: Path
    """Where the bytes are."""
    thumbnail: "StoredFile | None" = None
    client: str | None = None
    """Whose dialogue it belongs to."""

    @property
    def title(self) -> str:
        """The kind in Telegram's error texts."""
        return _SHELVES[self.kind].title


class Files:
    """All files of all bots. Threads may keep files at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: OrderedDict[str, StoredFile] = OrderedDict()
        self._by_unique: dict[str, StoredFile] = {}
        self._by_path: dict[tuple[int, str], StoredFile] = {}
        self._bytes = 0
        self._count = 0
        self._lock = threading.Lock()

    def draft(self) -> Path:
        """A place for bytes that are just coming in; `keep` takes them, else the caller removes them."""
        return self._folder / f"draft-{os.urandom(8).hex()}"

    def keep(
        self,
        bot_id: int,
        kind: str,
        source: Path,
        looks: Looks,
        *,
        thumbnail: StoredFile | None = None,
        client: str | None = None,
    ) -> StoredFile:
        """Take over the bytes at `source`, which may be a hard link of others."""
        with self._lock:
            return self._keep(bot_id, kind, source, looks, thumbnail, client)

    def by_id(self, bot_id: int, file_id: str) -> StoredFile | None:
        """The file with this id; a bot knows only its own."""
        file = self._kept.get(file_id)
        return file if file is not None and file.bot_id == bot_id else None

    def by_path(self, bot_id: int, file_path: str) -> StoredFile | None:
        """The file behind a path that `getFile` told."""
        return self._by_path.get((bot_id, file_path))

    def by_unique(self, unique_id: str) -> StoredFile | None:
        """The file as the phone knows it."""
        return self._by_unique.get(unique_id)

    def clear(self) -> None:
        """Forget all files; the numbers go on."""
        with self._lock:
            for file_id in list(self._kept):
                self._forget(file_id)

    def _keep(
        self,
        bot_id: int,
        kind: str,
        source: Path,
        looks: Looks,
        thumbnail: StoredFile | None,
        client: str | None,
    ) -> StoredFile:
        self._count += 1
        shelf = _SHELVES[kind]
        digest = hashlib.sha256(f"{bot_id}:{kind}:{self._count}:{self._folder}".encode()).digest()
        body = urlsafe_b64encode(digest).decode().rstrip("=")
        suffix = PurePath(looks.name or "").suffix.lower()
        if kind != "document" or not suffix.removeprefix(".").isalnum() or not suffix.isascii():
            suffix = shelf.suffix
        place = self._folder / f"{self._count:08d}"
        source.rename(place)
        file = StoredFile(
            bot_id=bot_id,
            kind=kind,
            file_id=f"{shelf.id_prefix}{body}",
            unique_id=f"{shelf.unique_prefix}{body[:12]}",
            file_path=f"{shelf.folder}/file_{self._count}{suffix}",
            size=place.stat().st_size,
            looks=looks,
            place=place,
            thumbnail=thumbnail,
            client=client,
        )
        self._kept[file.file_id] = file
        self._by_unique[file.unique_id] = file
        self._by_path[bot_id, file.file_path] = file
        self._bytes += file.size
        while self._bytes > MAX_KEPT_BYTES and len(self._kept) > 1:
            self._forget(next(iter(self._kept)))
        return file

    def _forget(self, file_id: str) -> None:
        file = self._kept.pop(file_id)
        self._bytes -= file.size
        self._by_unique.pop(file.unique_id, None)
        self._by_path.pop((file.bot_id, file.file_path), None)
        file.place.unlink(missing_ok=True)


def guess_mime(name: str | None, default: str = "application/octet-stream") -> str:
    """The MIME type that Telegram reads from a file name."""
    return MIMES.get(PurePath(name or "").suffix.lower(), default)


def shelf_title(kind: str) -> str:
    """A kind in Telegram's error texts."""
    return _SHELVES[kind].title
