"""RabbitMQ and MongoDB in containers, with the same face as the native servers; for machines with Docker."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

from docker.errors import DockerException
from pymongo.errors import PyMongoError
from testcontainers.core.container import DockerContainer

from msgkit.testing.amqp_login import LoginFailed, check_login
from msgkit.testing.processes import ServerFailed, free_port
from msgkit.testing.servers import (
    START_DEADLINE_SECONDS,
    RabbitMQPorts,
    VirtualHosts,
    become_primary,
    check_replica_set,
)

RABBITMQ_IMAGE: Final = "rabbitmq:4.2.6-management"
MONGO_IMAGE: Final = "mongo:8.0.17"
_POLL_SECONDS = 0.2


class _Contained:
    """One server in one container; `kill` and `start` keep its data, `stop` throws it away."""

    def __init__(self, name: str, container: DockerContainer) -> None:
        self._name = name
        self._container = container
        self._exists = False

    pid: None = None
    """The process is not ours to look at."""

    def stop(self) -> None:
        """Removes the container with its data."""
        if self._exists:
            self._container.stop()
            self._exists = False

    def kill(self) -> None:
        """SIGKILL; `start` brings it back with the same data and ports."""
        self._container.get_wrapped_container().kill("SIGKILL")

    def _run(self) -> None:
        try:
            if self._exists:
                self._container.get_wrapped_container().start()
            else:
                self._container.start()
                self._exists = True
        except DockerException as exc:
            raise ServerFailed(
                f"Docker cannot start {self._name} ({self._container.image}): {exc}. "
                "Look at `docker info`, or set ROZMOVA_INFRA=native."
            ) from exc

    def _wait_until(self, answers: Callable[[], object], not_yet: type[Exception]) -> None:
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while True:
            try:
                answers()
            except not_yet as exc:
                if time.monotonic() > deadline:
                    said = b"".join(self._container.get_logs()).decode(errors="replace")[-2000:]
                    raise ServerFailed(f"{self._name} did not come up ({exc}). It said:\n{said}") from exc
                time.sleep(_POLL_SECONDS)
            else:
                return


class RabbitMQInDocker(_Contained):
    """A RabbitMQ node in a container."""

    def __init__(self, ports: RabbitMQPorts | None = None) -> None:
        self.ports = ports or RabbitMQPorts.free()
        self._password = secrets.token_urlsafe(16)
        container = (
            DockerContainer(RABBITMQ_IMAGE, hostname="rozmova-broker")
            .with_env("RABBITMQ_DEFAULT_USER", "rozmova")
            .with_env("RABBITMQ_DEFAULT_PASS", self._password)
            .with_env("RABBITMQ_DEFAULT_VHOST", "rozmova")
            .with_bind_ports(5672, self.ports.amqp)
        )
        if self.ports.management:
            container.with_bind_ports(15672, self.ports.management)
        super().__init__("RabbitMQ", container)

    @property
    def url(self) -> str:
        """The amqp address with the login; a secret, never to be logged."""
        return f"amqp://rozmova:{self._password}@127.0.0.1:{self.ports.amqp}/rozmova"

    @property
    def vhosts(self) -> VirtualHosts:
        """Makes further virtual hosts."""
        return VirtualHosts(self.url, f"http://rozmova:{self._password}@127.0.0.1:{self.ports.management}")

    def version(self) -> str:
        """The broker's version; LoginFailed when it does not answer."""
        return check_login(self.url)

    def start(self) -> None:
        """Starts the broker, and returns when it takes a login.

        Raises:
            ServerFailed: Docker refuses, or it did not come up in time.
        """
        self._run()
        self._wait_until(self.version, LoginFailed)

    def wait_until_on_disk(self, queue: str) -> None:
        """Returns at once: the late registration of new queues was seen with 3.10 only."""


class MongoInDocker(_Contained):
    """A MongoDB replica set of one node in a container."""

    def __init__(self, port: int | None = None) -> None:
        # The same port inside and outside: the replica set names its member once for both.
        self.port = port or free_port()
        super().__init__(
            "MongoDB",
            DockerContainer(MONGO_IMAGE)
            .with_command(["mongod", "--replSet", "rs0", "--bind_ip_all", "--port", str(self.port)])
            .with_bind_ports(self.port, self.port),
        )

    @property
    def url(self) -> str:
        """The address for drivers."""
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs0"

    def version(self) -> str:
        """The server's version; PyMongoError when it does not answer."""
        return check_replica_set(self.url)

    def start(self) -> None:
        """Starts the server, and returns when it is the writable primary.

        Raises:
            ServerFailed: Docker refuses, or it did not come up in time.
        """
        self._run()
        self._wait_until(lambda: become_primary(self.port), PyMongoError)
