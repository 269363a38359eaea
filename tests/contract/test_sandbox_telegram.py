"""The sandbox plays Telegram truly: its judges are the unmodified aiogram client and the checked samples."""

import asyncio
import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest
from aiogram import Bot
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramUnauthorizedError,
)
from aiogram.types import (
    BotCommand,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
    ReplyParameters,
    Update,
)
from aiohttp import web
from sandbox_playground import (
    CHANNEL,
    DEADLINE_SECONDS,
    OTHER_TOKEN,
    SAMPLES,
    SECRET,
    TOKEN,
    Json,
    Playground,
    message_of,
    pending,
    sandbox_settings,
    until,
)

from sandbox.app import running

# --- the API


async def test_the_bot_learns_who_it_is(empty: Playground) -> None:
    me = await empty.bot.get_me()
    assert (me.id, me.is_bot, me.first_name, me.username) == (7000000001, True, "Shop", "shop_bot")
    assert (me.can_join_groups, me.can_read_all_group_messages, me.can_connect_to_business) == (
        True,
        False,
        False,
    )


@dataclass(frozen=True)
class Refusal:
    """A call by its address and what it is refused with."""

    id: str
    path: str
    status: int
    description: str
    body: Json = field(default_factory=dict)


REFUSALS = [
    Refusal("unknown token", "/bot123456:AAAA/getMe", 401, "Unauthorized"),
    Refusal("token without colon", "/botabc/getMe", 401, "Unauthorized: invalid token specified"),
    Refusal("no method", f"/bot{TOKEN}", 404, "Not Found"),
    Refusal("no token", "/bot", 404, "Not Found"),
    Refusal("unknown method", f"/bot{TOKEN}/sendSomething", 404, "Not Found: method not found"),
    Refusal("no chat", f"/bot{TOKEN}/sendMessage", 400, "Bad Request: chat_id is empty", {"text": "x"}),
    Refusal(
        "strange chat",
        f"/bot{TOKEN}/sendMessage",
        400,
        "Bad Request: chat not found",
        {"chat_id": 6021557731, "text": "x"},
    ),
    Refusal(
        "a name as chat",
        f"/bot{TOKEN}/sendMessage",
        400,
        "Bad Request: chat not found",
        {"chat_id": "@nobody", "text": "x"},
    ),
    Refusal(
        "bad url",
        f"/bot{TOKEN}/setWebhook",
        400,
        "Bad Request: invalid webhook URL specified",
        {"url": "ftp://a.ua/x"},
    ),
    Refusal(
        "plain http on the internet",
        f"/bot{TOKEN}/setWebhook",
        400,
        "Bad Request: bad webhook: An HTTPS URL must be provided for webhook",
        {"url": "http://a.ua/x"},
    ),
    Refusal(
        "strange port",
        f"/bot{TOKEN}/setWebhook",
        400,
        "Bad Request: bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443",
        {"url": "https://a.ua:3000/x"},
    ),
    Refusal(
        "bad secret",
        f"/bot{TOKEN}/setWebhook",
        400,
        "Bad Request: secret token contains unallowed characters",
        {"url": "https://a.ua/x", "secret_token": "пароль"},
    ),
    Refusal(
        "long secret",
        f"/bot{TOKEN}/setWebhook",
        400,
        "Bad Request: secret token is too long",
        {"url": "https://a.ua/x", "secret_token": "a" * 257},
    ),
    Refusal(
        "no such query",
        f"/bot{TOKEN}/answerCallbackQuery",
        400,
        "Bad Request: query is too old and response timeout expired or query ID is invalid",
        {"callback_query_id": "1"},
    ),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.id)
async def test_refusals_have_telegrams_words(empty: Playground, case: Refusal) -> None:
    status, body, _ = await empty.raw(case.path, json=case.body)
    assert (status, body) == (
        case.status,
        {"ok": False, "error_code": case.status, "description": case.description},
    )


async def test_a_wrong_token_is_unauthorized_for_aiogram(empty: Playground) -> None:
    stranger = Bot("123456:AAAA-unknown_token", session=empty.bot.session)
    with pytest.raises(TelegramUnauthorizedError, match="Unauthorized"):
        await stranger.get_me()


async def test_arguments_may_come_in_every_way(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    markup = json.dumps({"inline_keyboard": [[{"text": "Так", "callback_data": "c:1"}]]})
    fields = {"chat_id": str(chat_id), "text": "Є о 15:00", "reply_markup": markup}
    path = f"/bot{TOKEN}/sendMessage"
    multipart = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        multipart.add_field(name, value)
    nested = {"chat_id": chat_id, "text": "Є о 15:00", "reply_markup": json.loads(markup)}
    answers = [
        await play.raw(path, verb="GET", params=fields),
        await play.raw(path, params=fields),
        await play.raw(path, data=fields),
        await play.raw(path, data=multipart),
        await play.raw(path, json=fields),
        await play.raw(path, json=nested),
        await play.raw(path.replace("sendMessage", "SENDMESSAGE"), data=fields),
    ]
    for status, body, _ in answers:
        assert status == 200
        result = body["result"]
        assert isinstance(result, dict)
        assert (result["text"], result["reply_markup"]) == ("Є о 15:00", json.loads(markup))
    assert len([m for m in await play.phone("olena") if m["direction"] == "out"]) == len(answers)


async def test_a_sent_text_is_on_the_phone_and_in_the_answer(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    question = (await play.phone("olena"))[0]
    sent = await play.bot.send_message(
        chat_id,
        "  👋 Ціна https://a.ua \n",
        reply_parameters=ReplyParameters(message_id=int(str(question["provider_id"]))),
        reply_markup=InlineKeyboardMarkup(
            inline_keyboard=[
                [
                    InlineKeyboardButton(text="Так", callback_data="c:1"),
                    InlineKeyboardButton(text="Сайт", url="https://a.ua"),
                ]
            ]
        ),
    )
    assert sent.text == "👋 Ціна https://a.ua"
    assert [(e.type, e.offset, e.length) for e in sent.entities or []] == [("url", 8, 12)]
    assert sent.from_user is not None
    assert sent.from_user.id == play.bot.id
    assert sent.reply_to_message is not None
    assert sent.reply_to_message.text == "Добрий день"
    assert sent.reply_markup is not None
    assert sent.chat.id == chat_id
    shown = (await play.phone("olena"))[-1]
    assert shown["provider_id"] == str(sent.message_id)
    assert (shown["direction"], shown["text"], shown["edited"]) == ("out", "👋 Ціна https://a.ua", False)
    assert shown["keyboard"] == {
        "inline_keyboard": [
            [{"text": "Так", "callback_data": "c:1"}, {"text": "Сайт", "url": "https://a.ua"}]
        ]
    }


@pytest.mark.parametrize("unit", ["я", "👋"], ids=["one unit", "two units"])
async def test_the_limit_of_a_text_counts_utf16_units(play: Playground, unit: str) -> None:
    chat_id = await play.chat_id("olena")
    fits = unit * (4096 // (len(unit.encode("utf-16-le")) // 2))
    assert (await play.bot.send_message(chat_id, fits)).text == fits
    with pytest.raises(TelegramBadRequest, match="Bad Request: message is too long"):
        await play.bot.send_message(chat_id, fits + "!")


async def test_an_empty_text_is_refused(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    for text in ("", " \n\t "):
        with pytest.raises(TelegramBadRequest, match="Bad Request: message text is empty"):
            await play.bot.send_message(chat_id, text)


async def test_a_blocked_bot_is_forbidden_until_it_is_unblocked(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    await play.act("olena", "block")
    with pytest.raises(TelegramForbiddenError, match="Forbidden: bot was blocked by the user"):
        await play.bot.send_message(chat_id, "Ви тут?")
    with pytest.raises(TelegramForbiddenError, match="Forbidden: bot was blocked by the user"):
        await play.bot.send_chat_action(chat_id, "typing")
    status, refusal = await play.try_control(f"{CHANNEL}/clients/olena/messages", {"text": "агов"})
    assert (status, refusal["code"]) == (409, "blocked")
    await play.act("olena", "unblock")
    assert (await play.bot.send_message(chat_id, "З поверненням")).text == "З поверненням"
    updates = await play.edge.wait_for(lambda got: len(got) == 4)
    assert [kind for update in updates for kind in update if kind != "update_id"].count("my_chat_member") == 2
    assert play.edge.texts() == ["Добрий день", "/start"]


async def test_a_client_of_another_bot_is_a_stranger(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    other = Bot(OTHER_TOKEN, session=play.bot.session)
    with pytest.raises(TelegramBadRequest, match="chat not found"):
        await other.send_message(chat_id, "Ми знайомі?")


async def test_a_bot_edits_and_deletes_its_messages(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    sent = await play.bot.send_message(chat_id, "Є о 15:00")
    edited = await play.bot.edit_message_text("Є о 16:00", chat_id=chat_id, message_id=sent.message_id)
    assert not isinstance(edited, bool)
    assert edited.edit_date is not None
    assert (await play.phone("olena"))[-1]["edited"] is True
    with pytest.raises(TelegramBadRequest, match="Bad Request: message is not modified: "):
        await play.bot.edit_message_text("Є о 16:00", chat_id=chat_id, message_id=sent.message_id)
    with pytest.raises(TelegramBadRequest, match="Bad Request: message to edit not found"):
        await play.bot.edit_message_text("x", chat_id=chat_id, message_id=sent.message_id + 100)
    theirs = int(str((await play.phone("olena"))[0]["provider_id"]))
    with pytest.raises(TelegramBadRequest, match="Bad Request: message can't be edited"):
        await play.bot.edit_message_text("x", chat_id=chat_id, message_id=theirs)
    assert await play.bot.delete_message(chat_id, sent.message_id)
    assert [m["text"] for m in await play.phone("olena")] == ["Добрий день"]
    with pytest.raises(TelegramBadRequest, match="Bad Request: message to delete not found"):
        await play.bot.delete_message(chat_id, sent.message_id)


async def test_small_methods_answer_as_aiogram_expects(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    assert await play.bot.send_chat_action(chat_id, "typing")
    phone = await play.control(f"{CHANNEL}/clients/olena/phone")
    assert phone["typing"] is True
    with pytest.raises(TelegramBadRequest, match="wrong parameter action in request"):
        await play.bot.send_chat_action(chat_id, "dancing")
    assert await play.bot.set_my_commands([BotCommand(command="menu", description="Меню")])
    with pytest.raises(TelegramBadRequest, match="BOT_COMMAND_INVALID"):
        await play.bot.set_my_commands([BotCommand(command="Меню", description="Меню")])
    chat = await play.bot.get_chat(chat_id)
    assert (chat.id, chat.type, chat.first_name) == (chat_id, "private", "Олена")


# --- the webhook and its state


async def test_setting_and_deleting_a_webhook_says_what_it_did(empty: Playground) -> None:
    url = f"{empty.edge.url}/webhooks/telegram_bot/{CHANNEL}"
    set_it = {"url": url, "secret_token": SECRET, "allowed_updates": '["message","edited_message"]'}
    said = []
    for method, body in (
        ("setWebhook", set_it),
        ("setWebhook", set_it),
        ("deleteWebhook", {}),
        ("deleteWebhook", {}),
        ("setWebhook", set_it),
        ("setWebhook", {"url": ""}),
    ):
        status, answer, _ = await empty.raw(f"/bot{TOKEN}/{method}", data=body)
        assert (status, answer["ok"], answer["result"]) == (200, True, True)
        said.append(answer["description"])
    assert said == [
        "Webhook was set",
        "Webhook is already set",
        "Webhook was deleted",
        "Webhook is already deleted",
        "Webhook was set",
        "Webhook was deleted",
    ]


async def test_webhook_info_tells_url_limits_and_kinds(play: Playground) -> None:
    info = await play.bot.get_webhook_info()
    assert info.url.endswith(f"/webhooks/telegram_bot/{CHANNEL}")
    assert (info.has_custom_certificate, info.pending_update_count, info.max_connections) == (False, 0, 20)
    assert info.allowed_updates == ["message", "edited_message", "callback_query", "my_chat_member"]
    assert info.last_error_date is None
    # Left out, the kinds stay as they were; an empty list means the default, which info does not list.
    await play.bot.set_webhook(info.url, max_connections=1000)
    info = await play.bot.get_webhook_info()
    assert (info.max_connections, len(info.allowed_updates or [])) == (100, 4)
    await play.bot.set_webhook(info.url, allowed_updates=[])
    assert (await play.bot.get_webhook_info()).allowed_updates is None


async def test_webhook_info_tells_why_updates_do_not_arrive(play: Playground) -> None:
    answers = {"open": False}

    async def answer(_: Json, __: int) -> web.Response:
        return web.Response(status=200 if answers["open"] else 403)

    play.edge.answer = answer
    await play.control("pace", {"retry_divisor": 100}, "PUT")
    await play.act("olena", "messages", text="раз")
    await play.edge.wait_for(lambda got: len(got) >= 2)
    info = await play.bot.get_webhook_info()
    assert info.pending_update_count == 1
    assert info.last_error_message == "Wrong response from the webhook: 403 Forbidden"
    assert info.last_error_date is not None
    answers["open"] = True
    await until(lambda: pending(play), 0)


async def test_each_bot_hears_only_the_kinds_it_asked_for(play: Playground) -> None:
    await play.bot.set_webhook(
        f"{play.edge.url}/webhooks/telegram_bot/{CHANNEL}", allowed_updates=["edited_message"]
    )
    written = await play.act("olena", "messages", text="раз")
    assert written["update_id"] is None
    await play.act("olena", "edit", text="два")
    updates = await play.edge.wait_for(lambda got: len(got) == 1)
    assert list(updates[0]) == ["update_id", "edited_message"]
    assert "X-Telegram-Bot-Api-Secret-Token" not in play.edge.headers[0]


# --- the payloads


@dataclass(frozen=True)
class Sample:
    """A sample of the fact sheet and what a client does to cause it."""

    name: str
    actions: tuple[tuple[str, Json], ...]
    keyboard: bool = False
    ignore: frozenset[str] = frozenset()


PROFILE = frozenset({"last_name", "username", "language_code"})
"""Telegram sends these when the person has them."""

WRITE = "messages"
MATCHES = [
    Sample("message__text_with_url", ((WRITE, {"text": "👋 Ціна https://a.ua"}),)),
    Sample("message__start_with_payload", ((WRITE, {"text": "/start crm_7f3A-9"}),)),
    Sample(
        "message__photo_in_album",
        ((WRITE, {"kind": "image", "text": "Дві фото", "media_group_id": "13891234567890123"}),),
        ignore=frozenset({"caption_entities"}),  # the sandbox's clients do not write in bold
    ),
    Sample("message__video", ((WRITE, {"kind": "video"}),)),
    Sample("message__video_note", ((WRITE, {"kind": "video_note"}),)),
    Sample("message__voice", ((WRITE, {"kind": "voice"}),)),
    Sample("message__document", ((WRITE, {"kind": "file", "file": "рахунок.pdf", "text": "рахунок"}),)),
    Sample("message__sticker", ((WRITE, {"kind": "sticker"}),)),
    Sample("message__location", ((WRITE, {"kind": "location"}),)),
    Sample("message__contact_own", (("press", {"text": "Надіслати номер"}),), keyboard=True),
    Sample("edited_message__text", ((WRITE, {"text": "Ціна"}), ("edit", {"text": "Ціна?"}))),
    Sample("callback_query__press", (("press", {"data": "cmd:yes"}),), keyboard=True),
    Sample("my_chat_member__kicked", (("block", {}),)),
    Sample("my_chat_member__member", (("block", {}), ("unblock", {"start": False}))),
]


@pytest.mark.parametrize("case", MATCHES, ids=lambda case: case.name)
async def test_webhooks_have_exactly_the_keys_of_the_samples(play: Playground, case: Sample) -> None:
    sample = json.loads((SAMPLES / f"{case.name}.json").read_text(encoding="utf-8"))
    event = case.name.partition("__")[0]
    if case.keyboard:
        await _offer_keyboards(play, await play.chat_id("olena"))
    for action, body in case.actions:
        await play.act("olena", action, **body)
    updates = await play.edge.wait_for(
        lambda got: any(event in update and _last(update, case) for update in got)
    )
    update = next(u for u in reversed(updates) if event in u and _last(u, case))
    ignore = PROFILE | case.ignore
    assert _shape(update, ignore) == _shape(sample, ignore)
    Update.model_validate(update)


def _last(update: Json, case: Sample) -> bool:
    """Whether this update is the one the sample is about, not one on the way to it."""
    change = update.get("my_chat_member")
    if isinstance(change, dict):
        return bool(change["new_chat_member"]["status"] == case.name.removeprefix("my_chat_member__"))
    if case.name == "message__contact_own":
        return "contact" in message_of(update)
    return True


async def _offer_keyboards(play: Playground, chat_id: int) -> None:
    await play.bot.send_message(
        chat_id,
        "Поділіться номером",
        reply_markup=ReplyKeyboardMarkup(
            keyboard=[
                [KeyboardButton(text="Надіслати номер", request_contact=True)],
                [KeyboardButton(text="Меню")],
            ]
        ),
    )
    yes = InlineKeyboardButton(text="Так", callback_data="cmd:yes")
    await play.bot.send_message(
        chat_id, "Оберіть", reply_markup=InlineKeyboardMarkup(inline_keyboard=[[yes]])
    )


def _shape(value: object, ignore: frozenset[str]) -> object:
    """Keys and types of a JSON value, without the keys Telegram may leave out."""
    if isinstance(value, dict):
        return {key: _shape(inner, ignore) for key, inner in sorted(value.items()) if key not in ignore}
    if isinstance(value, list):
        return [_shape(inner, ignore) for inner in value]
    return type(value).__name__


async def test_values_of_a_text_are_the_samples_too(play: Playground) -> None:
    sample = json.loads((SAMPLES / "message__text_with_url.json").read_text(encoding="utf-8"))["message"]
    await play.act("olena", WRITE, text=sample["text"], name="Олена К.")
    update = (await play.edge.wait_for(lambda got: len(got) == 1))[0]
    message = message_of(update)
    assert (message["text"], message["entities"]) == (sample["text"], sample["entities"])
    person = message["from"]
    assert isinstance(person, dict)
    assert (person["first_name"], person["last_name"]) == ("Олена", "К.")
    assert message["chat"]["id"] == person["id"]  # type: ignore[index]


async def test_a_webhook_carries_the_secret_and_compact_json(play: Playground) -> None:
    first = await play.act("olena", WRITE, text="раз")
    second = await play.act("olena", WRITE, text="два")
    updates = await play.edge.wait_for(lambda got: len(got) == 2)
    assert [u["update_id"] for u in updates] == [first["update_id"], second["update_id"]]
    assert int(str(second["update_id"])) == int(str(first["update_id"])) + 1
    for headers, raw, update in zip(play.edge.headers, play.edge.raw, updates, strict=True):
        assert headers["X-Telegram-Bot-Api-Secret-Token"] == SECRET
        assert headers["Content-Type"] == "application/json"
        assert raw == json.dumps(update, separators=(",", ":")).encode()


async def test_what_no_bot_ever_saw_reaches_the_webhook_too(play: Playground) -> None:
    poll = {"poll": {"id": "1", "question": "Коли?"}, "forward_origin": {"type": "from_the_moon", "date": 1}}
    await play.act("olena", WRITE, kind="unsupported", extra=poll)
    message = message_of((await play.edge.wait_for(lambda got: len(got) == 1))[0])
    assert (message["poll"], message["forward_origin"]) == (poll["poll"], poll["forward_origin"])


async def test_a_press_is_answered_once(play: Playground) -> None:
    await _offer_keyboards(play, await play.chat_id("olena"))
    await play.act("olena", "press", text="Так")
    updates = await play.edge.wait_for(lambda got: any("callback_query" in update for update in got))
    query = Update.model_validate(updates[-1]).callback_query
    assert query is not None
    assert query.data == "cmd:yes"
    assert await play.bot.answer_callback_query(query.id, text="Записали!")
    assert (await play.control(f"{CHANNEL}/clients/olena/phone"))["notice"] == "Записали!"
    with pytest.raises(TelegramBadRequest, match="query is too old and response timeout expired"):
        await play.bot.answer_callback_query(query.id)


async def test_a_reply_keyboard_writes_its_label_until_it_is_removed(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    await _offer_keyboards(play, chat_id)
    await play.act("olena", "press", text="Меню")
    await play.edge.wait_for(lambda got: len(got) == 2)
    assert play.edge.texts() == ["Добрий день", "Меню"]
    await play.bot.send_message(chat_id, "Дякуємо", reply_markup=ReplyKeyboardRemove())
    status, refusal = await play.try_control(f"{CHANNEL}/clients/olena/press", {"text": "Меню"})
    assert (status, refusal["code"]) == (409, "no_such_button")


@pytest.mark.parametrize("action", ["read", "delete", "type"])
async def test_what_telegram_hides_from_bots_is_said_so(play: Playground, action: str) -> None:
    status, refusal = await play.try_control(f"{CHANNEL}/clients/olena/{action}", {})
    assert (status, refusal["code"]) == (409, "not_visible_to_bots")
    assert str(refusal["detail"]).startswith("Telegram не повідомляє ботам")


# --- the order of delivery


async def test_a_chat_that_fails_keeps_its_order_and_holds_back_nobody_else(play: Playground) -> None:
    gate = asyncio.Event()
    stubborn = await play.chat_id("stubborn")
    await play.edge.wait_for(lambda got: len(got) == 1)

    async def answer(update: Json, _: int) -> web.Response:
        failing = message_of(update)["chat"]["id"] == stubborn and not gate.is_set()  # type: ignore[index]
        return web.Response(status=500 if failing else 200)

    play.edge.answer = answer
    await play.control("pace", {"retry_divisor": 200}, "PUT")
    for n in range(3):
        await play.act("stubborn", WRITE, text=f"s{n}")
        await play.act("easy", WRITE, text=f"e{n}")
    await play.edge.wait_for(lambda got: len(got) >= 8 and play.edge.texts().count("s0") >= 4)
    assert [text for text in play.edge.texts() if text.startswith("e")] == ["e0", "e1", "e2"]
    assert not {"s1", "s2"} & set(play.edge.texts())
    gate.set()
    await play.edge.wait_for(lambda got: "s2" in play.edge.texts())
    seen = list(dict.fromkeys(text for text in play.edge.texts() if text.startswith("s")))
    assert seen == ["s0", "s1", "s2"]
    await until(lambda: pending(play), 0)


async def test_a_press_and_a_block_may_overtake_a_message(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    await _offer_keyboards(play, chat_id)
    await play.edge.wait_for(lambda got: len(got) == 1)
    gate = asyncio.Event()

    async def answer(update: Json, _: int) -> web.Response:
        if "message" in update:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await gate.wait()
        return web.Response()

    play.edge.answer = answer
    await play.act("olena", WRITE, text="повільне")
    await play.act("olena", WRITE, text="наступне")
    await play.act("olena", "press", text="Так")
    await play.act("olena", "block")
    await play.edge.wait_for(lambda got: any("my_chat_member" in u for u in got) and len(got) == 4)
    assert "наступне" not in play.edge.texts()
    gate.set()
    await play.edge.wait_for(lambda got: len(got) == 5)
    assert play.edge.texts() == ["Добрий день", "повільне", "наступне"]


async def test_chats_are_delivered_in_parallel_up_to_max_connections(play: Playground) -> None:
    await play.chat_id("first")
    await play.edge.wait_for(lambda got: len(got) == 1)
    await until(lambda: pending(play), 0)
    gate = asyncio.Event()

    async def answer(_: Json, __: int) -> web.Response:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await gate.wait()
        return web.Response()

    play.edge.answer = answer
    for n in range(25):
        await play.act(f"c{n}", WRITE, text="разом")
    await play.edge.wait_for(lambda got: len(got) == 21)
    assert (await play.bot.get_webhook_info()).pending_update_count == 25
    assert len(play.edge.got) == 21  # one before, and as many as max_connections
    gate.set()
    await play.edge.wait_for(lambda got: len(got) == 26)


async def test_the_first_retry_comes_at_once(play: Playground) -> None:
    async def answer(_: Json, attempt: int) -> web.Response:
        return web.Response(status=200 if attempt == 2 else 503)

    play.edge.answer = answer
    await play.act("olena", WRITE, text="раз")
    await until(lambda: pending(play), 0)
    first, second = [float(str(entry["at"])) for entry in await play.ledger() if entry["type"] == "webhook"]
    assert second - first < 2.0  # the wait before the second retry


async def test_further_retries_come_after_2_4_8_seconds(play: Playground) -> None:
    divisor = 20.0

    async def answer(_: Json, attempt: int) -> web.Response:
        return web.Response(status=200 if attempt == 5 else 503)

    play.edge.answer = answer
    await play.control("pace", {"retry_divisor": divisor}, "PUT")
    await play.act("olena", WRITE, text="раз")
    await until(lambda: pending(play), 0)
    tries = [entry for entry in await play.ledger() if entry["type"] == "webhook"]
    assert [(entry["attempt"], entry["status"]) for entry in tries] == [
        (1, 503),
        (2, 503),
        (3, 503),
        (4, 503),
        (5, 200),
    ]
    times = [float(str(entry["at"])) for entry in tries]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    for gap, seconds in zip(gaps[1:], (2, 4, 8), strict=True):
        assert gap >= seconds / divisor * 0.95


async def test_retry_after_of_the_webhook_is_honoured(play: Playground) -> None:
    async def answer(_: Json, attempt: int) -> web.Response:
        return web.Response() if attempt == 2 else web.Response(status=503, headers={"Retry-After": "10"})

    play.edge.answer = answer
    await play.control("pace", {"retry_divisor": 20}, "PUT")
    await play.act("olena", WRITE, text="раз")
    await until(lambda: pending(play), 0)
    first, second = [float(str(entry["at"])) for entry in await play.ledger() if entry["type"] == "webhook"]
    assert second - first >= 10 / 20 * 0.95


async def test_updates_wait_for_a_webhook_that_is_down(play: Playground) -> None:
    await play.control("pace", {"retry_divisor": 100}, "PUT")
    await play.bot.set_webhook(f"http://127.0.0.1:1/webhooks/telegram_bot/{CHANNEL}")
    for n in range(3):
        await play.act("olena", WRITE, text=f"m{n}")
    await until(lambda: _last_error(play), "Connection refused")
    await play.set_webhook()
    await play.edge.wait_for(lambda got: len(got) == 3)
    assert play.edge.texts() == ["m0", "m1", "m2"]


# --- ledger, load, state


async def test_the_ledger_tells_both_orders_and_pages_by_cursor(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    await play.act("olena", WRITE, text="два")
    await play.edge.wait_for(lambda got: len(got) == 2)
    await play.bot.send_message(chat_id, "відповідь 1")
    await play.bot.send_message(chat_id, "відповідь 2")
    with pytest.raises(TelegramAPIError):
        await play.bot.send_message(chat_id, "")
    await until(lambda: pending(play), 0)
    entries = await play.ledger()
    acked = [e["text"] for e in entries if e["type"] == "webhook" and e["status"] == 200]
    shown = [e["text"] for e in entries if e.get("method") == "sendMessage" and e["accepted"]]
    assert (acked, shown) == (["Добрий день", "два"], ["відповідь 1", "відповідь 2"])
    assert {e["client"] for e in entries if e["type"] == "webhook"} == {"olena"}
    paged: list[Json] = []
    while page := await play.ledger(after=int(str(paged[-1]["seq"])) if paged else 0, limit=2):
        assert len(page) <= 2
        paged += page
    assert paged[: len(entries)] == entries


async def test_a_burst_writes_everything_in_each_clients_order(play: Playground) -> None:
    order = {"clients": 20, "messages_per_client": 10, "rate_per_s": 1000, "text_prefix": "навал", "seed": 5}
    burst = await play.control(f"{CHANNEL}/burst", order)

    async def progress() -> tuple[object, object]:
        state = await play.control(f"burst/{burst['id']}")
        return state["state"], state["acked"]

    await until(progress, ("done", 200))
    for n in range(20):
        texts = [text for text in play.edge.texts() if f" c{n} " in text]
        assert texts == [f"навал c{n} {k}" for k in range(1, 11)]


async def test_people_webhooks_and_numbers_outlive_the_process(empty: Playground, tmp_path: Path) -> None:
    state = tmp_path / "sandbox.json"
    receipts: list[Json] = []
    secrets: list[Json] = []
    for _ in range(2):
        async with running(sandbox_settings(state)) as url:
            one = Playground(url, empty.bot, empty.edge, empty.http)
            if not receipts:
                await one.raw(
                    f"/bot{TOKEN}/setWebhook",
                    json={"url": f"{empty.edge.url}/webhooks/telegram_bot/{CHANNEL}", "secret_token": SECRET},
                )
            receipts.append(
                await one.act("c17", WRITE, text="раз", **({} if receipts else {"name": "Ганна Л."}))
            )
            secrets.append(await one.control(f"{CHANNEL}/webhook"))
            phone = await one.control(f"{CHANNEL}/clients/c17/phone")
            assert phone["name"] == "Ганна Л."
    before, after = receipts
    assert before["chat_id"] == after["chat_id"]
    assert int(str(after["provider_id"])) > int(str(before["provider_id"]))
    assert int(str(after["update_id"])) > int(str(before["update_id"]))
    assert secrets[0] == secrets[1]
    assert secrets[0]["secret_token"] == SECRET
    assert state.stat().st_mode & 0o777 == 0o600


async def test_reset_empties_the_phones_and_keeps_the_channel(play: Playground) -> None:
    chat_id = await play.chat_id("olena")
    await play.edge.wait_for(lambda got: len(got) == 1)
    await play.faults({"kind": "500"})
    await play.control("reset", {})
    assert await play.phone("olena") == []
    with pytest.raises(TelegramBadRequest, match="chat not found"):
        await play.bot.send_message(chat_id, "Ви тут?")
    async with play.http.get(f"{play.url}/control/channels") as answer:
        channels = await answer.json()
    assert [(c["channel_id"], c["kind"], c["title"]) for c in channels] == [(CHANNEL, "telegram_bot", "Shop")]
    assert (await play.bot.get_webhook_info()).pending_update_count == 0


async def test_an_unknown_channel_or_body_says_what_to_do(play: Playground) -> None:
    status, refusal = await play.try_control("ch_other/clients/olena/messages", {"text": "x"})
    assert (status, refusal["code"]) == (404, "channel_not_found")
    assert "setWebhook" in str(refusal["detail"])
    status, refusal = await play.try_control(f"{CHANNEL}/clients/olena/messages", {"txt": "x"})
    assert (status, refusal["code"]) == (422, "invalid_body")
    status, refusal = await play.try_control("faults", {"faults": [{"kind": "earthquake"}]}, "PUT")
    assert (status, refusal["code"]) == (422, "invalid_body")


async def test_the_phone_page_and_health_answer(play: Playground) -> None:
    for path, kind in (
        ("/", "text/html"),
        ("/phone.css", "text/css"),
        ("/phone.js", "application/javascript"),
        ("/health/live", "application/json"),
        ("/health/ready", "application/json"),
    ):
        async with play.http.get(f"{play.url}{path}") as answer:
            assert (answer.status, answer.content_type) == (200, kind)
            if path == "/":
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def _last_error(play: Playground) -> str | None:
    return (await play.bot.get_webhook_info()).last_error_message
