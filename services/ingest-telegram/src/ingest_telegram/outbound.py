"""Our message becomes Telegram's requests: files with their caption, plain text split by its limit. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ingest_telegram import payloads
from ingest_telegram.keyboards import to_markup
from ingest_telegram.payloads import (
    ALBUM_MAX_FILES,
    CAPTION_MAX_UNITS,
    TEXT_MAX_UNITS,
    File,
    FileMethod,
    Request,
    SendAlbum,
    SendFile,
    SendText,
)
from msgkit.connector.errors import MessageRejected
from msgkit.connector.raw import utf16_units
from msgkit.contracts.events import OutboundMedia, SendMessage
from msgkit.contracts.words import FailureCode, MessageKind

_BORDERS = ("\n\n", "\n", " ")
"""Where a long text is cut, the best first: between paragraphs, lines, words."""
_PHOTO_MIMES = frozenset({"image/jpeg", "image/png", "image/webp"})
_AUDIO_MIMES = frozenset({"audio/mpeg", "audio/mp4", "audio/x-m4a", "audio/m4a"})
"""What Telegram's player takes. Source: core.telegram.org/bots/api#sendaudio."""
_VOICE_MIMES = frozenset({"audio/ogg", "audio/opus"})
"""Source: core.telegram.org/bots/api#sendvoice."""
_ALBUM_OF = {
    FileMethod.PHOTO: "pictures",
    FileMethod.VIDEO: "pictures",
    FileMethod.DOCUMENT: "documents",
    FileMethod.AUDIO: "audio",
}
"""What may stand in one album: documents and audio only among themselves. Source: #sendmediagroup."""
_WITHOUT_CAPTION = frozenset({FileMethod.STICKER})
_UNFIT_FOR_A_NAME = re.compile(r'[\x00-\x1f\x7f"\\/:*?<>|]+')
_NAME_MAX_CHARS = 200


def to_requests(message: SendMessage) -> list[Request]:
    """The calls for one answer: the reply mark on the first, the buttons on the last.

    Files come first, those that may stand together as albums; the text is the caption of the first file if
    it fits there, else it follows as messages of its own.

    Raises:
        MessageRejected: nothing to say, an unusable recipient, a file or buttons Telegram does not take.

    Source: core.telegram.org/bots/api#sendmessage, #sendmediagroup; fact sheet 1.7.
    """
    try:
        chat_id = int(message.contact_key)
    except ValueError:
        raise MessageRejected(FailureCode.RECIPIENT_UNAVAILABLE, "Невідомий отримувач у Telegram.") from None
    groups = _groups([_file(media) for media in message.media])
    texts = split_text(message.text)
    markup = to_markup(message.buttons)
    if not groups and not texts:
        raise MessageRejected(FailureCode.REJECTED, "Порожнє повідомлення: напишіть текст.")
    if groups and markup is not None and not texts:
        # Telegram takes no buttons with an album: its last file carries them alone.
        groups = [*groups[:-1], *([groups[-1][:-1]] if len(groups[-1]) > 1 else []), groups[-1][-1:]]
    if groups and len(texts) == 1 and _may_be_caption(texts[0], groups, has_buttons=markup is not None):
        groups[0][0] = replace(groups[0][0], caption=texts.pop())
    reply_to = message.reply_to_provider_id
    first_reply = int(reply_to) if reply_to and reply_to.isdecimal() else None
    parts: list[list[File] | str] = [*groups, *texts]
    last = len(parts) - 1
    requests: list[Request] = []
    for n, part in enumerate(parts):
        requests.append(
            _request(part, chat_id, first_reply if n == 0 else None, markup if n == last else None)
        )
    return requests


def _request(
    part: list[File] | str, chat_id: int, reply_to: int | None, markup: dict[str, Any] | None
) -> Request:
    if isinstance(part, str):
        return SendText(chat_id, reply_to, markup, part)
    if len(part) == 1:
        return SendFile(chat_id, reply_to, markup, part[0])
    return SendAlbum(chat_id, reply_to, markup, tuple(part))


def _may_be_caption(said: str, groups: Sequence[Sequence[File]], *, has_buttons: bool) -> bool:
    if utf16_units(said) > CAPTION_MAX_UNITS or groups[0][0].method in _WITHOUT_CAPTION:
        return False
    # Buttons stand on the last part, which must not be an album then.
    return not (has_buttons and len(groups[-1]) > 1)


# --- files


def _file(media: OutboundMedia) -> File:
    """How Telegram shows this file; what it would refuse as a picture or a sound goes as a document.

    Raises:
        MessageRejected: bigger than Telegram takes, or empty.
    """
    if media.size_bytes > payloads.UPLOAD_MAX_BYTES:
        limit_mb = payloads.UPLOAD_MAX_BYTES // (1024 * 1024)
        raise MessageRejected(
            FailureCode.FILE_TOO_BIG,
            f"Telegram приймає від бота файли до {limit_mb} МБ. Зменште файл або надішліть посилання.",
        )
    if media.size_bytes <= 0:
        raise MessageRejected(FailureCode.REJECTED, "Файл порожній: прикріпіть інший.")
    duration = media.duration_s
    return File(
        method=_method(media),
        key=media.key,
        name=file_name(media.name),
        size_bytes=media.size_bytes,
        caption="",
        width=media.width,
        height=media.height,
        duration_s=None if duration is None else round(duration),
    )


def _method(media: OutboundMedia) -> FileMethod:
    mime = media.mime.split(";")[0].strip().lower()
    match media.kind:
        case MessageKind.STICKER if mime == "image/webp" and media.size_bytes <= payloads.STICKER_MAX_BYTES:
            method = FileMethod.STICKER
        case MessageKind.IMAGE | MessageKind.STICKER if mime == "image/gif":
            method = FileMethod.ANIMATION
        case MessageKind.IMAGE | MessageKind.STICKER if mime in _PHOTO_MIMES and _fits_as_photo(media):
            method = FileMethod.PHOTO
        case MessageKind.VIDEO if mime == "video/mp4":
            method = FileMethod.VIDEO
        case MessageKind.VOICE if mime in _VOICE_MIMES:
            method = FileMethod.VOICE
        case MessageKind.VOICE | MessageKind.AUDIO if mime in _AUDIO_MIMES:
            method = FileMethod.AUDIO
        case _:
            method = FileMethod.DOCUMENT
    return method


def _fits_as_photo(media: OutboundMedia) -> bool:
    if media.size_bytes > payloads.PHOTO_MAX_BYTES or not media.width or not media.height:
        return False
    if media.width + media.height > payloads.PHOTO_MAX_SIDES_PX:
        return False
    longer, shorter = max(media.width, media.height), min(media.width, media.height)
    return longer <= shorter * payloads.PHOTO_MAX_RATIO


def _groups(files: Sequence[File]) -> list[list[File]]:
    """Neighbours that may stand in one album, in the order they were attached."""
    groups: list[list[File]] = []
    for file in files:
        album = _ALBUM_OF.get(file.method)
        joins = (
            groups
            and album is not None
            and album == _ALBUM_OF.get(groups[-1][-1].method)
            and len(groups[-1]) < ALBUM_MAX_FILES
        )
        if joins:
            groups[-1].append(file)
        else:
            groups.append([file])
    return groups


def file_name(claimed: str) -> str:
    """A name that is safe in a header of the upload and on any phone; its ending stays."""
    name = _UNFIT_FOR_A_NAME.sub("_", claimed).strip(" .") or "file"
    if len(name) <= _NAME_MAX_CHARS:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 10:
        return name[:_NAME_MAX_CHARS]
    return f"{stem[: _NAME_MAX_CHARS - len(ending) - 1]}.{ending}"


# --- text


def split_text(text: str, max_units: int = TEXT_MAX_UNITS) -> list[str]:
    """Parts of at most `max_units` UTF-16 code units, cut at paragraphs, lines or words where there are any.

    Blanks at a cut go: Telegram would strip them. A character outside the basic plane counts two units and
    is never cut.

    Args:
        text: any text.
        max_units: Telegram's limit of one message, in UTF-16 code units.
    """
    parts = []
    rest = text.strip()
    while rest:
        fits = _fitting_chars(rest, max_units)
        if fits < len(rest):
            fits = _border(rest, fits)
        part = rest[:fits].rstrip()
        if part:
            parts.append(part)
        rest = rest[fits:].lstrip()
    return parts


def _fitting_chars(text: str, max_units: int) -> int:
    """How many characters from the start fit."""
    if len(text) * 2 <= max_units:
        return len(text)
    units = 0
    for n, char in enumerate(text):
        units += 2 if char > "\uffff" else 1
        if units > max_units:
            return n
    return len(text)


def _border(text: str, fits: int) -> int:
    for border in _BORDERS:
        # A border right after what fits is a good cut too. In the first half it would make crumbs.
        at = text.rfind(border, fits // 2, fits + len(border))
        if at > 0:
            return at
    return fits
