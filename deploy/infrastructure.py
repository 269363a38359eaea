"""RabbitMQ and MongoDB of `make up`: those of the environment, containers, or private native ones."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from pymongo.errors import PyMongoError

import compose
from bootstrap import Problem, say
from debian import ensure_mongod_libraries, ensure_rabbitmq
from msgkit.testing.amqp_login import LoginFailed, check_login
from msgkit.testing.infra import infra
from msgkit.testing.processes import ServerFailed
from msgkit.testing.servers import MongoServer, RabbitMQServer, check_replica_set
from roster import Addresses
from state import STATE, Ports, Secrets


def broker(ports: Ports | None = None) -> RabbitMQServer:
    """The private broker; without ports the one that was started last."""
    return RabbitMQServer(STATE / "rabbitmq", ports.rabbitmq if ports else None)


def database(ports: Ports | None = None) -> MongoServer:
    """The private database; without ports the one that was started last."""
    return MongoServer(STATE / "mongodb", ports.mongodb if ports else None)


def start(ports: Ports, secrets: Secrets) -> Addresses:
    """Both servers, started side by side where they are ours, checked where they are given."""
    try:
        kinds = {infra(variable) for variable in ("RABBITMQ_URL", "MONGO_URL")}
    except ServerFailed as exc:
        raise Problem(str(exc)) from exc
    if "docker" in kinds:
        if len(kinds) > 1:
            raise Problem("One server of the environment and one in a container: set both addresses or none.")
        return compose.start(ports, secrets)
    # One after the other: apt takes one lock.
    if "RABBITMQ_URL" not in os.environ:
        ensure_rabbitmq()
    if "MONGO_URL" not in os.environ:
        ensure_mongod_libraries()
    ours = {"RabbitMQ": ("RABBITMQ_URL", broker().pid), "MongoDB": ("MONGO_URL", database().pid)}
    starting = [name for name, (variable, pid) in ours.items() if variable not in os.environ and pid is None]
    if starting:
        say(f"Starting {' and '.join(starting)} ...")
    with ThreadPoolExecutor(2) as pool:
        rabbitmq, mongodb = pool.submit(_rabbitmq, ports), pool.submit(_mongodb, ports)
        return Addresses(rabbitmq.result(), mongodb.result())


def stop(*, delete: bool) -> list[str]:
    """Stops the private servers, the broker with its epmd first; says which ran."""
    stopped = compose.stop(delete=delete)
    if (STATE / "rabbitmq").exists():
        server = broker()
        stopped += ["RabbitMQ"] if server.pid else []
        server.stop()
    if (STATE / "mongodb").exists():
        mongod = database()
        stopped += ["MongoDB"] if mongod.pid else []
        mongod.stop()
    return stopped


def describe() -> list[tuple[str, str, str]]:
    """Name, pid or where, and version of both servers, for the status page."""
    if compose.is_used():
        return [(name, "in a container", "`docker ps` tells more") for name in ("RabbitMQ", "MongoDB")]
    return [_describe_rabbitmq(), _describe_mongodb()]


def _rabbitmq(ports: Ports) -> str:
    given = os.environ.get("RABBITMQ_URL")
    if given:
        try:
            say(f"RabbitMQ {check_login(given)} of RABBITMQ_URL.")
        except LoginFailed as exc:
            raise Problem(
                f"RABBITMQ_URL is set, but {exc}. Mend it, or unset it: `make up` brings its own."
            ) from exc
        return given
    server = broker(ports)
    try:
        server.start()
    except ServerFailed as exc:
        raise Problem(str(exc)) from exc
    return server.url


def _mongodb(ports: Ports) -> str:
    given = os.environ.get("MONGO_URL")
    if given:
        try:
            say(f"MongoDB {check_replica_set(given)} of MONGO_URL.")
        except PyMongoError as exc:
            raise Problem(
                f"MONGO_URL is set, but {exc}. Mend it, or unset it: `make up` brings its own."
            ) from exc
        return given
    server = database(ports)
    try:
        server.start()
    except ServerFailed as exc:
        raise Problem(str(exc)) from exc
    return server.url


def _describe_rabbitmq() -> tuple[str, str, str]:
    given = os.environ.get("RABBITMQ_URL")
    try:
        if given:
            return "RabbitMQ", "of RABBITMQ_URL", check_login(given)
        server = broker()
        if server.pid is None:
            return "RabbitMQ", "stopped", ""
        return "RabbitMQ", f"pid {server.pid}, 127.0.0.1:{server.ports.amqp}", server.version()
    except LoginFailed as exc:
        return "RabbitMQ", "no answer", str(exc)


def _describe_mongodb() -> tuple[str, str, str]:
    given = os.environ.get("MONGO_URL")
    try:
        if given:
            return "MongoDB", "of MONGO_URL", check_replica_set(given)
        server = database()
        if server.pid is None:
            return "MongoDB", "stopped", ""
        return "MongoDB", f"pid {server.pid}, 127.0.0.1:{server.port}", server.version()
    except PyMongoError as exc:
        return "MongoDB", "no answer", str(exc)
