"""Who a webhook speaks of: five variants, one person; and what a change of number says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from whatsapp_talk import (
    AT,
    AT_SECONDS,
    BY_PHONE,
    BY_UID,
    PHONE,
    UID,
    contact,
    envelope,
    fixture,
    message,
    only,
    parse,
    value,
    wrote,
)

from ingest_whatsapp.identity import same_people
from msgkit.connector.contract import PersonSeen
from msgkit.contracts.events import ContactChanged, MessageReceived

BOTH = (BY_UID, BY_PHONE)


@pytest.mark.parametrize(
    ("name", "ids", "address", "person"),
    [
        ("text", BOTH, BY_PHONE, ("Олена Коваль", "olena.koval")),
        ("phone_and_user_id_with_parent", BOTH, BY_PHONE, ("Олена Коваль", "olena.koval")),
        ("user_id_only", (BY_UID,), BY_UID, ("Олена", "olena.koval")),
        ("user_id_in_from", (BY_UID,), BY_UID, ("Олена", None)),
        ("wa_id_empty", (BY_UID,), BY_UID, ("Олена", None)),
        ("phone_only", (BY_PHONE,), BY_PHONE, ("Олена", None)),
        ("without_contacts", (BY_PHONE,), BY_PHONE, ("", None)),
        # Somebody else's name is worse than none.
        ("contacts_of_another", BOTH, BY_PHONE, ("", None)),
        ("ids_only_in_contacts", BOTH, BY_PHONE, ("Олена Коваль", "olena.koval")),
        ("numbers_as_text_and_text_as_numbers", (BY_PHONE,), BY_PHONE, ("Олена", None)),
    ],
)
def test_every_variant_is_the_person_it_names(
    name: str, ids: tuple[str, ...], address: str, person: tuple[str, str | None]
) -> None:
    (seen,) = parse(f"message__{name}").people
    assert seen == PersonSeen(key=ids[0], ids=ids, also=(), retired=(), address=address, at=AT)
    event = only(MessageReceived, f"message__{name}")
    assert event.contact.key == ids[0]
    assert (event.contact.name, event.contact.username) == person
    assert event.contact.phone == (f"+{PHONE}" if BY_PHONE in ids else None)


def test_event_is_the_same_whichever_ids_come_with_it() -> None:
    variants = [
        message("wamid.1"),
        message("wamid.1", **{"from": "", "from_user_id": UID}),
        message("wamid.1", from_user_id=UID),
    ]
    events = [only(MessageReceived, wrote(told)) for told in variants]
    assert len({event.event_id for event in events}) == 1


def test_another_spelling_is_looked_for_and_the_given_one_is_kept() -> None:
    (seen,) = parse("message__phone_of_brazil").people
    assert seen.ids == ("phone:551187654321",)
    assert seen.also == ("phone:5511987654321",)
    assert seen.address == "phone:551187654321"
    assert only(MessageReceived, "message__phone_of_brazil").contact.phone == "+5511987654321"


def test_contacts_of_a_batch_are_found_by_any_id_and_in_any_spelling() -> None:
    people = [
        contact("Тарас", wa_id="380639990000", user_id="UA.55"),
        contact("Ana", wa_id="5511987654321"),
        contact("Олена", user_id=UID),
        "odd",
        {"profile": None, "wa_id": []},
    ]
    batch = wrote(
        message("wamid.1", **{"from": None, "from_user_id": "UA.55"}),
        message("wamid.2", **{"from": "551187654321"}),
        message("wamid.3", from_user_id=UID),
        message("wamid.4", **{"from": "380990000009"}),
        contacts=people,
    )
    events = [event for event in parse(batch).events if isinstance(event, MessageReceived)]
    assert [event.contact.name for event in events] == ["Тарас", "Ana", "Олена", ""]
    assert [event.contact.key for event in events] == [
        "bsuid:UA.55",
        "phone:551187654321",
        BY_UID,
        "phone:380990000009",
    ]
    # What only `contacts` says belongs to the person too.
    assert events[0].contact.phone == "+380639990000"


@pytest.mark.parametrize(
    "odd",
    ["", " ", "abc", "12", "+", "UA.", "UA", "ENT.1", "US.ENT.118", "1" * 40, "UA.\x00", [], {}, True, -5],
)
def test_what_is_no_id_is_nobody(odd: object) -> None:
    parsed = parse(wrote(message("wamid.1", **{"from": odd, "from_user_id": odd})))
    assert parsed.events == ()
    assert parsed.quarantine == "a message without a phone or a user id"


# --- changes


def test_a_new_number_is_the_same_person_and_the_old_ids_are_free() -> None:
    parsed = parse("system__new_number")
    (event,), (seen,) = parsed.events, parsed.people
    assert isinstance(event, ContactChanged)
    assert seen == PersonSeen(
        key="bsuid:UA.999",
        ids=("bsuid:UA.999", "phone:380509998877"),
        also=(),
        retired=BOTH,
        address="phone:380509998877",
        at=AT,
    )
    assert event.contact.key == seen.key
    assert (event.contact.phone, event.previous_phone) == ("+380509998877", f"+{PHONE}")
    assert event.is_new_number
    assert event.happened_at == AT


def test_the_old_name_of_a_change_and_one_without_any_phone() -> None:
    by_phone = parse("system__new_number_old_name")
    assert by_phone.people[0].ids == ("phone:380509998877",)
    assert by_phone.people[0].retired == (BY_PHONE,)
    hidden = parse("system__new_user_id")
    (seen,) = hidden.people
    assert (seen.ids, seen.retired, seen.address) == (("bsuid:UA.999",), (BY_UID,), "bsuid:UA.999")
    (event,) = hidden.events
    assert isinstance(event, ContactChanged)
    assert (event.contact.phone, event.previous_phone, event.is_new_number) == (None, None, True)


def changed(system: object, **sender: Any) -> dict[str, Any]:
    told = {**sender, "id": "wamid.s", "timestamp": str(AT_SECONDS), "type": "system", "system": system}
    return envelope(("messages", value(messages=[told])))


def test_a_change_that_changes_no_number_says_so() -> None:
    same = changed({"wa_id": PHONE, "user_id": "UA.2", "type": "user_changed_number"}, **{"from": PHONE})
    event = only(ContactChanged, same)
    assert (event.is_new_number, event.previous_phone) == (False, None)
    assert parse(same).people[0].retired == ()


@pytest.mark.parametrize(
    ("system", "counted"),
    [
        ({"type": "user_changed_number"}, "system_of_nobody"),
        ({"type": "user_changed_number", "wa_id": ""}, "system_of_nobody"),
        ({"type": "something_new", "wa_id": PHONE}, "system_unknown"),
        ({}, "system_unknown"),
        ("odd", "system_unknown"),
    ],
)
def test_a_system_message_that_says_nothing_is_counted(system: object, counted: str) -> None:
    parsed = parse(changed(system, **{"from": PHONE}))
    assert (parsed.events, parsed.people, parsed.counted) == ((), (), (counted,))


def seen_at(minute: int, ids: tuple[str, ...] = BOTH, retired: tuple[str, ...] = ()) -> PersonSeen:
    at = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(minutes=minute)
    return PersonSeen(key=ids[0], ids=ids, also=(), retired=retired, address=ids[-1], at=at)


def test_a_proof_counts_once_with_its_latest_moment_and_never_across_a_change() -> None:
    moved = seen_at(5, ("bsuid:UA.999",), retired=BOTH)
    many = [seen_at(1), seen_at(3), seen_at(2), seen_at(4, (BY_UID,)), moved, seen_at(6), seen_at(7)]
    assert same_people(many) == (seen_at(3), seen_at(4, (BY_UID,)), moved, seen_at(7))


def test_a_person_in_the_address_book_who_writes_too_is_remembered() -> None:
    """Both in one webhook: the one who is only looked for must not swallow the proof."""
    by_book = replace(seen_at(5), is_known_only=True)
    assert same_people([by_book, seen_at(1)]) == (by_book, seen_at(1))


def test_a_status_of_ours_links_both_ids_once() -> None:
    (seen,) = parse("status__sent").people
    assert seen.ids == BOTH
    of_another_program = json.loads(fixture("status__sent"))
    status = of_another_program["entry"][0]["changes"][0]["value"]["statuses"][0]
    for mark in ("65f0c1", None):
        status["biz_opaque_callback_data"] = mark
        assert parse(of_another_program).people == ()
    for name in ("status__read", "status__delivered_to_a_user_id", "status__failed_window"):
        assert parse(name).people == ()
