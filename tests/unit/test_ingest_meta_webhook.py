"""The door of the app: whose a webhook is, who signed it, and the handshake."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace

import pytest
from meta_talk import (
    ACCOUNT,
    APP_SECRET,
    INSTAGRAM,
    OTHER,
    OTHER_PAGE,
    PAGE,
    entry,
    fixture,
    message,
    parse,
    request,
    webhook,
    wrote,
)

from ingest_meta.connector import MetaConnector
from msgkit.connector.contract import (
    Account,
    HasKinds,
    HasProfiles,
    HasTemplates,
    HearsItself,
    Polls,
    RecallsMissed,
    RenewsCredentials,
    ResolvesUnknown,
    ServesApp,
    SignalsChats,
)
from msgkit.connector.errors import PayloadInvalid, SignatureInvalid
from msgkit.connector.hub import SIGNATURE_HEADER
from msgkit.contracts.events import MessageReceived

CONNECTOR = MetaConnector(client=None)  # type: ignore[arg-type]  # pure members only


def split(said: object) -> list[tuple[str, bytes]]:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return [(part.known_as, part.body) for part in CONNECTOR.split(request(body))]


def test_it_is_what_the_kit_asks_for() -> None:
    for ability in (
        HasKinds,
        HasProfiles,
        HearsItself,
        RecallsMissed,
        RenewsCredentials,
        ResolvesUnknown,
        ServesApp,
        SignalsChats,
    ):
        assert isinstance(CONNECTOR, ability)
    for other in (HasTemplates, Polls):
        assert not isinstance(CONNECTOR, other)
    assert CONNECTOR.manifest is CONNECTOR.manifests[0]
    assert [manifest.kind for manifest in CONNECTOR.manifests] == ["facebook", "instagram"]
    assert {manifest.service for manifest in CONNECTOR.manifests} == {"ingest-meta"}


def test_people_have_a_week_where_meta_grants_it() -> None:
    windows = [
        (manifest.reply_window_hours, manifest.human_reply_window_hours, manifest.human_agent_by_default)
        for manifest in CONNECTOR.manifests
    ]
    assert windows == [(24, 168, False), (24, 168, True)]


def test_every_credential_says_where_it_is_found() -> None:
    for manifest in CONNECTOR.manifests:
        for name, told in manifest.credentials_schema["properties"].items():
            assert told["title"], name
            assert "→" in told["description"], name
            assert told.get("writeOnly", False) == (name != "page_id"), name


# --- parts


def test_each_page_gets_its_own_entries_in_order_and_nobody_elses() -> None:
    whole = webhook(
        entry(message("m_1", "один")),
        entry(message("m_2", "два"), account=OTHER),
        entry(message("m_3", "три"), more="x"),
        entry(message("m_4", "чотири"), where="standby", account=OTHER),
        entry(message("m_5", "п'ять")),
    )
    parts = dict(split(whole))
    assert list(parts) == [PAGE, OTHER_PAGE]
    for account, known_as, wanted in ((ACCOUNT, PAGE, "135"), (OTHER, OTHER_PAGE, "24")):
        said = parse(parts[known_as], account)
        ids = [event.provider_id for event in said.events if isinstance(event, MessageReceived)]
        assert ids == [f"m_{n}" for n in wanted]
        assert said.counted == ()
    assert OTHER_PAGE.encode() not in parts[PAGE]


def test_each_part_says_of_which_messenger_it_is() -> None:
    """Whichever address it comes to: in the App Dashboard one may stand for both."""
    for account in (ACCOUNT, INSTAGRAM):
        body = json.dumps(wrote(message("m_1"), account=account)).encode()
        assert [part.kind for part in CONNECTOR.split(request(body))] == [account.kind]


def test_a_webhook_about_one_page_stays_as_it_came() -> None:
    body = fixture("message__text_as_escaped_on_the_wire")
    assert split(body) == [(PAGE, body)]


def test_page_is_found_written_as_a_number_too() -> None:
    assert [part for part, _ in split({"object": "page", "entry": [{"id": int(PAGE)}]})] == [PAGE]


def test_instagram_is_found_by_its_own_id() -> None:
    body = fixture("message__text", INSTAGRAM)
    assert split(body) == [(INSTAGRAM.account_id, body)]


def test_five_hundred_entries_are_taken_whole_and_in_order() -> None:
    entries = [entry(message(f"m_{n}", str(n)), account=(ACCOUNT, OTHER)[n % 2]) for n in range(500)]
    parts = dict(split(webhook(*entries)))
    for remainder, account in enumerate((ACCOUNT, OTHER)):
        events = parse(parts[account.account_id], account).events
        ids = [event.provider_id for event in events if isinstance(event, MessageReceived)]
        assert ids == [f"m_{n}" for n in range(remainder, 500, 2)]


def test_half_a_sign_costs_nothing_beside_it() -> None:
    whole = json.dumps(
        webhook(
            entry(message("m_1", "обрізано \ud83d"), message("m_2", "💇")),
            entry(message("m_3"), account=OTHER),
            entry(message("m_4", "\udc87 обрізано")),
        )
    ).encode()
    texts = [
        event.content.text
        for event in parse(dict(split(whole))[PAGE]).events
        if isinstance(event, MessageReceived)
    ]
    assert texts == ["обрізано ?", "💇", "? обрізано"]


@pytest.mark.parametrize("name", ["webhook__dashboard_test", "webhook__without_entries_in_it"])
def test_a_test_of_the_dashboard_is_about_nobody(name: str) -> None:
    assert split(fixture(name)) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"object": "whatsapp_business_account", "entry": []}',
        b'{"object": ["page"], "entry": []}',
        b'{"object": "page"}',
        b'{"object": "page", "entry": {}}',
        b'{"entry": []}',
        b'{"field": 7}',
        b'{"object": "page", "entry": [' + b"[" * 5000 + b"]" * 5000 + b"]}",
        b'{"x": "\\ud83d", "object": "page", "entry": [' + b"[" * 5000 + b"]" * 5000 + b"]}",
        b'\xff{"object": "page", "entry": []}',
    ],
)
def test_what_is_no_webhook_of_ours_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadInvalid):
        split(body)
    with pytest.raises(PayloadInvalid):
        parse(body)


@pytest.mark.parametrize("odd", [None, 7, "x", [], {}, {"messaging": None}, {"messaging": [None, 7, {}]}])
def test_an_odd_entry_is_nobodys_and_the_others_are_taken(odd: object) -> None:
    whole = webhook(odd, entry(message("m_1")))
    parts = split(whole)
    assert [known_as for known_as, _ in parts] == ["", PAGE]
    assert len(parse(parts[1][1]).events) == 1
    assert len(parse(whole).events) == 1


def test_entry_of_another_page_is_no_business_of_this_one() -> None:
    said = parse(webhook(entry(message("m_1"), account=OTHER), entry(message("m_2"))))
    (event,) = said.events
    assert isinstance(event, MessageReceived)
    assert event.provider_id == "m_2"
    assert said.counted == ("other_account",)


# --- signatures


def signed(body: bytes, secret: str) -> dict[bytes, bytes]:
    digest = hmac.new(secret.encode(), body, "sha256").hexdigest()
    return {SIGNATURE_HEADER: b"sha256=" + digest.encode()}


def test_signature_is_over_the_bytes_as_meta_escapes_them() -> None:
    escaped = fixture("message__text_as_escaped_on_the_wire")
    assert b"\\u0446" in escaped
    assert b"250\\/300" in escaped
    CONNECTOR.verify_app(request(escaped, signed(escaped, APP_SECRET)), [APP_SECRET])
    for again in (json.dumps(json.loads(escaped)), json.dumps(json.loads(escaped), ensure_ascii=False)):
        with pytest.raises(SignatureInvalid):
            CONNECTOR.verify_app(request(again.encode(), signed(escaped, APP_SECRET)), [APP_SECRET])


def test_either_secret_counts_and_no_other_apps() -> None:
    """One is being changed for another, or Instagram's own login has an app of its own."""
    body = b"{}"
    for secret in ("instagram-app-secret", APP_SECRET):
        CONNECTOR.verify_app(request(body, signed(body, secret)), ["instagram-app-secret", APP_SECRET])
    for secret in ("", "another-apps-secret"):
        with pytest.raises(SignatureInvalid):
            CONNECTOR.verify_app(request(body, signed(body, secret)), ["", APP_SECRET])


@pytest.mark.parametrize("account", [ACCOUNT, INSTAGRAM], ids=lambda account: account.kind)
def test_an_address_of_its_own_takes_the_own_app_only(account: Account) -> None:
    body = b"{}"
    own = replace(account, credentials={**account.credentials, "app_secret": "own-secret"})
    assert CONNECTOR.needs_own_address(own)
    assert not CONNECTOR.needs_own_address(account)
    CONNECTOR.verify(request(body, signed(body, "own-secret")), own)
    for one, secret in ((own, APP_SECRET), (account, ""), (account, APP_SECRET)):
        with pytest.raises(SignatureInvalid):
            CONNECTOR.verify(request(body, signed(body, secret)), one)


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
        GOOD + b"&hub.challenge=2",
        GOOD.replace(b"hub.", b"hub_"),
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


# --- what stands in a webhook beside messages


def test_one_broken_item_costs_no_other() -> None:
    said = parse(wrote(message("m_1"), 7, {"message": 7}, message("m_2")))
    ids = [event.provider_id for event in said.events if isinstance(event, MessageReceived)]
    assert ids == ["m_1", "m_2"]
    assert said.quarantine == "an item that is no object; a message that is no object"
