"""First stage: makes `.venv` with the locked packages, using nothing but the system's Python."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence  # noqa: UP035 - an old Python must get as far as its clear error

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin/python"
OLDEST_PYTHON = (3, 11)
_STAMP = VENV / "rozmova.stamp"
_LOCKS = ("requirements-bootstrap.lock", "requirements-dev.lock")


class Problem(Exception):
    """Something the person at the terminal has to know: what failed, and the command that goes on."""


def say(text: str) -> None:
    """One line to the person at the terminal, at once."""
    print(text, flush=True)


def require_python() -> None:
    """Refuses a Python that is too old, before anything newer is imported."""
    if sys.version_info < OLDEST_PYTHON:
        have = ".".join(str(part) for part in sys.version_info[:3])
        raise Problem(
            f"Python 3.11 or newer is needed, {sys.executable} is {have}. "
            "On Debian 12: apt-get install -y python3 python3-venv; elsewhere: make up PYTHON=python3.11"
        )


def ensure_venv() -> None:
    """Makes `.venv` or brings it up to date; does nothing when locks and members are unchanged."""
    stamp = _fingerprint()
    if _is_current(stamp):
        return
    with folder_lock(ROOT / "deploy"):
        if _is_current(stamp):  # somebody else made it while we waited
            return
        if not _runs(VENV_PYTHON):
            _create_venv()
        say("Installing the locked Python packages ...")
        bootstrap, packages = (str(ROOT / name) for name in _LOCKS)
        pip = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "-q"]
        _run([*pip, "install", "--require-hashes", "-r", bootstrap], "pip cannot install uv")
        install_packages(["--require-hashes", "-r", packages])
        members = [word for member in _members() for word in ("-e", str(member.parent))]
        install_packages(["--no-deps", "--no-build-isolation", *members])
        _STAMP.write_text(stamp)


def install_packages(arguments: Sequence[str]) -> None:
    """Installs into `.venv` with uv, or with pip where only pip knows the way to the packages."""
    # The certificates pip uses too: a mirror may be signed by the machine's own authority.
    environment = {**os.environ, "VIRTUAL_ENV": str(VENV), "UV_SYSTEM_CERTS": "true"}
    uv = [str(VENV / "bin/uv"), "pip", "install", "--quiet", "--python", str(VENV_PYTHON), *arguments]
    first = subprocess.run(uv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if first.returncode == 0:
        return
    # A company's mirror often stands in pip's own configuration, which uv does not read.
    say("uv could not install them, trying pip ...")
    pip = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "-q", "install", *arguments]
    _run(pip, f"Neither uv nor pip can install the packages. uv said:\n{first.stderr.strip()}\npip said")


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """One process at a time in here; others wait. The lock goes with the process, whatever its end."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another make runs here, waiting for it ...")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def fingerprint(paths: Sequence[Path]) -> str:
    """One hash over names and contents of files; changes when any of them does."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _members() -> list[Path]:
    return sorted([*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")])


def _fingerprint() -> str:
    missing = [name for name in _LOCKS if not (ROOT / name).exists()]
    if missing:
        raise Problem(f"{missing[0]} is missing. Restore it with: git checkout -- {missing[0]}")
    # The folder belongs to it: an editable install points there, and a moved clone must install again.
    return f"{fingerprint([*_members(), *(ROOT / name for name in _LOCKS)])} {ROOT}"


def _is_current(stamp: str) -> bool:
    return VENV_PYTHON.exists() and _STAMP.exists() and _STAMP.read_text() == stamp


def _create_venv() -> None:
    if importlib.util.find_spec("ensurepip") is None:  # Debian ships it apart, in python3-venv
        from debian import install_debian_packages

        install_debian_packages(["python3-venv"], "to make .venv")
    say(f"Making .venv with Python {sys.version.split()[0]} ...")
    shutil.rmtree(VENV, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(VENV)], "The virtual environment cannot be made")


def _runs(python: Path) -> bool:
    check = f"import pip, sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    try:
        return subprocess.run([str(python), "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run(command: Sequence[str], failure: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()
        raise Problem(f"{failure}: {words}\nTried: {' '.join(command[:6])} ...\nWhen it is mended: make up")
