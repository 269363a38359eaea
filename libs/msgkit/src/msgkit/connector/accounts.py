"""Connected accounts with their secrets: stored sealed, opened into `Account`, cached for seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from msgkit.connector.account_seal import PREVIOUS, SECRET, AccountSeal
from msgkit.connector.contract import Account, AccountState
from msgkit.connector.credentials import EnvelopeInvalid, Keyring
from msgkit.connector.reach import store_reached
from msgkit.contracts.internal_api import AccountSettings
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import Database, Document, DuplicateKeyError, keep_index

log = get_logger(__name__)

CACHE_SECONDS = 3.0
"""How long another replica's change may stay unseen."""
PENDING_KEPT = timedelta(minutes=10)
"""A creation that stopped half-way is removed after this."""
STEP_KEPT = timedelta(seconds=30)
"""Longer than any step of a change takes, so that one under way is not finished by somebody else."""
PREVIOUS_SECRET_KEPT = timedelta(minutes=10)
"""How long the old webhook secret holds after the messenger took the new one: what is on its way has it."""
FAREWELL_KEPT = timedelta(days=2)
"""How long we try to take our webhook away from an account that was removed; Telegram repeats for a day."""
_NEVER_ACTIVE: Document = {"state": "pending", "was_active": {"$ne": True}}


class AlreadyConnected(Exception):
    """Another channel, of this or another tenant, holds this account."""


@dataclass(frozen=True, slots=True)
class KnownAs:
    """Whom the names of a webhook of a whole app mean."""

    accounts: Mapping[str, tuple[Account, ...]]
    """Name → accounts. A name that nobody has is missing."""
    sealed: frozenset[str] = frozenset()
    """Names of accounts whose secrets do not open now: what is for them must come again."""


class AccountStore:
    """The accounts of one ingest service."""

    def __init__(self, database: Database, keyring: Keyring, clock: Clock = utc_now) -> None:
        self._accounts = database["accounts"]
        self._farewells = database["account_farewells"]
        self._seal = AccountSeal(keyring, clock)
        self._clock = clock
        self._cache: dict[str, tuple[float, Account]] = {}
        self._known_as: dict[tuple[str, str], tuple[float, tuple[Account, ...]]] = {}
        self._listeners: list[Callable[[str], None]] = []

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            # Over all tenants: one account of a messenger has one webhook, hence one owner.
            await keep_index(self._accounts, [("kind", 1), ("account_id", 1)], unique=True)
            await keep_index(self._accounts, [("kind", 1), ("also_known_as", 1)])

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the channel id after each change made by this process."""
        self._listeners.append(listener)

    # --- reading

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

    def opened(self, document: Document) -> Account:
        """A stored account with its secrets.

        Raises:
            EnvelopeInvalid: a secret does not open: another key, or it was changed.
        """
        return self._seal.opened(document)

    def sealed(self, account: Account, credentials: Mapping[str, str]) -> dict[str, str]:
        """Credentials as they may be stored with this account only."""
        return {name: self._seal.sealed(account, value, name) for name, value in credentials.items()}

    async def known_as(self, kind: str, names: Collection[str]) -> KnownAs:
        """The accounts a messenger may mean by these names, as they were at most CACHE_SECONDS ago.

        Args:
            kind: of the messenger.
            names: each an `account_id`, or an `also_known_as`, which several accounts may share.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        now = time.monotonic()
        found: dict[str, tuple[Account, ...]] = {}
        for name in names:
            expires, accounts = self._known_as.get((kind, name), (0.0, ()))
            if now < expires:
                found[name] = accounts
        missing = [name for name in names if name not in found]
        if not missing:
            return KnownAs(found)
        one_of = {"$in": missing}
        with store_reached("accounts"):
            documents = await self._accounts.find(
                {"kind": kind, "$or": [{"account_id": one_of}, {"also_known_as": one_of}]}
            ).to_list(None)
        opened = self._opened(documents)
        sealed = {
            name
            for document in documents
            if str(document["_id"]) not in {account.channel_id for account in opened}
            for name in (document["account_id"], *document.get("also_known_as", ()))
        }
        for name in missing:
            meant = tuple(account for account in opened if account.is_meant_by(name))
            if meant:
                found[name] = meant
            # Unknown ones are not kept: the account may be connected the next moment.
            if meant and name not in sealed:
                self._known_as[kind, name] = (time.monotonic() + CACHE_SECONDS, meant)
        return KnownAs(found, frozenset(sealed.intersection(missing)))

    def _opened(self, documents: Iterable[Document]) -> list[Account]:
        """Those that open. One account's lost key must stop nobody else's work."""
        found = []
        for document in documents:
            try:
                found.append(self.opened(document))
            except EnvelopeInvalid as exc:
                log.critical("account_secrets_do_not_open", channel_id=str(document["_id"]), reason=str(exc))
        return found

    async def load(self, channel_id: str) -> Account | None:
        """The account as it is now.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            document = await self._accounts.find_one({"_id": channel_id})
        return None if document is None else self._seal.opened(document)

    async def channel_ids(self) -> list[str]:
        """The channels of all accounts.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            return [str(row["_id"]) for row in await self._accounts.find({}, {"_id": 1}).to_list(None)]

    async def active_bases(self) -> dict[str, str | None]:
        """Channel → address of the API, of all active accounts; without opening their secrets.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            rows = await self._accounts.find({"state": "active"}, {"api_base": 1}).to_list(None)
        return {str(row["_id"]): row["api_base"] for row in rows}

    # --- connecting

    async def save(self, account: Account) -> None:
        """Store a new account, or new credentials of a known one; a known one keeps its webhook secret.

        Raises:
            AlreadyConnected: the account belongs to another channel.
            StoreUnavailable: MongoDB does not answer.
        """
        now = self._clock()
        seal = self._seal.sealed
        change: Document = {
            "$set": {
                "kind": account.kind,
                "account_id": account.account_id,
                "account_name": account.account_name,
                "also_known_as": list(account.also_known_as),
                "api_base": account.api_base,
                "credentials": self.sealed(account, account.credentials),
                "state": account.state,
                "problem": account.problem,
                "renewal_problem": None,
                "renew_at": None,
                "updated_at": now,
            },
            "$setOnInsert": {
                "created_at": now,
                "paused_until": None,
                SECRET: seal(account, account.webhook_secret, SECRET),
            },
            "$inc": {"credentials_rev": 1},
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
        self.changed(account.channel_id)

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

    # --- how it stands

    async def set_state(self, channel_id: str, state: AccountState, problem: str | None) -> bool:
        """Say how the account stands; False if there is no such account (any more).

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        now = self._clock()
        change: Document = {"state": state, "problem": {"$literal": problem}, "updated_at": now}
        if state == "active":
            change |= {"was_active": True, "webhook_left": False, "heard_since": _heard_since(now)}
        with store_reached("accounts"):
            result = await self._accounts.update_one({"_id": channel_id}, [{"$set": change}])
        self.changed(channel_id)
        return bool(result.matched_count)

    async def disable(self, channel_id: str) -> bool:
        """Switch it off. `webhook_left` stands until the messenger was told; False: no such account.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        change: Document = {"state": "disabled", "problem": None, "webhook_left": True}
        return await self._set(channel_id, change | {"was_active": True, "updated_at": self._clock()})

    async def webhook_gone(self, channel_id: str) -> None:
        """The messenger was told that a disabled account takes no webhooks.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        await self._set(channel_id, {"webhook_left": False}, only={"state": "disabled"})

    async def keep_settings(self, channel_id: str, settings: AccountSettings) -> bool:
        """Remember what the messenger was told of the tenant's decisions; False: no such account.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        return await self._set(channel_id, {"settings": settings.model_dump(mode="json")})

    async def refused(self, account: Account, problem: str) -> bool:
        """The messenger refused these credentials; False if there are newer ones, or the account is off.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        only: Document = {
            "credentials_rev": account.credentials_rev,
            # A creation that was never finished stays one, so that it expires.
            "$or": [{"state": {"$in": ["active", "disconnected"]}}, {"state": "pending", "was_active": True}],
        }
        change: Document = {"state": "disconnected", "problem": problem, "updated_at": self._clock()}
        return await self._set(account.channel_id, change, only=only)

    async def pause(self, channel_id: str, until: datetime) -> None:
        """Send nothing before `until`, also after a restart.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            await self._accounts.update_one({"_id": channel_id}, {"$max": {"paused_until": until}})
        self.changed(channel_id)

    # --- the webhook's secret

    async def begin_rotation(self, account: Account, secret: str) -> Account | None:
        """Accept a new secret beside the old one; one that was begun before goes on. None: account is gone.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        begun: Document = {
            PREVIOUS: f"${SECRET}",
            SECRET: {"$literal": self._seal.sealed(account, secret, SECRET)},
            "is_rotating": True,
            "updated_at": self._clock(),
        }
        with store_reached("accounts"):
            await self._accounts.update_one(
                {"_id": account.channel_id, "is_rotating": {"$ne": True}}, [{"$set": begun}]
            )
        self.changed(account.channel_id)
        return await self.load(account.channel_id)

    async def end_rotation(self, account: Account) -> None:
        """The messenger has the new secret; the old one holds for PREVIOUS_SECRET_KEPT.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        change: Document = {"is_rotating": False, "previous_until": self._clock() + PREVIOUS_SECRET_KEPT}
        await self._set(account.channel_id, change, only={"is_rotating": True})

    # --- removing

    async def remove(self, account: Account, *, webhook_left: bool) -> None:
        """Forget the account. With `webhook_left` its secrets stay until the messenger was told.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            if webhook_left:
                document = await self._accounts.find_one({"_id": account.channel_id})
                if document is not None:
                    await self.keep_farewell(document)
            await self._accounts.delete_one({"_id": account.channel_id})
        self.changed(account.channel_id)

    async def keep_farewell(self, document: Mapping[str, Any]) -> None:
        """Remember that the messenger must be told that an account went."""
        await self._farewells.replace_one(
            {"_id": document["_id"]}, {**document, "left_at": self._clock()}, upsert=True
        )

    async def farewells(self) -> list[Account]:
        """Accounts that went while the messenger could not be told; those of another channel now are dropped.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        waiting = []
        with store_reached("accounts"):
            await self._farewells.delete_many({"left_at": {"$lt": self._clock() - FAREWELL_KEPT}})
            for document in await self._farewells.find({}).to_list(None):
                same = {"kind": document["kind"], "account_id": document["account_id"]}
                there = await self._accounts.find_one(same, {"_id": 1})
                if there is None:
                    waiting.append(document)
                elif there["_id"] != document["_id"]:
                    await self._farewells.delete_one({"_id": document["_id"]})
                # Else it is just being removed: the farewell is written first.
        return self._opened(waiting)

    async def said_farewell(self, channel_id: str) -> None:
        """The messenger knows, or never will.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            await self._farewells.delete_one({"_id": channel_id})

    async def abandoned(self) -> list[Account]:
        """Creations that stopped half-way long ago.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("accounts"):
            found = await self._accounts.find(
                {**_NEVER_ACTIVE, "updated_at": {"$lt": self._clock() - PENDING_KEPT}}
            ).to_list(None)
        return self._opened(found)

    async def _set(self, channel_id: str, change: Document, only: Document | None = None) -> bool:
        with store_reached("accounts"):
            result = await self._accounts.update_one({"_id": channel_id, **(only or {})}, {"$set": change})
        self.changed(channel_id)
        return bool(result.matched_count)

    def forget(self, channel_id: str) -> None:
        """What is remembered of it is old."""
        self._cache.pop(channel_id, None)
        self._known_as.clear()  # which names it had or has now is not worth finding out

    def changed(self, channel_id: str) -> None:
        """Somebody of this process wrote to it."""
        self.forget(channel_id)
        for listener in self._listeners:
            listener(channel_id)


def _heard_since(now: datetime) -> Document:
    """When it was switched on: what clients wrote before is not for us. Being disconnected ends nothing."""
    was_on = {"$and": [{"$eq": ["$was_active", True]}, {"$ne": ["$state", "disabled"]}]}
    return {"$cond": [was_on, {"$ifNull": ["$heard_since", "$created_at"]}, now]}
