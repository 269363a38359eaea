"""What the limited process makes of strangers' files: by their bytes, not their name, and never fatal."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import struct
import wave
import zipfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from msgkit.contracts.words import MessageKind
from msgkit.runtime import media
from msgkit.runtime.media import FileTooBig, MediaInspector, MediaRefused, Workspace, is_inline, write_stream
from msgkit.runtime.media_headers import UNKNOWN

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(document.cookie)</script>"


@pytest_asyncio.fixture(scope="module")
async def inspector() -> AsyncIterator[MediaInspector]:
    inspector = MediaInspector()
    yield inspector
    await inspector.aclose()


def encoded(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def picture(width: int = 640, height: int = 480, mode: str = "RGB") -> Image.Image:
    return Image.radial_gradient("L").resize((width, height)).convert(mode)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1024 * 1024))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8) + kind + body


def movie(*, brand: bytes = b"isom", turned: bool = False, video: bool = True) -> bytes:
    """An MP4 of 12.5 s; 1280 × 720, maybe filmed upright; with or without a picture."""
    mvhd = box(b"mvhd", bytes(12), struct.pack(">II", 1000, 12_500), bytes(80))
    matrix = (0, 0x10000, 0, -0x10000, 0) if turned else (0x10000, 0, 0, 0, 0x10000)
    tkhd = box(
        b"tkhd",
        bytes(40),
        struct.pack(">9i", *matrix[:2], 0, *matrix[3:], 0, 0, 0, 0x40000000),
        struct.pack(">II", 1280 << 16, 720 << 16),
    )
    hdlr = box(b"hdlr", bytes(8), b"vide" if video else b"soun", bytes(12))
    trak = box(b"trak", tkhd if video else box(b"tkhd", bytes(84)), box(b"mdia", hdlr))
    return box(b"ftyp", brand, bytes(4), b"isom") + box(b"mdat", bytes(5000)) + box(b"moov", mvhd, trak)


def sound() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(bytes(8000 * 2 * 3))
    return buffer.getvalue()


def ogg_opus(seconds: int) -> bytes:
    """Two pages of Ogg: the head, and a last one that says where the sound ends."""

    def page(flags: int, granule: int, number: int, data: bytes) -> bytes:
        head = struct.pack("<4sBBqIII", b"OggS", 0, flags, granule, 1, number, 0) + bytes([1, len(data)])
        return head + data

    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, 48000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 3) + b"abc" + struct.pack("<I", 0)
    return page(2, 0, 0, head) + page(0, 0, 1, tags) + page(4, 48000 * seconds + 312, 2, b"\xfc\xff\xfe")


def office(part: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(part, "<x/>")
    return buffer.getvalue()


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(200 * 1024 * 1024))
    return buffer.getvalue()


async def look(
    inspector: MediaInspector, tmp_path: Path, data: bytes, name: str | None = None
) -> media.Inspected:
    path = tmp_path / "file"
    path.write_bytes(data)
    return await inspector.inspect(path, name)


@pytest.mark.parametrize(
    ("data", "name", "mime"),
    [
        (SVG, "logo.png", UNKNOWN),
        (HTML, "photo.jpg", UNKNOWN),
        (b"<?xml version='1.0'?><a/>", "data.xml", UNKNOWN),
        (EICAR, "eicar.png", UNKNOWN),
        (b"GIF89a/*\x00\x00*/=0;alert(1)//", "polyglot.gif", UNKNOWN),
        (b"\x89PNG\r\n\x1a\n" + HTML, "page.png", UNKNOWN),
        (encoded(picture(), format="JPEG")[:2000], "half.jpg", UNKNOWN),
        (b"\xff\xd8\xff\xe0", "start.jpg", UNKNOWN),
        (movie()[:-60], "half.mp4", UNKNOWN),
        (box(b"ftyp", b"isom") + struct.pack(">I", 2**31) + b"moov", "liar.mp4", UNKNOWN),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "half.webp", UNKNOWN),
        (b"\x1aE\xdf\xa3" + bytes(60), "film.mkv", UNKNOWN),
        (b"x", "x.txt", UNKNOWN),
        (b"%PDF-1.7\n" + HTML, "rahunok.pdf", "application/pdf"),
        (b"PK\x05\x06" + bytes(18), "empty.zip", "application/zip"),
        (box(b"ftyp", b"heic", bytes(4), b"mif1"), "IMG_1.HEIC", "image/heic"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_is_no_good_image_is_for_download(
    inspector: MediaInspector, tmp_path: Path, data: bytes, name: str, mime: str
) -> None:
    found = await look(inspector, tmp_path, data, name)
    assert (found.mime, found.kind, found.safe_inline) == (mime, MessageKind.FILE, False)
    assert found.path.read_bytes() == data
    assert found.thumb_path is None
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (office("word/document.xml"), "wordprocessingml.document"),
        (office("xl/workbook.xml"), "spreadsheetml.sheet"),
        (office("ppt/presentation.xml"), "presentationml.presentation"),
        (office("evil/script.js"), "zip"),
        (zip_bomb(), "zip"),
    ],
    ids=["docx", "xlsx", "pptx", "zip", "bomb"],
)
async def test_archives_are_not_unpacked(
    inspector: MediaInspector, tmp_path: Path, data: bytes, mime: str
) -> None:
    found = await look(inspector, tmp_path, data)
    assert found.mime.endswith(mime)
    assert (found.kind, found.size_bytes) == (MessageKind.FILE, len(data))


async def test_photo_is_made_anew_upright_and_without_its_place(
    inspector: MediaInspector, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif.get_ifd(0x8825).update({1: "N", 2: (50.0, 27.0, 0.0), 3: "E", 4: (30.0, 31.0, 0.0)})
    exif[0x010F] = "CanaryPhone"
    data = encoded(picture(1200, 800), format="JPEG", exif=exif, comment=b"CanaryComment")
    assert b"CanaryPhone" in data

    found = await look(inspector, tmp_path, data, "../фото.jpg")

    assert (found.name, found.mime, found.kind) == ("фото.jpg", "image/jpeg", MessageKind.IMAGE)
    assert (found.width, found.height, found.safe_inline) == (800, 1200, True)
    kept = found.path.read_bytes()
    assert b"Canary" not in kept
    assert b"Exif" not in kept
    with Image.open(found.path) as shown:
        assert shown.size == (800, 1200)
        assert not shown.getexif()
    assert found.thumb_path is not None
    with Image.open(found.thumb_path) as thumb:
        assert (thumb.format, thumb.size) == ("WEBP", (320, 480))
    assert found.size_bytes == len(kept)


async def test_script_behind_an_image_is_cut_off(inspector: MediaInspector, tmp_path: Path) -> None:
    for kind in ("GIF", "PNG", "JPEG", "WEBP"):
        found = await look(inspector, tmp_path, encoded(picture(64, 64), format=kind) + HTML)
        assert found.kind is MessageKind.IMAGE
        assert b"<script>" not in found.path.read_bytes()


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "I;16"])
async def test_png_of_any_mode_keeps_its_look(inspector: MediaInspector, tmp_path: Path, mode: str) -> None:
    image = picture(600, 50, "L").convert(mode) if mode != "I;16" else Image.new(mode, (600, 50), 30_000)
    found = await look(inspector, tmp_path, encoded(image, format="PNG", pnginfo=None))
    assert (found.mime, found.width, found.height) == ("image/png", 600, 50)
    with Image.open(found.path) as shown:
        assert shown.mode == image.mode
    assert found.thumb_path is not None


async def test_colours_of_print_become_colours_of_screens(inspector: MediaInspector, tmp_path: Path) -> None:
    found = await look(inspector, tmp_path, encoded(picture(mode="CMYK"), format="JPEG"))
    with Image.open(found.path) as shown:
        assert shown.mode == "RGB"


async def test_animation_stays_one(inspector: MediaInspector, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), (n * 20, 0, 0)) for n in range(5)]
    for kind, mime in (("GIF", "image/gif"), ("WEBP", "image/webp")):
        data = encoded(frames[0], format=kind, save_all=True, append_images=frames[1:], duration=80, loop=0)
        found = await look(inspector, tmp_path, data)
        assert (found.mime, found.kind) == (mime, MessageKind.IMAGE)
        with Image.open(found.path) as shown:
            assert getattr(shown, "n_frames", 1) == 5
            assert shown.info["loop"] == 0
            shown.seek(1)
            shown.load()
            assert shown.info["duration"] == 80


async def test_long_animation_is_for_download_with_a_still(inspector: MediaInspector, tmp_path: Path) -> None:
    frames = [Image.new("L", (4000, 3000), n * 40) for n in range(6)]
    data = encoded(frames[0], format="GIF", save_all=True, append_images=frames[1:])
    found = await look(inspector, tmp_path, data)
    assert (found.mime, found.kind) == (UNKNOWN, MessageKind.FILE)
    assert found.thumb_path is not None


async def test_picture_that_claims_billions_of_pixels_is_refused_undecoded(
    inspector: MediaInspector, tmp_path: Path
) -> None:
    with pytest.raises(MediaRefused) as refused:
        await look(inspector, tmp_path, png_header(50_000, 50_000))
    assert refused.value.reason == "dangerous"
    assert "мегапікселів" in refused.value.text


async def test_large_panorama_is_kept_for_download(inspector: MediaInspector, tmp_path: Path) -> None:
    data = encoded(Image.new("L", (9_000, 4_600)), format="PNG")
    found = await look(inspector, tmp_path, data, "панорама.png")
    assert (found.mime, found.kind, found.name) == (UNKNOWN, MessageKind.FILE, "панорама.png")
    assert found.path.read_bytes() == data


async def test_decoder_without_memory_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real limit on a real decoder: the picture becomes a download, the next file is looked at."""
    inspector = await _limited(monkeypatch, "MEMORY_BYTES = 150 * 1024 * 1024")
    try:
        found = await look(inspector, tmp_path, encoded(picture(7000, 5000), format="JPEG"))
        assert (found.mime, found.kind) == (UNKNOWN, MessageKind.FILE)
        assert (await look(inspector, tmp_path, encoded(picture(), format="JPEG"))).mime == "image/jpeg"
    finally:
        await inspector.aclose()


async def test_decoder_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspector = await _limited(
        monkeypatch, "m._image = lambda *_: [0 for _ in iter(int, 1)]", "CPU_SECONDS = 1"
    )
    try:
        found = await look(inspector, tmp_path, encoded(picture(), format="JPEG"))
        assert (found.mime, found.kind) == (UNKNOWN, MessageKind.FILE)
    finally:
        await inspector.aclose()


async def test_decoder_that_falls_over_makes_the_file_dangerous(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = await _limited(monkeypatch, "m._image = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)")
    try:
        with pytest.raises(MediaRefused) as refused:
            await look(inspector, tmp_path, encoded(picture(), format="JPEG"))
        assert refused.value.reason == "dangerous"
        assert (await look(inspector, tmp_path, SVG)).mime == UNKNOWN
    finally:
        await inspector.aclose()


async def test_process_that_hangs_or_dies_is_replaced(
    inspector: MediaInspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(picture(), format="JPEG")
    await look(inspector, tmp_path, data)
    (warm,) = inspector._idle
    os.kill(warm._process.pid, signal.SIGKILL)
    assert (await look(inspector, tmp_path, data)).mime == "image/jpeg"

    (warm,) = inspector._idle
    os.kill(warm._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(media, "ANSWER_SECONDS", 0.5)
    with pytest.raises(media.InspectionUnavailable):
        await look(inspector, tmp_path, data)
    monkeypatch.setattr(media, "ANSWER_SECONDS", 20)
    assert (await look(inspector, tmp_path, data)).mime == "image/jpeg"


async def test_caller_who_goes_away_leaves_no_answer_behind(
    inspector: MediaInspector, tmp_path: Path
) -> None:
    (tmp_path / "first").write_bytes(encoded(picture(4000, 3000), format="JPEG"))
    await look(inspector, tmp_path, SVG)
    (warm,) = inspector._idle
    task = asyncio.create_task(inspector.inspect(tmp_path / "first", None))
    await asyncio.sleep(0)  # pace: the question is out, the answer is not yet there
    task.cancel()
    await asyncio.wait({task})
    assert warm._process.returncode is not None
    assert (await look(inspector, tmp_path, SVG)).mime == UNKNOWN


async def test_empty_file_is_unreadable(inspector: MediaInspector, tmp_path: Path) -> None:
    with pytest.raises(MediaRefused) as refused:
        await look(inspector, tmp_path, b"")
    assert refused.value.reason == "unreadable"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (movie(), ("video/mp4", MessageKind.VIDEO, 1280, 720, 12.5)),
        (movie(turned=True), ("video/mp4", MessageKind.VIDEO, 720, 1280, 12.5)),
        (movie(brand=b"qt  "), ("video/quicktime", MessageKind.VIDEO, 1280, 720, 12.5)),
        (movie(video=False), ("audio/mp4", MessageKind.AUDIO, None, None, 12.5)),
        (movie(brand=b"M4A ", video=False), ("audio/mp4", MessageKind.AUDIO, None, None, 12.5)),
        (sound(), ("audio/wav", MessageKind.AUDIO, None, None, 3.0)),
        (ogg_opus(7), ("audio/ogg", MessageKind.AUDIO, None, None, 7.0)),
        (
            b"\x1aE\xdf\xa3" + bytes(8) + b"B\x82\x84webm" + bytes(99),
            ("video/webm", MessageKind.VIDEO, None, None, None),
        ),
        (b"ID3" + bytes(200), ("audio/mpeg", MessageKind.AUDIO, None, None, None)),
    ],
    ids=["mp4", "upright", "mov", "sound-mp4", "m4a", "wav", "opus", "webm", "mp3"],
)
async def test_recordings_tell_their_measures(
    inspector: MediaInspector, tmp_path: Path, data: bytes, expected: tuple[object, ...]
) -> None:
    found = await look(inspector, tmp_path, data)
    seconds = None if found.duration_s is None else round(found.duration_s, 1)
    assert (found.mime, found.kind, found.width, found.height, seconds) == expected
    assert found.safe_inline
    assert found.path.read_bytes() == data


def test_only_what_cannot_run_is_shown_by_a_browser() -> None:
    assert is_inline("image/jpeg")
    assert is_inline("video/mp4")
    for mime in ("image/svg+xml", "text/html", UNKNOWN, "application/pdf", "image/heic", "text/plain"):
        assert not is_inline(mime)


async def test_stream_is_written_up_to_its_limit(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(300_000)

    assert await write_stream(chunks(), tmp_path / "a", max_bytes=6_000_000) == 6_000_000
    assert (tmp_path / "a").stat().st_size == 6_000_000
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileTooBig):
        await write_stream(chunks(), tmp_path / "b", max_bytes=5_999_999)


async def test_folders_of_the_dead_are_swept_and_those_of_the_living_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    living, started = Workspace("ingest-x"), Workspace("ingest-x")
    await living.prepare()
    root = tmp_path / f"rozmova-{os.getuid()}" / "ingest-x"
    dead = root / "dead"
    dead.mkdir()
    (dead / ".alive").touch()
    (dead / "half-a-file").write_bytes(b"x")
    async with living.folder() as folder:
        (folder / "file").write_bytes(b"x")
        await started.prepare()
        assert (folder / "file").exists()
        assert not dead.exists()
    assert not folder.exists()
    await living.aclose()
    await started.aclose()
    assert list(root.iterdir()) == []


async def _limited(monkeypatch: pytest.MonkeyPatch, *changes: str) -> MediaInspector:
    """An inspector whose process begins with other constants, or with a decoder that misbehaves."""
    program = "import os, signal, msgkit.runtime.media_inspection as m\n"
    for change in changes:
        program += f"m.{change}\n" if not change.startswith("m.") else f"{change}\n"
    program += "m.main()"
    original = asyncio.create_subprocess_exec

    async def start(*argv: str, **options: object) -> asyncio.subprocess.Process:
        return await original(argv[0], "-c", program, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    return MediaInspector()
