"""Viber's answers to what a bot sends, and what its clients' phones make of it later."""

from dataclasses import dataclass
from io import BytesIO

import pytest
from PIL import Image
from viber_playground import CHANNEL, Json, Stage, eventually

OLENA = "olena"
SENDER: Json = {"name": "Мавка"}
REPLY: Json = {"ActionType": "reply", "ActionBody": "cmd:menu", "Text": "<b>Меню</b> &amp; ціни"}
STRANGER = "5h2COTj83ZE6IAsIcTEVGw=="


def _keyboard(*buttons: Json, **extra: object) -> Json:
    return {"Type": "keyboard", "Buttons": list(buttons), **extra}


def _picture(form: str = "PNG", side: int = 60, frames: int = 1) -> bytes:
    stream = BytesIO()
    images = [Image.new("RGB", (side, side), (n * 90, 80, 40)) for n in range(frames)]
    more = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    images[0].save(stream, form, **more)
    return stream.getvalue()


@pytest.fixture
async def met(viber: Stage) -> Stage:
    """A stage where Олена has written."""
    await viber.act(OLENA, "messages", text="Добрий день")
    await viber.edge.until("delivered")
    return viber


async def test_an_accepted_message_has_a_token_and_is_on_the_phone(met: Stage) -> None:
    answer = await met.send(OLENA, text="Вітаю", sender={"name": "Салон «Мавка»"})
    assert {key: answer[key] for key in ("status", "status_message", "chat_hostname", "billing_status")} == {
        "status": 0,
        "status_message": "ok",
        "chat_hostname": "SN-CHAT-05_",
        "billing_status": 1,
    }
    bubble = (await met.shows(OLENA))[-1]
    assert (bubble["provider_id"], bubble["text"], bubble["sender"]) == (
        str(answer["message_token"]),
        "Вітаю",
        "Салон «Мавка»",
    )
    (entry,) = await met.ledger(method="send_message")
    assert (entry["accepted"], entry["text"], entry["client"]) == (True, "Вітаю", OLENA)


REFUSALS: list[tuple[str, Json, int, str]] = [
    ("no type", {"type": None}, 4, "missing type"),
    ("no sender", {"sender": None}, 4, "missing sender.name"),
    ("long sender", {"sender": {"name": "я" * 29}}, 3, "sender.name is too long"),
    ("unknown type", {"type": "voice"}, 3, "type is not supported"),
    ("no text", {"text": ""}, 4, "missing text"),
    ("long text", {"text": "я" * 7001}, 3, "text is too long"),
    ("30 kB", {"text": "я" * 7000, "tracking_data": "x" * 4096, "x": "x" * 13000}, 3, "request is too big"),
    ("long tracking", {"tracking_data": "x" * 4097}, 3, "tracking_data is not valid"),
    ("future version", {"min_api_version": 99}, 13, "apiVersionNotSupported"),
    ("no caption", {"type": "picture", "media": "https://a.ua/x.png"}, 4, "missing text"),
    ("long caption", {"type": "picture", "text": "я" * 769, "media": "https://a.ua/x.png"}, 3,
     "text is too long"),
    ("no media", {"type": "picture", "text": ""}, 4, "missing media"),
    ("no address", {"type": "picture", "text": "", "media": "x.png"}, 3, "media is not valid"),
    ("no size", {"type": "video", "media": "https://a.ua/x.mp4"}, 4, "missing size"),
    ("long video", {"type": "video", "media": "https://a.ua/x.mp4", "size": 1, "duration": 181}, 3,
     "video duration is too long"),
    ("big video", {"type": "video", "media": "https://a.ua/x.mp4", "size": 27 << 20}, 3,
     "video size is too big"),
    ("no name", {"type": "file", "media": "https://a.ua/x", "size": 1}, 4, "missing file_name"),
    ("no ending", {"type": "file", "media": "https://a.ua/x", "size": 1, "file_name": "рахунок"}, 3,
     "file_name is not valid"),
    ("big file", {"type": "file", "media": "https://a.ua/x", "size": 51 << 20, "file_name": "a.pdf"}, 3,
     "file size is too big"),
    ("long card", {"type": "contact", "contact": {"name": "я" * 29, "phone_number": "1"}}, 3,
     "contact.name is too long"),
    ("long number", {"type": "contact", "contact": {"name": "я", "phone_number": "1" * 19}}, 3,
     "contact.phone_number is too long"),
    ("no place", {"type": "location", "location": {"lat": 50}}, 4, "missing location.lon"),
    ("off the map", {"type": "location", "location": {"lat": 91, "lon": 0}}, 3, "location.lat is not valid"),
    ("long link", {"type": "url", "media": "https://a.ua/" + "x" * 2000}, 3, "media is not valid"),
    ("old rich media", {"type": "rich_media", "rich_media": {"Buttons": []}}, 14, "incompatibleWithVersion"),
    ("no keyboard type", {"keyboard": {"Buttons": [REPLY]}}, 3,
     'keyboard is not valid. [object has missing required properties (["Type"])]'),
    ("wide button", {"keyboard": _keyboard({**REPLY, "Columns": 10000})}, 3,
     "keyboard is not valid. [numeric instance is greater than the required maximum "
     "(maximum: 6, found: 10000)]"),
    ("share-phone of old", {"keyboard": _keyboard({**REPLY, "ActionType": "share-phone"})}, 3,
     'keyboard is not valid. [instance value ("share-phone") not found in enum (possible values: '
     '["reply","open-url","none"])]'),
    ("long body", {"keyboard": _keyboard({**REPLY, "ActionBody": "x" * 274})}, 3,
     "keyboard is not valid. [is too long (length: 274, maximum allowed: 250)]"),
    ("no body", {"keyboard": _keyboard({"Text": "x"})}, 3,
     'keyboard is not valid. [object has missing required properties (["ActionBody"])]'),
    ("empty", {"keyboard": _keyboard()}, 3,
     "keyboard is not valid. [array is too short: must have at least 1 elements "
     "but instance has 0 elements]"),
]  # fmt: skip


@pytest.mark.parametrize(("_", "change", "status", "words"), REFUSALS, ids=[case[0] for case in REFUSALS])
async def test_what_the_api_refuses(met: Stage, _: str, change: Json, status: int, words: str) -> None:
    call: Json = {"type": "text", "text": "Вітаю", "sender": SENDER, "receiver": await met.user_id(OLENA)}
    if "type" in change:
        del call["text"]
    call = {key: value for key, value in {**call, **change}.items() if value is not None}
    answer = await met.api("send_message", **call)
    assert (answer["status"], answer["status_message"]) == (status, words)
    assert "message_token" not in answer
    assert len(await met.shows(OLENA)) == 1


async def test_receivers_that_cannot_be_written_to(met: Stage) -> None:
    text: Json = {"type": "text", "text": "Вітаю", "sender": SENDER}
    assert (await met.api("send_message", **text))["status"] == 4
    assert (await met.api("send_message", receiver="380671234567", **text))["status"] == 999
    assert (await met.api("send_message", receiver=STRANGER, **text))["status"] == 5
    await met.api("set_webhook", url="")
    assert (await met.send(OLENA))["status"] == 10
    async with met.http.post(
        f"{met.url}/viber/pa/send_message", data=b"{", headers={"X-Viber-Auth-Token": "x"}
    ) as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, 3)


async def test_the_limits_themselves_pass(met: Stage) -> None:
    assert (await met.send(OLENA, text="я" * 7000))["status"] == 0
    assert (await met.send(OLENA, tracking_data="x" * 4096, sender={"name": "я" * 28}))["status"] == 0


async def test_a_broadcast_names_whom_it_did_not_reach(met: Stage) -> None:
    answer = await met.api(
        "broadcast_message",
        type="text",
        text="Знижки",
        sender=SENDER,
        broadcast_list=[await met.user_id(OLENA), STRANGER],
    )
    assert (answer["status"], [f["status"] for f in answer["failed_list"]]) == (0, [5])
    assert (await met.shows(OLENA))[-1]["text"] == "Знижки"
    long = await met.api(
        "broadcast_message", type="text", text="x", sender=SENDER, broadcast_list=[STRANGER] * 301
    )
    assert long["status"] == 3


async def test_details_are_told_twice_and_the_online_state_of_a_hundred(met: Stage) -> None:
    user_id = await met.user_id(OLENA)
    user = (await met.api("get_user_details", id=user_id))["user"]
    assert isinstance(user, dict)
    assert (user["id"], user["name"], user["api_version"]) == (user_id, "Олена", 10)
    assert (await met.api("get_user_details", id=user_id))["status"] == 0
    assert (await met.api("get_user_details", id=user_id))["status"] == 12
    users = (await met.api("get_online", ids=[user_id, STRANGER]))["users"]
    assert [u["online_status"] for u in users] == [0, 4]
    assert (await met.api("get_online", ids=[user_id] * 101))["status"] == 3


# --- keyboards


async def test_presses_are_messages_as_viber_sends_them(met: Stage) -> None:
    keyboard = _keyboard(
        {**REPLY, "Columns": 3, "Silent": True},
        {"ActionType": "open-url", "ActionBody": "https://a.ua", "Text": "Сайт", "Columns": 3},
        {"ActionType": "share-phone", "ActionBody": "phone", "Text": "Надіслати номер"},
        {"ActionType": "location-picker", "ActionBody": "place", "Text": "Місце"},
        {"ActionType": "none", "ActionBody": "x", "Text": "Просто напис"},
    )
    await met.send(OLENA, keyboard=keyboard, min_api_version=3)
    shown = (await met.phone(OLENA))["keyboard"]
    assert [b["label"] for b in shown["Buttons"]] == [
        "Меню & ціни", "Сайт", "Надіслати номер", "Місце", "Просто напис",
    ]  # fmt: skip
    assert (await met.act(OLENA, "press", text="Сайт"))["opens"] == "https://a.ua"
    assert (await met.act(OLENA, "press", text="Просто напис"))["provider_id"] is None
    await met.act(OLENA, "press", text="Меню & ціни")
    await met.act(OLENA, "press", data="phone")
    await met.act(OLENA, "press", data="place")
    reply, card, place = (await met.edge.until("message", 4))[1:]
    assert (reply["message"], reply["silent"]) == ({"text": "cmd:menu", "type": "text"}, True)
    assert "cmd:menu" not in [bubble["text"] for bubble in await met.shows(OLENA)]
    assert card["message"]["contact"]["phone_number"].startswith("+38067")
    assert card["message"]["contact"]["name"] == "Олена"
    assert place["message"]["location"] == {"lat": 50.4501, "lon": 30.5234}
    assert (await met.refused(OLENA, "press", text="Інше"))["code"] == "no_such_button"


async def test_a_message_without_a_keyboard_takes_the_old_one_away(met: Stage) -> None:
    await met.send(OLENA, keyboard=_keyboard(REPLY))
    assert (await met.phone(OLENA))["keyboard"] is not None
    await met.send(OLENA, text="Дякуємо")
    assert (await met.phone(OLENA))["keyboard"] is None


@pytest.mark.parametrize(
    ("keyboard", "reason"),
    [
        (_keyboard({**REPLY, "ActionType": "open-url"}), "open-url без адреси"),
        (_keyboard({**REPLY, "ActionBody": ""}), "порожнім ActionBody"),
        (_keyboard(*[REPLY] * 13), "вища за 12 рядів"),
    ],
    ids=["no address", "no body", "too high"],
)
async def test_a_keyboard_the_phone_cannot_draw_fails_later(met: Stage, keyboard: Json, reason: str) -> None:
    answer = await met.send(OLENA, keyboard=keyboard)
    assert answer["status"] == 0
    await _failed_later(met, answer, reason)


async def _failed_later(met: Stage, answer: Json, reason: str) -> None:
    (failed,) = await met.edge.until("failed")
    assert failed.keys() == {"event", "timestamp", "chat_hostname", "message_token", "user_id", "udid"}
    assert (failed["message_token"], failed["udid"]) == (answer["message_token"], None)
    assert len(await met.shows(OLENA)) == 1
    assert reason in str((await met.phone(OLENA))["notice"])
    (entry,) = await met.ledger(method="phone")
    assert (entry["accepted"], entry["message_id"]) == (False, str(answer["message_token"]))
    assert answer["message_token"] not in [d["message_token"] for d in met.edge.of("delivered")]


# --- media the phone fetches


async def test_the_phone_fetches_photos_videos_and_files(met: Stage) -> None:
    photo = met.edge.serve("photo.png", _picture(), "image/png")
    await met.send(OLENA, type="picture", text="Дві фарби", media=photo)
    bubble = await met.until_shown(OLENA, "Дві фарби")
    file = bubble["file"]
    assert isinstance(file, dict)
    assert (bubble["kind"], file["mime"], file["width"], file["size"]) == (
        "photo",
        "image/png",
        60,
        len(_picture()),
    )
    async with met.http.get(f"{met.url}{file['url']}") as copy:
        assert await copy.read() == _picture()

    made = await met.act("taras", "messages", kind="video")
    film = b"\0\0\0\x18ftypisom" + bytes(100)
    await met.send(OLENA, type="video", media=met.edge.serve("a.mp4", film), size=len(film), duration=9)
    pdf = met.edge.serve("x", b"%PDF-1.4")
    await met.send(OLENA, type="file", media=pdf, size=8, file_name="рахунок.pdf")
    delivered = await met.edge.until("delivered", 5)
    assert len({callback["message_token"] for callback in delivered}) == 5
    kinds = {b["kind"]: b["file"] for b in await met.shows(OLENA) if "file" in b}
    assert kinds["video"]["duration"] == 9
    assert kinds["document"]["name"] == "рахунок.pdf"
    assert made["provider_id"]


async def test_a_photo_that_loads_slowly_keeps_its_place(met: Stage) -> None:
    photo = met.edge.serve("photo.jpeg", _picture("JPEG"), "image/jpeg")
    await met.send(OLENA, type="picture", text="фото", media=photo)
    await met.send(OLENA, text="підпис")
    await met.until_shown(OLENA, "фото")
    assert [bubble["text"] for bubble in await met.shows(OLENA)] == ["Добрий день", "фото", "підпис"]


@dataclass(frozen=True)
class Media:
    """Media that a phone cannot show, and what it says."""

    name: str
    file: str
    body: bytes
    call: Json
    reason: str


BROKEN = [
    Media("gone", "", b"", {"type": "picture", "text": ""}, "відповіла 404"),
    Media("ending", "a.jpg", _picture("JPEG"), {"type": "picture", "text": ""}, ".jpeg, .png або .gif"),
    Media("no picture", "a.png", b"<html>", {"type": "picture", "text": ""}, "не картинка"),
    Media("webp", "a.png", _picture("WEBP"), {"type": "picture", "text": ""}, "не JPEG"),
    Media("moving", "a.gif", _picture("GIF", frames=3), {"type": "picture", "text": ""}, "не JPEG"),
    Media("big", "a.png", _picture() + bytes(3 << 20), {"type": "picture", "text": ""}, "довший за"),
    Media("empty", "a.png", b"", {"type": "picture", "text": ""}, "порожній файл"),
    Media("not mp4", "a.mp4", b"RIFF" * 9, {"type": "video", "size": 36}, "не відео MP4"),
    Media("mov", "a.mov", b"....ftyp", {"type": "video", "size": 8}, ".mp4"),
    Media("wrong size", "a.mp4", b"....ftyp", {"type": "video", "size": 9}, "size каже 9"),
    Media("program", "a", b"MZ", {"type": "file", "size": 2, "file_name": "a.exe"}, "не приймає"),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
async def test_media_the_phone_cannot_show_fails_later(met: Stage, case: Media) -> None:
    gone = f"{met.url}/nowhere/a.png"
    media = met.edge.serve(case.file, case.body) if case.file else gone
    answer = await met.send(OLENA, **{**case.call, "media": media})
    assert answer["status"] == 0
    await _failed_later(met, answer, case.reason)


async def test_an_address_nobody_answers_fails_later(met: Stage) -> None:
    answer = await met.send(OLENA, type="picture", text="", media="http://127.0.0.1:9/a.png")
    await _failed_later(met, answer, "недоступна для телефона")


# --- what a client sent, at signed addresses


async def test_media_of_a_client_is_had_for_an_hour(viber: Stage) -> None:
    photo: Json = {"base64": "UE5H", "name": "a.png", "mime": "image/png"}
    await viber.act(OLENA, "messages", kind="photo", file=photo)
    (callback,) = await viber.edge.until("message")
    message = callback["message"]
    assert isinstance(message, dict)
    url = str(message["media"])
    assert url.startswith(f"{viber.url}/viber/dl/5/media/")
    assert url.partition("?")[0].endswith(".png")
    timestamp = callback["timestamp"]
    assert isinstance(timestamp, int)
    expires = int(url.partition("Expires=")[2].partition("&")[0])
    assert 3599 <= expires - timestamp / 1000 <= 3601
    async with viber.http.get(url) as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (200, "image/png", b"PNG")
    for broken in (
        url.partition("&Signature")[0],
        url.replace("Expires=", "Expires=1"),
        url.replace("Signature=", "Signature=x"),
    ):
        async with viber.http.get(broken) as answer:
            assert (answer.status, answer.content_type) == (403, "application/xml")
    assert [e["accepted"] for e in await viber.ledger(method="file")] == [True, False, False, False]


async def test_after_its_hour_media_is_gone(viber: Stage) -> None:
    await viber.pace(1000)  # an hour is 3.6 seconds
    await viber.act(OLENA, "messages", kind="file", file={"base64": "UERG", "name": "рахунок.pdf"})
    (callback,) = await viber.edge.until("message")
    url = str(callback["message"]["media"])

    async def denied() -> bool:
        async with viber.http.get(url) as answer:
            assert answer.status in (200, 403)
            return answer.status == 403

    assert not await denied()
    assert await eventually(denied)


async def test_a_download_goes_wrong_as_scripted(viber: Stage) -> None:
    await viber.act(OLENA, "messages", kind="photo")
    (callback,) = await viber.edge.until("message")
    url = str(callback["message"]["media"])
    await viber.faults({"kind": "vanished", "count": 1, "channel_id": CHANNEL}, {"kind": "wrong_type"})
    statuses = []
    for _ in range(2):
        async with viber.http.get(url) as answer:
            statuses.append((answer.status, answer.content_type))
    assert statuses == [(404, "application/xml"), (200, "text/html")]


async def test_several_files_are_messages_of_their_own(viber: Stage) -> None:
    item: Json = {"kind": "photo"}
    receipt = await viber.act(OLENA, "messages", album=[item, item], caption="Дві")
    first, second = await viber.edge.until("message", 2)
    assert [str(c["message_token"]) for c in (first, second)] == receipt["provider_ids"]
    assert [c["message"]["text"] for c in (first, second)] == ["Дві", ""]


async def test_a_sticker_has_a_picture(viber: Stage) -> None:
    await viber.act(OLENA, "messages", sticker_id=153500)
    (callback,) = await viber.edge.until("message")
    async with viber.http.get(callback["message"]["media"]) as answer:
        assert (await answer.read())[1:4] == b"PNG"
    assert (await viber.shows(OLENA))[0]["file"]["mime"] == "image/png"
