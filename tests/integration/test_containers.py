"""The servers in containers have the same face as the native ones, proved against a played engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker_engine import played_engine
from pymongo import MongoClient

from msgkit.testing.containers import MongoInDocker, RabbitMQInDocker
from msgkit.testing.infra import broker, infra
from msgkit.testing.processes import ServerFailed


def test_both_servers_survive_a_kill_in_their_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    with played_engine(tmp_path) as (engine, address):
        monkeypatch.setenv("DOCKER_HOST", address)
        rabbitmq, mongodb = RabbitMQInDocker(), MongoInDocker()
        for server in (rabbitmq, mongodb):
            server.start()
        with rabbitmq.vhosts.fresh() as url:
            assert "/t-" in url
        client: MongoClient[dict[str, int]] = MongoClient(mongodb.url)
        with client:
            client["t"]["kept"].insert_one({"_id": 1})
        for server in (rabbitmq, mongodb):
            server.kill()
            server.start()
        assert rabbitmq.version()
        client = MongoClient(mongodb.url)
        with client:
            assert client["t"]["kept"].count_documents({}) == 1
        for server in (rabbitmq, mongodb):
            server.stop()
        assert engine.calls == [
            "create rabbitmq:4.2.6-management", "start", "create mongo:8.0.17", "start",
            "kill SIGKILL", "start", "kill SIGKILL", "start", "remove", "remove",
        ]  # fmt: skip


def test_without_an_engine_docker_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    monkeypatch.setenv("ROZMOVA_INFRA", "docker")
    with pytest.raises(ServerFailed, match="ROZMOVA_INFRA=native"):
        broker(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "given", "found"),
    [("", "amqp://x", "env"), ("native", "amqp://x", "native"), ("env", "amqp://x", "env")],
)
def test_where_a_server_comes_from(
    wanted: str, given: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROZMOVA_INFRA", wanted)
    monkeypatch.setenv("RABBITMQ_URL", given)
    assert infra("RABBITMQ_URL") == found


@pytest.mark.parametrize("wanted", ["podman", "env"])
def test_what_cannot_be_is_refused(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROZMOVA_INFRA", wanted)
    monkeypatch.delenv("RABBITMQ_URL", raising=False)
    with pytest.raises(ServerFailed, match="ROZMOVA_INFRA"):
        infra("RABBITMQ_URL")
