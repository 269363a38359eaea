"""Public addresses of files: only ours, only for a week, answered as a messenger's fetcher expects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx2
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from msgkit.connector.public_media import PublicAddresses, public_media_route
from msgkit.runtime.byte_ranges import Part, RangeRefused, part_of
from msgkit.runtime.headers import SecurityHeaders
from msgkit.runtime.objects import ObjectStore, new_key

DATA = bytes(range(256)) * 400
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BASE = "https://chat.example.com"


class Time:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Public:
    """A served folder of objects with one file in it."""

    def __init__(self, folder: Path) -> None:
        self.time = Time()
        self.folder = folder
        self.objects = ObjectStore((folder / "objects").as_uri())
        self.addresses = PublicAddresses(f"{BASE}/", "k2", {"k1": b"1" * 32, "k2": b"2" * 32}, self.time)
        app = SecurityHeaders(Starlette(routes=[public_media_route(self.addresses, self.objects)]))
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=BASE)
        self.key = new_key()

    def url(self, mime: str = "image/jpeg", name: str | None = "фото 1.jpg") -> str:
        return self.addresses.of(self.key, mime, name)


@pytest_asyncio.fixture
async def public(tmp_path: Path) -> AsyncIterator[Public]:
    public = Public(tmp_path)
    (tmp_path / "in").write_bytes(DATA)
    await public.objects.put_file(public.key, tmp_path / "in")
    yield public
    await public.http.aclose()


async def test_messenger_gets_the_file_under_its_name(public: Public) -> None:
    url = public.url()
    assert url.startswith(f"{BASE}/m/")
    assert url.isascii()
    assert len(url) < 300
    assert public.key.rpartition("/")[2] not in url
    assert unquote(urlsplit(url).path).endswith("/фото 1.jpg")
    answer = await public.http.get(url)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["content-disposition"].startswith("inline; ")


async def test_what_no_browser_should_show_is_an_attachment(public: Public) -> None:
    answer = await public.http.get(public.url("application/octet-stream", "x.html"))
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_head_tells_without_giving(public: Public) -> None:
    answer = await public.http.head(public.url())
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["accept-ranges"] == "bytes"
    assert (await public.http.post(public.url())).status_code == 405


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=100-", 100, len(DATA)), ("bytes=-10", len(DATA) - 10, len(DATA))],
)
async def test_a_part_is_given_alone(public: Public, asked: str, start: int, end: int) -> None:
    answer = await public.http.get(public.url(), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "asked", [f"bytes={len(DATA)}-", "bytes=" + ",".join(f"{n}-{n}" for n in range(1000)), "bytes=0-1,5-6"]
)
async def test_no_such_part_is_416(public: Public, asked: str) -> None:
    answer = await public.http.get(public.url(), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


async def test_address_ends_after_a_week(public: Public) -> None:
    url = public.url()
    public.time.now = NOW + timedelta(days=7) - timedelta(seconds=1)
    assert (await public.http.head(url)).status_code == 200
    public.time.now = NOW + timedelta(days=7)
    assert (await public.http.get(url)).status_code == 404


async def test_changed_address_is_404(public: Public) -> None:
    url = public.url(name="a.jpg")
    token = url.split("/")[-2]
    changed = [token[:5] + ("A" if token[5] != "A" else "B") + token[6:], "", "A", "=" * 9, "ї", "x" * 5000]
    for other in changed:
        assert (await public.http.get(url.replace(token, other))).status_code == 404
    assert (await public.http.get(url.replace("a.jpg", "b.exe"))).status_code == 404
    stranger = PublicAddresses(BASE, "k", {"k": b"3" * 32}, public.time)
    assert (await public.http.get(stranger.of(public.key, "image/jpeg", "a.jpg"))).status_code == 404


async def test_old_key_still_opens(public: Public) -> None:
    old = PublicAddresses(BASE, "k1", {"k1": b"1" * 32}, public.time)
    assert (await public.http.get(old.of(public.key, "image/jpeg", "a.jpg"))).status_code == 200


async def test_removed_object_is_404_and_a_store_that_is_away_is_503(public: Public) -> None:
    url = public.url()
    await public.objects.delete(public.key)
    assert (await public.http.get(url)).status_code == 404
    broken = ObjectStore((public.folder / "in" / "objects").as_uri())  # below a file
    app = Starlette(routes=[public_media_route(public.addresses, broken)])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as http:
        answer = await http.get(url)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


@given(
    header=st.none() | st.text(max_size=40) | st.from_regex(r"bytes=\d{0,9}-\d{0,9}"),
    size=st.integers(1, 999),
)
def test_any_range_is_inside_the_file(header: str | None, size: int) -> None:
    try:
        part = part_of(header, size)
    except RangeRefused:
        return
    if part is not None:
        assert 0 <= part.start < part.end <= size


def test_what_is_no_range_counts_for_nothing() -> None:
    assert part_of("bytes=5-2", 10) is None
    assert part_of("items=0-1", 10) is None
    assert part_of("bytes=٣-", 10) is None
    assert part_of("bytes=0-99", 10) == Part(0, 10)
