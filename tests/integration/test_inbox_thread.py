"""The straight road: a fact from the bus to the log, the envelope, the lists, the answer and back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from inbox_client import Client
from inbox_rig import Rig, changes, eventually, running, settings_for

from msgkit.contracts.topology import FACTS, SENDS
from msgkit.contracts.views import ConversationRow, MessageView
from msgkit.contracts.words import MessageState

pytestmark = pytest.mark.servers


@pytest.fixture
async def rig(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Rig]:
    async with running(settings_for(amqp_url, mongo_url, mongo_prefix)) as found:
        yield found


async def test_a_message_becomes_an_envelope_a_row_an_answer_and_a_tick(rig: Rig) -> None:
    olena = rig.api()
    channel_id = await olena.connect_channel()
    client = Client(channel_id)
    facts, sends = await rig.listen(FACTS), await rig.listen(SENDS)

    await rig.publish(client.says("Добрий день"))

    told = changes(await eventually(facts, bool))
    assert [event["type"] for event in told[0]["events"]] == ["message.created", "conversation.upserted"]
    message = MessageView.model_validate(told[0]["events"][0]["data"])
    row = ConversationRow.model_validate(told[0]["events"][1]["data"])
    assert (message.text, message.n, row.box, row.request and row.request.number) == (
        "Добрий день",
        1,
        "new",
        1,
    )

    async def listed() -> list[dict[str, object]]:
        return (await olena.get("/conversations", list="active"))["items"]  # type: ignore[no-any-return]

    items = await eventually(listed, bool)
    assert items[0]["id"] == client.conversation_id
    assert (items[0]["unread"], items[0]["v"]) == (1, 1)
    assert await olena.get("/counters") == {
        "lists": {"active": 1, "mine": 0, "new": 1, "bot": 0, "waiting": 0},
        "red": 1,
        "blue": 1,
    }

    answer = await olena.reply(client.conversation_id, "Вітаю!", seen_n=1)
    assert answer.status_code == 202, answer.text
    assert (answer.json()["state"], answer.json()["n"]) == ("queued", 2)
    order = (await eventually(sends, bool))[0]
    assert (order["type"], order["message_id"], order["out_seq"]) == (
        "send.ordered.v1", answer.json()["id"], 1,
    )  # fmt: skip
    assert (order["contact_key"], order["text"]) == (client.key, "Вітаю!")

    await rig.publish(client.gets(order["message_id"], MessageState.SENT, provider_ids=("77",)))

    async def state() -> str:
        return str((await olena.messages(client.conversation_id))[-1]["state"])

    assert await eventually(state, lambda value: value == "sent") == "sent"
    row = ConversationRow.model_validate(await olena.get(f"/conversations/{client.conversation_id}"))
    assert (row.box, row.assignee and row.assignee.name, row.answered_seq) == ("active", "Olena", 1)
    seen = [change["v"] for change in changes(await facts())]
    assert seen == sorted(seen)
