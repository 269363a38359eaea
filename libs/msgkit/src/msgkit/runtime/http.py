"""HTTP clients: to our own services (with a token; problems stay problems) and to the outside world."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import httpx2
from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from msgkit.runtime.logs import get_logger
from msgkit.runtime.problems import Problem
from msgkit.runtime.telemetry import current_traceparent, span
from msgkit.runtime.tokens import Caller, ServiceTokens

log = get_logger(__name__)

URL_TEMPLATE = "url_template"
"""The request extension shown instead of the address: `extensions={URL_TEMPLATE: "/bot{token}/getMe"}`."""

# We forget an idle connection before our servers close it (75 s): no request meets a closing socket.
_LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30)
_REPEATS = 2
"""How often a call is sent again whose connection broke: a replica ended, others of it are there."""
_REPEATABLE = {"GET", "HEAD", "PUT", "DELETE"}
_OUR_FAULT = {"token_missing", "token_invalid", "caller_not_allowed"}


@cache
def authorities() -> ssl.SSLContext:
    """Whom we believe, for every client of the process.

    Read from disk with the first client: 45 ms, in which an event loop would do nothing else.
    """
    return httpx2.create_ssl_context(trust_env=False)


class InternalClient:
    """Calls one of our services."""

    def __init__(
        self,
        base_url: str,
        audience: str,
        tokens: ServiceTokens,
        *,
        timeout_s: float = 5,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """
        Args:
            base_url: Internal address of the service, for example http://127.0.0.1:9085.
            audience: Its name; the token is valid there only.
            tokens: Of the calling service.
            timeout_s: Seconds for each of connecting, sending and waiting.
            transport: For tests: a wire of their own.
        """
        self._audience = audience
        self._tokens = tokens
        self._http = httpx2.AsyncClient(
            base_url=base_url,
            timeout=timeout_s,
            limits=_LIMITS,
            trust_env=False,
            transport=transport,
            verify=authorities(),
        )
        _silence_client_logs()

    async def request(
        self,
        method: str,
        path: str,
        *,
        caller: Caller | None = None,
        tenant_id: str | None = None,
        user_id: str | None = None,
        user_name: str | None = None,
        roles: Iterable[str] = (),
        json: BaseModel | Mapping[str, Any] | list[Any] | None = None,
        params: Mapping[str, str | int | bool | None] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
    ) -> Any:
        """The parsed JSON of the answer, or None if it has no body.

        When the connection breaks before an answer, as when a replica is stopped, nobody knows whether the
        call was done. One that may be done twice is sent again, and the person in front sees nothing of it.

        Args:
            method: GET, POST, …
            path: Begins with a slash.
            caller: Who we act for; otherwise tenant_id, user_id, user_name and roles say it one by one.
            tenant_id: Of whom; required by nearly every route of the others.
            user_id: The acting user.
            user_name: As colleagues see it.
            roles: Of that user.
            json: The body; a model is written as it defines.
            params: Query; None values are left out.
            headers: For example If-Match.
            repeatable: Whether doing it twice is doing it once; without it GET, PUT and DELETE are.

        Raises:
            Problem: What the service answered, with its status, code, detail and further members; 503
                `unavailable` if it cannot be reached; 502 `bad_answer` if the answer makes no sense.
        """
        if caller is not None:
            tenant_id, user_id, user_name = caller.tenant_id, caller.user_id, caller.user_name
            roles = caller.roles
        token = self._tokens.issue(
            self._audience, tenant_id=tenant_id, user_id=user_id, user_name=user_name, roles=roles
        )
        attributes = {"http.request.method": method, "url.path": path, "peer.service": self._audience}
        with span(f"{method} {self._audience}", kind=SpanKind.CLIENT, attributes=attributes) as current:
            sent_headers = {**(headers or {}), "Authorization": f"Bearer {token}"}
            traceparent = current_traceparent()
            if traceparent is not None:
                sent_headers["traceparent"] = traceparent
            content = None
            if isinstance(json, BaseModel):
                content = json.model_dump_json().encode()
                sent_headers["Content-Type"] = "application/json"
            request = self._http.build_request(
                method,
                path,
                content=content,
                json=None if content is not None else json,
                params={key: value for key, value in (params or {}).items() if value is not None},
                headers=sent_headers,
            )
            may_repeat = method in _REPEATABLE if repeatable is None else repeatable
            response = await self._send(request, _REPEATS if may_repeat else 0)
            current.set_attribute("http.response.status_code", response.status_code)
            if response.is_success:
                return self._parsed(response)
            raise self._problem(response)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def _send(self, request: httpx2.Request, repeats: int) -> httpx2.Response:
        while True:
            try:
                return await self._http.send(request)
            except (httpx2.NetworkError, httpx2.RemoteProtocolError) as exc:
                # Refused means that nobody listens, and that is no different a moment later.
                if repeats == 0 or isinstance(exc, httpx2.ConnectError):
                    raise self._unavailable(exc) from exc
                repeats -= 1
                log.info("internal_call_repeated", audience=self._audience, error=type(exc).__name__)
            except httpx2.TransportError as exc:
                raise self._unavailable(exc) from exc

    def _parsed(self, response: httpx2.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as exc:
            raise self._bad_answer(response.status_code) from exc

    def _problem(self, response: httpx2.Response) -> Problem:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("code"), str):
            return self._bad_answer(response.status_code)
        code = body.pop("code")
        detail = str(body.pop("detail", ""))
        if code in _OUR_FAULT:
            # Our services do not trust each other: the person in front must not be logged out for it.
            log.error("internal_call_refused", audience=self._audience, code=code)
            return Problem(
                502, "internal_call_refused", "Сервіси не довіряють один одному; зверніться до підтримки."
            )
        headers = {
            name: response.headers[name] for name in ("Retry-After", "ETag") if name in response.headers
        }
        extra = {name: value for name, value in body.items() if name not in _PROBLEM_ARGUMENTS}
        return Problem(response.status_code, code, detail, headers=headers, **extra)

    def _bad_answer(self, status: int) -> Problem:
        log.error("internal_answer_unreadable", audience=self._audience, status=status)
        return Problem(
            502, "bad_answer", "Внутрішній сервіс відповів незрозуміло. Спробуйте ще раз за хвилину."
        )

    def _unavailable(self, exc: Exception) -> Problem:
        log.warning("internal_service_unavailable", audience=self._audience, error=type(exc).__name__)
        return Problem(
            503,
            "unavailable",
            "Сервіс тимчасово недоступний. Спробуйте ще раз за кілька секунд.",
            headers={"Retry-After": "2"},
        )


def redacted_client(
    name: str,
    *,
    base_url: str = "",
    timeout_s: float = 10,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> httpx2.AsyncClient:
    """A client for the outside, where addresses hold tokens: they appear in no log and no span.

    It follows no redirects and reads no proxy from the environment.

    Args:
        name: Whom it calls; spans are named after it and the request's URL_TEMPLATE extension.
        base_url: Prefix of all addresses.
        timeout_s: Seconds for each of connecting, sending and waiting.
        transport: For tests: a wire of their own.
    """
    _silence_client_logs()
    return _RedactedClient(name, base_url=base_url, timeout_s=timeout_s, transport=transport)


class _RedactedClient(httpx2.AsyncClient):
    def __init__(
        self, name: str, *, base_url: str, timeout_s: float, transport: httpx2.AsyncBaseTransport | None
    ) -> None:
        super().__init__(
            base_url=base_url,
            timeout=timeout_s,
            limits=_LIMITS,
            trust_env=False,
            transport=transport,
            verify=authorities(),
        )
        self._name = name

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        template = str(request.extensions.get(URL_TEMPLATE, "(address hidden)"))
        attributes = {
            "http.request.method": request.method,
            "url.template": template,
            "peer.service": self._name,
        }
        with span(f"{request.method} {self._name}", kind=SpanKind.CLIENT, attributes=attributes) as current:
            response = await super().send(request, **options)
            current.set_attribute("http.response.status_code", response.status_code)
            return response


_PROBLEM_ARGUMENTS = {"status", "headers", "self"}


def _silence_client_logs() -> None:
    # At INFO this library logs every address.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
