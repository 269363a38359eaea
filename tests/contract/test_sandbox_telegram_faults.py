"""The sandbox's scripted faults: what the bot sees, what the phone shows, what the ledger says."""

from dataclasses import dataclass

import pytest
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from sandbox_playground import (
    TOKEN,
    Json,
    Playground,
)

WRITE = "messages"


async def test_429_carries_its_seconds_in_body_and_header(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    await play.faults({"kind": "429", "method": "sendMessage", "retry_after": 7, "count": 2})
    with pytest.raises(TelegramRetryAfter, match="Too Many Requests: retry after 7") as caught:
        await play.bot.send_message(chat_id, "раз")
    assert caught.value.retry_after == 7
    status, body, headers = await play.raw(
        f"/bot{TOKEN}/sendMessage", json={"chat_id": chat_id, "text": "раз"}
    )
    assert (status, headers["Retry-After"]) == (429, "7")
    assert body == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 7",
        "parameters": {"retry_after": 7},
    }
    assert (await play.bot.send_message(chat_id, "два")).text == "два"
    assert [m["text"] for m in await play.phone("olena")] == ["Добрий день", "два"]


@dataclass(frozen=True)
class Broken:
    """A fault of an API answer: what aiogram raises, and whether the phone shows the message."""

    fault: Json
    raised: type[Exception]
    shown: bool


BROKEN = [
    Broken({"kind": "500"}, TelegramServerError, shown=False),
    Broken({"kind": "502"}, ClientDecodeError, shown=False),
    Broken({"kind": "reset"}, TelegramNetworkError, shown=False),
    Broken({"kind": "accept_then_drop"}, TelegramNetworkError, shown=True),
    Broken({"kind": "hang", "seconds": 30}, TelegramNetworkError, shown=False),
    Broken({"kind": "hang", "seconds": 30, "accepted": True}, TelegramNetworkError, shown=True),
    Broken({"kind": "hang", "seconds": 0.05}, TelegramNetworkError, shown=False),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: "-".join(str(v) for v in case.fault.values()))
async def test_broken_answers_and_what_the_phone_shows_of_them(play: Playground, case: Broken) -> None:
    chat_id = await play.chat_id("olena")
    await play.faults({**case.fault, "client": "olena", "count": 1})
    with pytest.raises(case.raised):
        await play.bot.send_message(chat_id, "раз", request_timeout=1)
    assert (await play.phone("olena"))[-1]["text"] == ("раз" if case.shown else "Добрий день")
    call = [entry for entry in await play.ledger() if entry.get("method") == "sendMessage"][-1]
    assert (call["accepted"], call["fault"], call["text"]) == (case.shown, case.fault["kind"], "раз")
    assert (await play.bot.send_message(chat_id, "два")).text == "два"


async def test_a_fault_waits_its_turn_and_hits_only_its_target(play: Playground) -> None:
    olena, taras = await play.chat_id("olena"), await play.chat_id("taras")
    await play.faults({"kind": "500", "client": "olena", "method": "sendmessage", "after": 1, "count": 1})
    await play.bot.send_message(taras, "інший")
    await play.bot.send_message(olena, "перше")
    with pytest.raises(TelegramServerError, match="Internal Server Error: restart"):
        await play.bot.send_message(olena, "друге")
    await play.bot.send_message(olena, "третє")
    state = await play.control("faults")
    assert state["faults"][0]["fired"] == 1  # type: ignore[index]


async def test_the_same_seed_throws_the_same_dice(play: Playground) -> None:
    chat_id = await play.chat_id("olena")

    async def round_of_sends() -> list[bool]:
        await play.faults({"kind": "500", "probability": 0.5}, seed=17)
        path = f"/bot{TOKEN}/sendMessage"
        return [(await play.raw(path, json={"chat_id": chat_id, "text": "x"}))[0] == 200 for _ in range(30)]

    first = await round_of_sends()
    assert first == await round_of_sends()
    assert 5 < sum(first) < 25


async def test_a_duplicate_repeats_an_acknowledged_update_before_the_next_one(play: Playground) -> None:
    await play.faults({"kind": "duplicate", "count": 1})
    await play.act("olena", WRITE, text="раз")
    await play.act("olena", WRITE, text="два")
    await play.edge.wait_for(lambda got: len(got) == 3)
    assert play.edge.texts() == ["раз", "раз", "два"]
    assert play.edge.raw[0] == play.edge.raw[1]


async def test_a_late_update_holds_back_only_its_chat(play: Playground) -> None:
    await play.faults({"kind": "late", "client": "olena", "count": 1, "seconds": 0.3})
    for text in ("раз", "два"):
        await play.act("olena", WRITE, text=text)
        await play.act("taras", WRITE, text=f"т-{text}")
    await play.edge.wait_for(lambda got: len(got) == 4)
    assert play.edge.texts() == ["т-раз", "т-два", "раз", "два"]


async def test_hostile_reorder_swaps_two_messages_of_one_chat(play: Playground) -> None:
    await play.faults({"kind": "reorder", "hostile": True, "count": 1, "seconds": 10})
    for text in ("раз", "два", "три"):
        await play.act("olena", WRITE, text=text)
    await play.edge.wait_for(lambda got: len(got) == 3)
    assert play.edge.texts() == ["два", "раз", "три"]


async def test_reorder_keeps_each_chat_in_order(play: Playground) -> None:
    await play.faults({"kind": "reorder", "seconds": 0.1}, seed=3)
    for n in range(5):
        for client in ("a", "b", "c", "d"):
            await play.act(client, WRITE, text=f"{client}{n}")
    await play.edge.wait_for(lambda got: len(got) == 20)
    assert play.edge.texts() != sorted(play.edge.texts(), key=lambda text: (text[1], text[0]))
    for client in ("a", "b", "c", "d"):
        assert [t for t in play.edge.texts() if t[0] == client] == [f"{client}{n}" for n in range(5)]
