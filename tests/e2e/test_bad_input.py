"""Bad input gets a clear refusal and nothing is lost: hostile webhooks, wrong tokens, unknown fields."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from msgkit.runtime.http import authorities
from msgkit.runtime.mongo import Database, Mongo
from msgkit.testing.demo import BOTS, VIBER_BOT
from msgkit.testing.phone import Desk, new_client
from msgkit.testing.system import System
from msgkit.testing.window import WindowRefused

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
SIGNATURE_HEADER = "X-Viber-Content-Signature"
OTHER_VIBER_TOKEN = "55b935abea139fd6-53fa53b32559c4a6-12dbd3d883b06835"
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
        httpx2.AsyncClient(base_url=system.sandbox_url, verify=authorities()) as sandbox,
        httpx2.AsyncClient(base_url=system.ingest_url, timeout=30, verify=authorities()) as http,
    ):
        secret = (await sandbox.get(f"/control/{channel}/webhook")).json()["secret_token"]
        yield Door(http, channel, secret)


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


# --- Viber's door


class ViberDoor:
    """The webhook address of the salon's Viber bot, and what its service keeps of what nobody understood."""

    def __init__(self, http: httpx2.AsyncClient, channel_id: str, database: Database) -> None:
        self._http = http
        self._path = f"/webhooks/viber_bot/{channel_id}"
        self._database = database

    async def post(
        self, body: bytes, *, header: str | None = None, sig: str | None = None
    ) -> httpx2.Response:
        """Without either of the two: unsigned."""
        headers = {} if header is None else {SIGNATURE_HEADER: header}
        query = "" if sig is None else f"?sig={sig}"
        return await self._http.post(f"{self._path}{query}", content=body, headers=headers)

    async def post_signed(self, body: bytes) -> httpx2.Response:
        return await self.post(body, header=signed(body))

    async def quarantined(self, body: bytes) -> str | None:
        """Why this body is in quarantine; None: it is not there."""
        kept = await self._database["quarantine"].find_one({"body": body})
        return None if kept is None else str(kept["reason"])


@pytest.fixture
async def viber(system: System) -> AsyncIterator[ViberDoor]:
    mongo = Mongo(system.mongodb.url, "rozmova_ingest_viber")
    async with httpx2.AsyncClient(base_url=system.viber_url, timeout=30) as http:
        yield ViberDoor(http, system.viber["id"], mongo.database)
    mongo.close()


def signed(body: bytes, token: str = VIBER_BOT["token"]) -> str:
    return hmac.new(token.encode(), body, "sha256").hexdigest()


def callback(text: str, **more: Any) -> bytes:
    """A client's message as Viber brings it; `more` replaces parts of it."""
    token = 5_851_650_804_048_782_321 + hash(text) % 10**9
    whole = {
        "event": "message",
        "timestamp": 1795257001123,
        "message_token": token,
        "sender": {"id": f"{new_client()}==", "name": "Хтось"},
        "message": {"type": "text", "text": text},
        "silent": False,
        **more,
    }
    return json.dumps(whole, ensure_ascii=False).encode()


async def test_what_viber_did_not_sign_is_403_and_leaves_nothing(viber: ViberDoor, olena: Desk) -> None:
    text = f"підробка {new_client()}"
    body = callback(text)
    right, elsewhere = signed(body), signed(body, OTHER_VIBER_TOKEN)
    refused = [
        await viber.post(body),
        await viber.post(body, header="0" * 64),
        await viber.post(body, header="0" * 64, sig=right),  # a right one beside a wrong one
        await viber.post(body, header="", sig=right),
        await viber.post(body, header=elsewhere),  # another bot's callback under our address
        await viber.post(body, sig=elsewhere),
        await viber.post(body + b" ", header=right),
    ]
    assert [(answer.status_code, answer.content) for answer in refused] == [(403, b"")] * len(refused)
    too_big = callback("x" * (5 * MIB))
    assert (await viber.post_signed(too_big)).status_code == 413
    check = b'{"event":"webhook","timestamp":1795257000123,"message_token":5306638826245346756}'
    assert (await viber.post(check)).status_code == 200, "its own check may come unsigned, and says nothing"
    proof = f"справжнє {new_client()}"
    genuine = callback(proof)
    assert (await viber.post(genuine, sig=signed(genuine))).status_code == 200
    await olena.message(proof)
    assert olena.find(text) is None
    assert [await viber.quarantined(each) for each in (body, body + b" ", check)] == [None] * 3


async def test_odd_callbacks_of_viber_are_shown_or_quarantined(viber: ViberDoor, olena: Desk) -> None:
    words = f"дивне {new_client()}"
    long_text = f"{words} " + "ї" * (32 * 1024 - len(words))
    sender = {"id": f"{new_client()}==", "name": "💇‍♀️✨"}
    shown = {
        f"{words} числом": callback(f"{words} числом", sender={"id": hash(words) % 10**9 + 1}),
        f"{words} текстом": callback(f"{words} текстом", message_token=str(hash(words) % 10**15 + 1)),
        f"{words} емодзі": callback(f"{words} емодзі", sender=sender),
        long_text: callback(long_text),
    }
    unreadable = {
        callback(words, sender={}): "sender",
        callback(words, sender=None): "sender",
        callback(words, sender={"id": {"$ne": None}}): "sender",
        callback(words, message_token=5851650804048782321.5): "token",
        b'{"event":"subscribed","timestamp":1795257010123,"user":{}, "of":"%s"}' % words.encode(): "user",
        callback(words)[:-1]: "JSON",
        b'{"event":"message","text":"\\ud83d %s"}' % words.encode(): "JSON",
    }
    opened = b'{"event":"conversation_started","timestamp":1795257009123,"type":"open","user":{}}'
    for body in (*shown.values(), *unreadable, opened):
        answer = await viber.post_signed(body)
        assert (answer.status_code, answer.content) == (200, b""), body[:200]
    for text in shown:
        message = await olena.message(text)
        assert message["author"]["kind"] == "client"
    named = olena.find(f"{words} емодзі")
    assert named is not None
    assert olena.window.seen.rows[named["conversation_id"]]["contact"]["name"] == "💇‍♀️✨"
    for body, reason in unreadable.items():
        kept = await viber.quarantined(body)
        assert kept is not None, body[:200]
        assert reason in kept
    assert olena.find(words) is None
    assert await viber.quarantined(opened) is None, "known, and nobody to welcome"


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
