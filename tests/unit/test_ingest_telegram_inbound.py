"""Telegram updates become our events; nothing that is sent to us breaks the translation."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest_telegram.inbound import to_parsed
from msgkit.connector.contract import Account, Parsed, WebhookRequest
from msgkit.connector.errors import PayloadInvalid
from msgkit.contracts.events import (
    RAW_LIMIT_BYTES,
    ButtonPress,
    ContactAvailability,
    MessageEdited,
    MessageReceived,
    Place,
    SharedContact,
)
from msgkit.contracts.ids import conversation_id
from msgkit.contracts.words import MessageKind

FIXTURES = Path(__file__).parent.parent / "fixtures" / "telegram"
RECEIVED_AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
ACCOUNT = Account(
    channel_id="c" * 32,
    tenant_id="salon",
    kind="telegram_bot",
    account_id="7000000001",
    account_name="@shop_bot",
    api_base=None,
    state="active",
    problem=None,
    paused_until=None,
    credentials={"token": "7000000001:canary"},
    webhook_secret="s3cret",
)
OLENA = "6021557731"


def request(body: bytes, **headers: bytes) -> WebhookRequest:
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return WebhookRequest(named, body, "w" * 32, RECEIVED_AT)


def parse(update: object) -> Parsed:
    body = update if isinstance(update, bytes) else json.dumps(update).encode()
    return to_parsed(request(body), ACCOUNT)


def fixture(name: str) -> bytes:
    return (FIXTURES / f"{name}.json").read_bytes()


PRESSES = {
    "callback_query__press": ("cmd:yes", "Так"),
    "callback_query__second_row": ("cmd:no", "Ні"),
    "callback_query__button_not_in_message": ("cmd:forged", "cmd:forged"),
    "callback_query__inaccessible_message": ("cmd:yes", "cmd:yes"),
}


def received(update: object) -> MessageReceived:
    (event,) = parse(update).events
    assert isinstance(event, MessageReceived)
    return event


def test_entities_count_utf16_units_and_odd_ones_are_left_out() -> None:
    (entity,) = received(fixture("message__text_with_url")).content.entities
    assert (entity.kind, entity.offset, entity.length) == ("url", 8, 12)
    (kept,) = received(fixture("message__odd_entities")).content.entities
    assert (kept.kind, kept.offset, kept.length) == ("bold", 0, 2)


def test_contact_is_the_person_and_a_phone_only_if_proved() -> None:
    contact = received(fixture("message__text_with_url")).contact
    assert (contact.key, contact.name, contact.username) == (OLENA, "Олена К.", "olena_k")
    assert (contact.phone, contact.language) == (None, "uk")
    assert received(fixture("message__contact_own")).contact.phone == "+380671234567"
    assert received(fixture("message__contact_own_with_plus")).contact.phone == "+380671234567"
    assert received(fixture("message__contact_foreign")).contact.phone is None
    assert received(fixture("message__contact_from_address_book")).contact.phone is None


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("contact_own", SharedContact(name="Олена", phone="+380671234567", is_own=True)),
        ("contact_foreign", SharedContact(name="Петро", phone="+380501112233", is_own=False)),
        ("contact_from_address_book", SharedContact(name="Тато", phone="067 123-45-67", is_own=False)),
    ],
)
def test_card_is_own_only_if_telegram_proves_it(name: str, card: SharedContact) -> None:
    assert received(fixture(f"message__{name}")).content.shared_contact == card


def test_place_has_its_point_and_its_name() -> None:
    place = received(fixture("message__location")).content.place
    assert place == Place(latitude=50.4501, longitude=30.5234, title=None, address=None)
    place = received(fixture("message__venue")).content.place
    assert place == Place(latitude=50.45, longitude=30.52, title="Салон", address="Хрещатик, 1")


def test_media_says_what_its_connector_needs_to_fetch_it() -> None:
    (photo,) = received(fixture("message__photo_in_album")).content.media
    assert (photo.ref, photo.width, photo.height, photo.size_bytes) == ("AgACAgIAAxkBAAIy", 1280, 960, 118020)
    (unsorted,) = received(fixture("message__photo_sizes_out_of_order")).content.media
    assert unsorted.ref == "AgACsize3", "the largest size"
    (animated,) = received(fixture("message__sticker_animated")).content.media
    (moving,) = received(fixture("message__sticker_video")).content.media
    (still,) = received(fixture("message__sticker")).content.media
    assert (animated.mime, moving.mime, still.mime) == (
        "application/x-tgsticker",
        "video/webm",
        "image/webp",
    )
    (document,) = received(fixture("message__document")).content.media
    assert (document.name, document.mime) == ("рахунок.pdf", "application/pdf")
    (round_video,) = received(fixture("message__video_note")).content.media
    assert (round_video.width, round_video.height, round_video.duration_s) == (384, 384, 5.0)


def test_edit_has_the_id_of_its_message_and_an_event_of_its_own() -> None:
    (event,) = parse(fixture("edited_message__text")).events
    assert isinstance(event, MessageEdited)
    assert (event.provider_id, event.content.text) == ("41", "Ціна?")
    assert event.edited_at == datetime.fromtimestamp(1795257100, UTC)
    again = json.loads(fixture("edited_message__text"))
    assert parse(again).events[0].event_id == event.event_id, "a repeat is the same event"
    again["update_id"] += 1
    assert parse(again).events[0].event_id != event.event_id, "a second edit in the same second is another"


@pytest.mark.parametrize(
    ("name", "said", "ref"),
    [("caption", "Три фото", "AgACsize3"), ("media", "Інше фото", "AgACsize9")],
)
def test_edit_of_a_photo_has_its_new_words_and_its_file(name: str, said: str, ref: str) -> None:
    (event,) = parse(fixture(f"edited_message__{name}")).events
    assert isinstance(event, MessageEdited)
    assert (event.provider_id, event.content.kind, event.content.text) == ("43", MessageKind.IMAGE, said)
    assert [file.ref for file in event.content.media] == [ref]


@pytest.mark.parametrize("name", PRESSES)
def test_press_is_a_message_with_the_button_and_waits_for_its_answer(name: str) -> None:
    value, title = PRESSES[name]
    query = json.loads(fixture(name))["callback_query"]
    parsed = parse(fixture(name))
    (event,) = parsed.events
    assert isinstance(event, MessageReceived)
    assert event.pressed == ButtonPress(value=value, message_provider_id="51")
    assert (event.content.kind, event.content.text) == (MessageKind.TEXT, title)
    assert event.provider_id == f"press:{query['id']}"
    assert event.sent_at == RECEIVED_AT, "the date in a press is that of the old message"
    assert event.conversation_id == conversation_id(ACCOUNT.channel_id, OLENA)
    assert parsed.acknowledge == (query["id"],)


@pytest.mark.parametrize("name", ["in_group", "inline_message", "game"])
def test_press_that_is_no_message_is_answered_too(name: str) -> None:
    query = json.loads(fixture(f"callback_query__{name}"))["callback_query"]
    assert parse(fixture(f"callback_query__{name}")).acknowledge == (query["id"],)


def test_two_presses_of_one_button_are_two_events_and_a_repeat_is_one() -> None:
    first = received(fixture("callback_query__press"))
    again = json.loads(fixture("callback_query__press"))
    again["update_id"] += 1
    assert received(again).event_id == first.event_id
    again["callback_query"]["id"] += "1"
    assert received(again).event_id != first.event_id


@pytest.mark.parametrize(
    ("name", "available"), [("my_chat_member__kicked", False), ("my_chat_member__member", True)]
)
def test_blocking_and_coming_back(name: str, available: bool) -> None:
    (event,) = parse(fixture(name)).events
    assert isinstance(event, ContactAvailability)
    assert (event.available, event.contact.key) == (available, OLENA)


def test_repeat_of_a_message_is_the_same_event_whatever_surrounds_it() -> None:
    first = received(fixture("message__text_with_url"))
    repeated = json.loads(fixture("message__text_with_url"))
    repeated["update_id"] += 7
    assert received(repeated).event_id == first.event_id


def test_same_message_id_of_another_client_is_another_event() -> None:
    other = json.loads(fixture("message__text_with_url"))
    other["message"]["from"]["id"] = other["message"]["chat"]["id"] = 42
    assert received(other).event_id != received(fixture("message__text_with_url")).event_id


def test_big_element_travels_in_the_journal_alone() -> None:
    update = json.loads(fixture("message__text_with_url"))
    update["message"]["padding"] = "x" * RAW_LIMIT_BYTES
    assert received(update).raw == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"update_id":1,"message":NaN}',
        b'{"update_id":1e999,"message":{}}',
        b'{"update_id":1,"message":{"text":"\\ud83d"}}',
        b'{"update_id":1,"message":{"text":"\xff"}}',
        b"[" * 100_000,
        b'{"message":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"update_id":' + b"9" * 5_000 + b"}",
    ],
    ids=lambda body: body[:24],
)
def test_unreadable_body_is_refused_with_a_reason_and_without_its_content(body: bytes) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        parse(body)
    assert 0 < len(str(caught.value)) < 300


def test_words_of_a_client_are_not_in_the_reason() -> None:
    with pytest.raises(PayloadInvalid) as caught:
        parse('{"message":{"text":"мій секрет"'.encode())
    assert "секрет" not in str(caught.value)
