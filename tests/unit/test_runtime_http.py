"""Calls to our own services and to the outside: what travels, what comes back, what never leaks."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from msgkit.runtime import telemetry
from msgkit.runtime.http import URL_TEMPLATE, InternalClient, redacted_client
from msgkit.runtime.problems import Problem, install_problem_handlers
from msgkit.runtime.settings import ServiceSettings
from msgkit.runtime.telemetry import current_traceparent, span
from msgkit.runtime.tokens import Caller, ServiceTokens

KEY = Ed25519PrivateKey.generate()
TOKENS = ServiceTokens(
    "gateway",
    base64.b64encode(KEY.private_bytes_raw()).decode(),
    {"gateway": base64.b64encode(KEY.public_key().public_bytes_raw()).decode()},
)
INBOX_VIEW = ServiceTokens(
    "inbox",
    base64.b64encode(KEY.private_bytes_raw()).decode(),
    {"gateway": base64.b64encode(KEY.public_key().public_bytes_raw()).decode()},
)
TOKEN = "123456789:AAF-canary_CANARYcanaryCANARYcanary0"


class _Words(BaseModel):
    words: str


def _inbox() -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, object]:
        caller = INBOX_VIEW.verify(request.headers["authorization"].removeprefix("Bearer "))
        return {
            "tenant": caller.tenant_id,
            "user": caller.user_id,
            "roles": sorted(caller.roles),
            "body": (await request.body()).decode(),
            "query": str(request.url.query),
            "if_match": request.headers.get("if-match"),
            "traceparent": request.headers.get("traceparent"),
        }

    @app.delete("/nothing", status_code=204)
    async def nothing() -> None:
        pass

    @app.get("/conflict")
    async def conflict() -> None:
        raise Problem(
            409, "changed", "Змінено", headers={"Retry-After": "7"}, current={"v": 7}, headers_extra=1
        )

    @app.get("/distrust")
    async def distrust() -> None:
        raise Problem(401, "token_invalid", "Службовий токен недійсний.")

    @app.get("/html")
    async def html() -> Response:
        return Response("<h1>Bad gateway</h1>", 502, media_type="text/html")

    @app.get("/broken-json")
    async def broken_json() -> Response:
        return Response("{", 200, media_type="application/json")

    return app


@pytest.fixture
async def inbox() -> AsyncIterator[InternalClient]:
    client = InternalClient("http://inbox", "inbox", TOKENS, transport=httpx2.ASGITransport(_inbox()))
    yield client
    await client.aclose()


async def test_the_caller_the_body_and_the_query_arrive(inbox: InternalClient) -> None:
    caller = Caller("crm", "salon", "u1", "Олена", frozenset({"admin"}))
    answer = await inbox.request(
        "POST",
        "/echo",
        caller=caller,
        json=_Words(words="привіт"),
        params={"limit": 5, "cursor": None, "q": "а+б"},
        headers={"If-Match": "7"},
    )
    assert answer["tenant"] == "salon"
    assert answer["user"] == "u1"
    assert answer["roles"] == ["admin"]
    assert answer["body"] == '{"words":"привіт"}'
    assert answer["query"] == "limit=5&q=%D0%B0%2B%D0%B1"
    assert answer["if_match"] == "7"


async def test_tenant_and_user_may_be_said_one_by_one(inbox: InternalClient) -> None:
    answer = await inbox.request("POST", "/echo", tenant_id="clinic", user_id="u2", json={"a": 1})
    assert (answer["tenant"], answer["user"], answer["body"]) == ("clinic", "u2", '{"a":1}')


async def test_the_trace_goes_along(inbox: InternalClient) -> None:
    with span("work"):
        ours = str(current_traceparent())
        answer = await inbox.request("POST", "/echo")
    assert answer["traceparent"].split("-")[1] == ours.split("-")[1]


async def test_no_body_is_none(inbox: InternalClient) -> None:
    assert await inbox.request("DELETE", "/nothing") is None


async def test_a_problem_comes_back_as_it_was_raised(inbox: InternalClient) -> None:
    with pytest.raises(Problem) as caught:
        await inbox.request("GET", "/conflict")
    problem = caught.value
    assert (problem.status, problem.code, problem.detail) == (409, "changed", "Змінено")
    assert problem.extra == {"current": {"v": 7}, "headers_extra": 1}
    assert problem.headers == {"Retry-After": "7"}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/distrust", 502, "internal_call_refused"),
        ("/html", 502, "bad_answer"),
        ("/broken-json", 502, "bad_answer"),
        ("/nowhere", 404, "not_found"),
    ],
)
async def test_what_is_not_a_persons_fault_does_not_look_like_it(
    inbox: InternalClient, path: str, status: int, code: str
) -> None:
    with pytest.raises(Problem) as caught:
        await inbox.request("GET", path)
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(
    "error", [httpx2.ConnectError("x"), httpx2.ReadTimeout("x"), httpx2.RemoteProtocolError("x")]
)
async def test_a_service_that_is_not_there_is_503(error: Exception) -> None:
    def fail(_request: httpx2.Request) -> httpx2.Response:
        raise error

    client = InternalClient("http://inbox", "inbox", TOKENS, transport=httpx2.MockTransport(fail))
    with pytest.raises(Problem) as caught:
        await client.request("GET", "/x")
    await client.aclose()
    assert (caught.value.status, caught.value.code) == (503, "unavailable")
    assert caught.value.headers == {"Retry-After": "2"}


@asynccontextmanager
async def _breaking(breaks: int) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that breaks the first connections instead of answering, as a killed replica does."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b" ", 1)[0].decode())
        if len(asked) > breaks:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


@pytest.mark.parametrize(("method", "repeatable"), [("GET", None), ("PUT", None), ("POST", True)])
async def test_a_broken_connection_is_no_error_of_a_call_that_may_be_repeated(
    method: str, repeatable: bool | None
) -> None:
    async with _breaking(2) as (url, asked):
        client = InternalClient(url, "inbox", TOKENS)
        assert await client.request(method, "/x", repeatable=repeatable) == {}
        await client.aclose()
    assert asked == [method] * 3


@pytest.mark.parametrize(
    ("method", "repeatable", "calls"), [("POST", None, 1), ("GET", False, 1), ("GET", None, 3)]
)
async def test_what_must_not_be_done_twice_is_not_repeated_and_nothing_for_ever(
    method: str, repeatable: bool | None, calls: int
) -> None:
    async with _breaking(100) as (url, asked):
        client = InternalClient(url, "inbox", TOKENS)
        with pytest.raises(Problem) as caught:
            await client.request(method, "/x", repeatable=repeatable)
        await client.aclose()
    assert (caught.value.status, caught.value.code) == (503, "unavailable")
    assert asked == [method] * calls


async def test_an_outside_address_is_in_no_log_and_no_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telemetry, "_tracing", telemetry._Tracing())
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    settings = SimpleNamespace(instance="one", traces_dir=tmp_path, trace_rate_per_s=100)
    tracing = telemetry.configure_telemetry("testing", cast("ServiceSettings", settings))

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("getMe"):
            return httpx2.Response(200, json={"ok": True})
        raise httpx2.ConnectError(f"cannot reach {request.url}")

    caplog.set_level(logging.DEBUG)
    client = redacted_client(
        "telegram", base_url="https://api.example.org", transport=httpx2.MockTransport(answer)
    )
    async with client:
        response = await client.get(f"/bot{TOKEN}/getMe", extensions={URL_TEMPLATE: "/bot{token}/getMe"})
        assert response.json() == {"ok": True}
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"/bot{TOKEN}/sendMessage")
    tracing.close()
    written = (tmp_path / "testing-one.jsonl").read_text()
    assert "/bot{token}/getMe" in written
    assert "canary" not in written + caplog.text


async def test_a_client_made_while_the_loop_runs_reads_no_certificates_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def made() -> None:
        await InternalClient("http://inbox.example", "inbox", TOKENS).aclose()

    await made()
    monkeypatch.delattr(ssl, "get_default_verify_paths")
    await made()
