"""What a messenger says of an account itself: told at once, kept over restarts, ended by it or a person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from app_messenger import Answers
from app_stage import CLINIC, CLINIC_NUMBER, SALON, SALON_NUMBER, AppStage, app_staged, entry

from msgkit.connector.contract import ConnectionReport
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers

RESTRICTED = "Номер обмежено. Перегляньте причину в кабінеті."
BANNED = "Номер заблоковано. Подайте апеляцію в кабінеті."
NEVER: dict[str, Any] = {"health_every_s": 3600.0}
"""The watch looks only when it is woken: what is told at once was not told by a round."""
START = utc_now() + timedelta(minutes=1)
"""After every activation of these tests."""


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[AppStage]:
    async with app_staged(amqp_url, mongo_url, mongo_prefix, **NEVER) as stage:
        await stage.connected(group="5")
        yield stage


def alert(problem: str | None, *, after_s: float = 0, off: bool = False) -> dict[str, Any]:
    at = START + timedelta(seconds=after_s)
    return {"problem": problem, "is_disconnected": off, "at": at.isoformat()}


async def said(stage: AppStage, *alerts: dict[str, Any], of: str = SALON_NUMBER) -> None:
    assert (await stage.post(entry(of, alerts=list(alerts)))).status_code == 200


async def health(stage: AppStage, channel_id: str = SALON) -> tuple[str, bool, str | None]:
    found = (await stage.call("GET", channel_id, "/health")).json()
    return found["state"], found["connected"], found["problem"]


async def remembered(stage: AppStage, report: dict[str, Any]) -> None:
    """Until it is written down what was told; a replica that ends before tells it once more."""
    async with asyncio.timeout(10):
        while not await stage.database["accounts"].count_documents({"_id": SALON, "reported": report}):  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # pace: a document has no event


async def test_a_restriction_is_told_at_once_and_lifted_by_the_messengers_word(stage: AppStage) -> None:
    await said(stage, alert(RESTRICTED))
    told = await stage.told(lambda event: event.problem is not None)
    assert (told.channel_id, told.tenant_id, told.connected, told.problem) == (
        SALON,
        "salon",
        True,
        RESTRICTED,
    )
    assert await health(stage) == ("active", True, RESTRICTED)

    await said(stage, alert(None, after_s=1))
    assert (await stage.told(lambda event: event.problem is None)).connected
    assert await health(stage) == ("active", True, None)


async def test_a_ban_disconnects_and_only_the_messenger_or_a_person_ends_it(stage: AppStage) -> None:
    await said(stage, alert(BANNED, off=True))
    assert (await stage.told(lambda event: not event.connected)).problem == BANNED
    assert await health(stage) == ("disconnected", False, BANNED), "the credentials work all the same"

    await said(stage, alert(None, after_s=1))
    assert (await stage.told(lambda event: event.connected)).problem is None
    assert await health(stage) == ("active", True, None)

    await said(stage, alert(BANNED, after_s=2, off=True))
    await stage.told(lambda event: not event.connected)
    on = (await stage.call("POST", SALON, "/activate")).json()
    assert (on["state"], on["connected"], on["problem"]) == ("active", True, None)


async def test_an_older_alert_has_no_effect_whenever_it_comes(stage: AppStage) -> None:
    await said(stage, alert(RESTRICTED, after_s=10))
    await said(stage, alert(BANNED, after_s=5, off=True), alert(None, after_s=9))
    assert await health(stage) == ("active", True, RESTRICTED)
    # Of one second the later word counts, and a repeat of the webhook changes nothing, not for a moment.
    for _ in range(2):
        await said(stage, alert(BANNED, after_s=20, off=True), alert(None, after_s=20))
        assert await health(stage) == ("active", True, None)


async def test_an_alert_of_before_the_activation_is_over(stage: AppStage) -> None:
    old = alert(BANNED, after_s=-7200, off=True)
    await said(stage, old)
    assert await health(stage) == ("disconnected", False, BANNED)
    assert (await stage.call("POST", SALON, "/activate")).status_code == 200
    await said(stage, old)  # the messenger repeats for days
    assert await health(stage) == ("active", True, None)


async def test_what_the_messenger_says_now_wins_over_a_restriction(stage: AppStage) -> None:
    await said(stage, alert(RESTRICTED))
    stage.answers.report = ConnectionReport(True, "Якість номера низька.", None)
    assert await health(stage) == ("active", True, "Якість номера низька.")
    await said(stage, alert(BANNED, after_s=1, off=True))
    assert await health(stage) == ("disconnected", False, BANNED)


async def test_a_disabled_account_stays_off(stage: AppStage) -> None:
    assert (await stage.call("POST", SALON, "/disable")).status_code == 200
    await said(stage, alert(BANNED, off=True))
    assert (await health(stage))[:2] == ("disabled", False)


async def test_what_is_said_of_a_group_is_told_of_each_of_its_accounts(stage: AppStage) -> None:
    await stage.connected(CLINIC, CLINIC_NUMBER, group="5")
    await said(stage, alert(RESTRICTED), of="group:5")
    told = {(await stage.told(lambda event: event.problem == RESTRICTED)).channel_id for _ in range(2)}
    assert told == {SALON, CLINIC}


async def test_an_alert_survives_a_restart(amqp_url: str, mongo_url: str, mongo_prefix: str) -> None:
    answers = Answers()
    async with app_staged(amqp_url, mongo_url, mongo_prefix, answers=answers, **NEVER) as stage:
        await stage.connected()
        await said(stage, alert(RESTRICTED))
        await stage.told(lambda event: event.problem == RESTRICTED)
    async with app_staged(amqp_url, mongo_url, mongo_prefix, answers=answers, **NEVER) as stage:
        assert await health(stage) == ("active", True, RESTRICTED)
        await said(stage, alert(BANNED, after_s=1, off=True))
        await stage.told(lambda event: not event.connected)
        await remembered(stage, {"connected": False, "problem": BANNED})
    async with app_staged(amqp_url, mongo_url, mongo_prefix, answers=answers, **NEVER) as stage:
        assert await health(stage) == ("disconnected", False, BANNED)
        assert stage.health.empty(), "it was told before"


async def test_a_replica_that_does_not_own_the_account_tells_it_too(
    amqp_url: str, mongo_url: str, mongo_prefix: str, stage: AppStage
) -> None:
    """The webhook comes to any replica; the owner looks once in an hour here."""
    async with app_staged(amqp_url, mongo_url, mongo_prefix, watch=False, **NEVER) as other:
        for number, each in enumerate((stage, other)):
            await said(each, alert(f"Обмеження {number}", after_s=number))
            # The one before may be told twice: the other replica looks round as it starts.
            while (await stage.told(lambda event: True)).problem != f"Обмеження {number}":
                pass
