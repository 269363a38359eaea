"""Access tokens: every trusted issuer within its tenants, and nobody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.access_tokens import AccessTokens, TokenRefused, issuers_of
from gateway.auth import Revocations
from gateway.store import Revocation, User
from msgkit.runtime.clock import utc_now

SEED = base64.b64encode(bytes(range(32))).decode()
CRM_KEY = Ed25519PrivateKey.from_private_bytes(bytes(reversed(range(32))))
CRM_PUBLIC = CRM_KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
USER = User("u1", "salon", "olena", "Олена", "hash", ("admin",))


def _tokens() -> AccessTokens:
    crm = {"iss": "crm", "kid": "crm-1", "key": base64.b64encode(CRM_PUBLIC).decode(), "tenants": ["clinic"]}
    tokens = AccessTokens(SEED, issuers_of([crm]), utc_now)
    tokens.serve(frozenset({"salon"}))
    return tokens


def _claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "iss": "crm", "aud": "rozmova", "sub": "u7", "name": "Марія", "tid": "clinic", "roles": ["admin"],
        "sid": "session-1", "iat": now, "exp": now + 600,
    }  # fmt: skip
    claims |= changed
    return {name: value for name, value in claims.items() if value is not None}


def _sign(claims: dict[str, Any], **header: Any) -> str:
    return jwt.encode(claims, CRM_KEY, "EdDSA", headers={"kid": "crm-1", "typ": "JWT"} | header)


def _raw(header: dict[str, Any], payload: bytes, sign: Callable[[bytes], bytes]) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = f"{part(json.dumps(header).encode())}.{part(payload)}"
    return f"{head}.{part(sign(head.encode()))}"


def test_our_own_token_says_who_it_is() -> None:
    tokens = _tokens()
    session = tokens.verify(tokens.issue(USER, "session-9"))
    assert (session.user_id, session.tenant_id, session.name) == ("u1", "salon", "Олена")
    assert (set(session.roles), session.sid) == ({"admin"}, "session-9")
    assert session.expires_at - utc_now() <= timedelta(minutes=10)


def test_a_token_of_the_crm_is_as_good() -> None:
    session = _tokens().verify(_sign(_claims()))
    assert (session.user_id, session.tenant_id, session.name) == ("u7", "clinic", "Марія")


@dataclass(frozen=True)
class Attack:
    name: str
    token: Callable[[], str]


_GOOD_HEADER = {"alg": "EdDSA", "typ": "JWT", "kid": "crm-1"}
_EVIL = Ed25519PrivateKey.generate()


def _hmac_with_public_key() -> str:
    return _raw(
        _GOOD_HEADER | {"alg": "HS256"},
        json.dumps(_claims()).encode(),
        lambda data: hmac.new(CRM_PUBLIC, data, hashlib.sha256).digest(),
    )


def _signed_raw(payload: str, **header: Any) -> str:
    return _raw(_GOOD_HEADER | header, payload.encode(), CRM_KEY.sign)


def _unsigned() -> str:
    return _raw(_GOOD_HEADER | {"alg": "none"}, json.dumps(_claims()).encode(), lambda _: b"")


def _signed_by_somebody_else() -> str:
    return jwt.encode(_claims(), _EVIL, "EdDSA", headers={"kid": "crm-1", "typ": "JWT"})


def _infinite() -> str:
    return _signed_raw(json.dumps(_claims(exp=123)).replace('"exp": 123', '"exp": 1e999'))


def _doubled_claim() -> str:
    return _signed_raw(json.dumps(_claims(tid="salon"))[:-1] + ',"tid":"clinic"}')


ATTACKS = [
    Attack("nothing", lambda: ""),
    Attack("not a token", lambda: "abc"),
    Attack("alg none", _unsigned),
    Attack("HS256 with the public key", _hmac_with_public_key),
    Attack("signed by somebody else", _signed_by_somebody_else),
    Attack("changed after signing", lambda: _sign(_claims())[:-4] + "AAAA"),
    Attack("something behind it", lambda: _sign(_claims()) + ".x"),
    Attack("100 KB", lambda: _sign(_claims(name="x" * 100_000))),
    Attack("other issuer", lambda: _sign(_claims(iss="rozmova"))),
    Attack("part of the issuer", lambda: _sign(_claims(iss="cr"))),
    Attack("other audience", lambda: _sign(_claims(aud="other"))),
    Attack("list of audiences", lambda: _sign(_claims(aud=["rozmova", "other"]))),
    Attack("tenant of another issuer", lambda: _sign(_claims(tid="salon"))),
    Attack("unknown tenant", lambda: _sign(_claims(tid="bank"))),
    Attack("tenant is a list", lambda: _sign(_claims(tid=["clinic"]))),
    Attack("tenant is an object", lambda: _sign(_claims(tid={"$ne": ""}))),
    Attack("a claim twice", _doubled_claim),
    Attack("expired", lambda: _sign(_claims(iat=int(time.time()) - 1000, exp=int(time.time()) - 400))),
    Attack("no end", lambda: _sign(_claims(exp=None))),
    Attack("end as text", lambda: _sign(_claims(exp=str(int(time.time()) + 600)))),
    Attack("end in a million years", lambda: _sign(_claims(exp=1e20))),
    Attack("infinite", _infinite),
    Attack("valid for a day", lambda: _sign(_claims(exp=int(time.time()) + 86_400))),
    Attack("from the future", lambda: _sign(_claims(iat=int(time.time()) + 300))),
    Attack("not yet valid", lambda: _sign(_claims(nbf=int(time.time()) + 300))),
    Attack("no session", lambda: _sign(_claims(sid=None))),
    Attack("no subject", lambda: _sign(_claims(sub=None))),
    Attack("subject is a number", lambda: _sign(_claims(sub=7))),
    Attack("subject with a path", lambda: _sign(_claims(sub="../admin"))),
    Attack("no roles", lambda: _sign(_claims(roles=None))),
    Attack("roles as text", lambda: _sign(_claims(roles="admin"))),
    Attack("other type", lambda: _sign(_claims(), typ="rozmova-service+jwt")),
    Attack("unknown kid", lambda: _sign(_claims(), kid="crm-2")),
    Attack("kid is a path", lambda: _sign(_claims(), kid="../../dev/null")),
    Attack("kid is an address", lambda: _sign(_claims(), kid="https://evil.example/key")),
    Attack("kid is a query", lambda: _sign(_claims(), kid="' OR 1=1 --")),
    Attack("jku", lambda: _sign(_claims(), jku="https://evil.example/jwks")),
    Attack("x5u", lambda: _sign(_claims(), x5u="https://evil.example/cert")),
    Attack("jwk", lambda: _sign(_claims(), jwk={"kty": "OKP", "crv": "Ed25519", "x": "AAAA"})),
    Attack("crit", lambda: _signed_raw(json.dumps(_claims()), crit=["b64"])),
    Attack("payload is a list", lambda: _signed_raw("[]")),
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_is_refused(attack: Attack) -> None:
    tokens, token = _tokens(), attack.token()
    with pytest.raises(TokenRefused):
        tokens.verify(token)


def test_the_embedded_login_is_bound_to_its_tenants_too() -> None:
    tokens = _tokens()
    token = tokens.issue(User("u1", "clinic", "olena", "Олена", "hash", ("admin",)), "session-9")
    with pytest.raises(TokenRefused):
        tokens.verify(token)


def test_two_issuers_cannot_share_a_kid() -> None:
    item = {"iss": "a", "kid": "k", "key": base64.b64encode(CRM_PUBLIC).decode(), "tenants": []}
    with pytest.raises(ValueError, match="kid of its own"):
        AccessTokens(SEED, issuers_of([item, item | {"iss": "b"}]), utc_now)


def test_a_revoked_session_and_what_a_user_had_before() -> None:
    tokens, revocations = _tokens(), Revocations()
    session = tokens.verify(tokens.issue(USER, "session-9"))
    other = tokens.verify(tokens.issue(USER, "session-8"))
    assert revocations.add(Revocation("salon", "session-9", None, utc_now()))
    assert not revocations.add(Revocation("salon", "session-9", None, utc_now()))
    assert (revocations.covers(session), revocations.covers(other)) == (True, False)

    assert revocations.add(Revocation("salon", None, "u1", utc_now() + timedelta(milliseconds=1)))
    assert revocations.covers(other)
    later = AccessTokens(SEED, [], lambda: utc_now() + timedelta(milliseconds=5))
    later.serve(frozenset({"salon"}))
    assert not revocations.covers(later.verify(later.issue(USER, "session-7")))
    assert not revocations.add(Revocation("salon", None, "u1", datetime(2026, 1, 1, tzinfo=UTC)))


def test_old_revocations_are_forgotten() -> None:
    tokens, revocations = _tokens(), Revocations()
    session = tokens.verify(tokens.issue(USER, "session-9"))
    revocations.add(Revocation("salon", "session-9", None, utc_now() - timedelta(days=2)))
    revocations.forget_before(utc_now() - timedelta(days=1))
    assert not revocations.covers(session)
