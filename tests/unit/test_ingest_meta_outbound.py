"""Our answers become calls of `/messages`: texts, files, places, cards, reactions, buttons."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meta_graph import BY_LOGIN, BY_PAGE, NOW, PAGE_ACCOUNT, PSID

from ingest_meta.bodies import Messaging, Request, messaging_of, to_body, to_signal
from ingest_meta.files import FileKind
from ingest_meta.keyboards import read_payload
from ingest_meta.outbound import to_requests
from ingest_meta.texts import INSTAGRAM_ROOM, MESSENGER_ROOM, Room, cut_end, shortened, split_text
from msgkit.connector.contract import Account, send_mark
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundButton, OutboundMedia, Place, SendMessage, SharedContact
from msgkit.contracts.words import AuthorKind, FailureCode, MessageKind

MESSAGE_ID = "d" * 32
RESPONSE = Messaging.RESPONSE


def order(text: str = "", **more: Any) -> SendMessage:
    fields: dict[str, Any] = {
        "type": "send.ordered.v1",
        "event_id": "e",
        "tenant_id": "salon",
        "channel_id": "c",
        "channel_kind": "facebook",
        "recorded_at": datetime(2026, 11, 21, tzinfo=UTC),
        "conversation_id": "v",
        "contact_key": PSID,
        "message_id": MESSAGE_ID,
        "out_seq": 1,
        "author_kind": AuthorKind.OPERATOR,
        "client_wrote_at": NOW,
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


def plan(message: SendMessage, account: Account = PAGE_ACCOUNT) -> list[Request]:
    found = to_requests(message, account)
    assert found == to_requests(message, account), "the same parts every time"
    assert [request.mark for request in found] == [send_mark(MESSAGE_ID, n) for n in range(len(found))]
    return found


def bodies(message: SendMessage, account: Account = PAGE_ACCOUNT) -> list[dict[str, Any]]:
    return [to_body(request, RESPONSE, "1857777774821032") for request in plan(message, account)]


def refused(message: SendMessage, account: Account = PAGE_ACCOUNT) -> MessageRejected:
    with pytest.raises(MessageRejected) as caught:
        to_requests(message, account)
    assert caught.value.text.endswith(".")
    return caught.value


# --- the sheet's JSON


def test_text_as_the_sheet_has_it() -> None:
    assert bodies(order("Hello")) == [
        {
            "recipient": {"id": PSID},
            "messaging_type": "RESPONSE",
            "message": {"text": "Hello", "metadata": f"{MESSAGE_ID}.0"},
        }
    ]


def test_late_answer_of_a_person_as_the_sheet_has_it() -> None:
    (request,) = plan(order("Sorry for the wait"))
    assert to_body(request, Messaging.HUMAN_AGENT) == {
        "recipient": {"id": PSID},
        "messaging_type": "MESSAGE_TAG",
        "tag": "HUMAN_AGENT",
        "message": {"text": "Sorry for the wait", "metadata": f"{MESSAGE_ID}.0"},
    }


def test_reply_mark_stands_on_the_first_part() -> None:
    first, second = bodies(order("Так", reply_to_provider_id="m_target", media=[media()]))
    assert first["reply_to"] == {"mid": "m_target"}
    assert "reply_to" not in second


def test_file_goes_by_its_id_and_its_caption_after_it() -> None:
    first, second = bodies(order("Ваш рахунок", media=[media("file", "application/pdf", "bill.pdf")]))
    payload = {"attachment_id": "1857777774821032"}
    assert first["message"]["attachment"] == {"type": "file", "payload": payload}
    assert set(first["message"]) == {"attachment", "metadata"}
    assert second["message"]["text"] == "Ваш рахунок"


def test_quick_replies_as_the_sheet_has_them() -> None:
    (body,) = bodies(order("Pick", buttons=[[button("Red", "RED")]]))
    expected = [{"content_type": "text", "title": "Red", "payload": "RED"}]
    assert body["message"]["quick_replies"] == expected
    assert body["message"]["text"] == "Pick"


def test_addresses_alone_are_a_template_as_the_sheet_has_it() -> None:
    (body,) = bodies(order("Choose", buttons=[[button("Site", "https://example.com", "url")]]))
    assert body["message"]["attachment"] == {
        "type": "template",
        "payload": {
            "template_type": "button",
            "text": "Choose",
            "buttons": [{"type": "web_url", "title": "Site", "url": "https://example.com"}],
        },
    }
    assert "text" not in body["message"]


def test_signals_hold_recipient_and_action_alone() -> None:
    assert to_signal("PSID", "typing_on") == {"recipient": {"id": "PSID"}, "sender_action": "typing_on"}


@pytest.mark.parametrize(
    ("account", "sign", "action"),
    [
        (PAGE_ACCOUNT, "😊", {"message_id": "m_target", "reaction": "😊"}),
        (BY_PAGE, "🔥", {"message_id": "m_target", "reaction": "🔥"}),
        (BY_LOGIN, "❤️", {"message_id": "m_target", "reaction": "love"}),
        (BY_LOGIN, "❤", {"message_id": "m_target", "reaction": "love"}),
        (PAGE_ACCOUNT, "", {"message_id": "m_target"}),
        (BY_LOGIN, "", {"message_id": "m_target"}),
    ],
)
def test_reactions(account: Account, sign: str, action: dict[str, str]) -> None:
    (body,) = bodies(order(sign, is_reaction=True, reply_to_provider_id="m_target"), account)
    kind = "react" if sign else "unreact"
    assert body == {"recipient": {"id": PSID}, "sender_action": kind, "payload": action}


def test_reactions_that_cannot_be() -> None:
    assert "❤" in refused(order("😊", is_reaction=True, reply_to_provider_id="m"), BY_LOGIN).text
    assert refused(order("😊", is_reaction=True)).code is FailureCode.REJECTED


# --- windows by author


@pytest.mark.parametrize(
    ("author", "age", "may_be_late", "expected"),
    [
        (AuthorKind.OPERATOR, timedelta(hours=24, minutes=-1), True, RESPONSE),
        (AuthorKind.OPERATOR, timedelta(hours=24), True, Messaging.HUMAN_AGENT),
        (AuthorKind.OPERATOR, timedelta(hours=24, minutes=1), True, Messaging.HUMAN_AGENT),
        (AuthorKind.OPERATOR, timedelta(hours=24, minutes=1), False, RESPONSE),
        (AuthorKind.OPERATOR, timedelta(days=7, minutes=-1), True, Messaging.HUMAN_AGENT),
        (AuthorKind.OPERATOR, timedelta(days=7, minutes=1), True, Messaging.HUMAN_AGENT),
        (AuthorKind.OPERATOR, None, True, RESPONSE),
        *(
            (author, age, True, RESPONSE)
            for author in (AuthorKind.BOT, AuthorKind.AUTORESPONDER, AuthorKind.SYSTEM)
            for age in (timedelta(0), timedelta(hours=24, minutes=1), timedelta(days=6), timedelta(days=8))
        ),
    ],
)
def test_as_what_it_goes_out(
    author: AuthorKind, age: timedelta | None, may_be_late: bool, expected: Messaging
) -> None:
    wrote_at = None if age is None else NOW - age
    (request,) = plan(order("Так", author_kind=author, client_wrote_at=wrote_at))
    assert messaging_of(request, NOW, may_be_late=may_be_late) is expected


# --- texts

SIGNS = st.text(
    st.one_of(
        st.characters(codec="utf-8", exclude_categories=["Cs"]),
        st.sampled_from("aaaa    \n\n\n.їє"),
        st.sampled_from(["👨‍👩‍👧", "🇺🇦", "e\u0301", "👍🏽", "❤️", "й"]).map(lambda sign: sign[0]),
    ),
    max_size=400,
)
CLUSTERS = st.lists(
    st.sampled_from(["👨‍👩‍👧", "🇺🇦", "e\u0301", "👍🏽", "❤️", "1️⃣", "ї", "a", " "]), max_size=120
)


@given(SIGNS, st.sampled_from([Room(7, False), Room(40, False), Room(40, True), Room(61, True)]))
def test_nothing_but_blanks_at_cuts_is_lost_and_each_part_fits(said: str, room: Room) -> None:
    parts = split_text(said, room)
    assert all(room.holds(part) and part.strip() == part and part for part in parts)
    assert "".join("".join(parts).split()) == "".join(said.split())


@given(CLUSTERS, st.booleans())
def test_no_cut_is_inside_a_character(clusters: list[str], counts_bytes: bool) -> None:
    parts = split_text("".join(clusters), Room(40, counts_bytes))
    left = [cluster for cluster in clusters if cluster != " "]
    for part in parts:
        rest = part.replace(" ", "")
        while rest:
            assert rest.startswith(left[0]), "the part begins in the middle of a character"
            rest = rest[len(left.pop(0)) :]
    assert not left


def test_each_messenger_counts_in_its_own_way() -> None:
    assert len(split_text("ї" * 2000, MESSENGER_ROOM)) == 1
    assert len(split_text("ї" * 2001, MESSENGER_ROOM)) == 2
    assert len(split_text("ї" * 500, INSTAGRAM_ROOM)) == 1
    assert len(split_text("ї" * 501, INSTAGRAM_ROOM)) == 2
    assert [len(plan(order("ї" * 501), account)) for account in (PAGE_ACCOUNT, BY_PAGE, BY_LOGIN)] == [
        1,
        2,
        2,
    ]


def test_cut_is_between_words() -> None:
    assert split_text("перше друге третє", Room(12, False)) == ["перше друге", "третє"]
    assert split_text("абзац один\n\nабзац два", Room(18, False)) == ["абзац один", "абзац два"]


@given(SIGNS, st.integers(5, 60))
def test_end_beside_buttons_fits(said: str, max_chars: int) -> None:
    head, end = cut_end(said, max_chars)
    assert len(end) <= max_chars
    assert "".join((head + end).split()) == "".join(said.split())


@given(SIGNS, st.integers(3, 30))
def test_titles_fit(said: str, max_chars: int) -> None:
    assert len(shortened(said, max_chars)) <= max_chars


def test_long_text_with_buttons_has_them_on_its_last_part() -> None:
    *before, last = bodies(order("слово " * 500, buttons=[[button()]]))
    assert before
    assert all("quick_replies" not in body["message"] for body in before)
    assert last["message"]["quick_replies"]
    *before, last = bodies(order("слово " * 200, buttons=[[button("Сайт", "https://a.ua", "url")]]))
    assert len(before) == 1
    assert len(last["message"]["attachment"]["payload"]["text"]) <= 640


def test_empty_answer_is_refused() -> None:
    assert refused(order(" \n ")).code is FailureCode.REJECTED


# --- buttons


def test_buttons_without_words_have_words_of_ours() -> None:
    file, words = bodies(order(media=[media()], buttons=[[button()]]))
    assert "quick_replies" not in file["message"]
    assert words["message"]["text"] == "Оберіть варіант:"
    (asked,) = bodies(order(buttons=[[button("Мій номер", "", "share_phone")]]))
    assert asked["message"]["quick_replies"] == [{"content_type": "user_phone_number"}]
    assert "номер" in asked["message"]["text"]


def test_what_is_no_button_here_becomes_words() -> None:
    rows = [[button("Так"), button("Сайт", "https://a.ua", "url")], [button("Де ви", "", "share_location")]]
    (body,) = bodies(order("Привіт", buttons=rows))
    assert body["message"]["text"].startswith("Привіт\n\nСайт: https://a.ua\nДе ви: ")
    assert [one["title"] for one in body["message"]["quick_replies"]] == ["Так"]
    (instagram,) = bodies(order("Привіт", buttons=[[button("Номер", "", "share_phone")]]), BY_PAGE)
    assert "Номер: напишіть" in instagram["message"]["text"]
    assert "quick_replies" not in instagram["message"]
    four = [[button(f"С{n}", f"https://a.ua/{n}", "url")] for n in range(4)]
    (lines,) = bodies(order("Привіт", buttons=four))
    assert lines["message"]["text"].count("https://") == 4


def test_title_is_cut_and_a_reply_has_no_value() -> None:
    (body,) = bodies(order("?", buttons=[[button("Дуже довгий напис на кнопці", "", "reply"), button()]]))
    reply, callback = body["message"]["quick_replies"]
    assert reply["title"] == "Дуже довгий напис…"
    assert (read_payload(reply["payload"]), read_payload(callback["payload"])) == (None, "yes")


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([[button(f"К{n}", str(n))] for n in range(14)], FailureCode.REJECTED),
        ([[button(" ")]], FailureCode.REJECTED),
        ([[button("Так", "")]], FailureCode.REJECTED),
        ([[button("Так", "x" * 1001)]], FailureCode.TOO_LONG),
        ([[button("Сайт", "javascript:x", "url")]], FailureCode.REJECTED),
    ],
)
def test_buttons_that_cannot_be(rows: list[list[OutboundButton]], code: FailureCode) -> None:
    assert refused(order("?", buttons=rows)).code is code


def test_thirteen_quick_replies_fit() -> None:
    (body,) = bodies(order("?", buttons=[[button(f"К{n}", str(n)) for n in range(13)]]))
    assert len(body["message"]["quick_replies"]) == 13


# --- files, places, cards


@pytest.mark.parametrize(
    ("given_kind", "mime", "messenger", "instagram"),
    [
        ("image", "image/jpeg", "image", "image"),
        ("image", "image/gif", "image", "image"),
        ("image", "image/webp", "file", None),
        ("sticker", "image/png", "image", "image"),
        ("sticker", "image/webp", "file", None),
        ("video", "video/mp4", "video", "video"),
        ("video", "video/quicktime", "video", "video"),
        ("video", "video/3gpp", "video", None),
        ("audio", "audio/mpeg", "audio", None),
        ("voice", "audio/mp4", "audio", "audio"),
        ("voice", "audio/ogg; codecs=opus", "file", None),
        ("audio", "audio/wav", "file", "audio"),
        ("file", "application/pdf", "file", "file"),
        ("file", "application/zip", "file", None),
        ("file", "image/png", "file", "image"),
    ],
)
def test_how_a_file_is_shown(given_kind: str, mime: str, messenger: str, instagram: str | None) -> None:
    answer = order(media=[media(given_kind, mime, "f")])
    (request,) = plan(answer)
    assert request.file is not None
    assert request.file.kind is FileKind(messenger)
    for account in (BY_PAGE, BY_LOGIN):
        if instagram is None:
            error = refused(answer, account)
            assert error.code is FailureCode.UNSUPPORTED_KIND
            assert "Instagram" in error.text
        else:
            (request,) = plan(answer, account)
            assert request.file is not None
            assert request.file.kind is FileKind(instagram)


@pytest.mark.parametrize(
    ("account", "kind", "mime", "size", "code"),
    [
        (PAGE_ACCOUNT, "file", "application/zip", 25_000_001, FailureCode.FILE_TOO_BIG),
        (BY_PAGE, "video", "video/mp4", 25_000_001, FailureCode.FILE_TOO_BIG),
        (BY_LOGIN, "image", "image/jpeg", 8_000_001, FailureCode.FILE_TOO_BIG),
        (PAGE_ACCOUNT, "image", "image/jpeg", 0, FailureCode.REJECTED),
    ],
)
def test_files_that_do_not_fit(account: Account, kind: str, mime: str, size: int, code: FailureCode) -> None:
    assert refused(order(media=[media(kind, mime, size_bytes=size)]), account).code is code


def test_several_files_are_several_messages_in_order() -> None:
    requests = plan(order("Ось", media=[media(name="a.jpg"), media(name="b.jpg")]))
    assert [request.file.name if request.file else request.said for request in requests] == [
        "a.jpg",
        "b.jpg",
        "Ось",
    ]


def test_place_and_card_are_words_and_an_address() -> None:
    place = Place(latitude=50.4501, longitude=30.5234, title="Салон", address="Хрещатик, 1")
    (body,) = bodies(order(place=place))
    assert body["message"]["text"] == (
        "Салон\nХрещатик, 1\nhttps://www.google.com/maps?q=50.450100,30.523400"
    )
    contact = SharedContact(name="Олена", phone="+380671234567", is_own=False)
    (body,) = bodies(order(shared_contact=contact))
    assert body["message"]["text"] == "Олена\n+380671234567"
