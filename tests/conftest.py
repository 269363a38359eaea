"""Servers for tests: real, private, started when a test first asks and gone at the end of the session."""

from __future__ import annotations

import gc
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from msgkit.testing.infra import broker, database, infra
from msgkit.testing.parts import SERVICES
from msgkit.testing.processes import DetachedProcess, process_started_at
from msgkit.testing.servers import VirtualHosts, drop_databases
from msgkit.testing.system import System

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own in it
_MEMORY_BYTES = 8 << 30
"""What the servers of a whole run may have, three times over."""
_SHARE_A_SYSTEM = {"browser", "e2e"}
"""Folders whose tests work on one system each."""


class Together(LoadScopeScheduling):  # type: ignore[misc]  # the library has no types
    """Which tests one process runs, when several run side by side: those that share servers."""

    def _split_scope(self, nodeid: str) -> str:
        """The group of a test: the tests on the one system, a unit test alone, else its file.

        Unit tests share nothing, and being the last ones they fill the time until all processes are done.
        """
        folder = nodeid.split("/")[1]
        if folder in _SHARE_A_SYSTEM:
            return folder
        return nodeid if folder == "unit" else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """The way of `pytest -n`, whatever `--dist` says: marks for groups have no effect with pytest 9.2."""
    return Together(config, log)


def pytest_collection_finish() -> None:
    _keep_what_stays()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Ends with a folder what is its own, and looks through what a file has left behind."""
    try:
        yield
    finally:
        if nextitem is None or nextitem.path != item.path:
            _keep_what_stays()
        is_folder_over = nextitem is not None and nextitem.path.parent != item.path.parent
        if is_folder_over and _SHARED_SYSTEM in item.config.stash:
            item.config.stash[_SHARED_SYSTEM].stop()


def _keep_what_stays() -> None:
    """What is there when a file is over stays to the end: collecting must not walk it each time.

    Half a million objects: 0.4 s for each `gc.collect()` at the end of a stage, measured, and what the first
    test of a kind has imported and made is as much again.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder for the servers of this session only, so that sessions can run side by side."""
    _clear_abandoned_sessions()
    folder = _test_folder() / f"{os.getpid()}-{uuid.uuid4().hex[:6]}"
    folder.mkdir(parents=True, mode=0o700)
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


class SharedSystem:
    """The whole system with its demo channels, for all tests of a folder: ended when they are over.

    Ten processes cost a core a seventh of its time even when nobody asks them anything.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: System | None = None

    def running(self) -> System:
        """The system, started if it is not there."""
        if self._running is None:
            with ExitStack() as undo:
                starting = System(self._folder / f"system-{uuid.uuid4().hex[:6]}")
                undo.callback(starting.stop)
                starting.start((*SERVICES, "ingest-viber", "ingest-whatsapp", "ingest-meta"))
                undo.pop_all()
            self._running = starting
        return self._running

    def stop(self) -> None:
        """Ends every part of it, if it runs."""
        if self._running is not None:
            self._running.stop()
            self._running = None


_SHARED_SYSTEM = pytest.StashKey[SharedSystem]()


@pytest.fixture(scope="session")
def shared_system(request: pytest.FixtureRequest, servers_folder: Path) -> Iterator[SharedSystem]:
    """What `pytest_runtest_teardown` ends with the folder, and an interrupted session here."""
    shared = request.config.stash[_SHARED_SYSTEM] = SharedSystem(servers_folder)
    yield shared
    shared.stop()


@pytest.fixture(scope="module")
def system(shared_system: SharedSystem) -> System:
    """The one system of the tests of a folder."""
    return shared_system.running()


def _test_folder() -> Path:
    """In memory where there is plenty: what is written for a moment saves a tenth of the time there.

    A killed server finds its files again in either; only a power cut would tell the difference.
    """
    try:
        found = os.statvfs(_IN_MEMORY)
    except OSError:
        is_roomy = False
    else:
        is_roomy = found.f_bavail * found.f_frsize >= _MEMORY_BYTES
    if is_roomy and os.access(_IN_MEMORY, os.W_OK):
        return _IN_MEMORY / f"rozmova-test-{os.getuid()}"
    return Path(__file__).resolve().parent.parent / ".rozmova-test"


def _clear_abandoned_sessions() -> None:
    """Ends the servers and systems of sessions that were killed before they could."""
    for owner_file in _test_folder().glob("*/owner.json"):
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
