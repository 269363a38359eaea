"""Names of files: what a stranger calls a file never deceives a screen, a header or a disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgkit.runtime.file_names import ENDINGS, clean_name, content_disposition

OCTETS = "application/octet-stream"


@pytest.mark.parametrize(
    ("claimed", "mime", "clean"),
    [
        ("фото клієнтки.jpg", "image/jpeg", "фото клієнтки.jpg"),
        ("IMG_1.JPEG", "image/jpeg", "IMG_1.JPEG"),
        (None, "image/png", "file.png"),
        ("", OCTETS, "file"),
        ("../../etc/passwd", OCTETS, "passwd"),
        ("..\\..\\boot.ini", OCTETS, "boot.ini"),
        ("..", OCTETS, "file"),
        ("a\r\nSet-Cookie: x=1.jpg", "image/jpeg", "a Set-Cookie_ x=1.jpg"),
        ("photo\u202egpj.exe", OCTETS, "photogpj.exe"),
        ("nul\x00.png", "image/png", "nul.png"),
        ("page.html", "image/png", "page.html.png"),
        ("picture.png", "image/jpeg", "picture.jpg"),
        ("report.docx", "application/zip", "report.docx"),
        ("програма.apk", "application/zip", "програма.apk"),
        ("archive", "application/zip", "archive.zip"),
        ("рахунок", "application/pdf", "рахунок.pdf"),
        (".htaccess", OCTETS, "htaccess"),
        ('x"y:z?.txt', OCTETS, "x_y_z_.txt"),
        ("\ud800.txt", OCTETS, "?.txt".replace("?", "_")),
    ],
)
def test_name_is_made_harmless(claimed: str | None, mime: str, clean: str) -> None:
    assert clean_name(claimed, mime) == clean


@given(claimed=st.none() | st.text(max_size=400), mime=st.sampled_from([*ENDINGS, OCTETS]))
def test_any_name_fits_a_disk_and_a_header(claimed: str | None, mime: str) -> None:
    name = clean_name(claimed, mime)
    assert name
    assert name == clean_name(name, mime)
    assert len(name) <= 120
    assert len(name.encode()) <= 240
    assert not {"/", "\\", "\r", "\n", "\x00", "\u202e", '"'} & set(name)
    assert name.strip(". ") == name
    header = content_disposition(name, inline=False)
    assert header.isascii()
    assert header.isprintable()
    if mime in ENDINGS and mime != "application/zip":
        assert name.rpartition(".")[2].lower() in ENDINGS[mime]


def test_long_name_keeps_its_ending() -> None:
    name = clean_name("ї" * 300 + ".pdf", "application/pdf")
    assert name.endswith("ї.pdf")
    assert len(name.encode()) <= 200


def test_header_has_the_name_twice() -> None:
    assert content_disposition("Їжак.png", inline=True) == (
        "inline; filename=\"____.png\"; filename*=UTF-8''%D0%87%D0%B6%D0%B0%D0%BA.png"
    )
