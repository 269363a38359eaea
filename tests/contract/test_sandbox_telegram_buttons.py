"""Keyboards, presses and commands in the sandbox's Telegram; the judge is the unmodified aiogram client."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import BotCommand, BotCommandScopeAllPrivateChats, BotCommandScopeChat, Update
from sandbox_playground import CHANNEL, TOKEN, Json, Playground, message_of, sandbox_settings

from sandbox.app import running

YES = {"text": "Так", "callback_data": "yes"}


@dataclass(frozen=True)
class Markup:
    """A keyboard, and Telegram's refusal of it."""

    id: str
    markup: object
    refusal: str


def _inline(*buttons: object) -> Json:
    return {"inline_keyboard": [list(buttons)]}


REFUSED = [
    Markup("no object", [1], "object expected as reply markup"),
    Markup(
        "rows are no list", {"keyboard": "x"}, 'field "keyboard" of the ReplyKeyboardMarkup must be an Array'
    ),
    Markup(
        "no rows",
        {"inline_keyboard": [YES]},
        'field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays',
    ),
    Markup("65 bytes", _inline({"text": "а", "callback_data": "я" * 32 + "a"}), "BUTTON_DATA_INVALID"),
    Markup("no bytes", _inline({"text": "а", "callback_data": ""}), "BUTTON_DATA_INVALID"),
    Markup(
        "no action",
        _inline({"text": "а"}),
        "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
    ),
    Markup(
        "no text",
        _inline({"text": " ", "url": "https://a.ua"}),
        "inline keyboard button text must be non-empty",
    ),
    Markup(
        "localhost",
        _inline({"text": "а", "url": "http://localhost:5173/x"}),
        "inline keyboard button URL 'http://localhost:5173/x' is invalid: Wrong HTTP URL",
    ),
    Markup(
        "a scheme of an app",
        _inline({"text": "а", "url": "viber://chat"}),
        "inline keyboard button URL 'viber://chat' is invalid: Unsupported URL protocol",
    ),
    Markup(
        "a flag of words",
        {"keyboard": [["а"]], "resize_keyboard": "так"},
        'field "resize_keyboard" of the ReplyKeyboardMarkup must be of the type Boolean',
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_keyboards_telegram_refuses(play: Playground, case: Markup) -> None:
    chat_id = await play.chat_id("olena")
    fields = {"chat_id": str(chat_id), "text": "Оберіть", "reply_markup": json.dumps(case.markup)}
    status, body, _ = await play.raw(f"/bot{TOKEN}/sendMessage", data=fields)
    assert (status, body["description"]) == (400, f"Bad Request: {case.refusal}")
    assert len(await play.phone("olena")) == 1


@dataclass(frozen=True)
class Shown:
    """A keyboard Telegram takes, and where the phone shows it."""

    id: str
    markup: Json
    inline: bool = False
    reply: list[list[str]] = field(default_factory=list)


TAKEN = [
    Shown("64 bytes", _inline({"text": "а", "callback_data": "я" * 32}), inline=True),
    Shown(
        "an address",
        _inline({"text": "а", "url": "a.ua"}, {"text": "б", "url": "tg://user?id=1"}),
        inline=True,
    ),
    Shown("bare labels", {"keyboard": [["а", {"text": "б", "request_contact": True}]]}, reply=[["а", "б"]]),
    Shown("both kinds", {"keyboard": [["а"]], **_inline(YES)}, reply=[["а"]]),
    Shown("nothing", {"inline_keyboard": []}),
]


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.id)
async def test_keyboards_telegram_takes(play: Playground, case: Shown) -> None:
    chat_id = await play.chat_id("olena")
    body = {"chat_id": chat_id, "text": "Оберіть", "reply_markup": case.markup}
    status, _, _ = await play.raw(f"/bot{TOKEN}/sendMessage", json=body)
    assert status == 200
    assert ("keyboard" in (await play.phone("olena"))[-1]) == case.inline
    phone = await play.control(f"{CHANNEL}/clients/olena/phone")
    keyboard = phone["keyboard"] or {"keyboard": []}
    assert [[button["text"] for button in row] for row in keyboard["keyboard"]] == case.reply  # type: ignore[index]


async def _ask(play: Playground) -> tuple[int, int]:
    chat_id = await play.chat_id("olena")
    body = {
        "chat_id": chat_id,
        "text": "Записати?",
        "reply_markup": _inline(YES, {"text": "Ні", "callback_data": "no"}),
    }
    _, answer, _ = await play.raw(f"/bot{TOKEN}/sendMessage", json=body)
    return chat_id, answer["result"]["message_id"]  # type: ignore[index]


async def _press(play: Playground) -> Json:
    """The only press on the phone."""
    async with play.http.get(f"{play.url}/control/{CHANNEL}/clients/olena/presses") as answer:
        (press,) = await answer.json()
    assert isinstance(press, dict)
    return press


async def test_a_press_tells_whether_it_was_answered(play: Playground) -> None:
    _, message_id = await _ask(play)
    receipt = await play.act("olena", "press", message_id=message_id, button="Ні")
    press = await _press(play)
    assert (press["data"], press["text"], press["answered"]) == ("no", "Ні", False)
    query = str(receipt["callback_query_id"])
    with pytest.raises(TelegramBadRequest, match="MESSAGE_TOO_LONG"):
        await play.bot.answer_callback_query(query, text="я" * 201)
    await play.bot.answer_callback_query(query, text="Шкода", show_alert=True)
    press = await _press(play)
    assert (press["answered"], press["notice"], press["alert"]) == (True, "Шкода", True)
    with pytest.raises(TelegramBadRequest, match="query ID is invalid"):
        await play.bot.answer_callback_query(query)


async def test_a_dishonest_client_sends_data_no_button_has(play: Playground) -> None:
    _, message_id = await _ask(play)
    status, refusal = await play.try_control(f"{CHANNEL}/clients/olena/press", {"data": "admin"})
    assert (status, refusal["code"]) == (409, "no_such_button")
    await play.act("olena", "press", message_id=message_id, data="admin", forge=True)
    updates = await play.edge.wait_for(lambda got: any("callback_query" in update for update in got))
    query = Update.model_validate(updates[-1]).callback_query
    assert query is not None
    assert query.data == "admin"


async def test_a_shared_number_answers_the_keyboard_that_asked(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    ask: Json = {"keyboard": [[{"text": "Мій номер", "request_contact": True}]], "one_time_keyboard": True}
    _, sent, _ = await play.raw(
        f"/bot{TOKEN}/sendMessage", json={"chat_id": chat_id, "text": "Номер?", "reply_markup": ask}
    )
    await play.act("olena", "press", button="Мій номер")
    message = message_of((await play.edge.wait_for(lambda got: len(got) == 2))[-1])
    assert message["contact"]["user_id"] == chat_id  # type: ignore[index]
    assert message["reply_to_message"]["message_id"] == sent["result"]["message_id"]  # type: ignore[index]
    assert (await play.control(f"{CHANNEL}/clients/olena/phone"))["keyboard"] is None


async def test_the_narrowest_list_of_commands_is_offered(play: Playground) -> None:
    chat_id = await play.chat_id("olena")

    async def offered() -> list[str]:
        phone = await play.control(f"{CHANNEL}/clients/olena/phone")
        return [command["command"] for command in phone["commands"]]  # type: ignore[attr-defined]

    async def set_one(name: str, **where: object) -> None:
        await play.bot.set_my_commands([BotCommand(command=name, description="Опис")], **where)  # type: ignore[arg-type]

    everybody, one = BotCommandScopeAllPrivateChats(), BotCommandScopeChat(chat_id=chat_id)
    await set_one("default")
    assert await offered() == ["default"]
    await set_one("private", scope=everybody)
    await set_one("ukrainian", scope=everybody, language_code="uk")
    assert await offered() == ["ukrainian"]
    await set_one("chat", scope=one)
    assert await offered() == ["chat"]
    assert [c.command for c in await play.bot.get_my_commands(scope=everybody)] == ["private"]
    await play.bot.delete_my_commands(scope=one)
    await play.bot.set_my_commands([], scope=everybody, language_code="uk")
    assert await offered() == ["private"]


async def test_commands_outlive_the_process(empty: Playground, tmp_path: Path) -> None:
    state = tmp_path / "sandbox.json"
    shown: list[object] = []
    for _ in range(2):
        async with running(sandbox_settings(state)) as url:
            one = Playground(url, empty.bot, empty.edge, empty.http)
            if not shown:
                commands = [{"command": "/menu", "description": "Меню"}]
                await one.raw(f"/bot{TOKEN}/setMyCommands", json={"commands": commands})
            shown.append((await one.raw(f"/bot{TOKEN}/getMyCommands"))[1]["result"])
    assert shown == [[{"command": "menu", "description": "Меню"}]] * 2
