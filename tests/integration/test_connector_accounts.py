"""Connecting accounts on a real store: asked first, stored sealed, one owner per account."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from connector_stage import CHANNEL, OTHER_TOKEN, TOKEN, BotApi, Stage, caller_headers, refusal, running

from msgkit.contracts.words import FailureCode, MessageState
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.servers import VirtualHosts
from msgkit.testing.wire import Answer, Call, as_json

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    """One virtual host for this module: declaring our queues takes longer than most tests here."""
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    api = BotApi()
    await api.wire.start()
    async with running(api, amqp_url, mongo_url, mongo_prefix) as stage:
        yield stage
    await api.wire.stop()


async def stored(stage: Stage) -> int:
    return await stage.database["accounts"].count_documents({})


async def test_account_is_asked_stored_sealed_and_activated(stage: Stage) -> None:
    probe = await stage.put_account()
    assert probe.status_code == 200
    assert probe.json() == {
        "channel_id": CHANNEL,
        "account_id": "7000000001",
        "account_name": "@bot_7000000001",
        "credentials_hint": "…efgh",
        "webhook_url": f"http://127.0.0.1:8081/webhooks/telegram_bot/{CHANNEL}",
    }
    assert stage.api.webhooks == {}, "nothing is registered before activation"

    health = await stage.activate()

    assert health.status_code == 200
    assert (health.json()["state"], health.json()["connected"], health.json()["problem"]) == (
        "active",
        True,
        None,
    )
    registered = stage.api.webhooks[TOKEN]
    assert registered["url"] == probe.json()["webhook_url"]
    assert len(registered["secret_token"]) >= 32
    document = await stage.database["accounts"].find_one({"_id": CHANNEL})
    assert document is not None
    written = json.dumps(document, default=str)
    assert TOKEN.split(":")[1] not in written
    assert registered["secret_token"] not in written


async def test_every_step_may_be_repeated(stage: Stage) -> None:
    secret = await stage.connected()
    assert await stage.connected() == secret, "the webhook's secret stays"
    assert await stored(stage) == 1
    for _ in range(2):
        answer = await stage.internal.delete(f"/internal/accounts/{CHANNEL}", headers=caller_headers())
        assert answer.status_code == 204
    assert await stored(stage) == 0
    assert stage.api.webhooks == {}
    assert (await stage.post(b"{}", secret)).status_code == 404


async def test_token_telegram_does_not_know_is_422_with_its_reason(stage: Stage) -> None:
    answer = await stage.put_account(token="7999999999:AAE-nobody-knows-this-token-012345")
    assert (answer.status_code, answer.json()["code"]) == (422, "credentials_invalid")
    assert "Unauthorized" in answer.json()["detail"]
    assert await stored(stage) == 0


@pytest.mark.parametrize(
    "credentials", [{}, {"token": ""}, {"token": " "}, {"token": "nonsense"}, {"x": "y"}]
)
async def test_unusable_credentials_are_422(stage: Stage, credentials: dict[str, str]) -> None:
    answer = await stage.put_account(credentials=credentials)
    assert (answer.status_code, answer.json()["code"]) == (422, "credentials_invalid")
    assert await stored(stage) == 0


async def test_bot_of_another_channel_is_409_without_a_name(stage: Stage) -> None:
    await stage.connected()
    for channel_id, tenant in (("d" * 32, "clinic"), ("e" * 32, "salon")):
        answer = await stage.put_account(channel_id, tenant=tenant)
        assert (answer.status_code, answer.json()["code"]) == (409, "already_connected")
        assert "salon" not in answer.text
        assert CHANNEL not in answer.text
    assert await stored(stage) == 1


async def test_a_creation_that_stopped_half_way_gives_way_to_the_next_try(stage: Stage) -> None:
    """The answer of step 1 was lost and its undo came too early: the tenant must not be locked out."""
    assert (await stage.put_account("d" * 32)).status_code == 200
    assert (await stage.put_account("e" * 32, tenant="clinic")).status_code == 409
    assert (await stage.put_account("f" * 32)).status_code == 200
    assert await stored(stage) == 1
    await stage.connected()
    assert await stored(stage) == 1
    assert (await stage.put_account("d" * 32)).status_code == 409


async def test_other_bot_in_the_same_channel_is_409(stage: Stage) -> None:
    await stage.connected()
    answer = await stage.put_account(token=OTHER_TOKEN)
    assert (answer.status_code, answer.json()["code"]) == (409, "other_account")


@pytest.mark.parametrize("base", ["http://evil.example", "http://127.0.0.1:1", "file:///etc/passwd", ""])
async def test_address_outside_the_list_is_422(stage: Stage, base: str) -> None:
    answer = await stage.put_account(api_base=base)
    assert (answer.status_code, answer.json()["code"]) == (422, "api_base_not_allowed")
    assert stage.api.wire.calls == []
    assert await stored(stage) == 0


async def test_fields_nobody_knows_are_refused(stage: Stage) -> None:
    answer = await stage.put_account(state="active")
    assert answer.status_code == 422
    assert TOKEN not in answer.text


async def test_only_gateway_may_call_and_only_for_its_tenant(stage: Stage) -> None:
    path = f"/internal/accounts/{CHANNEL}"
    await stage.connected()
    assert (await stage.internal.get(f"{path}/health")).status_code == 401
    forged = ServiceTokens("gateway", "A" * 43 + "=", {}).issue("ingest-telegram", tenant_id="salon")
    assert (
        await stage.internal.get(f"{path}/health", headers={"authorization": f"Bearer {forged}"})
    ).status_code == 401
    for method, step in (("GET", "/health"), ("POST", "/activate"), ("DELETE", "")):
        answer = await stage.internal.request(method, path + step, headers=caller_headers("clinic"))
        assert answer.status_code == 404, "another tenant's channel does not exist"
    body = {"kind": "telegram_bot", "tenant_id": "salon", "credentials": {"token": TOKEN}, "api_base": None}
    assert (await stage.internal.put(path, json=body, headers=caller_headers("clinic"))).status_code == 403
    assert await stored(stage) == 1


async def test_refused_webhook_leaves_the_account_pending(stage: Stage) -> None:
    assert (await stage.put_account()).status_code == 200
    respond = stage.api.wire.respond

    def refuse(call: Call) -> Answer:
        if call.method == "setWebhook":
            return refusal(400, "Bad Request: bad webhook: HTTPS url must be provided for webhook")
        return respond(call)

    stage.api.wire.respond = refuse
    answer = await stage.activate()
    assert (answer.status_code, answer.json()["code"]) == (422, "refused_by_messenger")
    assert "HTTPS url must be provided" in answer.json()["detail"]
    health = await stage.internal.get(f"/internal/accounts/{CHANNEL}/health", headers=caller_headers())
    assert (health.json()["state"], health.json()["connected"]) == ("pending", False)
    stage.api.wire.respond = respond
    assert (await stage.activate()).json()["state"] == "active"


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (refusal(429, "Too Many Requests: retry after 17", retry_after=17), 429, "rate_limited"),
        (Answer(502, b"<html>"), 503, "provider_unavailable"),
    ],
)
async def test_trouble_of_the_messenger_is_said_as_such(
    stage: Stage, answer: Answer, status: int, code: str
) -> None:
    stage.api.wire.respond = lambda _call: answer
    refused = await stage.put_account()
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert int(refused.headers["retry-after"]) > 0
    assert await stored(stage) == 0


async def test_health_finds_a_revoked_token_and_new_credentials_mend_it(stage: Stage) -> None:
    await stage.connected()
    respond = stage.api.wire.respond
    stage.api.wire.respond = lambda _call: refusal(401, "Unauthorized")
    health = await stage.internal.get(f"/internal/accounts/{CHANNEL}/health", headers=caller_headers())
    assert (health.json()["state"], health.json()["connected"]) == ("disconnected", False)
    assert "@BotFather" in health.json()["problem"]
    stage.api.wire.respond = respond
    await stage.connected()
    health = await stage.internal.get(f"/internal/accounts/{CHANNEL}/health", headers=caller_headers())
    assert (health.json()["state"], health.json()["connected"]) == ("active", True)


async def test_webhook_taken_by_another_system_is_a_problem(stage: Stage) -> None:
    await stage.connected()
    stage.api.wire.respond = lambda _call: as_json(
        {"ok": True, "result": {"url": "https://other.example/hook", "pending_update_count": 3}}
    )
    health = await stage.internal.get(f"/internal/accounts/{CHANNEL}/health", headers=caller_headers())
    assert (health.json()["connected"], health.json()["pending_updates"]) == (False, 3)
    assert health.json()["problem"]


async def test_removing_a_channel_ends_what_waits_for_it(stage: Stage) -> None:
    await stage.connected()
    stage.api.script = [refusal(429, "Too Many Requests: retry after 600", retry_after=600)]
    order = await stage.say("не встигне")
    await stage.api.wire.seen("sendMessage")
    await stage.internal.delete(f"/internal/accounts/{CHANNEL}", headers=caller_headers())
    report = await stage.report_of(order.message_id)
    assert report.state is MessageState.FAILED
    assert report.failure is not None
    assert report.failure.code is FailureCode.CHANNEL_DISCONNECTED
