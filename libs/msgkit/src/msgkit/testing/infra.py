"""Which RabbitMQ and MongoDB to use: those of the environment, containers, or private native ones.

`ROZMOVA_INFRA=env|docker|native` decides; without it a server of RABBITMQ_URL or MONGO_URL is taken, else
native ones where Debian's packages can be had, else containers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Literal, Protocol, cast

from msgkit.testing.processes import ServerFailed
from msgkit.testing.servers import MongoServer, RabbitMQPorts, RabbitMQServer, VirtualHosts

Infra = Literal["env", "docker", "native"]
_KINDS = ("env", "docker", "native")
_ENGINE_SECONDS = 10


class Broker(Protocol):
    """A RabbitMQ of ours."""

    @property
    def pid(self) -> int | None:
        """The process on this machine; None in a container."""

    @property
    def url(self) -> str: ...
    @property
    def vhosts(self) -> VirtualHosts: ...
    def version(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def wait_until_on_disk(self, queue: str) -> None: ...


class DatabaseServer(Protocol):
    """A MongoDB of ours."""

    @property
    def pid(self) -> int | None:
        """The process on this machine; None in a container."""

    @property
    def url(self) -> str: ...
    def version(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


def infra(variable: str | None = None) -> Infra:
    """Where a server comes from.

    Args:
        variable: RABBITMQ_URL or MONGO_URL, if a server of the environment would do.

    Raises:
        ServerFailed: ROZMOVA_INFRA is no word we know, or what it asks for is not there.
    """
    wanted = os.environ.get("ROZMOVA_INFRA", "")
    given = variable is not None and bool(os.environ.get(variable))
    if wanted and wanted not in _KINDS:
        raise ServerFailed(
            f"ROZMOVA_INFRA={wanted!r} is none of env, docker, native. Correct it or unset it."
        )
    if wanted == "env" and variable is not None and not given:
        raise ServerFailed(f"ROZMOVA_INFRA=env, but {variable} is not set. Set it, or unset ROZMOVA_INFRA.")
    if wanted == "docker":
        require_engine()
    if wanted:
        return cast("Infra", wanted)
    if given:
        return "env"
    return "native" if _is_debian() or not engine_answers() else "docker"


def engine_answers() -> bool:
    """Whether a Docker engine runs; the client alone is not enough."""
    return _ask_docker("info", "--format", "{{.ServerVersion}}")


def require_engine(*, compose: bool = False) -> None:
    """Raises ServerFailed, with what to do, when no engine (or no compose plugin) answers."""
    if not engine_answers():
        raise ServerFailed(
            "ROZMOVA_INFRA=docker, but no Docker engine answers (`docker info`). Start Docker, or set "
            "ROZMOVA_INFRA=native: RabbitMQ and MongoDB then run as ordinary processes."
        )
    if compose and not _ask_docker("compose", "version"):
        raise ServerFailed(
            "Docker has no compose plugin (`docker compose version`). Install docker-compose-plugin, or set "
            "ROZMOVA_INFRA=native."
        )


def broker(folder: Path, ports: RabbitMQPorts | None = None) -> Broker:
    """A private RabbitMQ, not started yet."""
    if infra() == "docker":
        from msgkit.testing.containers import RabbitMQInDocker

        return RabbitMQInDocker(ports)
    return RabbitMQServer(folder, ports)


def database(folder: Path) -> DatabaseServer:
    """A private MongoDB replica set of one, not started yet."""
    if infra() == "docker":
        from msgkit.testing.containers import MongoInDocker

        return MongoInDocker()
    return MongoServer(folder)


def _is_debian() -> bool:
    return shutil.which("apt-get") is not None


def _ask_docker(*words: str) -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        asked = subprocess.run([docker, *words], capture_output=True, timeout=_ENGINE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0
