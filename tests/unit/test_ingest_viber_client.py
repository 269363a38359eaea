"""The calls of Viber's API over a real socket: registration, checks, pauses, silence, files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from ingest_viber import client as client_module
from ingest_viber.client import ViberClient
from ingest_viber.connector import ViberBotConnector
from ingest_viber.downloads import Downloads
from ingest_viber.payloads import EVENT_TYPES, File, FileKind, Request
from ingest_viber.refusals import STATUS_TABLE
from msgkit.connector.contract import Account
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    Throttled,
)
from msgkit.connector.public_media import PublicAddresses
from msgkit.contracts.words import FailureCode
from msgkit.runtime.safe_fetch import SafeFetch
from msgkit.testing.wire import Answer, WireFake, as_json

TOKEN = "44b935abea139fd6-53fa53b32559c4a6-12dbd3d883b06835"
HOOK = "https://chat.example.com/webhooks/viber_bot/" + "c" * 32
ACCOUNT = Account(
    channel_id="c" * 32,
    tenant_id="salon",
    kind="viber_bot",
    account_id="pa:5000000000000000001",
    account_name="Ромашка",
    api_base=None,
    state="active",
    problem=None,
    paused_until=None,
    credentials={"token": TOKEN},
    webhook_secret="s3cret",
)
ANOTHER = replace(ACCOUNT, channel_id="d" * 32, credentials={"token": "another-bots-token"})
TEXT = Request("5h2COTj83ZE6IAsIcTEVGw==", "Ромашка", "m.1", None, 1, "Добрий день")
INFO = {
    "status": 0,
    "status_message": "ok",
    "id": "pa:5000000000000000001",
    "name": "Ромашка",
    "uri": "romashka",
    "webhook": HOOK,
    "event_types": [*EVENT_TYPES, "message", "webhook"],
}


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[WireFake]:
    wire = WireFake(lambda _call: as_json({"status": 0, "message_token": 5741311803571721087}))
    await wire.start()
    yield wire
    await wire.stop()


@pytest_asyncio.fixture
async def connector(wire: WireFake) -> AsyncIterator[ViberBotConnector]:
    addresses = PublicAddresses("https://chat.example.com", "k", {"k": b"k" * 32})
    connector = ViberBotConnector(ViberClient("viber_bot", addresses, wire.url), Downloads(clock=clock))
    yield connector
    await connector.aclose()


def clock() -> datetime:
    return datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


def answering(wire: WireFake, answer: Any) -> None:
    wire.respond = lambda _call: answer if isinstance(answer, Answer) else as_json(answer)


def test_every_row_of_the_table_names_its_source() -> None:
    assert all(row.source for row in STATUS_TABLE)
    assert {row.status for row in STATUS_TABLE} | {0, 12} == {*range(25), 999}


async def test_accepted_message_has_its_token_with_every_digit(
    connector: ViberBotConnector, wire: WireFake
) -> None:
    assert (await connector.deliver(TEXT, ACCOUNT)).provider_ids == ["5741311803571721087"]
    (call,) = wire.calls
    assert call.path == "/pa/send_message"
    assert call.headers["x-viber-auth-token"] == TOKEN
    assert TOKEN not in str(call.fields)
    answering(wire, {"status": 0})
    assert (await connector.deliver(TEXT, ACCOUNT)).provider_ids == []


async def test_file_goes_by_its_public_address(connector: ViberBotConnector, wire: WireFake) -> None:
    key = "aa/bb/" + "c" * 32
    file = File(FileKind.VIDEO, key, "video/mp4", "відео.mp4", "video.mp4", 1234, 12)
    await connector.deliver(replace(TEXT, text="", file=file), ACCOUNT)
    (call,) = wire.calls
    url = call.fields["media"]
    assert url.startswith("https://chat.example.com/m/")
    assert url.endswith("/video.mp4")
    assert (call.fields["size"], call.fields["duration"]) == ("1234", "12")
    token = url.removeprefix("https://chat.example.com/m/").partition("/")[0]
    opened = PublicAddresses("https://chat.example.com", "k", {"k": b"k" * 32}).open(token, "video.mp4")
    assert (opened.key, opened.mime) == (key, "video/mp4")


async def test_own_api_base_is_called_under_its_path(connector: ViberBotConnector, wire: WireFake) -> None:
    await connector.deliver(TEXT, replace(ACCOUNT, api_base=f"{wire.url}/viber"))
    assert wire.calls[0].path == "/viber/pa/send_message"


# --- registration and health


async def test_registration_says_every_option(connector: ViberBotConnector, wire: WireFake) -> None:
    await connector.connect(ACCOUNT, HOOK)
    (call,) = wire.calls
    assert call.path == "/pa/set_webhook"
    assert call.fields == {
        "url": HOOK,
        "event_types": str(list(EVENT_TYPES)),
        "send_name": "True",
        "send_photo": "True",
    }


async def test_webhook_that_failed_the_check_is_explained_without_the_answer(
    connector: ViberBotConnector, wire: WireFake
) -> None:
    said = "Result[HttpRequest[POST x]> HttpResponse[HTTP/1.1 419 unknown status]]"
    answering(wire, {"status": 1, "status_message": said})
    with pytest.raises(MessageRejected) as caught:
        await connector.connect(ACCOUNT, HOOK)
    assert "відповіла 419" in caught.value.text
    assert "HttpRequest" not in caught.value.text


async def test_disconnecting_is_an_empty_address_and_may_be_repeated(
    connector: ViberBotConnector, wire: WireFake
) -> None:
    await connector.disconnect(ACCOUNT)
    assert wire.calls[0].fields == {"url": ""}
    answering(wire, {"status": 10, "status_message": "webhookNotSet"})
    await connector.disconnect(ACCOUNT)
    answering(wire, {"status": 1, "status_message": "invalidUrl"})
    with pytest.raises(ProviderUnavailable):
        await connector.disconnect(ACCOUNT)


async def test_bot_behind_a_token(connector: ViberBotConnector, wire: WireFake) -> None:
    answering(wire, INFO)
    identity = await connector.probe(ACCOUNT)
    assert (identity.account_id, identity.account_name) == ("pa:5000000000000000001", "Ромашка")
    answering(wire, {"status": 0, "uri": "romashka"})
    identity = await connector.probe(ACCOUNT)
    assert (identity.account_id, identity.account_name) == ("romashka", "romashka")
    answering(wire, {"status": 0})
    with pytest.raises(DeliveryUnknown):
        await connector.probe(ACCOUNT)


@pytest.mark.parametrize(
    ("changed", "connected", "words"),
    [
        ({}, True, None),
        ({"webhook": None}, False, "не встановлено"),
        ({"webhook": ""}, False, "не встановлено"),
        ({"webhook": "https://other.example.com/x"}, False, "іншої системи"),
        ({"event_types": ["message", "delivered"]}, False, "не всі події"),
        ({"event_types": None}, True, None),
    ],
)
async def test_health_names_one_fix(
    changed: dict[str, Any],
    connected: bool,
    words: str | None,
    connector: ViberBotConnector,
    wire: WireFake,
) -> None:
    answering(wire, INFO | changed)
    report = await connector.check(ACCOUNT, HOOK)
    assert report.connected is connected
    assert report.problem is None if words is None else words in (report.problem or "")


async def test_health_of_a_bot_whose_webhook_viber_does_not_tell(
    connector: ViberBotConnector, wire: WireFake
) -> None:
    answering(wire, {name: value for name, value in INFO.items() if name != "webhook"})
    assert (await connector.check(ACCOUNT, HOOK)).connected
    answering(wire, {name: INFO[name] for name in ("status", "id", "name")})
    assert not (await connector.check(ACCOUNT, HOOK)).connected


@pytest.mark.parametrize("token", ["", "із кирилицею", "with space", "with\r\nbreak", "tab\t"])
async def test_odd_token_is_refused_before_it_is_sent(
    token: str, connector: ViberBotConnector, wire: WireFake
) -> None:
    with pytest.raises(CredentialsInvalid):
        await connector.probe(replace(ACCOUNT, credentials={"token": token}))
    assert wire.calls == []


# --- pauses and silence


async def test_too_many_requests_waits_longer_each_time_and_only_this_bot(wire: WireFake) -> None:
    now = [1000.0]
    addresses = PublicAddresses("https://chat.example.com", "k", {"k": b"k" * 32})
    client = ViberClient("viber_bot", addresses, wire.url, monotonic=lambda: now[0])
    throttled = {"status": 12, "status_message": "tooManyRequests"}

    async def pause(account: Account = ACCOUNT) -> float:
        with pytest.raises(Throttled) as caught:
            await client.send(account, TEXT)
        return caught.value.retry_after_seconds

    answering(wire, throttled)
    assert [await pause(), await pause()] == [2.0, 2.0]  # side by side: one pause
    now[0] += 2.1
    assert await pause() == 4.0
    assert await pause(ANOTHER) == 2.0
    for longer in (8.0, 16.0, 32.0, 60.0, 60.0):
        now[0] += longer / 2 + 0.1 if longer < 60 else 60.1
        assert await pause() == longer
    answering(wire, {"status": 0})
    await client.send(ACCOUNT, TEXT)
    answering(wire, throttled)
    assert await pause() == 2.0
    await client.aclose()


async def test_silence_leaves_the_fate_of_a_message_unknown(
    connector: ViberBotConnector, wire: WireFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CALL_SECONDS", 0.2)
    answering(wire, Answer(does="hang"))
    with pytest.raises(DeliveryUnknown, match=r"no answer within 0\.2 s"):
        await connector.deliver(TEXT, ACCOUNT)


# --- files of clients


async def read(connector: ViberBotConnector, url: str, account: Account) -> bytes:
    async with connector.open_media(url, account) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


def near(wire: WireFake) -> Account:
    return replace(ACCOUNT, api_base=f"{wire.url}/viber")


async def test_file_of_a_client_comes_without_our_token(connector: ViberBotConnector, wire: WireFake) -> None:
    answering(wire, Answer(200, b"bytes of a photo", {"content-type": "image/jpeg"}))
    expires = int(datetime(2026, 11, 21, 10, 30, tzinfo=UTC).timestamp())
    url = f"{wire.url}/viber/media/a.jpg?Expires={expires}&Signature=s"
    assert await read(connector, url, near(wire)) == b"bytes of a photo"
    (call,) = wire.calls
    assert TOKEN not in json.dumps(call.headers)


async def test_closed_network_is_open_only_behind_the_own_api_base(
    connector: ViberBotConnector, wire: WireFake
) -> None:
    host = f"http://localhost:{wire.port}/a.jpg"
    for url, account in [
        (f"{wire.url}/a.jpg", ACCOUNT),
        (f"{wire.url}/a.jpg", replace(ACCOUNT, api_base="http://127.0.0.1:1/viber")),
        (host, near(wire)),
        ("http://169.254.169.254/latest/meta-data", near(wire)),
        ("file:///etc/passwd", near(wire)),
        ("http://[::1", near(wire)),
        ("нічого", near(wire)),
    ]:
        with pytest.raises(MessageRejected):
            await read(connector, url, account)
    assert wire.calls == []


async def test_bot_with_an_api_base_gets_files_from_outside_too(wire: WireFake) -> None:
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    downloads = Downloads(SafeFetch(resolver=resolve, allowed_networks=["127.0.0.0/8"]), clock)
    answering(wire, Answer(200, b"photo"))
    account = replace(ACCOUNT, api_base="http://127.0.0.1:1/viber")
    async with downloads.open(f"http://dl-media.example.com:{wire.port}/a.jpg", account) as stream:
        assert b"".join([chunk async for chunk in stream.chunks]) == b"photo"
    assert asked == ["dl-media.example.com"]
    await downloads.aclose()


async def test_redirect_leads_out_of_the_own_api_base_nowhere(
    connector: ViberBotConnector, wire: WireFake
) -> None:
    answering(wire, Answer(302, b"", {"location": "http://127.0.0.1:1/secret"}))
    with pytest.raises(MessageRejected):
        await read(connector, f"{wire.url}/a.jpg", near(wire))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, MessageRejected),
        (404, MessageRejected),
        (410, MessageRejected),
        (429, ProviderUnavailable),
        (500, ProviderUnavailable),
        (503, ProviderUnavailable),
    ],
)
async def test_refused_file_is_gone_or_tried_again(
    status: int, error: type[Exception], connector: ViberBotConnector, wire: WireFake
) -> None:
    answering(wire, Answer(status))
    with pytest.raises(error):
        await read(connector, f"{wire.url}/a.jpg", near(wire))


async def test_expired_address_is_not_even_asked(connector: ViberBotConnector, wire: WireFake) -> None:
    expired = int(datetime(2026, 11, 21, 9, 59, tzinfo=UTC).timestamp())
    with pytest.raises(MessageRejected) as caught:
        await read(connector, f"{wire.url}/a.jpg?Expires={expired}", near(wire))
    assert caught.value.code is FailureCode.REJECTED
    assert wire.calls == []
    for odd in ("Expires=", "Expires=soon", "Expires=99999999999999999999", "Expires=²"):
        await read(connector, f"{wire.url}/a.jpg?{odd}".replace("²", "%C2%B2"), near(wire))
    assert len(wire.calls) == 4


async def test_broken_file_is_tried_again(connector: ViberBotConnector, wire: WireFake) -> None:
    answering(wire, Answer(does="drop"))
    with pytest.raises(ProviderUnavailable):
        await read(connector, f"{wire.url}/a.jpg", near(wire))
