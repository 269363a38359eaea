"""Who writes, where webhooks do not say it: asked once per contact, and a refusal is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from recalling_stage import CHANNEL, Replica, Stage, recalled_stage, until

from msgkit.connector import profiles
from msgkit.connector.contract import Profile
from msgkit.connector.errors import CredentialsInvalid, MessageRejected, ProviderUnavailable, Throttled
from msgkit.connector.profile_store import ASK_AGAIN_AFTER
from msgkit.contracts.ids import conversation_id
from msgkit.contracts.words import FailureCode
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    monkeypatch.setattr(profiles, "_BACKOFF_FIRST_S", 0.1)
    async with recalled_stage(amqp_url, mongo_url, mongo_prefix, tmp_path) as stage:
        await stage.replica.connected()
        yield stage


async def wrote(stage: Stage, client: str, text: str, replica: Replica | None = None) -> None:
    assert await (replica or stage.replica).post(stage.platform.say(client, text)) == 200


async def settled(stage: Stage, count: int) -> None:
    """So many contacts were asked about, and nobody waits."""

    async def is_settled() -> bool:
        jobs = stage.database["profiles"]
        return await jobs.count_documents({"open": False}) == count == await jobs.count_documents({})

    await until(is_settled)


async def known_names(stage: Stage, count: int) -> dict[str, str]:
    async def are_there() -> bool:
        return len(stage.heard.people) >= count

    await until(are_there)
    return {event.contact.key: event.contact.name for event in stage.heard.people}


async def long_ago(stage: Stage) -> None:
    asked_at = utc_now() - ASK_AGAIN_AFTER
    await stage.database["profiles"].update_many({}, {"$set": {"asked_at": asked_at}})


async def test_each_contact_is_asked_about_once_and_the_name_follows_the_message(stage: Stage) -> None:
    for number in range(3):
        for client in ("7", "8"):
            await wrote(stage, client, f"{client} {number}")
    assert await known_names(stage, 2) == {"7": "Клієнт 7", "8": "Клієнт 8"}
    await settled(stage, 2)
    assert sorted(stage.script.asked) == ["7", "8"]
    told = stage.heard.people[0]
    assert (told.conversation_id, told.is_new_number, told.contact.phone, told.tenant_id) == (
        conversation_id(CHANNEL, told.contact.key),
        False,
        None,
        "salon",
    )

    # Another replica has nothing in memory: the store knows.
    other = await stage.start()
    await wrote(stage, "7", "іншій репліці", other)
    await wrote(stage, "9", "новий", other)
    assert (await known_names(stage, 3))["9"] == "Клієнт 9"
    await settled(stage, 3)
    # While the work moves to the other replica both may ask; of those who are known neither does.
    assert stage.script.asked[2:] in (["9"], ["9", "9"])


async def test_a_refusal_is_remembered_for_a_week(stage: Stage) -> None:
    stage.script.profiles = {"7": None, "8": MessageRejected(FailureCode.REJECTED, "Не дозволено.")}
    await wrote(stage, "7", "раз")
    await wrote(stage, "8", "раз")
    await settled(stage, 2)
    assert stage.heard.people == []

    other = await stage.start()
    await wrote(stage, "7", "два", other)
    await settled(stage, 2)
    await long_ago(stage)
    stage.script.profiles = {}
    third = await stage.start()
    await wrote(stage, "7", "три", third)
    assert await known_names(stage, 1) == {"7": "Клієнт 7"}
    # By each of the three replicas at most once, while the work moves.
    assert stage.script.asked[2:] in (["7"], ["7"] * 2, ["7"] * 3), "8 did not write again"


async def test_a_name_is_looked_up_again_after_a_week_and_told_if_it_changed(stage: Stage) -> None:
    await wrote(stage, "7", "раз")
    await known_names(stage, 1)
    await settled(stage, 1)
    await long_ago(stage)
    await wrote(stage, "7", "два", await stage.start())
    await until(lambda: _was_asked(stage, 2))
    await settled(stage, 1)
    assert len(stage.heard.people) == 1, "the same name is no news"

    for name in ("Олена", "Клієнт 7"):
        await long_ago(stage)
        stage.script.profiles = {"7": Profile(name, "olena.k")}
        await wrote(stage, "7", name, await stage.start())
        await until(partial(_was_told, stage, name))
        await settled(stage, 1)
    names = [event.contact.name for event in stage.heard.people]
    assert names == ["Клієнт 7", "Олена", "Клієнт 7"], "a name that comes back is news too"
    assert stage.heard.people[-1].contact.username == "olena.k"


async def _was_told(stage: Stage, name: str) -> bool:
    return stage.heard.people[-1].contact.name == name


async def _was_asked(stage: Stage, times: int) -> bool:
    return len(stage.script.asked) >= times


async def test_a_messenger_in_trouble_is_asked_later_and_stops_nobody_else(stage: Stage) -> None:
    stage.script.profiles = {
        "7": ProviderUnavailable("silent"),
        "8": RuntimeError("a bug of ours"),
    }
    for client in ("7", "8", "9"):
        await wrote(stage, client, "раз")
    assert await known_names(stage, 1) == {"9": "Клієнт 9"}
    asked = len(stage.script.asked)
    stage.script.profiles = {"7": Throttled(0.2), "8": Throttled(0.2)}
    await until(lambda: _was_asked(stage, asked + 1))
    stage.script.profiles = {"7": Throttled(0.2, only_this_contact=True)}
    assert (await known_names(stage, 2))["8"] == "Клієнт 8"
    stage.script.profiles = {}
    assert (await known_names(stage, 3))["7"] == "Клієнт 7"
    await settled(stage, 3)


async def test_refused_credentials_wait_for_new_ones(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "INACTIVE_S", 0.1)
    refusal = CredentialsInvalid("Оновіть ключ.")
    stage.script.profiles = {"7": refusal}
    stage.script.check_fault = refusal
    await wrote(stage, "7", "раз")
    await until(lambda: _is_in(stage, "disconnected"))
    stage.script.profiles = {}
    stage.script.check_fault = None
    assert await known_names(stage, 1) == {"7": "Клієнт 7"}


async def _is_in(stage: Stage, state: str) -> bool:
    return bool((await stage.account())["state"] == state)


async def test_whoever_is_still_to_be_asked_about_survives_a_crash(stage: Stage) -> None:
    stage.script.profiles = {"7": ProviderUnavailable("silent")}
    await wrote(stage, "7", "раз")
    await stage.replica.crash()
    stage.script.profiles = {}
    await stage.start()
    assert await known_names(stage, 1) == {"7": "Клієнт 7"}


async def test_questions_of_one_account_are_paced(stage: Stage) -> None:
    for client in range(8):
        await wrote(stage, str(client), "раз")
    began = asyncio.get_running_loop().time()
    await known_names(stage, 8)
    took = asyncio.get_running_loop().time() - began
    assert took > 0.8, "eight at five a second; the first may have been asked while the others wrote"


async def test_people_of_a_channel_that_is_gone_are_forgotten(stage: Stage) -> None:
    await wrote(stage, "7", "раз")
    await settled(stage, 1)
    assert (await stage.replica.step("", "DELETE")).status_code == 204
    await until(lambda: _nobody(stage))


async def _nobody(stage: Stage) -> bool:
    return await stage.database["profiles"].count_documents({}) == 0
