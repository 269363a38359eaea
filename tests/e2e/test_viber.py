"""Viber from the phone to the operator and back, on the whole system."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import httpx2
import pytest
from PIL import Image

from msgkit.testing.demo import VIBER_WELCOME
from msgkit.testing.phone import Desk, Phone, answer_as_a_service, new_client, until
from msgkit.testing.system import System
from msgkit.testing.window import WindowRefused

Json = dict[str, Any]


@pytest.fixture
def phone(system: System, sandbox: httpx2.AsyncClient) -> Phone:
    return Phone(sandbox, system.viber["id"], new_client())


async def _shown(phone: Phone, kind: str) -> list[Json]:
    return [
        bubble for bubble in await phone.shows() if (bubble["direction"], bubble["kind"]) == ("out", kind)
    ]


async def test_the_welcome_is_on_the_phone_at_once_and_in_the_dialogue_when_the_client_writes(
    phone: Phone, olena: Desk
) -> None:
    await phone.do("open", context="from-instagram")
    await until(phone.answers)
    assert await phone.answers() == [VIBER_WELCOME["text"]]
    assert (await phone.shows())[0]["keyboard"]["Buttons"][0]["label"] == "Записатися"
    rows = dict(olena.window.seen.rows)

    await phone.write(f"Добрий день {phone.client}")
    message = await olena.message(f"Добрий день {phone.client}")
    conversation = message["conversation_id"]
    assert conversation not in rows, "opening the chat is no dialogue"
    read = await olena.window.all_messages(conversation)
    assert [(m["direction"], m["author"]["kind"], m["text"]) for m in read] == [
        ("out", "bot", VIBER_WELCOME["text"]),
        ("in", "client", message["text"]),
    ]
    row = olena.window.seen.rows[conversation]
    assert (row["box"], row["in_seq"], row["channel"]["kind"]) == ("new", 1, "viber_bot")

    await phone.do("press", text="Записатися")
    await olena.message("Записатися")


async def test_an_answer_is_sent_then_delivered_then_read(phone: Phone, olena: Desk) -> None:
    await phone.write(f"Є хто? {phone.client}")
    conversation = (await olena.message(f"Є хто? {phone.client}"))["conversation_id"]
    first, second = f"Так {phone.client}", f"Слухаємо {phone.client}"
    for text in (first, second):
        await olena.window.send(conversation, text)
        await olena.state(text, "delivered")
    assert await phone.answers() == [first, second]
    await phone.do("read")
    for text in (first, second):
        await olena.state(text, "read")
    assert olena.window.seen.rows[conversation]["last_message"]["state"] == "read"


async def test_a_keyboard_is_on_the_phone_and_a_press_comes_back_by_its_title(
    system: System, phone: Phone, olena: Desk
) -> None:
    await phone.write(f"що є? {phone.client}")
    conversation = (await olena.message(f"що є? {phone.client}"))["conversation_id"]
    text, prices = f"Оберіть {phone.client}", f"Ціни {phone.client}"
    buttons = [
        [{"text": prices, "action": "callback", "value": "prices"}],
        [{"text": "Сайт", "action": "url", "value": "https://mavka.example/"}],
        [{"text": "Надіслати номер", "action": "share_phone", "value": ""}],
    ]
    await answer_as_a_service(system, conversation, text, buttons)
    await olena.state(text, "delivered")
    (bubble,) = [one for one in await phone.shows() if one["text"] == text]
    assert [button["label"] for button in bubble["keyboard"]["Buttons"]] == [
        prices,
        "Сайт",
        "Надіслати номер",
    ]
    await phone.do("press", text=prices)
    await olena.message(prices)
    # The keyboard stays: our button was pending, so the number is the client's own.
    await phone.do("share-contact", phone_number="+380671234568")
    dialogue = olena.window.seen.messages[conversation]
    card = await olena.until(lambda: next((m for m in dialogue.values() if m["kind"] == "contact"), None))
    assert (card["shared_contact"]["phone"], card["shared_contact"]["is_own"]) == ("+380671234568", True)
    rows = olena.window.seen.rows
    await olena.until(lambda: rows[conversation]["contact"]["phone"] == "+380671234568")


async def test_a_photo_and_a_contact_come_in_and_files_go_out(phone: Phone, olena: Desk) -> None:
    await phone.do("messages", kind="photo", caption=f"Така довжина {phone.client}")
    photo = await olena.message(f"Така довжина {phone.client}")
    conversation = photo["conversation_id"]

    def ready() -> bool:
        found = olena.find(photo["text"])
        return found is not None and [a["state"] for a in found["attachments"]] == ["ready"]

    await olena.until(ready, 30)
    await phone.do("share-contact", own=False, phone_number="+380671234567")
    dialogue = olena.window.seen.messages[conversation]
    card = await olena.until(lambda: next((m for m in dialogue.values() if m["kind"] == "contact"), None))
    assert card["shared_contact"]["phone"] == "+380671234567"
    assert not card["shared_contact"]["is_own"], "nothing proves whose number it is"

    picture = await olena.window.upload(_png(), "приклад.png")
    document = await olena.window.upload("Прайс\nСтрижка 500".encode() * 50, "прайс.txt")
    path = f"/conversations/{conversation}/messages"
    for upload in (picture, document):
        body = {"client_msg_id": f"file-{upload['id']}"[:64], "attachments": [upload["id"]]}
        await olena.window.call("POST", path, body)
    await until(lambda: _arrived(phone, "photo"), 30)
    await until(lambda: _arrived(phone, "document"), 30)
    (shown,) = await _shown(phone, "document")
    assert shown["file"]["name"] == "прайс.txt"

    async def told() -> bool:
        sent = [m for m in (await olena.window.all_messages(conversation)) if m["direction"] == "out"]
        return {m["state"] for m in sent} <= {"sent", "delivered"}

    await until(told, 10)  # the phone has it before the report of it is read


async def _arrived(phone: Phone, kind: str) -> bool:
    return bool(await _shown(phone, kind))


def _png() -> bytes:
    buffer = BytesIO()
    Image.radial_gradient("L").convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


async def test_who_unsubscribed_is_said_and_refused_until_he_returns(phone: Phone, olena: Desk) -> None:
    await phone.write(f"бувайте {phone.client}")
    conversation = (await olena.message(f"бувайте {phone.client}"))["conversation_id"]
    await phone.do("block")
    rows = olena.window.seen.rows
    await olena.until(lambda: rows[conversation]["contact"]["blocked"])
    assert olena.window.seen.texts(conversation, "system") == ["Бот заблоковано користувачем!"]
    with pytest.raises(WindowRefused) as refused:
        await olena.window.send(conversation, "Ви тут?")
    assert (refused.value.status, refused.value.code) == (409, "bot_blocked")
    await phone.do("unblock")
    await olena.until(lambda: not rows[conversation]["contact"]["blocked"])
    await olena.window.send(conversation, f"Вітаємо знову {phone.client}")
    await until(phone.answers)


@pytest.mark.parametrize(
    ("fault", "state", "on_phone"),
    [
        ({"kind": "429", "count": 1}, {"delivered"}, {1}),
        ({"kind": "500", "count": 1}, {"unknown"}, {0}),
        ({"kind": "accept_then_drop", "count": 1}, {"unknown", "delivered"}, {1}),
        ({"kind": "reset", "count": 1}, {"unknown"}, {0}),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) and "kind" in value else "",
)
async def test_whatever_viber_answers_the_state_is_true(
    sandbox: httpx2.AsyncClient,
    phone: Phone,
    olena: Desk,
    fault: Json,
    state: set[str],
    on_phone: set[int],
) -> None:
    await phone.write(f"є хто? {phone.client}")
    conversation = (await olena.message(f"є хто? {phone.client}"))["conversation_id"]
    armed = await sandbox.put(
        "/control/faults",
        json={"seed": 1, "faults": [{"method": "send_message", "client": phone.client, **fault}]},
    )
    assert armed.is_success, armed.text
    answer = await olena.window.send(conversation, f"Так {phone.client}")
    reached = await olena.until(
        lambda: (s := (olena.find(answer["text"]) or {}).get("state")) in state and s, 40
    )
    assert reached in state
    assert len(await phone.answers()) in on_phone
    after = await olena.window.send(conversation, f"Далі {phone.client}")
    await olena.state(after["text"], "delivered")
