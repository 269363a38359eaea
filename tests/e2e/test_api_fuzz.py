"""The public API as its own description tells it: whatever is called, no 500, and answers that conform.

Schemathesis makes the calls from openapi.json, seeded and few of each. Every second one is about a real
dialogue, so that it comes further than "no such thing".
"""

from __future__ import annotations

import time
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from msgkit.testing.phone import Desk, Phone, new_client
from msgkit.testing.system import System

SEED = 20261122
EXAMPLES = 5
NOT_CALLED = {
    ("POST", "/api/v1/auth/logout"): "ends the session the calls are made with",
    ("PATCH", "/api/v1/me/settings"): "the browser tests have the same user",
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
async def real_ids(system: System) -> dict[str, str]:
    """A dialogue of the salon with a message, for these calls alone."""
    async with httpx2.AsyncClient(base_url=system.sandbox_url) as sandbox, Desk(system, "olena") as olena:
        phone = Phone(sandbox, system.channels["salon"]["id"], new_client())
        await phone.write(f"для перевірки {phone.client}")
        message = await olena.message(f"для перевірки {phone.client}")
    return {"conversation_id": message["conversation_id"], "message_id": message["id"]}


@pytest.fixture(scope="module")
def http(system: System) -> Any:
    account = system.account("olena")
    with httpx2.Client(base_url=system.gateway_url, timeout=10) as client:
        login = {"login": account.login, "password": account.password}
        token = client.post("/api/v1/auth/login", json=login).json()["access_token"]
        client.cookies.clear()
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def test_every_operation_conforms_to_its_description(http: httpx2.Client, real_ids: dict[str, str]) -> None:
    schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
    results = list(schema.get_all_operations())
    operations = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(operations) == len(results), "openapi.json has an operation nobody can read"
    called: dict[str, int] = {}
    for operation in operations:
        if (operation.method.upper(), operation.path) in NOT_CALLED:
            continue

        @seed(SEED)
        @settings(
            max_examples=EXAMPLES,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def call(case: schemathesis.Case[Any]) -> None:
            label = case.operation.label
            if called.get(label, 0) % 2 == 0:
                case.path_parameters |= {k: v for k, v in real_ids.items() if k in case.path_parameters}
            answer = _answer(http, case)
            if answer is not None:
                called[label] = called.get(label, 0) + 1
                case.validate_response(answer, checks=CHECKS)

        call()
    assert len(called) == len(operations) - len(NOT_CALLED)


def _answer(http: httpx2.Client, case: schemathesis.Case[Any]) -> httpx2.Response | None:
    """The answer, after waiting as long as a limit of the API wants; None for what HTTP cannot carry."""
    wanted = case.as_transport_kwargs(base_url=str(http.base_url).rstrip("/"))
    wanted["headers"] = dict(wanted.get("headers") or {}) | {"Authorization": http.headers["Authorization"]}
    known = ("method", "url", "headers", "params", "json", "data", "content")
    kwargs = {name: value for name, value in wanted.items() if name in known}
    if isinstance(kwargs.get("data"), bytes):
        kwargs["content"] = kwargs.pop("data")
    try:
        answer = http.request(**kwargs)
    except (httpx2.InvalidURL, UnicodeEncodeError, httpx2.LocalProtocolError):
        return None
    if answer.status_code == 429:
        wait_seconds = 0.0 if "/auth/" in case.operation.path else float(answer.headers["retry-after"])
        time.sleep(wait_seconds)  # pace: what the API asks of its callers
    return answer
