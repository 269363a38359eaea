"""Brings the files of clients' messages into the object store: workers over the store of media jobs.

A message never waits for its files, and a file that cannot be had says why. A crash at any place means that
the job is done again: at most an object is left that nobody names.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from opentelemetry.trace import SpanKind

from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import Account, MediaStream
from msgkit.connector.credentials import EnvelopeInvalid
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.media_store import LEASE_SECONDS, MediaJob, MediaStore, backoff_s
from msgkit.contracts import topology
from msgkit.contracts.events import (
    InboundEvent,
    MediaSettled,
    MessageEchoed,
    MessageEdited,
    MessageReceived,
    StoredMedia,
)
from msgkit.contracts.ids import derived_id, new_id
from msgkit.contracts.manifest import Manifest
from msgkit.contracts.words import FailureCode
from msgkit.runtime import metrics
from msgkit.runtime.bus import Outgoing, PublishUnknown, PublishUnroutable
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.media import (
    FileTooBig,
    InspectionUnavailable,
    MediaInspector,
    MediaRefused,
    Workspace,
    write_stream,
)
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.objects import ObjectStore, ObjectStoreUnavailable, new_key
from msgkit.runtime.telemetry import current_traceparent, span

log = get_logger(__name__)

Reason = Literal["gone", "too_big", "dangerous", "unreadable", "unavailable"]

FILE_MAX_BYTES = 50 * 1024 * 1024
"""Unless the manifest has a limit `file_in`."""
WORKERS = 4
WORKERS_PER_CHANNEL = 2
"""A slow messenger holds half of the workers at most."""
NET_S = 1.0
"""How often we look for work nobody woke us for: jobs of dead replicas, and those put back."""
DRAIN_S = 8.0
ENQUEUE_S = 4.0
"""The messenger waits for our 200 meanwhile."""

_BACKOFF_MAX_S = 300.0
_OUR_BACKOFF_MAX_S = 60.0
_CHANNEL_PAUSE_S = 60.0
_THROTTLE_MAX_S = 3600.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long we try."""

    transfer_s: float = 120.0
    """For one file, whatever trickles in."""
    messenger: timedelta = timedelta(hours=1)
    """With a messenger that does not give the file: links to files expire after about as long."""
    tries_at_least: int = 3
    """Also when we were away ourselves for longer than that."""
    ourselves: timedelta = timedelta(hours=24)
    """With our own object store, disk and process of inspection."""
    first_pause_s: float = 2.0
    """Doubled with each try."""


PATIENCE = Patience()


class OpensMedia(Protocol):
    """The part of a connector we need."""

    def open_media(self, ref: str, account: Account) -> AbstractAsyncContextManager[MediaStream]:
        """As `Connector.open_media`."""


class TakesReports(Protocol):
    """Where reports go: the publisher, or the spool, behind which a report cannot pass its message."""

    async def publish(self, message: Outgoing) -> None:
        """As `Publisher.publish`."""


class _Lost(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class _Later(Exception):
    """Not now.

    Args:
        reason: what is in the way.
        within: give up when the job is older than this.
        after_s: seconds until the next try; None for a growing pause.
        counts: whether it was an attempt.
        pause_channel: leave the other files of the channel alone for as long.
    """

    def __init__(
        self,
        reason: str,
        within: timedelta,
        *,
        after_s: float | None = None,
        counts: bool = True,
        pause_channel: bool = False,
    ) -> None:
        super().__init__(reason)
        self.within = within
        self.after_s = after_s
        self.counts = counts
        self.pause_channel = pause_channel


class MediaJobs:
    """The files of one ingest service, whoever of its replicas took the message."""

    def __init__(
        self,
        *,
        connector: OpensMedia,
        manifests: Sequence[Manifest],
        accounts: AccountStore,
        store: MediaStore,
        objects: ObjectStore,
        inspector: MediaInspector,
        workspace: Workspace,
        publisher: TakesReports,
        patience: Patience = PATIENCE,
        clock: Clock = utc_now,
    ) -> None:
        self._connector = connector
        limits = {each.kind: each.limits.get("file_in") for each in manifests}
        self._max_bytes = {
            kind: FILE_MAX_BYTES if limit is None else limit.value for kind, limit in limits.items()
        }
        self._accounts = accounts
        self._store = store
        self._objects = objects
        self._inspector = inspector
        self._workspace = workspace
        self._publisher = publisher
        self._patience = patience
        self._clock = clock
        self._at_work: Counter[str] = Counter()
        self._paused: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._drained = asyncio.Event()

    async def prepare(self) -> None:
        """Make indexes and folders; remove what dead processes left behind.

        Raises:
            StoreUnavailable, ObjectStoreUnavailable, OSError: something does not work; the text says what.
        """
        await self._store.prepare()
        await self._objects.prepare()
        await self._workspace.prepare()

    async def enqueue(self, events: Sequence[InboundEvent]) -> None:
        """Remember the files of these events, after the events are confirmed and before the 200.

        Raises:
            StoreUnavailable: not remembered: the messenger must repeat; nothing is doubled by that.
        """
        if not any(_has_files(event) for event in events):
            return
        try:
            async with asyncio.timeout(ENQUEUE_S):
                await self._store.add(events)
        except TimeoutError as exc:
            raise StoreUnavailable(f"media_jobs: not confirmed within {ENQUEUE_S:g} s") from exc
        self._wake.set()

    async def run(self) -> None:
        """Fetch until `drain`."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while not self._draining:
                    try:
                        await self._start_due(tasks)
                    except StoreUnavailable as exc:
                        log.warning("media_jobs_wait", reason=str(exc))
                    await _wait(self._wake, NET_S)
                if self._tasks:
                    await asyncio.wait(set(self._tasks), timeout=DRAIN_S)
                    for task in self._tasks:
                        task.cancel()
        finally:
            await self._inspector.aclose()
            await self._workspace.aclose()
        self._drained.set()

    async def drain(self) -> None:
        """Take nothing new; finish what is in hand, or leave it to another replica."""
        self._draining = True
        self._wake.set()
        await self._drained.wait()

    # --- taking jobs

    async def _start_due(self, tasks: asyncio.TaskGroup) -> None:
        while not self._draining and self._at_work.total() < WORKERS:
            owner = new_id()
            job = await self._store.claim(owner, self._busy_channels())
            if job is None:
                return
            self._at_work[job.channel_id] += 1
            task = tasks.create_task(self._serve(job, owner), name=f"media {job.attachment_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _busy_channels(self) -> set[str]:
        now = time.monotonic()
        self._paused = {channel: until for channel, until in self._paused.items() if until > now}
        busy = {channel for channel, count in self._at_work.items() if count >= WORKERS_PER_CHANNEL}
        return busy | self._paused.keys()

    async def _serve(self, job: MediaJob, owner: str) -> None:
        try:
            with span(
                "media job",
                kind=SpanKind.CONSUMER,
                parent=job.traceparent,
                attributes={"kind": job.channel_kind, "attempt": job.attempts},
            ):
                await self._attempt(job, owner)
        except (StoreUnavailable, PublishUnknown, PublishUnroutable) as exc:
            # What is written decides; the job is due again when its lease is over.
            log.warning("media_job_interrupted", attachment_id=job.attachment_id, reason=str(exc))
        finally:
            self._at_work[job.channel_id] -= 1
            if not self._at_work[job.channel_id]:
                del self._at_work[job.channel_id]
            self._wake.set()

    async def _attempt(self, job: MediaJob, owner: str) -> None:
        settled = job.settled
        if settled is None:
            renewal = asyncio.create_task(self._renew(job, owner))
            try:
                settled = await self._decided(job, owner)
            finally:
                renewal.cancel()
                await asyncio.wait({renewal})
        if settled is None:
            return
        await self._publisher.publish(_outgoing(settled))
        await self._store.finish(job, owner)
        outcome = "stored" if settled.stored is not None else str(settled.reason)
        metrics.media_files_total.labels(kind=job.channel_kind, outcome=outcome).inc()
        took = (self._clock() - job.created_at).total_seconds()
        metrics.media_seconds.labels(kind=job.channel_kind).observe(max(0.0, took))
        log.info("media_settled", attachment_id=job.attachment_id, outcome=outcome, attempts=job.attempts)

    async def _decided(self, job: MediaJob, owner: str) -> MediaSettled | None:
        """What became of the file, written down; None if that is not ours to say (now)."""
        stored: StoredMedia | None = None
        reason: Reason | None = None
        try:
            stored = await self._fetch(job)
        except _Lost as exc:
            reason = exc.reason
        except _Later as exc:
            if not self._gives_up(job, exc):
                await self._put_back(job, owner, exc)
                return None
            reason = "unavailable"
        except asyncio.CancelledError:
            await self._store.put_back(job, owner, after_s=0, counts=False, problem="drained")
            raise
        settled = _settled(job, stored, reason, self._clock())
        if await self._store.decide(job, owner, settled):
            return settled
        if stored is not None:  # our lease was over and somebody else has the job by now
            await self._remove(key for key in (stored.key, stored.thumb_key) if key is not None)
        return None

    def _gives_up(self, job: MediaJob, fault: _Later) -> bool:
        tried_enough = job.attempts >= self._patience.tries_at_least
        return tried_enough and self._clock() - job.created_at > fault.within

    async def _put_back(self, job: MediaJob, owner: str, fault: _Later) -> None:
        pause = fault.after_s
        if pause is None:
            most = _BACKOFF_MAX_S if fault.within <= self._patience.messenger else _OUR_BACKOFF_MAX_S
            pause = backoff_s(job.attempts, first_s=self._patience.first_pause_s, most_s=most)
        if fault.pause_channel:
            self._paused[job.channel_id] = time.monotonic() + pause
        log.info(
            "media_put_back", attachment_id=job.attachment_id, reason=str(fault), pause_s=round(pause, 1)
        )
        await self._store.put_back(job, owner, after_s=pause, counts=fault.counts, problem=str(fault))

    async def _renew(self, job: MediaJob, owner: str) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                await self._store.renew(job, owner)
            except StoreUnavailable as exc:
                log.warning("lease_not_renewed", attachment_id=job.attachment_id, reason=str(exc))

    # --- one file

    async def _fetch(self, job: MediaJob) -> StoredMedia:
        """The file, looked at and kept."""
        account = await self._account(job)
        try:
            async with self._workspace.folder() as folder:
                path = folder / "file"
                name = await self._download(job, account, path)
                return await self._keep(path, name)
        except MediaRefused as exc:
            raise _Lost(exc.reason) from exc
        except (InspectionUnavailable, ObjectStoreUnavailable, OSError) as exc:
            log.warning("media_not_kept", attachment_id=job.attachment_id, reason=type(exc).__name__)
            raise _Later(type(exc).__name__, self._patience.ourselves) from exc

    async def _account(self, job: MediaJob) -> Account:
        try:
            account = await self._accounts.get(job.channel_id)
        except EnvelopeInvalid as exc:
            log.critical("account_secrets_do_not_open", reason=str(exc))
            raise _Later("secrets_unavailable", self._patience.ourselves, pause_channel=True) from exc
        if account is None:
            raise _Lost("gone")
        if account.state == "disconnected":
            raise self._channel_stopped("channel_disconnected")
        return account

    async def _download(self, job: MediaJob, account: Account, path: Path) -> str | None:
        """Write the file to `path`; returns its name."""
        max_bytes = self._max_bytes.get(account.kind, FILE_MAX_BYTES)
        try:
            async with (
                asyncio.timeout(self._patience.transfer_s),
                self._connector.open_media(job.ref, account) as stream,
            ):
                if (stream.size_bytes or 0) > max_bytes:
                    raise FileTooBig(max_bytes)  # noqa: TRY301 - the same end as one that lied
                await write_stream(stream.chunks, path, max_bytes=max_bytes)
                return job.name or stream.name
        except FileTooBig as exc:
            raise _Lost("too_big") from exc
        except MessageRejected as exc:
            raise _Lost("too_big" if exc.code is FailureCode.FILE_TOO_BIG else "gone") from exc
        except RecipientUnreachable as exc:
            raise _Lost("gone") from exc
        except Throttled as exc:
            raise _Later(
                "throttled",
                self._patience.messenger,
                after_s=min(exc.retry_after_seconds, _THROTTLE_MAX_S),
                counts=False,
                pause_channel=True,
            ) from exc
        except CredentialsInvalid as exc:
            raise self._channel_stopped("credentials_invalid") from exc
        except (ProviderUnavailable, DeliveryUnknown, TimeoutError) as exc:
            raise _Later(type(exc).__name__, self._patience.messenger) from exc
        except OSError:
            raise
        except Exception as exc:
            # A bug of the connector must not end the service: the file is tried again, then lost.
            log.exception("media_download_failed", attachment_id=job.attachment_id)
            raise _Later(type(exc).__name__, self._patience.messenger) from exc

    def _channel_stopped(self, reason: str) -> _Later:
        return _Later(
            reason, self._patience.messenger, after_s=_CHANNEL_PAUSE_S, counts=False, pause_channel=True
        )

    async def _keep(self, path: Path, name: str | None) -> StoredMedia:
        found = await self._inspector.inspect(path, name)
        key = new_key()
        thumb_key = None if found.thumb_path is None else new_key()
        await self._objects.put_file(key, found.path)
        if found.thumb_path is not None and thumb_key is not None:
            try:
                await self._objects.put_file(thumb_key, found.thumb_path)
            except ObjectStoreUnavailable:
                await self._remove((key,))
                raise
        return StoredMedia(
            key=key,
            mime=found.mime,
            size_bytes=found.size_bytes,
            width=found.width,
            height=found.height,
            duration_s=found.duration_s,
            thumb_key=thumb_key,
        )

    async def _remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            try:
                await self._objects.delete(key)
            except ObjectStoreUnavailable as exc:
                log.warning("object_left_behind", reason=type(exc).__name__)


def _has_files(event: InboundEvent) -> bool:
    return isinstance(event, MessageReceived | MessageEdited | MessageEchoed) and bool(event.content.media)


def _settled(job: MediaJob, stored: StoredMedia | None, reason: Reason | None, now: datetime) -> MediaSettled:
    return MediaSettled(
        type="media.settled.v1",
        event_id=derived_id("media.settled", job.attachment_id),
        tenant_id=job.tenant_id,
        channel_id=job.channel_id,
        channel_kind=job.channel_kind,
        recorded_at=now,
        conversation_id=job.conversation_id,
        message_id=job.message_id,
        attachment_id=job.attachment_id,
        stored=stored,
        reason=reason,
        happened_at=now,
    )


def _outgoing(settled: MediaSettled) -> Outgoing:
    return Outgoing(
        exchange=topology.INBOUND,
        routing_key=topology.conversation_key(settled.channel_kind, settled.conversation_id),
        body=settled.model_dump_json().encode(),
        event_id=settled.event_id,
        type=settled.type,
        traceparent=current_traceparent(),
    )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
