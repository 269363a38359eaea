"""The process of an ingest service under a test's control."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from connector_stage import process_environment

from msgkit.runtime.http import authorities
from msgkit.testing.processes import free_port


class Process:
    """One `python -m ingest_telegram.app`, or of another service, with everything it wrote."""

    def __init__(
        self, environment: dict[str, str], log_file: Path, module: str = "ingest_telegram.app"
    ) -> None:
        self._environment = environment
        self._module = module
        self._log_file = log_file
        self.public = f"http://127.0.0.1:{environment['ROZMOVA_PUBLIC_PORT']}"
        self.internal = f"http://127.0.0.1:{environment['ROZMOVA_INTERNAL_PORT']}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, env=self._environment, stdout=log, stderr=log
            )
        async with httpx2.AsyncClient(verify=authorities()) as http:
            for _ in range(300):
                assert self._process.returncode is None, self.written
                try:
                    if (await http.get(f"{self.public}/health/ready")).status_code == 200:
                        return
                except httpx2.TransportError:
                    pass
                await asyncio.sleep(0.1)  # pace: between two looks at its health
        pytest.fail(f"not ready within 30 s:\n{self.written}")

    async def end(self, number: signal.Signals) -> int:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(35):
            return await self._process.wait()

    @property
    def resident_mb(self) -> float:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def written(self) -> str:
        return self._log_file.read_text(errors="replace")


@asynccontextmanager
async def process_at(
    api_url: str, amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path, **more: str
) -> AsyncIterator[Process]:
    """A running process that may use the Bot API at `api_url`."""
    environment = process_environment(
        amqp_url, mongo_url, mongo_prefix, api_url, free_port(), free_port(), tmp_path / "objects"
    )
    process = Process({**environment, **more}, tmp_path / "log")
    await process.start()
    try:
        yield process
    finally:
        await process.end(signal.SIGKILL)
