"""Reading addresses: who has one reads one file for some minutes; nobody makes or changes one."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest

from gateway.addresses import FileAddresses, NotAnAddress, Part, RangeRefused, part_of
from msgkit.contracts.words import MessageKind

KEY = "ab/cd/0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 11, 22, 10, 3, 20, tzinfo=UTC)


class _Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def _addresses(clock: _Clock | None = None, secret: bytes = b"s" * 32) -> FileAddresses:
    return FileAddresses(secret, clock or _Clock())


def _pieces(path: str) -> tuple[str, str]:
    _, files, token, name = path.split("/")
    assert files == "files"
    return token, unquote(name)


def _photo(addresses: FileAddresses) -> str:
    return addresses.of_file(KEY, "image/jpeg", "Фото 1.jpg", MessageKind.IMAGE, has_thumb=True).path


def test_an_address_opens_to_what_it_was_made_for() -> None:
    addresses = _addresses()
    grant, left = addresses.open(*_pieces(_photo(addresses)))
    assert (grant.key, grant.mime, grant.name, grant.inline) == (KEY, "image/jpeg", "Фото 1.jpg", True)
    assert 300 <= left <= 600


def test_the_key_does_not_stand_in_the_address() -> None:
    token, _ = _pieces(_photo(_addresses()))
    assert KEY.encode() not in base64.urlsafe_b64decode(token + "==")


def test_within_its_time_a_file_has_one_address_so_that_browsers_keep_it() -> None:
    clock = _Clock()
    addresses = _addresses(clock)
    first = _photo(addresses)
    clock.now += timedelta(seconds=60)
    assert _photo(addresses) == first
    clock.now += timedelta(seconds=300)
    assert _photo(addresses) != first


def test_an_address_ends() -> None:
    clock = _Clock()
    addresses = _addresses(clock)
    address = addresses.of_file(KEY, "image/jpeg", None, MessageKind.IMAGE, has_thumb=True)
    clock.now = address.expires_at - timedelta(seconds=1)
    addresses.open(*_pieces(address.path))
    clock.now = address.expires_at
    with pytest.raises(NotAnAddress):
        addresses.open(*_pieces(address.path))


def test_no_changed_address_opens() -> None:
    addresses = _addresses()
    token, name = _pieces(_photo(addresses))
    sealed = bytearray(base64.urlsafe_b64decode(token + "=="))
    changed = []
    for at in range(len(sealed)):
        sealed[at] ^= 1
        changed.append(base64.urlsafe_b64encode(bytes(sealed)).decode().rstrip("="))
        sealed[at] ^= 1
    changed += [token[:-4], token + "AAAA", "", "AAAA", token.lower(), "я" * 40, "a" * 5000, token + "=" * 3]
    for forged in changed:
        with pytest.raises(NotAnAddress):
            addresses.open(forged, name)
    with pytest.raises(NotAnAddress):
        addresses.open(token, "інше.html")
    with pytest.raises(NotAnAddress):
        _addresses(secret=b"x" * 32).open(token, name)


@pytest.mark.parametrize(
    ("mime", "kind", "has_thumb", "inline"),
    [
        ("image/jpeg", MessageKind.IMAGE, True, True),
        ("image/webp", MessageKind.STICKER, True, True),
        ("image/jpeg", MessageKind.IMAGE, False, False),  # not made anew: for download, with what is in it
        ("image/jpeg", MessageKind.FILE, True, False),
        ("image/svg+xml", MessageKind.IMAGE, True, False),
        ("text/html", MessageKind.IMAGE, True, False),
        ("application/octet-stream", MessageKind.VIDEO, False, False),
        ("application/pdf", MessageKind.FILE, False, False),
        ("audio/ogg", MessageKind.VOICE, False, True),
        ("video/mp4", MessageKind.VIDEO, False, True),
    ],
)
def test_what_a_browser_may_show(mime: str, kind: MessageKind, has_thumb: bool, inline: bool) -> None:
    addresses = _addresses()
    address = addresses.of_file(KEY, mime, "x", kind, has_thumb=has_thumb)
    assert addresses.open(*_pieces(address.path))[0].inline is inline


@pytest.mark.parametrize(
    ("claimed", "name"),
    [
        ("../../etc/passwd", "passwd.jpg"),
        ("a\r\nSet-Cookie: x=1.jpg", "a Set-Cookie_ x=1.jpg"),
        ("фото\u202egpj.exe", "фотоgpj.exe.jpg"),
        (None, "file.jpg"),
        ("", "file.jpg"),
    ],
)
def test_names_are_harmless_whoever_stored_them(claimed: str | None, name: str) -> None:
    addresses = _addresses()
    address = addresses.of_file(KEY, "image/jpeg", claimed, MessageKind.IMAGE, has_thumb=True)
    assert _pieces(address.path)[1] == name


def test_a_thumbnail_is_a_picture_whatever_it_is_of() -> None:
    addresses = _addresses()
    grant, _ = addresses.open(*_pieces(addresses.of_thumb(KEY, "звіт.pdf").path))
    assert (grant.mime, grant.name, grant.inline) == ("image/webp", "звіт.webp", True)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-99", Part(0, 100)),
        ("bytes=0-", Part(0, 1000)),
        ("bytes=990-5000", Part(990, 1000)),
        ("bytes=-10", Part(990, 1000)),
        ("bytes=-5000", Part(0, 1000)),
        ("Bytes = 5 - 5", Part(5, 6)),
        ("items=0-5", None),
        ("bytes=abc", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=٣-٤", None),
        ("bytes=--5", None),
    ],
)
def test_a_part_of_a_file(header: str | None, part: Part | None) -> None:
    assert part_of(header, 1000) == part


@pytest.mark.parametrize(
    "header",
    [
        "bytes=1000-", "bytes=5000-6000", "bytes=-0", "bytes=0-1,5-6", "bytes=" + "0-0," * 1000,
        "bytes=" + "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_not_one_part_of_the_file_is_refused(header: str) -> None:
    with pytest.raises(RangeRefused):
        part_of(header, 1000)
