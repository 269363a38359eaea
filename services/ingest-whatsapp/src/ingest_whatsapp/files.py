"""How WhatsApp takes a file of ours: as what it is shown, and which type it is said to be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ingest_whatsapp.payloads import AUDIO_MAX_BYTES, DOCUMENT_MAX_BYTES, IMAGE_MAX_BYTES, VIDEO_MAX_BYTES
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundMedia
from msgkit.contracts.words import FailureCode, MessageKind
from msgkit.runtime.file_names import clean_name

STICKER_MAX_BYTES: Final = 100_000
"""One that stands still; an animated one may have 500 KB, and we do not know which it is. Source: fact sheet
2.4."""

_IMAGES = frozenset({"image/jpeg", "image/png"})
_VIDEOS = frozenset({"video/mp4", "video/3gpp"})
_SOUNDS = frozenset({"audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg"})
_BY_ENDING: Final = {
    **dict.fromkeys(("txt", "csv", "log", "md"), "text/plain"),
    "doc": "application/msword",
    "xls": "application/vnd.ms-excel",
    "ppt": "application/vnd.ms-powerpoint",
}
"""What a file is said to be whose bytes told us nothing: the upload wants a type it knows."""
_UNTOLD = "application/octet-stream"
_OPUS_NAMES = (".opus",)


class FileKind(StrEnum):
    """How a file is shown on the phone; the word of `type`."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"
    STICKER = "sticker"


@dataclass(frozen=True, slots=True)
class File:
    """A file of an answer. Its bytes lie in the object store until it goes out."""

    kind: FileKind
    key: str
    mime: str
    name: str
    size_bytes: int
    is_voice: bool

    @property
    def takes_caption(self) -> bool:
        return self.kind in {FileKind.IMAGE, FileKind.VIDEO, FileKind.DOCUMENT}


def to_file(media: OutboundMedia) -> File:
    """How WhatsApp shows this file; what it would not show as itself goes as a document.

    Which documents the upload takes is known to WhatsApp alone: it is asked, and its refusal is final.

    Raises:
        MessageRejected: bigger than WhatsApp takes, or empty.

    Source: fact sheet 2.4.
    """
    if media.size_bytes > DOCUMENT_MAX_BYTES:
        limit_mb = DOCUMENT_MAX_BYTES // 1_000_000
        raise MessageRejected(
            FailureCode.FILE_TOO_BIG,
            f"WhatsApp приймає файли до {limit_mb} МБ. Зменште файл або надішліть посилання.",
        )
    if media.size_bytes <= 0:
        raise MessageRejected(FailureCode.REJECTED, "Файл порожній: прикріпіть інший.")
    mime = media.mime.split(";")[0].strip().lower()
    kind, is_voice = _shown_as(media, mime)
    name = clean_name(media.name, mime)
    if mime == _UNTOLD:
        mime = _BY_ENDING.get(name.rpartition(".")[2].lower(), mime)
    elif mime.startswith("text/"):
        mime = "text/plain"
    return File(
        kind=kind,
        key=media.key,
        mime=mime,
        name=name,
        size_bytes=media.size_bytes,
        is_voice=is_voice,
    )


def _shown_as(media: OutboundMedia, mime: str) -> tuple[FileKind, bool]:
    """As what, and whether as a voice message."""
    size = media.size_bytes
    match media.kind:
        case MessageKind.STICKER if mime == "image/webp" and size <= STICKER_MAX_BYTES:
            return FileKind.STICKER, False
        case MessageKind.IMAGE | MessageKind.STICKER if mime in _IMAGES and size <= IMAGE_MAX_BYTES:
            return FileKind.IMAGE, False
        case MessageKind.VIDEO if mime in _VIDEOS and size <= VIDEO_MAX_BYTES:
            return FileKind.VIDEO, False
        case MessageKind.VOICE | MessageKind.AUDIO if size <= AUDIO_MAX_BYTES and mime in _SOUNDS:
            if mime != "audio/ogg":
                return FileKind.AUDIO, False
            if _is_opus(media):
                return FileKind.AUDIO, media.kind is MessageKind.VOICE
    return FileKind.DOCUMENT, False


def _is_opus(media: OutboundMedia) -> bool:
    """Whether an ogg holds what WhatsApp plays; anything else in it fails on the phone only."""
    says_so = "opus" in media.mime.lower() or media.name.lower().endswith(_OPUS_NAMES)
    return media.kind is MessageKind.VOICE or says_so
