"""What a browser loads: the window with its strict policy, the list of operations, and how to build it."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ONE_YEAR = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#8882;padding:.1em .3em;border-radius:.2em}table{border-collapse:collapse}"
    "td,th{text-align:left;padding:.3rem .8rem .3rem 0;vertical-align:top}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_PLAIN_CSP = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def window_csp(origins: Iterable[str]) -> str:
    """The policy of the window: everything from here, framed only by the CRM's pages."""
    ancestors = " ".join(["'self'", *sorted(origins)])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "font-src 'self'; connect-src 'self'; media-src 'self'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors {ancestors}"
    )


def mount_window(app: FastAPI, folder: Path, origins: frozenset[str]) -> None:
    """Serve the built window at `/`; without a build, one page says how to make it."""
    index = folder / "index.html"
    headers = {"Content-Security-Policy": window_csp(origins), "Cache-Control": _ASK_AGAIN}

    @app.get("/", include_in_schema=False)
    async def window() -> Response:
        if not index.is_file():
            return _page("Вікно ще не зібране", _HOW_TO_BUILD, 503)
        return FileResponse(index, headers=headers)

    assets = StaticFiles(directory=folder, check_dir=False)
    app.mount("/", GZipMiddleware(_CacheRules(assets), minimum_size=1024, compresslevel=6), name="window")


def docs(app: FastAPI) -> APIRouter:
    """`/docs`: the operations of openapi.json as a plain page, without scripts from anywhere."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def page() -> HTMLResponse:
        rows = []
        for path, operations in app.openapi()["paths"].items():
            for method, operation in operations.items():
                text = operation.get("description") or operation.get("summary", "")
                cells = (f"<code>{method.upper()} {html.escape(path)}</code>", html.escape(text))
                rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        body = (
            '<p>The machine-readable description: <a href="/openapi.json">openapi.json</a>. '
            "The WebSocket is at <code>/api/v1/ws</code>, subprotocol <code>rozmova.v1</code>.</p>"
            f"<table>{''.join(rows)}</table>"
        )
        return _page("Rozmova API", body, 200)

    return router


class _CacheRules:
    """`assets/*` never change, their names do; everything else is asked for again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_rule(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 304):
                is_asset = scope["path"].startswith("/assets/")
                rule = _ONE_YEAR if is_asset else _ASK_AGAIN
                message["headers"] = [
                    *message["headers"],
                    (b"cache-control", rule.encode()),
                    # Opened by itself, a file of ours runs nothing.
                    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
                ]
            await send(message)

        await self._app(scope, receive, send_with_rule)


_HOW_TO_BUILD = (
    "<p>Сервер працює, API доступне. Щоб побачити вікно чатів, зберіть його:</p>"
    "<pre><code>make up</code></pre><p>або, якщо є Node 20.19 чи новіший:</p>"
    "<pre><code>cd services/gateway/web &amp;&amp; npm ci &amp;&amp; npm run build</code></pre>"
    '<p>Опис API: <a href="/docs">/docs</a>.</p>'
)


def _page(title: str, body: str, status: int) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="uk"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>",
        status,
        headers={"Content-Security-Policy": _PLAIN_CSP, "Cache-Control": _ASK_AGAIN},
    )
