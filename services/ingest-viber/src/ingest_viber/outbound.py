"""Our message becomes Viber's requests: files, then the text, split by characters and by bytes. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from ingest_viber import payloads, tracking
from ingest_viber.bodies import to_body, to_bytes, wire_bytes
from ingest_viber.keyboards import asks_phone, min_api_version, to_keyboard
from ingest_viber.payloads import File, FileKind, Request
from ingest_viber.welcome import sender_name
from msgkit.connector.contract import Account
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundMedia, SendMessage
from msgkit.contracts.words import FailureCode, MessageKind
from msgkit.runtime.file_names import clean_name

_BORDERS = ("\n\n", "\n", " ")
"""Where a long text is cut, the best first: between paragraphs, lines, words."""
_LEAST_TEXT_BYTES = 4_000
"""So much of a body must be left for a text beside the buttons."""
_PICTURE_ENDINGS = {"image/jpeg": "jpeg", "image/png": "png"}
"""What an address of a picture ends with. A GIF goes as a file: Viber's pictures stand still, and an
animated one is refused by the phone only later. Source: fact sheet 3.6."""
_FORBIDDEN_ENDINGS = frozenset(
    {
        "action", "apk", "app", "bat", "bin", "cmd", "com", "command", "cpl", "csh", "ex_", "exe", "gadget",
        "inf1", "ins", "inx", "ipa", "isu", "jar", "job", "js", "jse", "ksh", "lnk", "msc", "msi", "msp",
        "mst", "osx", "out", "paf", "pif", "prg", "ps1", "reg", "rgs", "run", "scr", "sct", "shb", "shs",
        "u3p", "vb", "vbe", "vbs", "vbscript", "workflow", "ws", "wsf",
    }
)  # fmt: skip
"""What could run. Source: rest-bot-api, #forbiddenFileFormats; the list itself was not checked again."""
_ADDRESS_ENDING = re.compile(r"[A-Za-z0-9]{1,10}")
_UNKNOWN_ENDING = "dat"


def to_requests(message: SendMessage, account: Account) -> list[Request]:
    """The calls for one answer, the buttons on the last.

    Files come first, one by one; the text is the caption of a single picture if it fits there, else it
    follows as messages of its own. Viber cannot quote, so a reply mark has no effect.

    Raises:
        MessageRejected: nothing to say, a file or buttons Viber does not take.

    Source: fact sheet 3.6.
    """
    contact_key = message.contact_key
    keyboard = to_keyboard(message.buttons, account, contact_key)
    last = Request(
        receiver=contact_key,
        sender_name=sender_name(account),
        tracking=tracking.of_message(
            account, contact_key, message.message_id, asks_phone=asks_phone(message.buttons)
        ),
        keyboard=keyboard,
        min_api_version=min_api_version(message.buttons),
        text="",
    )
    # The buttons and what they ask for belong to the last part alone.
    along = tracking.of_message(account, contact_key, message.message_id, asks_phone=False)
    plain = replace(last, tracking=along, keyboard=None, min_api_version=1)
    room = payloads.BODY_MAX_BYTES - len(to_bytes(to_body(last)))
    if room < _LEAST_TEXT_BYTES:
        raise MessageRejected(FailureCode.TOO_LONG, "Забагато кнопок в одному повідомленні: залиште менше.")
    files = [_file(media) for media in message.media]
    texts = split_text(message.text, max_bytes=room)
    if not files and not texts:
        raise MessageRejected(FailureCode.REJECTED, "Порожнє повідомлення: напишіть текст.")
    caption = ""
    if len(files) == 1 and len(texts) == 1 and _may_be_caption(texts[0], files[0]):
        caption = texts.pop()
    parts = [replace(plain, file=file, text=caption) for file in files]
    parts += [replace(plain, text=part) for part in texts]
    parts[-1] = replace(
        parts[-1], tracking=last.tracking, keyboard=keyboard, min_api_version=last.min_api_version
    )
    return parts


def _may_be_caption(said: str, file: File) -> bool:
    return file.kind is FileKind.PICTURE and len(said) <= payloads.CAPTION_MAX_CHARS


# --- files


def _file(media: OutboundMedia) -> File:
    """How Viber shows this file; what it would not show as a picture or a video goes as a file.

    Raises:
        MessageRejected: bigger than Viber takes, empty, or of a sort it forbids.
    """
    if media.size_bytes > payloads.FILE_MAX_BYTES:
        limit_mb = payloads.FILE_MAX_BYTES // 1_000_000
        raise MessageRejected(
            FailureCode.FILE_TOO_BIG,
            f"Viber приймає від бота файли до {limit_mb} МБ. Зменште файл або надішліть посилання.",
        )
    if media.size_bytes <= 0:
        raise MessageRejected(FailureCode.REJECTED, "Файл порожній: прикріпіть інший.")
    mime = media.mime.split(";")[0].strip().lower()
    kind = _kind(media, mime)
    name, ending = _named(media.name, mime)
    if ending.lower() in _FORBIDDEN_ENDINGS:
        raise MessageRejected(
            FailureCode.UNSUPPORTED_KIND,
            f"Viber не приймає файли .{ending}. Запакуйте його в ZIP і надішліть архів.",
        )
    address_ending = ending
    if kind is FileKind.PICTURE:
        address_ending = _PICTURE_ENDINGS[mime]
    elif kind is FileKind.VIDEO:
        address_ending = "mp4"
    elif not _ADDRESS_ENDING.fullmatch(ending):
        address_ending = _UNKNOWN_ENDING
    return File(
        kind=kind,
        key=media.key,
        mime=mime,
        name=name,
        address_name=f"{kind.value}.{address_ending}",
        size_bytes=media.size_bytes,
        duration_s=max(1, round(media.duration_s)) if media.duration_s and kind is FileKind.VIDEO else None,
    )


def _kind(media: OutboundMedia, mime: str) -> FileKind:
    is_picture = media.kind in {MessageKind.IMAGE, MessageKind.STICKER} and mime in _PICTURE_ENDINGS
    if is_picture and media.size_bytes <= payloads.PICTURE_MAX_BYTES:
        return FileKind.PICTURE
    # A length nobody knows may be above the limit, and the phone would say so only later.
    fits = media.size_bytes <= payloads.VIDEO_MAX_BYTES and (
        media.duration_s is not None and 0 < media.duration_s <= payloads.VIDEO_MAX_SECONDS
    )
    if media.kind is MessageKind.VIDEO and mime == "video/mp4" and fits:
        return FileKind.VIDEO
    return FileKind.FILE


def _named(claimed: str, mime: str) -> tuple[str, str]:
    """A name with an ending, which Viber insists on, and that ending."""
    name = clean_name(claimed, mime)
    stem, dot, ending = name.rpartition(".")
    if not dot or not stem or not ending:
        stem, ending = name, _UNKNOWN_ENDING
    return f"{stem[: payloads.FILE_NAME_MAX_CHARS - len(ending) - 1]}.{ending}", ending


# --- text


def split_text(
    said: str, max_chars: int = payloads.TEXT_MAX_CHARS, max_bytes: int = payloads.BODY_MAX_BYTES
) -> list[str]:
    """Parts within both limits, cut at paragraphs, lines or words where there are any.

    Blanks at a cut go.

    Args:
        said: any text.
        max_chars: Viber's limit of one text, in characters.
        max_bytes: what is left of the JSON body for it, in bytes as written there.
    """
    parts = []
    rest = said.strip()
    while rest:
        fits = _fitting_chars(rest, max_chars, max_bytes)
        if fits < len(rest):
            fits = _border(rest, fits)
        part = rest[:fits].rstrip()
        if part:
            parts.append(part)
        rest = rest[fits:].lstrip()
    return parts


def _fitting_chars(said: str, max_chars: int, max_bytes: int) -> int:
    """How many characters from the start fit."""
    most = min(len(said), max_chars)
    if wire_bytes(said[:most]) <= max_bytes:
        return most
    taken = 0
    for n, char in enumerate(said[:most]):
        taken += wire_bytes(char)
        if taken > max_bytes:
            return n
    return most


def _border(said: str, fits: int) -> int:
    for border in _BORDERS:
        # A border right after what fits is a good cut too. In the first half it would make crumbs.
        at = said.rfind(border, fits // 2, fits + len(border))
        if at > 0:
            return at
    return fits
