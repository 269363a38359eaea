"""Access tokens: ours are issued here, those of every trusted issuer are checked here. EdDSA only."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.schemas import Session
from gateway.store import User
from msgkit.runtime.clock import Clock

OWN_ISSUER = "rozmova"
AUDIENCE = "rozmova"
TOKEN_TYPE = "JWT"  # noqa: S105 - a word of the format, no secret
ACCESS_LIFE = timedelta(minutes=10)
LEEWAY = timedelta(seconds=30)
TOKEN_MAX_CHARS = 4096

_KID = re.compile(r"^[A-Za-z0-9_-]{1,32}$")


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
