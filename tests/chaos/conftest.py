"""Systems to be killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from msgkit.contracts.ids import new_id
from msgkit.testing import chaos
from msgkit.testing.system import System

MUTANTS = Path(__file__).parent / "mutants"


@pytest.fixture
def started(servers_folder: Path) -> Iterator[Callable[..., System]]:
    """Starts a system of its own for a test that kills it."""
    systems: list[System] = []

    def start(mutant: str | None = None, replicas: int = 1) -> System:
        mutants = {"inbox": MUTANTS / f"{mutant}.py"} if mutant else {}
        system = System(
            servers_folder / f"chaos-{new_id()[:8]}",
            mutants=mutants,
            replicas=dict.fromkeys(chaos.SERVICES, replicas),
        )
        systems.append(system)
        system.start()
        return system

    yield start
    for system in systems:
        system.stop()
