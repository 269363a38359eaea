"""MongoDB of the gateway: users, sessions, tokens, tickets, revocations, per-user settings, uploads.

Every call names the tenant, except where the caller has only a secret that decides the tenant (a login,
a refresh token, a ticket) and where a replica follows the revocations of all its sockets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gateway.schemas import Session, UserSettings
from msgkit.contracts.internal_api import UploadedFile
from msgkit.contracts.manifest import ManifestAnnounced
from msgkit.contracts.words import MessageKind
from msgkit.runtime.mongo import (
    ASCENDING,
    STORE_ERRORS,
    Database,
    Document,
    DuplicateKeyError,
    ReturnDocument,
    StoreUnavailable,
    keep_index,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Tenant:
    id: str
    title: str


@dataclass(frozen=True, slots=True)
class User:
    id: str
    tenant_id: str
    login: str
    name: str
    password_hash: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What is known about a presented refresh token."""

    sid: str
    tenant_id: str
    user_id: str
    retired_at: datetime | None
    session_expires_at: datetime


@dataclass(frozen=True, slots=True)
class Revocation:
    """A session, or everything a user was given until `at`, is worth nothing any more."""

    tenant_id: str
    sid: str | None
    user_id: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Upload:
    """A file somebody has brought for an answer; measures as found, not as claimed."""

    id: str
    tenant_id: str
    user_id: str
    key: str
    thumb_key: str | None
    kind: MessageKind
    name: str
    mime: str
    size_bytes: int
    width: int | None
    height: int | None
    duration_s: float | None

    def as_file(self) -> UploadedFile:
        return UploadedFile(
            upload_id=self.id,
            key=self.key,
            thumb_key=self.thumb_key,
            kind=self.kind,
            name=self.name,
            mime=self.mime,
            size_bytes=self.size_bytes,
            width=self.width,
            height=self.height,
            duration_s=self.duration_s,
        )


class LoginTaken(Exception):
    """Two users claim one login name."""


class Store:
    def __init__(self, database: Database) -> None:
        self._tenants = database["tenants"]
        self._users = database["users"]
        self._sessions = database["sessions"]
        self._refresh = database["refresh_tokens"]
        self._tickets = database["ws_tickets"]
        self._revocations = database["revocations"]
        self._settings = database["user_settings"]
        self._attempts = database["login_attempts"]
        self._manifests = database["manifests"]
        self._uploads = database["uploads"]

    async def prepare(self) -> None:
        """Indexes; repeated without effect."""
        with _reachable():
            await keep_index(self._users, [("tenant_id", ASCENDING), ("user_id", ASCENDING)], unique=True)
            await keep_index(self._users, "login", unique=True)
            await keep_index(self._settings, [("tenant_id", ASCENDING), ("user_id", ASCENDING)], unique=True)
            await keep_index(self._revocations, "at")
            for collection in (
                self._sessions, self._refresh, self._tickets, self._revocations, self._attempts
            ):  # fmt: skip
                await keep_index(collection, "expires_at", expireAfterSeconds=0)
            # Only what was sent goes by itself: the objects of the others have to be removed with them.
            await keep_index(self._uploads, "forget_at", expireAfterSeconds=0)
            await keep_index(self._uploads, "ends_at")

    # Connectors

    async def keep_manifest(self, announced: ManifestAnnounced) -> None:
        """Remember what a connector said of itself; JSON text, since its schema has keys MongoDB minds."""
        kind = announced.manifest.kind
        with _reachable():
            await self._manifests.replace_one(
                {"_id": kind}, {"_id": kind, "announced": announced.model_dump_json()}, upsert=True
            )

    async def manifests(self) -> list[ManifestAnnounced]:
        """What connectors said before this start, in words we still understand."""
        with _reachable():
            texts = [doc["announced"] async for doc in self._manifests.find({})]
        found = []
        for text in texts:
            with suppress(ValidationError):
                found.append(ManifestAnnounced.model_validate_json(text))
        return found

    # Tenants and users

    async def put_tenant(self, tenant: Tenant) -> None:
        with _reachable():
            await self._tenants.replace_one(
                {"_id": tenant.id}, {"_id": tenant.id, "title": tenant.title}, upsert=True
            )

    async def tenant(self, tenant_id: str) -> Tenant:
        """A tenant unknown to the embedded login (a CRM's own) has its id as title."""
        found = await _get(self._tenants.find_one({"_id": tenant_id}))
        return Tenant(tenant_id, tenant_id if found is None else found["title"])

    async def tenant_ids(self) -> frozenset[str]:
        with _reachable():
            return frozenset([doc["_id"] async for doc in self._tenants.find({}, {"_id": 1})])

    async def put_user(self, user: User) -> None:
        """
        Raises:
            LoginTaken: somebody else has this login name.
        """
        document = {
            "tenant_id": user.tenant_id,
            "user_id": user.id,
            "login": user.login,
            "name": user.name,
            "password_hash": user.password_hash,
            "roles": list(user.roles),
        }
        with _reachable():
            try:
                await self._users.replace_one(
                    {"tenant_id": user.tenant_id, "user_id": user.id}, document, upsert=True
                )
            except DuplicateKeyError as exc:
                raise LoginTaken(
                    f"The login {user.login!r} belongs to another user: choose another."
                ) from exc

    async def user_by_login(self, login: str) -> User | None:
        return _user(await _get(self._users.find_one({"login": login})))

    async def user(self, tenant_id: str, user_id: str) -> User | None:
        return _user(await _get(self._users.find_one({"tenant_id": tenant_id, "user_id": user_id})))

    async def names(self, tenant_id: str, limit: int) -> list[tuple[str, str]]:
        """(id, name) of the tenant's users, by name."""
        with _reachable():
            cursor = (
                self._users.find({"tenant_id": tenant_id}, {"user_id": 1, "name": 1})
                .sort("name")
                .limit(limit)
            )
            return [(doc["user_id"], doc["name"]) async for doc in cursor]

    async def settings(self, tenant_id: str, user_id: str) -> UserSettings:
        found = await _get(self._settings.find_one({"tenant_id": tenant_id, "user_id": user_id}))
        return UserSettings.model_validate((found or {}).get("values", {}))

    async def change_settings(self, tenant_id: str, user_id: str, values: dict[str, object]) -> UserSettings:
        """Only what `values` names is changed."""
        with _reachable():
            found = await self._settings.find_one_and_update(
                {"tenant_id": tenant_id, "user_id": user_id},
                {"$set": {f"values.{name}": value for name, value in values.items()}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return UserSettings.model_validate(found.get("values", {}))

    # Sessions

    async def open_session(self, sid: str, user: User, token_hash: str, expires_at: datetime) -> None:
        with _reachable():
            await self._sessions.insert_one(
                {"_id": sid, "tenant_id": user.tenant_id, "user_id": user.id, "expires_at": expires_at}
            )
        await self.add_refresh_token(sid, token_hash, expires_at)

    async def add_refresh_token(self, sid: str, token_hash: str, expires_at: datetime) -> None:
        with _reachable():
            await self._refresh.insert_one(
                {"_id": token_hash, "sid": sid, "retired_at": None, "expires_at": expires_at}
            )

    async def retire_refresh_token(self, token_hash: str, now: datetime) -> RefreshToken | None:
        """Use a refresh token up.

        Returns:
            What it was before: `retired_at` None means this call used it up. None for an unknown one and for
            one whose session has ended.
        """
        with _reachable():
            token = await self._refresh.find_one_and_update(
                {"_id": token_hash, "retired_at": None, "expires_at": {"$gt": now}},
                {"$set": {"retired_at": now}},
                return_document=ReturnDocument.BEFORE,
            ) or await self._refresh.find_one({"_id": token_hash, "expires_at": {"$gt": now}})
            if token is None:
                return None
            session = await self._sessions.find_one({"_id": token["sid"], "expires_at": {"$gt": now}})
        if session is None:
            return None
        return RefreshToken(
            sid=session["_id"],
            tenant_id=session["tenant_id"],
            user_id=session["user_id"],
            retired_at=token["retired_at"],
            session_expires_at=session["expires_at"],
        )

    async def session_end(self, tenant_id: str, sid: str) -> datetime | None:
        """When a session of the embedded login ends; None if it is not one of ours or has ended."""
        found = await _get(self._sessions.find_one({"_id": sid, "tenant_id": tenant_id}))
        return None if found is None else found["expires_at"]

    async def revoke(self, revocation: Revocation, keep: timedelta) -> None:
        """End a session (or all of a user's) and tell every replica.

        Args:
            keep: how long a token given out before may still be valid by itself.
        """
        with _reachable():
            # The word to the replicas first: if we fail half-way, a repeat does the rest.
            await self._revocations.insert_one(
                {
                    "tenant_id": revocation.tenant_id,
                    "sid": revocation.sid,
                    "user_id": revocation.user_id,
                    "at": revocation.at,
                    "expires_at": revocation.at + keep,
                }
            )
            if revocation.sid is not None:
                await self._sessions.delete_one({"_id": revocation.sid, "tenant_id": revocation.tenant_id})

    async def revocations_since(self, at: datetime) -> list[Revocation]:
        with _reachable():
            return [
                Revocation(doc["tenant_id"], doc["sid"], doc["user_id"], doc["at"])
                async for doc in self._revocations.find({"at": {"$gte": at}}).sort("at")
            ]

    # Tickets of sockets

    async def add_ticket(self, ticket_hash: str, session: Session, expires_at: datetime) -> None:
        """
        Args:
            session: with `expires_at` = when a socket opened by this ticket must close.
        """
        with _reachable():
            await self._tickets.insert_one(
                {
                    "_id": ticket_hash,
                    "tenant_id": session.tenant_id,
                    "user_id": session.user_id,
                    "name": session.name,
                    "roles": sorted(session.roles),
                    "sid": session.sid,
                    "issued_at": session.issued_at,
                    "until": session.expires_at,
                    "expires_at": expires_at,
                }
            )

    async def redeem_ticket(self, ticket_hash: str, now: datetime) -> Session | None:
        """The session the ticket stands for, once; None afterwards, and when it is too old."""
        found = await _get(
            self._tickets.find_one_and_delete({"_id": ticket_hash, "expires_at": {"$gt": now}})
        )
        if found is None:
            return None
        return Session(
            user_id=found["user_id"],
            tenant_id=found["tenant_id"],
            name=found["name"],
            roles=frozenset(found["roles"]),
            sid=found["sid"],
            issued_at=found["issued_at"],
            expires_at=found["until"],
        )

    # Uploads

    async def add_upload(self, upload: Upload, ends_at: datetime) -> None:
        """
        Args:
            ends_at: it cannot be used after that.
        """
        document = asdict(upload) | {"kind": upload.kind.value, "ends_at": ends_at}
        document["_id"] = document.pop("id")
        with _reachable():
            await self._uploads.insert_one(document)

    async def use_uploads(
        self, tenant_id: str, user_id: str, upload_ids: Sequence[str], now: datetime, keep: timedelta
    ) -> list[Upload]:
        """Those of this user that can be used. From now on they are no waste: a message may name them.

        Args:
            keep: how long they can be used again, by a repeat of the same message.
        """
        mine = {
            "_id": {"$in": list(upload_ids)},
            "tenant_id": tenant_id,
            "user_id": user_id,
            "ends_at": {"$gt": now},
        }
        with _reachable():
            await self._uploads.update_many(mine, {"$set": {"ends_at": now + keep, "forget_at": now + keep}})
            return [_upload(doc) async for doc in self._uploads.find(mine)]

    async def ended_uploads(self, before: datetime, limit: int) -> list[Upload]:
        """Some that ended before this moment without having been sent; of every tenant."""
        with _reachable():
            cursor = self._uploads.find({"ends_at": {"$lt": before}, "forget_at": None}).limit(limit)
            return [_upload(doc) async for doc in cursor]

    async def forget_upload(self, upload_id: str) -> None:
        """Of one that ended: nobody asks for it any more."""
        with _reachable():
            await self._uploads.delete_one({"_id": upload_id, "forget_at": None})

    # Limits of login, shared by all replicas

    async def count_attempts(self, keys: Iterable[str], expires_at: datetime) -> list[int]:
        """Add one to each counter and return the new values."""
        with _reachable():
            return [
                (
                    await self._attempts.find_one_and_update(
                        {"_id": key},
                        {"$inc": {"n": 1}, "$setOnInsert": {"expires_at": expires_at}},
                        upsert=True,
                        return_document=ReturnDocument.AFTER,
                    )
                )["n"]
                for key in keys
            ]

    async def uncount_attempts(self, keys: Iterable[str]) -> None:
        with _reachable():
            await self._attempts.update_many({"_id": {"$in": list(keys)}}, {"$inc": {"n": -1}})


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except STORE_ERRORS as exc:
        raise StoreUnavailable(f"MongoDB does not answer ({type(exc).__name__})") from exc


async def _get(finding: Awaitable[Document | None]) -> Document | None:
    with _reachable():
        return await finding


def _user(found: Document | None) -> User | None:
    if found is None:
        return None
    return User(
        id=found["user_id"],
        tenant_id=found["tenant_id"],
        login=found["login"],
        name=found["name"],
        password_hash=found["password_hash"],
        roles=tuple(found["roles"]),
    )


def _upload(found: Document) -> Upload:
    return Upload(
        id=found["_id"],
        tenant_id=found["tenant_id"],
        user_id=found["user_id"],
        key=found["key"],
        thumb_key=found["thumb_key"],
        kind=MessageKind(found["kind"]),
        name=found["name"],
        mime=found["mime"],
        size_bytes=found["size_bytes"],
        width=found["width"],
        height=found["height"],
        duration_s=found["duration_s"],
    )
