"""How Messenger and Instagram take a file of ours: as what it is shown, or why not at all. Pure.

Source: fact sheet 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ingest_meta.payloads import FILE_MAX_BYTES, INSTAGRAM_IMAGE_MAX_BYTES
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundMedia
from msgkit.contracts.words import FailureCode, MessageKind
from msgkit.runtime.file_names import clean_name

_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif"})
_MESSENGER_SOUNDS: Final = frozenset({"audio/mpeg", "audio/mp4", "audio/x-m4a", "audio/aac"})
"""What is played; other sounds go as files. Source: fact sheet 2.4, «mp3/m4a for Messenger»."""
_INSTAGRAM_SOUNDS: Final = frozenset(
    {"audio/aac", "audio/mp4", "audio/x-m4a", "audio/wav", "audio/x-wav", "audio/vnd.wave"}
)
_INSTAGRAM_VIDEOS: Final = frozenset(
    {"video/mp4", "video/ogg", "video/x-msvideo", "video/avi", "video/quicktime", "video/webm"}
)
_PDF: Final = "application/pdf"
_BY_MIME: Final = {"image": MessageKind.IMAGE, "video": MessageKind.VIDEO, "audio": MessageKind.AUDIO}


class FileKind(StrEnum):
    """How a file is shown on the phone; Meta's word of `attachment.type`."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class File:
    """A file of an answer. Its bytes lie in the object store until it goes out."""

    kind: FileKind
    key: str
    mime: str
    name: str
    size_bytes: int


def to_file(media: OutboundMedia, *, is_instagram: bool) -> File:
    """How the messenger shows this file.

    Raises:
        MessageRejected: empty, bigger than it takes, or of a sort it does not take.
    """
    title = "Instagram" if is_instagram else "Messenger"
    if media.size_bytes <= 0:
        raise MessageRejected(FailureCode.REJECTED, "Файл порожній: прикріпіть інший.")
    if media.size_bytes > FILE_MAX_BYTES:
        raise MessageRejected(
            FailureCode.FILE_TOO_BIG,
            f"{title} приймає файли до {FILE_MAX_BYTES // 1_000_000} МБ. Зменште файл або надішліть "
            "посилання.",
        )
    mime = media.mime.split(";")[0].strip().lower()
    kind = _on_instagram(media, mime) if is_instagram else _on_messenger(media, mime)
    return File(
        kind=kind, key=media.key, mime=mime, name=clean_name(media.name, mime), size_bytes=media.size_bytes
    )


def _on_messenger(media: OutboundMedia, mime: str) -> FileKind:
    """What would not be shown as itself goes as a file."""
    match media.kind:
        case MessageKind.IMAGE | MessageKind.STICKER if mime in _IMAGES:
            return FileKind.IMAGE
        case MessageKind.VIDEO if mime.startswith("video/"):
            return FileKind.VIDEO
        case MessageKind.AUDIO | MessageKind.VOICE if mime in _MESSENGER_SOUNDS:
            return FileKind.AUDIO
    return FileKind.FILE


def _on_instagram(media: OutboundMedia, mime: str) -> FileKind:
    """Files of any sort are not taken there, so a picture somebody attached as a file goes as a picture."""
    sort = media.kind if media.kind is not MessageKind.FILE else _BY_MIME.get(mime.partition("/")[0])
    match sort:
        case MessageKind.IMAGE | MessageKind.STICKER:
            if mime not in _IMAGES:
                raise _wrong_sort("фото JPEG, PNG або GIF", "Збережіть зображення так і прикріпіть знову.")
            if media.size_bytes > INSTAGRAM_IMAGE_MAX_BYTES:
                raise MessageRejected(
                    FailureCode.FILE_TOO_BIG,
                    f"Instagram приймає фото до {INSTAGRAM_IMAGE_MAX_BYTES // 1_000_000} МБ. Зменште фото й "
                    "прикріпіть знову.",
                )
            return FileKind.IMAGE
        case MessageKind.VIDEO:
            if mime not in _INSTAGRAM_VIDEOS:
                raise _wrong_sort("відео MP4, MOV, AVI, WEBM або OGG", "Збережіть відео як MP4.")
            return FileKind.VIDEO
        case MessageKind.AUDIO | MessageKind.VOICE:
            if mime not in _INSTAGRAM_SOUNDS:
                raise _wrong_sort("аудіо M4A, AAC, WAV або MP4", "Збережіть запис як M4A.")
            return FileKind.AUDIO
    if mime != _PDF:
        raise _wrong_sort("з документів лише PDF", "Збережіть файл як PDF або надішліть посилання на нього.")
    return FileKind.FILE


def _wrong_sort(takes: str, fix: str) -> MessageRejected:
    return MessageRejected(FailureCode.UNSUPPORTED_KIND, f"Instagram приймає {takes}. {fix}")
