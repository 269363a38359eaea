"""The thread: a client writes to the bot, the operator sees it at once, the answer reaches the phone."""

from __future__ import annotations

import asyncio
import json
import time

import httpx2
import pytest

from msgkit.runtime import bus
from msgkit.testing.phone import Desk, Phone, answer_as_a_service, new_client, until
from msgkit.testing.system import System
from msgkit.testing.window import WindowRefused

SEEN_WITHIN_S = 1.0


@pytest.fixture
def phone(system: System, sandbox: httpx2.AsyncClient) -> Phone:
    return Phone(sandbox, system.channels["salon"]["id"], new_client())


async def test_a_text_is_seen_within_a_second_and_the_answer_reaches_the_phone(
    phone: Phone, olena: Desk
) -> None:
    started = time.monotonic()
    await phone.write("Добрий день")
    text = f"Чи є час завтра? {phone.client}"
    await phone.write(text)
    message = await olena.message(text)
    assert time.monotonic() - started < SEEN_WITHIN_S * 3  # two messages on a shared machine
    assert message["direction"] == "in"
    row = olena.window.seen.rows[message["conversation_id"]]
    assert (row["box"], row["in_seq"], row["request"]["number"] > 0) == ("new", 2, True)
    assert row["last_message"]["text"] == text

    answer = await olena.window.send(message["conversation_id"], f"Так, о 15:00 {phone.client}")
    assert answer["state"] == "queued"
    await until(phone.answers)
    assert await phone.answers() == [answer["text"]]
    ticked = await olena.until(lambda: (olena.find(answer["text"]) or {}).get("state") == "sent")
    assert ticked
    row = await olena.until(
        lambda: (r := olena.window.seen.rows[message["conversation_id"]])["box"] == "active" and r
    )
    assert row["assignee"]["id"] == "u-olena"
    assert row["answered_seq"] == row["in_seq"] == 2


async def test_every_message_shows_once_and_in_order(phone: Phone, olena: Desk) -> None:
    texts = [f"{phone.client} {number}" for number in range(40)]
    for text in texts:
        await phone.write(text)
    last = await olena.message(texts[-1])
    assert olena.window.seen.texts(last["conversation_id"], "in") == texts
    read = await olena.window.all_messages(last["conversation_id"])
    assert [m["text"] for m in read] == texts
    assert [m["n"] for m in read] == list(range(1, 41))


async def test_the_same_client_key_is_one_message_and_another_body_is_refused(
    phone: Phone, olena: Desk
) -> None:
    await phone.write(f"питання {phone.client}")
    conversation = (await olena.message(f"питання {phone.client}"))["conversation_id"]
    body = {"client_msg_id": f"key-{phone.client}", "text": f"раз {phone.client}"}
    answers = await asyncio.gather(
        *(olena.window.call("POST", f"/conversations/{conversation}/messages", body) for _ in range(10))
    )
    assert len({answer["id"] for answer in answers}) == 1
    await until(phone.answers)
    with pytest.raises(WindowRefused) as refused:
        await olena.window.call("POST", f"/conversations/{conversation}/messages", body | {"text": "інше"})
    assert refused.value.status == 422
    await olena.until(lambda: (olena.find(body["text"]) or {}).get("state") == "sent")
    assert await phone.answers() == [body["text"]]


async def test_a_second_answer_is_held_when_a_colleague_was_first(
    system: System, phone: Phone, olena: Desk
) -> None:
    await phone.write(f"хто перший {phone.client}")
    message = await olena.message(f"хто перший {phone.client}")
    path = f"/conversations/{message['conversation_id']}/messages"
    async with Desk(system, "ivan") as ivan:
        await ivan.message(message["text"])
        first = {"client_msg_id": f"olena-{phone.client}", "text": "Я!", "seen_n": message["n"]}
        await olena.window.call("POST", path, first)
        second = {"client_msg_id": f"ivan-{phone.client}", "text": "І я!", "seen_n": message["n"]}
        with pytest.raises(WindowRefused) as refused:
            await ivan.window.call("POST", path, second)
        assert (refused.value.status, refused.value.code) == (409, "colleague_replied")
        await ivan.window.call("POST", path, second | {"force": True})
    await until(lambda: _length(phone, 2))
    assert await phone.answers() == ["Я!", "І я!"]


async def test_buttons_of_a_service_are_on_the_phone_and_a_press_comes_back(
    system: System, phone: Phone, olena: Desk
) -> None:
    await phone.write(f"що є? {phone.client}")
    conversation = (await olena.message(f"що є? {phone.client}"))["conversation_id"]
    text, prices = f"Оберіть {phone.client}", f"Ціни {phone.client}"
    buttons = [
        [{"text": prices, "action": "callback", "value": "prices"}],
        [{"text": "Сайт", "action": "url", "value": "https://mavka.example/"}],
    ]
    await answer_as_a_service(system, conversation, text, buttons)

    shown = await olena.message(text)
    assert shown["buttons"] == [
        [{"text": prices, "url": None}],
        [{"text": "Сайт", "url": "https://mavka.example/"}],
    ]
    await olena.until(lambda: (olena.find(text) or {}).get("state") == "sent")
    bubble = next(one for one in await phone.shows() if one["text"] == text)
    rows = bubble["keyboard"]["inline_keyboard"]
    assert [[button["text"] for button in row] for row in rows] == [[prices], ["Сайт"]]
    await phone.do("press", text=prices)
    pressed = await olena.message(prices)
    assert (pressed["direction"], pressed["conversation_id"]) == ("in", conversation)


async def _length(phone: Phone, length: int) -> bool:
    return len(await phone.answers()) >= length


async def test_an_edit_keeps_what_was_said_before(phone: Phone, olena: Desk) -> None:
    written = await phone.write(f"о 15 {phone.client}")
    message = await olena.message(f"о 15 {phone.client}")
    await phone.do("edit", provider_id=written["provider_id"], text=f"о 16 {phone.client}")
    edited = await olena.message(f"о 16 {phone.client}")
    assert (edited["id"], edited["edited"]) == (message["id"], True)
    assert [version["text"] for version in edited["versions"]] == [f"о 15 {phone.client}"]


async def test_a_blocked_bot_is_said_and_refused_until_the_client_returns(phone: Phone, olena: Desk) -> None:
    await phone.write(f"бувайте {phone.client}")
    conversation = (await olena.message(f"бувайте {phone.client}"))["conversation_id"]
    await phone.do("block")
    rows = olena.window.seen.rows
    await olena.until(lambda: rows[conversation]["contact"]["blocked"])
    lines = await olena.until(lambda: olena.window.seen.texts(conversation, "system"))
    assert lines == ["Бот заблоковано користувачем!"]
    with pytest.raises(WindowRefused) as refused:
        await olena.window.send(conversation, "Ви тут?")
    assert (refused.value.status, refused.value.code) == (409, "bot_blocked")
    await phone.do("unblock")
    await olena.until(lambda: not rows[conversation]["contact"]["blocked"])
    await olena.window.send(conversation, f"Вітаємо знову {phone.client}")
    await until(phone.answers)


@pytest.mark.parametrize(
    ("fault", "states", "on_phone"),
    [
        ({"kind": "429", "retry_after": 1, "count": 1}, {"sent"}, {1}),
        ({"kind": "500", "count": 1}, {"unknown"}, {0}),
        ({"kind": "502", "count": 1}, {"unknown"}, {0}),
        ({"kind": "accept_then_drop", "count": 1}, {"unknown"}, {1}),
        ({"kind": "reset", "count": 1}, {"unknown"}, {0}),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) and "kind" in value else "",
)
async def test_whatever_the_messenger_answers_the_state_is_true(
    system: System,
    sandbox: httpx2.AsyncClient,
    phone: Phone,
    olena: Desk,
    fault: dict[str, object],
    states: set[str],
    on_phone: set[int],
) -> None:
    await phone.write(f"є хто? {phone.client}")
    conversation = (await olena.message(f"є хто? {phone.client}"))["conversation_id"]
    armed = await sandbox.put(
        "/control/faults",
        json={"seed": 1, "faults": [{"method": "sendMessage", "client": phone.client, **fault}]},
    )
    assert armed.is_success, armed.text
    answer = await olena.window.send(conversation, f"Так {phone.client}")
    state = await olena.until(
        lambda: (
            (s := (olena.find(answer["text"]) or {}).get("state")) not in {None, "queued", "sending"} and s
        ),
        30,
    )
    assert state in states
    assert len(await phone.answers()) in on_phone
    # The next message of the conversation goes out, whatever became of this one.
    after = await olena.window.send(conversation, f"Далі {phone.client}")
    await olena.until(lambda: (olena.find(after["text"]) or {}).get("state") == "sent", 30)


async def test_a_deleted_live_stream_deafens_nobody(system: System, phone: Phone, olena: Desk) -> None:
    """The stream deleted under an open window: a new epoch, a resync, and it hears again."""
    await phone.write(f"до {phone.client}")
    await olena.message(f"до {phone.client}")
    epoch = olena.window.epoch
    connection = await bus.connect(system.rabbitmq.url, "somebody careless")
    async with connection:
        channel = await connection.channel()
        await channel.queue_delete(f"live.{epoch}")
    await olena.until(lambda: olena.window.epoch != epoch and olena.window.live.is_set(), 30)
    await phone.write(f"після {phone.client}")
    await olena.message(f"після {phone.client}")
    assert olena.window.seen.resyncs >= 1


async def test_one_trace_leads_from_the_webhook_to_the_socket_and_back(
    system: System, phone: Phone, olena: Desk
) -> None:
    await phone.write(f"слід {phone.client}")
    conversation = (await olena.message(f"слід {phone.client}"))["conversation_id"]
    await olena.window.send(conversation, f"відповідь {phone.client}")
    await until(phone.answers)

    def whole_trace() -> bool:
        services: dict[str, set[str]] = {}
        for file in (system.folder / "traces").glob("*"):
            for trace_id, service in _spans(file.read_text()):
                services.setdefault(trace_id, set()).add(service)
        return any({"ingest-telegram", "inbox", "gateway"} <= names for names in services.values())

    await until(whole_trace, 20)


def _spans(lines: str) -> list[tuple[str, str]]:
    found = []
    for line in lines.splitlines():
        for resource in json.loads(line).get("resourceSpans", []):
            names = {a["key"]: a["value"].get("stringValue", "") for a in resource["resource"]["attributes"]}
            for scope in resource["scopeSpans"]:
                found += [(span["traceId"], names["service.name"]) for span in scope["spans"]]
    return found
