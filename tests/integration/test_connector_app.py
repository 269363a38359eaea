"""The door of a whole app on real servers: one webhook, many accounts, and nobody gets what is another's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from app_messenger import KIND
from app_stage import (
    APP,
    CLINIC,
    CLINIC_NUMBER,
    NEW_SECRET,
    NEW_TOKEN,
    SALON,
    SALON_NUMBER,
    SECRET,
    TOKEN,
    AppStage,
    app_staged,
    entry,
)
from connector_stage import CREDENTIAL_KEY

from msgkit.connector.accounts import CACHE_SECONDS, AccountStore
from msgkit.connector.credentials import Keyring
from msgkit.connector.door import BODY_MAX_BYTES
from msgkit.connector.errors import CredentialsInvalid, ProviderUnavailable, Throttled
from msgkit.connector.quarantine import UNOWNED_KEPT
from msgkit.connector.settings import AppKeys
from msgkit.contracts.events import MessageReceived
from msgkit.contracts.internal_api import MessageTemplate
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import MongoServer, VirtualHosts

pytestmark = pytest.mark.servers

OWN_SECRET = "the-salons-own-app-secret"


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[AppStage]:
    async with app_staged(amqp_url, mongo_url, mongo_prefix) as stage:
        yield stage


async def nothing_came(stage: AppStage) -> None:
    """Only what is sent now arrives: the bus keeps the order, so nothing was published before."""
    assert (await stage.post(entry(SALON_NUMBER, "позначка"))).status_code == 200
    assert await stage.texts(1) == [("salon", "позначка")]
    assert len(await stage.journalled(1)) == 1
    assert stage.journal.empty()
    assert await stage.quarantined() == []


# --- the handshake


def asked(token: str | None, mode: str = "subscribe", challenge: str = "1158201444") -> str:
    said = {"hub.mode": mode, "hub.challenge": challenge, "hub.verify_token": token}
    return "?" + "&".join(f"{name}={value}" for name, value in said.items() if value is not None)


async def test_the_handshake_of_the_app(stage: AppStage) -> None:
    for query, status in (
        (asked(TOKEN), 200),
        (asked(NEW_TOKEN), 200),
        (asked("wrong"), 403),
        (asked(""), 403),
        (asked(None), 403),
        (asked(TOKEN, mode="unsubscribe"), 403),
        (asked(SECRET), 403),
        ("", 403),
        ("?%ff=%00", 403),
    ):
        answer = await stage.public.get(f"{APP}{query}")
        assert answer.status_code == status, query
        if status == 200:
            assert answer.content == b"1158201444"
            assert answer.headers["content-type"].startswith("text/plain")
            assert answer.headers["x-content-type-options"] == "nosniff"
        else:
            assert answer.content == b""


async def test_the_handshake_of_one_account_knows_its_own_word_and_the_houses(stage: AppStage) -> None:
    """Its own where we register the address; where a person types it into a dashboard, the house's."""
    await stage.connected(app_secret=OWN_SECRET)
    account = await AccountStore(stage.database, Keyring("k1", {"k1": CREDENTIAL_KEY})).load(SALON)
    assert account is not None
    secret = account.webhook_secret
    for channel_id, token, status in (
        (SALON, secret, 200),
        (SALON, TOKEN, 200),
        (SALON, "wrong", 403),
        (CLINIC, secret, 404),
    ):
        answer = await stage.public.get(f"{APP}/{channel_id}{asked(token)}")
        assert (answer.status_code, answer.content) == (status, b"1158201444" if status == 200 else b"")


# --- who may speak


async def test_a_wrong_signature_is_403_and_nothing_is_stored(stage: AppStage) -> None:
    await stage.connected()
    body = json.dumps({"entries": [entry(SALON_NUMBER, "чуже")]}).encode()
    for headers in ({}, {"x-signature": ""}, {"x-signature": "wrong"}):
        answer = await stage.public.post(APP, content=body, headers=headers)
        assert (answer.status_code, answer.content) == (403, b"")
    for secret in ("", "wrong", SALON_NUMBER, TOKEN):
        assert (await stage.post(entry(SALON_NUMBER, "чуже"), secret=secret)).status_code == 403
    await nothing_came(stage)


async def test_both_secrets_hold_while_one_is_being_changed(stage: AppStage) -> None:
    await stage.connected()
    for secret in (SECRET, NEW_SECRET):
        assert (await stage.post(entry(SALON_NUMBER, secret), secret=secret)).status_code == 200
    assert await stage.texts(2) == [("salon", SECRET), ("salon", NEW_SECRET)]


async def test_without_app_secrets_there_is_no_door_and_no_account(
    amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    async with app_staged(amqp_url, mongo_url, mongo_prefix, keys=AppKeys()) as stage:
        assert (await stage.post(entry(SALON_NUMBER, "x"), secret="")).status_code == 404
        assert (await stage.public.get(f"{APP}{asked('')}")).status_code == 404
        refused = await stage.put(SALON, SALON_NUMBER)
        assert refused.status_code == 422
        assert refused.json()["missing"] == ["app_secret"]
        assert "Секрет застосунку" in refused.json()["detail"]
        assert await stage.database["accounts"].count_documents({}) == 0

        await stage.connected(app_secret=OWN_SECRET)
        own = f"{APP}/{SALON}"
        assert stage.answers.registered[SALON_NUMBER].endswith(own)
        assert (await stage.post(entry(SALON_NUMBER, "своє"), secret=OWN_SECRET, path=own)).status_code == 200
        assert await stage.texts(1) == [("salon", "своє")]


async def test_the_address_is_the_apps_unless_the_account_has_an_app_of_its_own(stage: AppStage) -> None:
    probe = (await stage.put(SALON, SALON_NUMBER)).json()
    assert probe["webhook_url"] == f"http://127.0.0.1:8081{APP}"
    await stage.connected()
    assert stage.answers.registered == {SALON_NUMBER: f"http://127.0.0.1:8081{APP}"}
    await stage.connected(app_secret=OWN_SECRET)
    assert stage.answers.registered == {SALON_NUMBER: f"http://127.0.0.1:8081{APP}/{SALON}"}
    # Without a secret of its own nobody may speak at the account's address.
    await stage.connected()
    own = f"{APP}/{SALON}"
    assert (await stage.post(entry(SALON_NUMBER, "x"), path=own)).status_code == 403
    await nothing_came(stage)


async def test_the_limits_of_a_body_are_those_of_every_door(stage: AppStage) -> None:
    await stage.connected()
    big = entry(SALON_NUMBER, "x" * (BODY_MAX_BYTES + 1))
    assert (await stage.post(big)).status_code == 413
    assert (await stage.public.put(APP)).status_code == 405
    assert (await stage.public.post(f"/webhooks/{KIND}/", content=b"x")).status_code in {307, 404}
    await nothing_came(stage)


# --- whose is it


async def test_one_webhook_of_two_tenants_gives_each_its_own(stage: AppStage) -> None:
    await stage.connected()
    await stage.connected(CLINIC, CLINIC_NUMBER)
    parts = [
        entry(SALON_NUMBER, "салону 1"),
        entry(CLINIC_NUMBER, "клініці 1", client="9"),
        entry(SALON_NUMBER, "салону 2"),
        entry(CLINIC_NUMBER, "x", breaks=True, secret_word="клініка"),
        entry(SALON_NUMBER, breaks=True, secret_word="салон"),
    ]
    assert (await stage.post(*parts)).status_code == 200

    found = await stage.texts(3)
    assert found == [("salon", "салону 1"), ("clinic", "клініці 1"), ("salon", "салону 2")]
    kept = await stage.journalled(5)
    assert [channel_id for channel_id, _ in kept] == [SALON, CLINIC, SALON, CLINIC, SALON]
    quarantined = await stage.quarantined()
    assert {(each["tenant_id"], each["channel_id"]) for each in quarantined} == {
        ("salon", SALON),
        ("clinic", CLINIC),
    }
    held: dict[str, str] = {SALON: "", CLINIC: ""}
    for channel_id, body in kept:
        held[channel_id] += body
    for each in quarantined:
        held[each["channel_id"]] += each["body"].decode() + each["reason"]
    other = {SALON: CLINIC_NUMBER, CLINIC: SALON_NUMBER}
    for channel_id, everything in held.items():
        assert other[channel_id] not in everything
    assert json.dumps("клініка")[1:-1] not in held[SALON]
    assert json.dumps("салон")[1:-1] not in held[CLINIC]


async def test_a_webhook_of_one_account_is_journalled_once_as_it_came(stage: AppStage) -> None:
    await stage.connected()
    body = json.dumps({"entries": [entry(SALON_NUMBER, str(n)) for n in range(3)]}).encode()
    assert (await stage.post(body=body)).status_code == 200
    assert [text for _, text in await stage.texts(3)] == ["0", "1", "2"]
    assert await stage.journalled(1) == [(SALON, body.decode())]
    assert stage.journal.empty()


async def test_what_is_of_nobody_is_kept_without_a_tenant_and_holds_nobody(stage: AppStage) -> None:
    await stage.connected()
    stranger = entry("900", "незнайомцю")
    for _ in range(2):
        assert (await stage.post(stranger, entry(SALON_NUMBER, "салону"))).status_code == 200
    assert await stage.texts(2) == [("salon", "салону")] * 2
    (kept,) = await stage.quarantined()
    assert (kept["tenant_id"], kept["channel_id"], kept["known_as"]) == (None, None, "900")
    assert (json.loads(kept["body"]), kept["times"], kept["kind"]) == (stranger, 2, KIND)
    for channel_id, body in await stage.journalled(2):
        assert channel_id == SALON
        assert "900" not in body


async def test_an_id_of_nobody_cannot_fill_the_store(stage: AppStage) -> None:
    await stage.post(*(entry("900", str(n)) for n in range(UNOWNED_KEPT + 20)))
    assert (await stage.post(entry("901", "x"))).status_code == 200
    assert len(await stage.quarantined()) == UNOWNED_KEPT + 1


async def test_what_nobody_understands_is_kept_without_a_tenant(stage: AppStage) -> None:
    bodies = [b"", b"{", b"[]", b"\xff", b"nul"]
    for body in bodies:
        assert [(await stage.post(body=body)).status_code for _ in range(2)] == [200, 200]
    kept = await stage.quarantined()
    assert sorted(each["body"] for each in kept) == sorted(bodies)
    assert {(each["tenant_id"], each["known_as"], each["times"]) for each in kept} == {(None, None, 2)}


async def test_a_test_without_envelope_is_counted_and_not_kept(stage: AppStage) -> None:
    await stage.connected()
    assert (await stage.post(body=b'{"field": "messages", "value": {}}')).status_code == 200
    await nothing_came(stage)


async def test_what_is_said_of_a_group_goes_to_each_of_its_accounts(stage: AppStage) -> None:
    await stage.connected(group="5")
    await stage.connected(CLINIC, CLINIC_NUMBER, group="5")
    assert (await stage.post(entry("group:5", "усім"))).status_code == 200
    assert sorted(await stage.texts(2)) == [("clinic", "усім"), ("salon", "усім")]
    kept = await stage.journalled(2)
    assert {channel_id for channel_id, _ in kept} == {SALON, CLINIC}


async def test_another_account_at_an_address_of_ones_own_is_ignored(stage: AppStage) -> None:
    await stage.connected(app_secret=OWN_SECRET, group="5")
    await stage.connected(CLINIC, CLINIC_NUMBER)
    parts = (entry(CLINIC_NUMBER, "чуже"), entry(SALON_NUMBER, "своє"), entry("group:5", "і групи"))
    own = f"{APP}/{SALON}"
    assert (await stage.post(*parts, secret=OWN_SECRET, path=own)).status_code == 200
    assert await stage.texts(2) == [("salon", "своє"), ("salon", "і групи")]
    for channel_id, body in await stage.journalled(2):
        assert channel_id == SALON
        assert CLINIC_NUMBER not in body
    assert (await stage.post(parts[0], secret=OWN_SECRET, path=own)).status_code == 200
    assert await stage.quarantined() == []
    assert stage.journal.empty()


# --- what becomes of accounts


async def test_what_is_on_its_way_to_a_disabled_account_is_taken_and_to_a_deleted_one_is_nobodys(
    stage: AppStage,
) -> None:
    await stage.connected()
    assert (await stage.call("POST", SALON, "/disable")).status_code == 200
    assert (await stage.post(entry(SALON_NUMBER, "ще в дорозі"))).status_code == 200
    assert await stage.texts(1) == [("salon", "ще в дорозі")]

    assert (await stage.call("DELETE", SALON)).status_code == 204
    assert (await stage.post(entry(SALON_NUMBER, "запізно"))).status_code == 200
    (kept,) = await stage.quarantined()
    assert (kept["tenant_id"], kept["known_as"]) == (None, SALON_NUMBER)

    await stage.connected(CLINIC, SALON_NUMBER)
    assert (await stage.post(entry(SALON_NUMBER, "новому власникові"))).status_code == 200
    assert await stage.texts(1) == [("clinic", "новому власникові")]


async def test_a_number_that_changed_hands_elsewhere_is_noticed_within_the_spread(
    amqp_url: str, mongo_url: str, mongo_prefix: str, stage: AppStage
) -> None:
    """Another replica removed it and gave it to another tenant; this one remembers for seconds only."""
    async with app_staged(amqp_url, mongo_url, mongo_prefix, watch=False) as elsewhere:
        await elsewhere.connected()
        assert (await stage.post(entry(SALON_NUMBER, "1"))).status_code == 200
        assert await stage.texts(1) == [("salon", "1")]
        assert (await elsewhere.call("DELETE", SALON)).status_code == 204
        await elsewhere.connected(CLINIC, SALON_NUMBER)
        async with asyncio.timeout(2 * CACHE_SECONDS):
            n = 2
            while (await _next_owner(stage, n))[0] == "salon":
                n += 1
                await asyncio.sleep(0.2)  # pace: a webhook now and then
        assert await _next_owner(stage, n + 1) == ("clinic", str(n + 1))


async def _next_owner(stage: AppStage, n: int) -> tuple[str, str]:
    assert (await stage.post(entry(SALON_NUMBER, str(n)))).status_code == 200
    return (await stage.texts(1))[0]


async def test_store_away_is_503_and_the_repeat_is_taken(
    tmp_path_factory: pytest.TempPathFactory, amqp_url: str, mongo_prefix: str
) -> None:
    store = MongoServer(tmp_path_factory.mktemp("store"))
    await asyncio.to_thread(store.start)
    try:
        async with app_staged(amqp_url, store.url, mongo_prefix, watch=False) as stage:
            await stage.connected()
            await asyncio.to_thread(store.kill)
            answer = await stage.post(entry(CLINIC_NUMBER, "x"))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert (await stage.public.get(f"{APP}/{CLINIC}{asked(TOKEN)}")).status_code == 503
            await asyncio.to_thread(store.start)
            async with asyncio.timeout(30):
                while not await _is_taken(stage):  # noqa: ASYNC110 - it is the messenger
                    await asyncio.sleep(0.2)  # pace: between two tries, as a messenger repeats
    finally:
        await asyncio.to_thread(store.kill)
        await asyncio.to_thread(store.stop)


async def _is_taken(stage: AppStage) -> bool:
    return (await stage.post(entry(SALON_NUMBER, "x"))).status_code == 200


async def test_a_repeat_has_the_same_event_ids(stage: AppStage) -> None:
    await stage.connected()
    parts = [entry(SALON_NUMBER, "а", "б"), entry(SALON_NUMBER, "в", client="8")]
    for _ in range(2):
        assert (await stage.post(*parts)).status_code == 200
    ids = []
    async with asyncio.timeout(15):
        for _ in range(6):
            event = await stage.inbound.get()
            assert isinstance(event, MessageReceived)
            ids.append(event.event_id)
    assert ids[:3] == ids[3:]
    assert len(set(ids)) == 3


# --- templates


def template(name: str, language: str = "uk") -> MessageTemplate:
    return MessageTemplate(
        name=name,
        language=language,
        category="UTILITY",
        header=None,
        body="Ваш запис {{1}}",
        footer=None,
        buttons=[],
        places=[],
        unusable=None,
    )


async def test_templates_come_by_name_and_refusals_say_what_to_do(stage: AppStage) -> None:
    await stage.connected()
    stage.answers.templates = [template("visit", "uk"), template("birthday"), template("visit", "en")]
    answer = await stage.call("GET", SALON, "/templates")
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()
    assert [(one["name"], one["language"]) for one in found] == [
        ("birthday", "uk"),
        ("visit", "en"),
        ("visit", "uk"),
    ]
    for fault, status, code in (
        (CredentialsInvalid("Вставте новий токен."), 422, "credentials_invalid"),
        (ProviderUnavailable("502"), 503, "provider_unavailable"),
        (Throttled(7), 429, "rate_limited"),
    ):
        stage.answers.fault = fault
        refused = await stage.call("GET", SALON, "/templates")
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert (await stage.call("GET", SALON, "/templates", tenant="clinic")).status_code == 404
    assert (await stage.call("GET", CLINIC, "/templates")).status_code == 404


async def test_an_account_whose_secrets_do_not_open_holds_back_nobody_else(stage: AppStage) -> None:
    """Its own part comes again until the key is back; the others have theirs at once, and once."""
    await stage.connected()
    await stage.connected(CLINIC, CLINIC_NUMBER)
    accounts = stage.database["accounts"]
    kept = await accounts.find_one({"_id": CLINIC})
    assert kept is not None
    await accounts.update_one({"_id": CLINIC}, {"$set": {"credentials.token": "v1.lost.AAAA.AAAA"}})
    await asyncio.sleep(CACHE_SECONDS + 0.1)  # pace: what is remembered of it has to be forgotten
    parts = entry(CLINIC_NUMBER, "клініці"), entry(SALON_NUMBER, "салону")
    assert (await stage.post(*parts)).status_code == 503
    assert await stage.texts(1) == [("salon", "салону")]
    assert (await stage.post(entry(SALON_NUMBER, "салону самому"))).status_code == 200
    assert await stage.texts(1) == [("salon", "салону самому")]
    assert (await stage.post(entry(CLINIC_NUMBER, "клініці"))).status_code == 503
    assert await stage.quarantined() == []

    await accounts.replace_one({"_id": CLINIC}, kept)
    assert (await stage.post(*parts)).status_code == 200
    first, again = [await _received(stage) for _ in range(2)]
    assert (first.tenant_id, first.content.text) == ("clinic", "клініці")
    assert (again.tenant_id, again.content.text) == ("salon", "салону"), "known by its id"


async def _received(stage: AppStage) -> MessageReceived:
    async with asyncio.timeout(15):
        event = await stage.inbound.get()
    assert isinstance(event, MessageReceived)
    return event


async def test_a_creation_whose_secrets_do_not_open_stops_no_watch(stage: AppStage) -> None:
    assert (await stage.put(CLINIC, CLINIC_NUMBER)).status_code == 200
    lost = {"credentials.token": "v1.lost.AAAA.AAAA", "updated_at": utc_now() - timedelta(hours=1)}
    await stage.database["accounts"].update_one({"_id": CLINIC}, {"$set": lost})
    accounts = AccountStore(stage.database, Keyring("k1", {"k1": CREDENTIAL_KEY}))
    assert await accounts.abandoned() == []
