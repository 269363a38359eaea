"""What an operator does: each word reaches inbox in the operator's name, and refusals come back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from gateway_stage import TELEGRAM, VIBER, Stage, stage

from msgkit.runtime.problems import Problem
from msgkit.testing.servers import VirtualHosts, drop_databases

pytestmark = pytest.mark.servers

API = "/api/v1"


@pytest_asyncio.fixture(scope="module")
async def on(
    tmp_path_factory: pytest.TempPathFactory, vhosts: VirtualHosts, mongo_url: str
) -> AsyncIterator[Stage]:
    prefix = "tgwoperators_"
    with vhosts.fresh() as amqp_url:
        async with stage(tmp_path_factory.mktemp("gateway"), amqp_url, mongo_url, prefix) as ready:
            ready.inbox.add_row("c1", TELEGRAM)
            ready.inbox.add_row("c2", VIBER)
            yield ready
    drop_databases(mongo_url, prefix)


@pytest_asyncio.fixture(scope="module")
async def tokens(on: Stage) -> dict[str, str]:
    return {login: await on.gateway.login(login) for login in ("olena", "ivan", "viktor", "maria")}


@pytest.fixture
def call(on: Stage, tokens: dict[str, str]) -> Any:
    async def call(
        method: str, path: str, body: object = None, *, login: str = "olena", if_match: str | None = None
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {tokens[login]}"}
        if if_match is not None:
            headers["If-Match"] = if_match
        return await on.gateway.http.request(method, API + path, headers=headers, json=body)

    on.inbox.refusal = None
    return call


@pytest.mark.parametrize(
    ("path", "body", "asked"),
    [
        ("/conversations/c1/claim", None, None),
        ("/conversations/c1/takeover", {}, None),
        ("/conversations/c1/release", {}, None),
        ("/conversations/c1/return-to-bot", {}, None),
        ("/conversations/c1/status", {"status": "waiting"}, {"status": "waiting"}),
        ("/conversations/c1/assign", {"user_id": "u-ivan"}, {"user_id": "u-ivan", "name": "Ivan"}),
    ],
)
async def test_a_decision_about_a_chat_carries_the_version_it_was_made_on(
    on: Stage, call: Any, path: str, body: object, asked: object
) -> None:
    answer = await call("POST", path, body, if_match='"3"')
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == "c1"
    word = on.inbox.asked[-1]
    assert (f"/{word.path}", word.body, word.if_match) == (path, asked, '"3"')
    assert (word.who.user_id, word.who.user_name, word.who.tenant_id) == ("u-olena", "Olena", "salon")
    assert (await call("POST", path, body)).status_code == 200
    assert on.inbox.asked[-1].if_match is None


@pytest.mark.parametrize(
    ("method", "path", "body", "asked", "status"),
    [
        ("POST", "/messages/m1/retry", None, None, 202),
        ("POST", "/messages/m1/resolve", {"as": "resend"}, {"as": "resend"}, 200),
        ("DELETE", "/messages/m1", None, None, 204),
        ("GET", "/messages/m1/trail", None, None, 200),
        ("POST", "/conversations/c1/unread", {"n": 4}, {"n": 4}, 200),
    ],
)
async def test_a_decision_about_a_message(
    on: Stage, call: Any, method: str, path: str, body: object, asked: object, status: int
) -> None:
    answer = await call(method, path, body)
    assert answer.status_code == status, answer.text
    word = on.inbox.asked[-1]
    assert (word.method, f"/{word.path}", word.body, word.who.user_id) == (method, path, asked, "u-olena")


async def test_a_conflict_shows_the_row_as_it_is_now(on: Stage, call: Any) -> None:
    current = on.inbox.rows["c1"].model_dump(mode="json")
    on.inbox.refusal = Problem(409, "claimed_by_other", "Чат уже взяла Світлана.", current=current)
    for path, body in [
        ("/conversations/c1/claim", None),
        ("/conversations/c1/assign", {"user_id": "u-ivan"}),
        ("/conversations/c1/return-to-bot", None),
    ]:
        answer = await call("POST", path, body, if_match='"2"')
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "claimed_by_other")
        assert problem["detail"] == "Чат уже взяла Світлана."
        assert (problem["current"]["id"], problem["current"]["v"]) == ("c1", 3)


async def test_the_guard_says_what_is_new_and_force_passes_it(on: Stage, call: Any) -> None:
    news = [{"id": "m9", "n": 9, "text": "Вже відповіла"}]
    current = on.inbox.rows["c1"].model_dump(mode="json")
    on.inbox.refusal = Problem(
        409, "colleague_replied", "Світлана щойно відповіла.", new_messages=news, current=current
    )
    body = {"client_msg_id": "guard-0001", "text": "Добрий день", "seen_n": 8}
    answer = await call("POST", "/conversations/c1/messages", body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "colleague_replied")
    assert (problem["messages"], problem["current"]["v"]) == (news, 3)
    on.inbox.refusal = None
    assert (await call("POST", "/conversations/c1/messages", body | {"force": True})).status_code == 202
    asked = on.inbox.asked[-1].body or {}
    assert (asked["force"], asked["seen_n"], asked["note"]) == (True, 8, False)


@pytest.mark.parametrize(
    ("conversation", "user", "code"),
    [
        ("c1", "u-nowhere", "unknown_user"),
        ("c1", "u-maria", "unknown_user"),  # of another tenant: as if there were nobody
        ("c1", "u-viktor", "user_without_access"),
        ("c1", "u-nobody", "user_without_access"),
        ("c2", "u-ivan", "user_without_access"),
    ],
)
async def test_a_chat_is_handed_only_to_who_may_see_it(
    on: Stage, call: Any, conversation: str, user: str, code: str
) -> None:
    asked = len(on.inbox.asked)
    answer = await call("POST", f"/conversations/{conversation}/assign", {"user_id": user})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert len(on.inbox.asked) == asked


async def test_nobody_hands_out_what_they_do_not_see(on: Stage, call: Any) -> None:
    for login, conversation in [("ivan", "c2"), ("maria", "c1"), ("ivan", "unknown")]:
        answer = await call(
            "POST", f"/conversations/{conversation}/assign", {"user_id": "u-olena"}, login=login
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("if_match", ["x", "3; drop", '"' * 50, "*"])
async def test_a_version_is_a_number(call: Any, if_match: str) -> None:
    answer = await call("POST", "/conversations/c1/claim", if_match=if_match)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
