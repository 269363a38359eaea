"""Viber in the sandbox: webhooks, callbacks and what clients do, against the fact sheet's samples."""

from pathlib import Path

import pytest
from aiohttp import web
from viber_playground import (
    CHANNEL,
    OTHER_TOKEN,
    PATH,
    TOKEN,
    Json,
    Stage,
    eventually,
    shape,
    signed,
    stage_of,
    viber_settings,
)

from sandbox.settings import Settings

PERSON: Json = {
    "id": "5h2COTj83ZE6IAsIcTEVGw==",
    "name": "Олена",
    "avatar": "https://media-direct.cdn.viber.com/download_photo?dlid=x&fltp=jpg&imsz=0000",
    "language": "uk-UA",
    "country": "UA",
    "api_version": 10,
}
FRAME: Json = {
    "timestamp": 1795257001123,
    "chat_hostname": "SN-CALLBACK-04_",
    "message_token": 5851650804048782321,
}
SAID: Json = {"event": "message", **FRAME, "sender": PERSON, "silent": False}


# --- the webhook


async def test_without_viber_bots_nothing_of_viber_is_there() -> None:
    async with stage_of(Settings(host="127.0.0.1", public_port=0, sandbox_bots=())) as stage:
        async with stage.http.post(f"{stage.url}/viber/pa/get_account_info", json={}) as answer:
            assert answer.status == 404
        assert await stage.control("channels") == []


async def test_set_webhook_calls_the_webhook_while_it_runs(lonely: Stage) -> None:
    answer = await lonely.connect(event_types=["seen", "delivered"])
    assert answer["event_types"] == ["delivered", "seen"]
    assert (answer["status"], answer["status_message"]) == (0, "ok")
    (check,) = lonely.edge.got
    assert shape(check) == shape({"event": "webhook", **FRAME})
    assert check["event"] == "webhook"
    assert lonely.edge.signatures == [(signed(lonely.edge.raw[0]),) * 2]
    (channel,) = await lonely.control("channels")
    assert (channel["channel_id"], channel["kind"], channel["connected"]) == (CHANNEL, "viber_bot", True)


async def test_set_webhook_fails_when_the_webhook_does_not_answer_200(lonely: Stage) -> None:
    async def refuse(_: Json) -> web.Response:
        return web.Response(status=419)

    lonely.edge.answer = refuse
    answer = await lonely.connect()
    assert answer["status"] == 1
    words = str(answer["status_message"])
    assert words.startswith(f"Result[HttpRequest[POST {PATH} HTTP/1.1]@")
    assert "> HttpResponse[HTTP/1.1 419 " in words
    assert (await lonely.api("get_account_info")).get("webhook") is None

    nobody = await lonely.api("set_webhook", url="http://127.0.0.1:9/webhooks/viber_bot/x")
    assert nobody["status"] == 1
    assert str(nobody["status_message"]).endswith("java.net.ConnectException: Connection refused")


async def test_an_address_loses_its_query_and_an_empty_one_removes_the_webhook(lonely: Stage) -> None:
    url = f"{lonely.edge.url}{PATH}"
    assert (await lonely.api("set_webhook", url=f"{url}?secret=1"))["status"] == 0
    assert (await lonely.api("get_account_info"))["webhook"] == url
    assert (await lonely.api("set_webhook", url=""))["status"] == 0
    assert "webhook" not in await lonely.api("get_account_info")
    assert (await lonely.refused("olena", "messages", text="Ви тут?"))["code"] == "webhook_not_set"
    assert (await lonely.api("set_webhook", url="http://example.com/viber"))["status"] == 1


async def test_the_token_stands_in_the_header_or_in_the_body(viber: Stage) -> None:
    info = await viber.api("get_account_info", token=None, auth_token=TOKEN)
    assert (info["status"], info["name"], info["uri"]) == (0, "Мавка", "mavka")
    assert (await viber.api("get_account_info", token=None))["status"] == 2
    assert (await viber.api("get_account_info", token="wrong-token-of-nobody"))["status"] == 2
    assert (await viber.api("get_account_info", token=OTHER_TOKEN))["name"] == "Клініка"


async def test_a_revoked_token_is_refused_and_the_new_one_signs(viber: Stage) -> None:
    token = str((await viber.control(f"{CHANNEL}/revoke-token", {}))["token"])
    assert (await viber.api("get_account_info"))["status"] == 2
    assert (await viber.api("get_account_info", token=token))["status"] == 0
    await viber.act("olena", "messages", text="Добрий день")
    await viber.edge.until("message")
    assert viber.edge.signatures[1] == (signed(viber.edge.raw[1], token),) * 2


def test_the_signature_is_the_one_of_the_fact_sheet() -> None:
    body = (
        b'{"event":"unsubscribed","timestamp":1516678387902,"user_id":"KMMqtlNTDxIm/5bZhdQ5uA==",'
        b'"message_token":5136431130449316903}'
    )
    assert signed(body) == "d84d8648b402a2737838fea4da41d903d1af1aed92466b1758828ad27e31a9f9"


async def test_webhook_and_subscriptions_outlive_a_restart(tmp_path: Path) -> None:
    settings = viber_settings(tmp_path / "sandbox.json")
    async with stage_of(settings) as stage:
        await stage.connect()
        await stage.act("olena", "messages", text="Добрий день")
        await stage.edge.until("message")
        url = stage.edge.url
    assert (tmp_path / "sandbox.viber.json").stat().st_mode & 0o777 == 0o600
    async with stage_of(settings) as again:
        assert (await again.control(f"{CHANNEL}/webhook"))["url"] == f"{url}{PATH}"
        assert (await again.send("olena", text="Ми знову тут"))["status"] == 0


# --- callbacks


SAMPLES: list[tuple[str, Json, Json]] = [
    ("text", {"text": "Добрий день"}, {"text": "Добрий день", "type": "text"}),
    (
        "picture",
        {"kind": "photo", "caption": "фото"},
        {
            "type": "picture",
            "text": "фото",
            "media": "https://dl-media.viber.com/5/ab/cd.jpg?Expires=1795260602&Signature=s&Key-Pair-Id=K",
            "thumbnail": "https://dl-media.viber.com/5/ab/ce.jpg?Expires=1795260602&Signature=s&Key-Pair-Id=K",
            "file_name": "1557267880757450.jpg",
            "size": 356135,
        },
    ),
    (
        "video",
        {"kind": "video"},
        {
            "type": "video",
            "media": "https://dl-media.viber.com/5/v.mp4?Expires=1795260603",
            "thumbnail": "https://dl-media.viber.com/5/v.jpg?Expires=1795260603",
            "file_name": "null",
            "size": 250381,
            "duration": 2466,
        },
    ),
    (
        "file",
        {"kind": "file", "file": "рахунок.pdf"},
        {
            "type": "file",
            "media": "https://dl-media.viber.com/5/f.pdf",
            "file_name": "рахунок.pdf",
            "size": 83211,
        },
    ),
    (
        "sticker",
        {"kind": "sticker", "sticker_id": 153500},
        {"type": "sticker", "media": "http://content.cdn.viber.com/00153500.png", "sticker_id": 153500},
    ),
    (
        "contact",
        {"phone_number": "380671234567"},
        {"type": "contact", "contact": {"name": "Олена", "phone_number": "+380671234567"}},
    ),
    (
        "location",
        {"latitude": 50.4501},
        {"type": "location", "location": {"lat": 50.4501, "lon": 30.5234}},
    ),
    ("url", {"url": "https://a.ua/x"}, {"type": "url", "media": "https://a.ua/x"}),
]


@pytest.mark.parametrize(("kind", "written", "said"), SAMPLES, ids=[kind for kind, _, _ in SAMPLES])
async def test_a_message_has_the_shape_of_the_sample(
    viber: Stage, kind: str, written: Json, said: Json
) -> None:
    receipt = await viber.act("olena", "messages", **written)
    (callback,) = await viber.edge.until("message")
    assert shape(callback) == shape({**SAID, "message": said})
    message = callback["message"]
    assert isinstance(message, dict)
    assert message["type"] == kind
    for exact in {"location", "sticker_id"} & said.keys():
        assert message[exact] == said[exact]
    if kind in ("video", "file"):
        assert message["file_name"] == said["file_name"]
    assert receipt["provider_id"] == str(callback["message_token"])
    assert int(str(callback["message_token"])) > 2**53
    assert viber.edge.signatures[1] == (signed(viber.edge.raw[1]),) * 2


async def test_a_token_is_one_that_no_double_holds(viber: Stage) -> None:
    tokens = [int(str((await viber.act("olena", "messages", text="раз"))["provider_id"])) for _ in range(5)]
    assert tokens == sorted(set(tokens))
    assert all(2**62 < token < 2**63 and int(float(token)) != token for token in tokens)


async def test_the_first_message_subscribes_and_no_callback_says_so(viber: Stage) -> None:
    user_id = await viber.user_id("olena")
    assert (await viber.api("send_message", receiver=user_id, **_text("Ви тут?")))["status"] == 5
    await viber.act("olena", "open")
    await viber.edge.until("conversation_started")
    assert (await viber.api("send_message", receiver=user_id, **_text("Ви тут?")))["status"] == 6
    await viber.act("olena", "messages", text="Добрий день")
    await viber.edge.until("message")
    assert viber.edge.of("subscribed") == []
    answer = await viber.api("send_message", receiver=user_id, **_text("Вітаю"))
    assert (answer["status"], answer["billing_status"]) == (0, 1)


async def test_without_send_name_a_person_is_a_placeholder(lonely: Stage) -> None:
    await lonely.connect(send_name=False, send_photo=False)
    await lonely.act("olena", "messages", text="Добрий день")
    (callback,) = await lonely.edge.until("message")
    sender = callback["sender"]
    assert isinstance(sender, dict)
    assert sender["name"] == "Subscriber"
    assert str(sender["avatar"]).endswith("/generic-avatar%402x.png")


async def test_the_clients_own_message_is_reported_as_delivered(viber: Stage) -> None:
    receipt = await viber.act("olena", "messages", text="Добрий день")
    (callback,) = await viber.edge.until("delivered")
    assert shape(callback) == shape({"event": "delivered", **FRAME, "user_id": "5h2COTj83ZE6IAsIcTEVGw=="})
    assert str(callback["message_token"]) == receipt["provider_id"]
    (bubble,) = await viber.shows("olena")
    assert bubble["state"] == "delivered"


async def test_a_message_of_the_bot_is_delivered_once_per_device_and_seen_once(viber: Stage) -> None:
    await viber.act("olena", "messages", text="Добрий день")
    await viber.edge.until("delivered")
    await viber.act("olena", "devices", count=2)
    first, second = await viber.send("olena", text="раз"), await viber.send("olena", text="два")
    delivered = await viber.edge.until("delivered", 5)
    tokens = [callback["message_token"] for callback in delivered[1:]]
    assert tokens == [first["message_token"]] * 2 + [second["message_token"]] * 2
    assert (await viber.phone("olena"))["unread"] == 2

    await viber.act("olena", "read")
    (seen,) = await viber.edge.until("seen")
    assert shape(seen) == shape({"event": "seen", **FRAME, "user_id": "x"})
    assert seen["message_token"] == second["message_token"]
    assert [bubble["state"] for bubble in await viber.shows("olena")] == ["delivered", "seen", "seen"]
    assert (await viber.act("olena", "read"))["provider_id"] is None


async def test_a_client_leaves_and_comes_back(viber: Stage) -> None:
    await viber.act("olena", "messages", text="Добрий день")
    await viber.act("olena", "block")
    (left,) = await viber.edge.until("unsubscribed")
    assert shape(left) == shape({"event": "unsubscribed", **FRAME, "user_id": "x"})
    assert (await viber.send("olena"))["status"] == 6
    assert (await viber.refused("olena", "block"))["code"] == "already_blocked"
    await viber.act("olena", "unblock")
    (back,) = await viber.edge.until("subscribed")
    assert shape(back) == shape({"event": "subscribed", **FRAME, "user": PERSON})
    assert (await viber.send("olena"))["status"] == 0
    await viber.act("olena", "block")
    await viber.act("olena", "messages", text="Передумала")  # writing subscribes too
    await viber.edge.until("message", 2)
    assert (await viber.send("olena"))["status"] == 0
    assert len(viber.edge.of("subscribed")) == 1


async def test_edits_deletions_and_typing_are_refused_with_the_reason(viber: Stage) -> None:
    for action in ("edit", "delete", "type"):
        refusal = await viber.refused("olena", action)
        assert refusal["code"] == "not_visible_to_bots"
        assert "Viber не повідомляє" in str(refusal["detail"])
    status, refusal = await viber.try_control(f"{CHANNEL}/clients/olena/dance", {})
    assert (status, refusal["code"]) == (404, "unknown_action")


async def test_callbacks_not_asked_for_do_not_come(lonely: Stage) -> None:
    await lonely.connect(event_types=["subscribed"])
    await lonely.act("olena", "open")
    await lonely.act("olena", "messages", text="Добрий день")
    await lonely.send("olena")
    await lonely.act("olena", "block")
    await lonely.act("olena", "unblock")
    await lonely.edge.until("subscribed")
    assert [callback["event"] for callback in lonely.edge.got] == ["webhook", "message", "subscribed"]


async def test_a_callback_of_any_shape_is_signed_too(viber: Stage) -> None:
    await viber.act("olena", "raw", callback={"event": "client_status", "status": {"code": 1}})
    (callback,) = await viber.edge.until("client_status")
    assert callback["status"] == {"code": 1}
    assert viber.edge.signatures[-1] == (signed(viber.edge.raw[-1]),) * 2


# --- the welcome and its tracking data


async def test_the_answer_to_conversation_started_is_a_welcome_on_the_phone(viber: Stage) -> None:
    async def welcome(callback: Json) -> web.Response:
        if callback["event"] != "conversation_started":
            return web.Response()
        body = {"type": "text", "text": "Вітаємо", "sender": {"name": "Мавка"}, "tracking_data": "w:1"}
        return web.json_response(body)

    viber.edge.answer = welcome
    await viber.act("olena", "open", context="crm_7f3A")
    (opened,) = await viber.edge.until("conversation_started")
    sample = {
        "event": "conversation_started", **FRAME, "type": "open", "context": "crm_7f3A",
        "user": PERSON, "subscribed": False,
    }  # fmt: skip
    assert shape(opened) == shape(sample)
    assert opened["context"] == "crm_7f3A"
    bubble = await viber.until_shown("olena", "Вітаємо")
    assert (bubble["direction"], bubble["welcome"]) == ("out", True)
    assert viber.edge.of("delivered") == []

    for text in ("Добрий день", "Ви відчинені?"):
        await viber.act("olena", "messages", text=text)
    messages = [callback["message"] for callback in await viber.edge.until("message", 2)]
    assert [m["tracking_data"] for m in messages] == ["w:1", "w:1"]
    await viber.send("olena", text="Так", tracking_data="m:2")
    await viber.act("olena", "messages", text="Дякую")
    await viber.send("olena", text="До зустрічі")
    await viber.act("olena", "messages", text="Бувайте")
    messages = [callback["message"] for callback in await viber.edge.until("message", 4)]
    assert messages[2]["tracking_data"] == "m:2"
    assert "tracking_data" not in messages[3]


@pytest.mark.parametrize(
    "answer",
    [b"ok", b"[]", b'{"type":"text","text":"x"}', b'{"type":"text","text":"","sender":{"name":"M"}}'],
    ids=["no json", "no object", "no sender", "no text"],
)
async def test_a_welcome_viber_would_not_take_is_not_shown(viber: Stage, answer: bytes) -> None:
    async def say(callback: Json) -> web.Response:
        return web.Response(body=answer if callback["event"] == "conversation_started" else b"")

    viber.edge.answer = say
    await viber.act("olena", "open")
    await viber.edge.until("conversation_started")
    entries = await eventually(lambda: viber.ledger(method="welcome"))
    assert (entries[0]["accepted"], await viber.shows("olena")) == (False, [])
    assert "вітання не показано" in str((await viber.phone("olena"))["notice"])


async def test_no_body_is_no_welcome(viber: Stage) -> None:
    await viber.act("olena", "open")
    (opened,) = await viber.edge.until("conversation_started")
    assert "context" not in opened
    await viber.act("olena", "messages", text="Добрий день")
    (message,) = await viber.edge.until("message")
    assert "tracking_data" not in message["message"]
    assert [bubble["direction"] for bubble in await viber.shows("olena")] == ["in"]


# --- repeats


async def test_a_callback_is_repeated_until_200_and_keeps_its_place(viber: Stage) -> None:
    await viber.pace(1000)
    answers = iter([500, 204, 302, 200])

    async def late(callback: Json) -> web.Response:
        return web.Response(status=next(answers, 200) if callback["event"] == "message" else 200)

    viber.edge.answer = late
    await viber.act("olena", "messages", text="раз")
    await viber.act("olena", "messages", text="два")
    assert await viber.edge.until_said("два") == ["раз"] * 4 + ["два"]
    assert viber.edge.raw[1] == viber.edge.raw[4]
    tries = await viber.ledger(type="webhook", kind="message", text="раз")
    assert [(entry["attempt"], entry["status"]) for entry in tries] == [
        (1, 500),
        (2, 204),
        (3, 302),
        (4, 200),
    ]


async def test_after_an_hour_a_callback_is_lost_and_the_next_one_comes(viber: Stage) -> None:
    await viber.pace(1000)  # an hour is 3.6 seconds

    async def refuse_the_first(callback: Json) -> web.Response:
        message = callback.get("message")
        return web.Response(status=503 if isinstance(message, dict) and message["text"] == "раз" else 200)

    viber.edge.answer = refuse_the_first
    await viber.act("olena", "messages", text="раз")
    await eventually(lambda: viber.ledger(type="webhook_dropped"))
    await viber.act("olena", "messages", text="два")
    texts = await viber.edge.until_said("два")
    assert texts == ["раз"] * (len(texts) - 1) + ["два"]
    assert 6 <= len(texts) <= 14


async def test_a_burst_is_written_at_its_rate_and_counted(viber: Stage) -> None:
    order: Json = {"clients": 5, "messages_per_client": 8, "rate_per_s": 400}
    burst = (await viber.control(f"{CHANNEL}/burst", order))["id"]
    await viber.edge.until("message", 40)
    progress = await viber.control(f"burst/{burst}")
    assert (progress["written"], progress["refused"]) == (40, 0)
    by_client: dict[str, list[int]] = {}
    for text in viber.edge.texts():
        _, client, n = text.split()
        by_client.setdefault(client, []).append(int(n))
    assert by_client == {f"c{n}": list(range(1, 9)) for n in range(5)}


async def test_reset_empties_the_phones_and_keeps_the_webhook(viber: Stage) -> None:
    await viber.act("olena", "messages", text="Добрий день")
    await viber.edge.until("message")
    await viber.control("reset", {})
    assert await viber.shows("olena") == []
    assert (await viber.phone("olena"))["subscribed"] is False
    assert (await viber.api("get_account_info"))["webhook"] == f"{viber.edge.url}{PATH}"


def _text(text: str) -> Json:
    return {"type": "text", "text": text, "sender": {"name": "Мавка"}}
