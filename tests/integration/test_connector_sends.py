"""The send store and loop on real servers: every answer ends in a true state, once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from connector_stage import CHANNEL, CLIENT, BotApi, Stage, refusal, running

from ingest_telegram import wire as wire_module
from msgkit.connector import send_attempts, send_loop
from msgkit.contracts import topology
from msgkit.contracts.events import CancelSend, DeliveryReported, OutboundButton
from msgkit.contracts.ids import new_id
from msgkit.contracts.words import FailureCode, MessageState
from msgkit.runtime.bus import Outgoing
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import VirtualHosts
from msgkit.testing.wire import Answer

pytestmark = pytest.mark.servers

OTHER_CLIENT = 42


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    """One virtual host for this module: declaring our queues takes longer than most tests here."""
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def api() -> AsyncIterator[BotApi]:
    api = BotApi()
    await api.wire.start()
    yield api
    await api.wire.stop()


@pytest_asyncio.fixture
async def stage(api: BotApi, amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    async with running(api, amqp_url, mongo_url, mongo_prefix) as stage:
        await stage.connected()
        yield stage


OUTCOMES: list[tuple[str, Answer, MessageState, FailureCode | None, bool]] = [
    (
        "blocked",
        refusal(403, "Forbidden: bot was blocked by the user"),
        MessageState.FAILED,
        FailureCode.BOT_BLOCKED,
        True,
    ),
    (
        "deactivated",
        refusal(403, "Forbidden: user is deactivated"),
        MessageState.FAILED,
        FailureCode.RECIPIENT_UNAVAILABLE,
        False,
    ),
    ("rejected", refusal(400, "Bad Request: nonsense"), MessageState.FAILED, FailureCode.REJECTED, False),
    (
        "too long",
        refusal(400, "Bad Request: message is too long"),
        MessageState.FAILED,
        FailureCode.TOO_LONG,
        False,
    ),
    (
        "500",
        refusal(500, "Internal Server Error: restart"),
        MessageState.UNKNOWN,
        FailureCode.TEMPORARY,
        False,
    ),
    ("html 502", Answer(502, b"<html>"), MessageState.UNKNOWN, FailureCode.TEMPORARY, False),
    ("accepted and dropped", Answer(does="drop"), MessageState.UNKNOWN, FailureCode.TEMPORARY, False),
    ("reset", Answer(does="reset"), MessageState.UNKNOWN, FailureCode.TEMPORARY, False),
]


@pytest.mark.parametrize(
    ("answer", "state", "code", "blocked"), [row[1:] for row in OUTCOMES], ids=[row[0] for row in OUTCOMES]
)
async def test_outcome_is_reported_once_and_does_not_hold_back_the_next(
    stage: Stage, answer: Answer, state: MessageState, code: FailureCode | None, blocked: bool
) -> None:
    stage.api.script = [answer]
    first, second = stage.order("перше"), stage.order("друге")
    await stage.publish(first, second)

    report = await stage.report_of(first.message_id)

    assert (report.state, report.contact_blocked, report.provider_ids) == (state, blocked, [])
    assert report.failure is not None
    assert report.failure.code is code
    assert report.failure.text
    assert (report.tenant_id, report.conversation_id) == ("salon", first.conversation_id)
    assert (await stage.report_of(second.message_id)).state is MessageState.SENT
    assert stage.api.sent == ["перше", "друге"], "nothing is tried again"
    document = await stage.database["sends"].find_one({"_id": first.message_id})
    assert document is not None
    assert "order" not in document, "the words stay with inbox alone"
    assert len(document["attempts"]) == 1


async def test_silence_of_one_chat_does_not_hold_the_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_module, "CALL_SECONDS", 3.0)
    stage.api.by_chat[str(CLIENT)] = [Answer(does="hang")]
    hanging = await stage.say("у тиші")
    await stage.api.wire.seen("sendMessage")
    others = [await stage.say(f"інший {n}", client=OTHER_CLIENT) for n in range(3)]
    behind = await stage.say("позаду")

    for other in others:
        assert (await stage.report_of(other.message_id)).state is MessageState.SENT
    assert stage.api.sent == ["у тиші", "інший 0", "інший 1", "інший 2"]
    assert (await stage.report_of(hanging.message_id)).state is MessageState.UNKNOWN
    assert (await stage.report_of(behind.message_id)).state is MessageState.SENT


async def test_throttling_pauses_the_whole_channel_also_after_a_restart(
    api: BotApi, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    api.script = [refusal(429, "Too Many Requests: retry after 4", retry_after=4)]
    async with running(api, amqp_url, mongo_url, mongo_prefix) as stage:
        await stage.connected()
        throttled = await stage.say("зачекає")
        await api.wire.seen("sendMessage")
    async with running(api, amqp_url, mongo_url, mongo_prefix) as stage:
        other = await stage.say("інша розмова", client=OTHER_CLIENT)
        assert (await stage.report_of(throttled.message_id)).state is MessageState.SENT
        assert (await stage.report_of(other.message_id)).state is MessageState.SENT
        calls = await api.wire.seen("sendMessage", 3)
        assert min(call.at for call in calls[1:]) - calls[0].at >= 4.0
        document = await stage.database["sends"].find_one({"_id": throttled.message_id})
        assert document is not None
        assert document["retries"] == 0, "being asked to wait is no failed attempt"


async def test_order_on_the_phone_is_the_order_of_answers(stage: Stage) -> None:
    orders = [stage.order(str(n)) for n in range(1, 21)]
    for order in reversed(orders[1:]):
        await stage.publish(order)
    await stage.publish(orders[0])
    for order in orders:
        assert (await stage.report_of(order.message_id)).state is MessageState.SENT
    assert stage.api.sent == [str(n) for n in range(1, 21)]


async def test_gap_waits_then_goes_on_and_is_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_loop, "GAP_WAIT", timedelta(seconds=2))
    first = await stage.say("1")
    await stage.report_of(first.message_id)
    third = await stage.say("3", out_seq=3)
    started = asyncio.get_running_loop().time()
    assert (await stage.report_of(third.message_id)).state is MessageState.SENT
    assert asyncio.get_running_loop().time() - started >= 1.5
    late = await stage.say("2", out_seq=2)
    assert (await stage.report_of(late.message_id)).state is MessageState.SENT
    assert stage.api.sent == ["1", "3", "2"]


async def test_position_of_a_conversation_outlives_a_restart(
    api: BotApi, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    async with running(api, amqp_url, mongo_url, mongo_prefix) as stage:
        await stage.connected()
        first = await stage.say("1")
        await stage.report_of(first.message_id)
    async with running(api, amqp_url, mongo_url, mongo_prefix) as stage:
        async with asyncio.timeout(send_loop.GAP_WAIT.total_seconds() / 2):
            second = await stage.say("2", out_seq=2)
            assert (await stage.report_of(second.message_id)).state is MessageState.SENT


async def test_repeated_order_has_no_effect(stage: Stage) -> None:
    order = stage.order("раз")
    await stage.publish(order, order)
    await stage.report_of(order.message_id)
    await stage.publish(order)
    after = await stage.say("два")
    await stage.report_of(after.message_id)
    assert stage.api.sent == ["раз", "два"]


async def test_long_text_goes_in_parts_and_goes_on_from_the_first_unsent_one(stage: Stage) -> None:
    buttons = [[OutboundButton(text="Так", action="callback", value="yes")]]
    order = stage.order("а" * 4096 + "б" * 4096 + "в", buttons=buttons)
    ok = Answer(200, b'{"ok":true,"result":{"message_id":500}}')
    stage.api.script = [ok, refusal(429, "Too Many Requests: retry after 1", retry_after=1)]
    await stage.publish(order)
    report = await stage.report_of(order.message_id)
    assert (report.state, report.provider_ids) == (MessageState.SENT, ["500", "101", "102"])
    assert [text[0] for text in stage.api.sent] == ["а", "б", "б", "в"]
    marked = [call for call in stage.api.wire.calls if "reply_markup" in call.fields]
    assert [call.fields["text"] for call in marked] == ["в"]


async def test_unknown_part_ends_the_message_with_what_was_delivered(stage: Stage) -> None:
    ok = Answer(200, b'{"ok":true,"result":{"message_id":500}}')
    stage.api.script = [ok, Answer(does="drop")]
    order = await stage.say("а" * 5000)
    report = await stage.report_of(order.message_id)
    assert (report.state, report.provider_ids) == (MessageState.UNKNOWN, ["500"])


async def test_refused_connection_is_tried_again_until_it_works(stage: Stage) -> None:
    port = stage.api.wire.port
    await stage.api.wire.stop()
    order = await stage.say("дійде")
    await _state(stage, order.message_id, {"retries": {"$gte": 1}})
    await stage.api.wire.start(port)
    assert (await stage.report_of(order.message_id)).state is MessageState.SENT
    assert stage.api.sent == ["дійде"]


async def test_messenger_away_for_too_long_fails_everything_that_waited_as_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_attempts, "UNAVAILABLE_FOR", timedelta(seconds=2))
    port = stage.api.wire.port
    await stage.api.wire.stop()
    orders = [await stage.say(str(n)) for n in range(3)]
    for order in orders:
        report = await stage.report_of(order.message_id)
        assert report.state is MessageState.FAILED
        assert report.failure is not None
        assert report.failure.code is FailureCode.TEMPORARY
    await stage.api.wire.start(port)
    assert stage.api.sent == []


async def test_revoked_token_stops_the_channel_without_a_storm_and_a_new_one_starts_it(stage: Stage) -> None:
    stage.api.script = [refusal(401, "Unauthorized")] * 50
    orders = [await stage.say(str(n)) for n in range(5)]
    await _found(stage, "accounts", {"state": "disconnected"})
    stage.api.script = []
    assert 1 <= len(stage.api.sent) <= 2
    refused = len(stage.api.sent)
    await stage.connected()
    for order in orders:
        assert (await stage.report_of(order.message_id)).state is MessageState.SENT
    assert stage.api.sent[refused:] == [str(n) for n in range(5)]


async def test_cancelled_order_does_not_go_out_and_says_so(stage: Stage) -> None:
    stage.api.script = [refusal(429, "Too Many Requests: retry after 2", retry_after=2)]
    going = await stage.say("піде")
    await stage.api.wire.seen("sendMessage")
    cancelled, after = await stage.say("не піде"), await stage.say("після")
    never_came = new_id()
    await stage.publish(
        CancelSend(
            type="send.cancelled.v1",
            event_id=new_id(),
            tenant_id="salon",
            channel_id=CHANNEL,
            channel_kind="telegram_bot",
            recorded_at=utc_now(),
            conversation_id=cancelled.conversation_id,
            message_ids=[cancelled.message_id, never_came],
        )
    )
    report = await stage.report_of(cancelled.message_id)
    assert report.state is MessageState.FAILED
    await stage.say("занадто пізно", message_id=never_came, client=OTHER_CLIENT)
    assert (await stage.report_of(going.message_id)).state is MessageState.SENT
    assert (await stage.report_of(after.message_id)).state is MessageState.SENT
    assert "не піде" not in stage.api.sent
    assert "занадто пізно" not in stage.api.sent


async def test_unreadable_order_is_quarantined_and_the_next_goes_on(stage: Stage) -> None:
    key = topology.channel_key("telegram_bot", CHANNEL)
    await stage.publisher.publish(
        Outgoing(topology.SENDS, key, b'{"type":"send.ordered.v1","text":"x"}', "poison", "send.ordered.v1")
    )
    order = await stage.say("далі")
    assert (await stage.report_of(order.message_id)).state is MessageState.SENT
    (kept,) = await stage.database["quarantine"].find({}).to_list(None)
    assert kept["event_id"] == "poison"
    assert "text" not in kept["reason"]


async def test_reports_are_repeated_until_the_bus_has_them(stage: Stage) -> None:
    """A report that was not confirmed stays in the store, and the sweep finds it."""
    order = await stage.say("раз")
    report = await stage.report_of(order.message_id)
    # Else the service would take what we put there for the report it has just brought out.
    await _state(stage, order.message_id, {"report_due": {"$exists": False}})
    lost = {
        "event_id": report.event_id,
        "routing_key": topology.conversation_key("telegram_bot", order.conversation_id),
        "body": report.model_dump_json(),
        "traceparent": None,
    }
    await stage.database["sends"].update_one(
        {"_id": order.message_id}, {"$set": {"report": lost, "report_due": utc_now()}}
    )
    again = await stage.report_of(order.message_id)
    assert isinstance(again, DeliveryReported)
    assert again.event_id == report.event_id
    await _state(stage, order.message_id, {"report_due": {"$exists": False}})


async def test_claim_of_a_dead_process_becomes_unknown_when_its_lease_is_over(stage: Stage) -> None:
    stage.api.script = [refusal(429, "Too Many Requests: retry after 1", retry_after=1)]
    order = await stage.say("чиєсь")
    await stage.api.wire.seen("sendMessage")
    await _state(stage, order.message_id, {"state": "queued", "attempts.0": {"$exists": True}})
    await stage.database["sends"].update_one(
        {"_id": order.message_id},
        {"$set": {"state": "sending", "owner": "dead", "lease_until": utc_now() + timedelta(seconds=2)}},
    )
    report = await stage.report_of(order.message_id)
    assert report.state is MessageState.UNKNOWN
    assert stage.api.sent == ["чиєсь"]


async def test_replicas_joining_and_leaving_keep_order_and_send_nothing_twice(
    api: BotApi, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    clients = range(1, 7)
    async with running(api, amqp_url, mongo_url, mongo_prefix) as stage:
        await stage.connected()
        orders = []
        for n in range(1, 16):
            orders += [await stage.say(f"{client}:{n}", client=client) for client in clients]
            if n == 5:
                async with running(api, amqp_url, mongo_url, mongo_prefix, watch=False):
                    await stage.say("7:1", client=7)
        for order in orders:
            assert (await stage.report_of(order.message_id)).state is MessageState.SENT
    for client in clients:
        said = [text for text in api.sent if text.startswith(f"{client}:")]
        assert said == [f"{client}:{n}" for n in range(1, 16)]


async def _state(stage: Stage, message_id: str, wanted: dict[str, Any]) -> None:
    await _found(stage, "sends", {"_id": message_id, **wanted})


async def _found(stage: Stage, collection: str, wanted: dict[str, Any]) -> None:
    for _ in range(300):
        if await stage.database[collection].find_one(wanted) is not None:
            return
        await asyncio.sleep(0.05)  # pace: between two looks into the store
    pytest.fail(f"nothing like {wanted} in {collection} within 15 s")
