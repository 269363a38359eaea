"""People whose ids change, on real servers: one conversation, also in a race, after a crash, in a batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from changing_messenger import ChangingConnector, moment
from plain_messenger import KIND, Phone
from plain_stage import CHANNEL, TOKEN, Stage, staged

from msgkit.connector import people as people_module
from msgkit.connector.contract import Account, Parsed, PersonSeen
from msgkit.connector.errors import ProviderUnavailable, RecipientUnreachable
from msgkit.connector.people import People
from msgkit.contracts.events import ContactChanged, MessageReceived
from msgkit.contracts.ids import conversation_id, new_id
from msgkit.contracts.words import FailureCode, MessageState
from msgkit.runtime import metrics
from msgkit.runtime.mongo import Database, Mongo
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers

B, B2 = "bsuid:UA.1", "bsuid:UA.2"
P, P2 = "phone:380671112233", "phone:380502223344"
ACCOUNT = Account(
    channel_id=CHANNEL,
    tenant_id="salon",
    kind="plain",
    account_id="1",
    account_name=None,
    api_base=None,
    state="active",
    problem=None,
    paused_until=None,
    credentials={},
    webhook_secret="",
)


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    phone = Phone()
    async with staged(
        amqp_url, mongo_url, mongo_prefix, phone, connector=ChangingConnector(phone), has_people=True
    ) as stage:
        await stage.replica.connected()
        yield stage


@pytest_asyncio.fixture
async def database(mongo_url: str, mongo_prefix: str) -> AsyncIterator[Database]:
    mongo = Mongo(mongo_url, f"{mongo_prefix}people")
    await People(mongo.database).prepare()
    yield mongo.database
    mongo.close()


@pytest_asyncio.fixture
async def leaving(
    amqp_url: str, mongo_url: str, mongo_prefix: str
) -> AsyncIterator[tuple[Stage, ChangingConnector]]:
    """Its accounts are looked after all the time."""
    phone = Phone()
    connector = ChangingConnector(phone)
    async with staged(
        amqp_url, mongo_url, mongo_prefix, phone, connector=connector, has_people=True, health_every_s=0.1
    ) as stage:
        await stage.replica.connected()
        yield stage, connector


def seen(*ids: str, retired: tuple[str, ...] = (), at: int = 0) -> PersonSeen:
    return PersonSeen(ids[0], ids, (), retired, ids[-1], moment(at))


async def wrote(
    stage: Stage, text: str, *ids: str, at: int = 0, retired: tuple[str, ...] = ()
) -> MessageReceived:
    """A client's message as the bus has it, from a person with these ids."""
    body = {
        "people": [{"ids": ids, "at": at, "retired": retired}],
        "messages": [{"client": ids[0], "id": f"w.{text}", "text": text, "at": at}],
    }
    assert (await stage.replica.post(body)).status_code == 200
    event = await asyncio.wait_for(stage.inbound.get(), 10)
    assert isinstance(event, MessageReceived)
    return event


async def test_one_person_stays_in_one_conversation_and_is_reached_where_he_is(stage: Stage) -> None:
    first = await wrote(stage, "добрий день", P)
    assert (first.contact.key, first.conversation_id) == (P, conversation_id(CHANNEL, P))
    both = await wrote(stage, "це я", B, P, at=1)
    hidden = await wrote(stage, "номер сховано", B, at=2)
    moved = await wrote(stage, "новий номер", B2, P2, at=9, retired=(B, P))
    for event in (both, hidden, moved):
        assert (event.contact.key, event.conversation_id) == (P, first.conversation_id)
    assert (await wrote(stage, "добрий день", P)).event_id == first.event_id, "a repeat is the same event"

    order = await stage.say("вітаємо", client=P)
    assert (await stage.report(order.message_id)).state is MessageState.SENT
    assert stage.phone.seen[-1][1] == P2

    stranger = await wrote(stage, "я не той", P, at=99)
    assert stranger.contact.key != P
    order = await stage.say("а ви хто", client=stranger.contact.key)
    assert (await stage.report(order.message_id)).state is MessageState.SENT
    assert stage.phone.seen[-1][1] == P


async def test_an_answer_to_somebody_whose_number_passed_on_does_not_reach_a_stranger(stage: Stage) -> None:
    await wrote(stage, "я тут", P2, at=-100)
    await wrote(stage, "а я тут", P)
    await wrote(stage, "переїхав", P2, at=5, retired=(P,))
    order = await stage.say("таємниця", client=P2)
    report = await stage.report(order.message_id)
    assert report.state is MessageState.FAILED
    assert report.failure is not None
    assert report.failure.code is FailureCode.RECIPIENT_UNAVAILABLE
    assert stage.phone.seen == []


async def test_somebody_never_seen_is_written_to_by_his_key(stage: Stage) -> None:
    order = await stage.say("перший крок", client="phone:380930000000")
    assert (await stage.report(order.message_id)).state is MessageState.SENT
    assert stage.phone.seen[-1][1] == "phone:380930000000"


async def test_a_thousand_people_of_one_webhook_take_a_moment(database: Database) -> None:
    people = tuple(seen(f"bsuid:UA.{n}", f"phone:3806700{n:05}") for n in range(1000))
    started = time.perf_counter()
    await People(database).settle(ACCOUNT, Parsed(people=people))
    fresh_s = time.perf_counter() - started
    started = time.perf_counter()
    await People(database).settle(ACCOUNT, Parsed(people=people))
    assert (fresh_s < 2.0, time.perf_counter() - started < 1.0) == (True, True)
    assert await database["contacts"].count_documents({}) == 1000
    assert await database["aliases"].count_documents({}) == 2000


async def test_replicas_that_see_a_new_person_at_once_make_one_contact(database: Database) -> None:
    """Each round is another person, seen by six replicas with overlapping ids at the same moment."""
    for round_ in range(25):
        bsuid, phone = f"bsuid:UA.{round_}", f"phone:38067000{round_:04}"
        views = [(bsuid, phone), (phone,), (bsuid, phone), (phone,), (bsuid, phone), (phone,)]
        await asyncio.gather(
            *(People(database).settle(ACCOUNT, Parsed(people=(seen(*ids),))) for ids in views)
        )
        rows = await database["aliases"].find({"alias": {"$in": [bsuid, phone]}}).to_list(None)
        assert len({row["contact_key"] for row in rows}) == 1
        assert {row["alias"] for row in rows} == {bsuid, phone}
    assert await database["contacts"].count_documents({}) == 25


async def test_the_same_ids_of_two_channels_are_two_contacts(database: Database) -> None:
    await People(database).settle(ACCOUNT, Parsed(people=(seen(P),)))
    other = replace(ACCOUNT, channel_id="d" * 32, tenant_id="clinic")
    await People(database).settle(other, Parsed(people=(seen(B, P),)))
    assert await People(database).address_of(CHANNEL, P) == P
    assert await People(database).address_of(CHANNEL, B) is None
    assert await People(database).address_of("d" * 32, B) == P


async def test_a_crash_before_the_contact_is_written_is_mended_by_the_repeat(database: Database) -> None:
    people = People(database)
    await people.settle(ACCOUNT, Parsed(people=(seen(B, P),)))
    await database["contacts"].delete_many({})
    await people.settle(ACCOUNT, Parsed(people=(seen(B, P),)))
    assert await people.address_of(CHANNEL, B) == P


async def test_the_newest_word_on_the_address_counts_whenever_it_comes(database: Database) -> None:
    people = People(database)
    for person in (seen(B, P, at=5), seen(B, at=9), seen(B, P, at=7)):
        await people.settle(ACCOUNT, Parsed(people=(person,)))
    assert await people.address_of(CHANNEL, B) == B


async def test_a_name_in_the_address_book_of_somebody_who_never_wrote_is_not_remembered(stage: Stage) -> None:
    counted = {"kind": KIND, "outcome": "counted_nobody_known"}
    dropped = metrics.REGISTRY.get_sample_value("rozmova_webhook_requests_total", counted) or 0
    names = [{"ids": [P2], "name": "Марія (фарбування)"}, {"ids": [P], "name": "Олена (брови)", "at": 9}]
    assert (await stage.replica.post({"names": names})).status_code == 200
    assert stage.inbound.empty()
    assert metrics.REGISTRY.get_sample_value("rozmova_webhook_requests_total", counted) == dropped + 2
    for collection in ("aliases", "contacts"):
        assert await stage.database[collection].count_documents({}) == 0

    first = await wrote(stage, "добрий день", B, P)
    before = await stage.database["contacts"].find_one({"_id": first.conversation_id})
    assert (await stage.replica.post({"names": names})).status_code == 200
    renamed = await asyncio.wait_for(stage.inbound.get(), 10)
    assert isinstance(renamed, ContactChanged)
    assert (renamed.contact.key, renamed.conversation_id) == (B, first.conversation_id)
    assert renamed.contact.name == "Олена (брови)"
    assert stage.inbound.empty()
    assert await stage.database["contacts"].find({}).to_list(None) == [before], (
        "the owner's word is no address"
    )


async def test_a_message_is_not_dropped_for_the_address_book_beside_it(stage: Stage) -> None:
    body = {
        "names": [{"ids": [P], "name": "Олена", "at": 99}],
        "people": [{"ids": [P], "at": 9}],
        "messages": [{"client": P, "id": "w.1", "text": "1", "at": 3}],
    }
    assert (await stage.replica.post(body)).status_code == 200
    kinds = {(await asyncio.wait_for(stage.inbound.get(), 10)).type for _ in range(2)}
    assert kinds == {"message.received.v1", "contact.changed.v1"}


async def nobody_is_left(stage: Stage) -> None:
    async with asyncio.timeout(15):
        while any([await stage.database[name].count_documents({}) for name in ("aliases", "contacts")]):  # noqa: ASYNC110 - a state in a store has no event
            await asyncio.sleep(0.02)  # pace: polls a state with a deadline


async def test_people_of_a_removed_account_are_forgotten_after_its_farewell(
    leaving: tuple[Stage, ChangingConnector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_module, "FORGOTTEN_AT_ONCE", 2)
    stage, connector = leaving
    other, token = "d" * 32, f"{TOKEN}-other"
    await stage.replica.connected(other, token)
    body = {"people": [{"ids": [B, P]}]}
    assert (await stage.replica.post(body, channel_id=other, token=token)).status_code == 200
    many = [{"ids": [f"bsuid:UA.{n}", f"phone:3806700{n:05}"]} for n in range(5)]
    assert (await stage.replica.post({"people": many})).status_code == 200

    connector.leave_fault = ProviderUnavailable("no network")
    assert (await stage.replica.internal.delete(f"/internal/accounts/{other}")).status_code == 204
    async with asyncio.timeout(15):
        while connector.leavings < 6:  # noqa: ASYNC110 - looks of the watch have no event
            await asyncio.sleep(0.02)  # pace: polls a counter with a deadline
    here = {"channel_id": CHANNEL}
    for name, count in (("aliases", 10), ("contacts", 5)):
        assert await stage.database[name].count_documents(here) == count
        assert await stage.database[name].count_documents({"channel_id": other}) > 0, "no farewell yet"
    connector.leave_fault = None
    async with asyncio.timeout(15):
        while await stage.database["aliases"].count_documents({"channel_id": other}):  # noqa: ASYNC110 - a state in a store has no event
            await asyncio.sleep(0.02)  # pace: polls a state with a deadline
    assert await stage.database["aliases"].count_documents(here) == 10, "only those of the account that went"
    assert (await stage.replica.internal.delete(f"/internal/accounts/{CHANNEL}")).status_code == 204
    await nobody_is_left(stage)


async def test_whose_last_message_it_was_is_remembered_for_signals(stage: Stage) -> None:
    for text, at in (("1", 5), ("3", 9), ("2", 7)):
        event = await wrote(stage, text, P, at=at)
    settings: dict[str, Any] = {"_id": event.conversation_id}
    found = await stage.database["contacts"].find_one(settings)
    assert found is not None
    assert (found["last_inbound_provider_id"], found["last_inbound_at"]) == ("w.3", moment(9))


async def test_ids_are_settled_by_any_replica_after_a_restart(database: Database) -> None:
    await People(database).settle(ACCOUNT, Parsed(people=(seen(P),)))
    await People(database).settle(ACCOUNT, Parsed(people=(seen(B, P),)))
    await People(database).settle(ACCOUNT, Parsed(people=(seen(B2, P2, retired=(B, P), at=5),)))
    assert await People(database).address_of(CHANNEL, P) == P2
    contact = await People(database).contact(conversation_id(CHANNEL, P))
    assert contact is not None
    assert (contact.contact_key, contact.address, contact.last_inbound_provider_id) == (P, P2, None)
    assert await People(database).contact(new_id()) is None


async def test_a_contact_without_an_id_of_his_own_is_not_reached(database: Database) -> None:
    people = People(database)
    lost = (seen(P2, at=-100), seen(P), seen(P2, retired=(P,), at=5))
    for person in (*lost, *lost):
        await people.settle(ACCOUNT, Parsed(people=(person,)))
    with pytest.raises(RecipientUnreachable):
        await people.address_of(CHANNEL, P2)
    assert await people.contact(conversation_id(CHANNEL, P2)) is None
    assert await people.address_of(CHANNEL, P) == P2
    back = seen(B2, P2, at=int(timedelta(days=1).total_seconds()))
    await people.settle(ACCOUNT, Parsed(people=(back,)))
    assert await people.address_of(CHANNEL, P) == P2
