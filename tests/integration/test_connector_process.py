"""The real process: it starts, works, says nothing secret, stays small, survives SIGKILL, ends on SIGTERM."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from connector_process import Process, process_at
from connector_stage import (
    CHANNEL,
    CLIENT,
    TOKEN,
    BotApi,
    Stage,
    caller_headers,
    running,
)

from ingest_telegram.connector import KIND
from msgkit.contracts.words import MessageState
from msgkit.testing.wire import Answer

pytestmark = pytest.mark.servers

FIXTURES = Path(__file__).parent.parent / "fixtures" / "telegram"
RSS_MAX_MB = 130


async def _connect(process: Process, api: BotApi) -> str:
    body = {"kind": KIND, "tenant_id": "salon", "credentials": {"token": TOKEN}, "api_base": api.wire.url}
    async with httpx2.AsyncClient(base_url=process.internal, headers=caller_headers()) as http:
        assert (await http.put(f"/internal/accounts/{CHANNEL}", json=body)).status_code == 200
        assert (await http.post(f"/internal/accounts/{CHANNEL}/activate")).status_code == 200
    return api.webhooks[TOKEN]["secret_token"]


async def _post(process: Process, body: bytes | dict[str, Any], secret: str) -> int:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx2.AsyncClient(base_url=process.public) as http:
        answer = await http.post(
            f"/webhooks/{KIND}/{CHANNEL}",
            content=content,
            headers={"x-telegram-bot-api-secret-token": secret},
        )
    return answer.status_code


async def test_nothing_secret_is_written_and_the_process_stays_small(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    api = BotApi()
    await api.wire.start()
    traces = tmp_path / "traces"
    async with process_at(
        api.wire.url,
        amqp_url,
        mongo_url,
        mongo_prefix,
        tmp_path,
        ROZMOVA_LOG_LEVEL="DEBUG",
        ROZMOVA_TRACES_DIR=str(traces),
    ) as process:
        secret = await _connect(process, api)
        text, phone = "канарейкове-слово", "380671112233"
        update = json.loads((FIXTURES / "message__text_with_url.json").read_bytes())
        update["message"] |= {"text": text, "contact": {"phone_number": phone, "user_id": CLIENT}}
        assert await _post(process, update, secret) == 200
        assert await _post(process, update, "wrong") == 403
        update["message"]["message_id"] = None
        assert await _post(process, update, secret) == 200
        assert await _post(process, f'{{"message":"{text} {phone}'.encode(), secret) == 200
        api.script = [Answer(502, b"<html>"), Answer(does="reset")]
        async with _bystander(api, amqp_url, mongo_url) as stage:
            for _ in range(3):
                order = await stage.say(text)
                await stage.report_of(order.message_id)
        assert process.resident_mb < RSS_MAX_MB
        assert await process.end(signal.SIGTERM) == 0
        written = process.written + "".join(file.read_text() for file in traces.rglob("*") if file.is_file())
    await api.wire.stop()
    assert "webhook_quarantined" in written
    assert "send_ended" in written
    assert "telegram sendMessage" in written, "the spans are there"
    for canary in (TOKEN, TOKEN.split(":")[1], secret, text, json.dumps(text)[1:-1], phone):
        assert canary not in written


@asynccontextmanager
async def _bystander(api: BotApi, amqp_url: str, mongo_url: str) -> AsyncIterator[Stage]:
    """A stage with a database of its own: it only speaks and listens on the bus."""
    async with running(api, amqp_url, mongo_url, "bystander_", serve=False) as stage:
        yield stage


async def test_killed_while_a_call_is_out_the_answer_is_unknown_and_never_sent_again(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    api = BotApi()
    await api.wire.start()
    async with process_at(api.wire.url, amqp_url, mongo_url, mongo_prefix, tmp_path) as process:
        await _connect(process, api)
        async with _bystander(api, amqp_url, mongo_url) as stage:
            api.script = [Answer(does="hang")]
            hanging = await stage.say("перше")
            await api.wire.seen("sendMessage")
            waiting = await stage.say("друге")

            await process.end(signal.SIGKILL)
            await process.start()

            assert (await stage.report_of(hanging.message_id)).state is MessageState.UNKNOWN
            assert (await stage.report_of(waiting.message_id)).state is MessageState.SENT
            assert api.sent == ["перше", "друге"]
    await api.wire.stop()
