"""The sandbox against the unmodified `viberbot` package: what its author believed of Viber."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import TypeVar

import pytest
from viber_playground import PATH, TOKEN, Stage
from viberbot import Api, BotConfiguration
from viberbot.api.messages import (
    ContactMessage,
    FileMessage,
    KeyboardMessage,
    LocationMessage,
    StickerMessage,
    TextMessage,
    URLMessage,
)
from viberbot.api.messages.data_types.contact import Contact
from viberbot.api.messages.data_types.location import Location
from viberbot.api.viber_requests import (
    ViberConversationStartedRequest,
    ViberDeliveredRequest,
    ViberMessageRequest,
    ViberSeenRequest,
    ViberSubscribedRequest,
    ViberUnsubscribedRequest,
)

T = TypeVar("T")


@pytest.fixture
def bot(lonely: Stage) -> Api:
    """viberbot, pointed at the sandbox; it has no setting for that."""
    api = Api(BotConfiguration(auth_token=TOKEN, name="Мавка", avatar="http://127.0.0.1/a.jpg"))
    api._request_sender._viber_bot_api_url = f"{lonely.url}/viber/pa"
    logging.getLogger("viber.bot.api").setLevel(logging.CRITICAL)
    return api


async def _call(function: Callable[..., T], *arguments: object) -> T:
    """viberbot blocks."""
    return await asyncio.to_thread(function, *arguments)


async def test_viberbot_registers_asks_and_sends(lonely: Stage, bot: Api) -> None:
    events = await _call(bot.set_webhook, f"{lonely.edge.url}{PATH}", ["delivered", "seen", "failed"])
    assert sorted(events) == ["delivered", "failed", "seen"]
    info = await _call(bot.get_account_info)
    assert (info["name"], info["status"]) == ("Мавка", 0)

    await lonely.act("olena", "messages", text="Добрий день")
    user_id = await lonely.user_id("olena")
    messages = [
        TextMessage(text="Вітаю"),
        ContactMessage(contact=Contact(name="Салон", phone_number="+380671234567")),
        LocationMessage(location=Location(lat=50.45, lon=30.52)),
        URLMessage(media="https://a.ua"),
        StickerMessage(sticker_id=40100),
        FileMessage(media=lonely.edge.serve("x", b"%PDF-1.4"), size=8, file_name="рахунок.pdf"),
        KeyboardMessage(
            keyboard={
                "Type": "keyboard",
                "Buttons": [
                    {"ActionType": "reply", "ActionBody": "x", "Text": "Так", "Columns": 6, "Rows": 1}
                ],
            }
        ),
    ]
    tokens = await _call(bot.send_messages, user_id, messages)
    assert len(set(tokens)) == len(messages)
    await lonely.edge.until("delivered", 1 + len(messages))
    shown = [bubble["kind"] for bubble in await lonely.shows("olena") if bubble["direction"] == "out"]
    assert shown == ["text", "contact", "location", "url", "sticker", "document", "keyboard"]

    assert (await _call(bot.get_user_details, user_id))["id"] == user_id
    assert [user["id"] for user in await _call(bot.get_online, [user_id])] == [user_id]
    await lonely.act("olena", "block")
    with pytest.raises(Exception, match="failed with status: 6, message: receiverNotSubscribed"):
        await _call(bot.send_messages, user_id, [TextMessage(text="Ви тут?")])
    # Removing a webhook is too much for viberbot: it wants `event_types` in the answer.
    with pytest.raises(KeyError, match="event_types"):
        await _call(bot.unset_webhook)
    assert "webhook" not in await lonely.api("get_account_info")


async def test_viberbot_believes_the_signatures_and_reads_the_callbacks(lonely: Stage, bot: Api) -> None:
    await lonely.connect()
    await lonely.act("olena", "open", context="crm_7f3A")
    await lonely.act("olena", "subscribe")
    written: list[dict[str, object]] = [
        {"text": "Добрий день"},
        {"kind": "photo", "caption": "фото"},
        {"kind": "video"},
        {"kind": "file", "file": "рахунок.pdf"},
        {"sticker_id": 153500},
        {"phone_number": "380671234567"},
        {"kind": "location"},
        {"url": "https://a.ua/x"},
    ]
    for message in written:
        await lonely.act("olena", "messages", **message)
    await lonely.edge.until("delivered", len(written))
    await lonely.send("olena")
    await lonely.act("olena", "read")
    await lonely.act("olena", "block")
    await lonely.edge.until("unsubscribed")

    requests = []
    for raw, (header, _) in zip(lonely.edge.raw, lonely.edge.signatures, strict=True):
        assert bot.verify_signature(raw, header)
        requests.append(bot.parse_request(raw))
    opened = next(r for r in requests if isinstance(r, ViberConversationStartedRequest))
    assert (opened.context, opened.user.name, opened.subscribed) == ("crm_7f3A", "Олена", False)
    said = [r.message for r in requests if isinstance(r, ViberMessageRequest)]
    assert [json.loads(json.dumps(m.to_dict()))["type"] for m in said] == [
        "text", "picture", "video", "file", "sticker", "contact", "location", "url",
    ]  # fmt: skip
    assert said[0].text == "Добрий день"
    assert (said[6].location.latitude, said[6].location.longitude) == (50.4501, 30.5234)
    kinds = {type(request) for request in requests}
    assert {
        ViberDeliveredRequest,
        ViberSeenRequest,
        ViberSubscribedRequest,
        ViberUnsubscribedRequest,
    } <= kinds


async def test_viberbot_dies_on_what_viber_really_sends(lonely: Stage, bot: Api) -> None:
    await lonely.connect()
    await lonely.act("olena", "messages", text="Добрий день")
    await lonely.faults({"kind": "fails_later"})
    await lonely.send("olena")
    await lonely.edge.until("failed")
    failed = next(raw for raw in lonely.edge.raw if b'"failed"' in raw)
    with pytest.raises(KeyError, match="desc"):
        bot.parse_request(failed)
