"""Who is signed in: login, access tokens of every trusted issuer, refresh tokens, tickets, revocations."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.schemas import Session
from gateway.store import RefreshToken, Revocation, Store, User
from msgkit.contracts.ids import new_id
from msgkit.runtime.clock import Clock
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.problems import Problem

log = get_logger(__name__)

OWN_ISSUER = "rozmova"
AUDIENCE = "rozmova"
TOKEN_TYPE = "JWT"  # noqa: S105 - a word of the format, no secret
ACCESS_LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(hours=12)
REFRESH_GRACE = timedelta(seconds=30)
"""Two tabs may refresh at once: a token just used up is still good for this long."""
TICKET_LIFE = timedelta(seconds=30)
LEEWAY = timedelta(seconds=30)
TOKEN_MAX_CHARS = 4096
REVOCATIONS_KEPT = SESSION_LIFE + LEEWAY
"""As long as a socket may live on a word given before."""
SYNC_SECONDS = 1.0
SYNC_OVERLAP = timedelta(seconds=10)

_KID = re.compile(r"^[A-Za-z0-9_-]{1,32}$")
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class TokenRefused(Exception):
    """Not a token we trust; the reason is for our logs only."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose signature `kid` stands for, and the tenants its tokens may name."""

    iss: str
    kid: str
    key: Ed25519PublicKey
    tenants: frozenset[str]


class _Claims(BaseModel):
    """What a token must say, in exactly these types."""

    model_config = ConfigDict(strict=True, extra="ignore")

    sub: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    name: str = Field(min_length=1, max_length=200)
    tid: str = Field(min_length=1, max_length=64)
    sid: str = Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    roles: list[str] = Field(max_length=50)
    exp: int | float = Field(gt=0, lt=2**40)
    iat: int | float = Field(gt=0, lt=2**40)


class AccessTokens:
    """Issues our own access tokens and checks those of every issuer. EdDSA only."""

    def __init__(self, session_key_b64: str, issuers: Sequence[Issuer], clock: Clock) -> None:
        """
        Raises:
            ValueError: two issuers share a `kid`.
        """
        self._private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(session_key_b64))
        public = self._private.public_key()
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.own_kid = "own-" + hashlib.sha256(raw).hexdigest()[:16]
        self._clock = clock
        self._issuers = {issuer.kid: issuer for issuer in issuers}
        if len(self._issuers) != len(issuers) or self.own_kid in self._issuers:
            raise ValueError("Two issuers have the same kid: give each key a kid of its own.")
        self._own = Issuer(OWN_ISSUER, self.own_kid, public, frozenset())
        self._issuers[self.own_kid] = self._own

    def serve(self, tenants: frozenset[str]) -> None:
        """The tenants of the embedded login."""
        self._issuers[self.own_kid] = Issuer(self._own.iss, self.own_kid, self._own.key, tenants)

    def issue(self, user: User, sid: str) -> str:
        now = self._clock()
        claims = {
            "iss": OWN_ISSUER,
            "aud": AUDIENCE,
            "sub": user.id,
            "name": user.name,
            "tid": user.tenant_id,
            "roles": list(user.roles),
            "sid": sid,
            # With the fraction: a word given right after a revocation must be told from one before it.
            "iat": now.timestamp(),
            "exp": int((now + ACCESS_LIFE).timestamp()),
        }
        return jwt.encode(claims, self._private, "EdDSA", headers={"kid": self.own_kid, "typ": TOKEN_TYPE})

    def verify(self, token: str) -> Session:
        """Whom the token stands for.

        Raises:
            TokenRefused: whatever is wrong with it.
        """
        if len(token) > TOKEN_MAX_CHARS:
            raise TokenRefused("too long")
        issuer = self._issuer_of(token)
        try:
            jwt.decode(
                token,
                issuer.key,
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                issuer=issuer.iss,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub", "tid", "sid"], "strict_aud": True},
            )
            claims = _Claims.model_validate(_payload(token))
        except (jwt.InvalidTokenError, ValidationError, ValueError, OverflowError, TypeError) as exc:
            raise TokenRefused(type(exc).__name__) from exc
        if claims.tid not in issuer.tenants:
            raise TokenRefused("a tenant this issuer must not name")
        if claims.exp - claims.iat > (ACCESS_LIFE + LEEWAY).total_seconds():
            raise TokenRefused("lives too long")
        return Session(
            user_id=claims.sub,
            tenant_id=claims.tid,
            name=claims.name,
            roles=frozenset(claims.roles),
            sid=claims.sid,
            issued_at=float(claims.iat),
            expires_at=datetime.fromtimestamp(claims.exp, UTC),
        )

    def _issuer_of(self, token: str) -> Issuer:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError) as exc:
            raise TokenRefused("not a token") from exc
        # Any further field asks us to trust a key or an extension of the sender's choice.
        if set(header) != {"alg", "typ", "kid"} or header["alg"] != "EdDSA" or header["typ"] != TOKEN_TYPE:
            raise TokenRefused("unexpected header")
        kid = header["kid"]
        issuer = self._issuers.get(kid) if isinstance(kid, str) and _KID.match(kid) else None
        if issuer is None:
            raise TokenRefused("unknown key")
        return issuer


def _payload(token: str) -> dict[str, Any]:
    """The claims of a token whose signature is right, refusing a claim that stands there twice."""
    segment = token.split(".")[1]
    claims = json.loads(
        base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)), object_pairs_hook=_without_doubles
    )
    if not isinstance(claims, dict):
        raise TypeError("claims are not an object")
    return claims


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a claim stands there twice")
    return found


class Revocations:
    """What was taken back, in memory; every replica reads it once a second."""

    def __init__(self) -> None:
        self._sids: dict[str, datetime] = {}
        self._users: dict[tuple[str, str], datetime] = {}

    def add(self, revocation: Revocation) -> bool:
        """Whether it was new."""
        if revocation.sid is not None:
            if revocation.sid in self._sids:
                return False
            self._sids[revocation.sid] = revocation.at
            return True
        key = (revocation.tenant_id, revocation.user_id or "")
        known = self._users.get(key)
        if known is not None and known >= revocation.at:
            return False
        self._users[key] = revocation.at
        return True

    def covers(self, session: Session) -> bool:
        until = self._users.get((session.tenant_id, session.user_id))
        return session.sid in self._sids or (until is not None and session.issued_at <= until.timestamp())

    def forget_before(self, at: datetime) -> None:
        self._sids = {sid: when for sid, when in self._sids.items() if when >= at}
        self._users = {key: when for key, when in self._users.items() if when >= at}


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


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A fresh pair: `refresh_token` goes into the cookie only."""

    access_token: str
    refresh_token: str
    expires_at: datetime
    """Of the session, hence of the cookie."""


class Auth:
    """The use-cases of signing in and out."""

    def __init__(
        self,
        store: Store,
        tokens: AccessTokens,
        passwords: Passwords,
        revocations: Revocations,
        clock: Clock,
        *,
        per_minute_account: int,
        per_minute_address: int,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._passwords = passwords
        self._revocations = revocations
        self._clock = clock
        self._per_minute_account = per_minute_account
        self._per_minute_address = per_minute_address
        self._listeners: list[Callable[[Revocation], None]] = []

    def listen(self, on_revoked: Callable[[Revocation], None]) -> None:
        """Call this for everything that is taken back, here or on another replica."""
        self._listeners.append(on_revoked)

    async def login(self, login: str, password: str, address: str) -> SignedIn:
        """
        Raises:
            Problem: 401 for a wrong pair, whichever half; 429; 503 when the limits cannot be kept.
        """
        attempts = await self._reserve_attempt(login, address)
        user = await self._store.user_by_login(login)
        if not await self._passwords.matches(None if user is None else user.password_hash, password):
            log.info("login_refused")
            raise Problem(401, "wrong_credentials", "Неправильний логін або пароль.")
        assert user is not None
        # Only failures count: thirty operators behind one address start work at the same minute.
        await self._store.uncount_attempts(attempts)
        now = self._clock()
        sid, refresh = new_id(), secrets.token_urlsafe(32)
        expires_at = now + SESSION_LIFE
        await self._store.open_session(sid, user, digest(refresh), expires_at)
        log.info("login_accepted", tenant_id=user.tenant_id, user_id=user.id)
        return SignedIn(self._tokens.issue(user, sid), refresh, expires_at)

    async def refresh(self, token: str | None) -> SignedIn:
        """
        Raises:
            Problem: 401, log in again.
        """
        if not token or len(token) > 200:
            raise _signed_out()
        now = self._clock()
        known = await self._store.retire_refresh_token(digest(token), now)
        if known is None:
            raise _signed_out()
        if known.retired_at is not None and now - known.retired_at > REFRESH_GRACE:
            # Used up long ago: somebody has a copy. Nobody can tell who, so the whole family ends.
            log.warning("refresh_token_reused", tenant_id=known.tenant_id, user_id=known.user_id)
            await self._end(known.tenant_id, known.sid, now)
            raise _signed_out()
        user = await self._user_of(known, now)
        fresh = secrets.token_urlsafe(32)
        await self._store.add_refresh_token(known.sid, digest(fresh), known.session_expires_at)
        return SignedIn(self._tokens.issue(user, known.sid), fresh, known.session_expires_at)

    async def logout(self, session: Session | None, refresh_token: str | None) -> None:
        """End the session of the access token and that of the cookie; unknown ones are no error."""
        now = self._clock()
        ended: set[str] = set()
        if session is not None:
            await self._end(session.tenant_id, session.sid, now)
            ended.add(session.sid)
        if refresh_token and len(refresh_token) <= 200:
            known = await self._store.retire_refresh_token(digest(refresh_token), now)
            if known is not None and known.sid not in ended:
                await self._end(known.tenant_id, known.sid, now)

    def session_of(self, authorization: str) -> Session:
        """The session of an `Authorization` header.

        Raises:
            Problem: 401.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthorized()
        try:
            session = self._tokens.verify(token.strip())
        except TokenRefused as exc:
            raise unauthorized() from exc
        if self._revocations.covers(session):
            raise unauthorized()
        return session

    async def ticket(self, session: Session) -> str:
        """A ticket for one socket; the socket may live as long as the session it stands for."""
        ticket = secrets.token_urlsafe(32)
        # Our own session outlives its access tokens; of another issuer's we know nothing but the token's end.
        until = await self._store.session_end(session.tenant_id, session.sid) or session.expires_at
        bound = Session(
            user_id=session.user_id,
            tenant_id=session.tenant_id,
            name=session.name,
            roles=session.roles,
            sid=session.sid,
            issued_at=session.issued_at,
            expires_at=until,
        )
        await self._store.add_ticket(digest(ticket), bound, self._clock() + TICKET_LIFE)
        return ticket

    async def redeem(self, ticket: str) -> Session | None:
        """Whose ticket it is, once; None if it is unknown, used, too old, or its session was ended."""
        now = self._clock()
        session = await self._store.redeem_ticket(digest(ticket), now)
        if session is None or session.expires_at <= now or self._revocations.covers(session):
            return None
        return session

    async def follow_revocations(self) -> None:
        """Learn for ever what any replica took back."""
        since = self._clock() - REVOCATIONS_KEPT
        while True:
            reading_at = self._clock()
            try:
                for revocation in await self._store.revocations_since(since):
                    self._take_back(revocation)
                # A little back: the clocks of replicas differ.
                since = reading_at - SYNC_OVERLAP
            except StoreUnavailable as exc:
                log.warning("revocations_unread", reason=str(exc))
            self._revocations.forget_before(reading_at - REVOCATIONS_KEPT)
            await asyncio.sleep(SYNC_SECONDS)

    async def bring_in_user(self, user: User, password: str) -> None:
        """Store a user of the users file; whoever's roles or password changed starts anew."""
        known = await self._store.user(user.tenant_id, user.id)
        same_password = known is not None and await self._passwords.matches(known.password_hash, password)
        hashed = known.password_hash if known and same_password else await self._passwords.hash(password)
        await self._store.put_user(User(user.id, user.tenant_id, user.login, user.name, hashed, user.roles))
        if known is not None and (not same_password or set(known.roles) != set(user.roles)):
            await self._store.revoke(
                Revocation(user.tenant_id, None, user.id, self._clock()), REVOCATIONS_KEPT
            )

    async def _end(self, tenant_id: str, sid: str, now: datetime) -> None:
        revocation = Revocation(tenant_id, sid, None, now)
        await self._store.revoke(revocation, REVOCATIONS_KEPT)
        self._take_back(revocation)

    def _take_back(self, revocation: Revocation) -> None:
        if self._revocations.add(revocation):
            for on_revoked in self._listeners:
                on_revoked(revocation)

    async def _user_of(self, known: RefreshToken, now: datetime) -> User:
        user = await self._store.user(known.tenant_id, known.user_id)
        if user is None:
            await self._end(known.tenant_id, known.sid, now)
            raise _signed_out()
        return user

    async def _reserve_attempt(self, login: str, address: str) -> Sequence[str]:
        """Count the attempt before it is checked, so that parallel ones cannot slip through."""
        now = self._clock()
        minute = int(now.timestamp() // 60)
        # Logins are people: the store need not know which ones were tried.
        keys = (f"a:{digest(login.casefold())[:32]}:{minute}", f"i:{digest(address)[:32]}:{minute}")
        try:
            counts = await self._store.count_attempts(keys, now + timedelta(minutes=2))
        except StoreUnavailable as exc:
            raise Problem(
                503, "unavailable", "Вхід тимчасово недоступний.", headers={"Retry-After": "5"}
            ) from exc
        if counts[0] > self._per_minute_account or counts[1] > self._per_minute_address:
            wait = str(60 - int(now.timestamp()) % 60)
            raise Problem(
                429, "rate_limited", "Забагато спроб входу. Зачекайте хвилину.", headers={"Retry-After": wait}
            )
        return keys


def digest(secret: str) -> str:
    """What is stored of a token: enough to know it again, useless to whoever reads the store."""
    return hashlib.sha256(secret.encode()).hexdigest()


def unauthorized() -> Problem:
    return Problem(401, "unauthorized", "Увійдіть знову.", headers=_CHALLENGE)


def issuers_of(settings: Sequence[Mapping[str, Any]]) -> list[Issuer]:
    """The keyring of the settings.

    Raises:
        ValueError: a key is not the base64 of 32 bytes.
    """
    return [
        Issuer(
            str(item["iss"]),
            str(item["kid"]),
            Ed25519PublicKey.from_public_bytes(base64.b64decode(str(item["key"]), validate=True)),
            frozenset(item["tenants"]),
        )
        for item in settings
    ]


def _signed_out() -> Problem:
    return Problem(401, "signed_out", "Увійдіть знову.")
