"""Our own messages told back by the messenger: dropped, and only they; on real servers, in every order."""

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
from changing_messenger import MarkedPart
from echoing_messenger import EchoingConnector
from plain_messenger import KIND, Part, Phone
from plain_stage import CHANNEL, Replica, Stage, staged, started

from msgkit.connector import echoes as echoes_module
from msgkit.connector.contract import send_mark
from msgkit.connector.errors import DeliveryUnknown
from msgkit.contracts.events import DeliveryReported, MessageEchoed, MessageReceived, SendMessage
from msgkit.contracts.ids import partition_of
from msgkit.contracts.words import AuthorKind, MessageState
from msgkit.runtime import metrics
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@asynccontextmanager
async def played(amqp_url: str, mongo_url: str, prefix: str, **waits: float) -> AsyncIterator[Stage]:
    phone = Phone()
    connector = EchoingConnector(phone, **waits)
    async with staged(amqp_url, mongo_url, prefix, phone, connector=connector) as stage:
        await stage.replica.connected()
        yield stage


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    async with played(amqp_url, mongo_url, mongo_prefix) as stage:
        yield stage


@pytest_asyncio.fixture
async def hasty(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    """An echo waits for a moment only, and so does a doubt."""
    async with played(amqp_url, mongo_url, mongo_prefix, echo_wait_s=0.5, resolves_unknown_s=1.0) as stage:
        yield stage


def echo(provider_id: str, text: str = "наше", client: str = "7") -> dict[str, Any]:
    return {"client": client, "id": provider_id, "text": text, "is_echo": True}


def wrote(provider_id: str, text: str = "питання", client: str = "7") -> dict[str, Any]:
    return {"client": client, "id": provider_id, "text": text}


def marked(order: SendMessage, part: int, provider_id: str, client: str = "7") -> dict[str, Any]:
    mark = send_mark(order.message_id, part)
    return {"client": client, "id": provider_id, "state": "sent", "mark": mark}


async def told(stage: Stage, *said: dict[str, Any], replica: Replica | None = None) -> None:
    assert (await (replica or stage.replica).post({"said": list(said)})).status_code == 200


async def called(stage: Stage) -> None:
    await asyncio.wait_for(stage.phone.arrived.wait(), 10)
    stage.phone.arrived.clear()


async def came(stage: Stage, count: int) -> list[tuple[str, str]]:
    """(id, author) of the next messages of either side; reports are left out."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(15):
        while len(found) < count:
            event = await stage.inbound.get()
            if isinstance(event, MessageEchoed):
                found.append((event.provider_id, event.author_kind.value))
            elif isinstance(event, MessageReceived):
                found.append((event.provider_id, "client"))
    return found


async def nothing_else_came(stage: Stage) -> None:
    """Only what is said now arrives: nobody waits any more, and the bus keeps the order."""
    for _ in range(500):
        if not await stage.database["held_echoes"].count_documents({}):
            break
        await asyncio.sleep(0.02)  # pace: between two looks into the store
    else:
        pytest.fail("an echo still waits after 10 s")
    await told(stage, wrote("позначка"))
    assert await came(stage, 1) == [("позначка", "client")]


def counted(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("rozmova_echoes_total", {"kind": KIND, "outcome": outcome}) or 0


async def state_is(stage: Stage, order: SendMessage, state: str) -> None:
    for _ in range(500):
        if await stage.database["sends"].find_one({"_id": order.message_id, "state": state}):
            return
        await asyncio.sleep(0.02)  # pace: between two looks into the store
    pytest.fail(f"the send is not {state} within 10 s")


async def test_the_answer_to_our_call_first_then_its_echo(stage: Stage) -> None:
    before = counted("own")
    order = await stage.say("наше")
    (provider_id,) = (await stage.report(order.message_id)).provider_ids
    await told(stage, echo(provider_id))
    await told(stage, echo(provider_id))
    await nothing_else_came(stage)
    assert counted("own") == before + 2


async def test_the_echo_first_then_the_answer_to_our_call(stage: Stage) -> None:
    stage.phone.react = lambda _: ["m1"]
    stage.phone.hold = asyncio.Event()
    order = await stage.say("наше")
    await called(stage)
    for _ in range(2):
        await told(stage, echo("m1"))
    assert await stage.database["held_echoes"].count_documents({}) == 1
    stage.phone.hold.set()
    assert (await stage.report(order.message_id)).provider_ids == ["m1"]
    await nothing_else_came(stage)


async def test_what_somebody_types_while_we_call_appears_when_the_call_has_ended(stage: Stage) -> None:
    stage.phone.react = lambda _: ["m1"]
    stage.phone.hold = asyncio.Event()
    await stage.say("наше")
    await called(stage)
    await told(stage, echo("f1", "чуже"), wrote("c1"), echo("m1"), echo("f2", "ще чуже"))
    assert await came(stage, 1) == [("c1", "client")], "what a client says waits for nobody"
    # Behind those that wait, also after the call.
    began = time.monotonic()
    stage.phone.hold.set()
    assert await came(stage, 2) == [("f1", "operator"), ("f2", "operator")]
    assert time.monotonic() - began < 4, "they wait for the end of that call and not longer"
    await nothing_else_came(stage)


async def test_no_call_is_under_way_then_an_echo_is_published_at_once(stage: Stage) -> None:
    stage.phone.hold = asyncio.Event()
    await stage.say("іншому", client="8")
    await called(stage)
    await told(stage, echo("f1", "чуже"))
    assert await stage.database["held_echoes"].count_documents({}) == 0
    assert await came(stage, 1) == [("f1", "operator")]
    stage.phone.hold.set()


async def test_what_comes_behind_a_waiting_echo_keeps_its_place(stage: Stage) -> None:
    stage.phone.react = lambda _: ["m1"]
    stage.phone.hold = asyncio.Event()
    order = await stage.say("наше")
    await called(stage)
    await told(stage, echo("f0", "чуже"), echo("f1", "чуже"))
    # The call has ended for whoever takes webhooks, and whoever decides has not noticed it yet.
    sends = stage.database["sends"]
    await sends.update_one({"_id": order.message_id}, {"$set": {"open": False}})
    for number in range(2, 6):
        await told(stage, echo(f"f{number}", "чуже"))
    assert await stage.database["held_echoes"].count_documents({}) == 6
    await sends.update_one({"_id": order.message_id}, {"$set": {"open": True}})
    stage.phone.hold.set()
    assert await came(stage, 6) == [(f"f{number}", "operator") for number in range(6)]


async def test_a_call_that_does_not_end_holds_a_persons_words_for_a_moment_only(hasty: Stage) -> None:
    hasty.phone.react = lambda _: ["m1"]
    hasty.phone.hold = asyncio.Event()
    order = await hasty.say("наше")
    await called(hasty)
    began = time.monotonic()
    await told(hasty, echo("f1", "чуже"))
    assert await came(hasty, 1) == [("f1", "operator")]
    assert 0.4 < time.monotonic() - began < 3
    await state_is(hasty, order, "sending")
    hasty.phone.hold.set()
    await hasty.report(order.message_id)
    await nothing_else_came(hasty)


async def test_parts_and_albums_are_ours_one_by_one(stage: Stage) -> None:
    answers: dict[str, Sequence[str]] = {"один": ["m1", "m1b", "m1c"], "два": ["m2"]}
    gate = asyncio.Event()

    def react(part: Part) -> Sequence[str]:
        if part.text == "два":
            stage.phone.hold = gate
        return answers[part.text]

    stage.phone.react = react
    order = await stage.say("один|два")
    await called(stage)
    while stage.phone.texts(CHANNEL) != ["один", "два"]:
        await called(stage)
    # The first part is known by now, the second is under way.
    for provider_id in ("m1", "m1c", "m2", "f1", "m1b"):
        await told(stage, echo(provider_id))
    waiting = await stage.database["held_echoes"].distinct("_id")
    assert len(waiting) == 2
    gate.set()
    assert (await stage.report(order.message_id)).provider_ids == ["m1", "m1b", "m1c", "m2"]
    assert await came(stage, 1) == [("f1", "operator")]
    await nothing_else_came(stage)


async def test_a_call_that_goes_unanswered_and_its_echo_with_our_mark(stage: Stage) -> None:
    stage.phone.react = lambda _: DeliveryUnknown("no answer")
    order = await stage.say("наше")
    await state_is(stage, order, "in_doubt")
    await told(stage, echo("f1", "чуже"))
    assert await stage.receipts(marked(order, 0, "m1")) == 200
    report = await stage.report(order.message_id)
    assert (report.state, report.provider_ids) == (MessageState.SENT, ["m1"])
    assert await came(stage, 1) == [("f1", "operator")]
    # The same once more, without its mark, e.g. read again after a gap.
    await told(stage, echo("m1"))
    await nothing_else_came(stage)


async def test_without_mark_and_id_nothing_is_proved_and_both_are_shown(hasty: Stage) -> None:
    hasty.phone.react = lambda _: DeliveryUnknown("no answer")
    order = await hasty.say("наше")
    await state_is(hasty, order, "in_doubt")
    await told(hasty, echo("m1", "наше"))
    assert (await hasty.report(order.message_id)).state is MessageState.UNKNOWN
    assert await came(hasty, 1) == [("m1", "operator")]
    document = await hasty.database["sends"].find_one({"_id": order.message_id})
    assert document is not None
    assert document["provider_ids"] == [], "nothing is adopted for its words"


async def test_a_doubt_is_waited_for_longer_than_a_call(hasty: Stage) -> None:
    """Its own echo may come later than half a second, and then this one is not ours."""
    hasty.phone.react = lambda _: DeliveryUnknown("no answer")
    order = await hasty.say("наше")
    await state_is(hasty, order, "in_doubt")
    began = time.monotonic()
    await told(hasty, echo("f1", "чуже"))
    assert await came(hasty, 1) == [("f1", "operator")]
    assert time.monotonic() - began > 0.6


@pytest.mark.parametrize("author", [AuthorKind.BOT, AuthorKind.AUTORESPONDER])
async def test_a_slow_call_of_a_bot_is_waited_for_and_its_echo_never_silences_it(
    hasty: Stage, author: AuthorKind
) -> None:
    hasty.phone.react = lambda _: ["m1"]
    hasty.phone.hold = asyncio.Event()
    order = await hasty.say("Вітаю! Я бот.", author_kind=author)
    await called(hasty)
    await told(hasty, echo("m1", "Вітаю! Я бот."))
    await asyncio.sleep(1.0)  # pace: twice as long as an echo waits for a person's call
    assert await hasty.database["held_echoes"].count_documents({}) == 1
    hasty.phone.hold.set()
    await hasty.report(order.message_id)
    await nothing_else_came(hasty)


async def test_an_echo_with_the_words_of_a_bots_unanswered_call_is_not_a_persons(hasty: Stage) -> None:
    hasty.phone.react = lambda _: DeliveryUnknown("no answer")
    order = await hasty.say("Вітаю!|Я бот.", author_kind=AuthorKind.BOT)
    await state_is(hasty, order, "in_doubt")
    await told(hasty, echo("m1", "Вітаю!"), echo("f1", "Я Ольга, вже тут"))
    assert await came(hasty, 2) == [("m1", "bot"), ("f1", "operator")]
    await state_is(hasty, order, "unknown")


async def test_an_echo_waits_for_a_bot_no_longer_than_it_must(
    hasty: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(echoes_module, "UNDECIDED_FOR", timedelta(seconds=1))
    hasty.phone.hold = asyncio.Event()
    order = await hasty.say("Вітаю!", author_kind=AuthorKind.BOT)
    await called(hasty)
    await told(hasty, echo("f1", "Я Ольга"))
    assert await came(hasty, 1) == [("f1", "operator")]
    hasty.phone.hold.set()
    await hasty.report(order.message_id)


async def test_a_replica_that_does_not_own_the_channel_holds_and_its_owner_decides(
    stage: Stage, amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    other = await started(
        stage.phone,
        amqp_url,
        mongo_url,
        mongo_prefix,
        connector=EchoingConnector(stage.phone),
        objects_url=tmp_path.as_uri(),
    )
    try:
        numbers = iter(range(1000))
        for client in ("7", "8", "9"):
            stage.phone.hold = asyncio.Event()
            stage.phone.react = lambda _: [f"m{next(numbers)}"]
            order = await stage.say("наше", client=client)
            await called(stage)
            for replica in (other, stage.replica):
                await told(stage, echo(f"m{client}-no", "чуже", client), replica=replica)
            document = await stage.database["held_echoes"].find_one({})
            assert document is not None
            assert document["partition"] == partition_of(CHANNEL)
            stage.phone.hold.set()
            report = await stage.report(order.message_id)
            assert await came(stage, 1) == [(f"m{client}-no", "operator")]
            for replica in (other, stage.replica):
                await told(stage, echo(report.provider_ids[0], client=client), replica=replica)
        await nothing_else_came(stage)
    finally:
        await other.stop()


async def test_a_replica_dies_while_its_call_is_out_and_the_other_goes_on(
    stage: Stage, amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    stage.phone.hold = asyncio.Event()
    stage.phone.react = lambda _: ["m1"]
    order = await stage.say("наше")
    await called(stage)
    await told(stage, echo("f1", "чуже"), echo("f2", "чуже"))
    await stage.replica.crash()
    stage.phone.hold = None
    stage.replica = await started(
        stage.phone,
        amqp_url,
        mongo_url,
        mongo_prefix,
        connector=EchoingConnector(stage.phone),
        objects_url=tmp_path.as_uri(),
    )
    try:
        assert await stage.receipts(marked(order, 0, "m1")) == 200
        report = await stage.report(order.message_id)
        assert (report.state, report.provider_ids) == (MessageState.SENT, ["m1"])
        assert await came(stage, 2) == [("f1", "operator"), ("f2", "operator")]
        await told(stage, echo("m1"))
        await nothing_else_came(stage)
        assert stage.phone.texts(CHANNEL) == ["наше"]
    finally:
        await stage.replica.stop()


async def test_killed_between_publishing_and_forgetting_it_is_published_again_with_its_id(
    stage: Stage,
) -> None:
    stage.phone.hold = asyncio.Event()
    order = await stage.say("наше")
    await called(stage)
    await told(stage, echo("f1", "чуже"))
    (row,) = await stage.database["held_echoes"].find({}).to_list(None)
    stage.phone.hold.set()
    await stage.report(order.message_id)
    ids = []
    for _ in range(2):
        async with asyncio.timeout(10):
            event = await stage.inbound.get()
        assert isinstance(event, MessageEchoed)
        ids.append(event.event_id)
        if len(ids) == 1:
            for _ in range(200):
                if not await stage.database["held_echoes"].count_documents({}):
                    break
                await asyncio.sleep(0.02)  # pace: between two looks into the store
            await stage.database["held_echoes"].insert_one(row)
    assert ids[0] == ids[1]


async def test_the_files_of_an_echo_that_waited_are_fetched_after_it(stage: Stage) -> None:
    stage.phone.react = lambda _: ["m1"]
    stage.phone.hold = asyncio.Event()
    await stage.say("наше")
    await called(stage)
    photo = {"ref": "r1", "kind": "image", "name": None, "mime": None, "size_bytes": None}
    file = {**photo, "width": None, "height": None, "duration_s": None}
    await told(stage, {**echo("f1", ""), "media": [file]}, {**echo("m1", ""), "media": [file]})
    assert await stage.database["media_jobs"].count_documents({}) == 0
    stage.phone.hold.set()
    assert await came(stage, 1) == [("f1", "operator")]
    for _ in range(200):
        if await stage.database["media_jobs"].count_documents({}) == 1:
            break
        await asyncio.sleep(0.02)  # pace: between two looks into the store
    await nothing_else_came(stage)
    assert await stage.database["media_jobs"].count_documents({}) <= 1


async def test_shuffled_echoes_and_answers_show_what_is_foreign_and_nothing_else(stage: Stage) -> None:
    """48 parts of six clients: echoes before, while and after the call; half of them with foreign ones."""
    luck = random.Random(2018)
    ours: dict[str, str] = {}
    foreign: set[str] = set()
    posts: list[asyncio.Task[None]] = []

    def react(part: Part) -> Sequence[str] | Exception:
        assert isinstance(part, MarkedPart)
        provider_id = ours[part.mark] = f"m{len(ours)}"
        said = [echo(provider_id, part.text, part.client)] * luck.choice([1, 2])
        if luck.random() < 0.5:
            name = f"f{len(foreign)}"
            foreign.add(name)
            said.append(echo(name, "чуже", part.client))
        luck.shuffle(said)
        is_lost = luck.random() < 0.2
        if is_lost:
            posts.append(asyncio.create_task(_receipt_of(stage, part, provider_id)))
        posts.extend(asyncio.create_task(_later(stage, one, luck.random() * 0.3)) for one in said)
        return DeliveryUnknown("no answer") if is_lost else [provider_id]

    stage.phone.react = react
    orders = [await stage.say(f"{n}|{n}b", client=str(n % 6)) for n in range(24)]
    shown: list[str] = []
    final: dict[str, DeliveryReported] = {}
    async with asyncio.timeout(40):
        while len(final) < len(orders) or set(shown) < foreign:
            event = await stage.inbound.get()
            if isinstance(event, MessageEchoed):
                shown.append(event.provider_id)
            elif isinstance(event, DeliveryReported):
                final[event.message_id] = event
        await asyncio.gather(*posts)
    await nothing_else_came(stage)
    assert set(shown) == foreign
    assert {one.state for one in final.values()} == {MessageState.SENT}
    assert sorted(one for report in final.values() for one in report.provider_ids) == sorted(ours.values())


async def _later(stage: Stage, said: dict[str, Any], after_s: float) -> None:
    await asyncio.sleep(after_s)  # pace: any order of the two ways
    await told(stage, said)


async def _receipt_of(stage: Stage, part: MarkedPart, provider_id: str) -> None:
    said = {"client": part.client, "id": provider_id, "state": "sent", "mark": part.mark}
    assert await stage.receipts(said) == 200


async def test_an_echo_of_an_answer_nobody_calls_for_any_more(stage: Stage) -> None:
    """The process of the call died; by its lease it is in doubt, and only its mark can tell."""
    stage.phone.react = lambda _: DeliveryUnknown("no answer")
    order = await stage.say("наше", author_kind=AuthorKind.BOT)
    await state_is(stage, order, "in_doubt")
    await stage.database["sends"].update_one(
        {"_id": order.message_id},
        {"$set": {"state": "sending", "owner": "dead", "lease_until": utc_now() - timedelta(seconds=1)}},
    )
    await told(stage, echo("m1", "наше"))
    await state_is(stage, order, "in_doubt")
    assert await stage.database["held_echoes"].count_documents({}) == 1
    assert await stage.receipts(marked(order, 0, "m1")) == 200
    assert (await stage.report(order.message_id)).state is MessageState.SENT
    await nothing_else_came(stage)


async def test_echoes_are_looked_up_by_indexes(stage: Stage) -> None:
    under_way = {
        "open": True,
        "channel_id": {"$in": [CHANNEL]},
        "conversation_id": {"$in": ["x"]},
        "state": {"$in": ["sending", "in_doubt"]},
    }
    for collection, wanted in (
        ("sends", under_way),
        ("sends", {"channel_id": CHANNEL, "provider_ids": {"$in": ["m1"]}}),
        ("held_echoes", {"conversation_id": {"$in": ["x"]}}),
        ("held_echoes", {"partition": {"$in": [1, 2]}}),
    ):
        found = await stage.database.command("explain", {"find": collection, "filter": wanted})
        assert "COLLSCAN" not in str(found["queryPlanner"]["winningPlan"])
