"""Unanswered calls whose marks come back in any order, and contacts who had enough; on real servers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from changing_messenger import ChangingConnector, MarkedPart
from plain_messenger import Part, Phone
from plain_stage import CHANNEL, TOKEN, Stage, staged, started

from msgkit.connector import send_attempts
from msgkit.connector.contract import send_mark
from msgkit.connector.errors import DeliveryUnknown, ProviderUnavailable, Throttled
from msgkit.contracts.events import DeliveryReported, OrderedTemplate, Place, SendMessage, SharedContact
from msgkit.contracts.words import STATE_RANK, FailureCode, MessageState
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@asynccontextmanager
async def played(
    amqp_url: str, mongo_url: str, prefix: str, resolves_unknown_s: float = 30.0
) -> AsyncIterator[Stage]:
    phone = Phone()
    connector = ChangingConnector(phone, resolves_unknown_s)
    async with staged(amqp_url, mongo_url, prefix, phone, connector=connector) as stage:
        await stage.replica.connected()
        yield stage


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    async with played(amqp_url, mongo_url, mongo_prefix) as stage:
        yield stage


@pytest_asyncio.fixture
async def hasty(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    """It waits for a receipt for a second only."""
    async with played(amqp_url, mongo_url, mongo_prefix, 1.0) as stage:
        yield stage


def unanswered(*texts: str) -> Any:
    """The first call of each of these texts goes unanswered."""
    left = list(texts)

    def react(part: Part) -> Exception | None:
        if part.text in left:
            left.remove(part.text)
            return DeliveryUnknown("no answer")
        return None

    return react


def said(order: SendMessage, part: int, provider_id: str, state: str = "sent") -> dict[str, str]:
    return {"id": provider_id, "state": state, "mark": send_mark(order.message_id, part)}


async def in_doubt(stage: Stage, order: SendMessage) -> None:
    """The unanswered call is on record."""
    for _ in range(300):
        if await stage.database["sends"].find_one({"_id": order.message_id, "state": "in_doubt"}):
            return
        await asyncio.sleep(0.02)  # pace: between two looks into the store
    pytest.fail("the send is not in doubt within 6 s")


async def texts(stage: Stage, count: int) -> list[str]:
    """What was called, once it is so many."""
    async with asyncio.timeout(10):
        while len(stage.phone.seen) < count:
            stage.phone.arrived.clear()
            await stage.phone.arrived.wait()
    return stage.phone.texts(CHANNEL)


async def test_a_receipt_with_the_mark_ends_the_doubt_and_the_rest_goes_on(stage: Stage) -> None:
    stage.phone.react = unanswered("один")
    order = await stage.say("один|два")
    behind = await stage.say("далі")
    await in_doubt(stage, order)
    other = await stage.say("інший", client="8")
    assert (await stage.report(other.message_id)).state is MessageState.SENT
    assert stage.phone.texts(CHANNEL) == ["один", "інший"], "what is for the same client waits behind it"

    started_at = time.monotonic()
    assert await stage.receipts(said(order, 0, "w1")) == 200
    report = await stage.report(order.message_id)
    assert time.monotonic() - started_at < 1.0
    assert (report.state, report.provider_ids[0], len(report.provider_ids)) == (MessageState.SENT, "w1", 2)
    assert (await stage.report(behind.message_id)).state is MessageState.SENT
    assert stage.phone.texts(CHANNEL) == ["один", "інший", "два", "далі"], "nothing is said twice"
    assert await stage.receipts(said(order, 0, "w1", "read"), said(order, 1, report.provider_ids[1], "read"))
    assert (await stage.report(order.message_id)).state is MessageState.READ


async def test_a_receipt_that_came_before_we_knew_that_no_answer_comes(stage: Stage) -> None:
    stage.phone.react = unanswered("раз")
    stage.phone.hold = asyncio.Event()
    order = await stage.say("раз")
    await asyncio.wait_for(stage.phone.arrived.wait(), 10)
    assert await stage.receipts(said(order, 0, "w1"), said(order, 0, "w1", "delivered")) == 200
    stage.phone.hold.set()
    for state in (MessageState.SENT, MessageState.DELIVERED):
        report = await stage.report(order.message_id)
        assert (report.state, report.provider_ids) == (state, ["w1"])


async def test_without_a_receipt_it_is_unknown_and_a_late_one_lifts_it(hasty: Stage) -> None:
    hasty.phone.react = unanswered("раз")
    order = await hasty.say("раз")
    behind = await hasty.say("далі")
    unknown = await hasty.report(order.message_id)
    assert unknown.state is MessageState.UNKNOWN
    assert unknown.failure is not None
    assert (await hasty.report(behind.message_id)).state is MessageState.SENT
    assert await hasty.receipts(said(order, 0, "w1", "delivered")) == 200
    for state in (MessageState.SENT, MessageState.DELIVERED):
        report = await hasty.report(order.message_id)
        assert (report.state, report.provider_ids, report.failure) == (state, ["w1"], None)
    assert hasty.phone.texts(CHANNEL) == ["раз", "далі"]


async def test_a_late_receipt_of_a_part_leaves_the_rest_unknown(hasty: Stage) -> None:
    hasty.phone.react = unanswered("один")
    order = await hasty.say("один|два")
    assert (await hasty.report(order.message_id)).state is MessageState.UNKNOWN
    assert await hasty.receipts(said(order, 0, "w1"), said(order, 0, "w1", "read")) == 200
    later = await hasty.say("далі")
    assert (await hasty.report(later.message_id)).state is MessageState.SENT
    assert hasty.reports_waiting() == []
    document = await hasty.database["sends"].find_one({"_id": order.message_id})
    assert document is not None
    assert (document["state"], document["provider_ids"]) == ("unknown", ["w1"])


async def test_a_late_refusal_of_an_unanswered_call_is_one(hasty: Stage) -> None:
    hasty.phone.react = unanswered("раз")
    order = await hasty.say("раз")
    assert (await hasty.report(order.message_id)).state is MessageState.UNKNOWN
    assert await hasty.receipts(said(order, 0, "w1", "failed")) == 200
    assert (await hasty.report(order.message_id)).state is MessageState.SENT
    refused = await hasty.report(order.message_id)
    assert (refused.state, refused.is_late_refusal) == (MessageState.FAILED, True)


async def test_what_was_put_back_is_not_said_again_if_it_arrived_after_all(stage: Stage) -> None:
    stage.phone.react = lambda part: ProviderUnavailable("refused") if part.text == "раз" else None
    order = await stage.say("раз")
    await texts(stage, 1)
    assert await stage.receipts(said(order, 0, "w1")) == 200
    report = await stage.report(order.message_id)
    assert (report.state, report.provider_ids) == (MessageState.SENT, ["w1"])


async def test_another_replica_goes_on_waiting_after_a_crash(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    async with played(amqp_url, mongo_url, mongo_prefix) as stage:
        stage.phone.react = unanswered("раз")
        order = await stage.say("раз|два")
        await in_doubt(stage, order)
        await stage.replica.crash()
        stage.replica = await started(
            stage.phone,
            amqp_url,
            mongo_url,
            mongo_prefix,
            connector=ChangingConnector(stage.phone),
            objects_url=tmp_path.as_uri(),
        )
        try:
            assert await stage.receipts(said(order, 0, "w1")) == 200
            report = await stage.report(order.message_id)
            assert (report.state, report.provider_ids[0]) == (MessageState.SENT, "w1")
            assert stage.phone.texts(CHANNEL) == ["раз", "два"]
        finally:
            await stage.replica.stop()


async def test_a_crash_while_the_call_is_out_leaves_a_doubt_a_receipt_can_end(stage: Stage) -> None:
    stage.phone.react = unanswered("раз")
    order = await stage.say("раз")
    await in_doubt(stage, order)
    await stage.database["sends"].update_one(
        {"_id": order.message_id},
        {"$set": {"state": "sending", "owner": "dead", "lease_until": utc_now() - timedelta(seconds=1)}},
    )
    await in_doubt(stage, order)
    assert await stage.receipts(said(order, 0, "w1")) == 200
    assert (await stage.report(order.message_id)).state is MessageState.SENT


async def test_a_channel_switched_off_leaves_no_doubt_for_ever(stage: Stage) -> None:
    stage.phone.react = unanswered("раз")
    order = await stage.say("раз")
    await in_doubt(stage, order)
    assert (await stage.replica.internal.post(f"/internal/accounts/{CHANNEL}/disable")).status_code == 200
    assert (await stage.report(order.message_id)).state is MessageState.UNKNOWN


async def test_a_mark_of_another_channel_has_no_effect(stage: Stage) -> None:
    stage.phone.react = unanswered("раз")
    other, token = "d" * 32, f"{TOKEN}-other"
    await stage.replica.connected(other, token)
    order = await stage.say("раз")
    await in_doubt(stage, order)
    body = {"receipts": [said(order, 0, "w1"), said(order, 0, "w1", "read")]}
    assert (await stage.replica.post(body, channel_id=other, token=token)).status_code == 200
    document = await stage.database["sends"].find_one({"_id": order.message_id})
    assert document is not None
    assert (document["state"], document.get("marked")) == ("in_doubt", None)


async def test_a_pause_of_the_channel_does_not_hold_the_end_of_a_doubt(stage: Stage) -> None:
    stage.phone.react = lambda part: {
        "раз": DeliveryUnknown("no answer"),
        "пауза": Throttled(600),
    }.get(part.text)
    order = await stage.say("раз")
    await in_doubt(stage, order)
    await stage.say("пауза", client="8")
    await texts(stage, 2)
    assert await stage.receipts(said(order, 0, "w1")) == 200
    assert (await stage.report(order.message_id)).state is MessageState.SENT


async def test_a_contact_who_had_enough_waits_alone_and_ever_longer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_attempts, "CONTACT_THROTTLE_FACTOR", 1.5)
    left = [Throttled(0.1, only_this_contact=True), Throttled(0.1, only_this_contact=True)]
    stage.phone.react = lambda part: left.pop() if part.client == "7" and left else None
    order = await stage.say("досить", client="7")
    others = [await stage.say(f"{n}", client="8") for n in range(3)]
    for other in others:
        assert (await stage.report(other.message_id)).state is MessageState.SENT
    assert (await stage.report(order.message_id)).state is MessageState.SENT
    at = [moment for _, client, _, moment in stage.phone.seen if client == "7"]
    assert at[1] - at[0] >= 1.5
    assert at[2] - at[1] >= 1.5**2
    account = await stage.database["accounts"].find_one({"_id": CHANNEL})
    assert account is not None
    assert account["paused_until"] is None


@pytest.mark.parametrize(
    "more",
    [
        {"template": OrderedTemplate(name="hello", language="uk", values=[])},
        {"place": Place(latitude=50.4, longitude=30.5, title=None, address=None)},
        {"shared_contact": SharedContact(name="Олена", phone=None, is_own=False)},
    ],
    ids=["template", "place", "contact"],
)
async def test_what_a_messenger_has_no_words_for_is_refused_before_it_is_asked(
    stage: Stage, more: dict[str, Any]
) -> None:
    order = await stage.say("немає", **more)
    report = await stage.report(order.message_id)
    assert report.failure is not None
    assert report.failure.code is FailureCode.UNSUPPORTED_KIND
    assert stage.phone.seen == []


async def test_receipts_in_any_order_around_answers_that_come_or_do_not(stage: Stage) -> None:
    """Every part of every message is said once and ends read, whatever comes first, twice, or not at all."""
    luck = random.Random(131056)
    ids: dict[str, str] = {}
    pool: list[dict[str, str]] = []

    def react(part: Part) -> Sequence[str] | Exception:
        assert isinstance(part, MarkedPart)
        mark = part.mark
        ids[mark] = f"w{len(ids)}"
        pool.extend({"id": ids[mark], "state": state, "mark": mark} for state in ("sent", "delivered") * 2)
        pool.append({"id": ids[mark], "state": "read", "mark": mark})
        return DeliveryUnknown("no answer") if luck.random() < 0.4 else [ids[mark]]

    stage.phone.react = react
    orders = [await stage.say(f"{n}|{n}b", client=str(n % 4)) for n in range(16)]
    final: dict[str, DeliveryReported] = {}
    async with asyncio.timeout(20):
        while len(final) < len(orders) or any(one.state is not MessageState.READ for one in final.values()):
            luck.shuffle(pool)
            if pool:
                assert await stage.receipts(*(pool.pop() for _ in range(min(len(pool), 9)))) == 200
            for event in stage.reports_waiting():
                before = final.get(event.message_id)
                if before is None or STATE_RANK[event.state] > STATE_RANK[before.state]:
                    final[event.message_id] = event
            await asyncio.sleep(0)  # pace: the service works between two webhooks
    for order in orders:
        assert final[order.message_id].provider_ids == [
            ids[send_mark(order.message_id, part)] for part in (0, 1)
        ]
    said_texts = stage.phone.texts(CHANNEL)
    assert len(said_texts) == len(set(said_texts)) == 32


async def test_what_is_parked_and_who_is_meant_are_found_by_indexes(stage: Stage) -> None:
    told = {"channel_id": CHANNEL, "provider_id": {"$in": ["x"]}}
    marked = {"$or": [told, {"message_id": {"$in": ["y"]}}]}
    by_id = {"channel_id": CHANNEL, "provider_ids": "w1", "open": False}
    for collection, wanted in (("parked_statuses", marked), ("sends", by_id)):
        found = await stage.database.command("explain", {"find": collection, "filter": wanted})
        assert "COLLSCAN" not in str(found["queryPlanner"]["winningPlan"])
