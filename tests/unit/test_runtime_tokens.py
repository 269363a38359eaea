"""Service tokens: what is accepted, and every trick that must not be."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Depends, FastAPI

from msgkit.runtime.problems import install_problem_handlers
from msgkit.runtime.tokens import Caller, ServiceTokens, TokenInvalid, caller_dependency


class Party:
    """A service with its key pair."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = Ed25519PrivateKey.generate()
        self.private_b64 = base64.b64encode(self.key.private_bytes_raw()).decode()
        self.public_b64 = base64.b64encode(self.key.public_key().public_bytes_raw()).decode()

    def tokens(self, *known: "Party") -> ServiceTokens:
        return ServiceTokens(self.name, self.private_b64, {party.name: party.public_b64 for party in known})


GATEWAY, INBOX, STRANGER = Party("gateway"), Party("inbox"), Party("stranger")
INBOX_TOKENS = INBOX.tokens(GATEWAY, INBOX)
GATEWAY_TOKENS = GATEWAY.tokens(GATEWAY, INBOX)


def forged(
    *,
    key: Any = GATEWAY.key,
    algorithm: str = "EdDSA",
    header: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    **claims: Any,
) -> str:
    """A token that is right but for what the test says."""
    now = datetime.now(UTC)
    content = {
        "iss": "gateway",
        "sub": "u1",
        "aud": "inbox",
        "iat": now,
        "exp": now + timedelta(seconds=60),
        "tid": "salon",
        "uid": "u1",
        "name": "Олена",
        "roles": ["admin"],
        **claims,
    }
    for name in without:
        del content[name]
    headers = {"typ": "rozmova-service+jwt", "kid": "gateway", **(header or {})}
    return jwt.encode(content, key, algorithm=algorithm, headers=headers)


def test_the_caller_arrives_as_issued() -> None:
    token = GATEWAY_TOKENS.issue(
        "inbox", tenant_id="salon", user_id="u1", user_name="Олена", roles=["b", "a"]
    )
    assert INBOX_TOKENS.verify(token) == Caller("gateway", "salon", "u1", "Олена", frozenset({"a", "b"}))


def test_a_service_may_call_without_tenant_and_user() -> None:
    caller = INBOX_TOKENS.verify(GATEWAY_TOKENS.issue("inbox"))
    assert caller == Caller("gateway", None, None, None, frozenset())


def test_the_forging_helper_makes_good_tokens_by_itself() -> None:
    assert INBOX_TOKENS.verify(forged()).tenant_id == "salon"


def _alg_none() -> str:
    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    header, payload, _ = forged().split(".")
    del header
    return f"{part({'alg': 'none', 'typ': 'rozmova-service+jwt', 'kid': 'gateway'})}.{payload}."


def _with_other_payload() -> str:
    header, _, signature = forged().split(".")
    _, payload, _ = forged(tid="clinic").split(".")
    return f"{header}.{payload}.{signature}"


_PAST = datetime.now(UTC) - timedelta(seconds=120)

BAD_TOKENS = {
    "empty": "",
    "garbage": "a.b.c",
    "two_parts": "a.b",
    "alg_none": _alg_none(),
    "payload_of_another_token": _with_other_payload(),
    "hmac_with_the_public_key": forged(key=GATEWAY.public_b64.encode(), algorithm="HS256"),
    "wrong_key": forged(key=STRANGER.key),
    "unknown_service": forged(key=STRANGER.key, header={"kid": "stranger"}, iss="stranger"),
    "issuer_other_than_kid": forged(iss="inbox"),
    "wrong_audience": forged(aud="crm-link"),
    "audience_list": forged(aud=["inbox", "crm-link"]),
    "expired": forged(iat=_PAST, exp=_PAST + timedelta(seconds=60)),
    "lives_too_long": forged(exp=datetime.now(UTC) + timedelta(hours=1)),
    "from_the_future": forged(
        iat=datetime.now(UTC) + timedelta(hours=1), exp=datetime.now(UTC) + timedelta(hours=1, seconds=30)
    ),
    "without_exp": forged(without=("exp",)),
    "without_iat": forged(without=("iat",)),
    "without_aud": forged(without=("aud",)),
    "without_iss": forged(without=("iss",)),
    "crit": forged(header={"crit": ["b64"], "b64": True}),
    "jwk": forged(header={"jwk": {"kty": "OKP", "crv": "Ed25519", "x": STRANGER.public_b64}}),
    "jku": forged(header={"jku": "https://example.org/keys"}),
    "x5u": forged(header={"x5u": "https://example.org/cert"}),
    "kid_path": forged(header={"kid": "../../gateway"}),
    "kid_long": forged(header={"kid": "g" * 33}),
    "kid_newline": forged(header={"kid": "gateway\n"}),
    "kid_empty": forged(header={"kid": ""}),
    "session_token_type": forged(header={"typ": "JWT"}),
    "roles_as_text": forged(roles="admin"),
    "roles_of_numbers": forged(roles=[1]),
    "tenant_as_object": forged(tid={"$ne": None}),
    "too_long": forged(name="я" * 5000),
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_refuses(token: str) -> None:
    with pytest.raises(TokenInvalid):
        INBOX_TOKENS.verify(token)


def test_the_reason_never_repeats_the_token() -> None:
    for token in BAD_TOKENS.values():
        with pytest.raises(TokenInvalid) as caught:
            INBOX_TOKENS.verify(token)
        assert not token or token not in str(caught.value)


@pytest.mark.parametrize("key", ["", "c2hvcnQ=", "not base64!"])
def test_a_key_of_a_wrong_size_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ServiceTokens("gateway", key, {})
    with pytest.raises(ValueError, match="'inbox'"):
        ServiceTokens("gateway", GATEWAY.private_b64, {"inbox": key})


@pytest.mark.parametrize(
    ("authorization", "status", "code"),
    [
        (None, 401, "token_missing"),
        ("Basic Zm9vOmJhcg==", 401, "token_missing"),
        ("Bearer ", 401, "token_missing"),
        ("Bearer nonsense", 401, "token_invalid"),
        ("Bearer {of_inbox}", 403, "caller_not_allowed"),
        ("bearer {of_gateway}", 200, None),
    ],
)
async def test_the_dependency_answers(authorization: str | None, status: int, code: str | None) -> None:
    if authorization is not None:  # made now: a token lives a minute, and tests are collected long before
        authorization = authorization.format(
            of_inbox=INBOX_TOKENS.issue("inbox"), of_gateway=GATEWAY_TOKENS.issue("inbox", tenant_id="salon")
        )
    app = FastAPI()
    install_problem_handlers(app)
    caller_of_gateway = caller_dependency(INBOX_TOKENS, {"gateway"})

    @app.get("/who")
    async def who(caller: Annotated[Caller, Depends(caller_of_gateway)]) -> dict[str, str | None]:
        return {"tenant": caller.tenant_id}

    headers = {} if authorization is None else {"Authorization": authorization}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://inbox") as http:
        response = await http.get("/who", headers=headers)
    assert response.status_code == status
    assert response.json().get("code") == code
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
    if status == 200:
        assert response.json() == {"tenant": "salon"}
