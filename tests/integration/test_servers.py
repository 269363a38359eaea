"""The private servers: they come up, survive a kill with their data, and listen on loopback only."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest
from pymongo import MongoClient, WriteConcern

from msgkit.testing.amqp_login import LoginFailed, check_login
from msgkit.testing.processes import DetachedProcess, ServerFailed, free_port, process_started_at
from msgkit.testing.servers import MongoServer, RabbitMQPorts, RabbitMQServer, VirtualHosts, drop_databases

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer]:
    server = RabbitMQServer(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.stop()


@pytest.fixture(scope="module")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    server = MongoServer(tmp_path_factory.mktemp("mongodb"))
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.stop()


async def _publish(url: str, queue: str, body: bytes) -> None:
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key=queue)


async def _take(url: str, queue: str) -> bytes:
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, passive=True)
        message = await declared.get(timeout=10)
        assert message is not None
        await message.ack()
        return message.body


async def test_confirmed_message_survives_a_kill_of_the_broker(rabbitmq: RabbitMQServer) -> None:
    url, pid = rabbitmq.url, rabbitmq.pid
    await _publish(url, "kept", b"survivor")
    rabbitmq.wait_until_on_disk("kept")

    rabbitmq.kill()
    assert rabbitmq.pid is None
    rabbitmq.start()

    assert rabbitmq.pid != pid
    assert rabbitmq.url == url
    assert await _take(url, "kept") == b"survivor"


def test_journalled_write_survives_a_kill_of_mongodb(mongodb: MongoServer) -> None:
    url = mongodb.url
    with MongoClient[dict[str, object]](url) as client:
        kept = client.trial.get_collection("kept", write_concern=WriteConcern("majority", j=True))
        kept.insert_one({"_id": 1})

    mongodb.kill()
    assert mongodb.pid is None
    mongodb.start()

    assert mongodb.url == url
    with MongoClient[dict[str, object]](url) as client:
        assert client.trial.kept.count_documents({}) == 1


def test_mongodb_moves_to_another_port_with_its_data(tmp_path: Path) -> None:
    server = first = MongoServer(tmp_path)
    try:
        first.start()
        with MongoClient[dict[str, object]](first.url) as client:
            client.trial.kept.insert_one({"_id": 1})
        first.stop()
        server = MongoServer(tmp_path, free_port())
        server.start()
        with MongoClient[dict[str, object]](server.url) as client:
            assert client.trial.kept.count_documents({}) == 1
    finally:
        server.kill()
        server.stop()


def test_every_port_is_on_loopback(rabbitmq: RabbitMQServer, mongodb: MongoServer) -> None:
    ours = {rabbitmq.ports.amqp, rabbitmq.ports.distribution, rabbitmq.ports.epmd, rabbitmq.ports.management}
    ours.add(mongodb.port)
    rows = [row for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    addresses: dict[int, set[str]] = {}
    for row in rows:
        _, local, _, state, *_ = row.split()
        address, _, port = local.rpartition(":")
        if state == "0A":  # listening
            addresses.setdefault(int(port, 16), set()).add(address)
    loopback = {"0100007F", "00000000000000000000000001000000"}
    assert ours <= addresses.keys()
    assert all(addresses[port] <= loopback for port in ours)


def test_there_is_no_guest_and_secrets_are_private(rabbitmq: RabbitMQServer) -> None:
    with pytest.raises(LoginFailed, match="refused"):
        check_login(f"amqp://guest:guest@127.0.0.1:{rabbitmq.ports.amqp}/")
    folder = rabbitmq.log_file.parent.parent
    for name in ("password", "rabbitmq.conf", "home/.erlang.cookie"):
        assert stat.S_IMODE((folder / name).stat().st_mode) & 0o077 == 0, name


def test_a_second_object_on_the_folder_is_the_same_server(rabbitmq: RabbitMQServer) -> None:
    again = RabbitMQServer(rabbitmq.log_file.parent.parent)
    again.start()
    assert (again.pid, again.url) == (rabbitmq.pid, rabbitmq.url)


def test_a_taken_port_is_refused_by_name(mongodb: MongoServer, tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=rf"port {mongodb.port}: somebody listens there.*ss -ltnp"):
        MongoServer(tmp_path, mongodb.port).start()


def test_a_broker_that_cannot_boot_shows_its_log(tmp_path: Path) -> None:
    server = RabbitMQServer(tmp_path, RabbitMQPorts.free(management=False))
    (tmp_path / "advanced.config").write_text("this is no Erlang term")
    try:
        with pytest.raises(ServerFailed, match=r"ended while starting(?s:.*)failed_to_read_advanced"):
            server.start()
    finally:
        server.stop()


def test_a_recycled_pid_is_never_ours(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        record = {"pid": stranger.pid, "started_at": "another start"}
        (tmp_path / "pid").write_text(json.dumps(record))
        process = DetachedProcess("sleeper", tmp_path / "pid", tmp_path / "log")
        assert process.pid is None
        process.stop()
        process.kill()
        assert stranger.poll() is None  # not signalled: it is not what was recorded
        stranger.kill()


def test_what_ended_before_it_was_recorded_does_not_live_for_ever(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    (tmp_path / "pid").write_text(json.dumps({"pid": ended.pid, "started_at": process_started_at(ended.pid)}))
    assert DetachedProcess("short", tmp_path / "pid", tmp_path / "log").pid is None


def test_a_process_deaf_to_sigterm_is_killed_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = DetachedProcess("deaf", tmp_path / "pid", tmp_path / "log")
    process.start(["sh", "-c", "trap '' TERM; echo ready; exec sleep 60"], env=os.environ, cwd=tmp_path)
    while "ready" not in process.log_tail():
        subprocess.run(["sleep", "0.01"], check=True)
    assert process.stop(grace_seconds=0.3) is False
    assert "sending SIGKILL" in capsys.readouterr().out


def test_what_ended_unnoticed_is_started_again_without_a_child_left_over(tmp_path: Path) -> None:
    """Dropped unreaped it warns, and warnings end a test session."""
    process = DetachedProcess("short", tmp_path / "pid", tmp_path / "log")
    pid = process.start(["true"], env=os.environ, cwd=tmp_path)
    while process_started_at(pid) is not None:
        subprocess.run(["sleep", "0.01"], check=True)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        process.start(["true"], env=os.environ, cwd=tmp_path)
    process.stop()
    assert [str(one.message) for one in warned] == []


def test_each_test_has_its_own_virtual_host(vhosts: VirtualHosts) -> None:
    with vhosts.fresh() as first, vhosts.fresh() as second:
        assert first != second
        check_login(first)
    with pytest.raises(LoginFailed, match="virtual host"):
        check_login(first)


def test_databases_of_a_prefix_are_dropped(mongo_url: str, mongo_prefix: str) -> None:
    with MongoClient[dict[str, object]](mongo_url) as client:
        client[f"{mongo_prefix}inbox"].c.insert_one({})
        drop_databases(mongo_url, mongo_prefix)
        assert not [name for name in client.list_database_names() if name.startswith(mongo_prefix)]
