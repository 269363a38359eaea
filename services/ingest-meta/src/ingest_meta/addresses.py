"""Which addresses in a message are files, which are for a person to open, and which are neither. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urljoin, urlsplit

from ingest_meta.payloads import FACEBOOK, FILE_NAME_MAX_CHARS, URL_MAX_CHARS
from msgkit.connector.raw import text, words

FILE_HOSTS: Final = ("fbcdn.net", "fbsbx.com", "cdninstagram.com")
"""Where Meta keeps files, with everything below them. Source: fact sheet 2.5."""
_SITES: Final = {FACEBOOK: "https://www.facebook.com/"}
"""What an address without a host is of: reels come so in Messenger (fact sheet 1.2)."""
_SHIMS: Final = frozenset({"l.facebook.com", "lm.facebook.com", "l.instagram.com"})
"""They lead on to what stands in `u`."""
_MOVING: Final = (".mp4", ".mov", ".webm", ".avi", ".m4v")


def is_file_address(url: str | None, api_base: str | None) -> bool:
    """Whether a file can be fetched there: at Meta's own hosts, or where this account's API is.

    Args:
        url: as it came.
        api_base: of the account, if it has another API than Meta's.
    """
    found = _split(url)
    if found is None or found.username is not None:
        return False
    base = _split(api_base)
    if base is not None and (found.scheme, found.netloc) == (base.scheme, base.netloc):
        return True
    host = (found.hostname or "").lower()
    if found.scheme != "https" or found.port not in {None, 443}:
        return False
    return any(host == one or host.endswith(f".{one}") for one in FILE_HOSTS)


def web_address(url: object, kind: str) -> str | None:
    """The address for a person to open; None if there is none.

    Args:
        url: as it came: whole, without its host, or behind a page that leads on.
        kind: ours, of the account.
    """
    told = text(url)
    if told is not None and told.startswith("/") and not told.startswith("//") and kind in _SITES:
        told = urljoin(_SITES[kind], told)
    found = _split(told)
    if found is None or told is None:
        return None
    if (found.hostname or "").lower() in _SHIMS:
        further = parse_qs(found.query).get("u", [""])[0]
        return further if _split(further) is not None else told
    return told


def file_name(url: str) -> str | None:
    """The name of a file, which stands in its address alone. Source: fact sheet 1.2."""
    found = _split(url)
    last = unquote(found.path.rsplit("/", 1)[-1]) if found is not None else ""
    name = words(last, FILE_NAME_MAX_CHARS)
    return name if name is not None and "." in name.strip(".") and "/" not in name else None


def is_moving(url: str) -> bool:
    """Whether it is a video by its name; most addresses do not tell."""
    found = _split(url)
    return found is not None and found.path.lower().endswith(_MOVING)


def _split(url: str | None) -> SplitResult | None:
    """An http(s) address with a host, or None."""
    if not url or len(url) > URL_MAX_CHARS or not url.isprintable() or " " in url:
        return None
    try:
        found = urlsplit(url)
        _ = found.port  # looked at only when asked for
    except ValueError:
        return None
    return found if found.scheme in {"http", "https"} and found.hostname else None
