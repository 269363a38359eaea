"""Who is signed in: login, sessions with their refresh tokens, tickets of sockets, revocations."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.access_tokens import LEEWAY, AccessTokens, TokenRefused
from gateway.passwords import Passwords
from gateway.schemas import Session
from gateway.store import RefreshToken, Revocation, Store, User
from msgkit.contracts.ids import new_id
from msgkit.runtime.clock import Clock
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.problems import Problem

log = get_logger(__name__)

SESSION_LIFE = timedelta(hours=12)
REFRESH_GRACE = timedelta(seconds=30)
"""Two tabs may refresh at once: a token just used up is still good for this long."""
TICKET_LIFE = timedelta(seconds=30)
REVOCATIONS_KEPT = SESSION_LIFE + LEEWAY
"""As long as a socket may live on a word given before."""
SYNC_SECONDS = 1.0
SYNC_OVERLAP = timedelta(seconds=10)

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


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


def _signed_out() -> Problem:
    return Problem(401, "signed_out", "Увійдіть знову.")
