"""Members and leases on a real MongoDB: joining, dying, leaving, and one holder at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from server_line import Line, line_to
from yarl import URL

from msgkit.contracts.ids import PARTITIONS
from msgkit.runtime.leases import Lease, LeaseLost, Leases, Patience
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import Database, Mongo
from msgkit.testing.phone import until

QUICK = Patience(expires_after_s=1.5, renew_every_s=0.2, lost_after_s=0.7, claim_every_s=0.1)
ALL = frozenset(range(PARTITIONS))


@pytest.fixture
async def database(mongo_url: str, mongo_prefix: str) -> AsyncIterator[Database]:
    mongo = Mongo(mongo_url, f"{mongo_prefix}members")
    yield mongo.database
    mongo.close()


@pytest.fixture
async def joined(database: Database) -> AsyncIterator[Callable[[str], Awaitable[Membership]]]:
    running: list[tuple[Membership, asyncio.Task[None]]] = []

    async def join(name: str) -> Membership:
        membership = Membership(database, "test", name)
        await membership.join()
        running.append((membership, asyncio.create_task(membership.run(), name=name)))
        return membership

    yield join
    for membership, task in running:
        await membership.leave()
        task.cancel()


def _die(name: str) -> None:
    """As SIGKILL would: it renews no more and says nothing."""
    for task in asyncio.all_tasks():
        if task.get_name() == name:
            task.cancel()


Joined = Callable[[str], Awaitable[Membership]]


async def test_a_joining_member_owns_its_fair_share_within_ten_seconds(joined: Joined) -> None:
    one = await joined("one")
    assert one.owned == ALL
    two = await joined("two")
    await until(lambda: len(one.owned) == len(two.owned) == PARTITIONS // 2, 10)
    three = await joined("three")
    await until(lambda: sorted(len(m.owned) for m in (one, two, three)) == [5, 5, 6], 10)
    assert one.owned | two.owned | three.owned == ALL


async def test_the_survivor_of_a_killed_member_owns_all_within_ten_seconds(joined: Joined) -> None:
    one, two = await joined("one"), await joined("two")
    await until(lambda: len(one.owned) == PARTITIONS // 2, 10)
    _die("two")
    began = time.monotonic()
    await until(lambda: one.owned == ALL, 10)
    assert time.monotonic() - began > 3, "not before its silence says so"
    assert two.owned != ALL


async def test_what_a_leaving_member_owned_is_taken_over_at_once(joined: Joined) -> None:
    one, two = await joined("one"), await joined("two")
    await until(lambda: len(one.owned) == PARTITIONS // 2, 10)
    await two.leave()
    assert two.owned == frozenset()
    await until(lambda: one.owned == ALL, 2)


async def test_a_renewal_under_way_does_not_bring_back_who_has_left(database: Database) -> None:
    for number in range(20):
        leaving = Membership(database, "test", f"leaving-{number}")
        await leaving.join()
        await asyncio.gather(leaving.join(), leaving.leave())
    assert await database["members"].count_documents({}) == 0


async def test_everybody_who_waits_hears_of_a_change(joined: Joined) -> None:
    one = await joined("one")
    waiting = [asyncio.create_task(one.wait_change()) for _ in range(3)]
    known = one.owned
    await joined("two")
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)
        await one.wait_change(known)  # what one did not see coming is told all the same


async def test_only_one_holds_a_lease_and_the_next_one_follows_when_it_is_given_back(
    database: Database,
) -> None:
    one, two = Leases(database, "one", QUICK), Leases(database, "two", QUICK)
    held = await one.claim("watch")
    assert held is not None
    assert await two.claim("watch") is None
    assert await one.claim("watch") is None, "not even the same replica twice"
    assert await one.holders() == {"watch": "one"}
    await one.release(held)
    assert await one.holders() == {}
    after = await two.claim("watch")
    assert after is not None
    assert after.fence == held.fence + 1
    assert not await one.renew(held)


async def test_of_many_who_ask_at_once_one_gets_it(database: Database) -> None:
    asked = await asyncio.gather(*(Leases(database, str(n), QUICK).claim("watch") for n in range(20)))
    assert len([lease for lease in asked if lease is not None]) == 1


async def test_a_killed_holder_keeps_the_others_waiting_until_the_expiry(database: Database) -> None:
    one, two = Leases(database, "one", QUICK), Leases(database, "two", QUICK)
    assert await one.claim("watch") is not None
    began = time.monotonic()
    async with asyncio.timeout(10), two.hold("watch"):
        assert time.monotonic() - began > QUICK.expires_after_s - 0.1


async def test_a_holder_keeps_it_beyond_the_expiry(database: Database) -> None:
    one, two = Leases(database, "one", QUICK), Leases(database, "two", QUICK)
    async with one.hold("watch"):
        until_s = time.monotonic() + 2 * QUICK.expires_after_s
        while time.monotonic() < until_s:
            assert await two.claim("watch") is None
            await asyncio.sleep(0.05)  # pace: it is asked again and again


async def test_work_is_cancelled_when_the_lease_is_lost_and_begins_anew(database: Database) -> None:
    leases = Leases(database, "one", QUICK)
    begun: list[Lease] = []
    ended: list[Lease] = []

    async def work(lease: Lease) -> None:
        begun.append(lease)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(lease)

    keeping = asyncio.create_task(leases.keep("watch", work))
    await until(lambda: len(begun) == 1, 5)
    await database["leases"].update_one({"_id": "watch"}, {"$set": {"token": "somebody else's"}})
    await until(lambda: len(begun) == 2, 10)
    assert ended == begun[:1]
    assert begun[1].fence > begun[0].fence
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert ended == begun
    assert await leases.holders() == {}, "given back, nobody has to wait"


async def test_work_that_returns_ends_the_keeping(database: Database) -> None:
    async def work(_: Lease) -> None:
        return

    leases = Leases(database, "one", QUICK)
    async with asyncio.timeout(5):
        await leases.keep("watch", work)
    assert await leases.holders() == {}


async def test_a_store_that_is_away_ends_the_work_before_another_may_begin(
    mongo_url: str, mongo_prefix: str
) -> None:
    took = 0.0

    async def work(database: Database, store: Line) -> None:
        nonlocal took
        async with Leases(database, "one", QUICK).hold("watch"):
            began = time.monotonic()
            store.fall_silent()
            try:
                async with asyncio.timeout(10):
                    await asyncio.Event().wait()
            finally:
                took = time.monotonic() - began
                store.speak()

    async with line_to(str(URL(mongo_url).with_query(directConnection="true"))) as store:
        mongo = Mongo(store.url, f"{mongo_prefix}members")
        with pytest.raises(LeaseLost):
            await work(mongo.database, store)
        await store.cut()  # closing the driver's client holds up this loop, and with it the line
        mongo.close()
    assert took < QUICK.expires_after_s, "nobody else may hold it yet"


async def test_a_cancellation_from_outside_stays_one(database: Database) -> None:
    async def work() -> None:
        async with Leases(database, "one", QUICK).hold("watch"):
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await until(lambda: bool(working.get_stack()), 5)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
