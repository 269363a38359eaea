"""Scripted faults of Viber: answers that go wrong, callbacks that come twice, late or out of order."""

import asyncio
import time

import aiohttp
import pytest
from viber_playground import CHANNEL, TOKEN, Json, Stage

OLENA = "olena"


async def _say(viber: Stage, text: str, seconds: float = 1.0) -> int | str:
    """Send a text; the HTTP status, or what broke the connection."""
    call: Json = {"type": "text", "text": text, "sender": {"name": "М"}}
    call["receiver"] = await viber.user_id(OLENA)
    headers = {"X-Viber-Auth-Token": TOKEN}
    timeout = aiohttp.ClientTimeout(total=seconds)
    url = f"{viber.url}/viber/pa/send_message"
    try:
        async with viber.http.post(url, json=call, headers=headers, timeout=timeout) as answer:
            return answer.status
    except TimeoutError:
        return "timeout"
    except aiohttp.ClientError:
        return "broken"


@pytest.fixture
async def met(viber: Stage) -> Stage:
    """A stage where Олена has written."""
    await viber.act(OLENA, "messages", text="Добрий день")
    await viber.edge.until("delivered")
    return viber


@pytest.mark.parametrize(
    ("fault", "seen", "shown"),
    [
        ({"kind": "429", "retry_after": 3}, 429, False),
        ({"kind": "500"}, 500, False),
        ({"kind": "502"}, 502, False),
        ({"kind": "reset"}, "broken", False),
        ({"kind": "hang", "seconds": 30}, "timeout", False),
        ({"kind": "hang", "seconds": 30, "accepted": True}, "timeout", True),
        ({"kind": "accept_then_drop"}, "broken", True),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
async def test_broken_answers_and_what_the_phone_shows_of_them(
    met: Stage, fault: Json, seen: int | str, shown: bool
) -> None:
    await met.faults({**fault, "client": OLENA, "method": "send_message", "count": 1})
    assert await _say(met, "раз", 0.5) == seen
    texts = [bubble["text"] for bubble in await met.shows(OLENA)]
    assert ("раз" in texts) is shown
    (entry,) = await met.ledger(method="send_message")
    assert (entry["accepted"], entry["fault"]) == (shown, fault["kind"])
    assert await _say(met, "два") == 200


async def test_any_status_can_be_scripted_in_vibers_words(met: Stage) -> None:
    await met.faults(
        {"status": 12, "count": 1}, {"kind": "status", "status": 6, "status_message": "notSubscribed"}
    )
    first, second = await met.send(OLENA), await met.send(OLENA)
    assert (first["status"], first["status_message"]) == (12, "tooManyRequests")
    assert (second["status"], second["status_message"]) == (6, "notSubscribed")
    assert len(await met.shows(OLENA)) == 1
    state = await met.control("faults")
    assert [f["fired"] for f in state["faults"]] == [1, 1]


async def test_a_status_of_one_bot_touches_no_other(met: Stage) -> None:
    await met.faults({"status": 12, "channel_id": "ch_other"})
    assert (await met.send(OLENA))["status"] == 0


async def test_a_receipt_can_come_before_the_answer(met: Stage) -> None:
    await met.faults({"kind": "slow", "method": "send_message", "seconds": 0.4, "count": 1})
    started = time.monotonic()
    sending = asyncio.create_task(met.send(OLENA, text="раз"))
    receipt = (await met.edge.until("delivered", 2))[1]
    assert not sending.done()
    answer = await sending
    assert time.monotonic() - started >= 0.4
    assert (answer["status"], answer["message_token"]) == (0, receipt["message_token"])


async def test_a_message_can_fail_on_the_phone_with_words_or_without(met: Stage) -> None:
    await met.faults({"kind": "fails_later", "count": 1}, {"kind": "fails_later", "desc": "old device"})
    first, second = await met.send(OLENA), await met.send(OLENA)
    assert (first["status"], second["status"]) == (0, 0)
    silent, told = await met.edge.until("failed", 2)
    assert (silent["message_token"], "desc" in silent) == (first["message_token"], False)
    assert (told["message_token"], told["desc"]) == (second["message_token"], "old device")
    assert len(await met.shows(OLENA)) == 1


async def test_a_duplicate_repeats_an_acknowledged_callback(viber: Stage) -> None:
    await viber.faults({"kind": "duplicate", "event": "message", "count": 1})
    await viber.act(OLENA, "messages", text="раз")
    await viber.act(OLENA, "messages", text="два")
    assert await viber.edge.until_said("два") == ["раз", "раз", "два"]
    await viber.edge.until("delivered", 2)
    assert len(viber.edge.of("delivered")) == 2


async def test_a_late_callback_holds_back_only_its_person(viber: Stage) -> None:
    await viber.faults({"kind": "late", "client": OLENA, "event": "message", "count": 1, "seconds": 0.3})
    for text in ("раз", "два"):
        await viber.act(OLENA, "messages", text=text)
        await viber.act("taras", "messages", text=f"т-{text}")
    await viber.edge.until("message", 4)
    assert viber.edge.texts() == ["т-раз", "т-два", "раз", "два"]


async def test_two_callbacks_of_one_person_change_places(viber: Stage) -> None:
    await viber.faults({"kind": "reorder", "hostile": True, "count": 1, "seconds": 10})
    for text in ("раз", "два", "три"):
        await viber.act(OLENA, "messages", text=text)
    await viber.edge.until("message", 3)
    assert viber.edge.texts() == ["два", "раз", "три"]


async def test_vibers_own_faults_leave_telegram_alone(viber: Stage) -> None:
    status, refusal = await viber.try_control("faults", {"faults": [{"kind": "sleepy"}]}, "PUT")
    assert (status, refusal["code"]) == (422, "invalid_body")
    assert (await viber.control(f"{CHANNEL}/webhook"))["token"] == TOKEN
