"""Servers for tests: real, private, started when a test first asks and gone at the end of the session."""

from __future__ import annotations

import gc
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from msgkit.testing.infra import broker, database, infra
from msgkit.testing.parts import SERVICES
from msgkit.testing.processes import DetachedProcess, process_started_at
from msgkit.testing.servers import VirtualHosts, drop_databases
from msgkit.testing.system import System

_TEST_FOLDER = Path(__file__).resolve().parent.parent / ".rozmova-test"


class Together(LoadScopeScheduling):  # type: ignore[misc]  # the library has no types
    """Which tests one process runs, when several run side by side: those that share servers."""

    def _split_scope(self, nodeid: str) -> str:
        """The group of a test: the tests on the one system, a fault or unit test alone, else its file.

        A fault test ruins the system it starts, so nothing is gained by keeping two together. Unit tests
        share nothing, and being the last ones they fill the time until all processes are done.
        """
        folder = nodeid.split("/")[1]
        if folder in {"browser", "e2e"}:
            return folder
        return nodeid if folder in {"chaos", "unit"} else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """The way of `pytest -n`, whatever `--dist` says: marks for groups have no effect with pytest 9.2."""
    return Together(config, log)


def pytest_collection_finish() -> None:
    """What is there before the first test is there after the last: collecting must not walk it each time.

    Half a million objects: 0.4 s for each `gc.collect()` at the end of a stage, measured.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder for the servers of this session only, so that sessions can run side by side."""
    _clear_abandoned_sessions()
    folder = _TEST_FOLDER / f"{os.getpid()}-{uuid.uuid4().hex[:6]}"
    folder.mkdir(parents=True)
    owner = {"pid": os.getpid(), "started_at": process_started_at(os.getpid())}
    (folder / "owner.new").write_text(json.dumps(owner))
    (folder / "owner.new").rename(folder / "owner.json")  # another session must never read half of it
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def vhosts(servers_folder: Path) -> Iterator[VirtualHosts]:
    """Virtual hosts of the broker: that of RABBITMQ_URL, else a private one."""
    if infra("RABBITMQ_URL") == "env":
        given = os.environ["RABBITMQ_URL"]
        management = os.environ.get("RABBITMQ_MANAGEMENT_URL")
        if not management:
            pytest.fail(
                "Each test works in a virtual host of its own: with RABBITMQ_URL set also "
                "RABBITMQ_MANAGEMENT_URL (http://user:password@host:15672).",
                pytrace=False,
            )
        yield VirtualHosts(given, management)
        return
    server = broker(servers_folder / "rabbitmq")
    try:
        server.start()
        yield server.vhosts
    finally:
        server.kill()  # its data is thrown away: a clean stop would only cost seconds
        server.stop()


@pytest.fixture(scope="session")
def mongo_url(servers_folder: Path) -> Iterator[str]:
    """A replica set: that of MONGO_URL, else a private one."""
    if infra("MONGO_URL") == "env":
        yield os.environ["MONGO_URL"]
        return
    server = database(servers_folder / "mongodb")
    try:
        server.start()
        yield server.url
    finally:
        server.kill()
        server.stop()


@pytest.fixture
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    """An empty virtual host for this test; for a wider scope use `with vhosts.fresh() as url`."""
    with vhosts.fresh() as url:
        yield url


@pytest.fixture
def mongo_prefix(mongo_url: str) -> Iterator[str]:
    """A prefix for the names of this test's databases (ROZMOVA_MONGO_PREFIX); they are dropped after it."""
    prefix = f"t{uuid.uuid4().hex[:10]}_"
    yield prefix
    drop_databases(mongo_url, prefix)


@pytest.fixture(scope="session")
def system(servers_folder: Path) -> Iterator[System]:
    """The whole system with its demo channels, shared by the end-to-end and the browser tests."""
    running = System(servers_folder / "system")
    try:
        running.start((*SERVICES, "ingest-viber", "ingest-whatsapp", "ingest-meta"))
        yield running
    finally:
        running.stop()


def _clear_abandoned_sessions() -> None:
    """Ends the servers and systems of sessions that were killed before they could."""
    for owner_file in _TEST_FOLDER.glob("*/owner.json"):
        try:
            owner = json.loads(owner_file.read_text())
        except FileNotFoundError:  # that session ends just now
            continue
        if process_started_at(owner["pid"]) == owner["started_at"]:
            continue
        folder = owner_file.parent
        for pid_file in folder.rglob("*.pid"):
            if pid_file.name != "rabbitmq-own.pid":  # the broker's, which names the same process as ours
                DetachedProcess(pid_file.stem, pid_file, folder / "log").kill()
        shutil.rmtree(folder, ignore_errors=True)
