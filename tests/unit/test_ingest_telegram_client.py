"""What each answer of the Bot API means: the table of errors, and the wire as it breaks."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from ingest_telegram import client as client_module
from ingest_telegram.client import ERROR_TABLE, TelegramClient, to_error
from ingest_telegram.connector import to_report
from ingest_telegram.payloads import SendText
from msgkit.connector.contract import Account
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.contracts.words import FailureCode
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
TEXT = SendText(chat_id=6021557731, text="Добрий день", reply_to_message_id=None, reply_markup=None)

# The fact sheet's 1.8, row by row.
ROWS: list[tuple[int, str, dict[str, Any] | None, type[Exception], dict[str, Any]]] = [
    (403, "Forbidden: bot was blocked by the user", None, RecipientUnreachable, {"blocked": True}),
    (403, "Forbidden: user is deactivated", None, RecipientUnreachable, {"blocked": False}),
    (
        403,
        "Forbidden: bot can't initiate conversation with a user",
        None,
        RecipientUnreachable,
        {"blocked": False},
    ),
    (403, "Forbidden: bot was kicked from the group chat", None, RecipientUnreachable, {"blocked": False}),
    (
        403,
        "Forbidden: bot is not a member of the channel chat",
        None,
        RecipientUnreachable,
        {"blocked": False},
    ),
    (403, "Forbidden: the group chat was deleted", None, RecipientUnreachable, {"blocked": False}),
    (403, "Forbidden: something new", None, RecipientUnreachable, {"blocked": False}),
    (400, "Bad Request: chat not found", None, RecipientUnreachable, {"blocked": False}),
    (400, "Bad Request: private chat not found", None, RecipientUnreachable, {"blocked": False}),
    (400, "Bad Request: chat_id is empty", None, RecipientUnreachable, {"blocked": False}),
    (
        400,
        "Bad Request: group chat was upgraded to a supergroup chat",
        {"migrate_to_chat_id": -1001},
        RecipientUnreachable,
        {"blocked": False},
    ),
    (400, "Bad Request: message text is empty", None, MessageRejected, {"code": FailureCode.REJECTED}),
    (400, "Bad Request: message is too long", None, MessageRejected, {"code": FailureCode.TOO_LONG}),
    (
        400,
        "Bad Request: can't parse entities: byte offset 5",
        None,
        MessageRejected,
        {"code": FailureCode.REJECTED},
    ),
    (400, "Bad Request: wrong HTTP URL specified", None, MessageRejected, {"code": FailureCode.REJECTED}),
    (400, "Bad Request: file is too big", None, MessageRejected, {"code": FailureCode.FILE_TOO_BIG}),
    (400, "Bad Request: CHAT_WRITE_FORBIDDEN", None, RecipientUnreachable, {"blocked": False}),
    (400, "Bad Request: USER_IS_BLOCKED", None, RecipientUnreachable, {"blocked": True}),
    (400, "Bad Request: SOME_NEW_CONSTANT", None, MessageRejected, {"code": FailureCode.REJECTED}),
    (400, "Logged out", None, CredentialsInvalid, {}),
    (401, "Unauthorized", None, CredentialsInvalid, {}),
    (401, "Unauthorized: invalid token specified", None, CredentialsInvalid, {}),
    (404, "Not Found", None, CredentialsInvalid, {}),
    (404, "Not Found: method not found", None, MessageRejected, {"code": FailureCode.REJECTED}),
    (409, "Conflict: terminated by other getUpdates request", None, ProviderUnavailable, {}),
    (413, "Request Entity Too Large", None, MessageRejected, {"code": FailureCode.FILE_TOO_BIG}),
    (429, "Too Many Requests: retry after 30", {"retry_after": 30}, Throttled, {"retry_after_seconds": 30.0}),
    (429, "Too Many Requests: retry after 7", None, Throttled, {"retry_after_seconds": 7.0}),
    (429, "Too Many Requests", {"retry_after": "soon"}, Throttled, {"retry_after_seconds": 5.0}),
    (500, "Internal Server Error: restart", None, DeliveryUnknown, {}),
    (502, "Bad Gateway", None, DeliveryUnknown, {}),
    (302, "Found", None, DeliveryUnknown, {}),
    (418, "I'm a teapot", None, MessageRejected, {"code": FailureCode.REJECTED}),
]


@pytest.mark.parametrize(("code", "description", "parameters", "kind", "fields"), ROWS)
def test_error_row(
    code: int,
    description: str,
    parameters: dict[str, Any] | None,
    kind: type[Exception],
    fields: dict[str, Any],
) -> None:
    error = to_error(code, description, parameters)
    assert type(error) is kind
    for name, value in fields.items():
        assert getattr(error, name) == value


def test_every_row_of_the_table_names_its_source() -> None:
    assert all(row.source for row in ERROR_TABLE)


# --- the wire


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[WireFake]:
    wire = WireFake(lambda _call: as_json({"ok": True, "result": {"message_id": 52}}))
    await wire.start()
    yield wire
    await wire.stop()


@pytest_asyncio.fixture
async def client(wire: WireFake) -> AsyncIterator[TelegramClient]:
    client = TelegramClient("telegram_bot", wire.url)
    yield client
    await client.aclose()


async def test_text_goes_out_plain_and_its_id_comes_back(client: TelegramClient, wire: WireFake) -> None:
    request = replace(TEXT, reply_to_message_id=41, reply_markup={"keyboard": [[{"text": "Меню"}]]})

    receipt = await client.send_text(ACCOUNT, request)

    assert receipt.provider_id == "52"
    (call,) = wire.calls
    assert call.path == f"/bot{TOKEN}/sendMessage"
    assert call.fields.keys() == {"chat_id", "text", "reply_markup", "reply_parameters"}
    assert (call.fields["chat_id"], call.fields["text"]) == ("6021557731", "Добрий день")
    assert json.loads(call.fields["reply_markup"]) == {"keyboard": [[{"text": "Меню"}]]}
    assert json.loads(call.fields["reply_parameters"]) == {
        "message_id": 41,
        "allow_sending_without_reply": True,
    }


async def test_own_address_of_an_account_is_used(client: TelegramClient) -> None:
    other = WireFake(lambda _call: as_json({"ok": True, "result": {"message_id": 9}}))
    await other.start()
    receipt = await client.send_text(replace(ACCOUNT, api_base=other.url), TEXT)
    assert receipt.provider_id == "9"
    assert len(other.calls) == 1
    await other.stop()


async def test_accepted_message_with_an_answer_of_the_future_is_accepted(
    client: TelegramClient, wire: WireFake
) -> None:
    odd = {"message_id": 52, "chat": {"type": "unheard-of"}, "forward_origin": {"type": "from_the_future"}}
    wire.respond = lambda _call: as_json({"ok": True, "result": odd})
    assert (await client.send_text(ACCOUNT, TEXT)).provider_id == "52"
    wire.respond = lambda _call: as_json({"ok": True, "result": True})
    assert (await client.send_text(ACCOUNT, TEXT)).provider_id is None


BROKEN: list[tuple[str, Answer, type[Exception]]] = [
    ("html 502", Answer(502, b"<html>Bad Gateway</html>"), DeliveryUnknown),
    ("html 200", Answer(200, b"<html>hello</html>"), DeliveryUnknown),
    ("empty 200", Answer(200, b""), DeliveryUnknown),
    ("a list", Answer(200, b"[]"), DeliveryUnknown),
    ("ok is a word", as_json({"ok": "true"}), DeliveryUnknown),
    ("500 without a description", as_json({"ok": False}, 500), DeliveryUnknown),
    ("closed after the request", Answer(does="drop"), DeliveryUnknown),
    ("reset after the request", Answer(does="reset"), DeliveryUnknown),
    ("429 in plain text", Answer(429, b"slow down"), Throttled),
    ("429", as_json({"ok": False, "error_code": 429, "parameters": {"retry_after": 3}}, 429), Throttled),
    ("403", as_json({"ok": False, "description": "Forbidden: x"}, 403), RecipientUnreachable),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "kind"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
async def test_broken_answer(
    client: TelegramClient, wire: WireFake, answer: Answer, kind: type[Exception]
) -> None:
    wire.respond = lambda _call: answer
    with pytest.raises(kind) as caught:
        await client.send_text(ACCOUNT, TEXT)
    assert TOKEN not in repr(caught.value)
    assert caught.value.__cause__ is None, "errors of the HTTP library may carry the address and the token"


async def test_refused_connection_is_certainly_no_delivery() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        client = TelegramClient("telegram_bot", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ProviderUnavailable):
            await client.send_text(ACCOUNT, TEXT)
        await client.aclose()


async def test_unknown_host_is_certainly_no_delivery() -> None:
    client = TelegramClient("telegram_bot", "http://no-such-host.invalid")
    with pytest.raises(ProviderUnavailable):
        await client.send_text(ACCOUNT, TEXT)
    await client.aclose()


async def test_silence_is_bounded_and_unknown(
    client: TelegramClient, wire: WireFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CALL_SECONDS", 0.3)
    wire.respond = lambda _call: Answer(does="hang")
    async with asyncio.timeout(5):
        with pytest.raises(DeliveryUnknown):
            await client.send_text(ACCOUNT, TEXT)


async def test_malformed_token_never_reaches_the_wire(client: TelegramClient, wire: WireFake) -> None:
    with pytest.raises(CredentialsInvalid):
        await client.who_am_i(replace(ACCOUNT, credentials={"token": "not a token"}))
    assert wire.calls == []


async def test_webhook_is_registered_with_every_option(client: TelegramClient, wire: WireFake) -> None:
    wire.respond = lambda _call: as_json({"ok": True, "result": True})
    await client.set_webhook(ACCOUNT, "https://chat.example.com/webhooks/telegram_bot/c")
    (call,) = wire.calls
    assert call.method == "setWebhook"
    assert call.fields["url"] == "https://chat.example.com/webhooks/telegram_bot/c"
    assert call.fields["secret_token"] == "s3cret"
    assert json.loads(call.fields["allowed_updates"]) == [
        "message", "edited_message", "callback_query", "my_chat_member",
    ]  # fmt: skip
    assert call.fields.get("drop_pending_updates", "false") == "false"


def _info(call: Call, **info: Any) -> Answer:
    assert call.method == "getWebhookInfo"
    return as_json({"ok": True, "result": info})


@pytest.mark.parametrize(
    ("info", "connected", "has_problem"),
    [
        ({"url": "https://us", "pending_update_count": 0}, True, False),
        ({"url": ""}, False, True),
        ({"url": "https://them"}, False, True),
        (
            {"url": "https://us", "pending_update_count": 500, "last_error_message": "Read timeout expired"},
            True,
            True,
        ),
        ({"url": ["odd"], "pending_update_count": "many"}, False, True),
    ],
)
async def test_health_says_what_is_wrong(
    client: TelegramClient, wire: WireFake, info: dict[str, Any], connected: bool, has_problem: bool
) -> None:
    wire.respond = lambda call: _info(call, **info)
    report = to_report(await client.webhook_info(ACCOUNT), "https://us")
    assert (report.connected, report.problem is not None) == (connected, has_problem)
