"""Security headers are on every answer; a body over the limit is refused, announced or not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response

from msgkit.runtime.headers import BodyLimit, SecurityHeaders
from msgkit.runtime.problems import install_problem_handlers


def _app() -> SecurityHeaders:
    app = FastAPI()
    install_problem_handlers(app)

    @app.post("/raw")
    async def raw(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.post("/model")
    async def model(content: dict[str, str]) -> dict[str, int]:
        return {"fields": len(content)}

    @app.post("/ignores")
    async def ignores() -> dict[str, int]:
        return {"bytes": 0}

    @app.get("/asset")
    async def asset() -> Response:
        return Response("x", headers={"Cache-Control": "public, max-age=60"})

    return SecurityHeaders(BodyLimit(app, 100))


def _client(scheme: str = "http") -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(_app()), base_url=f"{scheme}://t")


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 10):
        yield b"0123456789"


@pytest.mark.parametrize("path", ["/asset", "/nowhere"])
async def test_every_answer_has_the_headers(path: str) -> None:
    async with _client() as http:
        headers = (await http.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "strict-transport-security" not in headers


async def test_an_api_answer_is_not_stored_but_a_route_may_decide_otherwise() -> None:
    async with _client() as http:
        assert (await http.post("/raw")).headers.get_list("cache-control") == ["no-store"]
        assert (await http.get("/asset")).headers.get_list("cache-control") == ["public, max-age=60"]


async def test_hsts_only_over_https() -> None:
    async with _client("https") as http:
        assert "max-age=31536000" in (await http.get("/asset")).headers["strict-transport-security"]


@pytest.mark.parametrize("path", ["/raw", "/model"])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_413(path: str, announced: bool) -> None:
    async with _client() as http:
        response = await http.post(
            path,
            content=b"x" * 101 if announced else _chunks(110),
            headers={"Content-Type": "application/json"},
        )
    assert response.status_code == 413
    assert response.json()["code"] == "body_too_large"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_at_the_limit_passes(announced: bool) -> None:
    async with _client() as http:
        response = await http.post("/raw", content=b"x" * 100 if announced else _chunks(100))
    assert response.json() == {"bytes": 100}


async def test_a_small_announced_length_does_not_hide_a_chunked_body() -> None:
    async with _client() as http:
        response = await http.post(
            "/raw", content=_chunks(110), headers={"Content-Length": "5", "Transfer-Encoding": "chunked"}
        )
    assert response.status_code == 413


async def test_a_route_that_reads_nothing_answers_as_it_likes() -> None:
    async with _client() as http:
        assert (await http.post("/ignores", content=_chunks(110))).status_code == 200
