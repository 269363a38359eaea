"""Health: what makes a service ready, and what must not."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from fastapi import FastAPI

from msgkit.runtime import health as health_module
from msgkit.runtime.health import Health


async def _get(health: Health, path: str) -> httpx2.Response:
    app = FastAPI()
    app.include_router(health.router())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://t") as http:
        return await http.get(path)


async def _yes() -> bool:
    return True


async def _no() -> bool:
    return False


async def test_without_checks_a_service_is_ready() -> None:
    response = await _get(Health(), "/health/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "checks": {}})


async def test_one_failed_check_makes_it_not_ready_and_is_named() -> None:
    health = Health()
    health.add("mongo", _yes)
    health.add("rabbitmq", _no)
    response = await _get(health, "/health/ready")
    assert response.status_code == 503
    assert response.json() == {"status": "not_ready", "checks": {"mongo": True, "rabbitmq": False}}


async def test_a_check_that_raises_counts_as_failed() -> None:
    async def broken() -> bool:
        raise ConnectionError

    health = Health()
    health.add("mongo", broken)
    assert (await _get(health, "/health/ready")).status_code == 503


async def test_a_check_that_hangs_counts_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "CHECK_SECONDS", 0.05)

    async def hanging() -> bool:
        await asyncio.Event().wait()
        return True

    health = Health()
    health.add("mongo", hanging)
    assert (await _get(health, "/health/ready")).json()["checks"] == {"mongo": False}


async def test_draining_is_not_ready_at_once_and_stays_alive() -> None:
    health = Health()
    health.add("mongo", _yes)
    assert (await _get(health, "/health/ready")).status_code == 200
    health.draining = True
    response = await _get(health, "/health/ready")
    assert (response.status_code, response.json()["status"]) == (503, "draining")
    assert (await _get(health, "/health/live")).status_code == 200


async def test_many_probes_at_once_run_the_checks_once() -> None:
    runs = 0

    async def counted() -> bool:
        nonlocal runs
        runs += 1
        return True

    health = Health()
    health.add("mongo", counted)
    await asyncio.gather(*(health.results() for _ in range(50)))
    assert runs == 1


def test_two_checks_cannot_share_a_name() -> None:
    health = Health()
    health.add("mongo", _yes)
    with pytest.raises(ValueError, match="'mongo'"):
        health.add("mongo", _no)
