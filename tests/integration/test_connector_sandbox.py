"""ingest-telegram and the sandbox's Telegram over real HTTP: neither knows the other's code."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from connector_process import process_at
from connector_stage import CHANNEL, TOKEN, BotApi, caller_headers, running

from ingest_telegram.connector import KIND
from msgkit.contracts.events import ContactAvailability, MessageEdited, MessageReceived
from msgkit.contracts.ids import conversation_id
from msgkit.contracts.words import FailureCode, MessageState
from sandbox.app import running as sandbox_running
from sandbox.settings import BotSettings
from sandbox.settings import Settings as SandboxSettings

pytestmark = pytest.mark.servers


async def test_a_dialogue_with_the_phone(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    bot = BotSettings(token=TOKEN, username="mavka_bot", name="Мавка")
    listener = BotApi()
    await listener.wire.start()
    async with (
        sandbox_running(SandboxSettings(public_port=0, sandbox_bots=(bot,))) as sandbox,
        process_at(sandbox, amqp_url, mongo_url, mongo_prefix, tmp_path) as process,
        running(listener, amqp_url, mongo_url, "bystander_", serve=False) as stage,
        httpx2.AsyncClient(base_url=sandbox) as phone,
        httpx2.AsyncClient(base_url=process.internal, headers=caller_headers()) as gateway,
    ):
        body = {"kind": KIND, "tenant_id": "salon", "credentials": {"token": TOKEN}, "api_base": sandbox}
        probe = await gateway.put(f"/internal/accounts/{CHANNEL}", json=body)
        assert (probe.status_code, probe.json()["account_name"]) == (200, "@mavka_bot")
        health = await gateway.post(f"/internal/accounts/{CHANNEL}/activate")
        assert (health.json()["connected"], health.json()["problem"]) == (True, None)
        client = f"/control/{CHANNEL}/clients/olena"

        written = (await phone.post(f"{client}/messages", json={"text": "Добрий день 👋"})).json()
        event = await stage.next_inbound()
        assert isinstance(event, MessageReceived)
        assert (event.content.text, event.provider_id) == ("Добрий день 👋", str(written["provider_id"]))

        person = int(event.contact.key)
        order = await stage.say("Вітаємо!", client=person)
        assert order.conversation_id == conversation_id(CHANNEL, event.contact.key) == event.conversation_id
        report = await stage.report_of(order.message_id)
        assert report.state is MessageState.SENT
        shown = (await phone.get(f"{client}/messages")).json()
        assert [message["text"] for message in shown][-2:] == ["Добрий день 👋", "Вітаємо!"]
        assert str(shown[-1]["provider_id"]) == report.provider_ids[0]

        edit = {"provider_id": written["provider_id"], "text": "Добрий вечір"}
        assert (await phone.post(f"{client}/edit", json=edit)).is_success
        edited = await stage.next_inbound()
        assert isinstance(edited, MessageEdited)
        assert (edited.provider_id, edited.content.text) == (event.provider_id, "Добрий вечір")

        assert (await phone.post(f"{client}/block")).is_success
        blocked = await stage.next_inbound()
        assert isinstance(blocked, ContactAvailability)
        assert not blocked.available
        refused = await stage.say("Ви тут?", client=person)
        report = await stage.report_of(refused.message_id)
        assert (report.state, report.contact_blocked) == (MessageState.FAILED, True)
        assert report.failure is not None
        assert report.failure.code is FailureCode.BOT_BLOCKED
    await listener.wire.stop()
