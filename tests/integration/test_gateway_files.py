"""Files through the real gateway: brought by operators, kept under random keys, read by signed addresses."""

from __future__ import annotations

import asyncio
import contextlib
import io
import zipfile
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import pytest_asyncio
from gateway_stage import TELEGRAM, Stage, stage
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from gateway.store import Store
from msgkit.contracts.ids import new_id
from msgkit.contracts.internal_api import MediaRecord
from msgkit.contracts.words import MessageKind
from msgkit.runtime.mongo import Mongo
from msgkit.runtime.objects import ObjectStore, new_key
from msgkit.testing.servers import VirtualHosts, drop_databases

pytestmark = pytest.mark.servers

API = "/api/v1"
MAX_BYTES = 2 * 1024**2
CONVERSATION = "c-files"
UNKNOWN = "application/octet-stream"
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@pytest_asyncio.fixture(scope="module")
async def on(
    tmp_path_factory: pytest.TempPathFactory, vhosts: VirtualHosts, mongo_url: str
) -> AsyncIterator[Stage]:
    prefix = "tgwfiles_"
    folder = tmp_path_factory.mktemp("gateway")
    limits = {
        "ROZMOVA_UPLOAD_MAX_BYTES": str(MAX_BYTES),
        "ROZMOVA_UPLOADS_AT_ONCE_USER": "2",
        "TMPDIR": str(folder),
    }
    with vhosts.fresh() as amqp_url:
        async with stage(folder, amqp_url, mongo_url, prefix, **limits) as ready:
            ready.inbox.add_row(CONVERSATION, TELEGRAM)
            yield ready
    drop_databases(mongo_url, prefix)


async def _bearer(on: Stage, login: str = "olena") -> dict[str, str]:
    return {"Authorization": f"Bearer {await on.gateway.login(login)}"}


async def _bring(on: Stage, bearer: dict[str, str], data: bytes, name: str | None = None) -> httpx2.Response:
    headers = bearer | ({} if name is None else {"X-File-Name": quote(name)})
    return await on.gateway.http.post(f"{API}/uploads", headers=headers, content=data)


async def _send(on: Stage, bearer: dict[str, str], **body: Any) -> httpx2.Response:
    body = {"client_msg_id": new_id()} | body
    return await on.gateway.http.post(
        f"{API}/conversations/{CONVERSATION}/messages", headers=bearer, json=body
    )


def _jpeg(*, gps: bool = False, size: tuple[int, int] = (800, 600)) -> bytes:
    image = Image.radial_gradient("L").resize(size).convert("RGB")
    exif = Image.Exif()
    if gps:
        exif[0x8825] = {1: "N", 2: (IFDRational(50), IFDRational(27), IFDRational(0))}
        exif[0x010E] = "canary-place"
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    return out.getvalue()


def _left_on_disk(on: Stage) -> list[Path]:
    """Files of uploads that are still in the gateway's private folder."""
    folder = on.gateway.process.log_file.parent
    return [path for path in folder.glob("rozmova-*/gateway/*/*/*") if path.is_file()]


async def test_a_photo_is_taken_in_without_its_place(on: Stage) -> None:
    bearer = await _bearer(on)
    answer = await _bring(on, bearer, _jpeg(gps=True), "Фото з відпустки.JPG")
    assert answer.status_code == 201, answer.text
    photo = answer.json()
    assert {name: photo[name] for name in ("kind", "name", "mime", "width", "height", "duration_s")} == {
        "kind": "image", "name": "Фото з відпустки.JPG", "mime": "image/jpeg",
        "width": 800, "height": 600, "duration_s": None,
    }  # fmt: skip
    thumb = await on.gateway.http.get(photo["thumb_url"])
    assert (thumb.status_code, thumb.headers["content-type"]) == (200, "image/webp")
    kept = Path(on.gateway.process.log_file.parent) / "objects"
    assert photo["id"] not in str(list(kept.rglob("*")))
    for path in [path for path in kept.rglob("*") if path.is_file()]:
        assert b"canary-place" not in await asyncio.to_thread(path.read_bytes)
    assert _left_on_disk(on) == []


async def test_a_message_with_files_orders_what_was_found_not_what_was_claimed(on: Stage) -> None:
    bearer = await _bearer(on)
    photo = (await _bring(on, bearer, _jpeg(), "прайс.pdf")).json()
    table = (await _bring(on, bearer, b"a;b\n1;2\n", "../../список.csv")).json()
    body = {"client_msg_id": new_id(), "attachments": [table["id"], photo["id"]], "force": True, "seen_n": 7}
    first = await _send(on, bearer, **body)
    assert first.status_code == 202, first.text
    ordered = on.inbox.asked[-1].body
    assert ordered is not None
    assert (ordered["text"], ordered["force"], ordered["seen_n"]) == ("", True, 7)
    files = [(file["upload_id"], file["kind"], file["name"], file["mime"]) for file in ordered["attachments"]]
    assert files == [
        (table["id"], "file", "список.csv", "application/octet-stream"),
        (photo["id"], "image", "прайс.jpg", "image/jpeg"),
    ]  # fmt: skip
    again = await _send(on, bearer, **body)
    assert again.status_code == 202
    assert on.inbox.asked[-1].body == ordered, "a repeat must order exactly the same"


async def test_an_upload_is_its_owners_alone(on: Stage) -> None:
    olena = await _bearer(on)
    mine = (await _bring(on, olena, b"text", "a.txt")).json()["id"]
    asked = len(on.inbox.asked)
    for bearer, ids in [
        (await _bearer(on, "ivan"), [mine]),
        (await _bearer(on, "maria"), [mine]),
        (olena, [mine, mine]),
        (olena, [mine, "0" * 32]),
        (olena, [new_id()]),
    ]:
        answer = await _send(on, bearer, attachments=ids)
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_upload")
    assert len(on.inbox.asked) == asked


@pytest.mark.parametrize(
    ("data", "name", "mime", "kept_as"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "x.png", UNKNOWN, "x.png"),
        (b"<!doctype html><script>alert(1)</script>", "x.html", UNKNOWN, "x.html"),
        (b"GIF89a/*\x00\x00*/=alert(1)//", "x.gif", UNKNOWN, "x.gif"),
        (EICAR, "a.png", UNKNOWN, "a.png"),
        (b"%PDF-1.7\n", "звіт", "application/pdf", "звіт.pdf"),
    ],
    ids=["svg as png", "html", "gif and script", "eicar as png", "pdf without ending"],
)  # fmt: skip
async def test_what_a_browser_must_not_show_is_for_download(
    on: Stage, data: bytes, name: str, mime: str, kept_as: str
) -> None:
    bearer = await _bearer(on)
    answer = await _bring(on, bearer, data, name)
    assert answer.status_code == 201, answer.text
    file = answer.json()
    assert (file["kind"], file["mime"], file["name"], file["thumb_url"]) == ("file", mime, kept_as, None)
    await _send(on, bearer, attachments=[file["id"]])
    key = (on.inbox.asked[-1].body or {})["attachments"][0]["key"]
    read = await _read(on, bearer, key, mime=mime, name=kept_as, kind=MessageKind.FILE)
    assert read.content == data
    assert read.headers["content-disposition"].startswith("attachment; ")
    assert read.headers["content-type"] == mime
    assert read.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert read.headers["x-content-type-options"] == "nosniff"


def _bomb() -> bytes:
    """A PNG that says it is 50,000 by 50,000."""
    out = io.BytesIO()
    Image.new("1", (8, 8)).save(out, "PNG")
    data = bytearray(out.getvalue())
    data[16:24] = (50_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "empty_file"),
        (_bomb(), 422, "file_refused"),
        (b"\0" * (MAX_BYTES + 1), 413, "file_too_big"),
    ],
    ids=["empty", "a wall of pixels", "too big"],
)
async def test_what_is_not_taken_in_says_why(on: Stage, data: bytes, status: int, code: str) -> None:
    answer = await _bring(on, await _bearer(on), data)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"]
    assert _left_on_disk(on) == []


async def test_a_zip_bomb_is_a_file_like_any_other(on: Stage) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50 * 1024**2))
    answer = await _bring(on, await _bearer(on), out.getvalue(), "архів.zip")
    assert (answer.status_code, answer.json()["mime"]) == (201, "application/zip")


@pytest.mark.parametrize(
    ("claimed", "name"),
    [
        ("../../x", "x"),
        ("a\r\nSet-Cookie: x=1", "a Set-Cookie_ x=1"),
        ("\u202egpj.exe", "gpj.exe"),
        ("н" * 300, None),
        (None, "file"),
        ("", "file"),
        ("..", "file"),
        ("%00", "%00"),
    ],
)
async def test_names_are_made_harmless(on: Stage, claimed: str | None, name: str | None) -> None:
    answer = await _bring(on, await _bearer(on), b"text", claimed)
    assert answer.status_code == 201
    shown = answer.json()["name"]
    assert shown == name if name is not None else 50 < len(shown) <= 120


async def test_a_body_that_announces_too_much_is_not_read(on: Stage) -> None:
    async with _begun(on, await on.gateway.login("olena"), MAX_BYTES + 1) as (reader, _writer):
        assert await _status(reader) == 413


async def test_without_a_token_nothing_of_a_file_is_read(on: Stage) -> None:
    async with _begun(on, "wrong", 1000) as (reader, _writer):
        assert await _status(reader) == 401


async def test_a_file_that_drips_is_given_up(
    tmp_path: Path, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    hasty = {"ROZMOVA_UPLOAD_SECONDS": "1", "TMPDIR": str(tmp_path)}
    async with (
        stage(tmp_path, amqp_url, mongo_url, mongo_prefix, **hasty) as on,
        _begun(on, await on.gateway.login("olena"), 1000) as (reader, writer),
    ):

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.1)  # pace: this is the drip

        dripping = asyncio.create_task(drip())
        try:
            assert await _status(reader) == 408
        finally:
            dripping.cancel()
        assert _left_on_disk(on) == []


async def test_a_sender_who_goes_leaves_nothing_behind_and_frees_the_place(on: Stage) -> None:
    token = await on.gateway.login("olena")
    for _ in range(5):
        async with _begun(on, token, 1000) as (_reader, writer):
            writer.write(b"x" * 10)
            await writer.drain()
            writer.transport.abort()
    bearer = {"Authorization": f"Bearer {token}"}
    async with asyncio.timeout(30):
        while (await _bring(on, bearer, b"text")).status_code == 429:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # pace: the server learns of a lost line when it learns of it
    assert _left_on_disk(on) == []


async def test_a_user_has_so_many_files_at_once_and_others_are_not_concerned(on: Stage) -> None:
    token = await on.gateway.login("olena")
    bearer = {"Authorization": f"Bearer {token}"}
    async with _begun(on, token, 1000), _begun(on, token, 1000):
        async with asyncio.timeout(15):
            # A third one before would take the place of the second.
            while len(_left_on_disk(on)) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # pace: until both of the above have their place
        refused = await _bring(on, bearer, b"text")
        assert refused.status_code == 429
        assert (refused.json()["code"], refused.headers["retry-after"]) == ("too_many_uploads", "2")
        assert (await _bring(on, await _bearer(on, "ivan"), b"text")).status_code == 201


# Reading


async def _address(
    on: Stage, bearer: dict[str, str], key: str, variant: str = "full", **more: Any
) -> httpx2.Response:
    """Ask for the address of a file inbox knows."""
    record = {
        "attachment_id": new_id(), "key": key, "thumb_key": None, "kind": MessageKind.FILE,
        "name": "файл.bin", "mime": UNKNOWN, "size_bytes": 1,
    } | more  # fmt: skip
    on.inbox.media[record["attachment_id"]] = MediaRecord.model_validate(record)
    return await on.gateway.http.get(
        f"{API}/media/{record['attachment_id']}/url", params={"variant": variant}, headers=bearer
    )


async def _read(on: Stage, bearer: dict[str, str], key: str, **more: Any) -> httpx2.Response:
    address = await _address(on, bearer, key, **more)
    assert address.status_code == 200, address.text
    return await on.gateway.http.get(address.json()["url"])


@pytest_asyncio.fixture(scope="module")
async def big(on: Stage) -> tuple[str, bytes]:
    """An object of 20 MB: (key, bytes)."""
    folder = on.gateway.process.log_file.parent
    data = b"".join(n.to_bytes(4, "big") for n in range(5 * 1024**2))
    await asyncio.to_thread((folder / "big").write_bytes, data)
    key = new_key()
    await ObjectStore((folder / "objects").as_uri()).put_file(key, folder / "big")
    return key, data


async def test_an_address_needs_no_token_and_ends_soon(on: Stage, big: tuple[str, bytes]) -> None:
    address = (await _address(on, await _bearer(on), big[0])).json()
    until = datetime.fromisoformat(address["expires_at"])
    assert timedelta(minutes=4) < until - datetime.now(UTC) <= timedelta(minutes=10)
    assert big[0] not in address["url"]
    head = await on.gateway.http.head(address["url"])
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(big[1])), b"")
    assert head.headers["accept-ranges"] == "bytes"
    assert "private" in head.headers["cache-control"]
    name = head.headers["content-disposition"]
    assert name == "attachment; filename=\"____.bin\"; filename*=UTF-8''%D1%84%D0%B0%D0%B9%D0%BB.bin"


async def test_a_file_is_read_in_parts_and_whole(on: Stage, big: tuple[str, bytes]) -> None:
    url = (await _address(on, await _bearer(on), big[0], mime="video/mp4", kind="video")).json()["url"]
    key, data = big
    size = len(data)
    for wanted, start, end in [("0-99", 0, 100), (f"{size - 10}-", size - 10, size), ("-7", size - 7, size)]:
        part = await on.gateway.http.get(url, headers={"Range": f"bytes={wanted}"})
        assert (part.status_code, part.content) == (206, data[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert part.headers["content-type"] == "video/mp4"
        assert part.headers["content-disposition"].startswith("inline; ")
    for wanted in (f"{size}-", "0-1,5-6", ",".join(["0-0"] * 1000)):
        refused = await on.gateway.http.get(url, headers={"Range": f"bytes={wanted}"})
        assert (refused.status_code, refused.headers["content-range"]) == (416, f"bytes */{size}")
    whole = await on.gateway.http.get(url)
    assert (whole.status_code, whole.content) == (200, data)
    etag = whole.headers["etag"]
    assert key not in etag
    known = await on.gateway.http.get(url, headers={"If-None-Match": etag})
    assert (known.status_code, known.content) == (304, b"")
    other = await on.gateway.http.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert other.status_code == 200


async def test_twenty_megabytes_do_not_lie_in_memory(on: Stage, big: tuple[str, bytes]) -> None:
    url = (await _address(on, await _bearer(on), big[0])).json()["url"]
    await on.gateway.http.get(url, headers={"Range": "bytes=0-0"})
    before = on.gateway.rss_mb()
    peak = before

    async def slowly() -> int:
        nonlocal peak
        taken = 0
        async with on.gateway.http.stream("GET", url) as answer:
            async for chunk in answer.aiter_raw(64 * 1024):
                taken += len(chunk)
                peak = max(peak, on.gateway.rss_mb())
        return taken

    async with asyncio.timeout(30):
        taken = await asyncio.gather(*(slowly() for _ in range(3)))
    assert set(taken) == {len(big[1])}
    assert peak - before < 20


async def test_what_is_no_address_does_not_exist(on: Stage, big: tuple[str, bytes]) -> None:
    bearer = await _bearer(on)
    url = (await _address(on, bearer, big[0])).json()["url"]
    missing = (await _address(on, bearer, new_key())).json()["url"]
    token, name = url.split("/")[2:]
    forged = [
        f"/files/{token[:-2]}AA/{name}",
        f"/files/{token}/x.html",
        "/files/x/y",
        f"/files/{'a' * 3000}/y",
    ]
    answers = [await on.gateway.http.get(path) for path in (missing, *forged)]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


async def test_a_file_of_others_has_no_address(on: Stage, big: tuple[str, bytes]) -> None:
    bearer = await _bearer(on)
    await _address(on, bearer, big[0])
    attachment_id = next(iter(on.inbox.media))
    path = f"{API}/media/{attachment_id}/url"
    foreign = await on.gateway.http.get(path, headers=await _bearer(on, "maria"))
    unknown = await on.gateway.http.get(f"{API}/media/{new_id()}/url", headers=bearer)
    no_thumb = await on.gateway.http.get(path, params={"variant": "thumb"}, headers=bearer)
    assert (foreign.status_code, foreign.content) == (404, unknown.content)
    assert (no_thumb.status_code, no_thumb.content) == (404, unknown.content)


async def test_the_thumb_of_a_photo_is_shown(on: Stage, big: tuple[str, bytes]) -> None:
    address = await _address(
        on, await _bearer(on), new_key(), "thumb", thumb_key=big[0], kind="image", mime="image/jpeg"
    )
    head = await on.gateway.http.head(address.json()["url"])
    assert head.headers["content-type"] == "image/webp"
    assert head.headers["content-disposition"].startswith("inline; ")


# What nobody sends


async def test_a_file_nobody_sent_goes_with_its_day_and_a_sent_one_stays(
    tmp_path: Path, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    async with stage(tmp_path, amqp_url, mongo_url, mongo_prefix) as on:
        on.inbox.add_row(CONVERSATION, TELEGRAM)
        bearer = await _bearer(on)
        sent = (await _bring(on, bearer, _jpeg(), "a.jpg")).json()["id"]
        await _send(on, bearer, attachments=[sent])
        unsent = (await _bring(on, bearer, _jpeg(), "b.jpg")).json()["id"]
        mongo = Mongo(mongo_url, on.gateway.database)
        documents = mongo.database["uploads"]
        long_ago = datetime.now(UTC) - timedelta(hours=2)
        keys = {doc["_id"]: doc["key"] async for doc in documents.find({})}
        await documents.update_many({}, {"$set": {"ends_at": long_ago}})
        refused = await _send(on, bearer, attachments=[sent])
        assert refused.status_code == 422

        await on.gateway.stop()
        await on.gateway.start()  # sweeps at once
        async with asyncio.timeout(10):
            while await documents.count_documents({"_id": unsent}):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # pace: another process does it
        assert not (tmp_path / "objects" / keys[unsent]).exists()
        assert (tmp_path / "objects" / keys[sent]).exists()
        assert await Store(mongo.database).ended_uploads(datetime.now(UTC), 10) == []
        mongo.close()


@contextlib.asynccontextmanager
async def _begun(
    on: Stage, token: str, length: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which an upload of so many bytes has begun; the bytes are the caller's."""
    reader, writer = await asyncio.open_connection("127.0.0.1", on.gateway.port)
    try:
        head = (
            f"POST {API}/uploads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Length: {length}\r\n\r\n"
        )
        writer.write(head.encode())
        await writer.drain()
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _status(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(30):
        return int((await reader.readline()).split()[1])
