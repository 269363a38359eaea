"""Looks at files of strangers in a separate, limited process, and keeps them while they are looked at."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgkit.contracts.words import MessageKind
from msgkit.runtime.file_names import clean_name
from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

THUMB_MIME = "image/webp"
"""Of every thumbnail."""
ANSWER_SECONDS = 20.0
"""Wall time of one look: the CPU limit of 5 s on a busy machine."""

_WRITE_BYTES = 1024 * 1024
_LOCK = ".alive"


_SHOWN_IMAGES = {"image/jpeg", "image/png", "image/gif", "image/webp"}


def is_inline(mime: str) -> bool:
    """Whether a browser may show a stored file: images we made anew, video and audio.

    An image that could not be made anew is never kept under an image's type, so the type alone decides.
    """
    return mime in _SHOWN_IMAGES or mime.startswith(("video/", "audio/"))


class MediaRefused(Exception):
    """This file is not kept.

    Args:
        reason: as in `MediaSettled.reason`.
        text: for the operator, in Ukrainian: what is wrong and what to do.
    """

    def __init__(self, reason: Literal["dangerous", "unreadable"], text: str) -> None:
        super().__init__(text)
        self.reason: Literal["dangerous", "unreadable"] = reason
        self.text = text


class FileTooBig(Exception):
    """More bytes came than are allowed; reading was stopped."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"more than {max_bytes} bytes")
        self.max_bytes = max_bytes


class InspectionUnavailable(Exception):
    """The file could not be looked at now (no process, no memory, no disk): repeat later."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a file was found to be."""

    path: Path
    """The bytes to keep: the file itself, or the image made anew without its metadata, beside it."""
    name: str
    """The claimed name without what could deceive, with an ending that fits the type."""
    mime: str
    """`application/octet-stream` for everything we do not know, SVG, HTML and XML among it."""
    kind: MessageKind
    """image, video, audio or file."""
    size_bytes: int
    """Of `path`."""
    width: int | None
    """Pixels, as shown: after the turn the camera asked for."""
    height: int | None
    duration_s: float | None
    thumb_path: Path | None
    """At most 480 pixels, THUMB_MIME; only for images."""
    safe_inline: bool
    """`is_inline(mime)`: whether a browser may show it; anything else is for download only."""


class MediaInspector:
    """Asks the limited process; starts it when it is first needed, and again after every fault.

    A warm process forks one child per file: starting Python with Pillow anew would take half of the time,
    and a child that lived longer would carry what one file did to it over to the next.
    """

    def __init__(self, *, at_once: int = 1) -> None:
        """
        Args:
            at_once: how many files are looked at side by side.
        """
        self._slots = asyncio.Semaphore(at_once)
        self._idle: list[_Warm] = []
        self._closed = False

    async def inspect(self, path: Path, claimed_name: str | None) -> Inspected:
        """Find out what the file is; an image is made anew, upright and without metadata.

        Args:
            path: a local file; what is made of it lies beside it under its name with `.view` and `.thumb`.
            claimed_name: what its sender calls it; shows in the result's name, decides nothing.

        Raises:
            MediaRefused: it must not be kept.
            InspectionUnavailable: nobody could look.
        """
        async with self._slots:
            answer = await self._ask(path, plain=False)
            if answer.get("exhausted"):
                # Too much work for an image; as a download it is as good as any other file.
                log.info("media_kept_unseen", reason=answer["exhausted"])
                answer = await self._ask(path, plain=True)
                if answer.get("exhausted"):
                    raise InspectionUnavailable("even the type of the file cannot be read: see the limits")
        refused = answer.get("refused")
        if refused is not None:
            raise MediaRefused(refused, _REFUSALS[str(answer["why"])])
        kept = Path(answer["view"]) if answer["view"] else path
        return Inspected(
            path=kept,
            name=clean_name(claimed_name, answer["mime"]),
            mime=answer["mime"],
            kind=MessageKind(answer["kind"]),
            size_bytes=answer["size_bytes"],
            width=answer["width"],
            height=answer["height"],
            duration_s=answer["duration_s"],
            thumb_path=Path(answer["thumb"]) if answer["thumb"] else None,
            safe_inline=is_inline(answer["mime"]),
        )

    async def aclose(self) -> None:
        """Ends the processes."""
        self._closed = True
        while self._idle:
            await self._idle.pop().end()

    async def _ask(self, path: Path, *, plain: bool) -> dict[str, Any]:
        request = {"path": str(path), "plain": plain}
        if self._idle:
            warm = self._idle.pop()
            try:
                return await self._answer(warm, request)
            except _Gone:
                pass  # it had nothing to do for long and went home
        try:
            return await self._answer(await _Warm.start(), request)
        except _Gone as exc:
            raise InspectionUnavailable("the process that looks at files ends at once: see its log") from exc

    async def _answer(self, warm: _Warm, request: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await warm.ask(request)
        except BaseException:
            # Also when the caller was cancelled: an answer nobody reads would meet the next question.
            await warm.end()
            raise
        if self._closed:
            await warm.end()
        else:
            self._idle.append(warm)
        return answer


class _Gone(Exception):
    """The process ended without an answer."""


class _Warm:
    """One process that waits for files."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> _Warm:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-m",
                "msgkit.runtime.media_inspection",
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,  # libraries print pieces of the file there
                env={},  # ours holds secrets
                cwd="/",
                start_new_session=True,  # one signal ends it and its child
            )
        except OSError as exc:
            raise InspectionUnavailable(f"no process can be started ({exc.strerror})") from exc
        return cls(process)

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            await self._process.stdin.drain()
            async with asyncio.timeout(ANSWER_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            await self.end()
            # The child's CPU is limited, so the machine is the slow one, not the file.
            raise InspectionUnavailable(
                f"nobody looked within {ANSWER_SECONDS:g} s: is the machine busy?"
            ) from None
        except OSError as exc:
            raise _Gone from exc
        if not line.endswith(b"\n"):
            raise _Gone
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


_REFUSALS = {
    "empty": "Файл порожній. Попросіть надіслати його ще раз.",
    "pixels": "Зображення завелике для перегляду (понад 200 мегапікселів). Попросіть надіслати менше.",
    "crash": "Файл може бути небезпечним, тому його не збережено. Попросіть надіслати його інакше.",
}


class Workspace:
    """A private folder of this process for files that are being taken in; gone with the process.

    Folders of processes that died are removed by the next one that starts.
    """

    def __init__(self, service: str) -> None:
        """
        Args:
            service: whose files; each service cleans up after itself only.
        """
        self._root = Path(tempfile.gettempdir()) / f"rozmova-{os.getuid()}" / service
        self._folder: Path | None = None
        self._lock: int | None = None

    async def prepare(self) -> None:
        """Make the folder and remove what dead processes left."""
        await asyncio.to_thread(self._prepare)

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Path]:
        """An empty folder for one file and what is made of it; removed with everything in it."""
        assert self._folder is not None, "call prepare() first"
        path = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._folder))
        try:
            yield path
        finally:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)

    async def aclose(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._root.stat().st_uid != os.getuid():
            raise PermissionError(f"{self._root} belongs to somebody else: remove it or set TMPDIR")
        for left in self._root.iterdir():
            _remove_abandoned(left)
        self._folder = Path(tempfile.mkdtemp(dir=self._root))
        # Under its name only once it is held: a folder whose lock is free is swept away.
        new = self._folder / f"{_LOCK}.new"
        self._lock = os.open(new, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        new.rename(self._folder / _LOCK)


def _remove_abandoned(folder: Path) -> None:
    # The lock of a process ends with the process, however it ended.
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # just being made by a process that starts beside us
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


async def write_stream(chunks: AsyncIterable[bytes], path: Path, *, max_bytes: int) -> int:
    """Write a stream into a new file, piece by piece; returns its size in bytes.

    Args:
        chunks: what comes.
        path: of a file that does not exist yet; readable for us alone.
        max_bytes: most bytes it may have.

    Raises:
        FileTooBig: more came.
        OSError: the disk; whatever `chunks` raises comes through.
    """
    size = 0
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    held = bytearray()
    try:
        async for chunk in chunks:
            size += len(chunk)
            if size > max_bytes:
                raise FileTooBig(max_bytes)
            held += chunk
            if len(held) >= _WRITE_BYTES:
                await asyncio.to_thread(_write_all, descriptor, bytes(held))
                held.clear()
        await asyncio.to_thread(_write_all, descriptor, bytes(held))
    finally:
        os.close(descriptor)
    return size


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
