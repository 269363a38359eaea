"""Bad input at the doors of Messenger and Instagram: false signatures, strange pages, odd shapes."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from msgkit.runtime.http import authorities
from msgkit.runtime.mongo import Database, Mongo
from msgkit.testing import demo
from msgkit.testing.phone import Desk, new_client
from msgkit.testing.system import System

Json = dict[str, Any]
SIGNATURE_HEADER = "X-Hub-Signature-256"
OTHER_PAGE = "682498302999999"
"""A page of the same app that no channel has."""
MIB = 1024 * 1024
OURS = {"page": demo.PAGE["page_id"], "instagram": demo.INSTAGRAM["ig_id"]}
DOORS = {"page": "facebook", "instagram": "instagram"}
BOTH = pytest.mark.parametrize("about", ["page", "instagram"])


class MetaDoor:
    """The callbacks of the apps, and what their service keeps of what nobody understood."""

    def __init__(self, http: httpx2.AsyncClient, database: Database) -> None:
        self._http = http
        self._database = database

    async def post(self, about: str, body: bytes, signature: str | None) -> httpx2.Response:
        headers = {"Content-Type": "application/json"}
        if signature is not None:
            headers[SIGNATURE_HEADER] = signature
        return await self._http.post(f"/webhooks/{DOORS[about]}", content=body, headers=headers)

    async def post_signed(self, about: str, payload: object) -> httpx2.Response:
        body = _bytes(payload)
        return await self.post(about, body, _signed(body))

    async def greet(self, about: str, **query: str) -> httpx2.Response:
        params = {f"hub.{key}": value for key, value in query.items()}
        return await self._http.get(f"/webhooks/{DOORS[about]}", params=params)

    async def quarantined(self, text: str) -> list[Json]:
        """What is kept with these words in it."""
        rows = await self._database["quarantine"].find({}).to_list(None)
        return [dict(row) for row in rows if text.encode() in row["body"]]


@pytest.fixture
async def door(system: System) -> AsyncIterator[MetaDoor]:
    mongo = Mongo(system.mongodb.url, "rozmova_ingest_meta")
    async with httpx2.AsyncClient(base_url=system.meta_url, timeout=30, verify=authorities()) as http:
        yield MetaDoor(http, mongo.database)
    mongo.close()


def _bytes(payload: object) -> bytes:
    """JSON as Meta writes it: escaped, the slashes too."""
    return payload if isinstance(payload, bytes) else json.dumps(payload).replace("/", "\\/").encode()


def _signed(body: bytes, secret: str = demo.PAGE["app_secret"]) -> str:
    return f"sha256={hmac.new(secret.encode(), body, 'sha256').hexdigest()}"


def _somebody() -> str:
    return str(6 * 10**15 + time.time_ns() % 10**15)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _item(about: str, sender: object = None, **what: Any) -> Json:
    """One element of `messaging` from somebody new."""
    return {
        "sender": {"id": _somebody()} if sender is None else sender,
        "recipient": {"id": OURS[about]},
        "timestamp": _now_ms(),
        **what,
    }


def _text(about: str, text: str, sender: object = None, **more: Any) -> Json:
    return _item(about, sender, message={"mid": f"m_{new_client()}", "text": text, **more})


def _whole(about: str, *items: object, account: object = None, key: str = "messaging") -> Json:
    """A whole POST with one entry."""
    entry = {"id": OURS[about] if account is None else account, "time": _now_ms(), key: list(items)}
    return {"object": about, "entry": [entry]}


@BOTH
async def test_what_our_apps_did_not_sign_is_403_and_leaves_nothing(
    door: MetaDoor, olena: Desk, about: str
) -> None:
    text = f"підробка {new_client()}"
    body = _bytes(_whole(about, _text(about, text)))
    right = _signed(body)
    refused = [
        await door.post(about, body, None),
        await door.post(about, body, ""),
        await door.post(about, body, right.removeprefix("sha256=")),
        await door.post(about, body, "sha256=" + "0" * 64),
        # An app of ours, but of another messenger, whose service has a list of its own.
        await door.post(about, body, _signed(body, str(demo.WHATSAPP_NUMBER["app_secret"]))),
        await door.post(about, body + b" ", right),
        await door.post(about, json.dumps(json.loads(body), ensure_ascii=False).encode(), right),
        await door.post(about, json.dumps(json.loads(body)).replace(" ", "").encode(), right),
    ]
    assert [(answer.status_code, answer.content) for answer in refused] == [(403, b"")] * len(refused)
    too_big = b'{"x": "' + b"x" * (5 * MIB) + b'"}'
    assert (await door.post(about, too_big, _signed(too_big))).status_code == 413
    proof = f"справжнє {new_client()}"
    assert (await door.post_signed(about, _whole(about, _text(about, proof)))).status_code == 200
    await olena.message(proof)
    assert olena.find(text) is None
    assert await door.quarantined(text.split()[1]) == []


@BOTH
async def test_the_handshake_answers_only_to_verify_tokens_of_ours(door: MetaDoor, about: str) -> None:
    for app in demo.META_APPS:
        good = await door.greet(
            about, mode="subscribe", verify_token=app["verify_token"], challenge="1158201444"
        )
        assert (good.status_code, good.text) == (200, "1158201444")
        assert good.headers["content-type"].startswith("text/plain")
    token = demo.PAGE["verify_token"]
    for query in (
        {"mode": "subscribe", "verify_token": "wrong", "challenge": "1"},
        {"mode": "unsubscribe", "verify_token": token, "challenge": "1"},
        {"mode": "subscribe", "challenge": "1"},
        {},
    ):
        assert (await door.greet(about, **query)).status_code == 403, query


@BOTH
async def test_what_is_for_no_account_of_ours_goes_to_nobody(door: MetaDoor, olena: Desk, about: str) -> None:
    text = f"чужому {new_client()}"
    other = f"{OTHER_PAGE}{time.time_ns() % 10**6}"
    assert (
        await door.post_signed(about, _whole(about, _text(about, text), account=other))
    ).status_code == 200
    (kept,) = await door.quarantined(text.split()[1])
    assert (kept["tenant_id"], kept["channel_id"]) == (None, None), "only those who run the house may see it"
    flat = {"field": "messages", "value": _text(about, text)}
    assert (await door.post_signed(about, flat)).status_code == 200, "the dashboard's own test"
    # One request: an entry of a strange account, then one of ours.
    proof = f"своєму {new_client()}"
    mixed = _whole(about, _text(about, text), account=other)
    mixed["entry"] += _whole(about, _text(about, proof))["entry"]
    assert (await door.post_signed(about, mixed)).status_code == 200
    await olena.message(proof)
    assert olena.find(text) is None


@BOTH
async def test_odd_shapes_are_shown_or_set_aside_and_the_next_one_comes(
    door: MetaDoor, olena: Desk, about: str
) -> None:
    words = f"дивне {new_client()}"
    now_s = int(time.time())
    reel = {"type": "reel", "payload": {"url": "/reel/123451234512345/", "title": "кліп"}}
    shown = {
        f"{words} з невідомим полем": _text(about, f"{words} з невідомим полем", hologram={"depth": 3}),
        f"{words} секунди": {**_text(about, f"{words} секунди"), "timestamp": now_s},
        f"{words} час текстом": {**_text(about, f"{words} час текстом"), "timestamp": str(now_s * 1000)},
        f"{words} відносний reel": _text(about, f"{words} відносний reel", attachments=[reel]),
        f"{words} null": _text(about, f"{words} null", attachments=None, reply_to=None, quick_reply=None),
    }
    set_aside: list[object] = [
        _whole(about, _text(about, f"{words} ніхто", sender={})),
        _whole(about, _text(about, f"{words} дитина форми", sender={"user_ref": "checkbox-ref-1"})),
        _whole(about, _text(about, f"{words} вкладене", sender={"id": {"$ne": None}})),
        _whole(about, _item(about, message={"mid": "", "text": f"{words} без mid"})),
        # Nothing that we said, and nobody we know.
        _whole(about, _item(about, read={"watermark": _now_ms()})),
        _whole(about, _item(about, delivery={"watermark": _now_ms()})),
        _whole(about, _item(about, message={"mid": f"m_{new_client()}", "is_deleted": True})),
        _whole(about, _item(about, message_edit={"mid": f"m_{new_client()}", "text": "x", "num_edit": "2"})),
        _whole(about, None, 7, [], {}, "рядок"),
        _whole(about, {"field": "comments", "value": {"text": words}}, key="changes"),
        {"object": about, "entry": None},
        {"object": about, "entry": [None, 5, {"id": OURS[about], "messaging": {"text": words}}]},
        {"object": "permissions", "entry": [{"id": "1", "changes": []}]},
        [], None, 7, b"{", b"", b"\xff\xfe{}", b"[" * 100_000, b'{"entry": NaN}',
    ]  # fmt: skip
    payloads = [_whole(about, item) for item in shown.values()]
    for payload in (*payloads, *set_aside):
        answer = await door.post_signed(about, payload)
        assert (answer.status_code, answer.content) == (200, b""), str(payload)[:200]
    # Half of an emoji is no text that a database keeps; what else was in the request is.
    half = f"{words} пів емодзі"
    broken = json.dumps(_whole(about, _text(about, f"{half} XX"))).replace("XX", "\\ud83d").encode()
    assert (await door.post_signed(about, broken)).status_code == 200
    for text in shown:
        message = await olena.message(text)
        assert message["author"]["kind"] == "client"
        assert message["provider_time"].startswith(time.strftime("%Y-", time.gmtime(now_s)))
    everything = [m for dialogue in olena.window.seen.messages.values() for m in dialogue.values()]
    (reel_shown,) = [m for m in everything if m["text"] == f"{words} відносний reel"]
    assert reel_shown["attachments"] == []

    def half_shown() -> bool:
        dialogues = olena.window.seen.messages.values()
        return any(m["text"].startswith(half) for dialogue in dialogues for m in dialogue.values())

    await olena.until(half_shown)
    # What came before it would be here by now.
    for text in ("ніхто", "дитина форми", "вкладене", "без mid"):
        assert olena.find(f"{words} {text}") is None


@BOTH
async def test_the_same_mid_twice_in_one_request_is_one_message(
    door: MetaDoor, olena: Desk, about: str
) -> None:
    text = f"двічі {new_client()}"
    twice = _text(about, text)
    after = _text(about, f"{text} і далі", sender=twice["sender"])
    payload = _whole(about, twice, dict(twice), after)
    payload["entry"] += _whole(about, dict(twice))["entry"]
    for _ in range(2):
        assert (await door.post_signed(about, payload)).status_code == 200
    conversation = (await olena.message(f"{text} і далі"))["conversation_id"]
    said = [m["text"] for m in await olena.window.all_messages(conversation) if m["direction"] == "in"]
    assert said == [text, f"{text} і далі"]


@BOTH
async def test_a_request_of_500_entries_is_taken_whole_and_in_order(
    door: MetaDoor, olena: Desk, about: str
) -> None:
    word, sender = f"багато {new_client()}", {"id": _somebody()}
    start = _now_ms() - 500
    items = [
        {**_text(about, f"{word} {place}", sender=sender), "timestamp": start + place} for place in range(500)
    ]
    payload = {"object": about, "entry": [_whole(about, item)["entry"][0] for item in items]}
    answer = await door.post_signed(about, payload)
    assert answer.status_code == 200, answer.text
    last = await olena.message(f"{word} 499", 30)
    conversation = last["conversation_id"]
    said = [m["text"] for m in await olena.window.all_messages(conversation) if m["direction"] == "in"]
    assert said == [f"{word} {place}" for place in range(500)]
