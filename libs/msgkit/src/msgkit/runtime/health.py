"""Health: alive means the event loop turns, ready means work can be done now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.responses import JSONResponse

from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

Check = Callable[[], Awaitable[bool]]

CHECK_SECONDS = 2.0
"""A check that takes longer counts as failed."""
REMEMBER_SECONDS = 0.5
"""The answer is kept this long: the address is public, the checks are not free."""


class Health:
    """What /health/ready answers."""

    def __init__(self) -> None:
        self.draining = False
        self._checks: dict[str, Check] = {}
        self._told_only: set[str] = set()
        self._results: dict[str, bool] = {}
        self._checked_at = float("-inf")
        self._lock = asyncio.Lock()

    def add(self, name: str, check: Check, *, is_needed: bool = True) -> None:
        """Readiness needs this check to return True; an exception or 2 seconds of silence count as False.

        Args:
            name: as shown.
            check: asked at most twice a second.
            is_needed: False for what is told and does not decide: work can be done without it.
        """
        if name in self._checks:
            raise ValueError(f"Readiness already has a check named {name!r}; give this one another name.")
        self._checks[name] = check
        if not is_needed:
            self._told_only.add(name)

    async def results(self) -> dict[str, bool]:
        """All checks, run side by side; at most half a second old."""
        async with self._lock:
            if time.monotonic() - self._checked_at >= REMEMBER_SECONDS:
                names = list(self._checks)
                values = await asyncio.gather(*(self._run(name) for name in names))
                self._results = dict(zip(names, values, strict=True))
                self._checked_at = time.monotonic()
            return self._results

    async def is_ready(self) -> bool:
        """Whether everything that is needed is there."""
        return all(works for name, works in (await self.results()).items() if name not in self._told_only)

    def router(self) -> APIRouter:
        """GET /health/live and /health/ready."""
        router = APIRouter(include_in_schema=False)

        @router.get("/health/live")
        async def live() -> JSONResponse:
            return JSONResponse({"status": "live"})

        @router.get("/health/ready")
        async def ready() -> JSONResponse:
            if self.draining:
                return JSONResponse({"status": "draining", "checks": {}}, 503)
            checks = await self.results()
            is_ready = await self.is_ready()
            status = "ready" if is_ready else "not_ready"
            return JSONResponse({"status": status, "checks": checks}, 200 if is_ready else 503)

        return router

    async def _run(self, name: str) -> bool:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return bool(await self._checks[name]())
        except Exception as exc:  # noqa: BLE001  # a check may fail in any way: that is its answer
            log.warning("readiness_check_failed", check=name, error=type(exc).__name__)
            return False
