"""Late answers of people: nobody granted them, and what a connector knows to decide; on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from echoing_messenger import EchoingConnector
from plain_messenger import KIND, Phone
from plain_stage import CHANNEL, Stage, staged

from msgkit.connector.errors import MessageRejected, ProviderUnavailable
from msgkit.connector.late_answers import NOT_GRANTED
from msgkit.contracts.events import HumanAgentRefused, SendMessage
from msgkit.contracts.words import FailureCode, MessageState
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers

NO_WORDS = {"welcome": {"text": "", "buttons": []}, "commands": []}


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    phone = Phone()
    connector = EchoingConnector(phone)
    async with staged(amqp_url, mongo_url, mongo_prefix, phone, connector=connector) as stage:
        await stage.replica.connected()
        yield stage


async def refusal(stage: Stage) -> HumanAgentRefused:
    async with asyncio.timeout(10):
        while not isinstance(event := await stage.inbound.get(), HumanAgentRefused):
            pass
    return event


async def alerted(stage: Stage) -> None:
    """Wait for the account's alert: inbox hears of the refusal before it is written."""
    async with asyncio.timeout(10):
        alerted = {"_id": CHANNEL, "alert.problem": NOT_GRANTED}
        while not await stage.database["accounts"].find_one(alerted):  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.02)  # pace: between two looks


async def put_on(stage: Stage, *, human_agent: bool) -> None:
    body = {**NO_WORDS, "human_agent": human_agent}
    answer = await stage.replica.internal.put(f"/internal/accounts/{CHANNEL}/settings", json=body)
    assert answer.status_code == 204


async def test_a_refusal_puts_them_off_tells_inbox_and_the_administrator_and_may_be_repeated(
    stage: Stage,
) -> None:
    await put_on(stage, human_agent=True)
    before = await stage.database["accounts"].find_one({"_id": CHANNEL})
    assert before is not None
    stage.phone.react = lambda part: (
        MessageRejected(FailureCode.WINDOW_CLOSED, "Не надано.", is_human_agent_refused=True)
        if "пізно" in part.text
        else None
    )
    for number in range(2):
        order = await stage.say(f"пізно {number}")
        report = await stage.report(order.message_id)
        assert report.failure is not None
        assert (report.state, report.failure.code) == (MessageState.FAILED, FailureCode.WINDOW_CLOSED)
        event = await refusal(stage)
        assert (event.channel_id, event.tenant_id, event.channel_kind) == (CHANNEL, "salon", KIND)
    await alerted(stage)
    account = await stage.database["accounts"].find_one({"_id": CHANNEL})
    assert account is not None
    assert account["settings"] == {**before["settings"], "human_agent": False}
    assert (account["alert"]["problem"], account["alert"]["is_disconnected"]) == (NOT_GRANTED, False)
    # The channel goes on.
    order = await stage.say("вчасно")
    assert (await stage.report(order.message_id)).state is MessageState.SENT


async def test_an_ordinary_closed_window_puts_nothing_off(stage: Stage) -> None:
    await put_on(stage, human_agent=True)
    stage.phone.react = lambda _: MessageRejected(FailureCode.WINDOW_CLOSED, "Минуло 7 днів.")
    order = await stage.say("пізно")
    assert (await stage.report(order.message_id)).state is MessageState.FAILED
    stage.phone.react = lambda _: None
    order = await stage.say("позначка")
    await stage.report(order.message_id)
    assert stage.inbound.empty()
    account = await stage.database["accounts"].find_one({"_id": CHANNEL})
    assert account is not None
    assert (account["settings"]["human_agent"], account.get("alert")) == (True, None)


async def test_when_an_administrator_puts_them_on_again_the_alert_is_over(stage: Stage) -> None:
    await put_on(stage, human_agent=True)
    stage.phone.react = lambda _: MessageRejected(
        FailureCode.WINDOW_CLOSED, "Не надано.", is_human_agent_refused=True
    )
    await stage.report((await stage.say("пізно")).message_id)
    await refusal(stage)
    await alerted(stage)
    for human_agent, problem in ((False, NOT_GRANTED), (True, None)):
        await put_on(stage, human_agent=human_agent)
        account = await stage.database["accounts"].find_one({"_id": CHANNEL})
        assert account is not None
        assert account["settings"]["human_agent"] is human_agent
        assert account["alert"]["problem"] == problem


async def test_when_the_client_wrote_survives_in_the_store(stage: Stage) -> None:
    """What decides how a late answer goes out must be there after a crash too."""
    wrote_at = datetime(2026, 11, 21, 9, 30, 15, 250_000, tzinfo=UTC)
    stage.phone.hold = asyncio.Event()
    order = await stage.say("раз", client_wrote_at=wrote_at)
    await asyncio.wait_for(stage.phone.arrived.wait(), 10)
    document = await stage.database["sends"].find_one({"_id": order.message_id})
    assert document is not None
    kept = SendMessage.model_validate_json(document["order"])
    assert (kept.client_wrote_at, kept.author_kind) == (wrote_at, order.author_kind)
    stage.phone.hold.set()
    await stage.report(order.message_id)


async def test_one_message_that_must_wait_for_its_hour_holds_nobody_else(stage: Stage) -> None:
    """At the border of the window the answer of one client waits; the channel does not."""
    early = ProviderUnavailable("a moment too early for a late answer")
    stage.phone.react = lambda part: early if part.client == "7" else None
    first = await stage.say("чекає", client="7")
    await asyncio.wait_for(stage.phone.arrived.wait(), 10)
    others = [await stage.say(f"{n}", client=str(n)) for n in range(20, 26)]
    for other in others:
        assert (await stage.report(other.message_id)).state is MessageState.SENT
    stage.phone.react = lambda _: None
    assert (await stage.report(first.message_id)).state is MessageState.SENT
    account = await stage.database["accounts"].find_one({"_id": CHANNEL})
    assert account is not None
    assert (account["state"], account["paused_until"]) == ("active", None)
