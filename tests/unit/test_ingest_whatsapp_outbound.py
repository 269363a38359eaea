"""Our answers become calls of `/messages`: texts, files, places, cards, reactions, buttons, templates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_whatsapp.bodies import Request, to_body, to_recipient
from ingest_whatsapp.files import FileKind
from ingest_whatsapp.keyboards import read_reply_id, to_reply_id
from ingest_whatsapp.outbound import split_text, to_requests
from msgkit.connector.contract import Account, send_mark
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import (
    OrderedTemplate,
    OutboundButton,
    OutboundMedia,
    Place,
    SendMessage,
    SharedContact,
    TemplateValue,
)
from msgkit.contracts.words import AuthorKind, FailureCode, MessageKind

PHONE = "380671234567"
BSUID = "UA.13491208655302741918"
MESSAGE_ID = "d" * 32
ACCOUNT = Account(
    channel_id="c" * 32,
    tenant_id="salon",
    kind="whatsapp",
    account_id="106540352242922",
    account_name="Ромашка",
    api_base=None,
    state="active",
    problem=None,
    paused_until=None,
    credentials={"phone_number_id": "106540352242922", "waba_id": "1022", "access_token": "EAAGtoken"},
    webhook_secret="s3cret",
)


def order(text: str = "", **more: Any) -> SendMessage:
    fields: dict[str, Any] = {
        "type": "send.ordered.v1",
        "event_id": "e",
        "tenant_id": "salon",
        "channel_id": "c",
        "channel_kind": "whatsapp",
        "recorded_at": datetime(2026, 11, 21, tzinfo=UTC),
        "conversation_id": "v",
        "contact_key": f"phone:{PHONE}",
        "message_id": MESSAGE_ID,
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


def button(text: str = "Так", value: str = "yes", action: str = "callback") -> OutboundButton:
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


def one(text: str = "", **more: Any) -> dict[str, Any]:
    (request,) = plan(text, **more)
    return to_body(request, "777")


def rejected(code: FailureCode = FailureCode.REJECTED, text: str = "", **more: Any) -> str:
    with pytest.raises(MessageRejected) as caught:
        plan(text, **more)
    assert caught.value.code is code
    return caught.value.text


# --- to whom


def test_text_to_a_phone() -> None:
    assert one("Добрий день") == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": PHONE,
        "type": "text",
        "text": {"body": "Добрий день"},
        "biz_opaque_callback_data": send_mark(MESSAGE_ID, 0),
    }


@pytest.mark.parametrize("address", [f"bsuid:{BSUID}", BSUID, f"phone:{BSUID}"])
def test_user_id_never_stands_in_to(address: str) -> None:
    body = one("Добрий день", contact_key=address)
    assert body["recipient"] == BSUID
    assert "to" not in body


@pytest.mark.parametrize("address", [f"phone:{PHONE}", PHONE, f"phone:+{PHONE}"])
def test_phone_is_its_digits(address: str) -> None:
    assert to_recipient(address) == {"to": PHONE}


@pytest.mark.parametrize(
    "address", ["", "phone:", "bsuid:", "phone:12", "olena", "bsuid:UA.ENT.123", "phone:38 067"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    rejected(FailureCode.RECIPIENT_UNAVAILABLE, "x", contact_key=address)


# --- text


def test_link_has_a_preview() -> None:
    assert one("Дивіться https://x.io")["text"]["preview_url"] is True
    assert "preview_url" not in one("Дивіться x")["text"]


def test_long_text_goes_in_parts_with_a_mark_each_and_one_reply() -> None:
    text = "\n\n".join(["слово " * 300] * 4)
    requests = plan(text, reply_to_provider_id="wamid.IN1")
    assert len(requests) == 2
    assert [request.mark for request in requests] == [send_mark(MESSAGE_ID, 0), send_mark(MESSAGE_ID, 1)]
    bodies = [to_body(request) for request in requests]
    assert bodies[0]["context"] == {"message_id": "wamid.IN1"}
    assert "context" not in bodies[1]
    assert all(len(body["text"]["body"]) <= 4096 for body in bodies)


@given(text=st.text(max_size=300), max_chars=st.integers(min_value=2, max_value=40))
def test_no_part_is_too_long_and_no_word_is_lost(text: str, max_chars: int) -> None:
    parts = split_text(text, max_chars)
    assert all(0 < len(part) <= max_chars for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_text_at_the_limit_is_one_part() -> None:
    assert len(split_text("💇" * 4096)) == 1
    assert [len(part) for part in split_text("💇" * 4097)] == [4096, 1]


@pytest.mark.parametrize("text", ["", " \n "])
def test_nothing_to_say_is_refused(text: str) -> None:
    assert "напишіть" in rejected(text=text)


# --- files


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (media(), FileKind.IMAGE),
        (media(mime="image/png"), FileKind.IMAGE),
        (media(size_bytes=5_000_001), FileKind.DOCUMENT),
        (media(mime="image/gif", name="a.gif"), FileKind.DOCUMENT),
        (media(mime="image/webp"), FileKind.DOCUMENT),
        (media("file"), FileKind.DOCUMENT),
        (media("sticker", "image/webp"), FileKind.STICKER),
        (media("sticker", "image/webp", size_bytes=100_001), FileKind.DOCUMENT),
        (media("sticker", "image/png"), FileKind.IMAGE),
        (media("video", "video/mp4"), FileKind.VIDEO),
        (media("video", "video/mp4", size_bytes=16_000_001), FileKind.DOCUMENT),
        (media("video", "video/quicktime"), FileKind.DOCUMENT),
        (media("video", "video/webm"), FileKind.DOCUMENT),
        (media("audio", "audio/mpeg"), FileKind.AUDIO),
        (media("audio", "audio/ogg", "song.ogg"), FileKind.DOCUMENT),
        (media("audio", "audio/ogg", "note.opus"), FileKind.AUDIO),
        (media("audio", "audio/ogg; codecs=opus"), FileKind.AUDIO),
        (media("audio", "audio/wav"), FileKind.DOCUMENT),
        (media("voice", "audio/ogg"), FileKind.AUDIO),
        (media("voice", "audio/mp4"), FileKind.AUDIO),
        (media("voice", "video/webm"), FileKind.DOCUMENT),
        (media("file", "application/pdf", "рахунок.pdf"), FileKind.DOCUMENT),
        (media("file", "application/zip", "усе.zip"), FileKind.DOCUMENT),
        (media("file", "application/octet-stream", "ціни.csv"), FileKind.DOCUMENT),
        (media("file", "application/octet-stream", "угода.DOC"), FileKind.DOCUMENT),
        (media("file", "application/octet-stream", "що це"), FileKind.DOCUMENT),
        (media("file", "text/csv", "ціни.csv"), FileKind.DOCUMENT),
        (media("file", "application/pdf", size_bytes=100_000_000), FileKind.DOCUMENT),
    ],
)
def test_file_goes_as_what_the_phone_can_show(file: OutboundMedia, kind: FileKind) -> None:
    (request,) = plan(media=[file])
    assert request.file is not None
    assert (request.file.kind, request.type) == (kind, kind.value)


def test_image_carries_a_short_caption() -> None:
    body = one("Стало", media=[media()])
    assert body["image"] == {"id": "777", "caption": "Стало"}


def test_document_carries_its_name() -> None:
    body = one("Ваш рахунок", media=[media("file", "application/pdf", "рахунок.pdf")])
    assert body["document"] == {"id": "777", "filename": "рахунок.pdf", "caption": "Ваш рахунок"}


def test_voice_says_that_it_is_one() -> None:
    assert one(media=[media("voice", "audio/ogg")])["audio"] == {"id": "777", "voice": True}
    assert one(media=[media("audio", "audio/mpeg")])["audio"] == {"id": "777"}


@pytest.mark.parametrize(
    ("text", "files"),
    [("x" * 1025, [media()]), ("Слухайте", [media("audio", "audio/mpeg")]), ("Обидва", [media(), media()])],
)
def test_what_cannot_be_a_caption_follows_as_a_text(text: str, files: list[OutboundMedia]) -> None:
    requests = plan(text, media=files)
    assert [request.type for request in requests][-1] == "text"
    assert requests[-1].said == text
    assert all("caption" not in request.content for request in requests[:-1])


def test_file_that_is_too_big_or_empty_is_refused() -> None:
    assert "100 МБ" in rejected(FailureCode.FILE_TOO_BIG, media=[media(size_bytes=100_000_001)])
    rejected(media=[media(size_bytes=0)])


# --- place, card, reaction


def test_place_and_card_go_on_their_own() -> None:
    place = Place(latitude=50.45, longitude=30.52, title="Салон", address=None)
    card = SharedContact(name="Олена Коваль", phone="+380671234567", is_own=False)
    requests = plan("Ми тут", place=place, shared_contact=card)
    assert [request.type for request in requests] == ["location", "contacts", "text"]
    assert to_body(requests[0])["location"] == {"latitude": 50.45, "longitude": 30.52, "name": "Салон"}
    assert to_body(requests[1])["contacts"] == [
        {
            "name": {"formatted_name": "Олена Коваль", "first_name": "Олена"},
            "phones": [{"phone": "+380671234567", "type": "CELL"}],
        }
    ]


def test_card_without_a_name_is_named_by_its_number() -> None:
    card = SharedContact(name=" ", phone="+380671234567", is_own=False)
    assert one(shared_contact=card)["contacts"][0]["name"]["formatted_name"] == "+380671234567"


@pytest.mark.parametrize("sign", ["👍", ""])
def test_reaction_has_no_context(sign: str) -> None:
    body = one(sign, is_reaction=True, reply_to_provider_id="wamid.IN1")
    assert body["reaction"] == {"message_id": "wamid.IN1", "emoji": sign}
    assert "context" not in body
    assert "повідомлення" in rejected(text="👍", is_reaction=True)


# --- buttons


def test_up_to_three_stand_under_the_message() -> None:
    rows = [[button("Так", "yes"), button("Ні", "no")], [button("Пізніше", "", "reply")]]
    interactive = one("Записати вас?", buttons=rows)["interactive"]
    assert interactive["type"] == "button"
    assert interactive["body"] == {"text": "Записати вас?"}
    assert interactive["action"]["buttons"] == [
        {"type": "reply", "reply": {"id": "rz0:yes", "title": "Так"}},
        {"type": "reply", "reply": {"id": "rz1:no", "title": "Ні"}},
        {"type": "reply", "reply": {"id": "rz2", "title": "Пізніше"}},
    ]


def test_more_are_a_list_with_the_whole_title_below() -> None:
    long = "Манікюр із покриттям гель-лаком і дизайном"
    interactive = one(
        "Що робимо?", buttons=[[button(f"Послуга {n}", str(n))] for n in range(9)] + [[button(long)]]
    )["interactive"]
    assert interactive["type"] == "list"
    assert len(interactive["action"]["button"]) <= 20
    (section,) = interactive["action"]["sections"]
    assert len(section["rows"]) == 10
    assert all(len(row["title"]) <= 24 and len(row["id"]) <= 200 for row in section["rows"])
    assert section["rows"][-1]["description"] == long
    assert section["rows"][-1]["title"] == "Манікюр із покриттям…"
    assert "description" not in section["rows"][0]


def test_titles_that_would_read_the_same_make_a_list() -> None:
    rows = [[button("Запис до майстра Олени на ранок", "a"), button("Запис до майстра Олени на вечір", "b")]]
    assert one("Коли?", buttons=rows)["interactive"]["type"] == "list"


def test_same_value_twice_has_two_ids() -> None:
    replies = one("?", buttons=[[button("А", "x"), button("Б", "x")]])["interactive"]["action"]["buttons"]
    assert [read_reply_id(reply["reply"]["id"]) for reply in replies] == ["x", "x"]
    assert len({reply["reply"]["id"] for reply in replies}) == 2


def test_too_many_odd_or_too_long_buttons_are_refused_by_name() -> None:
    assert "10" in rejected(text="?", buttons=[[button(str(n))] for n in range(11)])
    assert "напису" in rejected(text="?", buttons=[[button(" ")]])
    assert "значення" in rejected(text="?", buttons=[[button(value="")]])
    assert "«Так»" in rejected(FailureCode.TOO_LONG, "?", buttons=[[button(value="x" * 253)]])
    assert one("?", buttons=[[button(value="x" * 252)]])["interactive"]["type"] == "button"
    assert "196" in rejected(
        FailureCode.TOO_LONG, "?", buttons=[[button(str(n), "x" * 197)] for n in range(4)]
    )


def test_address_stands_in_the_text() -> None:
    site = button("Сайт", "https://x.io", "url")
    assert one("Дивіться", buttons=[[site]])["text"]["body"] == "Дивіться\n\nСайт: https://x.io"
    mixed = one("Дивіться", buttons=[[site, button()]])["interactive"]
    assert mixed["body"]["text"] == "Дивіться\n\nСайт: https://x.io"
    assert len(mixed["action"]["buttons"]) == 1
    assert "https://" in rejected(text="?", buttons=[[button("Сайт", "javascript:x", "url")]])


def test_number_is_asked_for_by_a_button_of_its_own() -> None:
    share = button("Мій номер", "", "share_phone")
    assert one("Ваш номер?", buttons=[[share]])["interactive"] == {
        "type": "request_contact_info",
        "body": {"text": "Ваш номер?"},
        "action": {"name": "request_contact_info"},
    }
    mixed = one("Ваш номер?", buttons=[[share, button()]])["interactive"]
    assert mixed["type"] == "button"
    assert "Мій номер" in mixed["body"]["text"]


def test_place_is_asked_for_in_words() -> None:
    share = button("Де ви?", "", "share_location")
    assert "Де ви?" in one("Приїдемо", buttons=[[share]])["text"]["body"]


def test_buttons_stand_on_the_last_part_with_the_end_of_the_text() -> None:
    text = "\n\n".join(f"Абзац {n}. " + "слово " * 60 for n in range(16))
    requests = plan(text, buttons=[[button()]], media=[media()], reply_to_provider_id="wamid.IN1")
    assert [request.type for request in requests] == ["image", "text", "text", "interactive"]
    assert requests[0].reply_to == "wamid.IN1"
    assert 0 < len(requests[-1].said) <= 1024
    joined = "".join("".join(request.said for request in requests).split())
    assert joined == "".join(text.split())


def test_buttons_without_a_text_have_one() -> None:
    assert one(buttons=[[button()]])["interactive"]["body"]["text"]
    assert [request.type for request in plan("x" * 2000, buttons=[[button()]])] == ["text", "interactive"]


@given(
    value=st.text(min_size=1, max_size=100),
    place=st.integers(min_value=0, max_value=9),
)
def test_pressed_button_has_its_value_again(value: str, place: int) -> None:
    assert read_reply_id(to_reply_id(button(value=value), place)) == value
    assert read_reply_id(to_reply_id(button(value=value, action="reply"), place)) is None


def test_id_of_another_program_is_its_value() -> None:
    assert read_reply_id("btn-yes") == "btn-yes"


# --- templates


def test_template_has_its_values_in_order() -> None:
    values = [
        TemplateValue(part="body", index=0, name=None, value="Олено"),
        TemplateValue(part="button", index=1, name=None, value="17"),
        TemplateValue(part="body", index=0, name=None, value="завтра"),
        TemplateValue(part="header", index=0, name="salon", value="Мавка"),
    ]
    template = OrderedTemplate(name="reminder", language="uk", values=values)
    body = one("Вітаємо, Олено!", template=template)
    assert body["type"] == "template"
    assert body["template"] == {
        "name": "reminder",
        "language": {"code": "uk"},
        "components": [
            {"type": "header", "parameters": [{"type": "text", "parameter_name": "salon", "text": "Мавка"}]},
            {
                "type": "body",
                "parameters": [{"type": "text", "text": "Олено"}, {"type": "text", "text": "завтра"}],
            },
            {
                "type": "button",
                "sub_type": "url",
                "index": "1",
                "parameters": [{"type": "text", "text": "17"}],
            },
        ],
    }
    assert body["biz_opaque_callback_data"] == send_mark(MESSAGE_ID, 0)


def test_buttons_beside_a_template_are_its_own_already() -> None:
    template = OrderedTemplate(name="reminder", language="uk", values=[])
    odd = [[button("Сайт", "javascript:x", "url"), button(" ")]]
    assert plan("Вітаємо", template=template, buttons=odd) == plan("Вітаємо", template=template)


def test_template_without_places_has_no_components() -> None:
    body = one("Hi", template=OrderedTemplate(name="hello_world", language="en_US", values=[]))
    assert body["template"] == {"name": "hello_world", "language": {"code": "en_US"}}
