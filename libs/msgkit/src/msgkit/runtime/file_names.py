"""Names of files as strangers give them: made harmless for screens, headers and disks."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

NAME_MAX_CHARS = 120
_NAME_MAX_BYTES = 200
"""Most file systems take 255 bytes; a browser adds « (12)» and its own ending while it loads."""

ENDINGS: dict[str, tuple[str, ...]] = {
    "image/jpeg": ("jpg", "jpeg", "jpe", "jfif"),
    "image/png": ("png",),
    "image/gif": ("gif",),
    "image/webp": ("webp",),
    "image/heic": ("heic", "heif"),
    "image/avif": ("avif",),
    "video/mp4": ("mp4", "m4v"),
    "video/quicktime": ("mov", "qt"),
    "video/3gpp": ("3gp", "3gpp"),
    "video/webm": ("webm",),
    "video/ogg": ("ogv", "ogg"),
    "audio/ogg": ("ogg", "oga", "opus"),
    "audio/mpeg": ("mp3", "mpga"),
    "audio/mp4": ("m4a", "mp4"),
    "audio/aac": ("aac",),
    "audio/amr": ("amr",),
    "audio/wav": ("wav",),
    "audio/flac": ("flac",),
    "application/pdf": ("pdf",),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ("docx",),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ("xlsx",),
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ("pptx",),
    "application/zip": ("zip",),
}
"""Type → the endings its files have; the first one is given to a file without any of them."""

_KNOWN = {ending for endings in ENDINGS.values() for ending in endings}
# Containers: an ending of their own says more than we found out.
_LOOSE = {"application/zip", "application/octet-stream"}
_SLASHES = re.compile(r"[\\/]+")
_FORBIDDEN = re.compile(r'[<>:"|?*]')


def clean_name(claimed: str | None, mime: str) -> str:
    """The claimed name without folders, control and direction characters, with an ending that fits.

    Args:
        claimed: what the sender calls the file; None if nothing.
        mime: the type as found.
    """
    text = unicodedata.normalize("NFC", (claimed or "").encode("utf-8", "replace").decode())
    text = _SLASHES.split(text)[-1]
    # Cc: controls, line ends; Cf: turns of direction and other invisibles; Zl, Zp: line separators.
    text = "".join(" " if unicodedata.category(c) in {"Cc", "Zl", "Zp", "Zs"} else c for c in text)
    text = "".join(c for c in text if unicodedata.category(c) not in {"Cf", "Co", "Cn", "Cs"})
    text = " ".join(_FORBIDDEN.sub("_", text).split()).strip(". ")
    stem, dot, ending = text.rpartition(".")
    if not dot or not stem or not ending.isalnum() or len(ending) > 10:
        stem, ending = text, ""
    fitting = ENDINGS.get(mime)
    if fitting is not None and ending.lower() not in fitting and not (ending and mime in _LOOSE):
        if ending and ending.lower() not in _KNOWN:
            stem = f"{stem}.{ending}"
        ending = fitting[0]
    stem = _shortened(stem or "file", len(ending) + 1)
    return f"{stem}.{ending}" if ending else stem


def content_disposition(name: str, *, inline: bool) -> str:
    """The header's value: the name in ASCII for old readers and in full for the others.

    Source: RFC 6266, RFC 8187.

    Args:
        name: of `clean_name`.
        inline: whether the browser may show the file.
    """
    kind = "inline" if inline else "attachment"
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;' else "_" for c in name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _shortened(stem: str, reserved: int) -> str:
    stem = stem[: NAME_MAX_CHARS - reserved]
    while len(stem.encode()) > _NAME_MAX_BYTES - reserved:
        stem = stem[:-1]
    return stem.rstrip(". ") or "file"
