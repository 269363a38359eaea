"""What the sandbox remembers is written whole, whoever writes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel

from sandbox.state_file import StateFile


class Memory(BaseModel):
    number: int = 0
    ballast: str = ""


def test_two_that_write_at_once_leave_the_latest(tmp_path: Path) -> None:
    """A thread of `keep_saving` is still writing when the sandbox ends and saves."""
    counter = iter(range(1, 10_000))
    taking = threading.Lock()

    def collect() -> Memory:
        with taking:
            return Memory(number=next(counter), ballast="x" * 200_000)

    file = StateFile(tmp_path / "sandbox.json", Memory, collect)
    with ThreadPoolExecutor(8) as pool:
        for saved in [pool.submit(file.save) for _ in range(80)]:
            saved.result()
    file.save()
    assert file.load().number == 81
    assert [path.name for path in tmp_path.iterdir()] == ["sandbox.json"]
