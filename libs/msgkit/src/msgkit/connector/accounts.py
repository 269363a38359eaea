"""Connected accounts with their secrets: stored sealed, opened into `Account`, cached for seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from msgkit.connector.contract import Account, AccountState
from msgkit.connector.credentials import Keyring
from msgkit.connector.reach import store_reached
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import register_secret
from msgkit.runtime.mongo import Database, Document, DuplicateKeyError

CACHE_SECONDS = 3.0
"""How long another replica's change may stay unseen."""
PENDING_KEPT = timedelta(minutes=10)
"""A creation that stopped half-way is removed after this; nothing was registered with the messenger yet."""
_NEVER_ACTIVE: Document = {"state": "pending", "was_active": {"$ne": True}}

_SECRET = "webhook_secret"  # noqa: S105 - the name of a field


class AlreadyConnected(Exception):
    """Another channel, of this or another tenant, holds this account."""


class AccountStore:
    """The accounts of one ingest service."""

    def __init__(self, database: Database, keyring: Keyring, clock: Clock = utc_now) -> None:
        self._accounts = database["accounts"]
        self._keyring = keyring
        self._clock = clock
        self._cache: dict[str, tuple[float, Account | None]] = {}
        self._listeners: list[Callable[[str], None]] = []

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            # Over all tenants: one account of a messenger has one webhook, hence one owner.
            await self._accounts.create_index([("kind", 1), ("account_id", 1)], unique=True)

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the channel id after each change made by this process."""
        self._listeners.append(listener)

    async def get(self, channel_id: str) -> Account | None:
        """The account as it was at most CACHE_SECONDS ago.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        cached = self._cache.get(channel_id)
        if cached is not None and time.monotonic() < cached[0]:
            return cached[1]
        account = await self.load(channel_id)
        if account is None:
            self._cache.pop(channel_id, None)  # unknown ids are not kept: anybody may invent them
        else:
            self._cache[channel_id] = (time.monotonic() + CACHE_SECONDS, account)
        return account

    async def load(self, channel_id: str) -> Account | None:
        """The account as it is now.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            document = await self._accounts.find_one({"_id": channel_id})
        return None if document is None else self._opened(document)

    async def save(self, account: Account) -> None:
        """Store a new account or new credentials of a known one.

        Raises:
            AlreadyConnected: the account belongs to another channel.
            StoreUnavailable: MongoDB does not answer.
        """
        now = self._clock()
        sealed = {
            name: self._keyring.seal(
                value, tenant_id=account.tenant_id, channel_id=account.channel_id, field=name
            )
            for name, value in account.credentials.items()
        }
        secret = self._keyring.seal(
            account.webhook_secret, tenant_id=account.tenant_id, channel_id=account.channel_id, field=_SECRET
        )
        change: Document = {
            "$set": {
                "kind": account.kind,
                "account_id": account.account_id,
                "account_name": account.account_name,
                "api_base": account.api_base,
                "credentials": sealed,
                _SECRET: secret,
                "state": account.state,
                "problem": account.problem,
                "updated_at": now,
            },
            "$setOnInsert": {"created_at": now, "paused_until": None},
        }
        try:
            await self._write(account, change)
        except DuplicateKeyError as exc:
            if not await self._gave_way(account):
                raise AlreadyConnected(account.channel_id) from exc
            try:
                await self._write(account, change)
            except DuplicateKeyError as again:
                raise AlreadyConnected(account.channel_id) from again
        self._changed(account.channel_id)

    async def _write(self, account: Account, change: Document) -> None:
        with store_reached("accounts"):
            await self._accounts.update_one(
                {"_id": account.channel_id, "tenant_id": account.tenant_id}, change, upsert=True
            )

    async def _gave_way(self, account: Account) -> bool:
        """A creation of the same tenant that stopped half-way must not stand in the way of the next try."""
        with store_reached("accounts"):
            removed = await self._accounts.delete_one(
                {
                    **_NEVER_ACTIVE,
                    "kind": account.kind,
                    "account_id": account.account_id,
                    "tenant_id": account.tenant_id,
                    "_id": {"$ne": account.channel_id},
                }
            )
        return bool(removed.deleted_count)

    async def set_state(self, channel_id: str, state: AccountState, problem: str | None) -> None:
        """Say how the account stands.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        change: Document = {"state": state, "problem": problem, "updated_at": self._clock()}
        if state == "active":
            change["was_active"] = True
        with store_reached("accounts"):
            await self._accounts.update_one({"_id": channel_id}, {"$set": change})
        self._changed(channel_id)

    async def pause(self, channel_id: str, until: datetime) -> None:
        """Send nothing before `until`, also after a restart.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            await self._accounts.update_one({"_id": channel_id}, {"$max": {"paused_until": until}})
        self._changed(channel_id)

    async def remove(self, channel_id: str) -> None:
        """Forget the account and its secrets.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            await self._accounts.delete_one({"_id": channel_id})
        self._changed(channel_id)

    async def remove_abandoned(self) -> int:
        """Remove creations that stopped half-way long ago; returns how many.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            result = await self._accounts.delete_many(
                {**_NEVER_ACTIVE, "updated_at": {"$lt": self._clock() - PENDING_KEPT}}
            )
        return int(result.deleted_count)

    def _changed(self, channel_id: str) -> None:
        self._cache.pop(channel_id, None)
        for listener in self._listeners:
            listener(channel_id)

    def _opened(self, document: Document) -> Account:
        channel_id, tenant_id = str(document["_id"]), str(document["tenant_id"])

        def opened(envelope: str, field: str) -> str:
            secret = self._keyring.open(envelope, tenant_id=tenant_id, channel_id=channel_id, field=field)
            register_secret(secret)
            return secret

        return Account(
            channel_id=channel_id,
            tenant_id=tenant_id,
            kind=document["kind"],
            account_id=document["account_id"],
            account_name=document["account_name"],
            api_base=document["api_base"],
            state=document["state"],
            problem=document["problem"],
            paused_until=document["paused_until"],
            credentials={name: opened(value, name) for name, value in document["credentials"].items()},
            webhook_secret=opened(document[_SECRET], _SECRET),
        )
