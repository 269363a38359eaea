"""Reading and typing shown to clients, on real servers: merged, seldom, never late, in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from changing_messenger import ChangingConnector
from echoing_messenger import EchoingConnector
from plain_messenger import KIND, Phone
from plain_stage import CHANNEL, Stage, staged

from msgkit.connector import signals as signals_module
from msgkit.connector.errors import CredentialsInvalid, MessageRejected, Throttled
from msgkit.contracts import topology
from msgkit.contracts.events import MessageReceived, ReadChat
from msgkit.contracts.ids import conversation_id, new_id
from msgkit.contracts.presence import TypingNoticed
from msgkit.contracts.views import UserRef
from msgkit.contracts.words import FailureCode, MessageState
from msgkit.runtime import metrics
from msgkit.runtime.bus import Outgoing, PublishUnroutable
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers

P = "phone:380671112233"
B = "bsuid:UA.1"


@dataclass
class Show:
    """A stage and what its connector was asked to show."""

    stage: Stage
    connector: ChangingConnector | EchoingConnector
    texts: int = 0
    users: UserRef = field(default_factory=lambda: UserRef(id="olena", name="Олена"))

    async def wrote(self, *ids: str) -> MessageReceived:
        """A client's message."""
        self.texts += 1
        body = {
            "people": [{"ids": ids, "at": self.texts}],
            "messages": [{"client": ids[0], "id": f"w{self.texts}", "text": "?", "at": self.texts}],
        }
        assert (await self.stage.replica.post(body)).status_code == 200
        event = await asyncio.wait_for(self.stage.inbound.get(), 10)
        assert isinstance(event, MessageReceived)
        return event

    async def read(self, event: MessageReceived, *, second: int = 0, **more: Any) -> None:
        """An operator read it, as inbox says."""
        order = ReadChat(
            type="chat.read.v1",
            event_id=new_id(),
            tenant_id="salon",
            channel_id=CHANNEL,
            channel_kind=KIND,
            recorded_at=utc_now(),
            conversation_id=event.conversation_id,
            contact_key=event.contact.key,
            provider_id=event.provider_id,
            read_at=utc_now() + timedelta(seconds=second),
        ).model_copy(update=more)
        key = topology.channel_key(KIND, CHANNEL)
        await self.stage.publisher.publish(
            Outgoing(topology.SENDS, key, order.model_dump_json().encode(), order.event_id, order.type)
        )

    async def types(self, event: MessageReceived, at: datetime | None = None, **more: Any) -> None:
        """An operator types, as gateway says."""
        notice = TypingNoticed(
            type="typing.v1",
            tenant_id="salon",
            channel_id=CHANNEL,
            conversation_id=event.conversation_id,
            user=self.users,
            at=at or utc_now(),
        ).model_copy(update=more)
        body = notice.model_dump_json().encode()
        await self.stage.publisher.publish(
            Outgoing(topology.PRESENCE, notice.type, body, new_id(), notice.type, persistent=False)
        )

    async def shown(self, count: int) -> list[tuple[str, str, str]]:
        """What was shown, once it is so much."""
        async with asyncio.timeout(10):
            while len(self.connector.signals) < count:
                self.stage.phone.arrived.clear()
                await self.stage.phone.arrived.wait()
        return self.connector.signals

    async def nothing_more(self, count: int) -> None:
        """All that was said before is through: an answer ordered after it is out, and was not held up."""
        order = await self.stage.say("далі", client="phone:1")
        assert (await self.stage.report(order.message_id)).state is MessageState.SENT
        assert len(self.connector.signals) == count


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def show(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Show]:
    phone = Phone()
    connector = ChangingConnector(phone)
    async with staged(
        amqp_url, mongo_url, mongo_prefix, phone, connector=connector, has_people=True
    ) as stage:
        await stage.replica.connected()
        await _listening(stage)
        yield Show(stage, connector)


async def _listening(stage: Stage) -> None:
    """The replica's own queue is bound: an unroutable notice is refused until then."""
    probe = Outgoing(topology.PRESENCE, "probe", b"{}", new_id(), "probe", persistent=False)
    async with asyncio.timeout(10):
        while True:
            try:
                await stage.publisher.publish(probe)
            except PublishUnroutable:
                await asyncio.sleep(0.05)  # pace: between two tries
            else:
                return


async def test_a_reading_is_shown_at_the_contacts_address(show: Show) -> None:
    await show.wrote(P)
    event = await show.wrote(B, P)
    assert event.contact.key == P
    await show.wrote(B)
    await show.read(event)
    assert await show.shown(1) == [("read", B, event.provider_id)]


async def test_readings_of_one_conversation_are_merged_and_the_newest_wins(
    show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(signals_module.EVERY_S, "read", 1.0)
    events = [await show.wrote(P) for _ in range(5)]
    for second, event in enumerate(events[:4]):
        await show.read(event, second=second)
    await show.read(events[1], second=1)
    other = await show.wrote("phone:2")
    await show.read(other)
    shown = await show.shown(3)
    assert shown[-1] == ("read", P, events[3].provider_id)
    assert ("read", "phone:2", other.provider_id) in shown
    await show.nothing_more(3)


async def test_typing_is_shown_with_the_last_message_and_seldom(show: Show) -> None:
    await show.wrote(P)
    event = await show.wrote(P)
    for _ in range(5):
        await show.types(event)
    assert await show.shown(1) == [("typing", P, event.provider_id)]
    await show.nothing_more(1)


async def test_what_is_old_foreign_or_of_nobody_is_not_shown(show: Show) -> None:
    event = await show.wrote(P)
    before = _skipped()
    await show.types(event, utc_now() - timedelta(seconds=11))
    await show.types(event, tenant_id="clinic", conversation_id=conversation_id(CHANNEL, "phone:9"))
    await show.types(event, conversation_id=new_id())
    await show.read(event, tenant_id="clinic")
    await _skipped_more(before + 4)
    await show.nothing_more(0)
    await show.types(await show.wrote("phone:2"))
    assert [what for what, *_ in await show.shown(1)] == ["typing"]


@pytest.mark.parametrize("fault", [MessageRejected(FailureCode.REJECTED, "ні"), RuntimeError("a bug")])
async def test_a_signal_that_fails_is_not_repeated_and_hurts_nobody(show: Show, fault: Exception) -> None:
    event = await show.wrote(P)
    show.connector.signal_fault = fault
    await show.read(event)
    await show.shown(1)
    await show.nothing_more(1)
    account = await show.stage.database["accounts"].find_one({"_id": CHANNEL})
    assert account is not None
    assert (account["state"], account["paused_until"]) == ("active", None)


@pytest.mark.parametrize(
    ("fault", "held"),
    [
        (CredentialsInvalid("ключ відкликано"), {"state": "disconnected"}),
        (Throttled(60), {"paused_until": {"$ne": None}}),
    ],
    ids=["credentials", "throttled"],
)
async def test_what_concerns_the_whole_channel_is_respected(
    show: Show, fault: Exception, held: dict[str, Any]
) -> None:
    event, other = await show.wrote(P), await show.wrote("phone:2")
    show.connector.signal_fault = fault
    await show.read(event)
    await show.shown(1)
    for _ in range(500):
        if await show.stage.database["accounts"].find_one({"_id": CHANNEL, **held}):
            break
        await asyncio.sleep(0.02)  # pace: between two looks into the store
    await _until_known(show)
    before, calls = _skipped(), len(show.connector.signals)
    await show.read(other)
    await show.types(other)
    await _skipped_more(before + 2)
    assert len(show.connector.signals) == calls


async def _until_known(show: Show) -> None:
    """The store has it first; the process may work with the account as it was for a moment more."""
    for number in range(100, 200):
        before, calls = _skipped(), len(show.connector.signals)
        await show.read(await show.wrote(f"phone:{number}"))
        async with asyncio.timeout(10):
            while _skipped() == before and len(show.connector.signals) == calls:  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # pace: between two looks at the counters
        if _skipped() > before:
            return
    pytest.fail("signals go on although the channel is held")


async def _skipped_more(wanted: float) -> None:
    """So many signals were looked at and not shown."""
    for _ in range(500):
        if _skipped() >= wanted:
            return
        await asyncio.sleep(0.02)  # pace: between two looks at the counter
    pytest.fail("they were not looked at within 10 s")


def _skipped() -> float:
    labels = [{"kind": KIND, "signal": signal, "outcome": "skipped"} for signal in ("read", "typing")]
    return sum(metrics.REGISTRY.get_sample_value("rozmova_signals_total", one) or 0 for one in labels)


async def test_signals_do_not_hold_up_the_end(show: Show) -> None:
    event = await show.wrote(P)
    await show.read(event)
    await show.types(event)
    async with asyncio.timeout(15):
        await show.stage.replica.stop()


async def test_where_ids_never_change_those_are_told_of_typing_who_were_told_of_a_reading(
    amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    phone = Phone()
    connector = EchoingConnector(phone)
    async with staged(amqp_url, mongo_url, mongo_prefix, phone, connector=connector) as stage:
        await stage.replica.connected()
        await _listening(stage)
        show = Show(stage, connector)
        events = []
        for client in ("7", "8"):
            body = {"said": [{"client": client, "id": f"w{client}", "text": "?"}]}
            assert (await stage.replica.post(body)).status_code == 200
            event = await asyncio.wait_for(stage.inbound.get(), 10)
            assert isinstance(event, MessageReceived)
            events.append(event)
        read, unread = events
        await show.read(read)
        await show.types(unread)
        # An order of the test before may still come: this broker is shared.
        while ("read", "7", "w7") not in await show.shown(len(connector.signals) or 1):
            phone.arrived.clear()
            await asyncio.wait_for(phone.arrived.wait(), 10)
        count = len(connector.signals)
        await show.types(read)
        assert (await show.shown(count + 1))[-1] == ("typing", "7", "w7")
        await show.types(read, tenant_id="clinic")
        await show.nothing_more(count + 1)
        assert "8" not in {address for _, address, _ in connector.signals}
