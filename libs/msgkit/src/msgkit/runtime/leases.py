"""Work that only one replica may do at a time: named leases in the service's own database.

A lease is a document with a holder and an expiry by the server's clock. Its holder renews it every 5 s and
ends its work when it could not for 15 s; another may begin only after 30 s, or at once when it was given
back. So two replicas never work under the same name, unless a process stands still for longer than the rest
of its lease while it works; what it writes then is told from the new holder's by `Lease.fence`.
Leases have a collection of their own: members are listed every 2 s, and there may be a lease per account.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from msgkit.contracts.ids import new_id
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import STORE_ERRORS, Database, DuplicateKeyError, ReturnDocument, StoreUnavailable

log = get_logger(__name__)

_GIVE_BACK_WITHIN_S = 2.0
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each part of holding a lease takes, in seconds."""

    expires_after_s: float = 30.0
    renew_every_s: float = 5.0
    lost_after_s: float = 15.0
    """Without a renewal for so long we stop, long before another may start: stopping takes time too."""
    claim_every_s: float = 2.0
    """How often one who waits looks whether the lease is free."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One holding of a name, from its claim to its release.

    `fence` is higher with every new holder: write it with what must not be overwritten by an older one.
    """

    name: str
    token: str
    fence: int


_PATIENCE = Patience()


class LeaseLost(Exception):
    """It could not be renewed in time, or somebody else holds it: the work was cancelled."""


class Leases:
    """The leases of one service, as one replica sees them.

    Args:
        database: of the service.
        holder: name of this replica, for people who look; a restarted replica of the same name waits too.
        patience: the same for all replicas.
    """

    def __init__(self, database: Database, holder: str, patience: Patience = _PATIENCE) -> None:
        self._leases = database["leases"]
        self._holder = holder
        self._patience = patience

    async def keep(self, name: str, work: Callable[[Lease], Awaitable[None]]) -> None:
        """Run `work` whenever we hold the lease; returns when `work` does.

        It is cancelled when the lease is lost and started anew when we hold it again. Cancelling `keep`
        cancels the work, waits for its end and gives the lease back.
        """
        while True:
            try:
                async with self.hold(name) as lease:
                    await work(lease)
                    return
            except LeaseLost:
                log.warning("lease_lost", lease=name)

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Lease]:
        """Wait until the lease is ours, hold it through the block, then give it back.

        Raises:
            LeaseLost: the block was cancelled because the lease could not be kept.
        """
        asked_at, lease = await self._wait_for(name)
        log.info("lease_held", lease=name, fence=lease.fence)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A lease is held by a task: call this from a coroutine that runs in one.")
        cancelled_before = task.cancelling()
        lost = ended = False

        def on_renewing_ended(_: asyncio.Task[None]) -> None:
            nonlocal lost
            if not ended:
                lost = True
                task.cancel()

        renewing = asyncio.create_task(self._renew_for_ever(lease, asked_at), name=f"lease {name}")
        renewing.add_done_callback(on_renewing_ended)
        try:
            yield lease
        except BaseException as exc:
            # As asyncio.timeout does: only what we asked for ends here, a cancellation from outside goes on.
            only_ours = lost and task.uncancel() <= cancelled_before
            if only_ours and isinstance(exc, asyncio.CancelledError):
                raise LeaseLost(name) from exc
            raise
        else:
            if lost:
                task.uncancel()
        finally:
            ended = True
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            # Also under cancellation: the next one may start at once instead of after the expiry.
            await asyncio.shield(self._give_back(lease))

    async def claim(self, name: str) -> Lease | None:
        """Take the lease if nobody has it.

        Raises:
            StoreUnavailable: MongoDB does not answer; we may hold it without knowing, until it expires.
        """
        token = new_id()
        free = {"$lte": [{"$ifNull": ["$expires_at", _NEVER]}, "$$NOW"]}

        def if_free(new: Any, field: str) -> dict[str, Any]:
            return {"$cond": [free, new, f"${field}"]}

        update = {
            "holder": if_free({"$literal": self._holder}, "holder"),
            "token": if_free({"$literal": token}, "token"),
            "fence": if_free({"$add": [{"$ifNull": ["$fence", 0]}, 1]}, "fence"),
            "expires_at": if_free(self._expiry(), "expires_at"),
        }
        try:
            found = await self._leases.find_one_and_update(
                {"_id": name}, [{"$set": update}], upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:
            return None  # another made the document in this moment, and with it took the lease
        except STORE_ERRORS as exc:
            raise StoreUnavailable(f"leases: {type(exc).__name__}") from exc
        return Lease(name, token, int(found["fence"])) if found["token"] == token else None

    async def renew(self, lease: Lease) -> bool:
        """Hold it for another 30 s; False when it is no longer ours.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        try:
            done = await self._leases.update_one(
                # An expired one may be renewed too, as long as nobody else has taken it.
                {"_id": lease.name, "token": lease.token},
                [{"$set": {"expires_at": self._expiry()}}],
            )
        except STORE_ERRORS as exc:
            raise StoreUnavailable(f"leases: {type(exc).__name__}") from exc
        return done.matched_count == 1

    async def release(self, lease: Lease) -> None:
        """Let the next one start at once. The document stays: its fence must go on rising.

        Raises:
            StoreUnavailable: MongoDB does not answer; the lease ends with its expiry.
        """
        try:
            await self._leases.update_one(
                {"_id": lease.name, "token": lease.token},
                {"$set": {"expires_at": _NEVER, "token": "", "holder": ""}},
            )
        except STORE_ERRORS as exc:
            raise StoreUnavailable(f"leases: {type(exc).__name__}") from exc

    async def holders(self) -> dict[str, str]:
        """Lease → the replica that holds it now; for reports and tests.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        try:
            held = {"$expr": {"$gt": ["$expires_at", "$$NOW"]}}
            rows = await self._leases.find(held, {"holder": 1}).to_list(None)
        except STORE_ERRORS as exc:
            raise StoreUnavailable(f"leases: {type(exc).__name__}") from exc
        return {str(row["_id"]): str(row["holder"]) for row in rows}

    async def _wait_for(self, name: str) -> tuple[float, Lease]:
        """The lease, and when we asked for it: it lasts at least its time from then."""
        while True:
            asked_at = time.monotonic()
            try:
                lease = await self.claim(name)
            except StoreUnavailable as exc:
                log.warning("lease_not_claimed", lease=name, reason=str(exc))
                lease = None
            if lease is not None:
                return asked_at, lease
            # Not all at the same moment: many replicas may wait for many names.
            await asyncio.sleep(self._patience.claim_every_s * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load

    async def _renew_for_ever(self, lease: Lease, renewed_at: float) -> None:
        """Returns when the lease is lost."""
        while True:
            await asyncio.sleep(self._patience.renew_every_s)
            asked_at = time.monotonic()
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + self._left(renewed_at)):
                    still_ours = await self.renew(lease)
            except (StoreUnavailable, TimeoutError) as exc:
                log.warning("lease_not_renewed", lease=lease.name, reason=str(exc) or "no answer in time")
                if self._left(renewed_at) <= 0:
                    return
                continue
            if not still_ours:
                return
            renewed_at = asked_at

    def _left(self, renewed_at: float) -> float:
        return renewed_at + self._patience.lost_after_s - time.monotonic()

    async def _give_back(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(_GIVE_BACK_WITHIN_S):
                await self.release(lease)
        except (StoreUnavailable, TimeoutError) as exc:
            log.warning("lease_not_given_back", lease=lease.name, reason=str(exc) or "no answer in time")

    def _expiry(self) -> dict[str, Any]:
        return {"$add": ["$$NOW", self._patience.expires_after_s * 1000]}
