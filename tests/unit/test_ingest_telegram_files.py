"""Files to and from Telegram: streamed and bounded; an upload that broke off is told from an unknown one."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from ingest_telegram.client import TelegramClient
from ingest_telegram.payloads import DOWNLOAD_MAX_BYTES, File, FileMethod, SendAlbum, SendFile
from msgkit.connector.contract import Account
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    Throttled,
)
from msgkit.contracts.words import FailureCode
from msgkit.runtime.objects import ObjectStore, new_key
from msgkit.testing.wire import Answer, Call, WireFake, as_json

TOKEN = "7000000001:AAE-canary-token-0123456789abcdefgh"
ACCOUNT = Account(
    channel_id="c" * 32,
    tenant_id="salon",
    kind="telegram_bot",
    account_id="7000000001",
    account_name=None,
    api_base=None,
    state="active",
    problem=None,
    paused_until=None,
    credentials={"token": TOKEN},
    webhook_secret="s3cret",
)
MB = 1024 * 1024


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[WireFake]:
    wire = WireFake(lambda _call: as_json({"ok": True, "result": {"message_id": 52}}))
    await wire.start()
    yield wire
    await wire.stop()


@pytest_asyncio.fixture
async def objects(tmp_path: Path) -> ObjectStore:
    objects = ObjectStore((tmp_path / "objects").as_uri())
    await objects.prepare()
    return objects


@pytest_asyncio.fixture
async def client(wire: WireFake, objects: ObjectStore) -> AsyncIterator[TelegramClient]:
    client = TelegramClient("telegram_bot", objects, wire.url)
    yield client
    await client.aclose()


async def stored(objects: ObjectStore, folder: Path, content: bytes, **more: object) -> File:
    key = new_key()
    (folder / "file").write_bytes(content)
    await objects.put_file(key, folder / "file")
    file = File(
        method=FileMethod.DOCUMENT,
        key=key,
        name="рахунок.pdf",
        size_bytes=len(content),
        caption="",
        width=None,
        height=None,
        duration_s=None,
    )
    return replace(file, **more)  # type: ignore[arg-type]  # fields by name


def one(file: File) -> SendFile:
    return SendFile(6021557731, None, None, file)


# --- out


@pytest.mark.parametrize(
    ("method", "call_name"),
    [
        (FileMethod.PHOTO, "sendPhoto"),
        (FileMethod.VIDEO, "sendVideo"),
        (FileMethod.ANIMATION, "sendAnimation"),
        (FileMethod.AUDIO, "sendAudio"),
        (FileMethod.VOICE, "sendVoice"),
        (FileMethod.STICKER, "sendSticker"),
        (FileMethod.DOCUMENT, "sendDocument"),
    ],
)
async def test_each_way_is_one_call_with_the_bytes(
    client: TelegramClient,
    wire: WireFake,
    objects: ObjectStore,
    tmp_path: Path,
    method: FileMethod,
    call_name: str,
) -> None:
    file = await stored(objects, tmp_path, b"\x00\xff bytes", method=method)
    receipt = await client.send(ACCOUNT, one(file))
    assert receipt.provider_ids == ["52"]
    (call,) = wire.calls
    assert call.method == call_name
    reference = call.fields[method.value].removeprefix("attach://")
    assert call.files == {reference: b"\x00\xff bytes"}


async def test_file_says_what_the_phone_wants_to_know_before_it_comes(
    client: TelegramClient, wire: WireFake, objects: ObjectStore, tmp_path: Path
) -> None:
    file = await stored(
        objects,
        tmp_path,
        b"video",
        method=FileMethod.VIDEO,
        caption="*Ось* воно",
        width=720,
        height=1280,
        duration_s=12,
    )
    keyboard = {"inline_keyboard": [[{"text": "Так", "callback_data": "c:1"}]]}
    await client.send(ACCOUNT, replace(one(file), reply_to_message_id=41, reply_markup=keyboard))
    fields = wire.calls[0].fields
    assert fields["caption"] == "*Ось* воно"
    assert "parse_mode" not in fields, "the operator's words are not markup"
    assert (fields["width"], fields["height"], fields["duration"]) == ("720", "1280", "12")
    assert json.loads(fields["reply_markup"]) == keyboard
    assert json.loads(fields["reply_parameters"])["message_id"] == 41


async def test_album_is_one_call_and_has_an_id_for_each_of_its_messages(
    client: TelegramClient, wire: WireFake, objects: ObjectStore, tmp_path: Path
) -> None:
    wire.respond = lambda _call: as_json({"ok": True, "result": [{"message_id": 61}, {"message_id": 62}]})
    first = await stored(objects, tmp_path, b"one", method=FileMethod.PHOTO, caption="Два")
    second = await stored(objects, tmp_path, b"two", method=FileMethod.VIDEO, width=1, height=2)
    receipt = await client.send(ACCOUNT, SendAlbum(6021557731, None, None, (first, second)))
    assert receipt.provider_ids == ["61", "62"]
    (call,) = wire.calls
    assert call.method == "sendMediaGroup"
    media = json.loads(call.fields["media"])
    assert [item["type"] for item in media] == ["photo", "video"]
    assert (media[0]["caption"], media[1].get("caption")) == ("Два", None)
    assert [call.files[item["media"].removeprefix("attach://")] for item in media] == [b"one", b"two"]


async def test_accepted_album_with_an_odd_answer_is_accepted(
    client: TelegramClient, wire: WireFake, objects: ObjectStore, tmp_path: Path
) -> None:
    file = await stored(objects, tmp_path, b"one", method=FileMethod.PHOTO)
    wire.respond = lambda _call: as_json({"ok": True, "result": True})
    assert (await client.send(ACCOUNT, SendAlbum(1, None, None, (file, file)))).provider_ids == []


async def test_file_that_is_gone_is_told_and_not_tried_again(client: TelegramClient, wire: WireFake) -> None:
    file = File(FileMethod.PHOTO, new_key(), "a.jpg", 10, "", None, None, None)
    with pytest.raises(MessageRejected) as caught:
        await client.send(ACCOUNT, one(file))
    assert caught.value.code is FailureCode.REJECTED
    assert wire.calls == [], "a form without its end is no request"


async def test_answer_that_never_came_after_a_whole_upload_is_unknown(
    client: TelegramClient, wire: WireFake, objects: ObjectStore, tmp_path: Path
) -> None:
    file = await stored(objects, tmp_path, b"bytes" * 1000)
    wire.respond = lambda _call: Answer(does="reset")
    with pytest.raises(DeliveryUnknown) as caught:
        await client.send(ACCOUNT, one(file))
    assert TOKEN not in repr(caught.value)


async def test_upload_that_broke_off_half_way_is_certainly_no_delivery(
    objects: ObjectStore, tmp_path: Path
) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100_000)
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1")
    client = TelegramClient("telegram_bot", objects, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    file = await stored(objects, tmp_path, b"x" * (20 * MB))
    with pytest.raises(ProviderUnavailable) as caught:
        await client.send(ACCOUNT, one(file))
    assert TOKEN not in repr(caught.value)
    await client.aclose()
    server.close()
    await server.wait_closed()


async def test_twenty_megabytes_go_out_without_being_in_memory(objects: ObjectStore, tmp_path: Path) -> None:
    size = 0

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal size
        await reader.readuntil(b"\r\n\r\n")
        ending = b""
        while not ending.endswith(b"0\r\n\r\n"):
            chunk = await reader.read(65536)
            size += len(chunk)
            ending = (ending + chunk)[-5:]
        body = b'{"ok":true,"result":{"message_id":1}}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1")
    client = TelegramClient("telegram_bot", objects, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    file = await stored(objects, tmp_path, b"x" * (20 * MB))
    tracemalloc.start()
    try:
        await client.send(ACCOUNT, one(file))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 20 * MB
    assert peak < 5 * MB
    await client.aclose()
    server.close()
    await server.wait_closed()


# --- in


class Files:
    """getFile and the file behind it."""

    def __init__(self, content: bytes = b"bytes", path: object = "documents/file_7.pdf") -> None:
        self.found: dict[str, object] = {"file_id": "f", "file_size": len(content), "file_path": path}
        self.file = Answer(200, content, {"content-type": "application/pdf"})

    def __call__(self, call: Call) -> Answer:
        if call.method == "getFile":
            return as_json({"ok": True, "result": self.found})
        return self.file


async def fetched(client: TelegramClient) -> bytes:
    async with client.open_file(ACCOUNT, "f") as stream:
        return b"".join([chunk async for chunk in stream.chunks])


async def test_file_of_a_client_is_streamed(client: TelegramClient, wire: WireFake) -> None:
    wire.respond = Files(b"x" * 300_000)
    async with client.open_file(ACCOUNT, "f") as stream:
        assert (stream.size_bytes, stream.mime, stream.name) == (300_000, "application/pdf", "file_7.pdf")
        chunks = [chunk async for chunk in stream.chunks]
    assert b"".join(chunks) == b"x" * 300_000
    assert max(map(len, chunks)) <= 65536
    assert [call.path for call in wire.calls] == [
        f"/bot{TOKEN}/getFile",
        f"/file/bot{TOKEN}/documents/file_7.pdf",
    ]
    assert wire.calls[1].headers["accept-encoding"] == "identity"


async def test_packed_file_stays_packed(client: TelegramClient, wire: WireFake) -> None:
    files = Files()
    files.file = Answer(200, b"\x1f\x8b not really", {"content-encoding": "gzip"})
    wire.respond = files
    assert await fetched(client) == b"\x1f\x8b not really"


async def test_file_over_the_limit_is_told_before_it_is_fetched(
    client: TelegramClient, wire: WireFake
) -> None:
    refusal = {"ok": False, "error_code": 400, "description": "Bad Request: file is too big"}
    wire.respond = lambda _call: as_json(refusal, 400)
    with pytest.raises(MessageRejected) as caught:
        await fetched(client)
    assert caught.value.code is FailureCode.FILE_TOO_BIG
    files = Files()
    files.found["file_size"] = DOWNLOAD_MAX_BYTES + 1
    wire.respond = files
    with pytest.raises(MessageRejected) as caught:
        await fetched(client)
    assert caught.value.code is FailureCode.FILE_TOO_BIG
    assert [call.method for call in wire.calls] == ["getFile", "getFile"]


@pytest.mark.parametrize(
    "path",
    [
        None,
        "",
        7,
        "/etc/passwd",
        "../../etc/passwd",
        "documents/../../../bot1:x/getMe",
        "documents/./x",
        "//evil.example/x",
        "http://evil.example/x",
        "documents/x?y=1",
        "documents/x#y",
        "documents\\x",
        "documents/%2e%2e/x",
        "file",
    ],
)
async def test_odd_path_is_never_asked_for(client: TelegramClient, wire: WireFake, path: object) -> None:
    wire.respond = Files(path=path)
    with pytest.raises(MessageRejected):
        await fetched(client)
    assert [call.method for call in wire.calls] == ["getFile"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (as_json({"ok": False, "error_code": 404, "description": "Not Found"}, 404), MessageRejected),
        (as_json({"ok": False, "error_code": 401, "description": "Unauthorized"}, 401), CredentialsInvalid),
        (as_json({"ok": False, "error_code": 429, "parameters": {"retry_after": 3}}, 429), Throttled),
        (Answer(502, b"<html>"), ProviderUnavailable),
        (Answer(302, b"", {"location": "http://169.254.169.254/"}), ProviderUnavailable),
        (Answer(does="drop"), ProviderUnavailable),
        (Answer(does="reset"), ProviderUnavailable),
    ],
)
async def test_refused_download(
    client: TelegramClient, wire: WireFake, answer: Answer, kind: type[Exception]
) -> None:
    files = Files()
    files.file = answer
    wire.respond = files
    with pytest.raises(kind) as caught:
        await fetched(client)
    assert type(caught.value) is kind
    assert TOKEN not in repr(caught.value)
    assert caught.value.__cause__ is None


async def test_download_that_breaks_off_is_tried_again_later(client: TelegramClient, wire: WireFake) -> None:
    files = Files()
    files.file = Answer(200, b"half", {"content-length": "100"}, does="answer")
    wire.respond = files
    task = asyncio.create_task(fetched(client))
    await wire.seen("file_7.pdf")
    await wire.stop()
    with pytest.raises(ProviderUnavailable):
        await task
    await wire.start()


async def test_unanswered_getfile_is_no_ambiguity(client: TelegramClient, wire: WireFake) -> None:
    wire.respond = lambda _call: Answer(does="drop")
    with pytest.raises(ProviderUnavailable):
        await fetched(client)
