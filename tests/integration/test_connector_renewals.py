"""Credentials that end by themselves are exchanged in time, by one replica, and never seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from connector_stage import CREDENTIAL_KEY
from recalling_stage import CHANNEL, TOKEN, Stage, recalled_stage, until

from msgkit.connector.accounts import AccountStore
from msgkit.connector.credentials import Keyring
from msgkit.connector.errors import CredentialsInvalid, MessageRejected, ProviderUnavailable
from msgkit.connector.renewals import AGAIN_AFTER, EVERY
from msgkit.contracts.words import FailureCode
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers

NEW, GIVEN = "renewed-token-0123456789", "given-by-hand-0123456789"


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with recalled_stage(amqp_url, mongo_url, mongo_prefix, tmp_path) as stage:
        yield stage


async def token_of(stage: Stage) -> tuple[str, int]:
    account = await AccountStore(stage.database, Keyring("k1", {"k1": CREDENTIAL_KEY})).load(CHANNEL)
    assert account is not None
    return account.credentials["token"], account.credentials_rev


async def asked(stage: Stage, times: int) -> None:
    async def is_asked() -> bool:
        return len(stage.script.renewals) >= times

    await until(is_asked)


async def settled(stage: Stage, after: timedelta) -> None:
    """The next turn is about so much later."""

    async def is_settled() -> bool:
        due = (await stage.account()).get("renew_at")
        return due is not None and abs(due - utc_now() - after) < timedelta(minutes=1)

    await until(is_settled)


async def test_they_are_renewed_daily_and_stored_sealed(stage: Stage) -> None:
    stage.script.renewal = {"token": NEW}
    await stage.replica.connected()
    _, rev = await token_of(stage)
    await settled(stage, EVERY)
    await until(lambda: _has(stage, NEW))
    assert (await token_of(stage))[1] >= rev
    assert NEW not in repr(await stage.account())
    assert stage.script.renewals == [TOKEN]
    assert await stage.replica.post(stage.platform.say("7", "підписане новим"), token=NEW) == 200

    stage.script.renewal = None
    await stage.backdate("renew_at", timedelta(seconds=1))
    await asked(stage, 2)
    await settled(stage, EVERY)
    assert (await token_of(stage))[0] == NEW, "nothing to do yet"
    assert stage.script.renewals == [TOKEN, NEW]


async def _has(stage: Stage, token: str) -> bool:
    return (await token_of(stage))[0] == token


async def test_a_refusal_is_told_while_the_channel_works_on(stage: Stage) -> None:
    stage.script.renewal = MessageRejected(FailureCode.REJECTED, "Ключ не поновити. Підключіть знову.")
    await stage.replica.connected()
    while await stage.heard.told() != (True, "Ключ не поновити. Підключіть знову."):
        pass
    assert (await stage.replica.step("/health", "GET")).json()["problem"].startswith("Ключ не поновити")

    stage.script.renewal = {"token": NEW}
    await stage.backdate("renew_at", timedelta(seconds=1))
    assert await stage.heard.told() == (True, None)


async def test_credentials_that_ended_disconnect(stage: Stage) -> None:
    refusal = CredentialsInvalid("Ключ скінчився.")
    stage.script.renewal = refusal
    await stage.replica.connected()
    stage.script.check_fault = refusal
    while await stage.heard.told() != (False, "Ключ скінчився."):
        pass
    assert (await stage.account())["state"] == "disconnected"


async def test_a_silent_messenger_is_asked_again_in_an_hour(stage: Stage) -> None:
    stage.script.renewal = ProviderUnavailable("silent")
    await stage.replica.connected()
    await asked(stage, 1)
    await settled(stage, AGAIN_AFTER)
    assert (await token_of(stage))[0] == TOKEN


async def test_what_an_administrator_gave_meanwhile_stays(stage: Stage) -> None:
    stage.script.renewal = {"token": NEW}
    stage.script.renewing = asyncio.Event()
    await stage.replica.connected()
    await asked(stage, 1)
    assert (await stage.replica.put(GIVEN)).status_code == 200
    stage.script.renewing.set()
    # The given ones have a turn of their own, which brings its renewal.
    await asked(stage, 2)
    assert stage.script.renewals == [TOKEN, GIVEN]


async def test_two_replicas_never_renew_at_once(stage: Stage) -> None:
    stage.script.renewing = asyncio.Event()
    stage.script.renewal = {"token": NEW}
    await stage.replica.connected()
    await asked(stage, 1)
    # The owner dies in the middle of it: whoever comes next finds the turn taken, for an hour.
    await stage.start()
    await stage.replica.crash()
    stage.script.renewing.set()
    await settled(stage, AGAIN_AFTER)
    assert len(stage.script.renewals) == 1
    await stage.backdate("renew_at", timedelta(seconds=1))
    await until(lambda: _has(stage, NEW))
    assert len(stage.script.renewals) == 2
