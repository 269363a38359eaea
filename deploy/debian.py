"""Debian packages: finds what is missing and installs it, without leaving Debian's services running."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootstrap import Problem, say

_POLICY = Path("/usr/sbin/policy-rc.d")
_REFUSE_STARTS = "#!/bin/sh\nexit 101\n"
_LISTS = Path("/var/lib/apt/lists")


def ensure_rabbitmq() -> None:
    """Installs the RabbitMQ programs when they are not on the machine."""
    if not Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists():
        install_debian_packages(["rabbitmq-server"], "the message broker")


def ensure_mongod_libraries() -> None:
    """Installs the two libraries the mongod of the PyPI wheel is linked with."""
    install_missing(["libcurl4", "libssl3"], "needed by mongod")


def ensure_browser() -> None:
    """Installs Chromium and the fonts the window's tests look at."""
    packages = ["fonts-dejavu-core", "fonts-noto-color-emoji"]
    if shutil.which("chromium") is None:
        packages.insert(0, "chromium")
    install_missing(packages, "for the browser tests")


def install_missing(packages: Sequence[str], purpose: str) -> None:
    """Installs those of the packages that are not there."""
    missing = [name for name in packages if not _is_installed(name)]
    if missing:
        install_debian_packages(missing, purpose)


def install_debian_packages(packages: Sequence[str], purpose: str) -> None:
    """Installs packages with apt as root or with sudo; a server among them is not started.

    Raises:
        Problem: no apt, no right to use it, or apt fails; with the command to run by hand.
    """
    by_hand = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise Problem(
            f"{', '.join(packages)} missing ({purpose}) and there is no apt here: install it by hand."
        )
    root = _root_prefix()
    if root is None:
        raise Problem(
            f"{', '.join(packages)} missing ({purpose}) and neither root nor sudo. Run: sudo {by_hand}"
        )
    say(f"Installing from Debian: {' '.join(packages)} ({purpose}) ...")
    environment = [*root, "env", "DEBIAN_FRONTEND=noninteractive"]
    install = [*environment, *by_hand.split()]
    epmds_before = _epmd_pids()
    with _services_stay_down(root):
        done = _apt(install) if any(_LISTS.glob("*_Packages*")) else None
        if done is None or done.returncode != 0:  # no lists yet, or too old ones
            _apt([*environment, "apt-get", "update", "-q"])
            done = _apt(install)
    if done.returncode != 0:
        raise Problem(f"apt could not install {' '.join(packages)}:\n{done.stderr.strip()}\nRun: {by_hand}")
    if "rabbitmq-server" in packages:
        _keep_debians_broker_off(root, epmds_before)


@contextmanager
def _services_stay_down(root: Sequence[str]) -> Iterator[None]:
    """While installing, Debian asks this file whether it may start a service: not for us."""
    if _POLICY.exists():  # somebody already decides that here
        yield
        return
    write = [*root, "sh", "-c", f"cat > {_POLICY} && chmod 755 {_POLICY}"]
    subprocess.run(write, input=_REFUSE_STARTS, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run([*root, "rm", "-f", str(_POLICY)], check=True)


def _keep_debians_broker_off(root: Sequence[str], epmds_before: set[int]) -> None:
    # The package was ours to install, so its node shall not come up at the next boot either.
    if Path("/run/systemd/system").exists():
        disable = ["systemctl", "disable", "--quiet", "rabbitmq-server.service"]
        subprocess.run([*root, *disable], capture_output=True, check=False)
    # Its scripts leave a name server on all interfaces behind; those that ran before are not ours.
    for pid in _epmd_pids() - epmds_before:
        subprocess.run(
            [*root, "kill", f"-{signal.SIGTERM.value}", str(pid)], capture_output=True, check=False
        )


def _epmd_pids() -> set[int]:
    pids = set()
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            # One with a port of its own belongs to a private broker, ours or another clone's.
            own_port = b"-port" in (comm.parent / "cmdline").read_bytes()
            if comm.read_text().strip() == "epmd" and not own_port:
                pids.add(int(comm.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return pids


def _is_installed(package: str) -> bool:
    if shutil.which("dpkg-query") is None:
        return True  # not Debian: whoever runs it there brings his own
    query = ["dpkg-query", "-W", "-f=${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"


def _root_prefix() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    may = subprocess.run(["sudo", "-v"], check=False).returncode == 0  # asks for a password on a terminal
    return ["sudo"] if may else None


def _apt(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
