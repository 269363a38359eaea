"""The limited process that looks at strangers' files: one forked child per file, then it is gone.

Spoken to by `media.py` only: one JSON line in, one JSON line out. It has no environment, no secrets and no
connections; a child has limits on CPU time, memory, files and processes. Whatever a file does, it does here.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError
from tinytag import TinyTag
from tinytag.tinytag import TinyTagException

from msgkit.runtime.media_headers import UNKNOWN, read_video, type_of

CPU_SECONDS = 5
MEMORY_BYTES = 512 * 1024 * 1024
PIXELS_MAX = 40_000_000
"""Larger images are kept for download without being decoded: 40 million pixels take 160 MB as they are."""
PIXELS_DANGEROUS = 200_000_000
"""No camera makes them; decoded by the operator's viewer they fill its memory."""
ANIMATION_PIXELS_MAX = 60_000_000
"""Of all frames together."""
THUMB_PIXELS = 480

_IDLE_SECONDS = 300.0
_OUTPUT_BYTES = 256 * 1024 * 1024
_ICC_BYTES_MAX = 512 * 1024
_JPEG_QUALITY = 90
_WEBP_QUALITY = 88
_PNG_LEVEL = 3
"""A third of the time of the usual 6, a few percent larger."""
_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/webp": "WEBP"}
_PLAIN_MODES = {"RGB", "RGBA", "L", "LA", "P", "1"}
_KEPT_INFO = ("transparency", "duration", "loop", "background", "disposal", "blend")
_QUARTER_TURNS = {5, 6, 7, 8}
_ORIENTATION = 0x0112
_DECODE_FAULTS = (OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, EOFError, OverflowError)
"""What decoders raise for a broken file; they have no error class of their own."""
_EXHAUSTED_SIGNALS = {signal.SIGXCPU, signal.SIGKILL, signal.SIGXFSZ, signal.SIGALRM}


@dataclass
class _Found:
    mime: str
    kind: str
    size_bytes: int
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    view: str | None = None
    thumb: str | None = None


class _Refused(Exception):
    def __init__(self, refused: str, why: str) -> None:
        super().__init__(why)
        self.refused = refused
        self.why = why


def inspect(path: Path, *, plain: bool) -> dict[str, Any]:
    """What the file is. `plain`: by its first bytes only, for one that was too much work."""
    size = path.stat().st_size
    if size == 0:
        return {"refused": "unreadable", "why": "empty"}
    mime = type_of(path)
    try:
        if plain:
            found = _as_file(path, UNKNOWN if mime in _FORMATS else mime)
        elif mime in _FORMATS:
            found = _image(path, mime)
        elif mime.startswith(("video/", "audio/")):
            found = _recording(path, mime)
        else:
            found = _as_file(path, mime)
    except _Refused as exc:
        return {"refused": exc.refused, "why": exc.why}
    return asdict(found)


def _as_file(path: Path, mime: str) -> _Found:
    return _Found(mime, "file", path.stat().st_size)


def _image(path: Path, mime: str) -> _Found:
    Image.MAX_IMAGE_PIXELS = None  # the limits are ours, below
    try:
        with Image.open(path, formats=(_FORMATS[mime],)) as image:
            pixels = image.width * image.height
            if pixels > PIXELS_DANGEROUS:
                raise _Refused("dangerous", "pixels")
            if pixels > PIXELS_MAX:
                return _as_file(path, UNKNOWN)
            return _made_anew(image, path, mime)
    except (UnidentifiedImageError, Image.DecompressionBombError, *_DECODE_FAULTS):
        # It begins like an image and is none a browser should try: for download, as bytes.
        for left in (_view(path), _thumb(path)):
            left.unlink(missing_ok=True)
        return _as_file(path, UNKNOWN)


def _made_anew(image: Image.Image, path: Path, mime: str) -> _Found:
    frames = int(getattr(image, "n_frames", 1)) if mime in {"image/gif", "image/webp", "image/png"} else 1
    icc = image.info.get("icc_profile")
    options: dict[str, Any] = {"format": _FORMATS[mime]}
    if isinstance(icc, bytes) and len(icc) <= _ICC_BYTES_MAX:
        options["icc_profile"] = icc
    if frames > 1:
        if frames * image.width * image.height > ANIMATION_PIXELS_MAX:
            still = _as_file(path, UNKNOWN)
            still.thumb = _make_thumb(image, path)
            return still
        thumb = _make_thumb(image, path)
        image.seek(0)
        options |= {"save_all": True}
    else:
        image = _upright(image)
        thumb = _make_thumb(image, path)
    options |= _encoding(image, mime)
    if mime == "image/jpeg" and image.mode not in {"RGB", "L"}:
        image = image.convert("RGB")
        options.pop("icc_profile", None)  # of the old colours
    # Comments, EXIF and XMP would be written out again from here.
    image.info = {key: image.info[key] for key in _KEPT_INFO if key in image.info}
    view = _view(path)
    image.save(view, **options)
    return _Found(
        mime,
        "image",
        view.stat().st_size,
        width=image.width,
        height=image.height,
        view=str(view),
        thumb=thumb,
    )


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    if image.getexif().get(_ORIENTATION, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _encoding(image: Image.Image, mime: str) -> dict[str, Any]:
    if mime == "image/jpeg":
        # With the tables it was made with, nearly nothing is lost by making it anew.
        same = isinstance(image, JpegImagePlugin.JpegImageFile) and image.format == "JPEG"
        return {"quality": "keep"} if same and image.mode in {"RGB", "L"} else {"quality": _JPEG_QUALITY}
    if mime == "image/png":
        return {"compress_level": _PNG_LEVEL}
    if mime == "image/webp":
        return {"quality": _WEBP_QUALITY, "method": 2, "exif": b"", "xmp": b""}
    return {}


def _make_thumb(image: Image.Image, path: Path) -> str:
    factor = max(1, max(image.size) // (2 * THUMB_PIXELS))
    small = image.convert("RGBA" if image.has_transparency_data else "RGB") if image.mode == "P" else image
    small = small.reduce(factor) if factor > 1 else small.copy()
    if small.mode not in _PLAIN_MODES or small.mode in {"P", "1"}:
        small = small.convert("RGBA" if small.has_transparency_data else "RGB")
    small.thumbnail((THUMB_PIXELS, THUMB_PIXELS))
    small.info = {}
    thumb = _thumb(path)
    small.save(thumb, format="WEBP", quality=75, method=2)
    return str(thumb)


def _recording(path: Path, mime: str) -> _Found:
    found = _Found(mime, mime.partition("/")[0], path.stat().st_size)
    if mime in {"video/mp4", "video/quicktime", "video/3gpp", "audio/mp4"}:
        try:
            header = read_video(path)
        except ValueError:
            return _as_file(path, UNKNOWN)
        found.duration_s = header.duration_s
        if header.has_video and mime.startswith("video/"):
            found.width, found.height = header.width, header.height
        elif mime == "video/mp4":
            found.mime, found.kind = "audio/mp4", "audio"
    elif mime.startswith("audio/"):
        found.duration_s = _audio_seconds(path)
    return found


def _audio_seconds(path: Path) -> float | None:
    try:
        with path.open("rb") as file:
            seconds = TinyTag.get(file_obj=file, tags=False).duration
    except (TinyTagException, *_DECODE_FAULTS):
        return None
    return round(seconds, 3) if seconds and 0 < seconds < 7 * 24 * 3600 else None


def _view(path: Path) -> Path:
    return path.with_name(path.name + ".view")


def _thumb(path: Path) -> Path:
    return path.with_name(path.name + ".thumb")


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT_BYTES, _OUTPUT_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _child(request: dict[str, Any], pipe: int) -> NoReturn:
    try:
        _limit()
        answer = inspect(Path(request["path"]), plain=request["plain"])
    except MemoryError:
        answer = {"exhausted": "memory"}
    os.write(pipe, json.dumps(answer).encode())
    os._exit(0)


def _look(request: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(request, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in _EXHAUSTED_SIGNALS:
            return {"exhausted": signal.Signals(number).name}
        # A decoder that was made to fall over: nobody else should open this.
        return {"refused": "dangerous", "why": "crash"}
    if os.WEXITSTATUS(status) != 0 or not said:
        return {"exhausted": "fault"}
    answer: dict[str, Any] = json.loads(said)
    return answer


def main() -> None:
    """Answer until nobody asks any more."""
    Image.init()
    requests = sys.stdin.buffer
    while select.select([requests], [], [], _IDLE_SECONDS)[0]:
        line = requests.readline()
        if not line:
            return
        answer = _look(json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
