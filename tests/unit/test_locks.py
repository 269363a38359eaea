"""The locks: exact versions with hashes, no addresses, and nothing the members do not ask for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = [
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-bootstrap.lock",
    "requirements-node.lock",
]


def _entries(name: str) -> list[str]:
    text = "\n".join(line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#"))
    return [entry for entry in re.split(r"\n(?=\S)", text.strip()) if entry]


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()  # type: ignore[index]  # always a name


def _asked_by(pyproject: Path) -> set[str]:
    return {_name(line) for line in tomllib.loads(pyproject.read_text())["project"]["dependencies"]}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_with_hashes(lock: str) -> None:
    entries = _entries(lock)
    assert entries
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address_and_no_path(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|file:|index-url|find-links|(?m:^\s*-e\b)|\s@\s", text)


def test_members_find_all_they_ask_for_and_are_not_locked_themselves() -> None:
    members = [*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
    own = {tomllib.loads(member.read_text())["project"]["name"] for member in members}
    asked = set().union(*(_asked_by(member) for member in members)) - own
    for lock in ("requirements.lock", "requirements-dev.lock"):
        locked = {_name(entry) for entry in _entries(lock)}
        assert asked <= locked, f"{lock} is older than a pyproject.toml: make lock"
        assert not own & locked


def test_the_window_lock_names_no_address() -> None:
    lock = ROOT / "services/gateway/web/package-lock.json"
    assert '"resolved"' not in lock.read_text()
