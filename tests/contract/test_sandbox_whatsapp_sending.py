"""WhatsApp's API in the sandbox: messages, files, templates, windows, limits, tokens, errors."""

import asyncio
import base64
import hashlib
from typing import Any

import aiohttp
import pytest
from viber_playground import eventually, shape
from whatsapp_playground import CHANNEL, COEX_TOKEN, NUMBER, TOKEN, WABA, Json, Stage

from sandbox.whatsapp.templates import Template, created, filled

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
BUTTONS: Json = {
    "type": "button",
    "header": {"type": "text", "text": "Запис"},
    "body": {"text": "Підтверджуєте?"},
    "footer": {"text": "Мавка"},
    "action": {
        "buttons": [
            {"type": "reply", "reply": {"id": "y", "title": "Так"}},
            {"type": "reply", "reply": {"id": "n", "title": "Ні"}},
        ]
    },
}
LIST: Json = {
    "type": "list",
    "body": {"text": "Оберіть послугу"},
    "action": {
        "button": "Відкрити",
        "sections": [
            {"title": "Волосся", "rows": [{"id": "r1", "title": "Стрижка", "description": "40 хв"}]}
        ],
    },
}
REMINDER: Json = {
    "name": "appointment_reminder",
    "language": {"code": "uk"},
    "components": [
        {
            "type": "body",
            "parameters": [{"type": "text", "text": "Олено"}, {"type": "text", "text": "завтра"}],
        }
    ],
}


@pytest.fixture
async def open_chat(whatsapp: Stage) -> Stage:
    """A client who has just written: everything may be sent to her."""
    await whatsapp.writes()
    return whatsapp


async def _last(stage: Stage) -> Json:
    return (await stage.shows())[-1]


# --- what can be sent


async def test_a_text_is_accepted_and_shown(open_chat: Stage) -> None:
    phone = await open_chat.phone("olena")
    status, answer = await open_chat.send(to=f"+{phone['phone_number']}")
    assert status == 200
    assert answer == {
        "messaging_product": "whatsapp",
        "contacts": [
            {
                "input": f"+{phone['phone_number']}",
                "wa_id": phone["phone_number"],
                "user_id": phone["user_id"],
            }
        ],
        "messages": [{"id": answer["messages"][0]["id"], "message_status": "accepted"}],
    }
    shown = await _last(open_chat)
    assert (shown["text"], shown["direction"], shown["state"]) == ("Вітаю", "out", "delivered")
    (entry,) = await open_chat.ledger(type="api", method="messages")
    assert (entry["accepted"], entry["client"], entry["text"]) == (True, "olena", "Вітаю")


@pytest.mark.parametrize(
    ("kind", "name", "body", "mime", "shown"),
    [
        ("image", "a.png", PNG, "image/png", "photo"),
        ("video", "a.mp4", b"\x00\x00\x00\x18ftypmp42" + bytes(90), "video/mp4", "video"),
        ("audio", "a.mp3", b"ID3" + bytes(90), "audio/mpeg", "audio"),
        ("document", "чек.pdf", b"%PDF-1.4", "application/pdf", "document"),
        ("sticker", "a.webp", b"RIFF\x00\x00\x00\x00WEBP" + bytes(90), "image/webp", "sticker"),
    ],
)
async def test_files_go_by_id_and_by_link(
    open_chat: Stage, kind: str, name: str, body: bytes, mime: str, shown: str
) -> None:
    media_id = await open_chat.upload(name, body, mime)
    by_id: dict[str, Any] = {kind: {"id": media_id}}
    await open_chat.sent(type=kind, **by_id)
    bubble = await _last(open_chat)
    assert (bubble["kind"], bubble["file"]["size"], bubble["file"]["mime"]) == (shown, len(body), mime)
    by_link: dict[str, Any] = {kind: {"link": open_chat.edge.serve(f"x-{kind}", body, mime)}}
    message_id = await open_chat.sent(type=kind, **by_link)
    statuses = await open_chat.edge.until_statuses("sent", "delivered", "sent", "delivered")
    assert statuses[-1]["id"] == message_id
    bubble = await _last(open_chat)
    assert (bubble["kind"], bubble["file"]["size"]) == (shown, len(body))


async def test_a_caption_and_a_voice_note(open_chat: Stage) -> None:
    picture = await open_chat.upload("a.png", PNG, "image/png")
    await open_chat.sent(type="image", image={"id": picture, "caption": "Ось"})
    assert (await _last(open_chat))["caption"] == "Ось"
    voice = await open_chat.upload("a.ogg", b"OggS" + bytes(60), "audio/ogg")
    await open_chat.sent(type="audio", audio={"id": voice, "voice": True})
    assert (await _last(open_chat))["kind"] == "voice"


async def test_a_link_that_cannot_be_fetched_fails_later(open_chat: Stage) -> None:
    link = open_chat.edge.serve("a.html", b"<html>", "text/html")
    for address in (link, "http://127.0.0.1:9/a.png"):
        await open_chat.sent(type="image", image={"link": address})
    failed = await open_chat.edge.until_statuses("failed", "failed")
    assert [one["errors"][0]["code"] for one in failed] == [131053, 131053]
    assert [bubble["direction"] for bubble in await open_chat.shows()] == ["in"]


async def test_places_cards_and_reactions(open_chat: Stage) -> None:
    await open_chat.sent(type="location", location={"latitude": 50.45, "longitude": "30.52", "name": "Салон"})
    assert (await _last(open_chat))["location"] == {"latitude": 50.45, "longitude": 30.52}
    card = {
        "name": {"formatted_name": "Салон", "first_name": "Салон"},
        "phones": [{"phone": "+380441234567"}],
    }
    await open_chat.sent(type="contacts", contacts=[card])
    assert (await _last(open_chat))["contact"] == {"first_name": "Салон", "phone_number": "+380441234567"}
    hers = (await open_chat.shows())[0]["provider_id"]
    await open_chat.sent(type="reaction", reaction={"message_id": hers, "emoji": "❤️"})
    assert (await open_chat.shows())[0]["reactions"] == {"business": "❤️"}
    await open_chat.sent(type="reaction", reaction={"message_id": hers, "emoji": ""})
    statuses = [one["status"] for one in open_chat.edge.statuses()]
    assert statuses[4:] == ["sent", "sent"][: len(statuses) - 4]  # reactions are sent and nothing more
    assert "reactions" not in (await open_chat.shows())[0]
    await open_chat.refused(
        400,
        131009,
        type="reaction",
        reaction={"message_id": hers, "emoji": "👍"},
        context={"message_id": hers},
    )


async def test_buttons_and_lists_are_pressed(open_chat: Stage) -> None:
    ours = await open_chat.sent(type="interactive", interactive=BUTTONS)
    bubble = await _last(open_chat)
    assert bubble["text"] == "Запис\nПідтверджуєте?\nМавка"
    assert [row[0]["text"] for row in bubble["keyboard"]["inline_keyboard"]] == ["Так", "Ні"]
    await open_chat.act("olena", "press", text="Ні")
    pressed = (await open_chat.edge.until(open_chat.edge.messages, 2))[-1]
    assert pressed["interactive"] == {"type": "button_reply", "button_reply": {"id": "n", "title": "Ні"}}
    assert pressed["context"] == {"from": "380445550783", "id": ours}
    await open_chat.sent(type="interactive", interactive=LIST)
    await open_chat.act("olena", "press", data="r1")
    pressed = (await open_chat.edge.until(open_chat.edge.messages, 3))[-1]
    reply = {"id": "r1", "title": "Стрижка", "description": "40 хв"}
    assert pressed["interactive"] == {"type": "list_reply", "list_reply": reply}
    assert await open_chat.cannot("olena", "press", text="Може") == "no_such_button"


async def test_reading_marks_everything_before_and_shows_typing(whatsapp: Stage) -> None:
    first, second = await whatsapp.writes(text="раз"), await whatsapp.writes(text="два")
    mark = {"messaging_product": "whatsapp", "status": "read", "message_id": first["id"]}
    assert await whatsapp.good(f"{NUMBER}/messages", mark) == {"success": True}

    async def states() -> bool:
        return [bubble["state"] for bubble in await whatsapp.shows()] == ["read", "delivered"]

    await eventually(states)
    assert (await whatsapp.phone("olena"))["typing"] is False
    typing = {**mark, "message_id": second["id"], "typing_indicator": {"type": "text"}}
    await whatsapp.good(f"{NUMBER}/messages", typing)
    assert (await whatsapp.phone("olena"))["typing"] is True
    await whatsapp.sent()
    assert (await whatsapp.phone("olena"))["typing"] is False
    status, answer = await whatsapp.graph(f"{NUMBER}/messages", {**mark, "message_id": "wamid.x"})
    assert (status, answer["error"]["code"]) == (400, 131009)
    assert len(await whatsapp.ledger(method="read")) == 3


# --- files


async def test_a_clients_file_is_fetched_in_two_steps(whatsapp: Stage) -> None:
    await whatsapp.good(NUMBER)
    message = await whatsapp.writes(kind="photo")
    told = await whatsapp.good(message["image"]["id"])
    sample = {"messaging_product": "whatsapp", "url": "x", "mime_type": "x", "sha256": "x", "file_size": 1,
              "id": "1"}  # fmt: skip
    assert shape(told) == shape(sample)
    for url in (told["url"], message["image"]["url"]):
        async with whatsapp.http.get(url, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert (answer.status, answer.content_type) == (200, "image/jpeg")
            body = await answer.read()
        digest = hashlib.sha256(body)
        assert (len(body), digest.hexdigest()) == (told["file_size"], told["sha256"])
        assert base64.b64encode(digest.digest()).decode() == message["image"]["sha256"]
        for headers, status in (({}, 401), ({"Authorization": f"Bearer {COEX_TOKEN}"}, 404)):
            async with whatsapp.http.get(url, headers=headers) as answer:
                assert answer.status == status
    assert (await whatsapp.graph(f"{message['image']['id']}?phone_number_id=1"))[0] == 400
    assert (await whatsapp.graph(message["image"]["id"], token=COEX_TOKEN))[0] == 400


async def test_an_address_of_a_file_lives_five_minutes(whatsapp: Stage) -> None:
    await whatsapp.good(NUMBER)
    media_id = (await whatsapp.writes(kind="photo"))["image"]["id"]
    await whatsapp.pace(1000)
    url = (await whatsapp.good(media_id))["url"]
    headers = {"Authorization": f"Bearer {TOKEN}"}

    async def gone() -> bool:
        async with whatsapp.http.get(url, headers=headers) as answer:
            await answer.read()
            return answer.status == 404

    await eventually(gone)
    await whatsapp.pace(1)
    async with whatsapp.http.get((await whatsapp.good(media_id))["url"], headers=headers) as answer:
        assert answer.status == 200


async def test_uploads_are_checked_and_can_be_deleted(open_chat: Stage) -> None:
    media_id = await open_chat.upload("a.png", PNG, "image/png")
    answer = await open_chat.refused(400, 131053, type="video", video={"id": media_id})
    assert "image/png" in answer["error_data"]["details"]
    assert await open_chat.good(media_id, method="DELETE") == {"success": True}
    answer = await open_chat.refused(400, 100, type="image", image={"id": media_id})
    words = "Param image['id'] is not a valid whatsapp business account media attachment ID"
    assert answer["message"] == f"(#100) {words}"
    for fields in ({"messaging_product": "whatsapp"}, {}):
        form = aiohttp.FormData(fields)
        form.add_field("file", b"MZ", filename="a.exe", content_type="application/x-msdownload")
        status, answer = await open_chat.graph(f"{NUMBER}/media", data=form)
        assert (status, answer["error"]["code"]) == (400, 100)


@pytest.mark.parametrize("fault", ["vanished", "cut", "500"])
async def test_a_download_can_be_broken(whatsapp: Stage, fault: str) -> None:
    await whatsapp.good(NUMBER)
    media_id = (await whatsapp.writes(kind="photo"))["image"]["id"]
    url = (await whatsapp.good(media_id))["url"]
    await whatsapp.faults({"kind": fault, "method": "file"})
    status: int | None = None
    try:
        async with whatsapp.http.get(url, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            status = answer.status
            await answer.read()
    except aiohttp.ClientError:
        assert fault == "cut"
    assert status == {"vanished": 404, "cut": 200, "500": 500}[fault]


# --- windows, templates


async def test_after_a_day_only_templates_arrive(open_chat: Stage) -> None:
    assert (await open_chat.phone("olena"))["window_open"] is True
    await open_chat.act("olena", "wait", hours=25)
    assert (await open_chat.phone("olena"))["window_open"] is False
    await open_chat.sent(biz_opaque_callback_data="65f0c1")
    (failed,) = await open_chat.edge.until_statuses("failed")
    assert "contacts" not in open_chat.edge.values()[-1]
    assert failed["errors"][0]["code"] == 131047
    assert failed["errors"][0]["title"] == "Re-engagement message"
    assert failed["biz_opaque_callback_data"] == "65f0c1"
    await open_chat.sent(type="template", template=REMINDER)
    statuses = await open_chat.edge.until_statuses("failed", "sent", "delivered")
    assert statuses[1]["pricing"]["category"] == "utility"
    await open_chat.writes(text="Буду")
    await open_chat.sent()
    await open_chat.edge.until_statuses("failed", "sent", "delivered", "sent", "delivered")


async def test_a_template_is_filled_in_and_answered(open_chat: Stage) -> None:
    ours = await open_chat.sent(type="template", template=REMINDER)
    bubble = await _last(open_chat)
    assert bubble["text"] == "Нагадування\nВітаємо, Олено! Чекаємо на вас завтра.\nСалон «Мавка»"
    await open_chat.act("olena", "press", text="Буду")
    pressed = (await open_chat.edge.until(open_chat.edge.messages, 2))[-1]
    assert (pressed["type"], pressed["button"]) == ("button", {"payload": "Буду", "text": "Буду"})
    assert pressed["context"]["id"] == ours
    parameters = [
        {"type": "text", "parameter_name": "name", "text": "Олено"},
        {"type": "text", "parameter_name": "number", "text": "A-17"},
    ]
    named = {"name": "order_ready", "language": {"code": "uk"},
             "components": [{"type": "body", "parameters": parameters}]}  # fmt: skip
    await open_chat.sent(type="template", template=named)
    assert (await _last(open_chat))["text"] == "Замовлення A-17 готове, Олено."


def test_numbered_places_are_filled_by_their_number() -> None:
    templates: list[Template] = []
    body: Json = {"type": "BODY", "text": "Чекаємо {{2}}, {{1}}."}
    created(templates, {"name": "turned", "language": "uk", "category": "UTILITY", "components": [body]})
    values = [{"type": "text", "text": "Олено"}, {"type": "text", "text": "завтра"}]
    call: Json = {
        "name": "turned",
        "language": {"code": "uk"},
        "components": [{"type": "body", "parameters": values}],
    }
    assert filled(templates, call).words["body"] == "Чекаємо завтра, Олено."


async def test_a_template_can_ask_for_the_phone(open_chat: Stage) -> None:
    await open_chat.act("olena", "identity", variant="user_id_only")
    user_id = (await open_chat.phone("olena"))["user_id"]
    asked = {"name": "share_phone", "language": {"code": "uk"}}
    await open_chat.sent(recipient=user_id, type="template", template=asked)
    await open_chat.act("olena", "press", text="Поділитися номером")
    card = (await open_chat.edge.until(open_chat.edge.messages, 2))[-1]
    assert (card["type"], card["origin"]) == ("contacts", "contact_request")
    assert card["contacts"][0]["phones"][0]["wa_id"] == (await open_chat.phone("olena"))["phone_number"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"name": "nothing"}, 404, 132001),
        ({"language": {"code": "en_US"}}, 404, 132001),
        ({"name": "new_price"}, 404, 132001),
        ({"components": []}, 400, 132000),
        ({"components": [{"type": "body", "parameters": [{"type": "text", "text": ""}] * 2}]}, 400, 132012),
        ({"name": "photo_ready"}, 400, 132012),
        ({"name": "spring_sale"}, 400, 132015),
        ({"name": "old_sale"}, 400, 132016),
    ],
    ids=["unknown", "language", "pending", "count", "empty", "no header", "paused", "disabled"],
)
async def test_templates_that_may_not_be_sent(whatsapp: Stage, change: Json, status: int, code: int) -> None:
    await whatsapp.refused(status, code, type="template", template={**REMINDER, **change})


async def test_templates_are_listed_page_by_page_and_made(whatsapp: Stage) -> None:
    page = await whatsapp.good(f"{WABA}/message_templates?limit=4")
    assert set(page["data"][0]) >= {"id", "name", "language", "status", "category", "components"}
    after = page["paging"]["cursors"]["after"]
    rest = await whatsapp.good(f"{WABA}/message_templates?limit=50&after={after}")
    assert "next" not in rest["paging"]
    names = [one["name"] for one in [*page["data"], *rest["data"]]]
    assert len(names) == len(set(names)) == 9
    new = {"name": "thanks", "language": "uk", "category": "UTILITY",
           "components": [{"type": "BODY", "text": "Дякуємо!"}]}  # fmt: skip
    made = await whatsapp.good(f"{WABA}/message_templates", new)
    assert set(made) == {"id", "status", "category"}
    (found,) = (await whatsapp.good(f"{WABA}/message_templates?name=thanks&status=APPROVED"))["data"]
    assert found["id"] == made["id"]
    assert (await whatsapp.graph(f"{WABA}/message_templates", new))[0] == 400


# --- recipients, limits, tokens, errors


async def test_who_cannot_be_reached_fails_later(open_chat: Stage) -> None:
    await open_chat.act("olena", "block")
    await open_chat.sent()
    await open_chat.sent(to="380990000001")
    failed = await open_chat.edge.until_statuses("failed", "failed")
    assert [one["errors"][0]["code"] for one in failed] == [131026, 131026]
    assert failed[1]["recipient_id"] == "380990000001"
    assert await open_chat.cannot("olena", "messages", text="Ви тут?") == "blocked"
    await open_chat.act("olena", "unblock")
    await open_chat.sent()
    await open_chat.edge.until_statuses("failed", "failed", "sent", "delivered")


async def test_a_user_id_in_the_place_of_a_phone_is_lost_without_a_word(open_chat: Stage) -> None:
    user_id = (await open_chat.phone("olena"))["user_id"]
    await open_chat.sent(to=user_id)
    await open_chat.sent(recipient=user_id, text={"body": "Тепер так"})
    await open_chat.edge.until_statuses("sent", "delivered")
    assert [bubble["text"] for bubble in await open_chat.shows()] == ["Добрий день", "Тепер так"]


async def test_a_phone_that_meta_writes_otherwise_is_the_same_phone(whatsapp: Stage) -> None:
    await whatsapp.act("juan", "identity", phone_number="5215512345678")
    await whatsapp.writes("juan")
    _, answer = await whatsapp.send(to="525512345678")
    assert answer["contacts"][0]["input"] == "525512345678"
    assert answer["contacts"][0]["wa_id"] == "5215512345678"


async def test_one_person_gets_no_more_than_a_burst(open_chat: Stage) -> None:
    to = (await open_chat.phone("olena"))["phone_number"]
    for _ in range(45):
        await open_chat.sent(to=to)
    error = await open_chat.refused(400, 131056, to=to)
    assert error["message"] == "(#131056) (Business Account, Consumer Account) pair rate limit hit"
    await open_chat.writes("taras")
    await open_chat.sent("taras")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"text": {}}, 131008),
        ({"text": {"body": "а" * 4097}}, 100),
        ({"type": "hologram"}, 131051),
        ({"type": "image", "image": {}}, 100),
        ({"type": "image", "image": {"link": "ftp://a"}}, 100),
        ({"type": "image", "image": {"link": "https://a.ua/a.png", "caption": "а" * 1025}}, 100),
        ({"type": "audio", "audio": {"link": "https://a.ua/a.mp3", "caption": "а"}}, 131009),
        ({"type": "location", "location": {"latitude": 91, "longitude": 0}}, 131009),
        ({"type": "contacts", "contacts": [{"name": {}}]}, 131008),
        ({"type": "interactive", "interactive": {**BUTTONS, "action": {"buttons": []}}}, 131009),
        ({"type": "interactive", "interactive": {**BUTTONS, "body": {"text": "а" * 1025}}}, 100),
        ({"biz_opaque_callback_data": "a" * 513}, 131009),
        ({"recipient_type": "group"}, 131009),
        ({"to": ""}, 131008),
        ({"to": "+380 44 555 07 83"}, 131021),
        ({"messaging_product": "messenger"}, 100),
    ],
)
async def test_what_the_api_does_not_take(whatsapp: Stage, message: Json, code: int) -> None:
    await whatsapp.refused(400, code, **{"to": "380671112233", **message})


async def test_tokens_are_checked(whatsapp: Stage) -> None:
    for token in (None, "EAAwrong"):
        status, answer = await whatsapp.graph(NUMBER, token=token)
        assert (status, answer["error"]["code"], answer["error"]["type"]) == (401, 190, "OAuthException")
        assert "fbtrace_id" in answer["error"]
    status, answer = await whatsapp.graph(NUMBER, token=COEX_TOKEN)
    assert (status, answer["error"]["code"], answer["error"]["error_subcode"]) == (400, 100, 33)
    assert (await whatsapp.graph("999999", token=TOKEN))[0] == 400
    data = (await whatsapp.good(f"debug_token?input_token={TOKEN}"))["data"]
    assert (data["is_valid"], data["expires_at"]) == (True, 0)
    assert "whatsapp_business_messaging" in data["scopes"]
    assert (await whatsapp.good("debug_token?input_token=EAAwrong"))["data"]["is_valid"] is False


async def test_the_fields_of_a_number(whatsapp: Stage) -> None:
    fields = "verified_name,quality_rating,throughput,platform_type,is_on_biz_app,code_verification_status"
    told = await whatsapp.good(f"{NUMBER}?fields={fields}")
    assert told == {
        "verified_name": "Мавка",
        "quality_rating": "GREEN",
        "throughput": {"level": "STANDARD"},
        "platform_type": "CLOUD_API",
        "is_on_biz_app": False,
        "code_verification_status": "VERIFIED",
        "id": NUMBER,
    }
    assert (await whatsapp.graph(f"{NUMBER}?fields=secrets"))[0] == 400


async def test_a_scripted_error_has_metas_body(open_chat: Stage) -> None:
    await open_chat.faults({"code": 130429, "client": "olena", "method": "messages", "count": 1})
    error = await open_chat.refused(400, 130429)
    assert error == {
        "message": "(#130429) Rate limit hit",
        "type": "OAuthException",
        "code": 130429,
        "error_data": {
            "messaging_product": "whatsapp",
            "details": "Cloud API message throughput has been reached.",
        },
        "fbtrace_id": error["fbtrace_id"],
    }
    await open_chat.sent()
    await open_chat.faults({"code": 131000, "http_status": 503, "transient": True, "details": "Зачекайте"})
    error = await open_chat.refused(503, 131000)
    assert (error["is_transient"], error["error_data"]["details"]) == (True, "Зачекайте")
    entries = await open_chat.ledger(method="messages", fault="error")
    assert [(entry["accepted"], entry["status"]) for entry in entries] == [(False, 400), (False, 503)]


@pytest.mark.parametrize("status", [429, 500, 502])
async def test_broken_servers(open_chat: Stage, status: int) -> None:
    await open_chat.faults({"kind": str(status), "method": "messages", "retry_after": 7})
    to = (await open_chat.phone("olena"))["phone_number"]
    call = {"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": "Є хто?"}}
    address, headers = f"{open_chat.url}/graph/v25.0/{NUMBER}/messages", {"Authorization": f"Bearer {TOKEN}"}
    async with open_chat.http.post(address, json=call, headers=headers) as answer:
        assert answer.status == status
        assert answer.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert len(await open_chat.shows()) == 1


async def test_accepted_and_then_silence(open_chat: Stage) -> None:
    await open_chat.faults({"kind": "accept_then_drop", "method": "messages", "count": 1})
    with pytest.raises(aiohttp.ClientError):
        await open_chat.send(biz_opaque_callback_data="65f0c1", text={"body": "Чи дійшло?"})
    statuses = await open_chat.edge.until_statuses("sent", "delivered")
    assert statuses[0]["biz_opaque_callback_data"] == "65f0c1"
    assert (await _last(open_chat))["text"] == "Чи дійшло?"
    (entry,) = await open_chat.ledger(method="messages")
    assert (entry["accepted"], entry["fault"]) == (True, "accept_then_drop")


@pytest.mark.parametrize(
    "statuses", [["delivered", "sent"], ["read"], ["sent", "read", "delivered"], ["sent", "sent"]], ids=str
)
async def test_statuses_come_as_scripted(open_chat: Stage, statuses: list[str]) -> None:
    await open_chat.faults({"statuses": statuses})
    await open_chat.sent()
    await open_chat.edge.until_statuses(*statuses)


async def test_a_message_fails_with_the_wanted_code(open_chat: Stage) -> None:
    await open_chat.faults({"kind": "fails_later", "code": 131049})
    await open_chat.sent()
    (failed,) = await open_chat.edge.until_statuses("failed")
    assert failed["errors"][0]["code"] == 131049
    phone = await open_chat.phone("olena")
    assert (phone["failures"][0]["code"], "131049" in phone["notice"]) == (131049, True)


async def test_a_status_can_come_before_the_answer(open_chat: Stage) -> None:
    await open_chat.faults({"kind": "slow", "seconds": 0.3, "method": "messages"})
    order: list[str] = []

    async def call() -> None:
        await open_chat.sent()
        order.append("answer")

    async def receipt() -> None:
        await open_chat.edge.until_statuses("sent", "delivered")
        order.append("status")

    await asyncio.gather(call(), receipt())
    assert order == ["status", "answer"]


# --- batches


@pytest.mark.parametrize(
    ("form", "entries", "changes", "messages"),
    [
        ("messages", [1], [1], 9),
        ("changes", [1], [9], 9),
        ("entries", [9], [1] * 9, 9),
        ("mixed", [5], [1, 3, 1, 1, 1], 9),
    ],
)
async def test_updates_come_together_in_one_post(
    whatsapp: Stage, form: str, entries: list[int], changes: list[int], messages: int
) -> None:
    await whatsapp.faults({"kind": "batch", "size": 9, "seconds": 30, "shape": form})
    for n in range(9):
        await whatsapp.act(f"c{n % 3}", "messages", text=f"n {n}")
    (payload,) = await whatsapp.edge.until(lambda: whatsapp.edge.got)
    assert [len(payload["entry"])] == entries
    assert [len(entry["changes"]) for entry in payload["entry"]] == changes
    assert [m["text"]["body"] for m in whatsapp.edge.messages()] == [f"n {n}" for n in range(messages)]
    if form == "messages":
        assert len(whatsapp.edge.values()[0]["contacts"]) == 3
    entries_of = await eventually(lambda: whatsapp.ledger(type="webhook", kind="message", status=200))
    assert [entry["text"] for entry in entries_of] == [f"n {n}" for n in range(9)]


async def test_a_batch_does_not_wait_for_ever(whatsapp: Stage) -> None:
    await whatsapp.faults({"kind": "batch", "size": 1000, "seconds": 0.1})
    await whatsapp.act("olena", "messages", text="раз")
    await whatsapp.act("olena", "messages", text="два")
    await whatsapp.edge.until(whatsapp.edge.messages, 2)
    assert len(whatsapp.edge.got) == 1
    assert (await whatsapp.control("channels"))[0]["channel_id"] == CHANNEL
