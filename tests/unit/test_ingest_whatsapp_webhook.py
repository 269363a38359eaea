"""The door of the app: whose a webhook is, who signed it, and the handshake."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace

import pytest
from whatsapp_talk import (
    ACCOUNT,
    APP_SECRET,
    NUMBER,
    OTHER,
    OTHER_NUMBER,
    OURS,
    WABA,
    envelope,
    fixture,
    message,
    parse,
    request,
    value,
)

from ingest_whatsapp.connector import WhatsAppConnector
from msgkit.connector.contract import (
    HasTemplates,
    Polls,
    ResolvesUnknown,
    ServesApp,
    SignalsChats,
)
from msgkit.connector.errors import PayloadInvalid, SignatureInvalid
from msgkit.connector.hub import SIGNATURE_HEADER
from msgkit.contracts.events import MessageReceived

CONNECTOR = WhatsAppConnector(client=None)  # type: ignore[arg-type]  # pure members only


def split(said: object) -> list[tuple[str, bytes]]:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return [(part.known_as, part.body) for part in CONNECTOR.split(request(body))]


def test_it_is_what_the_kit_asks_for() -> None:
    for ability in (ServesApp, ResolvesUnknown, SignalsChats, HasTemplates):
        assert isinstance(CONNECTOR, ability)
    assert not isinstance(CONNECTOR, Polls)
    abilities = CONNECTOR.manifest.abilities
    assert abilities.read_marks
    assert abilities.typing
    assert abilities.templates
    assert CONNECTOR.manifest.reply_window_hours == 24


# --- parts


def test_each_number_gets_its_own_changes_in_order_and_nobody_elses() -> None:
    def change(number: str, wamid: str) -> tuple[str, object]:
        return "messages", value(number, messages=[message(wamid, wamid)])

    whole = envelope(
        change(NUMBER, "1"), change(OTHER_NUMBER, "2"), change(NUMBER, "3"), time=1795257001, more="x"
    )
    whole["entry"] += envelope(change(OTHER_NUMBER, "4"), change(NUMBER, "5"), waba="77")["entry"]
    parts = dict(split(whole))
    assert list(parts) == [NUMBER, OTHER_NUMBER]
    for account, known_as, wanted in ((ACCOUNT, NUMBER, "135"), (OTHER, OTHER_NUMBER, "24")):
        said = parse(parts[known_as], account)
        ids = [event.provider_id for event in said.events if isinstance(event, MessageReceived)]
        assert "".join(ids) == wanted
        assert said.counted == ()
    assert OTHER_NUMBER.encode() not in parts[NUMBER]
    assert [entry["id"] for entry in json.loads(parts[NUMBER])["entry"]] == [WABA, "77"]


def test_a_webhook_about_one_number_stays_as_it_came() -> None:
    body = fixture("webhook__batch")
    assert split(body) == [(NUMBER, body)]


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("account__banned", f"waba:{WABA}"),
        ("account__template_approved", f"waba:{WABA}"),
        # One number is thrown out, and the others of the account work on.
        ("account__partner_removed", f"number:{OURS}"),
        ("account__offboarded", f"number:{OURS}"),
        ("account__quality", f"number:{OURS}"),
        ("account__errors", NUMBER),
        ("webhook__of_another_number", OTHER_NUMBER),
        ("webhook__messages_without_metadata", f"waba:{WABA}"),
    ],
)
def test_what_an_account_is_known_as(name: str, known_as: str) -> None:
    assert [part for part, _ in split(fixture(name))] == [known_as]


def test_number_is_found_written_as_a_number_too() -> None:
    assert [part for part, _ in split(fixture("message__numbers_as_text_and_text_as_numbers"))] == [NUMBER]


@pytest.mark.parametrize("name", ["webhook__dashboard_test", "webhook__entry_empty"])
def test_a_test_of_the_dashboard_is_about_nobody(name: str) -> None:
    assert split(fixture(name)) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"object": "page", "entry": []}',
        b'{"object": "whatsapp_business_account"}',
        b'{"object": "whatsapp_business_account", "entry": {}}',
        b'{"entry": []}',
        b'{"field": 7}',
        b'{"object": "whatsapp_business_account", "entry": [' + b"[" * 5000 + b"]" * 5000 + b"]}",
        b'\xff{"object": "whatsapp_business_account", "entry": []}',
    ],
)
def test_what_is_no_webhook_of_whatsapp_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadInvalid):
        split(body)
    with pytest.raises(PayloadInvalid):
        parse(body)


@pytest.mark.parametrize("entry", [None, 7, "x", [], {}, {"changes": None}, {"changes": [None, 7, {}]}])
def test_an_odd_entry_is_nobodys_and_the_others_are_taken(entry: object) -> None:
    whole = envelope(("messages", value(messages=[message("1")])))
    whole["entry"].insert(0, entry)
    parts = split(whole)
    assert [known_as for known_as, _ in parts] == ["waba:", NUMBER]
    assert len(parse(parts[1][1]).events) == 1
    assert len(parse(whole).events) == 1
    assert parse(whole).quarantine == "a change without a value"


# --- signatures


def signed(body: bytes, secret: str) -> dict[bytes, bytes]:
    digest = hmac.new(secret.encode(), body, "sha256").hexdigest()
    return {SIGNATURE_HEADER: b"sha256=" + digest.encode()}


def test_signature_is_over_the_bytes_as_meta_escapes_them() -> None:
    escaped = b'{"text":"\\u0436\\u00e4","url":"https:\\/\\/a.ua"}'
    CONNECTOR.verify_app(request(escaped, signed(escaped, APP_SECRET)), [APP_SECRET])
    again = json.dumps(json.loads(escaped)).encode()
    with pytest.raises(SignatureInvalid):
        CONNECTOR.verify_app(request(again, signed(escaped, APP_SECRET)), [APP_SECRET])


def test_either_secret_counts_while_one_is_changed() -> None:
    body = b"{}"
    for secret in ("old-secret", APP_SECRET):
        CONNECTOR.verify_app(request(body, signed(body, secret)), ["old-secret", APP_SECRET])
    for secret in ("", "another"):
        with pytest.raises(SignatureInvalid):
            CONNECTOR.verify_app(request(body, signed(body, secret)), ["", APP_SECRET])


def test_an_address_of_its_own_takes_the_own_app_only() -> None:
    body = b"{}"
    own = replace(ACCOUNT, credentials={**ACCOUNT.credentials, "app_secret": "own-secret"})
    assert CONNECTOR.needs_own_address(own)
    assert not CONNECTOR.needs_own_address(ACCOUNT)
    CONNECTOR.verify(request(body, signed(body, "own-secret")), own)
    for account, secret in ((own, APP_SECRET), (ACCOUNT, ""), (ACCOUNT, APP_SECRET)):
        with pytest.raises(SignatureInvalid):
            CONNECTOR.verify(request(body, signed(body, secret)), account)


# --- the handshake


GOOD = b"hub.mode=subscribe&hub.verify_token=s3cret%20word&hub.challenge=1158201444"


def test_handshake_gives_the_challenge_back() -> None:
    assert CONNECTOR.shake_hands(GOOD, ["another", "s3cret word"]) == b"1158201444"


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"hub.mode=subscribe",
        GOOD.replace(b"subscribe", b"unsubscribe"),
        GOOD.replace(b"s3cret", b"S3cret"),
        GOOD.replace(b"s3cret%20word", b""),
        GOOD.replace(b"1158201444", b""),
        GOOD.replace(b"1158201444", b"%3Cscript%3E"),
        GOOD.replace(b"1158201444", b"1" * 201),
        GOOD + b"&hub.challenge=2",
        GOOD + b"&hub.verify_token=x",
        GOOD.replace(b"hub.", b"hub_"),
        GOOD.replace(b"s3cret", b"%FF%D0"),
        b"\xff\xfe" + GOOD,
    ],
)
def test_handshake_of_somebody_else_is_refused(query: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        CONNECTOR.shake_hands(query, ["s3cret word"])


def test_without_a_token_of_ours_there_is_no_handshake() -> None:
    empty = GOOD.replace(b"s3cret%20word", b"")
    for query, tokens in ((GOOD, []), (empty, []), (empty, [""])):
        with pytest.raises(SignatureInvalid):
            CONNECTOR.shake_hands(query, tokens)
