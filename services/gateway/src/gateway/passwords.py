"""Passwords: hashed and checked beside the event loop, a few at a time."""

from __future__ import annotations

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from msgkit.runtime.problems import Problem


class Passwords:
    """Argon2id in two threads of its own: each keeps the memory of a hash, and takes a core for 20 ms."""

    CONCURRENT = 2
    WAITING = 40

    def __init__(self) -> None:
        # The smallest in memory of the equally strong settings of OWASP's password storage page:
        # m=7 MiB, t=5, p=1.
        self._hasher = PasswordHasher(time_cost=5, memory_cost=7 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(self.CONCURRENT, "argon2")
        self._waiting = 0
        # For logins nobody has: checking one costs as long as checking a real one.
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def matches(self, hashed: str | None, password: str) -> bool:
        """
        Args:
            hashed: None for a login that does not exist; takes as long and answers False.

        Raises:
            Problem: 429, too many are waiting already.
        """
        if self._waiting >= self.WAITING:
            raise Problem(
                429, "rate_limited", "Забагато спроб входу одночасно.", headers={"Retry-After": "5"}
            )
        self._waiting += 1
        try:
            right = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._verify, hashed or self._nobody, password
            )
        finally:
            self._waiting -= 1
        return right and hashed is not None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False
