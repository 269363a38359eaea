"""`make doctor`: one line per thing the machine must have; exit code 1 when one is missing."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import infrastructure
import supervision
import window
from bootstrap import ROOT, say
from msgkit.testing.processes import ServerFailed, port_is_free
from msgkit.testing.servers import find_mongod
from roster import SERVICES
from state import Ports

_DISK_GB = 3


def examine() -> int:
    """Looks at everything and says it; nothing is changed."""
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    results = [
        _line(True, "Python", sys.version.split()[0]),
        _line(free_gb > _DISK_GB, "disk", f"{free_gb:.0f} GB free, {_DISK_GB} needed"),
        _rabbitmq(),
        _mongod(),
        _line(True, "Node", window.describe_node()),
        _line(
            os.geteuid() == 0 or shutil.which("sudo") is not None,
            "rights",
            "root or sudo, to install Debian packages when one is missing",
        ),
        *_ports(),
    ]
    return 0 if all(results) else 1


def _rabbitmq() -> bool:
    if "RABBITMQ_URL" in os.environ:
        name, state, version = infrastructure.describe()[0]
        return _line(state != "no answer", name, f"{state} {version}")
    there = Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists()
    return _line(True, "RabbitMQ", "installed" if there else "not installed yet; make up installs Debian's")


def _mongod() -> bool:
    if "MONGO_URL" in os.environ:
        name, state, version = infrastructure.describe()[1]
        return _line(state != "no answer", name, f"{state} {version}")
    try:
        return _line(True, "mongod", find_mongod())
    except ServerFailed as exc:
        return _line(False, "mongod", str(exc))


def _ports() -> list[bool]:
    if supervision.supervisord().pid:
        return [_line(True, "ports", "the system runs")]
    ports = Ports.from_environment(running=False)
    wanted = {
        service.name: ports.public(service.public) for service in SERVICES if service.public is not None
    }
    wanted["RabbitMQ"], wanted["MongoDB"] = ports.rabbitmq.amqp, ports.mongodb
    lines = []
    for name, port in wanted.items():
        free = port_is_free(port)
        lines.append(
            _line(free, f"port {port}", name if free else f"{name}: taken, see ss -ltnp 'sport = :{port}'")
        )
    return lines


def _line(good: bool, name: str, text: str) -> bool:
    say(f"{'ok     ' if good else 'MISSING'}  {name:<12} {text}")
    return good
