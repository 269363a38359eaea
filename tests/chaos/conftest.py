"""Systems to be killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from msgkit.contracts.ids import new_id
from msgkit.testing import chaos
from msgkit.testing.system import System


@pytest.fixture(scope="module")
def started(servers_folder: Path) -> Iterator[Callable[..., System]]:
    """Starts a system for a test, or for a file of tests, that kill it."""
    systems: list[System] = []

    def start(replicas: int = 1) -> System:
        system = System(
            servers_folder / f"chaos-{new_id()[:8]}", replicas=dict.fromkeys(chaos.SERVICES, replicas)
        )
        systems.append(system)
        system.start()
        return system

    yield start
    for system in systems:
        system.stop()
