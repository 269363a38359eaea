"""Numbers of requests: those promised to a batch are there when it decides, whoever else takes some."""

from __future__ import annotations

import asyncio

import pytest

from inbox.domain import RequestOpened
from inbox.numbers import NUMBER_BLOCK, RequestNumbers
from msgkit.contracts.words import Handler
from msgkit.runtime.mongo import Mongo

pytestmark = pytest.mark.servers


def opened(number: int) -> RequestOpened:
    return RequestOpened(dedupe_id="r", request_id="r", number=number, handler=Handler.OPERATOR)


async def test_numbers_taken_while_those_of_another_tenant_are_fetched_are_made_up_for(
    mongo_url: str, mongo_prefix: str
) -> None:
    mongo = Mongo(mongo_url, f"{mongo_prefix}inbox")
    numbers = RequestNumbers(mongo.database)
    await numbers.ensure({"salon": NUMBER_BLOCK})
    batch = asyncio.create_task(numbers.ensure({"salon": NUMBER_BLOCK, "clinic": 1}))
    await asyncio.sleep(0)  # pace: one turn of the loop, now it waits for the clinic's
    first = numbers.next("salon")
    numbers.use("salon", [opened(first)])
    await batch
    taken = []
    for _ in range(NUMBER_BLOCK):
        taken.append(numbers.next("salon"))
        numbers.use("salon", [opened(taken[-1])])
    assert (first, taken) == (1, list(range(2, NUMBER_BLOCK + 2)))
    assert numbers.next("clinic") == 1
    mongo.close()
