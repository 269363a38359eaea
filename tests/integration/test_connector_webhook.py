"""The webhook door on real servers: what is refused, what is kept, when the messenger must repeat."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from connector_stage import CHANNEL, OTHER_TOKEN, BotApi, Stage, running

from msgkit.connector.door import BODY_MAX_BYTES
from msgkit.contracts.events import MessageReceived
from msgkit.testing.servers import MongoServer, RabbitMQServer, VirtualHosts

pytestmark = pytest.mark.servers

FIXTURES = Path(__file__).parent.parent / "fixtures" / "telegram"
TEXT = (FIXTURES / "message__text_with_url.json").read_bytes()


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    """One virtual host for this module: declaring our queues takes longer than most tests here."""
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    api = BotApi()
    await api.wire.start()
    async with running(api, amqp_url, mongo_url, mongo_prefix) as stage:
        yield stage
    await api.wire.stop()


async def nothing_came(stage: Stage, secret: str) -> None:
    """Only what is sent now arrives: the bus keeps the order, so nothing was published before."""
    update = json.loads(TEXT)
    update["message"]["text"] = "позначка"
    assert (await stage.post(update, secret)).status_code == 200
    event = await stage.next_inbound()
    assert isinstance(event, MessageReceived)
    assert event.content.text == "позначка"
    assert stage.journal.empty()
    assert await stage.database["quarantine"].count_documents({}) == 0


@pytest.mark.parametrize("given", [None, "", "wrong", "é", b"\xff\xfe\x00"])
async def test_missing_or_wrong_secret_is_403_and_nothing_is_stored(
    stage: Stage, given: str | bytes | None
) -> None:
    secret = await stage.connected()
    answer = await stage.post(TEXT, given)
    assert (answer.status_code, answer.content) == (403, b"")
    await nothing_came(stage, secret)


async def test_secret_of_another_channel_is_403(stage: Stage) -> None:
    secret = await stage.connected()
    other = await stage.connected("d" * 32, token=OTHER_TOKEN, tenant="clinic")
    assert (await stage.post(TEXT, other)).status_code == 403
    await nothing_came(stage, secret)


async def test_unknown_channel_and_other_kind_are_404(stage: Stage) -> None:
    secret = await stage.connected()
    assert (await stage.post(TEXT, secret, "f" * 32)).status_code == 404
    answer = await stage.public.post(f"/webhooks/viber_bot/{CHANNEL}", content=TEXT)
    assert answer.status_code == 404
    assert (await stage.public.get(f"/webhooks/telegram_bot/{CHANNEL}")).status_code == 405


async def test_body_over_the_limit_is_413_and_nothing_is_stored(stage: Stage) -> None:
    secret = await stage.connected()
    update = json.loads(TEXT)
    update["message"]["text"] = "x" * (BODY_MAX_BYTES + 1024 * 1024)
    assert (await stage.post(update, secret)).status_code == 413
    await nothing_came(stage, secret)


async def test_chunked_body_over_the_limit_is_413(stage: Stage) -> None:
    secret = await stage.connected()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * (1024 * 1024)

    answer = await stage.public.post(
        f"/webhooks/telegram_bot/{CHANNEL}",
        content=chunks(),
        headers={"x-telegram-bot-api-secret-token": secret},
    )
    assert answer.status_code == 413
    await nothing_came(stage, secret)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"update_id":1,"message":NaN}',
        b'{"update_id":1,"message":{"text":"\\ud83d"}}',
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"update_id":1,"message":null}',
        b'{"update_id":1,"message":[]}',
        (FIXTURES / "new_kind__opaque.json").read_bytes(),
        (FIXTURES / "message__ids_above_2_63.json").read_bytes(),
    ],
    ids=lambda body: body[:20],
)
async def test_unreadable_webhook_is_kept_for_a_person_and_answered_200(stage: Stage, body: bytes) -> None:
    secret = await stage.connected()

    assert [(await stage.post(body, secret)).status_code for _ in range(2)] == [200, 200]

    (kept,) = await stage.database["quarantine"].find({}).to_list(None)
    assert (kept["body"], kept["tenant_id"], kept["channel_id"]) == (body, "salon", CHANNEL)
    assert (kept["times"], kept["source"]) == (2, "webhook")
    assert kept["reason"]
    async with asyncio.timeout(10):
        entry = await stage.journal.get()
    assert base64.b64decode(entry["body"]) == body
    assert stage.inbound.empty()


async def test_what_is_no_message_is_counted_and_journalled(stage: Stage) -> None:
    secret = await stage.connected()
    body = (FIXTURES / "message__group_anonymous_admin.json").read_bytes()
    assert (await stage.post(body, secret)).status_code == 200
    async with asyncio.timeout(10):
        entry = await stage.journal.get()
    assert entry["type"] == "webhook.received.v1"
    assert base64.b64decode(entry["body"]) == body
    assert stage.inbound.empty()


async def test_big_message_travels_without_its_raw_element_and_the_journal_has_it(stage: Stage) -> None:
    secret = await stage.connected()
    update: dict[str, Any] = json.loads(TEXT)
    update["message"]["padding"] = "x" * 100_000
    assert (await stage.post(update, secret)).status_code == 200
    event = await stage.next_inbound()
    assert isinstance(event, MessageReceived)
    assert (event.content.text, event.raw) == ("👋 Ціна https://a.ua", "")
    async with asyncio.timeout(10):
        entry = await stage.journal.get()
    assert entry["event_id"] == event.webhook_id
    assert json.loads(base64.b64decode(entry["body"])) == update


async def test_repeat_has_the_same_event_id(stage: Stage) -> None:
    secret = await stage.connected()
    for _ in range(2):
        assert (await stage.post(TEXT, secret)).status_code == 200
    first, second = await stage.next_inbound(), await stage.next_inbound()
    assert first.event_id == second.event_id


async def test_answers_of_one_chat_keep_their_order_on_the_bus(stage: Stage) -> None:
    secret = await stage.connected()
    for n in range(30):
        update = json.loads(TEXT)
        update["message"] |= {"message_id": 1000 + n, "text": str(n)}
        assert (await stage.post(update, secret)).status_code == 200
    texts = []
    for _ in range(30):
        event = await stage.next_inbound()
        assert isinstance(event, MessageReceived)
        texts.append(event.content.text)
    assert texts == [str(n) for n in range(30)]


async def test_broker_away_is_503_and_back_is_200(
    tmp_path_factory: pytest.TempPathFactory, mongo_url: str, mongo_prefix: str
) -> None:
    broker = RabbitMQServer(tmp_path_factory.mktemp("broker"))
    await asyncio.to_thread(broker.start)
    api = BotApi()
    await api.wire.start()
    try:
        async with running(api, broker.url, mongo_url, mongo_prefix, watch=False) as stage:
            secret = await stage.connected()
            assert (await stage.post(TEXT, secret)).status_code == 200
            await asyncio.to_thread(
                broker.wait_until_on_disk, "ingest-telegram.sends.p15.v1", vhost="rozmova"
            )
            await asyncio.to_thread(broker.wait_until_on_disk, "inbox.inbound.p15.v1", vhost="rozmova")
            await asyncio.to_thread(broker.kill)
            answer = await stage.post(TEXT, secret)
            assert (answer.status_code, answer.content) == (503, b"")
            assert answer.headers["retry-after"] == "1"
            await asyncio.to_thread(broker.start)
            await _accepted_again(stage, secret)
    finally:
        await api.wire.stop()
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.stop)


async def test_store_away_is_503_never_404(
    tmp_path_factory: pytest.TempPathFactory, amqp_url: str, mongo_prefix: str
) -> None:
    store = MongoServer(tmp_path_factory.mktemp("store"))
    await asyncio.to_thread(store.start)
    api = BotApi()
    await api.wire.start()
    try:
        async with running(api, amqp_url, store.url, mongo_prefix, watch=False) as stage:
            secret = await stage.connected()
            await asyncio.to_thread(store.kill)
            assert (await stage.post(TEXT, secret, "f" * 32)).status_code == 503
            await asyncio.to_thread(store.start)
            await _accepted_again(stage, secret)
    finally:
        await api.wire.stop()
        await asyncio.to_thread(store.kill)
        await asyncio.to_thread(store.stop)


async def _accepted_again(stage: Stage, secret: str) -> None:
    """Post as Telegram does: again and again until it is taken."""
    for _ in range(150):
        if (await stage.post(TEXT, secret)).status_code == 200:
            return
        await asyncio.sleep(0.2)  # pace: between two tries, as Telegram repeats
    pytest.fail("not accepted within 30 s")
