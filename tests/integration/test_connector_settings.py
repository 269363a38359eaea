"""What the tenant decides reaches the connector with each webhook; channels do not wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from connector_stage import CREDENTIAL_KEY
from plain_stage import CHANNEL, TOKEN, Stage, staged

from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import Account
from msgkit.connector.credentials import Keyring
from msgkit.connector.errors import MessageRejected, Throttled
from msgkit.connector.receiving import PollStore
from msgkit.contracts.internal_api import AccountSettings
from msgkit.contracts.views import Welcome
from msgkit.contracts.words import FailureCode, MessageState
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers

OTHER_CHANNEL = "d" * 32
SETTINGS = f"/internal/accounts/{CHANNEL}/settings"
PAUSE_S = 4.0


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    async with staged(amqp_url, mongo_url, mongo_prefix) as stage:
        await stage.replica.connected()
        yield stage


async def account_of(stage: Stage) -> Account:
    """The account as another replica opens it."""
    account = await AccountStore(stage.database, Keyring("k1", {"k1": CREDENTIAL_KEY})).load(CHANNEL)
    assert account is not None
    return account


def settings_with(text: str) -> AccountSettings:
    return AccountSettings(welcome=Welcome(text=text), commands=())


async def test_applied_settings_are_kept_and_new_credentials_do_not_lose_them(stage: Stage) -> None:
    assert (await account_of(stage)).settings is None, "nobody has told it anything yet"
    for text in ("Вітаємо!", "Добрий день!"):
        answer = await stage.replica.internal.put(SETTINGS, json=settings_with(text).model_dump(mode="json"))
        assert answer.status_code == 204
        assert (await account_of(stage)).settings == settings_with(text)
    assert stage.phone.settings == [settings_with("Вітаємо!"), settings_with("Добрий день!")]
    await stage.replica.connected(token=TOKEN)
    assert (await account_of(stage)).settings == settings_with("Добрий день!")


async def test_settings_the_messenger_refuses_are_not_kept(stage: Stage) -> None:
    stage.phone.settings_fault = MessageRejected(FailureCode.TOO_LONG, "Вітання задовге.")
    answer = await stage.replica.internal.put(SETTINGS, json=settings_with("…").model_dump(mode="json"))
    assert (answer.status_code, answer.json()["code"]) == (422, "refused_by_messenger")
    assert (await account_of(stage)).settings is None


async def test_settings_of_another_version_do_not_stop_the_channel(stage: Stage) -> None:
    await stage.database["accounts"].update_one({"_id": CHANNEL}, {"$set": {"settings": {"welcome": 7}}})
    assert (await account_of(stage)).settings is None
    assert (await stage.replica.post({})).status_code == 200


async def test_the_query_of_the_address_reaches_the_connector(stage: Stage) -> None:
    answer = await stage.replica.post({}, query="?sig=00ff&x=%20")
    assert (answer.status_code, answer.content) == (200, b"sig=00ff&x=%20")


async def test_a_removed_channel_leaves_no_position_of_polling(stage: Stage) -> None:
    polls = PollStore(stage.database)
    await polls.begin(CHANNEL)
    removed = await stage.replica.internal.delete(f"/internal/accounts/{CHANNEL}")
    assert removed.status_code == 204
    assert await polls.load(CHANNEL) is None


async def test_a_throttled_channel_delays_no_other(stage: Stage) -> None:
    """Viber's status 12 has no retry-after of its own: its connector names a number."""
    await stage.replica.connected(OTHER_CHANNEL, "other-token-0123456789")
    throttled = [Throttled(PAUSE_S)]

    def react(part: object) -> Exception | None:
        return throttled.pop() if throttled and getattr(part, "text", "") == "чекає" else None

    stage.phone.react = react
    waiting = await stage.say("чекає")
    await asyncio.wait_for(stage.phone.arrived.wait(), 10)
    loop = asyncio.get_running_loop()
    started = loop.time()
    others = [await stage.say(str(n), client=str(n % 3), channel_id=OTHER_CHANNEL) for n in range(30)]
    for order in others:
        assert (await stage.report(order.message_id)).state is MessageState.SENT
    assert loop.time() - started < PAUSE_S, "the other channel waited too"
    assert stage.phone.texts(CHANNEL) == ["чекає"]
    assert (await stage.report(waiting.message_id)).state is MessageState.SENT
    calls = [at for channel, _, _, at in stage.phone.seen if channel == CHANNEL]
    assert calls[1] - calls[0] >= PAUSE_S
