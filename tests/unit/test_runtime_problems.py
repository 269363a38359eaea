"""Errors over HTTP have one shape and repeat nothing that was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, field_validator
from starlette.exceptions import HTTPException
from starlette.types import Message

from msgkit.runtime.problems import Problem, install_problem_handlers

CANARY = "канарка-canary"


class _Row(BaseModel):
    v: int


class _Body(BaseModel):
    n: int
    word: str = Field(default="", max_length=3)
    login: str = ""

    @field_validator("login")
    @classmethod
    def _known(cls, value: str) -> str:
        if value:
            raise ValueError(f"{value} is unknown")
        return value


def _app() -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)

    @app.get("/conflict")
    async def conflict() -> None:
        raise Problem(
            409,
            "changed",
            "Змінено",
            headers={"Retry-After": "3"},
            current=_Row(v=7),
            names=frozenset({"b", "a"}),
        )

    @app.post("/body")
    async def body(content: _Body) -> None:
        del content

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError(CANARY)

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout")

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            raise RuntimeError(CANARY)

        return StreamingResponse(parts())

    return app


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(_app()), base_url="http://t") as client:
        yield client


def _problem(response: httpx2.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert body["detail"]
    return body


async def test_a_problem_keeps_its_members_and_headers(http: httpx2.AsyncClient) -> None:
    response = await http.get("/conflict")
    assert _problem(response) == {
        "status": 409, "code": "changed", "detail": "Змінено", "current": {"v": 7}, "names": ["a", "b"],
    }  # fmt: skip
    assert response.headers["retry-after"] == "3"


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"n": CANARY}),
        json.dumps({"n": 1, "word": CANARY}),
        json.dumps({"n": 1, "login": CANARY}),
        json.dumps({"n": {CANARY: CANARY}}),
        f'{{"n": "{CANARY}',
        "[]",
        "",
    ],
)
async def test_422_says_where_and_why_but_not_what(http: httpx2.AsyncClient, content: str) -> None:
    response = await http.post(
        "/body", content=content.encode(), headers={"Content-Type": "application/json"}
    )
    body = _problem(response)
    assert (response.status_code, body["code"]) == (422, "invalid")
    assert body["errors"][0]["loc"][0] == "body"
    assert body["errors"][0]["msg"]
    assert "canary" not in response.text


async def test_the_unexpected_is_500_without_a_word_and_logged_once(http: httpx2.AsyncClient) -> None:
    with structlog.testing.capture_logs() as logged:
        response = await http.get("/boom")
    assert (response.status_code, _problem(response)["code"]) == (500, "internal")
    assert "canary" not in response.text
    assert [(line["event"], line["route"]) for line in logged] == [("request_failed", "/boom")]


async def test_an_answer_that_breaks_half_way_is_not_followed_by_a_second_one() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {
        "type": "http", "method": "GET", "path": "/half", "raw_path": b"/half", "query_string": b"",
        "headers": [], "root_path": "", "scheme": "http", "http_version": "1.1",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
    }  # fmt: skip
    with structlog.testing.capture_logs() as logged:
        await _app()(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1] == {"type": "http.response.body", "body": b"first", "more_body": True}
    assert len(logged) == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/boom", 405, "method_not_allowed"),
        ("GET", "/teapot", 418, "im_a_teapot"),
    ],
)
async def test_frameworks_own_errors_are_problems_too(
    http: httpx2.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await http.request(method, path)
    assert (response.status_code, _problem(response)["code"]) == (status, code)
    if status == 405:
        assert response.headers["allow"] == "GET"
