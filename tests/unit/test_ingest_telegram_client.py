"""What each answer of the Bot API means: the table of errors, and the wire as it breaks."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ingest_telegram import wire as wire_module
from ingest_telegram.client import TelegramClient
from ingest_telegram.payloads import SendText
from ingest_telegram.refusals import ERROR_TABLE, FILE_TABLE, to_error
from msgkit.connector.contract import Account
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.contracts.views import BotCommand
from msgkit.contracts.words import FailureCode
from msgkit.runtime.objects import ObjectStore
from msgkit.testing.wire import Answer, WireFake, as_json

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

ODD = {"code": FailureCode.UNSUPPORTED_KIND}


def test_every_row_of_the_tables_names_its_source() -> None:
    assert all(row.source for row in FILE_TABLE)
    assert set(ERROR_TABLE) < set(FILE_TABLE)


@pytest.mark.parametrize(
    ("description", "words"),
    [
        (
            "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete",
            "вебхук",
        ),
        ("Conflict: terminated by setWebhook request", "вебхук"),
        (
            "Conflict: terminated by other getUpdates request; make sure that only one bot is running",
            "ще одна програма",
        ),
    ],
)
def test_conflict_names_the_fix(description: str, words: str) -> None:
    error = to_error(409, description, None)
    assert isinstance(error, ProviderUnavailable)
    assert words in (error.problem or "")


@pytest.mark.parametrize(
    ("description", "kind", "code"),
    [
        ("Bad Request: file is too big", MessageRejected, FailureCode.FILE_TOO_BIG),
        (
            "Bad Request: wrong file_id or the file is temporarily unavailable",
            ProviderUnavailable,
            None,
        ),
        ("Bad Request: invalid file_id", MessageRejected, FailureCode.REJECTED),
        (
            "Bad Request: wrong file identifier/HTTP URL specified",
            MessageRejected,
            FailureCode.REJECTED,
        ),
    ],
)
def test_refused_file_row(description: str, kind: type[Exception], code: FailureCode | None) -> None:
    error = to_error(400, description, None, FILE_TABLE)
    assert type(error) is kind
    assert getattr(error, "code", None) == code


# --- the wire


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


async def test_text_goes_out_plain_and_its_id_comes_back(client: TelegramClient, wire: WireFake) -> None:
    request = replace(TEXT, reply_to_message_id=41, reply_markup={"keyboard": [[{"text": "Меню"}]]})

    receipt = await client.send(ACCOUNT, request)

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
    receipt = await client.send(replace(ACCOUNT, api_base=other.url), TEXT)
    assert receipt.provider_id == "9"
    assert len(other.calls) == 1
    await other.stop()


async def test_accepted_message_with_an_answer_of_the_future_is_accepted(
    client: TelegramClient, wire: WireFake
) -> None:
    odd = {"message_id": 52, "chat": {"type": "unheard-of"}, "forward_origin": {"type": "from_the_future"}}
    wire.respond = lambda _call: as_json({"ok": True, "result": odd})
    assert (await client.send(ACCOUNT, TEXT)).provider_id == "52"
    wire.respond = lambda _call: as_json({"ok": True, "result": True})
    assert (await client.send(ACCOUNT, TEXT)).provider_id is None


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
        await client.send(ACCOUNT, TEXT)
    assert TOKEN not in repr(caught.value)
    assert caught.value.__cause__ is None, "errors of the HTTP library may carry the address and the token"


async def test_refused_connection_is_certainly_no_delivery(objects: ObjectStore) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        client = TelegramClient("telegram_bot", objects, f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ProviderUnavailable):
            await client.send(ACCOUNT, TEXT)
        await client.aclose()


async def test_unknown_host_is_certainly_no_delivery(objects: ObjectStore) -> None:
    client = TelegramClient("telegram_bot", objects, "http://no-such-host.invalid")
    with pytest.raises(ProviderUnavailable):
        await client.send(ACCOUNT, TEXT)
    await client.aclose()


async def test_silence_is_bounded_and_unknown(
    client: TelegramClient, wire: WireFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_module, "CALL_SECONDS", 0.3)
    wire.respond = lambda _call: Answer(does="hang")
    async with asyncio.timeout(5):
        with pytest.raises(DeliveryUnknown):
            await client.send(ACCOUNT, TEXT)


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


async def test_press_is_answered_without_words(client: TelegramClient, wire: WireFake) -> None:
    wire.respond = lambda _call: as_json({"ok": True, "result": True})
    await client.answer_press(ACCOUNT, "2586135412345678901")
    (call,) = wire.calls
    assert (call.method, call.fields) == (
        "answerCallbackQuery",
        {"callback_query_id": "2586135412345678901"},
    )


async def test_commands_are_set_for_every_language_and_an_empty_list_removes_them(
    client: TelegramClient, wire: WireFake
) -> None:
    wire.respond = lambda _call: as_json({"ok": True, "result": True})
    await client.set_commands(ACCOUNT, [BotCommand(command="price", description="Ціни")])
    await client.set_commands(ACCOUNT, [])
    setting, removing = wire.calls
    assert (setting.method, removing.method) == ("setMyCommands", "deleteMyCommands")
    assert json.loads(setting.fields["commands"]) == [{"command": "price", "description": "Ціни"}]
    assert setting.fields.keys() == {"commands"}


# --- polling


async def test_poll_brings_raw_updates_and_the_position_after_them(
    client: TelegramClient, wire: WireFake
) -> None:
    updates = [{"update_id": 7, "message": {"text": "Так"}}, {"update_id": 9, "odd": 1.5}]
    wire.respond = lambda _call: as_json({"ok": True, "result": updates})
    polled = await client.poll(ACCOUNT, "7", 60.0)
    assert [json.loads(update) for update in polled.updates] == updates
    assert polled.position == "10"
    (call,) = wire.calls
    assert call.method == "getUpdates"
    assert (call.fields["offset"], call.fields["timeout"], call.fields["limit"]) == ("7", "50", "100")
    assert "callback_query" in json.loads(call.fields["allowed_updates"])


async def test_empty_poll_leaves_no_position(client: TelegramClient, wire: WireFake) -> None:
    wire.respond = lambda _call: as_json({"ok": True, "result": []})
    assert (await client.poll(ACCOUNT, "10", 25.0)).position is None, "ids may begin anew after a quiet week"
    await client.poll(ACCOUNT, None, 0.0)
    assert "offset" not in wire.calls[-1].fields


async def test_half_a_character_in_one_update_does_not_stop_the_others(
    client: TelegramClient, wire: WireFake
) -> None:
    body = b'{"ok":true,"result":[{"update_id":1,"message":{"text":"\\ud83d"}},{"update_id":2}]}'
    wire.respond = lambda _call: Answer(200, body)
    polled = await client.poll(ACCOUNT, None, 0.0)
    assert (len(polled.updates), polled.position) == (2, "3")
    assert b"\\ud83d" in polled.updates[0]


@pytest.mark.parametrize("result", [[{"no": "id"}], [{"update_id": "7"}]])
async def test_updates_without_an_id_are_no_reason_to_ask_again_at_once(
    client: TelegramClient, wire: WireFake, result: Any
) -> None:
    wire.respond = lambda _call: as_json({"ok": True, "result": result})
    with pytest.raises(ProviderUnavailable):
        await client.poll(ACCOUNT, None, 0.0)
