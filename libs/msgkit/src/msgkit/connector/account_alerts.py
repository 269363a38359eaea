"""What a messenger says of an account itself, kept with it: restricted, banned, all is well again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import Account, AccountAlert
from msgkit.connector.reach import store_reached
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import Database, Document

log = get_logger(__name__)

_CAN_BREAK: Document = {
    # As for refused credentials: what was never finished expires, what is off stays off.
    "$or": [{"state": {"$in": ["active", "disconnected"]}}, {"state": "pending", "was_active": True}]
}


class AccountAlerts:
    """The last alert of each account, by the messenger's clock; part of the collection `accounts`."""

    def __init__(self, database: Database, accounts: AccountStore, clock: Clock = utc_now) -> None:
        self._collection = database["accounts"]
        self._accounts = accounts
        self._clock = clock
        self._listeners: list[Callable[[str], None]] = []

    def on_alert(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the channel id after each alert this process kept."""
        self._listeners.append(listener)

    async def take(self, account: Account, alerts: Sequence[AccountAlert]) -> None:
        """Keep the newest of these; of one second the last. An older one than what is known has no effect.

        Only that one: a ban lifted by the same webhook would disconnect the account with every repeat.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        alert = sorted(alerts, key=lambda one: one.happened_at)[-1]
        if not await self._kept(account.channel_id, alert):
            log.info("account_alert_is_older", channel_id=account.channel_id)
            return
        log.warning(
            "account_alert",
            channel_id=account.channel_id,
            is_problem=alert.problem is not None,
            is_disconnected=alert.is_disconnected,
        )
        self._accounts.forget(account.channel_id)
        for listener in self._listeners:
            listener(account.channel_id)

    async def overcome(self, channel_id: str) -> None:
        """A person says that the account works again: what was said of it until now does not count any more.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        # Messengers tell whole seconds: what comes in this second is news.
        now = self._clock().replace(microsecond=0)
        with store_reached("accounts"):
            await self._collection.update_one(
                {"_id": channel_id, "alert.problem": {"$type": "string"}},
                {"$set": {"alert": None, "alerted_at": now}},
            )
        self._accounts.forget(channel_id)

    async def _kept(self, channel_id: str, alert: AccountAlert) -> bool:
        is_newer: Document = {"$or": [{"alerted_at": None}, {"alerted_at": {"$lte": alert.happened_at}}]}
        kept = {"problem": alert.problem, "is_disconnected": alert.is_disconnected}
        with store_reached("accounts"):
            written = await self._collection.update_one(
                {"_id": channel_id, **is_newer},
                {"$set": {"alert": kept, "alerted_at": alert.happened_at}},
            )
            if written.matched_count and alert.problem is not None and alert.is_disconnected:
                # Apart from the first write on purpose: a crash between them is mended by the repeat.
                broken: Document = {"state": "disconnected", "problem": alert.problem}
                await self._collection.update_one(
                    {"_id": channel_id, "alert": kept, **_CAN_BREAK},
                    {"$set": broken | {"updated_at": self._clock()}},
                )
        return bool(written.matched_count)
