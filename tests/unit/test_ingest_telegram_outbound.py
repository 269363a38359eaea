"""Our answers become sendMessage calls: split by Telegram's limit, in its unit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_telegram.outbound import file_name, split_text, to_requests
from ingest_telegram.payloads import (
    CAPTION_MAX_UNITS,
    PHOTO_MAX_BYTES,
    STICKER_MAX_BYTES,
    TEXT_MAX_UNITS,
    UPLOAD_MAX_BYTES,
    FileMethod,
    Request,
    SendAlbum,
    SendFile,
    SendText,
)
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundButton, OutboundMedia, SendMessage
from msgkit.contracts.words import AuthorKind, FailureCode, MessageKind


def order(text: str, **more: Any) -> SendMessage:
    fields: dict[str, Any] = {
        "type": "send.ordered.v1",
        "event_id": "e",
        "tenant_id": "salon",
        "channel_id": "c",
        "channel_kind": "telegram_bot",
        "recorded_at": datetime(2026, 11, 21, tzinfo=UTC),
        "conversation_id": "v",
        "contact_key": "6021557731",
        "message_id": "m",
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


def button(action: str, value: str = "v") -> OutboundButton:
    return OutboundButton.model_validate({"text": action, "action": action, "value": value})


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def media(kind: str = "image", mime: str = "image/jpeg", **more: Any) -> OutboundMedia:
    fields: dict[str, Any] = {
        "attachment_id": "a",
        "key": "00/11/22",
        "kind": MessageKind(kind),
        "name": "файл",
        "mime": mime,
        "size_bytes": 1000,
        "width": 1280,
        "height": 960,
        "duration_s": None,
    }
    return OutboundMedia(**{**fields, **more})


PHOTO = media()
VIDEO = media("video", "video/mp4")
DOCUMENT = media("file", "application/pdf")
SONG = media("audio", "audio/mpeg")
VOICE = media("voice", "audio/ogg")
STICKER = media("sticker", "image/webp")


def shape(requests: list[Request]) -> list[Any]:
    """Each request in a word: a text, how a file goes, or the ways of an album."""
    found: list[Any] = []
    for request in requests:
        match request:
            case SendText():
                found.append(request.text)
            case SendFile():
                found.append(request.file.method.value)
            case SendAlbum():
                found.append([file.method.value for file in request.files])
    return found


def captions(requests: list[Request]) -> list[str]:
    files = [
        file
        for request in requests
        if not isinstance(request, SendText)
        for file in (request.files if isinstance(request, SendAlbum) else [request.file])
    ]
    return [file.caption for file in files]


def test_short_text_is_one_call_without_markup() -> None:
    (call,) = to_requests(order("*Добрий* _день_ <b>"))
    assert isinstance(call, SendText)
    assert (call.chat_id, call.text, call.reply_markup) == (6021557731, "*Добрий* _день_ <b>", None)


def test_limit_counts_utf16_units() -> None:
    assert split_text("ї" * TEXT_MAX_UNITS) == ["ї" * TEXT_MAX_UNITS], "Cyrillic is one unit a letter"
    assert [units(part) for part in split_text("👋" * TEXT_MAX_UNITS)] == [TEXT_MAX_UNITS, TEXT_MAX_UNITS]
    assert [units(part) for part in split_text("a" + "👋" * 2048)] == [4095, 2], "a pair is not cut"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("один два\n\nтри", ["один два", "три"]),
        ("один а\nбв три", ["один а", "бв три"]),
        ("один два три", ["один два", "три"]),
        ("одинодинодин", ["одинодинод", "ин"]),
        ("десятьлітр x", ["десятьлітр", "x"]),
        ("  з країв  ", ["з країв"]),
        ("а\n\n\n\n\n\n\n\n\n\n\n\nб", ["а", "б"]),
        (" \n ", []),
        ("", []),
    ],
)
def test_cut_is_at_the_best_border(text: str, parts: list[str]) -> None:
    assert split_text(text, max_units=10) == parts


@given(st.text(alphabet="ab їє\n\t👋💇🏽", max_size=300), st.integers(min_value=2, max_value=40))
def test_parts_fit_are_never_empty_and_keep_every_visible_character(text: str, max_units: int) -> None:
    parts = split_text(text, max_units)
    assert all(part and part == part.strip() and units(part) <= max_units for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_buttons_stand_on_the_last_part_and_the_reply_mark_on_the_first() -> None:
    calls = to_requests(
        order("а " * 4096, buttons=[[button("reply"), button("share_phone")]], reply_to_provider_id="41")
    )
    assert len(calls) == 2
    assert [call.reply_to_message_id for call in calls] == [41, None]
    assert calls[0].reply_markup is None
    assert calls[1].reply_markup == {
        "keyboard": [[{"text": "reply"}, {"text": "share_phone", "request_contact": True}]],
        "resize_keyboard": True,
        "one_time_keyboard": True,
    }


@pytest.mark.parametrize(
    ("file", "method"),
    [
        (PHOTO, FileMethod.PHOTO),
        (media(mime="image/png", size_bytes=PHOTO_MAX_BYTES), FileMethod.PHOTO),
        (media(mime="image/png", size_bytes=PHOTO_MAX_BYTES + 1), FileMethod.DOCUMENT),
        (media(width=5000, height=5000), FileMethod.PHOTO),
        (media(width=5001, height=5000), FileMethod.DOCUMENT),
        (media(width=2000, height=100), FileMethod.PHOTO),
        (media(width=2001, height=100), FileMethod.DOCUMENT),
        (media(width=None, height=None), FileMethod.DOCUMENT),
        (media(mime="image/heic"), FileMethod.DOCUMENT),
        (media(mime="image/gif"), FileMethod.ANIMATION),
        (VIDEO, FileMethod.VIDEO),
        (media("video", "video/quicktime"), FileMethod.DOCUMENT),
        (SONG, FileMethod.AUDIO),
        (media("audio", "audio/wav"), FileMethod.DOCUMENT),
        (VOICE, FileMethod.VOICE),
        (media("voice", "audio/mp4"), FileMethod.AUDIO),
        (media("voice", "audio/webm"), FileMethod.DOCUMENT),
        (STICKER, FileMethod.STICKER),
        (media("sticker", "image/webp", size_bytes=STICKER_MAX_BYTES + 1), FileMethod.PHOTO),
        (media("file", "image/jpeg"), FileMethod.DOCUMENT),
        (media("file", "image/svg+xml"), FileMethod.DOCUMENT),
    ],
)
def test_file_goes_as_what_telegram_shows_it_as(file: OutboundMedia, method: FileMethod) -> None:
    assert shape(to_requests(order("", media=[file]))) == [method.value]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([PHOTO, VIDEO, PHOTO], [["photo", "video", "photo"]]),
        ([DOCUMENT, DOCUMENT], [["document", "document"]]),
        ([SONG, SONG], [["audio", "audio"]]),
        ([PHOTO, DOCUMENT, PHOTO], ["photo", "document", "photo"]),
        ([DOCUMENT, SONG], ["document", "audio"]),
        ([VOICE, VOICE], ["voice", "voice"]),
        ([STICKER, PHOTO, PHOTO], ["sticker", ["photo", "photo"]]),
        ([PHOTO] * 11, [["photo"] * 10, "photo"]),
        ([PHOTO] * 12, [["photo"] * 10, ["photo"] * 2]),
    ],
)
def test_neighbours_that_may_stand_together_are_an_album(
    files: list[OutboundMedia], expected: list[Any]
) -> None:
    assert shape(to_requests(order("", media=files))) == expected


def test_text_is_the_caption_while_it_fits_there() -> None:
    fits, too_long = "👋" * (CAPTION_MAX_UNITS // 2), "👋" * (CAPTION_MAX_UNITS // 2 + 1)
    alone = to_requests(order(fits, media=[PHOTO]))
    assert (shape(alone), captions(alone)) == (["photo"], [fits])
    album = to_requests(order(f" {fits}\n", media=[PHOTO, VIDEO]))
    assert (shape(album), captions(album)) == ([["photo", "video"]], [fits, ""])
    after = to_requests(order(too_long, media=[PHOTO, VIDEO]))
    assert (shape(after), captions(after)) == ([["photo", "video"], too_long], ["", ""])
    sticker = to_requests(order("Дякуємо", media=[STICKER]))
    assert shape(sticker) == ["sticker", "Дякуємо"], "a sticker has no caption"


def test_buttons_of_an_answer_with_files_stand_on_its_last_message() -> None:
    keys = [[button("callback")]]

    def marked(message: SendMessage) -> tuple[list[Any], list[bool]]:
        requests = to_requests(message)
        return shape(requests), [request.reply_markup is not None for request in requests]

    assert marked(order("Так?", media=[PHOTO], buttons=keys)) == (["photo"], [True])
    assert marked(order("Так?", media=[PHOTO, PHOTO], buttons=keys)) == (
        [["photo", "photo"], "Так?"],
        [False, True],
    )
    assert marked(order("", media=[PHOTO, PHOTO, PHOTO], buttons=keys)) == (
        [["photo", "photo"], "photo"],
        [False, True],
    )
    assert marked(order("", media=[PHOTO, PHOTO], buttons=keys)) == (["photo", "photo"], [False, True])
    long = "а" * (CAPTION_MAX_UNITS + 1)
    assert marked(order(long, media=[PHOTO], buttons=keys)) == (["photo", long], [False, True])


def test_reply_mark_stands_on_the_first_message_whatever_it_is() -> None:
    requests = to_requests(order("а" * 2000, media=[PHOTO, PHOTO], reply_to_provider_id="41"))
    assert [request.reply_to_message_id for request in requests] == [41, None]
    (pressed,) = to_requests(order("Так", reply_to_provider_id="press:2586135412345678901"))
    assert pressed.reply_to_message_id is None, "a press is no message one can answer to"


@pytest.mark.parametrize(
    ("claimed", "safe"),
    [
        ("рахунок 5.pdf", "рахунок 5.pdf"),
        ('a"b\r\nContent-Type: text/html\r\n.pdf', "a_b_Content-Type_ text_html_.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("...", "file"),
        ("", "file"),
        ("і" * 300 + ".jpeg", "і" * 195 + ".jpeg"),
        ("і" * 300, "і" * 200),
    ],
)
def test_name_of_a_file_cannot_break_the_form(claimed: str, safe: str) -> None:
    assert file_name(claimed) == safe


def test_inline_buttons() -> None:
    (call,) = to_requests(order("?", buttons=[[button("callback", "c:1"), button("url", "https://a.ua")]]))
    assert call.reply_markup == {
        "inline_keyboard": [
            [{"text": "callback", "callback_data": "c:1"}, {"text": "url", "url": "https://a.ua"}]
        ]
    }


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (order("\n \n"), FailureCode.REJECTED),
        (order("x", contact_key="@olena"), FailureCode.RECIPIENT_UNAVAILABLE),
        (order("x", buttons=[[button("reply"), button("url")]]), FailureCode.UNSUPPORTED_KIND),
        (order("x", buttons=[[button("callback", "ї" * 33)]]), FailureCode.TOO_LONG),
        (order("x", buttons=[[button("callback", "")]]), FailureCode.REJECTED),
        (order("x", buttons=[[button("url", "javascript:alert(1)")]]), FailureCode.REJECTED),
        (order("x", media=[media(size_bytes=UPLOAD_MAX_BYTES + 1)]), FailureCode.FILE_TOO_BIG),
        (order("x", media=[media("file", "a/b", size_bytes=0)]), FailureCode.REJECTED),
    ],
)
def test_what_telegram_would_never_take_is_rejected_at_once(message: SendMessage, code: FailureCode) -> None:
    with pytest.raises(MessageRejected) as caught:
        to_requests(message)
    assert caught.value.code is code
