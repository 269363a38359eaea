"""The straight path: a webhook becomes an event, an order becomes a message and a report."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from connector_stage import CLIENT, BotApi, Stage, running

from msgkit.contracts.events import MessageReceived
from msgkit.contracts.words import MessageState

pytestmark = pytest.mark.servers

FIXTURES = Path(__file__).parent.parent / "fixtures" / "telegram"


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    api = BotApi()
    await api.wire.start()
    async with running(api, amqp_url, mongo_url, mongo_prefix) as stage:
        yield stage
    await api.wire.stop()


async def test_text_travels_from_the_webhook_to_the_bus_and_the_answer_comes_back(stage: Stage) -> None:
    secret = await stage.connected()
    body = (FIXTURES / "message__text_with_url.json").read_bytes()

    answer = await stage.post(body, secret)

    assert (answer.status_code, answer.content) == (200, b"")
    event = await stage.next_inbound()
    assert isinstance(event, MessageReceived)
    assert event.content.text == "👋 Ціна https://a.ua"
    assert event.raw == body.decode()
    assert event.contact.key == str(CLIENT)
    assert stage.journal.empty(), "one event that carries the whole webhook travels once"

    order = await stage.say("Добрий день")

    report = await stage.report_of(order.message_id)
    assert (report.state, report.provider_ids, report.failure) == (MessageState.SENT, ["101"], None)
    assert stage.api.sent == ["Добрий день"]
    registered = next(iter(stage.api.webhooks.values()))
    assert json.loads(registered["allowed_updates"]) == [
        "message",
        "edited_message",
        "callback_query",
        "my_chat_member",
    ]
