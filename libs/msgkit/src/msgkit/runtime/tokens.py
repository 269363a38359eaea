"""Tokens for calls between services: who calls, for which tenant and user. EdDSA, 60 seconds."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from starlette.requests import Request

from msgkit.runtime.clock import utc_now
from msgkit.runtime.problems import Problem

TOKEN_LIFE_SECONDS = 60
LEEWAY_SECONDS = 10
"""Clocks of two machines may differ by this much."""
TOKEN_MAX_CHARS = 4096

_TYPE = "rozmova-service+jwt"
"""Another kind of token (a user's session) is refused even if its signature were right."""
_HEADER_FIELDS = {"alg", "typ", "kid"}
_KID = re.compile(r"^[A-Za-z0-9_-]{1,32}$")
_REQUIRED = ["iss", "sub", "aud", "iat", "exp"]


class TokenInvalid(Exception):
    """The token is not one of ours, not for us, or no longer valid."""


@dataclass(frozen=True)
class Caller:
    """Who is behind an internal call."""

    service: str
    tenant_id: str | None
    user_id: str | None
    user_name: str | None
    roles: frozenset[str]


class ServiceTokens:
    """Issues the tokens of one service and checks those of the others."""

    def __init__(self, name: str, private_key_b64: str, public_keys: Mapping[str, str]) -> None:
        """
        Args:
            name: The service this process is: issuer of its tokens, audience of those it accepts.
            private_key_b64: Base64 of the 32-byte Ed25519 seed.
            public_keys: Service name → base64 of its 32-byte public key.

        Raises:
            ValueError: A key is not 32 bytes of base64.
        """
        self._name = name
        self._private_key = Ed25519PrivateKey.from_private_bytes(
            _key_bytes(private_key_b64, "own private key")
        )
        self._public_keys = {
            service: Ed25519PublicKey.from_public_bytes(_key_bytes(key, f"public key of {service!r}"))
            for service, key in public_keys.items()
        }

    def issue(
        self,
        audience: str,
        *,
        tenant_id: str | None = None,
        user_id: str | None = None,
        user_name: str | None = None,
        roles: Iterable[str] = (),
    ) -> str:
        """A token for one call to the service `audience`, valid for 60 seconds."""
        now = utc_now()
        claims: dict[str, Any] = {
            "iss": self._name,
            "sub": user_id or self._name,
            "aud": audience,
            "iat": now,
            "exp": now + timedelta(seconds=TOKEN_LIFE_SECONDS),
            "tid": tenant_id,
            "uid": user_id,
            "name": user_name,
            "roles": sorted(roles),
        }
        return jwt.encode(
            claims, self._private_key, algorithm="EdDSA", headers={"typ": _TYPE, "kid": self._name}
        )

    def verify(self, token: str) -> Caller:
        """Who the caller is.

        Raises:
            TokenInvalid: The reason is for our logs, not for the caller.
        """
        claims = self._claims(token)
        roles = claims.get("roles")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise TokenInvalid("roles are not a list of strings")
        return Caller(
            service=str(claims["iss"]),
            tenant_id=_optional_string(claims, "tid"),
            user_id=_optional_string(claims, "uid"),
            user_name=_optional_string(claims, "name"),
            roles=frozenset(roles),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > TOKEN_MAX_CHARS:
            raise TokenInvalid("token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as exc:
            raise TokenInvalid("token is not a JWT") from exc
        # Everything beside these three asks us to trust a key or an extension of the sender's choice.
        if set(header) != _HEADER_FIELDS or header["typ"] != _TYPE:
            raise TokenInvalid("unexpected header")
        kid = header["kid"]
        if not isinstance(kid, str) or not _KID.match(kid):
            raise TokenInvalid("unusable kid")
        key = self._public_keys.get(kid)
        if key is None:
            raise TokenInvalid(f"no public key of service {kid!r}")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                audience=self._name,
                issuer=kid,
                leeway=LEEWAY_SECONDS,
                options={"require": _REQUIRED, "strict_aud": True},
            )
        except jwt.InvalidTokenError as exc:
            raise TokenInvalid(type(exc).__name__) from exc
        if int(claims["exp"]) - int(claims["iat"]) > TOKEN_LIFE_SECONDS:
            raise TokenInvalid("token lives too long")
        return claims


def caller_dependency(
    tokens: ServiceTokens, allowed: Collection[str]
) -> Callable[[Request], Awaitable[Caller]]:
    """A FastAPI dependency: the caller, if it is one of the `allowed` services; else 401 or 403."""
    allowed = frozenset(allowed)

    async def caller(request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Problem(401, "token_missing", "Потрібен службовий токен.", headers=_CHALLENGE)
        try:
            found = tokens.verify(token)
        except TokenInvalid as exc:
            raise Problem(401, "token_invalid", "Службовий токен недійсний.", headers=_CHALLENGE) from exc
        if found.service not in allowed:
            raise Problem(403, "caller_not_allowed", "Цьому сервісу сюди не можна.")
        return found

    return caller


_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def _optional_string(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None or isinstance(value, str):
        return value
    raise TokenInvalid(f"claim {name!r} is not a string")


def _key_bytes(value: str, what: str) -> bytes:
    try:
        key = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ValueError(f"The {what} must be the base64 of 32 bytes.")
    return key
