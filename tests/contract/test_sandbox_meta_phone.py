"""What a phone in Messenger and Instagram shows, and what the business's own inbox does with it."""

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from meta_playground import APP_ID, CHANNELS, IG, LOGIN_IG, PAGE, Json, Stage
from PIL import Image

OURS = int(APP_ID)


async def _phone(meta: Stage, account: str, client: str = "olena") -> Json:
    return dict(await meta.control(f"{CHANNELS[account]}/clients/{client}/phone"))


async def _newest(meta: Stage, account: str) -> Json:
    return (await meta.shows(account=account))[-1]


async def _bytes(meta: Stage, url: str) -> bytes:
    async with meta.http.get(f"{meta.url}{url}") as answer:
        assert answer.status == 200
        return await answer.read()


@pytest.mark.parametrize("account", [PAGE, IG])
async def test_windows_end_a_day_and_a_week_after_the_client_wrote(meta: Stage, account: str) -> None:
    assert (await _phone(meta, account))["window"] == {"everybody": None, "people": None}
    written = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=25)
    await meta.writes(account=account, text="Учора", sent_at=int(written.timestamp() * 1000))
    phone = await _phone(meta, account)
    assert datetime.fromisoformat(phone["window"]["everybody"]) == written + timedelta(hours=24)
    assert datetime.fromisoformat(phone["window"]["people"]) == written + timedelta(days=7)
    assert not phone["window_open"]
    assert phone["human_agent"]
    assert datetime.fromisoformat(phone["messages"][0]["at"]) == written
    await meta.writes(account=account, text="Ще старе", seconds_ago=3600 * 30)
    assert (await _phone(meta, account))["window"] == phone["window"]
    await meta.sent(account=account, messaging_type="MESSAGE_TAG", tag="HUMAN_AGENT")
    assert (await _newest(meta, account))["tag"] == "HUMAN_AGENT"


async def test_how_far_a_message_came_and_who_reacted(meta: Stage) -> None:
    said = await meta.writes(text="Добрий день")
    assert (await _newest(meta, PAGE))["state"] == "delivered"
    assert (await meta.send(sender_action="mark_seen"))[0] == 200
    assert (await _newest(meta, PAGE))["state"] == "read"
    reaction = {"message_id": said["message"]["mid"], "reaction": "😊"}
    assert (await meta.send(sender_action="react", payload=reaction))[0] == 200
    assert (await _newest(meta, PAGE))["reactions"] == {"business": "😊"}
    assert (await meta.send(sender_action="typing_on"))[0] == 200
    assert (await _phone(meta, PAGE))["typing"]
    mid = await meta.sent(reply_to={"mid": said["message"]["mid"]})
    phone = await _phone(meta, PAGE)
    assert (phone["typing"], phone["unread"]) == (False, 1)
    shown = phone["messages"][-1]
    assert (shown["provider_id"], shown["reply_to"]) == (mid, said["message"]["mid"])
    assert (shown["state"], "desk" in shown) == ("delivered", False)


async def test_quick_replies_are_there_until_one_is_pressed(meta: Stage) -> None:
    await meta.writes()
    replies = [{"content_type": "text", "title": t, "payload": t.upper()} for t in ("так", "ні")]
    mid = await meta.sent(message={"text": "Записати?", "quick_replies": replies})
    assert (await _newest(meta, PAGE))["quick_replies"] == [
        {"text": "так", "data": "ТАК"},
        {"text": "ні", "data": "НІ"},
    ]
    await meta.act("olena", "press", text="ні", provider_id=mid)
    *_, asked, answered = await meta.shows()
    assert "quick_replies" not in asked
    assert (answered["direction"], answered["text"]) == ("in", "ні")
    buttons = [
        {"type": "postback", "title": "Дзвінок", "payload": "CALL"},
        {"type": "web_url", "title": "Сайт", "url": "https://mavka.example"},
    ]
    template = {"template_type": "button", "text": "Ще щось?", "buttons": buttons}
    await meta.sent(message={"attachment": {"type": "template", "payload": template}})
    shown = await _newest(meta, PAGE)
    (call,), (site,) = shown["keyboard"]["inline_keyboard"]
    assert (shown["text"], call["text"], call["data"]) == ("Ще щось?", "Дзвінок", "CALL")
    assert site["url"] == "https://mavka.example"


async def test_a_story_is_looked_at_answered_and_mentioned(meta: Stage) -> None:
    story = await meta.act("olena", "story", IG)
    assert (await _bytes(meta, story["url"]))[:3] == b"\xff\xd8\xff"
    said = await meta.writes(account=IG, kind="story_reply", text="Яка краса!")
    assert said["message"]["reply_to"]["story"]["id"] == story["id"]
    point = (await _newest(meta, IG))["point"]
    assert (point["kind"], point["title"], point["file"]["url"]) == (
        "story_reply", story["title"], story["url"],
    )  # fmt: skip
    await meta.writes(account=IG, kind="story_mention")
    assert (await _newest(meta, IG))["point"]["kind"] == "story_mention"


@pytest.mark.parametrize(
    ("account", "message", "wanted"),
    [
        (PAGE, {"kind": "like"}, {"kind": "like", "emoji": "👍"}),
        (IG, {"kind": "like"}, {"kind": "like", "emoji": "❤️"}),
        (PAGE, {"kind": "post", "title": "Знижки"}, {"point": {"kind": "post", "title": "Знижки"}}),
        (IG, {"kind": "reel", "title": "Рілс"}, {"point": {"kind": "reel", "title": "Рілс"}}),
        (IG, {"kind": "story"}, {"point": {"kind": "story_reply"}}),
        (PAGE, {"kind": "share", "title": "Крамниця"}, {"point": {"kind": "link", "title": "Крамниця"}}),
        (PAGE, {"kind": "product", "title": "Чашка"}, {"point": {"kind": "product", "title": "Чашка"}}),
        (PAGE, {"kind": "unsupported"}, {"kind": "unsupported"}),
        (IG, {"kind": "ephemeral"}, {"kind": "ephemeral"}),
        (
            PAGE,
            {"kind": "location", "latitude": 49.84, "longitude": 24.03},
            {"kind": "location", "location": {"latitude": 49.84, "longitude": 24.03}},
        ),
    ],
)
async def test_what_points_elsewhere_is_shown(meta: Stage, account: str, message: Json, wanted: Json) -> None:
    await meta.writes(account=account, **message)
    shown = await _newest(meta, account)
    assert "file" not in shown
    point = wanted.pop("point", None)
    assert wanted.items() <= shown.items()
    assert (point is None) == ("point" not in shown)
    if point is not None:
        assert point.items() <= shown["point"].items()
        assert len({"file", "url"} & shown["point"].keys()) <= 1


async def test_files_are_shown_with_what_they_are(meta: Stage) -> None:
    await meta.writes(kind="voice")
    shown = await _newest(meta, PAGE)
    assert (shown["kind"], shown["file"]["mime"].partition("/")[0]) == ("voice", "audio")
    await meta.writes(kind="sticker", doubled=True)
    shown = await _newest(meta, PAGE)
    assert (shown["kind"], "file" in shown, "files" in shown) == ("sticker", True, False)
    album: list[Any] = [{"kind": "photo"}, {"kind": "document", "file": "прайс.pdf"}]
    await meta.writes(album=album, text="Обидва")
    shown = await _newest(meta, PAGE)
    assert [(one["kind"], bool(await _bytes(meta, one["url"]))) for one in shown["files"]] == [
        ("photo", True),
        ("document", True),
    ]
    assert shown["text"] == "Обидва"
    await meta.sent(message={"attachment": {"type": "image", "payload": {"url": _served(meta)}}})
    assert (await _newest(meta, PAGE))["kind"] == "photo"


def _served(meta: Stage) -> str:
    picture = BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    return meta.edge.serve("i.png", picture.getvalue(), "image/png")


@pytest.mark.parametrize("account", [PAGE, IG, LOGIN_IG])
async def test_the_staff_answer_in_their_own_inbox(meta: Stage, account: str) -> None:
    await meta.writes(account=account)
    await meta.sent(account=account, message={"text": "Через нас"})
    ours = (await meta.edge.until(meta.edge.echoes))[0]["message"]
    receipt = await meta.act("olena", "inbox", account, text="Від Ірини")
    theirs = (await meta.edge.until(meta.edge.echoes, 2))[1]["message"]
    assert (theirs["mid"], theirs["text"]) == (receipt["provider_id"], "Від Ірини")
    if account == PAGE:
        assert (ours["app_id"], theirs["app_id"] == OURS) == (OURS, False)
    *_, first, second = await meta.shows(account=account)
    assert ("desk" in first, second["desk"], second["direction"]) == (False, True, "out")
    await meta.act("olena", "inbox", account, kind="photo")
    shown = await _newest(meta, account)
    assert (shown["kind"], shown["desk"], "file" in shown) == ("photo", True, True)


async def test_unsent_is_gone_edited_says_so_and_a_lost_subscription_leaves_the_phone(meta: Stage) -> None:
    await meta.writes(account=IG, text="Не туди")
    await meta.act("olena", "edit", IG, text="Не сюди")
    assert (await _newest(meta, IG))["edited"]
    await meta.act("olena", "delete", IG)
    assert await meta.shows(account=IG) == []
    await meta.dashboard(PAGE, unsubscribe=True)  # the account hangs on the page
    listed = {one["channel_id"]: one["connected"] for one in await meta.control("channels")}
    assert listed == {CHANNELS[IG]: False, CHANNELS[LOGIN_IG]: True}
    assert (await meta.act("olena", "messages", IG, text="Чути?"))["update_id"] is None
