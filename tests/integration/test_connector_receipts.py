"""Receipts on real servers: before and after the id, shuffled, doubled, of parts, of nobody's ids."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import pytest_asyncio
from plain_messenger import AT
from plain_stage import CHANNEL, Stage, staged

from msgkit.connector import receipts as receipts_module
from msgkit.connector.receipts import Receipts
from msgkit.contracts import topology
from msgkit.contracts.events import DeliveryReported
from msgkit.contracts.ids import new_id
from msgkit.contracts.words import STATE_RANK, MessageState
from msgkit.runtime.bus import Outgoing
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    async with staged(amqp_url, mongo_url, mongo_prefix) as stage:
        await stage.replica.connected()
        yield stage


def said(provider_id: str, state: str, client: str = "7") -> dict[str, str]:
    return {"client": client, "id": provider_id, "state": state}


async def nothing_is_parked(stage: Stage) -> None:
    for _ in range(200):
        if not await stage.database["parked_statuses"].count_documents({}):
            return
        await asyncio.sleep(0.02)  # pace: between two looks into the store
    pytest.fail("receipts that did their work are still parked after 4 s")


async def nothing_is_to_be_reported(stage: Stage) -> None:
    """A report is told before its replica looks for what is parked, and forgotten after that."""
    for _ in range(200):
        if not await stage.database["sends"].count_documents({"report": {"$exists": True}}):
            return
        await asyncio.sleep(0.02)  # pace: between two looks into the store
    pytest.fail("reports that were told are still due after 4 s")


async def test_delivered_then_read_are_reported_once_each(stage: Stage) -> None:
    order = await stage.say("Вітаємо")
    sent = await stage.report(order.message_id)
    assert sent.state is MessageState.SENT
    (token,) = sent.provider_ids
    assert await stage.receipts(said(token, "delivered"), said(token, "delivered")) == 200
    delivered = await stage.report(order.message_id)
    assert (delivered.state, delivered.provider_ids) == (MessageState.DELIVERED, [token])
    assert (delivered.happened_at, delivered.is_late_refusal) == (AT, False)
    assert await stage.receipts(said(token, "read")) == 200
    assert (await stage.report(order.message_id)).state is MessageState.READ
    assert await stage.receipts(said(token, "delivered"), said(token, "read"), said(token, "failed")) == 200
    later = await stage.say("ще")
    await stage.report(later.message_id)
    assert stage.reports_waiting() == []


async def test_a_receipt_before_its_id_waits_for_it(stage: Stage) -> None:
    """C29: the messenger's webhook is faster than its answer to our call."""
    stage.phone.react = lambda _: ["777"]
    stage.phone.hold = asyncio.Event()
    order = await stage.say("Швидше")
    await asyncio.wait_for(stage.phone.arrived.wait(), 10)
    for state in ("read", "delivered", "delivered"):
        assert await stage.receipts(said("777", state)) == 200
    assert stage.reports_waiting() == []
    stage.phone.hold.set()
    assert (await stage.report(order.message_id)).state is MessageState.SENT
    assert (await stage.report(order.message_id)).state is MessageState.READ
    assert stage.reports_waiting() == []
    # Both had waited; both did their work, so no later report looks at them again.
    await nothing_is_parked(stage)


async def test_parts_are_counted_together_and_a_refused_one_fails_the_message(stage: Stage) -> None:
    ids = {"один": ["1"], "два": ["2"], "три": ["3"], "чотири": ["4"]}
    stage.phone.react = lambda part: ids.get(part.text)
    first = await stage.say("один|два")
    second = await stage.say("три|чотири")
    for order, wanted in ((first, ["1", "2"]), (second, ["3", "4"])):
        report = await stage.report(order.message_id)
        assert (report.state, report.provider_ids) == (MessageState.SENT, wanted)
    assert await stage.receipts(said("1", "delivered"), said("3", "delivered")) == 200
    assert await stage.receipts(said("4", "failed")) == 200
    refused = await stage.report(second.message_id)
    assert (refused.state, refused.is_late_refusal) == (MessageState.FAILED, True)
    assert refused.failure is not None
    assert stage.reports_waiting() == [], "one of its two parts is not delivered yet"
    assert await stage.receipts(said("2", "delivered")) == 200
    assert (await stage.report(first.message_id)).state is MessageState.DELIVERED


async def test_reading_reads_everything_earlier_of_that_conversation_only(stage: Stage) -> None:
    ids = {"a": [], "b": ["20"], "c": ["30"], "other": ["40"]}
    stage.phone.react = lambda part: ids[part.text]
    orders = {text: await stage.say(text, client="9" if text == "other" else "7") for text in ids}
    for order in orders.values():
        await stage.report(order.message_id)
    assert await stage.receipts(said("20", "read")) == 200
    for text in ("a", "b"):
        assert (await stage.report(orders[text].message_id)).state is MessageState.READ
    assert stage.reports_waiting() == []
    assert await stage.receipts(said("30", "read")) == 200
    assert (await stage.report(orders["c"].message_id)).state is MessageState.READ
    assert stage.reports_waiting() == []


async def test_ids_of_nobody_have_no_effect_and_are_forgotten_in_a_day(stage: Stage) -> None:
    order = await stage.say("наше")
    (token,) = (await stage.report(order.message_id)).provider_ids
    # An id of the client's own message, and ours in another conversation.
    assert await stage.receipts(said("5851650804048782321", "delivered"), said(token, "read", "99")) == 200
    assert stage.reports_waiting() == []
    parked = await stage.database["parked_statuses"].find({}).to_list(None)
    assert len(parked) == 2
    kept_for = {one["expires_at"] - one["parked_at"] for one in parked}
    assert kept_for == {receipts_module.PARKED_FOR}
    indexes = await stage.database["parked_statuses"].index_information()
    assert indexes["expires_at_1"]["expireAfterSeconds"] == 0


async def test_a_disabled_channel_still_hears_what_became_of_its_messages(stage: Stage) -> None:
    order = await stage.say("до вимкнення")
    (token,) = (await stage.report(order.message_id)).provider_ids
    disabled = await stage.replica.internal.post(f"/internal/accounts/{CHANNEL}/disable")
    assert disabled.status_code == 200
    assert await stage.receipts(said(token, "delivered")) == 200
    assert (await stage.report(order.message_id)).state is MessageState.DELIVERED


async def test_a_report_lost_with_its_replica_still_finds_what_was_parked(stage: Stage) -> None:
    """The end of the send is written, the process dies before it looked into what is parked."""
    assert await stage.receipts(said("888", "delivered")) == 200
    (parked,) = await stage.database["parked_statuses"].find({}).to_list(None)
    stage.phone.react = lambda _: ["888"]
    order = await stage.say("майже")
    assert (await stage.report(order.message_id)).state is MessageState.SENT
    assert (await stage.report(order.message_id)).state is MessageState.DELIVERED
    await nothing_is_parked(stage)
    await nothing_is_to_be_reported(stage)
    # As if that replica had never looked: both documents as its end left them.
    await stage.database["parked_statuses"].replace_one({"_id": parked["_id"]}, parked, upsert=True)
    sends = stage.database["sends"]
    document = await sends.find_one({"_id": order.message_id})
    assert document is not None
    sent = DeliveryReported.model_validate(
        {
            **order.model_dump(include={"tenant_id", "channel_id", "channel_kind", "conversation_id"}),
            "type": "delivery.reported.v1",
            "event_id": "e" * 32,
            "recorded_at": AT,
            "message_id": order.message_id,
            "state": "sent",
            "provider_ids": ["888"],
            "failure": None,
            "contact_blocked": False,
            "is_late_refusal": False,
            "happened_at": AT,
        }
    )
    due = {
        "event_id": sent.event_id,
        "routing_key": f"plain.p{0:02d}",
        "body": sent.model_dump_json(),
        "traceparent": None,
    }
    await sends.update_one(
        {"_id": order.message_id},
        {
            "$set": {"state": "sent", "report": due, "report_due": utc_now() - timedelta(seconds=10)},
            "$unset": {"marks": "", "marks_rev": ""},
        },
    )
    assert (await stage.report(order.message_id)).state is MessageState.SENT
    assert (await stage.report(order.message_id)).state is MessageState.DELIVERED


async def test_reports_of_a_whole_outage_follow_each_other(stage: Stage) -> None:
    """Ten minutes without the broker leave thousands of them in the store."""
    order = await stage.say("одне")
    body = (await stage.report(order.message_id)).model_dump_json()
    sends = stage.database["sends"]
    document = await sends.find_one({"_id": order.message_id})
    assert document is not None
    del document["_id"]
    many = [f"{number:032x}" for number in range(1000)]
    await sends.insert_many(
        {
            **document,
            "_id": message_id,
            "report": {
                "event_id": message_id,
                "routing_key": topology.conversation_key(order.channel_kind, order.conversation_id),
                "body": body.replace(order.message_id, message_id),
                "traceparent": None,
            },
            "report_due": utc_now() - timedelta(minutes=5),
        }
        for message_id in many
    )
    missing = set(many)
    async with asyncio.timeout(9):  # one batch of a hundred each second took ten
        while missing:
            event = await stage.inbound.get()
            assert isinstance(event, DeliveryReported)
            missing.discard(event.message_id)


async def test_a_batch_of_reports_asks_once_what_is_parked_and_for_nothing_else(stage: Stage) -> None:
    """What others have parked costs nothing, and each id of ours one look into an index."""
    order = await stage.say("одне")
    report = await stage.report(order.message_id)
    parked = stage.database["parked_statuses"]
    await parked.insert_many(
        {"_id": new_id(), "channel_id": CHANNEL, "provider_id": f"w{n}-foreign", "message_id": new_id()}
        for n in range(1000)
    )
    reports = []
    for number in range(100):
        changed = report.model_copy(update={"message_id": f"{number:032x}", "provider_ids": [f"w{number}"]})
        body = changed.model_dump_json().encode()
        reports.append((changed.message_id, Outgoing("", "", body, new_id(), report.type)))
    await stage.database.command("profile", 2)
    await Receipts(stage.database).catch_up(reports)
    await stage.database.command("profile", 0)
    asked = await stage.database["system.profile"].find({"ns": parked.full_name}).to_list(None)
    assert [(one["op"], one["docsExamined"]) for one in asked] == [("query", 0)]
    assert asked[0]["keysExamined"] <= 2 * len(reports) + 4, "its id at the messenger, ours, and watermarks"


async def test_shuffled_doubled_and_early_receipts_end_where_they_must(stage: Stage) -> None:
    """C29 at random: 30 messages of three clients, every receipt three times, some before the answer."""
    luck = random.Random(29)
    numbers = iter(range(1000, 2000))
    tokens: dict[str, list[str]] = {}

    def react(part: object) -> list[str]:
        text = getattr(part, "text", "")
        return tokens.setdefault(text, [str(next(numbers))])

    stage.phone.react = react
    clients = ("7", "8", "9")
    texts = {client: [f"{client}-{n}|{client}-{n}b" for n in range(10)] for client in clients}
    for client, said_texts in texts.items():  # the messenger's ids, known before our call
        for text in said_texts:
            for part in text.split("|"):
                tokens[part] = [str(next(numbers))]
        del client

    def all_receipts(client: str) -> list[dict[str, str]]:
        parts = [part for text in texts[client] for part in text.split("|")]
        every = [said(tokens[part][0], "delivered", client) for part in parts]
        return [*every, said(tokens[parts[-1]][0], "read", client)] * 3

    receipts = [receipt for client in clients for receipt in all_receipts(client)]
    luck.shuffle(receipts)
    early, late = receipts[: len(receipts) // 2], receipts[len(receipts) // 2 :]
    for receipt in early:
        assert await stage.receipts(receipt) == 200
    orders = [await stage.say(text, client=client) for client in clients for text in texts[client]]
    await asyncio.gather(*(stage.receipts(receipt) for receipt in late))
    final: dict[str, DeliveryReported] = {}
    async with asyncio.timeout(30):
        while len(final) < len(orders) or any(one.state is not MessageState.READ for one in final.values()):
            event = await stage.inbound.get()
            assert isinstance(event, DeliveryReported)
            before = final.get(event.message_id)
            if before is None or STATE_RANK[event.state] > STATE_RANK[before.state]:
                final[event.message_id] = event
    assert {one.message_id for one in orders} == final.keys()
    assert all(len(one.provider_ids) == 2 for one in final.values())
