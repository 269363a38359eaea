"""What a messenger remembers over a restart: one JSON file, replaced in one step, its owner's only."""

import asyncio
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

MemoryT = TypeVar("MemoryT", bound=BaseModel)


class StateFile(Generic[MemoryT]):
    """The file of one messenger; without a path nothing is kept."""

    def __init__(self, path: Path | None, memory: type[MemoryT], collect: Callable[[], MemoryT]) -> None:
        self._path = path
        self._memory = memory
        self._collect = collect
        self._unsaved = asyncio.Event()
        # A thread goes on writing when whoever waited for it was cancelled.
        self._writing = threading.Lock()
        self._collected = 0
        self._written = 0

    def load(self) -> MemoryT:
        """What the last process kept; empty at the first start."""
        if self._path is None or not self._path.exists():
            return self._memory()
        return self._memory.model_validate_json(self._path.read_text(encoding="utf-8"))

    def changed(self) -> None:
        """Something the file keeps is new."""
        self._unsaved.set()

    def save(self) -> None:
        """Write the file now."""
        self._write(*self._snapshot())

    async def keep_saving(self) -> None:
        """Write the file whenever something is new; at most five times a second."""
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            await asyncio.to_thread(self._write, *self._snapshot())
            await asyncio.sleep(0.2)

    def _snapshot(self) -> tuple[int, MemoryT]:
        """What to keep, with its number: a later one is never replaced by an earlier one."""
        self._collected += 1
        return self._collected, self._collect()

    def _write(self, number: int, memory: MemoryT) -> None:
        """Readable by its owner only: it holds webhook secrets."""
        if self._path is None:
            return
        with self._writing:
            if number < self._written:
                return
            self._written = number
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_suffix(".draft")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(memory.model_dump(mode="json"), file, ensure_ascii=False, indent=1)
            draft.replace(self._path)
