"""The sandbox's phones and an operator at her window, for the end-to-end tests of the shared system."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from msgkit.runtime.http import authorities
from msgkit.testing.phone import Desk
from msgkit.testing.system import System


@pytest.fixture
async def sandbox(system: System) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=system.sandbox_url, timeout=30, verify=authorities()) as http:
        yield http
        await http.put("/control/faults", json={"seed": 0, "faults": []})


@pytest.fixture(scope="module")
async def olena(system: System) -> AsyncIterator[Desk]:
    """One window for a whole file: a new one reads every dialogue the tests before it have made."""
    async with Desk(system, "olena") as desk:
        yield desk
