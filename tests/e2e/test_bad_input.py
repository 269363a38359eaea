"""Bad input gets a clear refusal and nothing is lost: hostile webhooks, wrong tokens, unknown fields."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from msgkit.testing.phone import Desk, new_client
from msgkit.testing.system import BOTS, System
from msgkit.testing.window import WindowRefused

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
MIB = 1024 * 1024


class Door:
    """The webhook address of the salon's bot, with what Telegram knows about it."""

    def __init__(self, http: httpx2.AsyncClient, channel_id: str, secret: str) -> None:
        self._http = http
        self._path = f"/webhooks/telegram_bot/{channel_id}"
        self.secret = secret

    async def post(self, body: bytes, headers: dict[str, str] | None = None) -> httpx2.Response:
        given = {SECRET_HEADER: self.secret} if headers is None else headers
        return await self._http.post(self._path, content=body, headers=given)


@pytest.fixture
async def door(system: System) -> AsyncIterator[Door]:
    channel = system.channels["salon"]["id"]
    async with (
        httpx2.AsyncClient(base_url=system.sandbox_url) as sandbox,
        httpx2.AsyncClient(base_url=system.ingest_url, timeout=30) as http,
    ):
        secret = (await sandbox.get(f"/control/{channel}/webhook")).json()["secret_token"]
        yield Door(http, channel, secret)


@pytest.fixture
async def olena(system: System) -> AsyncIterator[Desk]:
    async with Desk(system, "olena") as desk:
        yield desk


def update(client: int, message_id: int, **message: Any) -> bytes:
    person = {"id": client, "is_bot": False, "first_name": "Хтось"}
    chat = {"id": client, "first_name": "Хтось", "type": "private"}
    body = {"message_id": message_id, "from": person, "chat": chat, "date": 1795257000, **message}
    return json.dumps({"update_id": message_id, "message": body}, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "headers", [{}, {SECRET_HEADER: ""}, {SECRET_HEADER: "wrong"}], ids=["none", "empty", "wrong"]
)
async def test_without_the_secret_nothing_is_stored(door: Door, olena: Desk, headers: dict[str, str]) -> None:
    text = f"підробка {new_client()}"
    client = 770_000_000 + hash(text) % 1_000_000
    refused = await door.post(update(client, 1, text=text), headers)
    assert refused.status_code == 403
    proof = f"справжнє {new_client()}"
    assert (await door.post(update(client, 2, text=proof))).status_code == 200
    await olena.message(proof)
    assert olena.find(text) is None


async def test_a_body_over_the_limit_is_413(door: Door) -> None:
    assert (await door.post(b"x" * (5 * MIB))).status_code == 413


@dataclass(frozen=True)
class Hostile:
    name: str
    body: bytes


HOSTILE = [
    Hostile("not json", b"{"),
    Hostile("not utf-8", b"\xff\xfe{}"),
    Hostile("a list", b"[]"),
    Hostile("null", b"null"),
    Hostile("empty", b""),
    Hostile("deep", b"[" * 100_000),
    Hostile("not a number", b'{"update_id": NaN}'),
    Hostile("message null", b'{"update_id": 1, "message": null}'),
    Hostile("message a list", b'{"update_id": 1, "message": [null]}'),
    Hostile("photo null", update(777000002, 5, photo=None)),
    Hostile("entities null", update(777000002, 6, text="а", entities=None)),
    Hostile("huge ids", update(2**70, 2**80, text="велике")),
    Hostile("unknown kind", update(777000002, 8, hologram={"depth": 3})),
    Hostile("unknown update", b'{"update_id": 9, "telepathy": {"x": 1}}'),
    Hostile("half a surrogate", b'{"update_id": 10, "message": {"text": "\\ud83d"}}'),
]


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
async def test_what_cannot_be_understood_is_taken_and_the_service_lives(
    door: Door, olena: Desk, case: Hostile
) -> None:
    assert (await door.post(case.body)).status_code == 200
    after = f"далі {new_client()}"
    assert (await door.post(update(777000003, hash(after) % 10**9, text=after))).status_code == 200
    await olena.message(after)


async def test_an_unknown_kind_is_a_placeholder_in_the_dialogue(door: Door, olena: Desk) -> None:
    text = f"перед невідомим {new_client()}"
    client = 780000000 + hash(text) % 1000000
    await door.post(update(client, 1, text=text))
    conversation = (await olena.message(text))["conversation_id"]
    assert (await door.post(update(client, 2, hologram={"depth": 3}))).status_code == 200
    messages = olena.window.seen.messages[conversation]
    shown = await olena.until(lambda: [m for m in messages.values() if m["kind"] == "unsupported"])
    assert len(shown) == 1


async def test_a_wrong_token_is_refused_in_the_messengers_words(system: System, olena: Desk) -> None:
    before = await olena.window.call("GET", "/channels")
    body = _channel(system, "7000000009:AAnobody-has-such-a-bot-0123456789abcdef")
    with pytest.raises(WindowRefused) as refused:
        await olena.window.call("POST", "/channels", body)
    assert refused.value.status == 422
    assert "Unauthorized" in str(refused.value.body)
    assert await olena.window.call("GET", "/channels") == before, "nothing half-created"


async def test_a_bot_of_another_tenant_is_refused_without_naming_it(system: System, olena: Desk) -> None:
    before = await olena.window.call("GET", "/channels")
    with pytest.raises(WindowRefused) as refused:
        await olena.window.call("POST", "/channels", _channel(system, BOTS["clinic"]["token"]))
    assert (refused.value.status, refused.value.code) == (409, "already_connected")
    assert "clinic" not in str(refused.value.body)
    assert await olena.window.call("GET", "/channels") == before


async def test_an_address_that_is_not_allowed_is_refused(system: System, olena: Desk) -> None:
    body = _channel(system, BOTS["salon"]["token"]) | {"api_base": "http://169.254.169.254"}
    with pytest.raises(WindowRefused) as refused:
        await olena.window.call("POST", "/channels", body)
    assert refused.value.status == 422


async def test_credentials_are_write_only(system: System, olena: Desk) -> None:
    text = json.dumps(await olena.window.call("GET", "/channels"))
    secret_half = BOTS["salon"]["token"].split(":")[1]
    assert secret_half not in text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        (
            "POST",
            "/conversations/{conversation}/messages",
            {"client_msg_id": "k-000001", "text": "а", "n": 7},
        ),
        ("POST", "/conversations/{conversation}/messages", {"client_msg_id": "k-000001", "text": ""}),
        ("POST", "/conversations/{conversation}/messages", {"client_msg_id": {"$ne": None}, "text": "а"}),
        ("POST", "/conversations/{conversation}/read", {"n": -1}),
        ("POST", "/conversations/{conversation}/read", {"n": 1, "tenant_id": "clinic"}),
        ("PATCH", "/channels/{channel}", {"tenant_id": "clinic"}),
        ("POST", "/channels", {"kind": "telegram_bot", "title": "а", "credentials": {}, "owner": "я"}),
    ],
)
async def test_what_is_not_in_the_contract_is_refused(
    system: System, door: Door, olena: Desk, method: str, path: str, body: dict[str, object]
) -> None:
    text = f"для відмов {new_client()}"
    await door.post(update(777000004, hash(text) % 10**9, text=text))
    ids = {
        "conversation": (await olena.message(text))["conversation_id"],
        "channel": system.channels["salon"]["id"],
    }
    with pytest.raises(WindowRefused) as refused:
        await olena.window.call(method, path.format(**ids), body)
    assert refused.value.status == 422


def _channel(system: System, token: str) -> dict[str, object]:
    return {
        "kind": "telegram_bot",
        "title": "Ще один",
        "credentials": {"token": token},
        "api_base": system.sandbox_url,
        "settings": {},
    }
