"""The object store on a real folder: whole files in, ranges out, no file in memory, one kind of error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from msgkit.runtime.objects import (
    ObjectMissing,
    ObjectStore,
    ObjectStoreUnavailable,
    new_key,
    require_objects_url,
)

DATA = bytes(range(256)) * 4096


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore((tmp_path / "objects here").as_uri())


async def stored(store: ObjectStore, tmp_path: Path, data: bytes = DATA) -> str:
    (tmp_path / "in").write_bytes(data)
    key = new_key()
    await store.put_file(key, tmp_path / "in")
    return key


async def read(store: ObjectStore, key: str, start: int | None = None, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, start, end)])


async def test_file_comes_out_as_it_went_in(store: ObjectStore, tmp_path: Path) -> None:
    key = await stored(store, tmp_path)
    assert await read(store, key) == DATA
    assert await store.size(key) == len(DATA)
    folder = tmp_path / "objects here"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / key).read_bytes() == DATA


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (0, 300_000), (1000, 1000_000), (len(DATA) - 1, None), (5, 10**9), (None, 7)]
)
async def test_ranges_are_read_alone(
    store: ObjectStore, tmp_path: Path, start: int | None, end: int | None
) -> None:
    key = await stored(store, tmp_path)
    assert await read(store, key, start, end) == DATA[start:end]


@pytest.mark.parametrize(("start", "end"), [(len(DATA), None), (10, 10), (10**12, 10**12 + 1), (0, 0)])
async def test_range_beyond_the_object_is_missing(
    store: ObjectStore, tmp_path: Path, start: int, end: int | None
) -> None:
    key = await stored(store, tmp_path)
    with pytest.raises(ObjectMissing):
        await read(store, key, start, end)


async def test_removed_and_unknown_objects_are_missing(store: ObjectStore, tmp_path: Path) -> None:
    key = await stored(store, tmp_path)
    await store.delete(key)
    await store.delete(key)
    for call in (store.size(key), read(store, key), read(store, key, 1, 2)):
        with pytest.raises(ObjectMissing):
            await call


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "/etc/passwd", "", "aa/bb/short", f"aa/bb/{'a' * 32}/x", "a" * 32]
)
async def test_only_our_keys_are_keys(store: ObjectStore, tmp_path: Path, key: str) -> None:
    (tmp_path / "in").write_bytes(b"x")
    for call in (store.size(key), read(store, key), store.put_file(key, tmp_path / "in"), store.delete(key)):
        with pytest.raises(ObjectMissing):
            await call


async def test_store_that_cannot_be_made_says_what_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = ObjectStore((tmp_path / "file" / "objects").as_uri())
    with pytest.raises(ObjectStoreUnavailable, match="ROZMOVA_OBJECTS_URL") as refused:
        await store.prepare()
    assert str(tmp_path) not in str(refused.value)


async def test_server_that_is_away_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    store = ObjectStore("s3://bucket/prefix")
    with pytest.raises(ObjectStoreUnavailable) as refused:
        await store.size(new_key())
    assert "canary" not in str(refused.value)
    with pytest.raises(ObjectStoreUnavailable):
        await stored(store, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "objects",
        "/objects",
        "file://",
        "file:///",
        "file://host/x",
        "https://x/y",
        "s3://",
        "s3://id:key@bucket",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be file:///"):
        require_objects_url(url)


def test_keys_do_not_repeat() -> None:
    assert len({new_key() for _ in range(1000)}) == 1000


def test_large_file_is_never_in_memory(tmp_path: Path) -> None:
    """40 MB in and out; the process grows by less than half of it."""
    program = """
import asyncio, os, resource, sys
from pathlib import Path
from msgkit.runtime.media import write_stream
from msgkit.runtime.objects import ObjectStore, new_key

async def chunks(megabytes):
    for _ in range(megabytes * 16):
        yield bytes(65536)

async def once(store, folder, megabytes):
    path = folder / f"in{megabytes}"
    await write_stream(chunks(megabytes), path, max_bytes=100_000_000)
    key = new_key()
    await store.put_file(key, path)
    return sum([len(chunk) async for chunk in store.read(key)])

async def main():
    folder = Path(sys.argv[1])
    store = ObjectStore((folder / "objects").as_uri())
    await once(store, folder, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert await once(store, folder, 40) == 40 * 1024 * 1024
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)

asyncio.run(main())
sys.stdout.flush()
os._exit(0)  # as a service ends
"""
    grown_mb = float(subprocess.check_output([sys.executable, "-c", program, str(tmp_path)], text=True))
    assert grown_mb < 20
