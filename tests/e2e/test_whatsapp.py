"""WhatsApp from the phone to the operator and back, on the whole system."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import httpx2
import pytest
from PIL import Image

from msgkit.testing.phone import Desk, Phone, answer_as_a_service, new_client, until
from msgkit.testing.system import System
from msgkit.testing.window import WindowRefused

Json = dict[str, Any]
DAY_AND_MORE = 25
"""Hours after which only templates go out."""


@pytest.fixture
def phone(system: System, sandbox: httpx2.AsyncClient) -> Phone:
    return Phone(sandbox, system.whatsapp["id"], new_client())


async def _press(phone: Phone, olena: Desk, conversation: str, text: str) -> None:
    await phone.do("press", text=text)
    dialogue = olena.window.seen.messages[conversation]
    await olena.until(lambda: any(m["text"] == text and m["direction"] == "in" for m in dialogue.values()))


@pytest.mark.parametrize("is_hidden", [False, True], ids=["with a phone", "known by a user id only"])
async def test_a_client_is_answered_and_each_side_sees_what_the_other_read(
    phone: Phone, olena: Desk, *, is_hidden: bool
) -> None:
    if is_hidden:
        await phone.do("identity", variant="user_id_only", username="solomiia_ua")
    conversation = await olena.wrote(phone, "Добрий день")
    number = (await phone.state())["phone_number"]
    rows = olena.window.seen.rows
    contact, channel = rows[conversation]["contact"], rows[conversation]["channel"]
    assert contact["phone"] == (None if is_hidden else f"+{number}")
    assert contact.get("username") == ("solomiia_ua" if is_hidden else None)
    assert channel["kind"] == "whatsapp"
    window = (await olena.window.call("GET", f"/conversations/{conversation}"))["window"]
    assert (window["open"], window["code"]) == (True, None)

    answer = await olena.answered(phone, conversation, "Вітаємо, слухаємо вас", "delivered", "read")
    assert [bubble["state"] for bubble in await phone.shows()][1] == "delivered"

    async def client_sees_it_read() -> bool:
        return bool((await phone.shows())[0]["state"] == "read")

    await until(client_sees_it_read)
    await phone.do("read")
    await olena.state(answer["text"], "read")
    await olena.until(lambda: rows[conversation]["last_message"]["state"] == "read")


async def test_after_a_day_only_a_template_goes_out_and_its_answer_opens_the_window(
    system: System, phone: Phone, olena: Desk
) -> None:
    conversation = await olena.wrote(phone, "Писала вчора", hours_ago=DAY_AND_MORE)
    window = (await olena.window.call("GET", f"/conversations/{conversation}"))["window"]
    assert (window["open"], window["code"]) == (False, "window_closed")
    with pytest.raises(WindowRefused) as refused:
        await olena.window.send(conversation, "Ви ще тут?")
    assert (refused.value.status, refused.value.code) == (409, "window_closed")
    assert "шаблон" in refused.value.body["detail"]

    listed = await olena.window.call("GET", f"/channels/{system.whatsapp['id']}/templates")
    templates = {one["name"]: one for one in (listed["items"] if isinstance(listed, dict) else listed)}
    assert "new_price" not in templates, "not approved yet"
    assert templates["photo_ready"]["unusable"]
    reminder = templates["appointment_reminder"]
    keys = [place["key"] for place in reminder["places"]]
    values = dict(zip(keys, [phone.client, "завтра о 10:00"], strict=True))
    order = {
        "client_msg_id": f"template-{phone.client}",
        "template": {"name": reminder["name"], "language": reminder["language"], "values": values},
    }
    path = f"/conversations/{conversation}/messages"
    sent = await olena.window.call("POST", path, order)
    assert phone.client in sent["text"]
    await olena.state(sent["text"], "delivered")
    (shown,) = [bubble for bubble in await phone.shows() if bubble["direction"] == "out"]
    assert shown["words"]["body"] == f"Вітаємо, {phone.client}! Чекаємо на вас завтра о 10:00."
    await _press(phone, olena, conversation, "Буду")
    rows = olena.window.seen.rows
    await olena.until(lambda: rows[conversation]["window"]["open"])
    await olena.answered(phone, conversation, "Чекаємо", "delivered", "read")


async def test_when_only_whatsapp_knows_the_window_is_closed_the_answer_says_why(
    phone: Phone, olena: Desk
) -> None:
    conversation = await olena.wrote(phone, "Добрий день")
    await phone.do("wait", hours=DAY_AND_MORE)
    answer = await olena.window.send(conversation, f"Ви тут? {phone.client}")
    failed = await olena.state(answer["text"], "failed")
    assert failed["failure"]["code"] == "window_closed"
    assert await phone.answers() == []


@pytest.mark.parametrize("is_hidden", [False, True], ids=["with a phone", "known by a user id only"])
async def test_a_client_who_changes_the_number_stays_in_the_same_dialogue(
    phone: Phone, olena: Desk, *, is_hidden: bool
) -> None:
    if is_hidden:
        await phone.do("identity", variant="user_id_only", username="ivanna")
    conversation = await olena.wrote(phone, "Мій старий номер")
    moved = await phone.do("change-number")
    rows = olena.window.seen.rows
    if not is_hidden:
        await olena.until(lambda: rows[conversation]["contact"]["phone"] == f"+{moved['wa_id']}")
        await olena.until(lambda: olena.window.seen.texts(conversation, "system"))
    # Before the client says a word from there:
    await olena.answered(phone, conversation, "Вітаємо на новому номері", "delivered", "read")
    assert await olena.wrote(phone, "А це вже новий") == conversation
    await olena.answered(phone, conversation, "Бачимо", "delivered", "read")


async def test_what_the_owner_types_in_the_business_app_is_ours_and_the_bot_is_silent_then(
    system: System, phone: Phone, olena: Desk
) -> None:
    path = f"/channels/{system.whatsapp['id']}"
    await olena.window.call("PATCH", path, {"settings": {"bot_enabled": True}})
    try:
        conversation = await olena.wrote(phone, "Чи є місце на завтра?")
        rows = olena.window.seen.rows
        assert rows[conversation]["handler"] == "bot"
        words = f"Так, о 12:00 {phone.client}"
        told = await phone.do("echo", text=words)
        echoed = await olena.message(words)
        assert (echoed["direction"], echoed["author"]["kind"]) == ("out", "operator")
        assert echoed["conversation_id"] == conversation
        await olena.until(lambda: rows[conversation]["handler"] == "operator")
        await phone.do("echo", revoke=told["provider_id"])
        dialogue = olena.window.seen.messages[conversation]
        await olena.until(lambda: dialogue[echoed["id"]]["deleted"])
    finally:
        await olena.window.call("PATCH", path, {"settings": {"bot_enabled": False}})


async def test_words_are_changed_and_taken_back_and_signs_put_on_them(phone: Phone, olena: Desk) -> None:
    conversation = await olena.wrote(phone, "Завтра об 11")
    before = await olena.message(f"Завтра об 11 {phone.client}")
    answer = await olena.answered(phone, conversation, "Записали", "delivered", "read")
    await phone.do("react", emoji="❤️")
    await olena.showing(answer["text"], reactions=["❤️"])
    await phone.do("react")
    await olena.showing(answer["text"], reactions=[])

    changed = f"Завтра о 12 {phone.client}"
    await phone.do("edit", text=changed)
    edited = await olena.showing(changed, edited=True)
    assert edited["id"] == before["id"]
    await phone.do("delete")
    dialogue = olena.window.seen.messages[conversation]
    await olena.until(lambda: dialogue[before["id"]]["deleted"])
    assert dialogue[before["id"]]["text"] == ""
    quoted = (await phone.shows())[-1]["provider_id"]
    await phone.do("messages", text=f"Про це {phone.client}", reply_to=quoted)
    reply = await olena.message(f"Про це {phone.client}")
    assert reply["reply_to"] == answer["id"]


async def test_files_go_both_ways_and_one_that_expired_is_said_to_be_lost(
    sandbox: httpx2.AsyncClient, phone: Phone, olena: Desk
) -> None:
    await phone.do("messages", kind="photo", caption=f"Така довжина {phone.client}")
    photo = await olena.message(f"Така довжина {phone.client}")
    conversation = photo["conversation_id"]
    await phone.do("messages", kind="voice")
    dialogue = olena.window.seen.messages[conversation]

    def settled(kind: str, state: str) -> bool:
        files = [file for m in dialogue.values() if m["kind"] == kind for file in m["attachments"]]
        return [file["state"] for file in files] == [state]

    await olena.until(lambda: settled("image", "ready"), 30)
    await olena.until(lambda: settled("voice", "ready"), 30)
    gone = {"method": "media_url", "client": phone.client, "code": 100, "http_status": 400, "subcode": 33}
    vanished = {"kind": "vanished", "client": phone.client, "method": "file"}
    armed = await sandbox.put("/control/faults", json={"faults": [gone, vanished]})
    assert armed.is_success, armed.text
    await phone.do("messages", kind="document", file={"generate": "text", "name": "старе.txt"})
    await olena.until(lambda: settled("file", "lost"), 30)

    picture = await olena.window.upload(_png(), "приклад.png")
    document = await olena.window.upload("Прайс\nСтрижка 500".encode() * 50, "прайс.txt")
    path = f"/conversations/{conversation}/messages"
    for upload in (picture, document):
        body = {"client_msg_id": f"file-{upload['id']}"[:64], "attachments": [upload["id"]]}
        await olena.window.call("POST", path, body)

    async def arrived() -> dict[str, Json] | None:
        ours = {bubble["kind"]: bubble for bubble in await phone.shows() if bubble["direction"] == "out"}
        return ours if {"photo", "document"} <= ours.keys() else None

    shown = await until(arrived, 30)
    assert shown["document"]["file"]["name"] == "прайс.txt"


async def test_buttons_a_list_and_a_place_are_used_on_the_phone(
    system: System, phone: Phone, olena: Desk
) -> None:
    conversation = await olena.wrote(phone, "що є?")
    few = [[{"text": title, "action": "callback", "value": title}] for title in ("Ціни", "Запис")]
    await answer_as_a_service(system, conversation, f"Оберіть {phone.client}", few)
    await olena.state(f"Оберіть {phone.client}", "delivered")
    await _press(phone, olena, conversation, "Ціни")
    many = [
        [{"text": title, "action": "callback", "value": title}]
        for title in ("Стрижка", "Манікюр", "Фарба", "Масаж")
    ]
    await answer_as_a_service(system, conversation, f"Послуги {phone.client}", many)
    await olena.state(f"Послуги {phone.client}", "delivered")
    assert (await phone.shows())[-1]["list_button"]
    await _press(phone, olena, conversation, "Фарба")

    await phone.do("messages", kind="location", latitude=50.45, longitude=30.52)
    await phone.do("share-contact", own=False, phone_number="380671234567")
    dialogue = olena.window.seen.messages[conversation]
    kinds = await olena.until(
        lambda: (
            {"location", "contact"} <= {m["kind"] for m in dialogue.values()}
            and {m["kind"]: m for m in dialogue.values()}
        )
    )
    assert kinds["location"]["place"]["latitude"] == pytest.approx(50.45)
    card = kinds["contact"]["shared_contact"]
    assert (card["phone"], card["is_own"]) == ("+380671234567", False)


FAULTS: dict[str, tuple[Json, str, int]] = {
    "asked to wait": ({"kind": "429"}, "delivered", 1),
    "broken for a moment": ({"code": 131000, "http_status": 500}, "delivered", 1),
    "too many to one client": ({"code": 131056}, "delivered", 1),
    "taken without an answer": ({"kind": "accept_then_drop"}, "delivered", 1),
    "told before it was answered": ({"kind": "slow", "seconds": 1}, "delivered", 1),
    "told in disorder": ({"statuses": ["read", "delivered", "sent"]}, "read", 1),
    "taken and not brought": ({"kind": "fails_later", "code": 131026}, "failed", 0),
    "refused": ({"code": 131009}, "failed", 0),
}
"""Name → what goes wrong, the true state in the end, and how many such answers are on the phone."""


async def test_whatever_whatsapp_answers_the_state_is_true(
    system: System, sandbox: httpx2.AsyncClient, olena: Desk
) -> None:
    phones = {name: Phone(sandbox, system.whatsapp["id"], new_client()) for name in FAULTS}
    conversations = {name: await olena.wrote(phone, "є хто?") for name, phone in phones.items()}
    scripted = [
        {"method": "messages", "client": phones[name].client, "count": 1, **fault}
        for name, (fault, _, _) in FAULTS.items()
    ]
    armed = await sandbox.put("/control/faults", json={"seed": 1, "faults": scripted})
    assert armed.is_success, armed.text
    words = {name: f"Так {phone.client}" for name, phone in phones.items()}
    for name, conversation in conversations.items():
        await olena.window.send(conversation, words[name])
    for name, (_, state, on_phone) in FAULTS.items():
        reached = await olena.state(words[name], state)
        assert (reached["failure"] is None) == (state != "failed"), name
        assert len(await phones[name].answers()) == on_phone, name
    for name, phone in phones.items():
        await olena.answered(phone, conversations[name], "Далі", "delivered", "read")


def _png() -> bytes:
    buffer = BytesIO()
    Image.radial_gradient("L").convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
