"""Viber callbacks become our events; the welcome, presses and shared numbers are ours or nothing."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ingest_viber import tracking
from ingest_viber.connector import CHECK_MAX_BYTES, ViberBotConnector
from ingest_viber.inbound import to_parsed
from ingest_viber.payloads import SIGNATURE_HEADER
from ingest_viber.tracking import Greeting
from ingest_viber.welcome import checked, to_welcome
from msgkit.connector.contract import Account, Parsed, ProviderReceipt, WebhookRequest
from msgkit.connector.errors import MessageRejected, SignatureInvalid
from msgkit.contracts.events import (
    ButtonPress,
    Contact,
    ContactAvailability,
    MessageEchoed,
    MessageReceived,
    Place,
    SharedContact,
)
from msgkit.contracts.ids import conversation_id
from msgkit.contracts.internal_api import AccountSettings
from msgkit.contracts.views import ChannelButton, Welcome
from msgkit.contracts.words import AuthorKind, FailureCode, MessageState

FIXTURES = Path(__file__).parent.parent / "fixtures" / "viber"
RECEIVED_AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TOKEN = "44b935abea139fd6-53fa53b32559c4a6-12dbd3d883b06835"
OLENA = "5h2COTj83ZE6IAsIcTEVGw=="
SOMEBODY = "O_h4hR9J5WbsSGg6I6KW7Y=="
WELCOME = AccountSettings(
    welcome=Welcome(text="Вітаємо! 💇", buttons=(ChannelButton(text="Ціни", value="cmd:price"),)),
    commands=(),
)
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
    credentials={"token": TOKEN},
    webhook_secret="s3cret",
    settings=WELCOME,
)


def request(body: bytes, headers: dict[bytes, bytes] | None = None, query: bytes = b"") -> WebhookRequest:
    return WebhookRequest(headers or {}, body, "w" * 32, RECEIVED_AT, query)


def parse(callback: object, account: Account = ACCOUNT) -> Parsed:
    body = callback if isinstance(callback, bytes) else json.dumps(callback).encode()
    return to_parsed(request(body), account)


def fixture(name: str) -> bytes:
    return (FIXTURES / f"{name}.json").read_bytes()


def received(callback: object, account: Account = ACCOUNT) -> MessageReceived:
    event = parse(callback, account).events[-1]
    assert isinstance(event, MessageReceived)
    return event


def written(
    text: str = "Добрий день", along: object = None, author: str = OLENA, **more: Any
) -> dict[str, Any]:
    message = {"type": "text", "text": text, "tracking_data": along, **more}
    return {
        "event": "message",
        "timestamp": 1795257001123,
        "message_token": 5851650804048782321,
        "sender": {"id": author, "name": "Олена"},
        "message": message,
    }


# --- the signature


def verify(headers: dict[bytes, bytes], body: bytes, query: bytes = b"", account: Account = ACCOUNT) -> None:
    connector = ViberBotConnector(client=None, downloads=None)  # type: ignore[arg-type]  # pure members only
    connector.verify(request(body, headers, query), account)


def signature(body: bytes, token: str = TOKEN) -> bytes:
    return hmac.new(token.encode(), body, "sha256").hexdigest().encode()


def test_signature_of_the_published_vector_holds() -> None:
    body = fixture("unsubscribed__test_vector")
    known = b"d84d8648b402a2737838fea4da41d903d1af1aed92466b1758828ad27e31a9f9"
    verify({SIGNATURE_HEADER: known}, body)
    verify({}, body, b"sig=" + known)
    with pytest.raises(SignatureInvalid):
        verify({SIGNATURE_HEADER: known}, body + b" ")


def test_signature_in_the_address_counts_only_without_a_header() -> None:
    body = json.dumps(written()).encode()
    right, wrong = signature(body), signature(body + b" ")
    verify({}, body, b"a=1&sig=" + right)
    refused: list[tuple[dict[bytes, bytes], bytes]] = [
        ({SIGNATURE_HEADER: wrong}, b"sig=" + right),
        ({SIGNATURE_HEADER: b""}, b"sig=" + right),
        ({}, b"sig=" + wrong),
        ({}, b"sig=" + right + b"&sig=" + wrong),
        ({}, b"sig="),
        ({}, b"sig=%FF%D0%96"),
        ({}, b""),
    ]
    for headers, query in refused:
        with pytest.raises(SignatureInvalid):
            verify(headers, body, query)


def test_body_of_another_bot_is_refused() -> None:
    other = replace(ACCOUNT, channel_id="d" * 32, credentials={"token": "55b935abea139fd6-x-y"})
    body = json.dumps(written()).encode()
    with pytest.raises(SignatureInvalid):
        verify({SIGNATURE_HEADER: signature(body)}, body, account=other)


def test_unsigned_check_is_taken_and_says_nothing() -> None:
    body = fixture("webhook__check")
    verify({}, body)
    assert parse(body) == Parsed(counted=("webhook",), is_kept=False)
    big = json.dumps({"event": "webhook", "x": "y" * CHECK_MAX_BYTES}).encode()
    twice = b'{"event": "webhook", "event": "message"}'
    for unsigned in (fixture("message__text"), big, twice, b"webhook", b"[]", b"{}"):
        with pytest.raises(SignatureInvalid):
            verify({}, unsigned)
    with pytest.raises(SignatureInvalid):
        verify({SIGNATURE_HEADER: b"0" * 64}, body)


# --- messages


def test_contact_is_the_sender_and_a_placeholder_is_no_name() -> None:
    assert received(fixture("message__text")).contact == Contact(
        key=OLENA, name="Олена", username=None, phone=None, language="uk-UA"
    )
    assert received(fixture("message__sender_emoji_name")).contact.name == "💇‍♀️✨"
    assert received(fixture("message__sender_id_as_number")).contact.key == "776655443322"
    for name in ("message__sender_placeholder", "message__sender_without_name"):
        assert received(fixture(name)).contact.name == ""


def test_token_above_2_53_keeps_every_digit_and_breaks_ties_of_the_time() -> None:
    event = received(fixture("message__text"))
    token = json.loads(fixture("message__text"))["message_token"]
    assert token > 2**53
    assert (event.provider_id, event.provider_seq) == (str(token), token)
    assert event.sent_at == datetime(2026, 11, 21, 10, 30, 1, 123000, UTC)


def test_message_is_the_same_whichever_way_its_token_is_written() -> None:
    callback = written()
    as_text = {**callback, "message_token": str(callback["message_token"]), "chat_hostname": "SN-OTHER_"}
    assert received(callback).event_id == received(as_text).event_id
    other = written(author=SOMEBODY)
    assert received(callback).event_id != received(other).event_id


SIGNED = "Expires=1795260602&Signature=s&Key-Pair-Id=K"


@pytest.mark.parametrize(
    ("name", "ref_ends", "file_name", "size", "seconds"),
    [
        ("message__picture", f"ab/cd.jpg?{SIGNED}", "1557267880757450.jpg", 356135, None),
        ("message__video", f"v.mp4?{SIGNED}", None, 250381, 2.466),
        ("message__video_as_documented", f"v.mp4?{SIGNED}", "v.mp4", 250381, 12.0),
        ("message__file", f"f.pdf?{SIGNED}", "рахунок.pdf", 83211, None),
        ("message__sticker", "/00153500.png", None, None, None),
        ("message__sticker_id_as_text", "/docs/img/stickers/46105.png", None, None, None),
    ],
)
def test_file_is_what_really_comes(
    name: str, ref_ends: str, file_name: str | None, size: int | None, seconds: float | None
) -> None:
    (media,) = received(fixture(name)).content.media
    assert media.ref.endswith(ref_ends)
    assert (media.name, media.size_bytes, media.duration_s) == (file_name, size, seconds)


def test_place_and_link() -> None:
    assert received(fixture("message__location")).content.place == Place(
        latitude=50.4501, longitude=30.5234, title=None, address=None
    )
    place = received(fixture("message__location_as_text")).content.place
    assert place is not None
    assert (place.latitude, place.address) == (50.4501, "Київ")
    (entity,) = received(fixture("message__url_with_words")).content.entities
    assert (entity.kind, entity.offset, entity.length) == ("url", 11, 14)


def test_somebodys_card_is_not_the_clients_number() -> None:
    event = received(fixture("message__contact"))
    assert event.content.shared_contact == SharedContact(name="Ірина", phone="+380671234567", is_own=False)
    assert event.contact.phone is None
    without_plus = received(fixture("message__contact_without_plus")).content.shared_contact
    assert without_plus == SharedContact(name="Контакт", phone="+380671234567", is_own=False)
    local = received(fixture("message__contact_local_number")).content.shared_contact
    assert local == SharedContact(name="Майстер", phone="067 123-45-67", is_own=False)


def card(along: object, author: str = OLENA) -> dict[str, Any]:
    return written(along=along, author=author, type="contact", contact={"phone_number": "380671234567"})


def test_number_is_own_only_while_our_own_button_was_there() -> None:
    asked = tracking.of_message(ACCOUNT, OLENA, "m1", asks_phone=True)
    event = received(card(asked))
    assert event.content.shared_contact == SharedContact(name="Контакт", phone="+380671234567", is_own=True)
    assert event.contact.phone == "+380671234567"
    not_asked = tracking.of_message(ACCOUNT, OLENA, "m1", asks_phone=False)
    of_another_bot = replace(ACCOUNT, credentials={"token": "another-token"})
    for along in (
        not_asked,
        not_asked.replace("m.", "p.", 1),
        asked[:-1],
        "p.m1.",
        "p",
        None,
        7,
        tracking.of_message(ACCOUNT, SOMEBODY, "m1", asks_phone=True),
        tracking.of_message(of_another_bot, OLENA, "m1", asks_phone=True),
    ):
        shared = received(card(along)).content.shared_contact
        assert shared is not None
        assert not shared.is_own, along


# --- the welcome


def opened(context: str | None = "crm_7f3A", **more: Any) -> dict[str, Any]:
    callback = json.loads(fixture("conversation_started__with_context"))
    callback |= more
    if context is None:
        del callback["context"]
    return dict(callback)


def test_opened_chat_is_welcomed_in_the_answer_and_nothing_else_comes_of_it() -> None:
    parsed = parse(opened())
    assert parsed.events == ()
    welcome = json.loads(parsed.reply)
    assert welcome["type"] == "text"
    assert welcome["text"] == "Вітаємо! 💇"
    assert welcome["sender"] == {"name": "Салон краси «Ромашка» на Подолі"[:28]}
    assert "receiver" not in welcome
    (button,) = welcome["keyboard"]["Buttons"]
    assert (button["ActionType"], button["Text"]) == ("reply", "Ціни")


def test_no_welcome_without_a_text_a_user_or_for_who_was_welcomed_before() -> None:
    silent = replace(ACCOUNT, settings=AccountSettings(welcome=Welcome(text=" "), commands=()))
    assert parse(opened(), silent).reply == b""
    assert parse(opened(), replace(ACCOUNT, settings=None)).reply == b""
    assert parse(opened(user={})).reply == b""
    assert parse(opened(context=None, subscribed=True)).reply == b""
    assert parse(opened(context=None)).reply != b""
    assert parse(opened(subscribed=True)).reply != b""


def test_first_message_brings_the_welcome_as_it_was_said_and_the_link() -> None:
    callback = opened(timestamp=1795257000100)
    along = json.loads(parse(callback).reply)["tracking_data"]
    changed = replace(ACCOUNT, settings=AccountSettings(welcome=Welcome(text="Інше"), commands=()))
    echo, first = parse(written(along=along), changed).events
    assert isinstance(echo, MessageEchoed)
    assert isinstance(first, MessageReceived)
    assert (echo.content.text, echo.author_kind) == ("Вітаємо! 💇", AuthorKind.BOT)
    assert echo.sent_at == datetime(2026, 11, 21, 10, 30, 0, 100000, UTC)
    assert echo.sent_at < first.sent_at
    assert echo.provider_id == "welcome:1795257000100"
    assert [[(button.text, button.value) for button in row] for row in echo.buttons] == [
        [("Ціни", "cmd:price")]
    ]
    assert echo.conversation_id == first.conversation_id == conversation_id(ACCOUNT.channel_id, OLENA)
    assert first.start_payload == "crm_7f3A"
    # The client writes again before anybody answers: the same data comes back, and the same event.
    again = parse({**written("Ви тут?", along=along), "message_token": 5851650804048782399}).events
    assert again[0].event_id == echo.event_id
    assert again[1].event_id != first.event_id


def test_welcome_nobody_said_is_not_shown() -> None:
    along = json.loads(parse(opened()).reply)["tracking_data"]
    said, _, mark = along.rpartition(".")
    forged = Greeting(1795257000100, "Вам знижка 100 %", (), None)
    other = replace(ACCOUNT, credentials={"token": "another-token"})
    for came in (
        f"{said}x.{mark}",
        along[:-1],
        f".{mark}",
        tracking.of_greeting(other, OLENA, forged),
        tracking.of_greeting(ACCOUNT, SOMEBODY, forged),
        "w.eJw.AAAAAAAAAAAAAAAAAAAAAA",
        "w..",
        "w." + "x" * 5000,
        {"w": 1},
    ):
        (only,) = parse(written(along=came)).events
        assert isinstance(only, MessageReceived), came


def test_longest_welcome_fits_into_what_comes_back() -> None:
    text = " ".join(f"слово{n}" for n in range(210))
    assert len(text) > 1700
    buttons = tuple(ChannelButton(text=f"Послуга {n}", value=f"cmd:{n}") for n in range(6))
    settings = AccountSettings(welcome=Welcome(text=text, buttons=buttons), commands=())
    account = replace(ACCOUNT, settings=settings)
    checked(settings, account)
    reply = to_welcome(account, OLENA, 1795257000100, "crm")
    assert len(reply) <= 30_000
    greeting = tracking.read(account, OLENA, json.loads(reply)["tracking_data"]).greeting
    assert greeting is not None
    assert (greeting.text, len(greeting.buttons)) == (text, 6)


@pytest.mark.parametrize(
    ("welcome", "words"),
    [
        (Welcome(text="ж" * 7001), "скоротіть"),
        (Welcome(text=" ".join(sha256(bytes([n])).hexdigest() for n in range(100))), "скоротіть"),
        (Welcome(text="", buttons=(ChannelButton(text="a", value="b"),)), "напишіть текст"),
        (Welcome(text="a", buttons=(ChannelButton(text=" ", value="b"),)), "додайте текст"),
        (Welcome(text="a", buttons=(ChannelButton(text="a", value=""),)), "задайте"),
    ],
)
def test_welcome_that_cannot_be_said_is_refused_before(welcome: Welcome, words: str) -> None:
    with pytest.raises(MessageRejected, match=words):
        checked(AccountSettings(welcome=welcome, commands=()), ACCOUNT)


def test_chat_opens_without_a_welcome_that_cannot_be_said_any_more() -> None:
    old = AccountSettings(welcome=Welcome(text="ж" * 7001), commands=())
    parsed = parse(opened(), replace(ACCOUNT, settings=old))
    assert (parsed.reply, parsed.counted) == (b"", ("conversation_started", "deep_link"))


# --- presses


def pressed_body(account: Account = ACCOUNT) -> str:
    body = json.loads(parse(opened(), account).reply)["keyboard"]["Buttons"][0]["ActionBody"]
    return str(body)


def test_press_is_its_title_with_its_value() -> None:
    event = received({**written(pressed_body()), "silent": True})
    assert event.content.text == "Ціни"
    assert event.pressed == ButtonPress(value="cmd:price", message_provider_id=None)


def test_forged_press_is_a_text_like_any_other() -> None:
    body = pressed_body()
    other = pressed_body(replace(ACCOUNT, credentials={"token": "another-token"}))
    for text in (body.replace("price", "admin"), body.replace("Ціни", "Цінu"), other, "rz:x:1:ab", body[3:]):
        event = received(written(text))
        assert (event.content.text, event.pressed) == (text, None)
    assert received(written(body, author=SOMEBODY)).pressed is None


# --- subscriptions and receipts


@pytest.mark.parametrize(
    ("name", "available", "key"),
    [
        ("subscribed__new", True, OLENA),
        ("unsubscribed__left", False, OLENA),
        ("unsubscribed__test_vector", False, "KMMqtlNTDxIm/5bZhdQ5uA=="),
    ],
)
def test_subscription_is_availability(name: str, available: bool, key: str) -> None:
    (event,) = parse(fixture(name)).events
    assert isinstance(event, ContactAvailability)
    assert (event.available, event.contact.key) == (available, key)
    assert event.happened_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        milliseconds=json.loads(fixture(name))["timestamp"]
    )


@pytest.mark.parametrize(
    ("name", "state", "and_earlier"),
    [
        ("delivered__own", MessageState.DELIVERED, False),
        ("seen__own", MessageState.READ, True),
        ("failed__without_desc", MessageState.FAILED, False),
    ],
)
def test_receipt_names_a_message_and_makes_no_event(
    name: str, state: MessageState, and_earlier: bool
) -> None:
    callback = json.loads(fixture(name))
    parsed = parse(fixture(name))
    assert parsed.events == ()
    (receipt,) = parsed.receipts
    assert isinstance(receipt, ProviderReceipt)
    assert (receipt.state, receipt.and_earlier) == (state, and_earlier)
    assert receipt.provider_id == str(callback["message_token"])
    assert receipt.conversation_id == conversation_id(ACCOUNT.channel_id, OLENA)
    assert (receipt.failure is None) == (state is not MessageState.FAILED)
    assert not receipt.contact_blocked


def test_late_refusal_says_what_to_do_with_and_without_a_reason() -> None:
    for name, told in (("failed__without_desc", False), ("failed__with_desc", True)):
        (receipt,) = parse(fixture(name)).receipts
        assert receipt.failure is not None
        assert receipt.failure.code is FailureCode.REJECTED
        assert "Надішліть інакше" in receipt.failure.text
        assert ("failure description" in receipt.failure.text) is told
