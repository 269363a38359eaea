"""«Everything until then was delivered», or read: whatever is said and whenever it comes, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from echoing_messenger import EchoingConnector
from plain_messenger import AT, Phone
from plain_stage import Stage, staged

from msgkit.connector.contract import send_mark
from msgkit.connector.errors import DeliveryUnknown
from msgkit.contracts.events import SendMessage
from msgkit.contracts.words import MessageState
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers


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


def until(state: str, moment: datetime, **more: Any) -> dict[str, Any]:
    return {"client": "7", "state": state, "up_to": moment.isoformat(), **more}


def heard(order: SendMessage, provider_id: str, moment: datetime, part: int = 0) -> dict[str, Any]:
    """The echo of ours with our mark, which tells the messenger's own time."""
    mark = send_mark(order.message_id, part)
    return {"client": "7", "id": provider_id, "state": "sent", "mark": mark, "at": moment.isoformat()}


async def sent(stage: Stage, text: str, **more: Any) -> SendMessage:
    order = await stage.say(text, **more)
    assert (await stage.report(order.message_id)).state is MessageState.SENT
    return order


async def test_everything_until_then_rises_and_nothing_after_it(stage: Stage) -> None:
    first, other = await sent(stage, "раз"), await sent(stage, "іншому", client="8")
    second = await sent(stage, "два|частинами")
    between = utc_now()
    third = await sent(stage, "три")
    assert await stage.receipts(until("delivered", between)) == 200
    for order in (first, second):
        report = await stage.report(order.message_id)
        assert (report.state, report.happened_at) == (MessageState.DELIVERED, AT)
    # Older, repeated, and without ids: nothing more.
    assert await stage.receipts(until("delivered", between), until("delivered", AT)) == 200
    assert await stage.receipts(until("read", between)) == 200
    for order in (first, second):
        assert (await stage.report(order.message_id)).state is MessageState.READ
    # Reading says that it was delivered too; and what is read stays read.
    assert await stage.receipts(until("read", utc_now())) == 200
    assert (await stage.report(third.message_id)).state is MessageState.READ
    assert await stage.receipts(until("delivered", utc_now())) == 200
    await sent(stage, "позначка")
    assert stage.reports_waiting() == []
    document = await stage.database["sends"].find_one({"_id": other.message_id})
    assert document is not None
    assert document["state"] == "sent", "another client has not read it"


async def test_one_that_comes_before_the_end_of_the_call_works_when_that_is_written(stage: Stage) -> None:
    stage.phone.hold = asyncio.Event()
    order = await stage.say("раз")
    await asyncio.wait_for(stage.phone.arrived.wait(), 10)
    assert await stage.receipts(until("read", utc_now()), until("delivered", utc_now())) == 200
    assert stage.reports_waiting() == []
    stage.phone.hold.set()
    assert (await stage.report(order.message_id)).state is MessageState.SENT
    assert (await stage.report(order.message_id)).state is MessageState.READ
    # What is said after it was not read by it.
    later = await sent(stage, "два")
    await sent(stage, "позначка")
    assert stage.reports_waiting() == []
    document = await stage.database["sends"].find_one({"_id": later.message_id})
    assert document is not None
    assert document["state"] == "sent"


async def test_the_messengers_own_time_decides_where_an_echo_told_it(stage: Stage) -> None:
    """Its clock is an hour behind ours; a watermark is of its clock."""
    stage.phone.react = lambda part: [f"id {part.text}"]
    behind = utc_now() - timedelta(hours=1)
    first, second = await sent(stage, "раз"), await sent(stage, "два")
    at = [behind, behind + timedelta(seconds=5)]
    assert await stage.receipts(heard(first, "id раз", at[0])) == 200
    assert await stage.receipts(until("delivered", at[0])) == 200
    assert (await stage.report(first.message_id)).state is MessageState.DELIVERED
    assert stage.reports_waiting() == []
    # The other way round: the watermark first, then when it was said.
    assert await stage.receipts(until("read", at[1])) == 200
    assert (await stage.report(first.message_id)).state is MessageState.READ
    assert stage.reports_waiting() == []
    assert await stage.receipts(heard(second, "id два", at[1])) == 200
    assert (await stage.report(second.message_id)).state is MessageState.READ


async def test_what_was_told_while_the_call_was_out_is_known_at_its_end(stage: Stage) -> None:
    ahead = utc_now() + timedelta(hours=1)
    stage.phone.react = lambda part: [f"id {part.text}"]
    stage.phone.hold = asyncio.Event()
    order = await stage.say("раз")
    await asyncio.wait_for(stage.phone.arrived.wait(), 10)
    assert await stage.receipts(heard(order, "id раз", ahead)) == 200
    assert await stage.receipts(until("read", ahead - timedelta(seconds=1))) == 200
    stage.phone.hold.set()
    assert (await stage.report(order.message_id)).state is MessageState.SENT
    marker = await sent(stage, "позначка")
    # Said an hour before it by our clock, so it was read; with that all that had to be told is told.
    assert (await stage.report(marker.message_id)).state is MessageState.READ
    assert stage.reports_waiting() == [], "what was read until then was said before this one"
    assert await stage.receipts(until("read", ahead)) == 200
    assert (await stage.report(order.message_id)).state is MessageState.READ


async def test_an_unknown_answer_is_read_when_its_mark_proves_that_it_arrived(
    amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    phone = Phone()
    phone.react = lambda _: DeliveryUnknown("no answer")
    connector = EchoingConnector(phone, resolves_unknown_s=0.3)
    async with staged(amqp_url, mongo_url, mongo_prefix, phone, connector=connector) as stage:
        await stage.replica.connected()
        order = await stage.say("раз")
        assert (await stage.report(order.message_id)).state is MessageState.UNKNOWN
        assert await stage.receipts(until("read", utc_now())) == 200
        phone.react = lambda _: None
        await sent(stage, "позначка")
        assert stage.reports_waiting() == [], "a watermark does not prove that it ever arrived"
        assert await stage.receipts(heard(order, "m1", utc_now() - timedelta(minutes=1))) == 200
        for state in (MessageState.SENT, MessageState.READ):
            assert (await stage.report(order.message_id)).state is state


async def test_ids_and_a_watermark_in_one_receipt(stage: Stage) -> None:
    stage.phone.react = lambda part: [f"id {part.text}"]
    first, second = await sent(stage, "раз"), await sent(stage, "два")
    at = utc_now() + timedelta(minutes=1)
    assert (
        await stage.receipts(until("delivered", at, id="id раз"), until("delivered", at, id="id два")) == 200
    )
    for order in (first, second):
        assert (await stage.report(order.message_id)).state is MessageState.DELIVERED
    await sent(stage, "позначка")
    assert stage.reports_waiting() == []
