"""A pressed button is answered at once, and that neither delays nor fails the webhook."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from connector_stage import BotApi, Stage, running

from msgkit.contracts.events import ButtonPress, MessageReceived
from msgkit.testing.wire import Answer

pytestmark = pytest.mark.servers

PRESS = (Path(__file__).parent.parent / "fixtures/telegram/callback_query__press.json").read_bytes()


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    api = BotApi()
    await api.wire.start()
    async with running(api, amqp_url, mongo_url, mongo_prefix) as stage:
        yield stage
    await api.wire.stop()


async def test_press_is_an_event_and_is_answered_whatever_telegram_does_with_the_answer(stage: Stage) -> None:
    secret = await stage.connected()
    respond = stage.api.wire.respond
    silent = Answer(does="hang")
    stage.api.wire.respond = lambda call: silent if call.method == "answerCallbackQuery" else respond(call)
    query = json.loads(PRESS)["callback_query"]

    async with asyncio.timeout(5):  # the silent answer would take 10 s
        assert (await stage.post(PRESS, secret)).status_code == 200

    event = await stage.next_inbound()
    assert isinstance(event, MessageReceived)
    assert event.pressed == ButtonPress(value="cmd:yes", message_provider_id="51")
    (call,) = await stage.api.wire.seen("answerCallbackQuery")
    assert call.fields == {"callback_query_id": query["id"]}
