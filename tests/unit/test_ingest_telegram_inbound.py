"""Telegram updates become our events; nothing that is sent to us breaks the translation."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_telegram.connector import TelegramBotConnector
from ingest_telegram.inbound import to_parsed
from msgkit.connector.contract import Account, Parsed, WebhookRequest
from msgkit.connector.errors import PayloadInvalid, SignatureInvalid
from msgkit.contracts.events import (
    INBOUND,
    RAW_LIMIT_BYTES,
    ContactAvailability,
    InboundEvent,
    MessageEdited,
    MessageReceived,
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


@dataclass(frozen=True)
class Case:
    """A fixture and what it must become: a message of this kind, something counted, or quarantine."""

    name: str
    kind: MessageKind | None = None
    text: str = ""
    unsupported: str | None = None
    counted: tuple[str, ...] = ()
    quarantined: bool = False
    more: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("message__text_with_url", MessageKind.TEXT, "👋 Ціна https://a.ua"),
    Case(
        "message__start_with_payload",
        MessageKind.TEXT,
        "/start crm_7f3A-9",
        more={"start_payload": "crm_7f3A-9"},
    ),
    Case("message__start_plain", MessageKind.TEXT, "/start", more={"start_payload": ""}),
    Case("message__photo_in_album", MessageKind.IMAGE, "Дві фото", more={"group_id": "13891234567890123"}),
    Case("message__video", MessageKind.VIDEO),
    Case("message__video_note", MessageKind.VIDEO),
    Case("message__animation", MessageKind.VIDEO),
    Case("message__voice", MessageKind.VOICE),
    Case("message__document", MessageKind.FILE, "рахунок"),
    Case("message__sticker", MessageKind.STICKER, "👍"),
    Case("message__location", MessageKind.LOCATION, "50.450100, 30.523400"),
    Case("message__venue", MessageKind.LOCATION, "Салон\nХрещатик, 1\n50.450000, 30.520000"),
    Case(
        "message__contact_own",
        MessageKind.CONTACT,
        "Олена 380671234567",
        more={"reply_to_provider_id": "39"},
    ),
    Case("message__contact_foreign", MessageKind.CONTACT, "Петро +380501112233"),
    Case("message__forward_with_quote", MessageKind.TEXT, "ще діє?"),
    Case("message__unknown_origin_tag", MessageKind.TEXT, "Переслано"),
    Case("message__unknown_content", MessageKind.UNSUPPORTED, unsupported="checklist"),
    Case("message__text_of_wrong_type", MessageKind.UNSUPPORTED, unsupported="text"),
    Case("message__null_lists", MessageKind.UNSUPPORTED, unsupported="new_thing"),
    Case("message__photo_without_file", MessageKind.UNSUPPORTED, "Що це?", unsupported="photo"),
    Case("message__odd_entities", MessageKind.TEXT, "👋 привіт"),
    Case("message__ids_above_2_53", MessageKind.TEXT, "великі числа"),
    Case("message__without_from", MessageKind.TEXT, "чат і є клієнт"),
    Case("message__date_of_wrong_type", MessageKind.TEXT, "Коли?", more={"sent_at": RECEIVED_AT}),
    Case(
        "new_kind__message_like",
        MessageKind.UNSUPPORTED,
        "Я з майбутнього",
        unsupported="note_from_the_future",
    ),
    Case("message__ids_above_2_63", quarantined=True),
    Case("message__without_author", quarantined=True),
    Case("new_kind__opaque", quarantined=True),
    Case("update__empty", quarantined=True),
    Case("message__pinned", counted=("service_note",)),
    Case("message__group_anonymous_admin", counted=("not_private",)),
    Case("my_chat_member__in_group", counted=("not_private",)),
    Case("edited_message__live_location", counted=("live_location",)),
    Case("channel_post__text", counted=("channel_post",)),
    Case("callback_query__press", counted=("callback_query",)),
    Case("message_reaction__group", counted=("message_reaction",)),
    Case("business_connection__enabled", counted=("business_connection",)),
    Case("business_message__text", counted=("business_message",)),
    Case("edited_business_message__text", counted=("edited_business_message",)),
    Case("deleted_business_messages__one", counted=("deleted_business_messages",)),
]
OWN_TESTS = {"edited_message__text", "my_chat_member__kicked", "my_chat_member__member"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fixture_becomes(case: Case) -> None:
    if case.quarantined:
        with pytest.raises(PayloadInvalid):
            parse(fixture(case.name))
        return
    parsed = parse(fixture(case.name))
    assert parsed.counted == case.counted
    if case.kind is None:
        assert parsed.events == ()
        return
    (event,) = parsed.events
    assert isinstance(event, MessageReceived)
    assert (event.content.kind, event.content.text) == (case.kind, case.text)
    assert event.content.unsupported == case.unsupported
    assert event.raw.encode() == fixture(case.name)
    assert (event.tenant_id, event.channel_id) == ("salon", ACCOUNT.channel_id)
    assert event.conversation_id == conversation_id(ACCOUNT.channel_id, event.contact.key)
    assert event.provider_id == str(event.provider_seq)
    for name, value in case.more.items():
        assert getattr(event, name) == value
    assert INBOUND.validate_json(event.model_dump_json()) == event


def test_every_fixture_has_a_case() -> None:
    assert {file.stem for file in FIXTURES.glob("*.json")} == {case.name for case in CASES} | OWN_TESTS


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
    assert received(fixture("message__contact_own")).contact.phone == "380671234567"
    assert received(fixture("message__contact_foreign")).contact.phone is None


def test_media_says_what_its_connector_needs_to_fetch_it() -> None:
    (photo,) = received(fixture("message__photo_in_album")).content.media
    assert (photo.ref, photo.width, photo.height, photo.size_bytes) == ("AgACAgIAAxkBAAIy", 1280, 960, 118020)
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


# --- nothing that is sent to us breaks the translation

SAMPLES = [json.loads(file.read_bytes()) for file in sorted(FIXTURES.glob("*.json"))]
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 2**53 + 1, 2**70, -(2**70), 1.5, 1e308, "", "x", "\x00", "💇" * 3, [], [None],
    [[]], {}, {"id": None}, [{"type": []}],
]  # fmt: skip


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        found += nodes(child, (*path, key))
    return found


def with_value(sample: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(sample)
    target = changed
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return changed


def accepted_or_refused(update: Any) -> None:
    try:
        parsed = parse(update)
    except PayloadInvalid:
        return
    assert parsed.events or parsed.counted
    for event in parsed.events:
        assert isinstance(event, InboundEvent)
        INBOUND.validate_json(event.model_dump_json())


def test_every_node_of_every_sample_may_be_anything() -> None:
    for sample in SAMPLES:
        for path in nodes(sample):
            for value in ODD_VALUES:
                accepted_or_refused(with_value(sample, path, value))


def test_every_node_of_every_sample_may_be_missing() -> None:
    for sample in SAMPLES:
        for path in nodes(sample):
            changed = copy.deepcopy(sample)
            target = changed
            for step in path[:-1]:
                target = target[step]
            del target[path[-1]]
            accepted_or_refused(changed)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(sample=st.sampled_from(SAMPLES), data=st.data(), value=json_values)
def test_any_value_at_any_node(sample: Any, data: st.DataObject, value: Any) -> None:
    path = data.draw(st.sampled_from(nodes(sample)))
    accepted_or_refused(with_value(sample, path, value))


@given(body=st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    try:
        parse(body)
    except PayloadInvalid:
        return


# --- authenticity


def verify(header: bytes | None, secret: str = ACCOUNT.webhook_secret) -> None:
    headers = {} if header is None else {"x_telegram_bot_api_secret_token": header}
    account = Account(
        **{name: getattr(ACCOUNT, name) for name in ACCOUNT.__slots__} | {"webhook_secret": secret}
    )
    TelegramBotConnector(client=None).verify(request(b"{}", **headers), account)  # type: ignore[arg-type]  # no call


def test_right_secret_is_taken() -> None:
    verify(b"s3cret")


@pytest.mark.parametrize("header", [None, b"", b"s3cre", b"s3cretx", b"S3CRET", "é".encode(), b"\xff\xfe"])
def test_wrong_secret_is_refused(header: bytes | None) -> None:
    with pytest.raises(SignatureInvalid):
        verify(header)


def test_account_without_a_secret_takes_nothing() -> None:
    with pytest.raises(SignatureInvalid):
        verify(b"", secret="")
