"""The object store: bytes of files under random keys, in a local folder or in S3 and kin."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

_PART_BYTES = 5 * 1024 * 1024
"""Least size of a part S3 accepts: docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html."""
_PARTS_AT_ONCE = 2
"""The library's own 12 would hold 60 MB of one upload in memory."""
_READ_BYTES = 256 * 1024
_CONNECT = timedelta(seconds=5)
_REQUEST = timedelta(seconds=120)
"""For a whole answer, body included: 50 MB at 0.5 MB/s."""
_RETRIES_WITHIN = timedelta(seconds=15)
_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{32}")


class ObjectStoreUnavailable(Exception):
    """The store cannot be reached, is full or refuses us: repeat later. The text says what to look at."""


class ObjectMissing(Exception):
    """There is no object with this key, or it is shorter than the range that was asked for."""


def new_key() -> str:
    """A key nobody can guess: 32 hex digits of randomness below two levels of folders."""
    return f"{secrets.token_hex(1)}/{secrets.token_hex(1)}/{secrets.token_hex(16)}"


class ObjectStore:
    """Streams files in and out. Whoever has a key reads the object: keys never leave our services.

    Credentials, endpoint and region of S3 come from the environment under their usual names
    (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT, AWS_REGION, AWS_ALLOW_HTTP).
    """

    def __init__(self, url: str) -> None:
        """
        Args:
            url: `file:///folder` or `s3://bucket/prefix`.

        Raises:
            ValueError: another kind of address.
        """
        require_objects_url(url)
        self._url = url
        self._folder = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
        self._store: LocalStore | S3Store | None = None

    async def prepare(self) -> None:
        """Make the folder, readable for us alone; nothing to do for S3.

        Raises:
            ObjectStoreUnavailable: the folder cannot be made or written.
        """
        await self._open()

    async def put_file(self, key: str, path: Path) -> None:
        """Store the file as this object, all of it or nothing.

        Args:
            key: of `new_key`.
            path: a local file; it is only read.

        Raises:
            ObjectStoreUnavailable: not stored, or not known to be.
        """
        _require_key(key)
        try:
            store = await self._open()
            await obstore.put_async(store, key, path, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
            if self._folder is not None:
                await asyncio.to_thread(_to_disk, self._folder / key)
        except (BaseError, OSError) as exc:
            raise _unavailable(exc) from exc

    async def read(self, key: str, start: int | None = None, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of the object, or those from `start` up to but not including `end`, chunk by chunk.

        Args:
            key: of the object.
            start: first byte, 0 if None.
            end: byte after the last one; None or more than there is: to the end of the object.

        Raises:
            ObjectMissing: no such object, or nothing of it lies in that range.
            ObjectStoreUnavailable: also in the middle of reading.
        """
        _require_key(key)
        try:
            if start or end is not None:
                size = await self.size(key)
                end = size if end is None else min(end, size)
                if (start or 0) >= end:
                    raise ObjectMissing(f"the object has {size} bytes: ask for a range inside it")
                options: obstore.GetOptions = {"range": (start or 0, end)}
                result = await obstore.get_async(await self._open(), key, options=options)
            else:
                result = await obstore.get_async(await self._open(), key)
            async for chunk in result.stream(min_chunk_size=_READ_BYTES):
                yield bytes(chunk)
        except FileNotFoundError as exc:
            raise ObjectMissing("no object has this key") from exc
        except (BaseError, OSError) as exc:
            raise _unavailable(exc) from exc

    async def size(self, key: str) -> int:
        """Size of the object in bytes.

        Raises:
            ObjectMissing: no such object.
            ObjectStoreUnavailable: the store does not answer.
        """
        _require_key(key)
        try:
            meta = await obstore.head_async(await self._open(), key)
        except FileNotFoundError as exc:
            raise ObjectMissing("no object has this key") from exc
        except (BaseError, OSError) as exc:
            raise _unavailable(exc) from exc
        return meta["size"]

    async def delete(self, key: str) -> None:
        """Remove the object; one that is not there is removed already.

        Raises:
            ObjectStoreUnavailable: the store does not answer.
        """
        _require_key(key)
        try:
            await obstore.delete_async(await self._open(), key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as exc:
            raise _unavailable(exc) from exc

    async def _open(self) -> LocalStore | S3Store:
        if self._store is None:
            if self._folder is not None:
                self._store = await asyncio.to_thread(_local_store, self._folder)
            else:
                self._store = S3Store.from_url(
                    self._url,
                    client_options={"connect_timeout": _CONNECT, "timeout": _REQUEST},
                    retry_config={"max_retries": 3, "retry_timeout": _RETRIES_WITHIN},
                )
        return self._store


def require_objects_url(url: str) -> str:
    """Returns the address of a store we can use.

    Raises:
        ValueError: it is another one; the text says which ones are good.
    """
    parts = urlsplit(url)
    local = parts.scheme == "file" and parts.netloc in {"", "localhost"} and len(parts.path) > 1
    remote = parts.scheme == "s3" and parts.netloc != ""
    if not (local or remote) or parts.username or parts.password:
        raise ValueError("must be file:///absolute/folder or s3://bucket/prefix, without credentials")
    return url


def _require_key(key: str) -> None:
    # Keys come from our own tokens and events; nothing else may become a path.
    if _KEY.fullmatch(key) is None:
        raise ObjectMissing("this is not a key of the object store")


def _local_store(folder: Path) -> LocalStore:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return LocalStore(prefix=folder)
    except (BaseError, OSError) as exc:
        raise _unavailable(exc) from exc


def _to_disk(path: Path) -> None:
    """The event that names the object survives a power cut, so the object must too."""
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unavailable(exc: Exception) -> ObjectStoreUnavailable:
    # The class only: texts of the library hold addresses and paths.
    return ObjectStoreUnavailable(
        f"The object store does not work ({type(exc).__name__}). Look at ROZMOVA_OBJECTS_URL, "
        "the folder's rights and free space, or the S3 endpoint and credentials."
    )
