"""Detached processes that are found again by pid and start time, and stopped by exactly that."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_GRACE_SECONDS = 30.0
_POLL_SECONDS = 0.05
_REAPED_SECONDS = 5.0
"""A process that is gone may still be winding up its threads."""
# Below the range Linux takes for outgoing connections (32768 and up): a client that reconnects while a
# server of ours is down can otherwise be given the server's own port and talk to itself.
_PORTS = range(20_000, 32_000)


class ServerFailed(Exception):
    """A server did not start, stop or answer; the message says what to do next."""


class DetachedProcess:
    """One process of its own session, recorded in a pid file together with its start time.

    The start time guards against pid reuse: a recycled pid is never taken for ours and never signalled.
    """

    def __init__(self, name: str, pid_file: Path, log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        self._pid_file = pid_file
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The pid while the recorded process lives, else None."""
        if self._child is not None:
            self._child.poll()  # reaps, so that a killed child is not seen as a zombie
        try:
            record = json.loads(self._pid_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        pid, started_at = int(record["pid"]), record["started_at"]
        # One that had ended when it was recorded has no start time.
        return pid if started_at is not None and process_started_at(pid) == started_at else None

    @property
    def exit_code(self) -> int | None:
        """How it ended (by a signal: minus its number); None while it lives or when we did not start it."""
        return None if self._child is None else self._child.poll()

    def start(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> int:
        """Starts the process detached, its output appended to the log file, and returns its pid.

        Raises:
            ServerFailed: the program is missing.
        """
        for folder in (self._pid_file.parent, self.log_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.pid is None:
            self._reap()
        with self.log_file.open("ab") as log:
            try:
                self._child = subprocess.Popen(
                    list(argv),
                    env=dict(env),
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as exc:
                raise ServerFailed(f"{self.name}: cannot run {argv[0]!r} ({exc.strerror}).") from exc
        pid = self._child.pid
        self._pid_file.write_text(json.dumps({"pid": pid, "started_at": process_started_at(pid)}))
        return pid

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> bool:
        """Ends the process with SIGTERM, and with SIGKILL when it has not gone after the grace time.

        Returns:
            True when it ended by itself (or was not running), False when it had to be killed.
        """
        if self.pid is None:
            self._reap()
            self._forget()
            return True
        self._signal(signal.SIGTERM)
        gone = self._wait_gone(grace_seconds)
        if not gone:
            print(f"{self.name}: still there {grace_seconds:.0f} s after SIGTERM, sending SIGKILL.")  # noqa: T201 - the person at the terminal must see it
            self.kill()
        self._forget()
        return gone

    def kill(self) -> None:
        """Ends the process with SIGKILL and returns when it is gone."""
        self._signal(signal.SIGKILL)
        if not self._wait_gone(STOP_GRACE_SECONDS):
            raise ServerFailed(
                f"{self.name}: pid {self.pid} survives SIGKILL; see `ps -o stat,wchan {self.pid}`."
            )

    def log_tail(self, lines: int = 20) -> str:
        """The last lines the process wrote, for error messages."""
        return tail(self.log_file, lines)

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _wait_gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        self._reap()
        return True

    def _reap(self) -> None:
        """Take the exit code of a child that is gone: nobody will ask for it again."""
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_REAPED_SECONDS)

    def _forget(self) -> None:
        self._pid_file.unlink(missing_ok=True)


def process_started_at(pid: int) -> str | None:
    """The kernel's start time of a living process (boot id and clock ticks), None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the name in parentheses and may hold spaces: count from the last ')'.
    fields = stat.rpartition(")")[2].split()
    state, threads, start_ticks = fields[0], int(fields[17]), fields[19]
    # A killed process is a zombie while its last threads still hold its ports: gone is when they are.
    return None if state in ("Z", "X") and threads <= 1 else f"{boot_id}:{start_ticks}"


def free_port() -> int:
    """A loopback TCP port for a server that starts soon, outside the range of outgoing connections.

    No two processes of this user that ask here are given the same one, as long as the first of them lives:
    a service binds its ports seconds before it listens, and until then nobody can see that they are taken.

    Raises:
        ServerFailed: every port tried is taken.
    """
    first = random.SystemRandom().randrange(len(_PORTS))
    for port in itertools.chain(_PORTS[first:], _PORTS[:first]):
        if _CLAIMS.claim(port) and port_is_free(port):
            return port
    raise ServerFailed(f"No free port between {_PORTS.start} and {_PORTS.stop}: see `ss -ltn`.")


class _Claims:
    """Ports promised to a process: byte n of one file is locked by whoever was given port n."""

    def __init__(self) -> None:
        self._mine: set[int] = set()
        self._pid = 0
        self._file = -1

    def claim(self, port: int) -> bool:
        """Whether the port is ours from now on, until this process ends."""
        if self._pid != os.getpid():  # locks do not pass to a forked child
            self._pid, self._mine = os.getpid(), set()
            path = Path(tempfile.gettempdir()) / f"rozmova-ports-{os.getuid()}"
            # Never closed: closing any descriptor of the file would give up all locks of this process.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if port in self._mine:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except (BlockingIOError, PermissionError):
            return False
        self._mine.add(port)
        return True


_CLAIMS = _Claims()


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log file, or a note that there is none."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return f"({path.name} does not exist)"
    return "\n".join(text.splitlines()[-lines:]) or f"({path.name} is empty)"


def write_private(path: Path, text: str) -> None:
    """Writes a file only its owner can read, also when it existed with wider rights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
