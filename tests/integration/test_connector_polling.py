"""Long polling on real servers and the sandbox's Telegram: one poller, nothing lost, trouble told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from connector_stage import CHANNEL, TOKEN, BotApi, Stage, caller_headers, running

from msgkit.contracts.events import MessageReceived
from msgkit.testing.servers import VirtualHosts
from sandbox.app import running as sandbox_running
from sandbox.settings import BotSettings
from sandbox.settings import Settings as SandboxSettings

pytestmark = pytest.mark.servers

OLENA = f"/control/{TOKEN.split(':')[0]}/clients/olena"


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    """One virtual host for this module: declaring our queues takes longer than most tests here."""
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[str]:
    bot = BotSettings(token=TOKEN, username="mavka_bot", name="Мавка")
    async with sandbox_running(SandboxSettings(public_port=0, sandbox_bots=(bot,))) as url:
        yield url


@pytest_asyncio.fixture
async def phone(sandbox: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=sandbox, timeout=60) as phone:
        yield phone


@asynccontextmanager
async def replica(
    sandbox: str, amqp_url: str, mongo_url: str, mongo_prefix: str, **more: Any
) -> AsyncIterator[Stage]:
    unused = BotApi()
    await unused.wire.start()
    try:
        settings = {"api_bases": (sandbox,), "receive": "polling", **more}
        async with running(unused, amqp_url, mongo_url, mongo_prefix, **settings) as stage:
            yield stage
    finally:
        await unused.wire.stop()


async def connect(stage: Stage, sandbox: str) -> dict[str, Any]:
    assert (await stage.put_account(api_base=sandbox)).status_code == 200
    answer = await stage.activate()
    assert answer.status_code == 200
    health: dict[str, Any] = answer.json()
    return health


async def health_of(stage: Stage) -> dict[str, Any]:
    answer = await stage.internal.get(f"/internal/accounts/{CHANNEL}/health", headers=caller_headers())
    found: dict[str, Any] = answer.json()
    return found


async def write(phone: httpx2.AsyncClient, text: str) -> None:
    assert (await phone.post(f"{OLENA}/messages", json={"text": text})).is_success


async def received(stage: Stage) -> MessageReceived:
    event = await stage.next_inbound()
    assert isinstance(event, MessageReceived)
    return event


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await what():  # noqa: ASYNC110 - a state in a store has no event
            await asyncio.sleep(0.05)  # pace: polls a state with a deadline


async def pending(phone: httpx2.AsyncClient) -> int:
    info = (await phone.get(f"/bot{TOKEN}/getWebhookInfo")).json()
    count: int = info["result"]["pending_update_count"]
    return count


async def test_polled_updates_go_the_way_of_webhooks(
    sandbox: str, phone: httpx2.AsyncClient, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    await phone.post(f"/bot{TOKEN}/setWebhook", json={"url": "http://127.0.0.1:9/left-by-somebody"})
    async with replica(sandbox, amqp_url, mongo_url, mongo_prefix) as stage:
        health = await connect(stage, sandbox)
        assert (health["connected"], health["receiving"], health["problem"]) == (True, "polling", None)
        for n in range(3):
            await write(phone, f"повідомлення {n}")
        events = [await received(stage) for _ in range(3)]
        assert [event.content.text for event in events] == [f"повідомлення {n}" for n in range(3)]
        assert (await phone.post(f"{OLENA}/edit", json={"text": "виправлено"})).is_success
        assert (await stage.next_inbound()).type == "message.edited.v1"

        async def confirmed() -> bool:
            return await pending(phone) == 0

        await until(confirmed)
        assert stage.inbound.empty()


async def test_press_is_answered_at_once(
    sandbox: str, phone: httpx2.AsyncClient, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    async with replica(sandbox, amqp_url, mongo_url, mongo_prefix) as stage:
        await connect(stage, sandbox)
        await write(phone, "/start")
        person = int((await received(stage)).contact.key)
        keys = [[{"text": "Так", "action": "callback", "value": "cmd:yes"}]]
        order = await stage.say("Оберіть", client=person, buttons=keys)
        await stage.report_of(order.message_id)

        assert (await phone.post(f"{OLENA}/press", json={"button": "Так"})).is_success

        event = await received(stage)
        assert event.pressed is not None
        assert (event.pressed.value, event.content.text) == ("cmd:yes", "Так")

        async def answered() -> bool:
            return [press["answered"] for press in (await phone.get(f"{OLENA}/presses")).json()] == [True]

        await until(answered)


async def test_only_one_replica_polls_and_the_other_takes_over(
    sandbox: str, phone: httpx2.AsyncClient, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    async with (
        replica(sandbox, amqp_url, mongo_url, mongo_prefix, instance="first") as first,
        replica(sandbox, amqp_url, mongo_url, mongo_prefix, instance="second", watch=False) as second,
    ):
        await connect(first, sandbox)
        for n in range(5):
            await write(phone, f"до {n}")
            assert (await received(first)).content.text == f"до {n}"
        owner = await first.database["leases"].find_one({"_id": f"poll {CHANNEL}"})
        assert owner is not None

        # Whoever polls leaves; the other one goes on, and nothing comes twice.
        leaving = {"first": first, "second": second}[owner["holder"]]
        await leaving.service.drain()
        for n in range(5):
            await write(phone, f"після {n}")
            assert (await received(first)).content.text == f"після {n}"
        now = await first.database["leases"].find_one({"_id": f"poll {CHANNEL}"})
        assert now is not None
        assert now["holder"] != owner["holder"]
        assert first.inbound.empty()
        entries = (await phone.get("/control/ledger", params={"limit": 1000})).json()
        polls = [entry for entry in entries if (entry["method"] or "").lower() == "getupdates"]
        assert polls
        assert not [entry for entry in polls if entry["status"] == 409], "no poll was ended by another one"


async def test_crash_between_confirm_and_position_brings_the_same_events_again(
    sandbox: str, phone: httpx2.AsyncClient, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    async with replica(sandbox, amqp_url, mongo_url, mongo_prefix) as stage:
        await connect(stage, sandbox)
        await write(phone, "перше")
        await received(stage)
        async with asyncio.timeout(10):
            while await pending(phone):  # noqa: ASYNC110 - another process has no event
                # pace: the position after it is written, and told with the next poll
                await asyncio.sleep(0.02)
        # From here on a position cannot be written: what comes is published, and then the replica dies.
        await stage.database.command(
            "collMod", "polling", validator={"position": {"$in": [None, "never"]}}, validationAction="error"
        )
        await write(phone, "друге")
        before = await received(stage)
        await stage.crash()
        assert await pending(phone) == 1, "Telegram was not told to forget it"
        await stage.database.command("collMod", "polling", validator={})
        while not stage.inbound.empty():
            stage.inbound.get_nowait()

        # The first one's ear on the bus is still there.
        async with replica(sandbox, amqp_url, mongo_url, mongo_prefix, watch=False):
            again = await received(stage)
            assert (again.event_id, again.content.text) == (before.event_id, "друге")
            await write(phone, "третє")
            assert (await received(stage)).content.text == "третє"


async def test_webhook_set_by_somebody_is_taken_away_once(
    sandbox: str, phone: httpx2.AsyncClient, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    async with replica(sandbox, amqp_url, mongo_url, mongo_prefix, health_every_s=0.3) as stage:
        await connect(stage, sandbox)
        await phone.post(f"/bot{TOKEN}/setWebhook", json={"url": "http://127.0.0.1:9/somebody"})
        await write(phone, "чекає")
        assert (await received(stage)).content.text == "чекає"

        await phone.post(f"/bot{TOKEN}/setWebhook", json={"url": "http://127.0.0.1:9/somebody"})

        async def told() -> bool:
            health = await health_of(stage)
            return health["connected"] is False and "вебхук" in (health["problem"] or "")

        await until(told)


async def test_another_program_that_polls_is_told_with_the_fix(
    sandbox: str, phone: httpx2.AsyncClient, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    async with replica(sandbox, amqp_url, mongo_url, mongo_prefix) as stage:
        await connect(stage, sandbox)

        async def poll_for_ever() -> None:
            while True:
                await phone.get(f"/bot{TOKEN}/getUpdates", params={"timeout": 5})

        foreign = asyncio.create_task(poll_for_ever())

        async def told() -> bool:
            return "ще одна програма" in ((await health_of(stage))["problem"] or "")

        await until(told)
        foreign.cancel()
        await asyncio.gather(foreign, return_exceptions=True)
        await write(phone, "знову наше")
        assert (await received(stage)).content.text == "знову наше"


async def test_disabled_account_is_not_polled(
    sandbox: str, phone: httpx2.AsyncClient, amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    async with replica(sandbox, amqp_url, mongo_url, mongo_prefix) as stage:
        await connect(stage, sandbox)
        await write(phone, "увімкнено")
        await received(stage)

        async def confirmed() -> bool:
            return await pending(phone) == 0

        await until(confirmed)  # the poll after it tells the messenger
        answer = await stage.internal.post(f"/internal/accounts/{CHANNEL}/disable", headers=caller_headers())
        assert answer.status_code == 200

        async def let_go() -> bool:
            lease = await stage.database["leases"].find_one({"_id": f"poll {CHANNEL}"})
            return lease is not None and lease["holder"] == ""

        await until(let_go)
        await write(phone, "чекає на вмикання")
        assert await pending(phone) == 1
        assert (await stage.activate()).status_code == 200
        assert (await received(stage)).content.text == "чекає на вмикання"
