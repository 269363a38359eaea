"""What a release changes of an index is changed where the data of an earlier one lies."""

from __future__ import annotations

import pytest

from msgkit.runtime.mongo import Mongo, keep_index

pytestmark = pytest.mark.servers


async def test_an_index_an_earlier_release_made_otherwise_is_made_anew(
    mongo_url: str, mongo_prefix: str
) -> None:
    """inbox did not start on data from before its index `mine` became a partial one."""
    mongo = Mongo(mongo_url, f"{mongo_prefix}indexes")
    rows = mongo.database["rows"]
    await rows.insert_one({"a": 1, "b": 1})
    await keep_index(rows, [("a", 1)], name="mine")
    await keep_index(rows, "expires_at", expireAfterSeconds=10)

    for _ in range(2):
        await keep_index(rows, [("a", 1), ("b", -1)], name="mine", partialFilterExpression={"a": {"$gt": 0}})
        await keep_index(rows, "expires_at", expireAfterSeconds=0)

    found = await rows.index_information()
    assert found["mine"]["key"] == [("a", 1), ("b", -1)]
    assert found["mine"]["partialFilterExpression"] == {"a": {"$gt": 0}}
    assert found["expires_at_1"]["expireAfterSeconds"] == 0
    mongo.close()
