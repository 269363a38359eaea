"""Bad input at WhatsApp's door: false signatures, other numbers, odd shapes, huge history, dead media."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from msgkit.runtime.mongo import Database, Mongo
from msgkit.testing.demo import WHATSAPP_NUMBER
from msgkit.testing.phone import Desk, Phone, new_client
from msgkit.testing.system import System

Json = dict[str, Any]
SIGNATURE_HEADER = "X-Hub-Signature-256"
SECRET = str(WHATSAPP_NUMBER["app_secret"])
OTHER_NUMBER = "106540352249999"
"""A number of the same app that no channel has."""
MIB = 1024 * 1024


class MetaDoor:
    """The callback of the app, and what its service keeps of what nobody understood."""

    def __init__(self, http: httpx2.AsyncClient, database: Database) -> None:
        self._http = http
        self._database = database

    async def post(self, body: bytes, signature: str | None, path: str = "") -> httpx2.Response:
        headers = {"Content-Type": "application/json"}
        if signature is not None:
            headers[SIGNATURE_HEADER] = signature
        return await self._http.post(f"/webhooks/whatsapp{path}", content=body, headers=headers)

    async def post_signed(self, payload: object) -> httpx2.Response:
        body = _bytes(payload)
        return await self.post(body, _signed(body))

    async def greet(self, **query: str) -> httpx2.Response:
        return await self._http.get(
            "/webhooks/whatsapp", params={f"hub.{key}": value for key, value in query.items()}
        )

    async def quarantined(self, text: str) -> list[Json]:
        """What is kept with these words in it."""
        rows = await self._database["quarantine"].find({}).to_list(None)
        return [dict(row) for row in rows if text.encode() in row["body"]]


@pytest.fixture
async def door(system: System) -> AsyncIterator[MetaDoor]:
    mongo = Mongo(system.mongodb.url, "rozmova_ingest_whatsapp")
    async with httpx2.AsyncClient(base_url=system.whatsapp_url, timeout=30) as http:
        yield MetaDoor(http, mongo.database)
    mongo.close()


def _bytes(payload: object) -> bytes:
    """JSON as Meta writes it: escaped."""
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


def _signed(body: bytes, secret: str = SECRET) -> str:
    return f"sha256={hmac.new(secret.encode(), body, 'sha256').hexdigest()}"


def _text(text: str, **more: Any) -> Json:
    """An element of `messages[]` from somebody new."""
    return {
        "from": f"38067{abs(hash(text)) % 10**7:07d}",
        "id": f"wamid.{new_client()}",
        "timestamp": str(int(time.time())),
        "type": "text",
        "text": {"body": text},
        **more,
    }


def _change(value: Json, field: str = "messages", number: object = None, waba: object = None) -> Json:
    """A whole POST with one change."""
    metadata = {
        "display_phone_number": "380445550783",
        "phone_number_id": WHATSAPP_NUMBER["phone_number_id"] if number is None else number,
    }
    whole = {"messaging_product": "whatsapp", "metadata": metadata, **value}
    entry = {
        "id": WHATSAPP_NUMBER["waba_id"] if waba is None else waba,
        "changes": [{"field": field, "value": whole}],
    }
    return {"object": "whatsapp_business_account", "entry": [entry]}


def _said(message: Json, **more: Any) -> Json:
    contact = {"profile": {"name": "Хтось"}, "wa_id": message.get("from")}
    return _change({"contacts": [contact], "messages": [message], **more})


async def test_what_meta_did_not_sign_is_403_and_leaves_nothing(door: MetaDoor, olena: Desk) -> None:
    text = f"підробка {new_client()}"
    body = _bytes(_said(_text(text)))
    right = _signed(body)
    refused = [
        await door.post(body, None),
        await door.post(body, ""),
        await door.post(body, right.removeprefix("sha256=")),
        await door.post(body, "sha256=" + "0" * 64),
        await door.post(body, _signed(body, "another-app-secret")),
        await door.post(body + b" ", right),
        await door.post(json.dumps(json.loads(body), ensure_ascii=False).encode(), right),
    ]
    assert [(answer.status_code, answer.content) for answer in refused] == [(403, b"")] * len(refused)
    too_big = b'{"x": "' + b"x" * (5 * MIB) + b'"}'
    assert (await door.post(too_big, _signed(too_big))).status_code == 413
    proof = f"справжнє {new_client()}"
    assert (await door.post_signed(_said(_text(proof)))).status_code == 200
    await olena.message(proof)
    assert olena.find(text) is None
    assert await door.quarantined(text.split()[1]) == []


async def test_the_handshake_answers_only_to_our_verify_token(door: MetaDoor) -> None:
    token = str(WHATSAPP_NUMBER["verify_token"])
    good = await door.greet(mode="subscribe", verify_token=token, challenge="1158201444")
    assert (good.status_code, good.text) == (200, "1158201444")
    assert good.headers["content-type"].startswith("text/plain")
    for query in (
        {"mode": "subscribe", "verify_token": "wrong", "challenge": "1"},
        {"mode": "unsubscribe", "verify_token": token, "challenge": "1"},
        {"mode": "subscribe", "challenge": "1"},
        {},
    ):
        assert (await door.greet(**query)).status_code == 403, query


async def test_what_is_not_for_a_number_of_ours_goes_to_nobody(door: MetaDoor, olena: Desk) -> None:
    text = f"чужому {new_client()}"
    elsewhere = _said(_text(text))
    elsewhere["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"] = OTHER_NUMBER
    assert (await door.post_signed(elsewhere)).status_code == 200
    (kept,) = await door.quarantined(OTHER_NUMBER)
    assert (kept["tenant_id"], kept["channel_id"]) == (None, None), "only those who run the house may see it"
    flat = {"field": "messages", "value": _said(_text(text))["entry"][0]["changes"][0]["value"]}
    assert (await door.post_signed(flat)).status_code == 200, "the dashboard's own test"
    proof = f"своєму {new_client()}"
    assert (await door.post_signed(_said(_text(proof)))).status_code == 200
    await olena.message(proof)
    assert olena.find(text) is None


async def test_odd_shapes_are_shown_or_set_aside_and_the_next_one_comes(door: MetaDoor, olena: Desk) -> None:
    words = f"дивне {new_client()}"
    now = int(time.time())
    strange = _said(_text(f"{words} з невідомим полем", hologram={"depth": 3}), weather="sunny")
    shown = {
        f"{words} без contacts": _change({"messages": [_text(f"{words} без contacts")]}),
        f"{words} час числом": _said(_text(f"{words} час числом", timestamp=now)),
        f"{words} мілісекунди": _said(_text(f"{words} мілісекунди", timestamp=str(now * 1000))),
        f"{words} номер числом": _said(
            _text(f"{words} номер числом", **{"from": 380670000000 + now % 10**6})
        ),
        f"{words} з невідомим полем": strange,
        f"{words} без контакту": _change({"contacts": [{}], "messages": [_text(f"{words} без контакту")]}),
    }
    set_aside: list[object] = [
        _said(_text(f"{words} ніхто", **{"from": "", "from_user_id": ""})),
        _said(_text(f"{words} без id", id="")),
        _said(_text(f"{words} вкладене", **{"from": {"$ne": None}})),
        _change({"messages": [None, 7, [], {}]}),
        _change({"messages": {"text": words}}),
        {"object": "whatsapp_business_account", "entry": None},
        {"object": "page", "entry": [{"id": "1", "changes": []}]},
        [], None, 7, b"{", b"", b"\xff\xfe{}", b"[" * 100_000, b'{"entry": NaN}',
    ]  # fmt: skip
    for payload in (*shown.values(), *set_aside):
        answer = await door.post_signed(payload)
        assert (answer.status_code, answer.content) == (200, b""), str(payload)[:200]
    for text in shown:
        message = await olena.message(text)
        assert message["author"]["kind"] == "client"
    for text in ("ніхто", "без id", "вкладене"):
        assert olena.find(f"{words} {text}") is None
    by_time = olena.find(f"{words} мілісекунди")
    assert by_time is not None
    assert by_time["provider_time"].startswith(time.strftime("%Y-", time.gmtime(now)))


async def test_a_history_of_three_megabytes_opens_nothing_and_waits_for_nobody(
    door: MetaDoor, olena: Desk
) -> None:
    number = f"38067{abs(hash(new_client())) % 10**7:07d}"
    ours = str(WHATSAPP_NUMBER["display_phone_number"]).translate({ord(c): None for c in "+ "})
    then = int(time.time()) - 20 * 24 * 3600
    text = f"давнє {new_client()}"
    long = "ї" * 900
    messages = [
        {
            "from": number if place % 2 else ours,
            **({} if place % 2 else {"to": number}),
            "id": f"wamid.{text[-10:]}{place}",
            "timestamp": str(then + place),
            "type": "text",
            "text": {"body": f"{text} {place} {long}"},
            "history_context": {"status": "READ"},
        }
        for place in range(540)
    ]
    chunk = {"metadata": {"phase": 1, "chunk_order": 1, "progress": 100}}
    threads = {"threads": [{"id": number, "messages": messages}]}
    payload = _change({"history": [{**chunk, **threads}]}, "history")
    assert 3_000_000 < len(_bytes(payload)) < 4 * MIB
    answer = await door.post_signed(payload)
    assert answer.status_code == 200, answer.text

    live = f"щойно {new_client()}"
    assert (await door.post_signed(_said(_text(live, **{"from": number})))).status_code == 200
    conversation = (await olena.message(live, 30))["conversation_id"]
    rows = olena.window.seen.rows
    await olena.until(lambda: rows[conversation]["in_seq"] == 1, 30)
    assert rows[conversation]["last_message"]["text"] == live
    page = await olena.window.call("GET", f"/conversations/{conversation}/messages", None, {"limit": 20})
    shown = [one for one in page["items"] if one["direction"] in ("in", "out")]
    assert shown[-1]["text"] == live
    assert shown[-2]["text"].startswith(f"{text} 539 ")


async def test_media_that_is_too_big_or_gone_is_said_so(
    system: System, sandbox: httpx2.AsyncClient, olena: Desk
) -> None:
    phone = Phone(sandbox, system.whatsapp["id"], new_client())
    text = f"великий файл {phone.client}"
    await phone.write(text)
    dialogue = olena.window.seen.messages[(await olena.message(text))["conversation_id"]]
    await phone.do("messages", unsupported="document", code=131052)
    await olena.until(lambda: [m for m in dialogue.values() if m["kind"] == "unsupported"])

    huge = {"kind": "oversize", "client": phone.client, "method": "file", "bytes": 130 * MIB}
    armed = await sandbox.put("/control/faults", json={"faults": [huge]})
    assert armed.is_success, armed.text
    await phone.do("messages", kind="document", file={"generate": "text", "name": "архів.txt"})

    def lost() -> list[Json]:
        files = [file for m in dialogue.values() for file in m["attachments"]]
        return [file for file in files if file["state"] == "lost"]

    await olena.until(lost, 40)
    after = f"далі {phone.client}"
    await phone.write(after)
    await olena.message(after)
