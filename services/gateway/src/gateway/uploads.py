"""Files of answers before they are sent: taken in, looked at, kept for a day, used by their owner only."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from gateway.limits import Buckets
from gateway.schemas import Session
from gateway.store import Store, Upload
from msgkit.contracts.ids import new_id
from msgkit.contracts.internal_api import UploadedFile
from msgkit.runtime.clock import Clock
from msgkit.runtime.logs import get_logger
from msgkit.runtime.media import (
    FileTooBig,
    Inspected,
    InspectionUnavailable,
    MediaInspector,
    MediaRefused,
    Workspace,
    write_stream,
)
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.objects import ObjectStore, ObjectStoreUnavailable, new_key
from msgkit.runtime.problems import Problem

log = get_logger(__name__)

UPLOAD_LIFE = timedelta(hours=24)
SWEEP_MARGIN = timedelta(hours=1)
"""An upload that ended cannot be used; what was used at the last moment is marked by then."""
SWEEP_SECONDS = 600.0
SWEEP_AT_ONCE = 100
IDLE_SECONDS = 20.0
"""Between two pieces of a file that is coming."""
PASS_SECONDS = 10.0
PASS_IDLE_SECONDS = 1.0
PASS_TIMES = 4
"""A refused file of so many times the limit is still read to its end; a larger one is cut off."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    max_bytes: int
    seconds: float
    """For one whole file."""
    at_once_user: int
    at_once: int
    """Of all users of this replica: each may fill `max_bytes` of the disk."""


class Uploads:
    def __init__(
        self,
        store: Store,
        objects: ObjectStore,
        inspector: MediaInspector,
        workspace: Workspace,
        limits: UploadLimits,
        per_user: Buckets,
        clock: Clock,
    ) -> None:
        self._store = store
        self._objects = objects
        self._inspector = inspector
        self._workspace = workspace
        self._limits = limits
        self._per_user = per_user
        self._clock = clock
        self._coming: Counter[tuple[str, str]] = Counter()

    async def take_in(
        self, session: Session, chunks: AsyncIterator[bytes], claimed_name: str | None, announced: int | None
    ) -> Upload:
        """Take one file from its sender into the object store.

        Args:
            session: whose file it is.
            chunks: its bytes; whatever they raise comes through, and nothing stays.
            claimed_name: as its sender calls it.
            announced: its size in bytes, if its sender says it.

        Raises:
            Problem: 413, 408, 422, 429 or 503, with what to do.
        """
        if announced is not None and announced > self._limits.max_bytes:
            raise self._too_big()
        with self._turn(session):
            async with self._workspace.folder() as folder:
                path = folder / "file"
                try:
                    await self._receive(chunks, path)
                    inspected = await self._inspector.inspect(path, claimed_name)
                    return await self._keep(session, inspected)
                except FileTooBig as exc:
                    raise self._too_big() from exc
                except MediaRefused as exc:
                    raise Problem(422, "file_refused", exc.text, reason=exc.reason) from exc
                except (InspectionUnavailable, ObjectStoreUnavailable, OSError) as exc:
                    log.error("upload_failed", reason=type(exc).__name__)  # noqa: TRY400 - paths in a traceback
                    raise _unavailable() from exc

    async def let_pass(self, chunks: AsyncIterator[bytes]) -> None:
        """Read on for a while what was refused: a sender cut off while it sends never sees why."""
        left = PASS_TIMES * self._limits.max_bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PASS_SECONDS):
                async for chunk in _paced(chunks, PASS_IDLE_SECONDS):
                    left -= len(chunk)
                    if left < 0:
                        return

    async def resolve(self, session: Session, upload_ids: Sequence[str]) -> list[UploadedFile]:
        """The files of a message that is about to be sent, in their order.

        Raises:
            Problem: 422 `unknown_upload` for what is not this user's, or has ended.
        """
        if not upload_ids:
            return []
        found = {
            upload.id: upload
            for upload in await self._store.use_uploads(
                session.tenant_id, session.user_id, upload_ids, self._clock(), UPLOAD_LIFE
            )
        }
        if len(set(upload_ids)) != len(upload_ids) or len(found) != len(upload_ids):
            raise Problem(
                422,
                "unknown_upload",
                "Файлу вже немає на сервері. Додайте його до повідомлення ще раз.",
                unknown=[id_ for id_ in upload_ids if id_ not in found],
            )
        return [found[id_].as_file() for id_ in upload_ids]

    async def sweep(self) -> None:
        """Remove files nobody sent, for ever. Each replica does: removing twice is removing once."""
        while True:
            try:
                ended = await self._store.ended_uploads(self._clock() - SWEEP_MARGIN, SWEEP_AT_ONCE)
                for upload in ended:
                    await self._remove(upload)
                    # Last, so that a failure above is repeated.
                    await self._store.forget_upload(upload.id)
                if len(ended) == SWEEP_AT_ONCE:
                    continue
            except (StoreUnavailable, ObjectStoreUnavailable) as exc:
                log.warning("uploads_not_swept", reason=type(exc).__name__)
            await asyncio.sleep(SWEEP_SECONDS)

    async def _receive(self, chunks: AsyncIterator[bytes], path: Path) -> None:
        try:
            async with asyncio.timeout(self._limits.seconds):
                size = await write_stream(
                    _paced(chunks, IDLE_SECONDS), path, max_bytes=self._limits.max_bytes
                )
        except TimeoutError as exc:
            raise Problem(
                408,
                "too_slow",
                "Файл надходив занадто довго. Перевірте з'єднання і спробуйте ще раз.",
                headers={"Connection": "close"},
            ) from exc
        if size == 0:
            raise Problem(422, "empty_file", "Файл порожній. Оберіть інший.")

    async def _keep(self, session: Session, inspected: Inspected) -> Upload:
        upload = Upload(
            id=new_id(),
            tenant_id=session.tenant_id,
            user_id=session.user_id,
            key=new_key(),
            thumb_key=None if inspected.thumb_path is None else new_key(),
            kind=inspected.kind,
            name=inspected.name,
            mime=inspected.mime,
            size_bytes=inspected.size_bytes,
            width=inspected.width,
            height=inspected.height,
            duration_s=inspected.duration_s,
        )
        kept = False
        try:
            await self._objects.put_file(upload.key, inspected.path)
            if upload.thumb_key is not None and inspected.thumb_path is not None:
                await self._objects.put_file(upload.thumb_key, inspected.thumb_path)
            await self._store.add_upload(upload, self._clock() + UPLOAD_LIFE)
            kept = True
        finally:
            if not kept:
                # Nobody knows these objects: what is not removed here stays for ever.
                await asyncio.shield(self._remove(upload))
        log.info("upload_kept", mime=upload.mime, size_bytes=upload.size_bytes, tenant_id=upload.tenant_id)
        return upload

    async def _remove(self, upload: Upload) -> None:
        for key in (upload.key, upload.thumb_key):
            if key is not None:
                await self._objects.delete(key)

    @contextmanager
    def _turn(self, session: Session) -> Iterator[None]:
        """A place among the files that are coming in.

        Raises:
            Problem: 429; there is none.
        """
        key = (session.tenant_id, session.user_id)
        if self._coming[key] >= self._limits.at_once_user or self._coming.total() >= self._limits.at_once:
            raise _too_many(2)
        wait = self._per_user.take(":".join(key))
        if wait:
            raise _too_many(wait)
        self._coming[key] += 1
        try:
            yield
        finally:
            self._coming[key] -= 1
            if not self._coming[key]:
                del self._coming[key]

    def _too_big(self) -> Problem:
        megabytes = self._limits.max_bytes // 1024**2
        return Problem(
            413,
            "file_too_big",
            f"Файл більший за {megabytes} МБ. Зменште його або надішліть посиланням.",
            headers={"Connection": "close"},  # the rest of the file is not worth reading
            max_bytes=self._limits.max_bytes,
        )


async def _paced(chunks: AsyncIterator[bytes], idle_seconds: float) -> AsyncIterator[bytes]:
    """The same pieces; TimeoutError when the next one does not come."""
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        yield chunk


def _too_many(wait_seconds: int) -> Problem:
    return Problem(
        429,
        "too_many_uploads",
        "Забагато файлів одночасно. Зачекайте, доки надійдуть попередні.",
        headers={"Retry-After": str(wait_seconds), "Connection": "close"},
    )


def _unavailable() -> Problem:
    return Problem(
        503,
        "unavailable",
        "Файл не вдалося зберегти. Спробуйте ще раз за хвилину.",
        headers={"Retry-After": "10", "Connection": "close"},
    )
