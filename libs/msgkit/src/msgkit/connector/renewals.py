"""Renews credentials that end by themselves: daily, by the owner of the channel, before they end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from msgkit.connector.accounts import AccountStore
from msgkit.connector.channel_work import NET_S, ChannelWork
from msgkit.connector.contract import Account, RenewsCredentials
from msgkit.connector.errors import (
    PROVIDER_ERRORS,
    CredentialsInvalid,
    MessageRejected,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.reach import store_reached
from msgkit.runtime import metrics
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger, register_secret
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import Database, Document, StoreUnavailable

log = get_logger(__name__)

EVERY = timedelta(days=1)
AGAIN_AFTER = timedelta(hours=1)
"""After a call nobody knows the end of: longer than any call takes, so two never renew at once."""
CALL_S = 60.0
_THROTTLE_MAX_S = 24 * 3600.0
_STORE_PAUSE_S = 1.0


class RenewalStore:
    """When the credentials of each account are due: part of the collection `accounts`."""

    def __init__(self, database: Database, accounts: AccountStore, clock: Clock = utc_now) -> None:
        self._collection = database["accounts"]
        self._accounts = accounts
        self._clock = clock

    async def due(self) -> list[str]:
        """The channels whose credentials should be looked after now.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            rows = await self._collection.find(self._is_due(), {"_id": 1}).to_list(None)
        return [str(row["_id"]) for row in rows]

    async def claim(self, channel_id: str) -> Account | None:
        """Take the turn of this account, and the account as it is now; None if there is none.

        Raises:
            StoreUnavailable: MongoDB does not answer.
            EnvelopeInvalid: its secrets do not open.
        """
        with store_reached("accounts"):
            document: Document | None = await self._collection.find_one_and_update(
                {"_id": channel_id, **self._is_due()},
                {"$set": {"renew_at": self._clock() + AGAIN_AFTER}},
            )
        return None if document is None else self._accounts.opened(document)

    async def settle(self, account: Account, after: timedelta, problem: str | None) -> None:
        """Nothing is new: look again after so long. `problem` is for the administrator.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        change: Document = {"renew_at": self._clock() + after, "renewal_problem": problem}
        with store_reached("accounts"):
            await self._collection.update_one(
                {"_id": account.channel_id, "credentials_rev": account.credentials_rev}, {"$set": change}
            )
        self._accounts.changed(account.channel_id)

    async def keep(self, account: Account, credentials: Mapping[str, str]) -> bool:
        """Store new credentials in place of exactly those of `account`; False if somebody gave others.

        Raises:
            StoreUnavailable: not confirmed.
        """
        change: Document = {
            "credentials": self._accounts.sealed(account, credentials),
            "renew_at": self._clock() + EVERY,
            "renewed_at": self._clock(),
            "renewal_problem": None,
        }
        with store_reached("accounts"):
            written = await self._collection.update_one(
                {"_id": account.channel_id, "credentials_rev": account.credentials_rev},
                {"$set": change, "$inc": {"credentials_rev": 1}},
            )
        self._accounts.changed(account.channel_id)
        return bool(written.matched_count)

    def _is_due(self) -> Document:
        return {"state": "active", "$or": [{"renew_at": None}, {"renew_at": {"$lte": self._clock()}}]}


class Renewals:
    """The credentials of the channels this replica owns."""

    def __init__(
        self,
        *,
        connector: RenewsCredentials,
        store: RenewalStore,
        accounts: AccountStore,
        membership: Membership,
        every_s: float = NET_S,
    ) -> None:
        """
        Args:
            every_s: seconds between two looks for accounts that are due.
        """
        self._connector = connector
        self._store = store
        self._accounts = accounts
        self._work = ChannelWork("renewals", membership, due=store.due, serve=self._renew, every_s=every_s)
        self.run = self._work.run
        self.drain = self._work.drain

    async def _renew(self, channel_id: str) -> None:
        account = await self._store.claim(channel_id)
        if account is None:
            return
        outcome = await self._outcome(account)
        metrics.renewals_total.labels(kind=account.kind, outcome=outcome).inc()
        log.info("credentials_renewal", channel_id=channel_id, outcome=outcome)

    async def _outcome(self, account: Account) -> str:
        """What became of it, in one word for the counter."""
        try:
            async with asyncio.timeout(CALL_S):
                renewed = await self._connector.renew(account)
        except PROVIDER_ERRORS as exc:
            return await self._put_off(account, exc)
        except TimeoutError:
            return "silent"
        except Exception:
            # A bug of the connector must not end the service.
            log.exception("renewal_failed", channel_id=account.channel_id)
            return "failed"
        if renewed is None:
            await self._store.settle(account, EVERY, None)
            return "not_yet"
        for value in renewed.values():
            register_secret(value)
        return "renewed" if await self._kept(account, renewed) else "overtaken"

    async def _put_off(self, account: Account, exc: Exception) -> str:
        match exc:
            case CredentialsInvalid():
                await self._accounts.refused(account, exc.text)
                await self._store.settle(account, EVERY, None)
                return "refused"
            case MessageRejected() | RecipientUnreachable():
                # They work for now; an administrator has until they end.
                await self._store.settle(account, EVERY, exc.text)
                return "refused"
            case Throttled():
                after = timedelta(seconds=min(exc.retry_after_seconds, _THROTTLE_MAX_S))
                await self._store.settle(account, after, account.renewal_problem)
                return "throttled"
            case _:
                return "silent"  # the claim is over in AGAIN_AFTER

    async def _kept(self, account: Account, renewed: Mapping[str, str]) -> bool:
        """Repeated until it is stored: only we know them."""
        while True:
            try:
                return await self._store.keep(account, renewed)
            except StoreUnavailable as exc:
                log.warning("renewed_credentials_not_stored_yet", reason=str(exc))
                await asyncio.sleep(_STORE_PAUSE_S)
