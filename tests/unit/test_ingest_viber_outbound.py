"""Our answers become send_message calls: split by characters and by bytes, files as the phone takes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_viber import payloads, tracking
from ingest_viber.bodies import to_body, to_bytes, wire_bytes
from ingest_viber.keyboards import read_press
from ingest_viber.outbound import split_text, to_requests
from ingest_viber.payloads import FileKind, Request
from msgkit.connector.contract import Account
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundButton, OutboundMedia, SendMessage
from msgkit.contracts.words import AuthorKind, FailureCode, MessageKind

OLENA = "5h2COTj83ZE6IAsIcTEVGw=="
URL = "https://chat.example.com/m/" + "s" * 300 + "/file.pdf"
ACCOUNT = Account(
    channel_id="c" * 32,
    tenant_id="salon",
    kind="viber_bot",
    account_id="pa:5000000000000000001",
    account_name="Салон краси «Ромашка» на Подолі",
    api_base=None,
    state="active",
    problem=None,
    paused_until=None,
    credentials={"token": "44b935abea139fd6-53fa53b32559c4a6-12dbd3d883b06835"},
    webhook_secret="s3cret",
)


def order(text: str = "", **more: Any) -> SendMessage:
    fields: dict[str, Any] = {
        "type": "send.ordered.v1",
        "event_id": "e",
        "tenant_id": "salon",
        "channel_id": "c",
        "channel_kind": "viber_bot",
        "recorded_at": datetime(2026, 11, 21, tzinfo=UTC),
        "conversation_id": "v",
        "contact_key": OLENA,
        "message_id": "d" * 32,
        "out_seq": 1,
        "author_kind": AuthorKind.OPERATOR,
        "client_wrote_at": None,
        "text": text,
        "media": [],
        "buttons": [],
        "reply_to_provider_id": None,
        "place": None,
        "shared_contact": None,
        "template": None,
        "is_reaction": False,
    }
    return SendMessage(**{**fields, **more})


def button(action: str, text: str = "Кнопка", value: str = "v") -> OutboundButton:
    return OutboundButton.model_validate({"text": text, "action": action, "value": value})


def media(
    kind: str = "image", mime: str = "image/jpeg", name: str = "photo.jpg", **more: Any
) -> OutboundMedia:
    fields: dict[str, Any] = {
        "attachment_id": "a" * 32,
        "key": "aa/bb/" + "c" * 32,
        "kind": MessageKind(kind),
        "name": name,
        "mime": mime,
        "size_bytes": 10_000,
        "width": 100,
        "height": 100,
        "duration_s": None,
    }
    return OutboundMedia(**{**fields, **more})


def plan(text: str = "", **more: Any) -> list[Request]:
    return to_requests(order(text, **more), ACCOUNT)


def body(request: Request) -> dict[str, Any]:
    return dict(json.loads(to_bytes(to_body(request, None if request.file is None else URL))))


def refused(**more: Any) -> MessageRejected:
    with pytest.raises(MessageRejected) as caught:
        plan(**more)
    return caught.value


# --- text


def test_text_says_who_to_whom_and_what_comes_back() -> None:
    (request,) = plan("Добрий день")
    said = body(request)
    assert (said["receiver"], said["type"], said["text"]) == (OLENA, "text", "Добрий день")
    assert said["sender"]["name"] == "Салон краси «Ромашка» на Подолі"[:28]
    assert said["tracking_data"].startswith("m." + "d" * 32)
    assert "keyboard" not in said
    assert "min_api_version" not in said


@given(
    text=st.text(st.sampled_from('аa💇" \n\x01\\'), min_size=1, max_size=60).map(lambda part: part * 400),
)
def test_every_part_fits_in_characters_and_in_bytes(text: str) -> None:
    if not text.strip():
        return
    parts = plan(text)
    assert all(len(part.text) <= payloads.TEXT_MAX_CHARS for part in parts)
    assert all(len(to_bytes(to_body(part))) <= payloads.BODY_MAX_BYTES for part in parts)
    assert "".join("".join(part.text for part in parts).split()) == "".join(text.split())


def test_bytes_split_what_characters_would_not() -> None:
    assert len(plan("ж" * 7000)) == 1
    assert len(plan("💇" * 7000)) == 1
    first, second = plan("\x01" * 7000)
    assert 29_990 <= len(to_bytes(to_body(first))) <= payloads.BODY_MAX_BYTES
    assert len(first.text) + len(second.text) == 7000
    assert wire_bytes('а"\n💇\x01') == 2 + 2 + 2 + 4 + 6


def test_text_is_cut_at_paragraphs_lines_and_words() -> None:
    assert split_text("aaaa bbbb cccc", max_chars=10) == ["aaaa bbbb", "cccc"]
    assert split_text("aaaaaa\nbb cc", max_chars=10) == ["aaaaaa", "bb cc"]
    assert split_text("aaaaa b\n\ncc dd", max_chars=10) == ["aaaaa b", "cc dd"]
    assert split_text("  ", max_chars=10) == []


def test_nothing_to_say_is_refused() -> None:
    assert "напишіть текст" in refused(text="  \n").text


# --- files


@pytest.mark.parametrize(
    ("file", "kind", "address"),
    [
        (media(), FileKind.PICTURE, "picture.jpeg"),
        (media(mime="image/png", name="x"), FileKind.PICTURE, "picture.png"),
        (media(kind="sticker", mime="image/png"), FileKind.PICTURE, "picture.png"),
        (media(size_bytes=payloads.PICTURE_MAX_BYTES), FileKind.PICTURE, "picture.jpeg"),
        (media(size_bytes=payloads.PICTURE_MAX_BYTES + 1), FileKind.FILE, "file.jpg"),
        (media(mime="image/gif", name="a.gif"), FileKind.FILE, "file.gif"),
        (media(mime="image/webp", name="a.webp"), FileKind.FILE, "file.webp"),
        (media("video", "video/mp4", "v.mp4", duration_s=12.4), FileKind.VIDEO, "video.mp4"),
        (media("video", "video/mp4", "v.mp4", duration_s=180.0), FileKind.VIDEO, "video.mp4"),
        (media("video", "video/mp4", "v.mp4", duration_s=180.1), FileKind.FILE, "file.mp4"),
        (media("video", "video/mp4", "v.mp4", duration_s=None), FileKind.FILE, "file.mp4"),
        (media("video", "video/mp4", "v", duration_s=9.0, size_bytes=26_000_001), FileKind.FILE, "file.mp4"),
        (media("video", "video/quicktime", "v.mov", duration_s=9.0), FileKind.FILE, "file.mov"),
        (media("voice", "audio/ogg", "голос.ogg", duration_s=3.0), FileKind.FILE, "file.ogg"),
        (media("audio", "audio/mpeg", "пісня.mp3"), FileKind.FILE, "file.mp3"),
        (media("file", "image/jpeg", "скан.jpg"), FileKind.FILE, "file.jpg"),
        (media("file", "application/octet-stream", "без кінця"), FileKind.FILE, "file.dat"),
        (media("file", "application/x-odd", "дані.дані"), FileKind.FILE, "file.dat"),
    ],
)  # fmt: skip
def test_file_goes_as_the_phone_takes_it(file: OutboundMedia, kind: FileKind, address: str) -> None:
    (request,) = plan(media=[file])
    assert request.file is not None
    assert (request.file.kind, request.file.address_name) == (kind, address)
    assert "." in request.file.name
    assert body(request)["type"] == kind.value


def test_body_of_each_kind() -> None:
    picture = body(plan("Підпис", media=[media()])[0])
    assert (picture["media"], picture["text"]) == (URL, "Підпис")
    video = body(plan(media=[media("video", "video/mp4", "v.mp4", duration_s=12.6)])[0])
    assert (video["media"], video["size"], video["duration"]) == (URL, 10_000, 13)
    file = body(plan(media=[media("file", "application/pdf", "Рахунок №7.pdf")])[0])
    assert (file["media"], file["size"], file["file_name"]) == (URL, 10_000, "Рахунок №7.pdf")


def test_caption_is_short_and_of_one_picture_only() -> None:
    assert len(plan("ж" * 512, media=[media()])) == 1
    assert [part.text for part in plan("ж" * 513, media=[media()])] == ["", "ж" * 513]
    assert [part.text for part in plan("три", media=[media(), media()])] == ["", "", "три"]
    pdf = media("file", "application/pdf", "a.pdf")
    assert [part.text for part in plan("файл", media=[pdf])] == ["", "файл"]


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (media("file", size_bytes=payloads.FILE_MAX_BYTES + 1), FailureCode.FILE_TOO_BIG),
        (media("file", size_bytes=0), FailureCode.REJECTED),
        (media("file", "application/octet-stream", "setup.exe"), FailureCode.UNSUPPORTED_KIND),
        (media("file", "application/octet-stream", "a.BAT"), FailureCode.UNSUPPORTED_KIND),
    ],
)
def test_file_viber_would_not_take_is_refused_before(file: OutboundMedia, code: FailureCode) -> None:
    assert refused(media=[file]).code is code


def test_odd_names_are_made_harmless_and_keep_their_ending() -> None:
    (request,) = plan(media=[media("file", "application/pdf", "../\u202e" + "ж" * 300 + ".pdf")])
    assert request.file is not None
    name = request.file.name
    assert len(name) <= payloads.FILE_NAME_MAX_CHARS
    assert name.endswith("жж.pdf")
    assert not {"/", "\u202e"} & set(name)


# --- keyboards


def buttons_of(request: Request) -> list[dict[str, Any]]:
    keyboard = body(request)["keyboard"]
    assert keyboard["Type"] == "keyboard"
    return list(keyboard["Buttons"])


def test_keyboard_is_on_the_last_part_alone() -> None:
    rows = [[button("share_phone")]]
    first, last = plan("ж" * 600, media=[media()], buttons=rows)
    assert first.keyboard is None
    assert first.min_api_version == 1
    assert (last.min_api_version, len(buttons_of(last))) == (3, 1)
    assert not tracking.read(ACCOUNT, OLENA, first.tracking).phone_asked
    assert tracking.read(ACCOUNT, OLENA, last.tracking).phone_asked


def test_each_button_in_vibers_words() -> None:
    rows = [
        [button("reply", "Так & <ні>"), button("url", "Сайт", "https://a.ua/x?a=1")],
        [button("share_phone", "Номер"), button("share_location", "Місце")],
        [button("callback", "Ціни", "cmd:price")],
    ]
    reply, url, phone, place, callback = buttons_of(plan("Оберіть", buttons=rows)[0])
    assert (reply["ActionType"], reply["ActionBody"]) == ("reply", "Так & <ні>")
    assert reply["Text"] == "Так &amp; &lt;ні&gt;"
    assert (url["ActionType"], url["ActionBody"]) == ("open-url", "https://a.ua/x?a=1")
    assert phone["ActionType"] == "share-phone"
    assert place["ActionType"] == "location-picker"
    assert (callback["ActionType"], callback["Silent"]) == ("reply", True)
    press = read_press(callback["ActionBody"], ACCOUNT, OLENA)
    assert press is not None
    assert (press.title, press.value) == ("Ціни", "cmd:price")
    assert body(plan("Оберіть", buttons=rows[:1])[0]).get("min_api_version") is None


@pytest.mark.parametrize(
    ("count", "columns"),
    [
        (1, [6]),
        (2, [3, 3]),
        (3, [2, 2, 2]),
        (4, [3, 3, 3, 3]),
        (5, [2, 2, 2, 3, 3]),
        (6, [2] * 6),
        (7, [2, 2, 2, 3, 3, 3, 3]),
    ],
)
def test_rows_fill_six_columns(count: int, columns: list[int]) -> None:
    rows = [[], [button("reply", str(n)) for n in range(count)]]
    found = [shown["Columns"] for shown in buttons_of(plan("Оберіть", buttons=rows)[0])]
    assert found == columns
    assert sum(found) % payloads.KEYBOARD_COLUMNS == 0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[button("reply", " ")]], "додайте текст"),
        ([[button("url", "Сайт", "javascript:alert(1)")]], "https://"),
        ([[button("callback", "Ні", "")]], "задайте"),
        ([[button("reply")]] * 13, "Залиште менше"),
        ([[button("url", "Сайт", "https://a.ua/" + "x" * 238)]], "найбільше 250"),
        ([[button("callback", "Так", "v" * 218)]], "найбільше 217"),
        ([[button("callback", "Так, " * 20, "v" * 201)]], "найбільше 200"),
    ],
)
def test_button_viber_would_not_take_is_refused_before(rows: list[list[OutboundButton]], words: str) -> None:
    assert words in refused(text="Оберіть", buttons=rows).text


@pytest.mark.parametrize(("title", "value"), [("Так", "v" * 217), ("ж" * 100, "v" * 200), ("ж" * 250, "v")])
def test_body_of_a_button_keeps_its_value_and_shortens_its_title(title: str, value: str) -> None:
    (shown,) = buttons_of(plan("Оберіть", buttons=[[button("callback", title, value)]])[0])
    assert len(shown["ActionBody"]) <= payloads.BUTTON_BODY_MAX_CHARS
    assert shown["Text"] == title
    press = read_press(shown["ActionBody"], ACCOUNT, OLENA)
    assert press is not None
    assert press.value == value
    assert press.title == title or (press.title.endswith("…") and title.startswith(press.title[:-1]))


def test_text_leaves_room_for_its_keyboard() -> None:
    rows = [[button("callback", "ж" * 250, "v" * 150)]] * 6
    parts = plan("💇" * 7000, buttons=rows)
    assert len(parts) == 2
    assert all(len(to_bytes(to_body(part))) <= payloads.BODY_MAX_BYTES for part in parts)
