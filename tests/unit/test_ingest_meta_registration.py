"""Who an account is, what it is subscribed to, how long its token lives; over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from meta_graph import (
    APP,
    BY_LOGIN,
    BY_PAGE,
    IG,
    LOGIN_TOKEN,
    NOW,
    PAGE,
    PAGE_ACCOUNT,
    TEXT,
    TOKEN,
    GraphFake,
    Hands,
    asked,
    refusal,
)

from ingest_meta import registration
from ingest_meta.client import GraphClient
from ingest_meta.registration import MESSENGER_ONLY, PAGE_FIELDS
from ingest_meta.settings import Settings
from msgkit.connector.contract import Account
from msgkit.connector.errors import CredentialsInvalid, MessageRejected, ProviderUnavailable
from msgkit.runtime.objects import ObjectStore
from msgkit.testing.wire import Answer, as_json

HOOK = "https://chat.example.com/webhooks/facebook"
PAGE_LEVEL = [names[0] for names in PAGE_FIELDS]
LINKED = {"instagram_business_account": {"id": IG, "username": "mavka.salon"}}
SCOPES = ["pages_messaging", "pages_manage_metadata", "instagram_basic", "instagram_manage_messages"]


def seconds(after: timedelta) -> int:
    return int((NOW + after).timestamp())


@pytest_asyncio.fixture
async def meta() -> AsyncIterator[GraphFake]:
    meta = GraphFake()
    meta.known = {
        "debug_token": {"data": {"app_id": APP, "is_valid": True, "expires_at": 0, "scopes": SCOPES}},
        "subscribed_apps": {"data": [{"id": APP, "subscribed_fields": PAGE_LEVEL}]},
        "me": {
            "id": PAGE,
            "name": "Салон «Мавка»",
            "user_id": IG,
            "username": "mavka.salon",
            **LINKED,
        },
        PAGE: {"id": PAGE, **LINKED},
    }
    await meta.wire.start()
    yield meta
    await meta.wire.stop()


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest_asyncio.fixture
async def client(meta: GraphFake, hands: Hands, tmp_path: Path) -> AsyncIterator[GraphClient]:
    objects = ObjectStore((tmp_path / "objects").as_uri())
    client = GraphClient(
        objects, f"{meta.wire.url}/fb", f"{meta.wire.url}/ig", clock=hands.clock, monotonic=hands
    )
    yield client
    await client.aclose()


def subscribed(meta: GraphFake) -> list[list[str]]:
    """The fields of each call that subscribed."""
    return [asked(call)["subscribed_fields"].split(",") for call in meta.calls("subscribed_apps")]


def fields(meta: GraphFake, *names: str) -> None:
    meta.known["subscribed_apps"] = {"data": [{"id": APP, "subscribed_fields": list(names)}]}


# --- who it is


@pytest.mark.parametrize(
    ("account", "account_id", "name", "path"),
    [
        (PAGE_ACCOUNT, PAGE, "Салон «Мавка»", "/fb/v25.0/me?fields=id%2Cname"),
        (BY_PAGE, IG, "@mavka.salon", "/fb/v25.0/me?fields=id%2Cinstagram_business_account"),
        (BY_LOGIN, IG, "@mavka.salon", "/ig/v25.0/me?fields=user_id%2Cusername"),
    ],
)
async def test_account_behind_the_credentials(
    client: GraphClient, meta: GraphFake, account: Account, account_id: str, name: str, path: str
) -> None:
    identity = await client.who_am_i(replace(account, account_id=""))
    assert (identity.account_id, identity.account_name) == (account_id, name)
    (call,) = meta.wire.calls
    assert call.path.startswith(path)


@pytest.mark.parametrize(
    ("account", "told", "words"),
    [
        (PAGE_ACCOUNT, {"id": "609999999999999", "name": "X"}, "page_id"),
        (PAGE_ACCOUNT, {}, "page_id"),
        # The page_id of somebody else's page proves nothing, whatever a token lets one read of it.
        (BY_PAGE, {"id": "609999999999999", **LINKED}, "page_id"),
        (BY_PAGE, {"id": PAGE}, "Instagram"),
        (BY_LOGIN, {"id": "1"}, "Instagram"),
    ],
)
async def test_credentials_that_do_not_belong_together(
    client: GraphClient, meta: GraphFake, account: Account, told: dict[str, Any], words: str
) -> None:
    meta.known["me"] = told
    with pytest.raises(CredentialsInvalid) as caught:
        await client.who_am_i(account)
    assert words in caught.value.text


async def test_page_that_is_not_there_is_a_wrong_one(client: GraphClient, meta: GraphFake) -> None:
    meta.script["subscribed_apps"] = [refusal(100, 33)]
    with pytest.raises(CredentialsInvalid) as caught:
        await client.check(BY_PAGE, HOOK)
    assert "page_id" in caught.value.text


# --- subscribing


async def test_each_flavour_subscribes_to_its_fields(client: GraphClient, meta: GraphFake) -> None:
    meta.known["subscribed_apps"] = {"data": []}
    for account in (PAGE_ACCOUNT, BY_PAGE, BY_LOGIN):
        await client.connect(account, HOOK)
    page, by_page, login = subscribed(meta)
    # Source: fact sheet 4, «Fields to subscribe».
    assert set(page) == {
        *("messages", "messaging_postbacks", "message_echoes", "message_deliveries", "message_reads"),
        *("message_reactions", "message_edits", "messaging_referrals", "messaging_optins"),
        *("messaging_handovers", "standby", "messaging_policy_enforcement"),
    }
    assert "messages" in by_page
    assert not set(by_page) & set(MESSENGER_ONLY)
    assert {"messages", "messaging_postbacks", "messaging_seen", "message_reactions", "standby"} <= set(login)
    assert [call.path.partition("?")[0] for call in meta.calls("subscribed_apps")] == [
        f"/fb/v25.0/{PAGE}/subscribed_apps",
        f"/fb/v25.0/{PAGE}/subscribed_apps",
        f"/ig/v25.0/{IG}/subscribed_apps",
    ]


async def test_instagram_does_not_take_fields_from_messenger_on_the_same_page(
    client: GraphClient, meta: GraphFake
) -> None:
    await client.connect(BY_PAGE, HOOK)
    assert subscribed(meta) == [PAGE_LEVEL]


async def test_field_that_cannot_be_had_is_not_missed(client: GraphClient, meta: GraphFake) -> None:
    without = [name for name in PAGE_LEVEL if name != "message_reads"]
    fields(meta, *without)
    assert not (await client.check(PAGE_ACCOUNT, HOOK)).connected
    meta.script["subscribed_apps"] = [refusal(100, message='got "message_reads"')]
    await client.connect(PAGE_ACCOUNT, HOOK)
    assert (await client.check(PAGE_ACCOUNT, HOOK)).connected


LEGAL = "messages, messaging_postbacks, message_reactions, messaging_handovers, message_edits, feed"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            [f'(#100) Param subscribed_fields[2] must be one of {{{LEGAL}}} - got "messaging_seen".'],
            ["messages", "messaging_postbacks", "message_reactions", "messaging_handovers", "message_edits"],
        ),
        (
            ['(#100) unknown field, got "messaging_seen"', "(#100) unknown field, got message_edit"],
            [
                *("messages", "messaging_postbacks", "message_reactions", "messaging_referral"),
                *("messaging_handover", "standby", "message_edits", "message_echoes"),
            ],
        ),
    ],
)
async def test_field_meta_does_not_take_is_left_out(
    client: GraphClient, meta: GraphFake, answers: list[str], expected: list[str]
) -> None:
    meta.script["subscribed_apps"] = [refusal(100, message=said) for said in answers]
    await client.connect(BY_LOGIN, HOOK)
    assert subscribed(meta)[-1] == expected
    # Known from now on, and not missed by a look.
    await client.connect(BY_LOGIN, HOOK)
    assert len(subscribed(meta)) == len(answers) + 2
    fields(meta, *expected)
    assert (await client.check(BY_LOGIN, HOOK)).connected


@pytest.mark.parametrize("said", ["(#100) Why.", "(#100) must be one of {feed, mention} - got nothing", ""])
async def test_refusal_that_is_not_about_fields_is_told(
    client: GraphClient, meta: GraphFake, said: str
) -> None:
    meta.script["subscribed_apps"] = [refusal(100, message=said)]
    with pytest.raises(MessageRejected):
        await client.connect(PAGE_ACCOUNT, HOOK)
    assert len(subscribed(meta)) == 1


async def test_meta_that_refuses_one_field_after_another_is_left_alone(
    client: GraphClient, meta: GraphFake
) -> None:
    meta.script["subscribed_apps"] = [refusal(100, message=f"got {name}") for name in PAGE_LEVEL]
    with pytest.raises((ProviderUnavailable, MessageRejected)):
        await client.connect(PAGE_ACCOUNT, HOOK)
    assert len(subscribed(meta)) <= 12


# --- looking


@pytest.mark.parametrize(
    ("account", "listed", "connected", "is_dropped"),
    [
        (PAGE_ACCOUNT, [{"id": APP, "subscribed_fields": PAGE_LEVEL}], True, False),
        (PAGE_ACCOUNT, [{"id": int(APP), "subscribed_fields": PAGE_LEVEL}], True, False),
        (PAGE_ACCOUNT, [{"id": APP}], True, False),
        (PAGE_ACCOUNT, [], False, True),
        (PAGE_ACCOUNT, [{"id": "26390203743090", "subscribed_fields": PAGE_LEVEL}], False, True),
        (PAGE_ACCOUNT, [{"id": APP, "subscribed_fields": []}], False, True),
        (PAGE_ACCOUNT, [{"id": APP, "subscribed_fields": ["messages", "feed"]}], False, True),
        (PAGE_ACCOUNT, ["x", None], False, True),
        (BY_PAGE, [{"id": APP, "subscribed_fields": ["messages"]}], True, False),
        (BY_PAGE, [{"id": APP, "subscribed_fields": ["feed"]}], False, True),
        (BY_PAGE, [], False, True),
        (BY_LOGIN, [{"id": "7", "subscribed_fields": ["messages", "messaging_postbacks"]}], True, False),
        (BY_LOGIN, [{"id": "7", "subscribed_fields": ["messages"]}], False, True),
        (BY_LOGIN, [], False, True),
    ],
)
async def test_how_an_account_is_connected(
    client: GraphClient,
    meta: GraphFake,
    account: Account,
    listed: list[Any],
    connected: bool,
    is_dropped: bool,
) -> None:
    meta.known["subscribed_apps"] = {"data": listed}
    report = await client.check(account, HOOK)
    assert (report.connected, report.is_dropped) == (connected, is_dropped)
    assert (report.problem is None) is connected


async def test_lost_instagram_says_where_access_is_allowed(client: GraphClient, meta: GraphFake) -> None:
    meta.known["subscribed_apps"] = {"data": []}
    for account in (BY_PAGE, BY_LOGIN):
        assert "Дозволити доступ до повідомлень" in ((await client.check(account, HOOK)).problem or "")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"expires_at": 0, "scopes": SCOPES}, None),
        ({"expires_at": seconds(timedelta(days=7, minutes=1)), "scopes": SCOPES}, None),
        ({"expires_at": seconds(timedelta(days=7, minutes=-1)), "scopes": SCOPES}, "29.11.2026"),
        ({"data_access_expires_at": seconds(timedelta(days=2)), "scopes": SCOPES}, "24.11.2026"),
        ({"expires_at": 0, "scopes": ["pages_manage_metadata"]}, "pages_messaging"),
        ({"scopes": []}, None),
        ({}, None),
    ],
)
async def test_what_a_token_says_of_itself(
    client: GraphClient, meta: GraphFake, told: dict[str, Any], words: str | None
) -> None:
    meta.known["debug_token"] = {"data": {"app_id": APP, "is_valid": True, **told}}
    report = await client.check(PAGE_ACCOUNT, HOOK)
    assert report.connected
    assert (report.problem is None) if words is None else words in (report.problem or "")


async def test_permissions_are_those_of_the_flavour(client: GraphClient, meta: GraphFake) -> None:
    meta.known["debug_token"] = {
        "data": {"app_id": APP, "scopes": ["pages_messaging", "pages_manage_metadata"]}
    }
    assert (await client.check(PAGE_ACCOUNT, HOOK)).problem is None
    assert "instagram_manage_messages" in ((await client.check(BY_PAGE, HOOK)).problem or "")


@pytest.mark.parametrize(
    "answer", [as_json({"data": {"is_valid": False}}), refusal(190, 463), refusal(190, status=401)]
)
async def test_token_that_is_over_disconnects(client: GraphClient, meta: GraphFake, answer: Answer) -> None:
    meta.script["debug_token"] = [answer]
    with pytest.raises(CredentialsInvalid) as caught:
        await client.check(PAGE_ACCOUNT, HOOK)
    assert "токен" in caught.value.text.lower()


@pytest.mark.parametrize("answer", [refusal(10), refusal(100), refusal(2), refusal(4), Answer(does="drop")])
async def test_token_nothing_is_told_of_is_no_problem(
    client: GraphClient, meta: GraphFake, answer: Answer
) -> None:
    meta.script["debug_token"] = [answer]
    report = await client.check(PAGE_ACCOUNT, HOOK)
    assert (report.connected, report.problem) == (True, None)


async def test_token_is_in_no_log(
    client: GraphClient, meta: GraphFake, capfd: pytest.CaptureFixture[str]
) -> None:
    meta.script["debug_token"] = [refusal(10, message=TOKEN)]
    meta.script["subscribed_apps"] = [Answer(does="drop")]
    with pytest.raises(ProviderUnavailable) as caught:
        await client.check(PAGE_ACCOUNT, HOOK)
    assert TOKEN not in "".join(capfd.readouterr())
    assert TOKEN not in repr(caught.value)
    in_addresses = [call.path for call in meta.wire.calls if TOKEN in call.path]
    assert all("/debug_token?" in path for path in in_addresses)


async def test_a_blocked_account_is_not_switched_on_again_for_one_send_after_another(
    client: GraphClient, meta: GraphFake, hands: Hands
) -> None:
    meta.script["messages"] = [refusal(368)]
    with pytest.raises(CredentialsInvalid) as caught:
        await client.send(PAGE_ACCOUNT, TEXT)
    stopped = replace(PAGE_ACCOUNT, state="disconnected")
    with pytest.raises(CredentialsInvalid) as held:
        await client.check(stopped, HOOK)
    assert held.value.text == caught.value.text
    assert (await client.check(PAGE_ACCOUNT, HOOK)).connected
    hands.now += 3600
    assert (await client.check(stopped, HOOK)).connected


# --- leaving


async def test_page_of_messenger_alone_is_left(client: GraphClient, meta: GraphFake) -> None:
    meta.known[PAGE] = {"id": PAGE}
    await client.disconnect(PAGE_ACCOUNT)
    await client.disconnect(BY_LOGIN)
    paths = [call.path for call in meta.calls("subscribed_apps", "DELETE")]
    assert paths == [f"/fb/v25.0/{PAGE}/subscribed_apps", f"/ig/v25.0/{IG}/subscribed_apps"]


async def test_page_that_leads_to_instagram_stays_for_it(client: GraphClient, meta: GraphFake) -> None:
    await client.disconnect(PAGE_ACCOUNT)
    assert meta.calls("subscribed_apps", "DELETE") == []
    assert subscribed(meta) == [[name for name in PAGE_LEVEL if name not in MESSENGER_ONLY]]
    own = replace(PAGE_ACCOUNT, credentials={**PAGE_ACCOUNT.credentials, "app_secret": "x"})
    await client.disconnect(own)
    assert len(meta.calls("subscribed_apps", "DELETE")) == 1


async def test_instagram_leaves_the_page_to_messenger(client: GraphClient, meta: GraphFake) -> None:
    await client.disconnect(BY_PAGE)
    assert meta.calls("subscribed_apps", "DELETE") == []
    fields(meta, "messages", "messaging_postbacks")
    await client.disconnect(BY_PAGE)
    assert len(meta.calls("subscribed_apps", "DELETE")) == 1


# --- renewing


async def test_token_of_a_login_is_renewed_once_a_day(
    client: GraphClient, meta: GraphFake, hands: Hands
) -> None:
    meta.known["refresh_access_token"] = {
        "access_token": "IGAAnew",
        "token_type": "bearer",
        "expires_in": 5184000,
    }
    credentials = await client.renew(BY_LOGIN)
    assert credentials is not None
    assert credentials["access_token"] == "IGAAnew"
    assert credentials["token_expires_at"] == str(seconds(timedelta(days=60)))
    (call,) = meta.wire.calls
    assert call.path == "/ig/v25.0/refresh_access_token?grant_type=ig_refresh_token"
    assert call.headers["authorization"] == f"Bearer {LOGIN_TOKEN}"
    renewed = replace(BY_LOGIN, credentials=credentials)
    hands.now += 86_399
    assert await client.renew(renewed) is None
    hands.now += 1
    assert await client.renew(renewed) is not None
    assert len(meta.wire.calls) == 2


async def test_token_of_a_page_is_not_renewed(client: GraphClient, meta: GraphFake) -> None:
    assert await client.renew(PAGE_ACCOUNT) is None
    assert await client.renew(BY_PAGE) is None
    assert meta.wire.calls == []


async def test_renewal_that_is_refused(client: GraphClient, meta: GraphFake, hands: Hands) -> None:
    known = replace(
        BY_LOGIN, credentials={**BY_LOGIN.credentials, "token_expires_at": str(seconds(timedelta(days=30)))}
    )
    meta.script["refresh_access_token"] = [refusal(100), refusal(100), refusal(190), as_json({}), refusal(2)]
    # It may be too young: nobody told us when it was made. Latest then it ends, and a week before it is said.
    dated = await client.renew(BY_LOGIN)
    assert dated == {**BY_LOGIN.credentials, "token_expires_at": str(seconds(timedelta(days=60)))}
    assert await client.renew(replace(BY_LOGIN, credentials=dated)) is None
    with pytest.raises(MessageRejected) as caught:
        await client.renew(known)
    assert "токен" in caught.value.text
    with pytest.raises(CredentialsInvalid):
        await client.renew(BY_LOGIN)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await client.renew(BY_LOGIN)


async def test_token_of_a_login_that_ends_is_told_a_week_before(
    client: GraphClient, meta: GraphFake, hands: Hands
) -> None:
    fields(meta, "messages", "messaging_postbacks")
    for days, is_told in ((7.1, False), (6.9, True)):
        end = str(seconds(timedelta(days=days)))
        account = replace(BY_LOGIN, credentials={**BY_LOGIN.credentials, "token_expires_at": end})
        report = await client.check(account, HOOK)
        assert (report.connected, report.problem is not None) == (True, is_told)


def test_needed_fields_are_asked_for() -> None:
    for flavour, needed in registration._NEEDED.items():
        wanted = {name for names in registration.wanted_fields(flavour) for name in names}
        assert needed <= wanted


def test_subscriptions_are_looked_at_every_quarter_of_an_hour() -> None:
    assert Settings.model_fields["health_every_s"].default == 15 * 60
