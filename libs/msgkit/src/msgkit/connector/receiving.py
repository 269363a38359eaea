"""How updates of an account come to us, by webhook or by polling: chosen, registered and checked here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from msgkit.connector.contract import Account, ConnectionReport, Connector, Polls
from msgkit.connector.reach import store_reached
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.mongo import Database, Document, DuplicateKeyError

Way = Literal["webhook", "polling"]
Choice = Literal["auto", "webhook", "polling"]

SILENT_AFTER = timedelta(minutes=3)
"""A poll comes back at least every half minute; after this nobody polls."""
_SILENT = (
    "Повідомлення цього каналу зараз ніхто не забирає. Перевірте, чи працює сервіс месенджера, "
    "і підключіть канал знову."
)


@dataclass(frozen=True, slots=True)
class PollState:
    """How far the polling of one account got."""

    position: str | None
    problem: str | None
    polled_at: datetime


class PollStore:
    """The collection `polling` of one ingest service: positions that survive a crash."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._polling = database["polling"]
        self._clock = clock

    async def load(self, channel_id: str) -> PollState | None:
        """Where the polling stands; None if this account was never polled.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("polling"):
            found = await self._polling.find_one({"_id": channel_id})
        if found is None:
            return None
        return PollState(found["position"], found.get("problem"), found["polled_at"])

    async def begin(self, channel_id: str) -> None:
        """Polling was just made possible: trouble of before no longer counts, the position stays.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        fresh: Document = {"problem": None, "polled_at": self._clock()}
        with store_reached("polling"):
            await self._polling.update_one(
                {"_id": channel_id}, {"$set": fresh, "$setOnInsert": {"position": None}}, upsert=True
            )

    async def advance(self, channel_id: str, old: str | None, new: str | None, *, is_well: bool) -> bool:
        """Write that everything before `new` is durable; False if somebody else polls this account.

        Args:
            is_well: trouble of before is over.

        Raises:
            StoreUnavailable: not confirmed; the messenger must not be told to forget.
        """
        change: Document = {"position": new, "polled_at": self._clock()}
        if is_well:
            change["problem"] = None
        try:
            with store_reached("polling"):
                written = await self._polling.update_one(
                    # `new` too: a write that was not confirmed may have been done.
                    {"_id": channel_id, "position": {"$in": [old, new]}},
                    {"$set": change},
                    upsert=True,
                )
        except DuplicateKeyError:
            return False
        return bool(written.matched_count or written.upserted_id)

    async def trouble(self, channel_id: str, problem: str) -> None:
        """Tell the administrator why nothing comes in.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("polling"):
            await self._polling.update_one(
                {"_id": channel_id},
                {
                    "$set": {"problem": problem, "polled_at": self._clock()},
                    "$setOnInsert": {"position": None},
                },
                upsert=True,
            )

    async def forget(self, channel_id: str) -> None:
        """The account is gone.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("polling"):
            await self._polling.delete_one({"_id": channel_id})


class Receiving:
    """Chooses the way of each account and speaks to the connector accordingly."""

    def __init__(
        self,
        *,
        connector: Connector[Any],
        polls: PollStore,
        public_url: str,
        choice: Choice = "auto",
        clock: Clock = utc_now,
    ) -> None:
        self._connector = connector
        self._polls = polls
        self._choice = choice
        self._reachable = public_url.lower().startswith("https://")
        self._clock = clock

    def way(self, api_base: str | None) -> Way:
        """How updates of an account with this address of the API come in.

        An address from the allow-list is a messenger near us, which reaches us without https.
        """
        if self._choice == "webhook" or not isinstance(self._connector, Polls):
            return "webhook"
        if self._choice == "polling":
            return "polling"
        return "webhook" if self._reachable or api_base is not None else "polling"

    async def connect(self, account: Account, webhook_url: str) -> None:
        """Make updates come in, idempotently.

        Raises:
            StoreUnavailable: MongoDB does not answer.
            Exception: the errors of `errors.py`.
        """
        if self.way(account.api_base) == "webhook" or not isinstance(self._connector, Polls):
            await self._connector.connect(account, webhook_url)
            await self._polls.forget(account.channel_id)
            return
        await self._connector.prepare_polling(account)
        await self._polls.begin(account.channel_id)

    async def forget(self, channel_id: str) -> None:
        """The account is gone.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        await self._polls.forget(channel_id)

    async def check(self, account: Account, webhook_url: str) -> ConnectionReport:
        """How the connection is doing now.

        Raises:
            StoreUnavailable: MongoDB does not answer.
            Exception: the errors of `errors.py`.
        """
        if self.way(account.api_base) == "webhook":
            return await self._connector.check(account, webhook_url)
        report = await self._connector.check(account, "")
        state = await self._polls.load(account.channel_id)
        if report.problem is not None or state is None:
            return report
        problem = state.problem
        if problem is None and self._clock() - state.polled_at > SILENT_AFTER:
            problem = _SILENT
        # Still connected: registering again would change nothing.
        return report if problem is None else replace(report, problem=problem)
