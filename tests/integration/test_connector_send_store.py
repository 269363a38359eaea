"""How sends end that nobody is calling for, on a real MongoDB: what a receipt told of them counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from plain_messenger import KIND
from plain_stage import CHANNEL

from msgkit.connector.send_documents import CHANNEL_OFF, document_of
from msgkit.connector.send_store import SendStore
from msgkit.contracts.events import DeliveryReported, SendMessage
from msgkit.contracts.ids import conversation_id, new_id
from msgkit.contracts.words import AuthorKind, MessageState
from msgkit.runtime.clock import utc_now
from msgkit.runtime.mongo import Database, Mongo

pytestmark = pytest.mark.servers

SENT, FAILED, UNKNOWN = MessageState.SENT, MessageState.FAILED, MessageState.UNKNOWN


@pytest_asyncio.fixture
async def database(mongo_url: str, mongo_prefix: str) -> AsyncIterator[Database]:
    mongo = Mongo(mongo_url, f"{mongo_prefix}sends")
    await SendStore(mongo.database).prepare()
    yield mongo.database
    mongo.close()


async def stored(database: Database, **more: Any) -> str:
    """An open send in this state."""
    order = SendMessage(
        type="send.ordered.v1",
        event_id=new_id(),
        tenant_id="salon",
        channel_id=CHANNEL,
        channel_kind=KIND,
        recorded_at=utc_now(),
        conversation_id=conversation_id(CHANNEL, "7"),
        contact_key="7",
        message_id=new_id(),
        out_seq=1,
        author_kind=AuthorKind.OPERATOR,
        client_wrote_at=None,
        text="так",
        media=[],
        buttons=[],
        reply_to_provider_id=None,
        place=None,
        shared_contact=None,
        template=None,
        is_reaction=False,
    )
    await database["sends"].insert_one(document_of(order, None, utc_now()) | more)
    return order.message_id


@pytest.mark.parametrize(
    ("how", "wanted", "ids"),
    [
        ({"state": "queued"}, FAILED, []),
        ({"state": "queued", "parts": 1, "marked": {"0": "w1"}}, SENT, ["w1"]),
        ({"state": "queued", "parts": 2, "marked": {"0": "w1"}}, FAILED, ["w1"]),
        ({"state": "in_doubt", "parts": 1}, UNKNOWN, []),
        ({"state": "in_doubt", "parts": 1, "marked": {"0": "w1"}}, SENT, ["w1"]),
        (
            {"state": "in_doubt", "parts": 2, "parts_done": 1, "provider_ids": ["w1"], "marked": {"1": "w2"}},
            SENT,
            ["w1", "w2"],
        ),
    ],
    ids=["never tried", "arrived after all", "a part arrived", "in doubt", "out of doubt", "its last part"],
)
async def test_a_channel_switched_off_ends_an_answer_as_the_receipt_says(
    database: Database, how: dict[str, Any], wanted: MessageState, ids: list[str]
) -> None:
    message_id = await stored(database, **how)
    await SendStore(database).fail_channel(CHANNEL, CHANNEL_OFF)
    document = await database["sends"].find_one({"_id": message_id})
    assert document is not None
    assert (document["state"], document["open"], document["provider_ids"]) == (wanted.value, False, ids)
    report = DeliveryReported.model_validate_json(document["report"]["body"])
    assert (report.state, report.provider_ids, report.failure is None) == (wanted, ids, wanted is SENT)


async def test_what_a_receipt_says_has_arrived_is_not_claimed_for_another_call(database: Database) -> None:
    store = SendStore(database)
    message_id = await stored(database, parts=1)
    head = await store.head(CHANNEL, conversation_id(CHANNEL, "7"))
    assert head is not None
    await database["sends"].update_one({"_id": message_id}, {"$set": {"marked.0": "w1"}})
    assert not await store.claim(head, "me", 1), "the receipt came after we looked"
