"""What a messenger did not tell us is read again: nothing lost, nothing twice, whatever breaks meanwhile."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from connector_process import Process
from connector_stage import process_environment
from recalling_messenger import LOST, PAGE, TAKEN, Platform, ago
from recalling_stage import (
    CHANNEL,
    Heard,
    Stage,
    account,
    caller_headers,
    listening,
    recalled_stage,
    until,
)

from msgkit.connector import gap_filler
from msgkit.connector.errors import CredentialsInvalid, MessageRejected, ProviderUnavailable, Throttled
from msgkit.connector.gaps import AWAY_AFTER, AWAY_REACH_BACK, REACH_BACK
from msgkit.connector.health_watch import MEND_AGAIN_AFTER
from msgkit.contracts.words import FailureCode
from msgkit.runtime.clock import utc_now
from msgkit.testing.processes import free_port
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers

FINE = (True, None)


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def stage(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    monkeypatch.setattr(gap_filler, "_BACKOFF_FIRST_S", 0.1)
    async with recalled_stage(amqp_url, mongo_url, mongo_prefix, tmp_path) as stage:
        yield stage


async def all_read(stage: Stage) -> bool:
    return (await stage.gap()).get("open") is False


async def rounds(stage: Stage, count: int = 2) -> None:
    """So many looks began and ended."""
    for _ in range(count):
        before = (await stage.account()).get("fine_at")
        await stage.backdate("fine_at", timedelta(hours=2))

        async def is_looked(before: object = before) -> bool:
            found = (await stage.account()).get("fine_at")
            return found is not None and found > utc_now() - timedelta(hours=1)

        await until(is_looked)
        assert before is not None


# --- the figure of the issue


async def test_what_was_said_while_the_messenger_had_dropped_us_is_found_once_though_we_are_killed(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    """200 messages of 10 clients."""
    platform = Platform(tmp_path)
    environment = process_environment(
        amqp_url,
        mongo_url,
        mongo_prefix,
        "http://127.0.0.1:9",
        free_port(),
        free_port(),
        tmp_path / "objects",
    )
    own = {
        "RECALLING_FOLDER": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parent),
        "ROZMOVA_HEALTH_EVERY_S": "0.2",
    }
    process = Process({**environment, **own}, tmp_path / "log", module="recalling_messenger")
    await process.start()
    try:
        async with listening(amqp_url) as heard:
            await _connect(process)
            assert await heard.told() == FINE
            platform.hold_at("100")
            platform.registered = ""
            for number in range(20):
                for client in range(10):
                    platform.say(str(client), f"{client}-{number:02}")
            assert await heard.told() == (False, LOST)
            connected, progress = await heard.told()
            assert connected
            assert progress is not None
            assert progress.startswith("Дочитуємо пропущене за")
            await until(lambda: _is_asked(platform, "100"))

            await process.end(signal.SIGKILL)
            platform.hold_at(None)
            await process.start()
            await _until_told(heard, FINE)

            cursors = [each["cursor"] for each in platform.recalls()]
            assert cursors.count("100") == 2, "it went on where it was"
            assert len(cursors) == 200 / PAGE + 1
    finally:
        await process.end(signal.SIGKILL)
    said: dict[str, list[str]] = defaultdict(list)
    for event in {event.event_id: event for event in heard.messages}.values():
        said[event.contact.key].append(event.content.text)
    assert said == {str(client): [f"{client}-{number:02}" for number in range(20)] for client in range(10)}, (
        "all of it, once, and in each conversation's order"
    )


async def _connect(process: Process) -> None:
    async with httpx2.AsyncClient(base_url=process.internal, headers=caller_headers()) as http:
        assert (await http.put(f"/internal/accounts/{CHANNEL}", json=account())).status_code == 200
        assert (await http.post(f"/internal/accounts/{CHANNEL}/activate")).status_code == 200


async def _is_asked(platform: Platform, cursor: str | None) -> bool:
    return cursor in {each["cursor"] for each in platform.recalls()}


async def _until_told(heard: Heard, what: tuple[bool, str | None]) -> None:
    while await heard.told() != what:
        pass


# --- losing it


async def test_a_dropped_registration_is_mended_each_time_and_told(stage: Stage) -> None:
    await stage.connected_since(timedelta(days=1))
    assert await stage.heard.told() == FINE
    for number in range(2):
        text = f"пропущене {number}"
        stage.platform.registered = ""
        stage.platform.say("7", text)
        assert await stage.heard.told() == (False, LOST)
        await _until_told(stage.heard, FINE)
        await until(partial(_has_heard, stage, text))
        assert stage.platform.registered.endswith(CHANNEL)
    gap = await stage.gap()
    assert gap["open"] is False
    assert gap["tenant_id"] == "salon"


async def _has_heard(stage: Stage, text: str) -> bool:
    return text in stage.heard.texts


async def test_what_another_system_took_over_is_mended_once_an_hour_and_read_once_mended(
    stage: Stage,
) -> None:
    await stage.connected_since(timedelta(days=1))
    assert await stage.heard.told() == FINE
    stage.platform.registered = "https://other.example/hook"
    assert await stage.heard.told() == (False, TAKEN)
    await _until_told(stage.heard, FINE)
    await until(lambda: all_read(stage))
    asked = len(stage.platform.recalls())

    stage.platform.registered = "https://other.example/hook"
    stage.platform.say("7", "у чужої системи")
    assert await stage.heard.told() == (False, TAKEN)
    await until(lambda: _is_waiting(stage))
    assert stage.platform.registered == "https://other.example/hook", "we do not fight for it"
    assert len(stage.platform.recalls()) == asked, "what is read before it is mended has to be read again"

    await stage.backdate("mended_at", MEND_AGAIN_AFTER)
    await _until_told(stage.heard, FINE)
    assert stage.heard.texts == ["у чужої системи"]


async def _is_waiting(stage: Stage) -> bool:
    gap = await stage.gap()
    return bool(gap["open"]) and not gap["ready"]


async def test_accounts_of_one_registration_are_missing_the_same_time(stage: Stage) -> None:
    """The look at the other one may come when all is mended already, and finds nothing lost."""
    await stage.connected_since(timedelta(days=1))
    assert await stage.heard.told() == FINE
    names = {"also_known_as": ["page:1"]}
    await stage.database["accounts"].update_one({"_id": CHANNEL}, {"$set": names})
    other = await stage.account() | {"_id": "other", "account_id": "other-account", "kind": "other"}
    await stage.database["accounts"].insert_one(other)
    stranger = other | {"_id": "stranger", "account_id": "a-stranger", "also_known_as": ["page:2"]}
    await stage.database["accounts"].insert_one(stranger)
    stage.platform.registered = ""

    assert await stage.heard.told() == (False, LOST)
    assert await stage.database["gaps"].find_one({"_id": "other"}) is not None
    assert await stage.database["gaps"].find_one({"_id": "stranger"}) is None


async def test_how_far_back_it_reads(stage: Stage) -> None:
    """An hour and more before the last good look, and never before the channel was switched on."""
    await stage.connected_since(timedelta(hours=3))
    stage.platform.say("7", "давнє", at=ago(hours=4))
    stage.platform.say("7", "за години невдач", at=ago(minutes=61))
    stage.platform.registered = ""
    await until(lambda: all_read(stage))
    since = (await stage.gap())["since"]
    assert timedelta(0) <= utc_now() - REACH_BACK - since < timedelta(minutes=2)
    assert stage.heard.texts == ["за години невдач"]

    await stage.backdate("heard_since", timedelta(minutes=30))
    stage.platform.say("7", "до підключення", at=ago(minutes=31))
    stage.platform.say("7", "після підключення", at=ago(minutes=29))
    stage.platform.registered = ""
    await until(lambda: _has_heard(stage, "після підключення"))
    assert "до підключення" not in stage.heard.texts


async def test_a_service_that_was_away_itself_reads_what_was_said(stage: Stage) -> None:
    await stage.connected_since(timedelta(days=1))
    await until(lambda: _has_beaten(stage))
    await stage.replica.stop()
    stage.platform.say("7", "поки нас не було")
    stage.platform.say("7", "давно доставлене", at=ago(days=1) + timedelta(hours=1))

    await (await stage.start()).stop()
    assert await stage.gap() == {}, "a restart is no absence"

    away = AWAY_AFTER + timedelta(minutes=1)
    await stage.database["heartbeats"].update_one({}, {"$set": {"at": utc_now() - away}})
    await stage.start()
    await until(lambda: all_read(stage))
    assert stage.heard.texts == ["поки нас не було"]
    since = (await stage.gap())["since"]
    assert timedelta(0) <= utc_now() - away - AWAY_REACH_BACK - since < timedelta(minutes=1)


async def _has_beaten(stage: Stage) -> bool:
    return await stage.database["heartbeats"].count_documents({}) == 1


async def test_a_new_channel_reads_nothing_of_the_time_before(stage: Stage) -> None:
    stage.platform.say("7", "до нас", at=ago(minutes=5))
    await stage.replica.connected()
    await rounds(stage)
    assert await stage.gap() == {}
    assert stage.platform.recalls() == []


async def test_switched_off_and_on_again_the_last_day_is_read(stage: Stage) -> None:
    """Whoever sees that nothing comes in tries that first; the watch may not have looked yet."""
    await stage.connected_since(timedelta(days=3))
    assert (await stage.replica.step("/disable")).json()["state"] == "disabled"
    await stage.backdate("fine_at", timedelta(days=2))
    stage.platform.say("7", "позавчора", at=ago(hours=25))
    stage.platform.say("7", "вчора", at=ago(hours=23))
    assert (await stage.replica.step("/activate")).json()["connected"]
    await until(lambda: all_read(stage))
    assert stage.heard.texts == ["вчора"]


async def test_registered_by_hand_before_the_watch_looked_nothing_is_lost(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    async with recalled_stage(amqp_url, mongo_url, mongo_prefix, tmp_path, health_every_s=3600.0) as stage:
        await stage.connected_since(timedelta(days=1))
        stage.platform.registered = ""
        stage.platform.say("7", "ніким не помічене")
        await stage.replica.connected()
        await until(lambda: all_read(stage))
        assert stage.heard.texts == ["ніким не помічене"]


# --- reading it


async def test_a_messenger_in_trouble_is_waited_for_and_live_webhooks_go_on(stage: Stage) -> None:
    await stage.connected_since(timedelta(days=1))
    texts = [f"{number:02}" for number in range(PAGE + 1)]
    for text in texts:
        stage.platform.say("7", text)
    stage.script.recall_faults = [
        ProviderUnavailable("silent"),
        Throttled(0.2),
        ProviderUnavailable("silent"),
        RuntimeError("a bug of ours"),
    ]
    stage.platform.hold_at(str(PAGE))
    stage.platform.registered = ""
    await until(lambda: _is_asked(stage.platform, str(PAGE)))
    live = stage.platform.say("8", "наживо")
    assert await stage.replica.post(live) == 200
    await until(lambda: _has_heard(stage, "наживо"))
    assert (await stage.gap())["cursor"] == str(PAGE)
    stage.platform.hold_at(None)
    await until(lambda: all_read(stage))
    assert stage.heard.texts == [*texts[:PAGE], "наживо", texts[PAGE]]
    ids = [event.event_id for event in stage.heard.messages if event.content.text == "наживо"]
    assert len(ids) == 2, "the page has it too, and it is the same event"
    assert len(set(ids)) == 1


async def test_with_refused_credentials_it_waits_for_new_ones(stage: Stage) -> None:
    await stage.connected_since(timedelta(days=1))
    stage.platform.say("7", "чекає")
    refusal = CredentialsInvalid("Оновіть ключ.")
    stage.script.recall_faults = [refusal]
    stage.script.check_fault = None
    stage.platform.hold_at("0")
    stage.platform.registered = ""
    await until(lambda: _is_asked(stage.platform, None))
    stage.script.check_fault = refusal
    stage.platform.hold_at(None)
    await until(lambda: _is_in(stage, "disconnected"))
    asked = len(stage.platform.recalls())
    stage.script.check_fault = None
    assert (await stage.replica.put("another-token-0123456789")).status_code == 200
    assert (await stage.replica.step("/activate")).json()["connected"]
    await until(lambda: _has_heard(stage, "чекає"))
    await until(lambda: all_read(stage))
    assert len(stage.platform.recalls()) > asked


async def _is_in(stage: Stage, state: str) -> bool:
    return bool((await stage.account())["state"] == state)


async def test_a_refusal_is_told_to_the_administrator_with_what_to_do(stage: Stage) -> None:
    await stage.connected_since(timedelta(days=1))
    stage.script.recall_faults = [MessageRejected(FailureCode.REJECTED, "Надайте доступ.")]
    stage.platform.say("7", "чекає")
    stage.platform.registered = ""
    problem: str | None = ""
    while not (problem or "").endswith("знайдено 0. Надайте доступ."):
        _, problem = await stage.heard.told()
    await stage.database["gaps"].update_one({"_id": CHANNEL}, {"$set": {"due_at": utc_now()}})
    await _until_told(stage.heard, FINE)
    assert stage.heard.texts == ["чекає"]


async def test_what_is_lost_while_a_gap_is_read_is_read_in_another_pass(stage: Stage) -> None:
    await stage.connected_since(timedelta(days=1))
    for number in range(PAGE + 1):
        stage.platform.say("7", f"{number:02}")
    stage.platform.hold_at(str(PAGE))
    stage.platform.registered = ""
    await until(lambda: _is_asked(stage.platform, str(PAGE)))
    stage.platform.registered = ""
    await until(lambda: _another_pass_may_begin(stage))
    # What was said meanwhile may stand on a page that was read: only another pass is sure to have it.
    stage.platform.hold_at(None)
    await until(lambda: all_read(stage))
    cursors = [each["cursor"] for each in stage.platform.recalls()]
    assert cursors == [None, str(PAGE), None, str(PAGE)]


async def _another_pass_may_begin(stage: Stage) -> bool:
    gap = await stage.gap()
    return gap["again"] is not None and bool(gap["again_ready"])


async def test_nothing_is_read_before_the_registration_is_mended(stage: Stage) -> None:
    """Read before, what is said between would be missed."""
    await stage.connected_since(timedelta(days=1))
    stage.script.connect_fault = ProviderUnavailable("silent")
    stage.platform.registered = ""
    await until(lambda: _is_waiting_open(stage))
    assert stage.platform.recalls() == []
    stage.platform.say("7", "між тим")
    stage.script.connect_fault = None
    await until(lambda: all_read(stage))
    assert stage.heard.texts == ["між тим"]


async def _is_waiting_open(stage: Stage) -> bool:
    gap = await stage.gap()
    return bool(gap.get("open")) and not gap["ready"]


async def test_of_a_channel_that_is_gone_nothing_is_kept(stage: Stage) -> None:
    await stage.connected_since(timedelta(days=1))
    stage.platform.hold_at("0")
    stage.platform.say("7", "x")
    stage.platform.registered = ""
    await until(lambda: _is_asked(stage.platform, None))
    assert (await stage.replica.step("", "DELETE")).status_code == 204
    stage.platform.hold_at(None)
    await until(lambda: _is_forgotten(stage))


async def _is_forgotten(stage: Stage) -> bool:
    return await stage.gap() == {} and await stage.database["profiles"].count_documents({}) == 0


async def test_the_owner_alone_reads(stage: Stage) -> None:
    await stage.connected_since(timedelta(days=1))
    for number in range(3 * PAGE):
        stage.platform.say("7", f"{number:02}")
    async with asyncio.timeout(20):
        await stage.start()
    stage.platform.registered = ""
    await until(lambda: all_read(stage))
    assert len(stage.platform.recalls()) <= 4, "three pages, and at most one more at a change of owners"
    assert stage.heard.texts == [f"{number:02}" for number in range(3 * PAGE)]
