"""Accounts are looked after: what breaks is told and mended, what a step left undone is finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from connector_stage import CHANNEL, CREDENTIAL_KEY, TOKEN, BotApi, Stage, caller_headers, refusal, running
from pydantic import SecretStr

from msgkit.connector.accounts import PENDING_KEPT, PREVIOUS_SECRET_KEPT, STEP_KEPT, AccountStore
from msgkit.connector.health_watch import MEND_AGAIN_AFTER
from msgkit.connector.settings import CredentialKeys
from msgkit.contracts.events import ChannelHealthReported
from msgkit.contracts.words import FailureCode, MessageState
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import VirtualHosts
from msgkit.testing.wire import Answer, Call

pytestmark = pytest.mark.servers

RENEWED = TOKEN[:-4] + "wxyz"
KEYS = CredentialKeys(primary="k1", keys={"k1": SecretStr(CREDENTIAL_KEY)})


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    api = BotApi()
    await api.wire.start()
    async with running(api, amqp_url, mongo_url, mongo_prefix, health_every_s=0.1) as stage:
        yield stage
    await api.wire.stop()


async def step(stage: Stage, name: str, method: str = "POST", **body: Any) -> httpx2.Response:
    path = f"/internal/accounts/{CHANNEL}{name}"
    return await stage.internal.request(method, path, headers=caller_headers(), json=body or None)


async def account(stage: Stage) -> dict[str, Any]:
    found = await stage.database["accounts"].find_one({"_id": CHANNEL})
    return found or {}


async def backdate(stage: Stage, name: str, by: timedelta) -> None:
    await stage.database["accounts"].update_one({"_id": CHANNEL}, {"$set": {name: utc_now() - by}})


async def until(true: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(15):
        while not await true():  # noqa: ASYNC110 - a state in a store has no event
            await asyncio.sleep(0.02)  # pace: polls a state with a deadline


async def told(stage: Stage) -> ChannelHealthReported:
    """The next word about the account's health."""
    async with asyncio.timeout(15):
        return await stage.health.get()


def failing(
    api: BotApi, method: str, answer: Answer, *, when: Callable[[], bool] = lambda: True
) -> Callable[[], None]:
    """Let one method of the Bot API answer so, as long as `when` holds; the returned call ends it."""
    respond = api.wire.respond
    api.wire.respond = lambda call: answer if call.method == method and when() else respond(call)

    def end() -> None:
        api.wire.respond = respond

    return end


async def test_a_removed_webhook_is_registered_again_once(stage: Stage) -> None:
    await stage.connected()
    assert (await told(stage)).connected
    url = stage.api.webhooks[TOKEN]["url"]

    del stage.api.webhooks[TOKEN]
    await stage.api.wire.seen("setWebhook", 2)
    assert stage.api.webhooks[TOKEN]["url"] == url
    await stage.api.wire.seen("getWebhookInfo", len(_calls(stage, "getWebhookInfo")) + 2)
    assert stage.health.empty(), "what was mended is no news"

    stage.api.webhooks[TOKEN] = {"url": "https://other.example/hook"}
    broken = await told(stage)
    assert (broken.channel_id, broken.tenant_id, broken.connected) == (CHANNEL, "salon", False)
    assert broken.problem is not None
    assert stage.api.webhooks[TOKEN]["url"] == "https://other.example/hook", "we do not fight for it"

    await backdate(stage, "mended_at", MEND_AGAIN_AFTER)
    assert (await told(stage)).connected
    assert stage.api.webhooks[TOKEN]["url"] == url


async def test_refused_credentials_are_told_at_once_and_new_ones_mend_it(stage: Stage) -> None:
    await stage.connected()
    assert (await told(stage)).connected
    stage.api.script = [refusal(401, "Unauthorized")]
    # Only after the answer was refused: else the watch might be the one to find it out.
    end = failing(
        stage.api, "getWebhookInfo", refusal(401, "Unauthorized"), when=lambda: bool(stage.api.sent)
    )
    order = await stage.say("зачекає")
    broken = await told(stage)
    assert not broken.connected
    assert broken.problem is not None
    assert "@BotFather" in broken.problem
    assert stage.api.sent == ["зачекає"]

    end()
    assert (await stage.put_account(token=RENEWED, api_base=None)).status_code == 200
    assert (await stage.activate()).json()["connected"]
    report = await stage.report_of(order.message_id)
    assert report.state is MessageState.SENT
    assert {call.path.split("/")[1] for call in stage.api.wire.calls[-3:]} == {f"bot{RENEWED}"}


async def test_credentials_that_work_again_need_nobody(stage: Stage) -> None:
    await stage.connected()
    end = failing(stage.api, "getWebhookInfo", refusal(401, "Unauthorized"))
    while (await told(stage)).connected:
        pass
    assert (await account(stage))["state"] == "disconnected"
    end()
    assert (await told(stage)).connected
    assert (await account(stage))["state"] == "active"


async def test_a_refusal_of_older_credentials_says_nothing_of_the_new_ones(stage: Stage) -> None:
    """A send was out with the old token while the new one was stored."""
    await stage.connected()
    respond = stage.api.wire.respond

    def revoked(call: Call) -> Answer:
        return respond(call) if RENEWED in call.path else refusal(401, "Unauthorized")

    replica = AccountStore(stage.database, KEYS.keyring())
    before = await replica.load(CHANNEL)
    assert before is not None
    stage.api.wire.respond = revoked
    assert (await stage.put_account(token=RENEWED)).status_code == 200
    assert not await replica.refused(before, "стара")
    assert (await account(stage))["state"] in {"active", "pending"}
    after = await replica.load(CHANNEL)
    assert after is not None
    assert after.credentials_rev > before.credentials_rev


async def test_a_messenger_that_is_silent_once_is_no_news(stage: Stage) -> None:
    await stage.connected()
    assert (await told(stage)).connected
    end = failing(stage.api, "getWebhookInfo", Answer(502, b"<html>"))
    silent = await told(stage)
    asked = [call for call in stage.api.wire.calls if call.method == "getWebhookInfo"]
    assert not silent.connected
    assert len(asked) >= 3, "one silence is not told"
    end()
    assert (await told(stage)).connected


async def test_switched_off_nothing_goes_and_what_waits_fails_truthfully(stage: Stage) -> None:
    secret = await stage.connected()
    stage.api.script = [refusal(429, "Too Many Requests: retry after 600", retry_after=600)]
    waiting = await stage.say("не встигне")
    await stage.api.wire.seen("sendMessage")

    off = (await step(stage, "/disable")).json()
    assert (off["state"], off["connected"], off["receiving"]) == ("disabled", False, None)
    assert "вимкнено" in off["problem"]
    assert stage.api.webhooks == {}
    late = await stage.say("запізно")
    for order in (waiting, late):
        report = await stage.report_of(order.message_id)
        assert report.state is MessageState.FAILED
        assert report.failure is not None
        assert report.failure.code is FailureCode.CHANNEL_DISCONNECTED
    assert (await stage.post({"update_id": 1}, secret)).status_code == 200, "what is on its way is kept"
    assert (await step(stage, "/disable")).status_code == 200

    on = (await stage.activate()).json()
    assert (on["state"], on["connected"], on["receiving"]) == ("active", True, "webhook")
    assert stage.api.webhooks[TOKEN]["secret_token"] == secret


async def test_a_webhook_that_could_not_be_removed_is_removed_later(stage: Stage) -> None:
    """Off, or gone for good: the messenger hears of it when it can be reached again."""
    await stage.connected()
    end = failing(stage.api, "deleteWebhook", Answer(502, b"<html>"))
    assert (await step(stage, "/disable")).status_code == 200
    assert stage.api.webhooks != {}
    end()
    await until(lambda: _none_registered(stage))
    await until(lambda: _nothing_left(stage))

    await stage.connected()
    end = failing(stage.api, "deleteWebhook", Answer(502, b"<html>"))
    assert (await step(stage, "", "DELETE")).status_code == 204
    assert await account(stage) == {}
    assert stage.api.webhooks != {}
    end()
    await until(lambda: _none_registered(stage))
    await until(lambda: _no_farewells(stage))


async def test_a_farewell_said_while_its_account_is_being_removed_is_not_forgotten(stage: Stage) -> None:
    """It is written just before the account goes; the watch may look in between."""
    await stage.connected()
    accounts = AccountStore(stage.database, KEYS.keyring())
    document = await stage.database["accounts"].find_one({"_id": CHANNEL})
    assert document is not None
    await accounts.keep_farewell(document)
    assert await accounts.farewells() == []
    await stage.database["accounts"].delete_one({"_id": CHANNEL})
    await until(lambda: _none_registered(stage))
    await until(lambda: _no_farewells(stage))


async def test_a_farewell_does_not_hurt_the_next_channel_of_the_account(stage: Stage) -> None:
    await stage.connected()
    end = failing(stage.api, "deleteWebhook", Answer(502, b"<html>"))
    assert (await step(stage, "", "DELETE")).status_code == 204
    await stage.connected("d" * 32)
    tried = len(_calls(stage, "deleteWebhook"))
    end()
    await until(lambda: _no_farewells(stage))
    assert stage.api.webhooks[TOKEN]["url"].endswith("d" * 32)
    assert len(_calls(stage, "deleteWebhook")) <= tried + 1, "at most the try that was out"
    assert len(_calls(stage, "setWebhook")) == 2, "nothing had to be mended"


def _calls(stage: Stage, method: str) -> list[Call]:
    return [call for call in stage.api.wire.calls if call.method == method]


async def _none_registered(stage: Stage) -> bool:
    return not stage.api.webhooks


async def _nothing_left(stage: Stage) -> bool:
    return not (await account(stage))["webhook_left"]


async def _is_gone(stage: Stage) -> bool:
    return await account(stage) == {}


async def _no_farewells(stage: Stage) -> bool:
    return not await stage.database["account_farewells"].count_documents({})


async def test_an_abandoned_creation_goes_with_its_webhook(stage: Stage) -> None:
    """Killed between the messenger's yes and our own note of it."""
    await stage.connected()
    await stage.database["accounts"].update_one(
        {"_id": CHANNEL}, {"$set": {"state": "pending", "was_active": False}}
    )
    await backdate(stage, "updated_at", PENDING_KEPT)
    await until(lambda: _none_registered(stage))
    await until(lambda: _is_gone(stage))


async def test_no_webhook_is_refused_while_the_secret_changes(stage: Stage) -> None:
    old = await stage.connected()
    rotating = asyncio.create_task(step(stage, "/rotate-secret"))
    codes: list[int] = []
    while not rotating.done():
        current = stage.api.webhooks[TOKEN]["secret_token"]
        codes.append((await stage.post({"update_id": len(codes)}, current)).status_code)
        await asyncio.sleep(0.02)  # pace: a webhook now and then
    assert rotating.result().json()["connected"]
    new = stage.api.webhooks[TOKEN]["secret_token"]
    assert new != old
    assert set(codes) == {200}
    for secret, status in ((new, 200), (old, 200), ("x" * 43, 403)):
        assert (await stage.post({"update_id": 1}, secret)).status_code == status

    await backdate(stage, "previous_until", timedelta(seconds=1))
    assert (await stage.put_account(token=TOKEN)).status_code == 200, "a change, so that the cache is fresh"
    for secret, status in ((new, 200), (old, 403)):
        assert (await stage.post({"update_id": 1}, secret)).status_code == status
    assert timedelta(minutes=1) < PREVIOUS_SECRET_KEPT


async def test_a_rotation_that_stopped_half_way_is_finished(stage: Stage) -> None:
    old = await stage.connected()
    end = failing(stage.api, "setWebhook", Answer(502, b"<html>"))
    assert (await step(stage, "/rotate-secret")).status_code == 503
    assert stage.api.webhooks[TOKEN]["secret_token"] == old
    assert (await stage.post({"update_id": 1}, old)).status_code == 200
    assert (await account(stage))["is_rotating"]
    end()
    await backdate(stage, "updated_at", STEP_KEPT)

    async def is_registered() -> bool:
        return stage.api.webhooks[TOKEN]["secret_token"] != old

    await until(is_registered)
    new = stage.api.webhooks[TOKEN]["secret_token"]
    for secret in (old, new):
        assert (await stage.post({"update_id": 2}, secret)).status_code == 200


async def test_the_secret_of_a_channel_that_is_off_is_not_changed(stage: Stage) -> None:
    await stage.connected()
    await step(stage, "/disable")
    refused = await step(stage, "/rotate-secret")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_active")


async def test_only_the_tenants_own_account_may_be_changed(stage: Stage) -> None:
    await stage.connected()
    for method, name in (("POST", "/disable"), ("POST", "/rotate-secret"), ("PUT", "/settings")):
        answer = await stage.internal.request(
            method,
            f"/internal/accounts/{CHANNEL}{name}",
            headers=caller_headers("clinic"),
            json={"welcome": {}, "commands": []} if method == "PUT" else None,
        )
        assert answer.status_code == 404
    assert (await account(stage))["state"] == "active"
