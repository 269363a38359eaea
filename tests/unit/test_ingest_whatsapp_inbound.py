"""WhatsApp's webhooks become our events: files, places, cards, answers, and what happens to messages."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from whatsapp_talk import (
    ACCOUNT,
    AT,
    AT_SECONDS,
    BY_PHONE,
    BY_UID,
    OTHER_NUMBER,
    OURS,
    PHONE,
    RECEIVED_AT,
    contact,
    envelope,
    message,
    only,
    parse,
    value,
    wrote,
)

from ingest_whatsapp.payloads import FileKey, read_ref
from msgkit.contracts.events import (
    INBOUND,
    ButtonPress,
    ContactChanged,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageRecalled,
    MessageReceived,
    Place,
    ReactionChanged,
    SharedContact,
)
from msgkit.contracts.ids import conversation_id
from msgkit.contracts.words import AuthorKind, Direction, MessageKind, MessageState

HASH = "SfInY0gGKTsJlUWbwxC1k+FAD0FZHvzwfpvO0zX0GUI="


@pytest.mark.parametrize(
    ("name", "kind", "key"),
    [
        ("image", MessageKind.IMAGE, FileKey("1003383421387256", HASH, "image/jpeg", None)),
        ("video", MessageKind.VIDEO, FileKey("765756756", HASH, "video/mp4", None)),
        ("audio", MessageKind.AUDIO, FileKey("123456789", HASH, "audio/mpeg", None)),
        ("voice", MessageKind.VOICE, FileKey("1234567890987654321", HASH, "audio/ogg; codecs=opus", None)),
        ("document", MessageKind.FILE, FileKey("622684793477189", None, "application/pdf", "рахунок.pdf")),
        (
            "document_without_name",
            MessageKind.FILE,
            FileKey("622684793477190", None, "application/pdf", None),
        ),
        ("sticker", MessageKind.STICKER, FileKey("998", HASH, "image/webp", None)),
    ],
)
def test_file_is_known_by_its_id_and_hash_and_not_by_an_address_that_dies(
    name: str, kind: MessageKind, key: FileKey
) -> None:
    (media,) = only(MessageReceived, f"message__{name}").content.media
    assert (media.kind, media.name, media.mime) == (kind, key.name, key.mime)
    assert read_ref(media.ref) == key
    assert "http" not in media.ref


@pytest.mark.parametrize("ref", ["", "x", "[]", "{}", '{"id": ""}', '{"id": null}', '{"sha256": "x"}'])
def test_a_reference_that_is_none_of_ours_names_no_file(ref: str) -> None:
    assert read_ref(ref) is None


def test_place() -> None:
    assert only(MessageReceived, "message__location").content.place == Place(
        latitude=50.4501, longitude=30.5234, title="Салон", address="Хрещатик, 1"
    )
    assert only(MessageReceived, "message__location_as_text").content.place == Place(
        latitude=50.4501, longitude=30.5234, title=None, address=None
    )


@pytest.mark.parametrize(
    ("name", "shared", "phone"),
    [
        ("contact", SharedContact(name="Ірина Мороз", phone="+380501112233", is_own=False), f"+{PHONE}"),
        (
            "contact_own_number",
            SharedContact(name="Олена Коваль", phone=f"+{PHONE}", is_own=True),
            f"+{PHONE}",
        ),
        # The phone is hidden, and the client answered our request for it.
        (
            "contact_asked_for",
            SharedContact(name="Олена Коваль", phone=f"+{PHONE}", is_own=True),
            f"+{PHONE}",
        ),
        (
            "contact_local_number",
            SharedContact(name="Майстер", phone="067 123-45-67", is_own=False),
            f"+{PHONE}",
        ),
        ("contact_without_name", SharedContact(name="ФОП Мороз", phone=None, is_own=False), f"+{PHONE}"),
    ],
)
def test_a_card_is_the_clients_own_only_if_that_is_proved(
    name: str, shared: SharedContact, phone: str | None
) -> None:
    event = only(MessageReceived, f"message__{name}")
    assert event.content.shared_contact == shared
    assert event.contact.phone == phone


def test_somebodys_card_does_not_become_the_number_of_a_client_without_one() -> None:
    card = {
        "name": {"formatted_name": "Ірина"},
        "phones": [{"phone": "+380501112233", "wa_id": "380501112233"}],
    }
    told = {"from_user_id": "UA.1", "id": "wamid.c", "timestamp": "1", "type": "contacts", "contacts": [card]}
    event = only(MessageReceived, wrote(told))
    assert event.contact.phone is None
    # The answer to our request has the number WhatsApp knows, or it proves nothing.
    card["phones"] = [{"phone": "+380501112233"}]
    assert only(MessageReceived, wrote({**told, "origin": "contact_request"})).contact.phone is None


@pytest.mark.parametrize(
    ("name", "value_", "carrier"),
    [
        ("button_reply", "cmd:price", "wamid.HBgMMzgwOUT4"),
        ("list_reply", "cmd:hair", "wamid.HBgMMzgwOUT4"),
        ("template_button", "No-Button-Payload", "wamid.HBgMMzgwTPL"),
    ],
)
def test_a_press_is_its_title_with_its_value(name: str, value_: str, carrier: str) -> None:
    event = only(MessageReceived, f"message__{name}")
    assert event.pressed == ButtonPress(value=value_, message_provider_id=carrier)
    assert event.reply_to_provider_id == carrier


# --- what happens to messages


@pytest.mark.parametrize(
    ("name", "emoji", "target", "author"),
    [
        ("reaction__put", "❤️", "wamid.HBgMMzgwOUT1", AuthorKind.CLIENT),
        ("reaction__taken_off", None, "wamid.HBgMMzgwOUT1", AuthorKind.CLIENT),
        ("reaction__taken_off_empty", None, "wamid.HBgMMzgwOUT1", AuthorKind.CLIENT),
        ("echo__reaction", "👍", "wamid.HBgMMzgwT1", AuthorKind.OPERATOR),
    ],
)
def test_a_reaction_comes_and_goes(name: str, emoji: str | None, target: str, author: AuthorKind) -> None:
    event = only(ReactionChanged, name)
    assert (event.emoji, event.provider_id, event.author_kind) == (emoji, target, author)
    assert (event.reacted_at, event.contact.key) == (AT, BY_UID)


@pytest.mark.parametrize(
    ("name", "text", "target"),
    [
        ("edit__text", "Є місця на неділю?", "wamid.HBgMMzgwT1"),
        ("edit__caption", "новий підпис", "wamid.HBgMMzgwM1"),
        ("echo__edit", "Чекаємо у п'ятницю", "wamid.HBgMMzgwH1"),
    ],
)
def test_an_edit_names_the_message_and_what_it_says_now(name: str, text: str, target: str) -> None:
    event = only(MessageEdited, name)
    assert (event.content.text, event.provider_id, event.edited_at) == (text, target, AT)


def test_an_edited_caption_keeps_its_file() -> None:
    before = only(MessageReceived, "message__image").content.media
    assert only(MessageEdited, "edit__caption").content.media[0].ref.startswith('{"id": "1003383421387256"')
    assert before[0].ref == only(MessageEdited, "edit__caption").content.media[0].ref


@pytest.mark.parametrize(("name", "target"), [("revoke__text", "T1"), ("echo__revoke", "H1")])
def test_a_message_is_taken_back(name: str, target: str) -> None:
    event = only(MessageDeleted, name)
    assert (event.provider_id, event.deleted_at) == (f"wamid.HBgMMzgw{target}", AT)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("message__of_nobody", "a message without a phone or a user id"),
        # A parent id may stand for people of other portfolios.
        ("message__parent_id_only", "a message without a phone or a user id"),
        ("message__without_id", "a message without its id"),
        ("message__id_empty", "a message without its id"),
        ("reaction__on_nothing", "a reaction of no message"),
        ("echo__to_nobody", "a message without a phone or a user id"),
        ("webhook__messages_without_metadata", "a change of messages that names no number"),
        ("webhook__change_without_value", "a change without a value"),
    ],
)
def test_what_cannot_be_shown_is_kept_for_a_person_and_costs_nothing_else(name: str, reason: str) -> None:
    parsed = parse(name)
    assert (parsed.events, parsed.quarantine) == ((), reason)
    broken = [None, 7, "x", [], {}, *json.loads(json.dumps([{"from": PHONE}]))]
    beside = parse(wrote(message("wamid.1"), *broken, message("wamid.2", "і ще")))
    assert [event.content.text for event in beside.events if isinstance(event, MessageReceived)] == [
        "Добрий день",
        "і ще",
    ]
    assert beside.quarantine == "a message that is no object; a message without its id"


# --- the Business app and Meta's agent


def test_what_the_owner_types_on_the_phone_is_an_operators_answer() -> None:
    event = only(MessageEchoed, "echo__text")
    assert (event.content.text, event.author_kind, event.sent_at) == (
        "Чекаємо у четвер",
        AuthorKind.OPERATOR,
        AT,
    )
    assert (event.contact.key, event.contact.phone, event.contact.username) == (
        BY_UID,
        f"+{PHONE}",
        "olena.koval",
    )
    assert only(MessageEchoed, "echo__image").content.media[0].kind is MessageKind.IMAGE


def test_metas_agent_is_a_bot_and_what_it_holds_is_in_standby() -> None:
    assert only(MessageReceived, "standby__message").is_standby
    assert only(MessageEchoed, "standby__echo_of_the_agent").author_kind is AuthorKind.BOT
    normal = only(MessageReceived, wrote(message("wamid.HBgMMzgwY1")))
    # The thread goes from one field to the other, and a message may be told in both.
    assert normal.event_id == only(MessageReceived, "standby__message").event_id


# --- history


def test_history_is_recalled_with_its_direction_and_state() -> None:
    parsed = parse("history__chunk")
    first, second, third = parsed.events
    assert parsed.counted == ("history", "history_chunk", "history_skipped")
    for event in (first, second, third):
        assert isinstance(event, MessageRecalled)
        assert event.contact.key == BY_PHONE
        assert INBOUND.validate_json(event.model_dump_json()) == event
    assert isinstance(first, MessageRecalled)
    assert (first.direction, first.state, first.content.text) == (
        Direction.OUT,
        MessageState.READ,
        "Прайс надіслали",
    )
    assert first.sent_at == datetime.fromtimestamp(1739230955, UTC)
    assert isinstance(second, MessageRecalled)
    assert (second.direction, second.content.unsupported) == (Direction.IN, "media_placeholder")
    assert isinstance(third, MessageRecalled)
    assert third.state is MessageState.FAILED


def test_the_file_of_a_recalled_message_is_the_same_message_once_more() -> None:
    with_file = only(MessageRecalled, "history__file_of_a_placeholder")
    placeholder = parse("history__chunk").events[1]
    assert isinstance(placeholder, MessageRecalled)
    assert with_file.provider_id == placeholder.provider_id
    assert with_file.event_id != placeholder.event_id
    assert (with_file.content.text, len(with_file.content.media)) == ("зразок", 1)
    assert with_file.conversation_id == placeholder.conversation_id


def test_history_says_whose_words_they_were_also_without_our_own_number() -> None:
    told = value(
        history=[
            {
                "threads": [
                    {
                        "id": PHONE,
                        "messages": [message("wamid.a"), message("wamid.b", **{"from": OURS, "to": PHONE})],
                    }
                ]
            }
        ]
    )
    del told["metadata"]["display_phone_number"]
    events = parse(envelope(("history", told))).events
    assert [event.direction for event in events if isinstance(event, MessageRecalled)] == [
        Direction.IN,
        Direction.OUT,
    ]


def test_history_that_does_not_come_is_counted_and_no_fault_of_the_account() -> None:
    declined = parse("history__declined")
    assert (declined.alerts, declined.quarantine) == ((), None)
    assert declined.counted == ("history", "history_chunk", "history_declined")
    late = parse(envelope(("history", value(history=[{"errors": [{"code": 2593108}]}]))))
    assert (late.alerts, late.counted[-1]) == ((), "history_refused")


def test_the_address_book_names_a_client_and_makes_no_message() -> None:
    event = only(ContactChanged, "address_book__added")
    assert (event.contact.key, event.contact.name, event.contact.phone) == (
        BY_PHONE,
        "Олена (фарбування)",
        f"+{PHONE}",
    )
    assert (event.is_new_number, event.previous_phone, event.happened_at) == (False, None, AT)
    (person,) = parse("address_book__added").people
    assert person.is_known_only, "most of an address book never wrote to the salon"
    again = envelope(
        (
            "smb_app_state_sync",
            value(
                state_sync=[
                    {
                        "type": "contact",
                        "contact": {"full_name": "Олена (брови)", "phone_number": f"+{PHONE}"},
                        "action": "add",
                        "metadata": {"timestamp": str(AT_SECONDS)},
                    }
                ]
            ),
        )
    )
    assert only(ContactChanged, again).event_id != event.event_id


# --- batches


def test_a_batch_is_taken_whole_and_in_order() -> None:
    parsed = parse("webhook__batch")
    said = [
        event.content.text if isinstance(event, MessageReceived) else "a reaction" for event in parsed.events
    ]
    assert said == ["перше", "від Тараса", "друге", "a reaction", "третє"]
    assert isinstance(parsed.events[3], ReactionChanged)
    assert [receipt.state for receipt in parsed.receipts] == [MessageState.SENT, MessageState.DELIVERED]
    assert {person.key for person in parsed.people} == {BY_UID, "bsuid:UA.55"}
    names = [event.contact.name for event in parsed.events if isinstance(event, MessageReceived)]
    assert names == ["Олена Коваль", "Тарас", "Олена Коваль", "Олена Коваль"]


def test_of_another_number_of_the_app_nothing_is_said() -> None:
    mine, theirs = value(messages=[message("wamid.1")]), value(OTHER_NUMBER, messages=[message("wamid.2")])
    parsed = parse(envelope(("messages", mine), ("messages", theirs), ("messages", mine)))
    assert len(parsed.events) == 2
    assert parsed.counted == ("other_account",)
    assert parsed.quarantine is None


@pytest.mark.parametrize(
    "half", ["я\ud83d", "\ude00я", "\ud83d\ud83d\ude00"], ids=["first", "second", "three"]
)
def test_half_of_a_sign_costs_no_message_beside_it(half: str) -> None:
    told = wrote(message("wamid.1", f"{half}!"), message("wamid.2", "😀"), contacts=[contact(half)])
    events = parse(told).events
    texts = [event.content.text for event in events if isinstance(event, MessageReceived)]
    assert (len(texts), texts[1]) == (2, "😀")
    assert texts[0].endswith("!")


def test_a_thousand_updates_of_a_batch_and_three_megabytes_of_history_are_quick() -> None:
    people = [contact(f"Клієнт {n}", wa_id=f"38067{n:07d}", user_id=f"UA.{n}") for n in range(1000)]
    batch = wrote(*(message(f"wamid.{n}", **{"from": f"38067{n:07d}"}) for n in range(1000)), contacts=people)
    started = time.process_time()
    parsed = parse(batch)
    took_s = time.process_time() - started
    assert len(parsed.events) == len(parsed.people) == 1000
    assert [event.contact.name for event in parsed.events if isinstance(event, MessageReceived)] == [
        f"Клієнт {n}" for n in range(1000)
    ]
    past = [message(f"wamid.{n:0200d}", "Ж" * 40, history_context={"status": "READ"}) for n in range(6000)]
    history = envelope(("history", value(history=[{"threads": [{"id": PHONE, "messages": past}]}])))
    assert len(json.dumps(history)) > 3_000_000
    started = time.process_time()
    parsed = parse(history)
    took_s = max(took_s, (time.process_time() - started) / 6)
    assert len(parsed.events) == 6000
    assert len(parsed.people) == 1
    # Of the 2 s a POST of 1,000 updates may take this is only the translation.
    assert took_s < 1.0


def test_time_of_a_message_without_one_is_its_webhooks() -> None:
    told = message("wamid.1")
    del told["timestamp"]
    assert only(MessageReceived, wrote(told)).sent_at == RECEIVED_AT
    entry_time = envelope(("messages", value(messages=[told])), time=AT_SECONDS)
    assert only(MessageReceived, entry_time).sent_at == AT
    milliseconds = envelope(("messages", value(messages=[told])), time=AT_SECONDS * 1000)
    assert only(MessageReceived, milliseconds).sent_at == AT


def test_conversation_is_of_the_strongest_id_for_now() -> None:
    event = only(MessageReceived, "message__text")
    assert event.contact.key == BY_UID
    assert event.conversation_id == conversation_id(ACCOUNT.channel_id, BY_UID)
    assert event.contact.phone == f"+{PHONE}"
