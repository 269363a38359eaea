"""supervisord: its settings from the plan, its start and stop, and what runs under it."""

from __future__ import annotations

import configparser
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from supervisor.xmlrpc import SupervisorTransport

from bootstrap import ROOT, Problem, say
from msgkit.testing.processes import DetachedProcess, port_is_free, process_started_at, tail, write_private
from roster import Process
from state import STATE

_CONFIGURATION = STATE / "supervisord.conf"
_SOCKET = STATE / "supervisor.sock"
_MARK = f"ROZMOVA_STATE={STATE}"
READY_DEADLINE_SECONDS = 120.0
_FEW_RESTARTS = 3
_STOP_SECONDS = 40
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Running:
    """What supervisord says about one process."""

    name: str
    state: str
    pid: int
    up_seconds: int
    restarts: int


def supervisord() -> DetachedProcess:
    """The supervisor's own process."""
    return DetachedProcess("supervisord", STATE / "supervisord.pid", STATE / "log/supervisord.out")


def log_of(process: str) -> Path:
    """Where a service writes."""
    return STATE / f"log/{process}.log"


def addresses_of(name: str) -> str:
    """The addresses of a process, as its settings have them."""
    parser = configparser.RawConfigParser()
    parser.read(_CONFIGURATION)
    environment = parser.get(f"program:{name}", "environment", fallback="")
    ports = re.findall(r"ROZMOVA_(PUBLIC|INTERNAL|OWN)_PORT='(\d+)'", environment)
    return "  ".join(f"{kind.lower()} http://127.0.0.1:{port}" for kind, port in ports)


def apply(processes: Sequence[Process]) -> None:
    """Makes exactly these processes run: starts the supervisor, or tells it what changed."""
    text = configuration(processes)
    daemon = supervisord()
    changed = not _CONFIGURATION.exists() or _CONFIGURATION.read_text() != text
    if changed:
        write_private(_CONFIGURATION, text)
    if daemon.pid is None:
        stop_strays()
        _refuse_taken_ports(processes)
        say(f"Starting {', '.join(process.name for process in processes)} ...")
        _SOCKET.unlink(missing_ok=True)
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(_CONFIGURATION)]
        daemon.start(command, env=_environment(), cwd=ROOT)
        _wait_for_socket(daemon)
    elif changed:
        say("Bringing the services to what has changed ...")
        _supervisorctl("update")
    for name in [
        running.name for running in running_processes() if running.state in ("STOPPED", "EXITED", "FATAL")
    ]:
        _supervisorctl("start", name)


def wait_until_ready(processes: Sequence[Process]) -> None:
    """Returns when every process answers 200 on /health/ready.

    Raises:
        Problem: one does not in time or gave up; with what it answered and the end of its log.
    """
    deadline = time.monotonic() + READY_DEADLINE_SECONDS
    waiting = list(processes)
    restarts_before = {running.name: running.restarts for running in running_processes()}
    while waiting:
        process = waiting[0]
        answer = _ready_answer(process)
        if answer is None:
            waiting.pop(0)
            continue
        hopeless = {
            running.name
            for running in running_processes()
            if running.state == "FATAL"
            or running.restarts - restarts_before.get(running.name, 0) >= _FEW_RESTARTS
        }
        gave_up = next((other for other in waiting if other.name in hopeless), None)
        if gave_up is not None or time.monotonic() > deadline:
            failed = gave_up or process
            raise Problem(
                f"{failed.name} did not become ready: {'it ends again and again' if gave_up else answer}.\n"
                f"The end of {log_of(failed.name)}:\n{tail(log_of(failed.name))}\n"
                f"All of it: make logs S={failed.name}. When it is mended: make up"
            )
        time.sleep(_POLL_SECONDS)


def running_processes() -> list[Running]:
    """Every process under the supervisor; empty when that does not run."""
    if supervisord().pid is None:
        return []
    transport = SupervisorTransport(None, None, f"unix://{_SOCKET}")
    try:
        # The address is only a form: the transport goes through the unix socket.
        server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        rows = cast("list[dict[str, Any]]", server.supervisor.getAllProcessInfo())
    except (OSError, xmlrpc.client.Error, http.client.HTTPException):
        return []
    finally:
        transport.close()
    starts = _starts_in_log()
    return [
        Running(
            row["name"],
            row["statename"],
            row["pid"],
            row["now"] - row["start"] if row["pid"] else 0,
            max(0, starts.count(row["name"]) - 1),
        )
        for row in rows
    ]


def stop() -> bool:
    """Drains and stops all services, then the supervisor; True when there was something to stop."""
    daemon = supervisord()
    was_there = daemon.pid is not None
    daemon.stop(grace_seconds=_STOP_SECONDS + 20)
    _SOCKET.unlink(missing_ok=True)
    return stop_strays() or was_there


def stop_strays() -> bool:
    """Ends services whose supervisor was killed; they are known by the folder in their environment."""
    strays = _strays()
    for pid in strays:
        say(f"Stopping a service left without its supervisor (pid {pid}) ...")
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while alive := [pid for pid in strays if process_started_at(pid) == strays[pid]]:
        if time.monotonic() > deadline:
            for pid in alive:
                say(f"pid {pid} is still there, sending SIGKILL.")
                os.kill(pid, signal.SIGKILL)
            break
        time.sleep(_POLL_SECONDS)
    return bool(strays)


def configuration(processes: Sequence[Process]) -> str:
    """The text of supervisord.conf. It holds keys: it is written with mode 0600."""
    parts = [
        "[supervisord]",
        f"logfile = {_literal(STATE / 'log/supervisord.log')}",
        "logfile_maxbytes = 5MB",
        "logfile_backups = 1",
        f"pidfile = {_literal(STATE / 'supervisord-own.pid')}",
        f"childlogdir = {_literal(STATE / 'log')}",
        "[unix_http_server]",
        f"file = {_literal(_SOCKET)}",
        "chmod = 0700",
        "[supervisorctl]",
        f"serverurl = unix://{_literal(_SOCKET)}",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for priority, process in enumerate(processes):
        environment = ",".join(f"{key}={_quoted(value)}" for key, value in process.environment.items())
        parts += [
            f"[program:{process.name}]",
            f"command = {_literal(sys.executable)} -m {process.service.package}.app",
            f"directory = {_literal(ROOT)}",
            f"environment = {environment}",
            f"priority = {100 + priority}",
            "startsecs = 1",
            "startretries = 10",
            # A service that ends by itself is a fault whatever its exit code: it comes back.
            "autorestart = true",
            f"stopwaitsecs = {_STOP_SECONDS}",
            "stopasgroup = false",
            "killasgroup = true",
            "redirect_stderr = true",
            f"stdout_logfile = {_literal(log_of(process.name))}",
            "stdout_logfile_maxbytes = 20MB",
            "stdout_logfile_backups = 2",
        ]
    return "\n".join(parts) + "\n"


def _literal(value: object) -> str:
    return str(value).replace("%", "%%")


def _quoted(value: str) -> str:
    # supervisord reads quotes without escapes and takes " ;" and " #" for comments.
    if re.search(r"'|\s[;#]|\n", value):
        raise Problem(
            f"A setting of a service holds {value!r}, which supervisord cannot carry: use no quote in it."
        )
    return f"'{_literal(value)}'"


def _environment() -> dict[str, str]:
    # Only what a service may need: the rest of a person's shell is none of its business.
    kept = ("PATH", "HOME", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
    environment = {key: value for key, value in os.environ.items() if key in kept or key.startswith("OTEL_")}
    mark, _, folder = _MARK.partition("=")
    return {**environment, mark: folder, "PYTHONUNBUFFERED": "1"}


def _strays() -> dict[int, str | None]:
    found = {}
    ours = supervisord().pid
    for file in Path("/proc").glob("[0-9]*/environ"):
        pid = int(file.parent.name)
        try:
            marked = _MARK.encode() in file.read_bytes().split(b"\0")
        except OSError:  # another user's, or gone meanwhile
            continue
        if marked and pid != ours:
            found[pid] = process_started_at(pid)
    return found


def _refuse_taken_ports(processes: Sequence[Process]) -> None:
    for process in processes:
        for key in ("ROZMOVA_PUBLIC_PORT", "ROZMOVA_INTERNAL_PORT", "ROZMOVA_OWN_PORT"):
            port = process.environment.get(key)
            if port and not port_is_free(int(port)):
                raise Problem(
                    f"{process.name} cannot have port {port}: somebody listens there. See who with "
                    f"`ss -ltnp 'sport = :{port}'`, or move all ports: make up ROZMOVA_PORT_BASE=<another>"
                )


def _wait_for_socket(daemon: DetachedProcess) -> None:
    deadline = time.monotonic() + 20
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(_SOCKET))
            except OSError:
                if daemon.pid is None or time.monotonic() > deadline:
                    raise Problem(
                        f"supervisord does not start:\n{daemon.log_tail()}\nTry again: make up"
                    ) from None
            else:
                return
        time.sleep(_POLL_SECONDS)


def _supervisorctl(*words: str) -> None:
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(_CONFIGURATION), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0 and "already started" not in done.stdout:
        say(f"supervisorctl {' '.join(words)}: {done.stdout.strip() or done.stderr.strip()}")


def _starts_in_log() -> list[str]:
    """The name in every `spawned: 'name' with pid` since this supervisor began."""
    try:
        text = (STATE / "log/supervisord.log").read_text(errors="replace")
    except FileNotFoundError:
        return []
    since = text.rpartition("supervisord started with pid")[2]
    return [line.split("'")[1] for line in since.splitlines() if " spawned: '" in line]


def _ready_answer(process: Process) -> str | None:
    """None when it is ready, else what it answered."""
    try:
        with urllib.request.urlopen(f"{process.url}/health/ready", timeout=3):  # noqa: S310 - our own address
            return None
    except urllib.error.HTTPError as exc:
        with exc:
            return f"{exc.code} {exc.read(500).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as exc:
        return f"no answer at {process.url} ({exc})"
