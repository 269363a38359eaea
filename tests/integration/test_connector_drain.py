"""A replica that leaves gives up what it owns, whatever hangs in it."""

from __future__ import annotations

import asyncio

import pytest
from plain_messenger import Phone, PlainConnector

from msgkit.connector import ingest_life
from msgkit.connector.ingest_life import Life, Part
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import Mongo

pytestmark = pytest.mark.servers


async def test_a_part_that_hangs_keeps_no_partition(
    mongo_url: str, mongo_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_life, "PARTS_SECONDS", 0.2)
    mongo = Mongo(mongo_url, f"{mongo_prefix}drain")
    membership = Membership(mongo.database, "test", "one")
    await membership.join()

    async def hang() -> None:
        await asyncio.Event().wait()

    async def declare() -> None:
        """Nothing is published here."""

    life = Life(
        declare=declare,
        mongo=mongo,
        stores=(),
        publishers=(),
        spool=None,
        membership=membership,
        connector=PlainConnector(Phone()),
        parts=[Part("stuck", hang, hang)],
    )
    async with asyncio.timeout(5):
        await life.drain()
    assert membership.owned == frozenset()
    assert await mongo.database["members"].count_documents({}) == 0
    mongo.close()
