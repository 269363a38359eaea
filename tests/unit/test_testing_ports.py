"""Ports for servers of tests: many test processes ask at once, long before any of the servers listens."""

from __future__ import annotations

import subprocess
import sys

import pytest

from msgkit.testing import processes
from msgkit.testing.processes import ServerFailed, free_port

_FEW = range(19_000, 19_300)
_ASK = f"""
from msgkit.testing import processes
processes._PORTS = range({_FEW.start}, {_FEW.stop})
print(*[processes.free_port() for _ in range(100)], flush=True)
input()
"""


def test_two_processes_never_get_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """It happened: two systems that started at once served each other's callers with 404."""
    monkeypatch.setattr(processes, "_PORTS", _FEW)
    other = subprocess.Popen(
        [sys.executable, "-c", _ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        theirs = [int(port) for port in other.stdout.readline().split()]
        ours = [free_port() for _ in range(100)]
    finally:
        other.communicate("\n", timeout=10)
    assert len({*theirs, *ours}) == 200


def test_a_port_is_given_once_and_the_want_of_another_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PORTS", range(19_300, 19_303))
    given = {free_port() for _ in range(3)}
    assert given == {19_300, 19_301, 19_302}
    with pytest.raises(ServerFailed, match=r"No free port between 19300 and 19303"):
        free_port()
