"""The door for messengers: verify, let it become durable, and only then answer 200.

A plain ASGI endpoint: this is the hottest path of the house, and the frame's request parsing costs more than
our own work.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI
from opentelemetry.trace import SpanKind
from prometheus_client import Counter
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from msgkit.connector.acceptance import Acceptance, NotAccepted
from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import Account, Connector, WebhookRequest
from msgkit.connector.credentials import EnvelopeInvalid
from msgkit.connector.errors import SignatureInvalid
from msgkit.contracts.ids import new_id
from msgkit.runtime import metrics
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.telemetry import span

log = get_logger(__name__)

BODY_MAX_BYTES = 4 * 1024 * 1024
BODY_SECONDS = 10.0
"""A body that takes longer is not from a messenger."""
LOOKUP_SECONDS = 4.0
RETRY_AFTER_SECONDS = b"1"

_DISCARDED_MAX_BYTES = 4 * BODY_MAX_BYTES
"""So much of a too big body is read and thrown away, so that its sender hears our answer."""


class _Gone(Exception):
    """The caller hung up."""


class _Refused(Exception):
    """The answer is no success; nothing was stored."""

    def __init__(self, status: int, outcome: str) -> None:
        super().__init__(outcome)
        self.status = status
        self.outcome = outcome


class WebhookDoor:
    """`POST /webhooks/{kind}/{channel_id}` of one messenger."""

    def __init__(
        self,
        *,
        connector: Connector[Any],
        accounts: AccountStore,
        acceptance: Acceptance,
        clock: Clock = utc_now,
    ) -> None:
        self._connector = connector
        self._kind = connector.manifest.kind
        self._accounts = accounts
        self._acceptance = acceptance
        self._clock = clock
        self._counters: dict[str, Counter] = {}
        self.prefix = f"/webhooks/{self._kind}/"

    def route(self) -> Route:
        return Route(f"{self.prefix}{{channel_id}}", self, methods=["POST"], include_in_schema=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with span("webhook", kind=SpanKind.SERVER, attributes={"kind": self._kind}) as current:
            try:
                account = await self._account(scope["path_params"]["channel_id"])
                body = await _read_body(scope, receive)
                request = WebhookRequest(
                    dict(scope["headers"]), body, new_id(), self._clock(), scope.get("query_string", b"")
                )
                status, (reply, outcome) = 200, await self._accept(request, account)
            except _Refused as exc:
                status, reply, outcome = exc.status, b"", exc.outcome
            except _Gone:
                self._count("gone")
                return
            self._count(outcome)
            if current.is_recording():
                current.set_attribute("http.response.status_code", status)
                current.set_attribute("outcome", outcome)
        await _send(send, status, reply)

    async def _account(self, channel_id: str) -> Account:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                account = await self._accounts.get(channel_id)
        except (StoreUnavailable, TimeoutError) as exc:
            # Never 404: the messenger must repeat what we could not look up.
            log.warning("webhook_account_not_looked_up", reason=type(exc).__name__)
            raise _Refused(503, "store_unavailable") from exc
        except EnvelopeInvalid as exc:
            log.critical("account_secrets_do_not_open", reason=str(exc))
            raise _Refused(503, "secrets_unavailable") from exc
        if account is None or account.kind != self._kind:
            raise _Refused(404, "unknown_account")
        return account

    async def _accept(self, request: WebhookRequest, account: Account) -> tuple[bytes, str]:
        """Make it durable; returns the body the messenger wants and what happened."""
        try:
            self._connector.verify(request, account)
        except SignatureInvalid as exc:
            raise _Refused(403, "forbidden") from exc
        try:
            parsed, outcome = await self._acceptance.take(request, account)
        except NotAccepted as exc:
            raise _Refused(503, exc.outcome) from exc
        for name in parsed.counted:
            log.debug("webhook_counted", channel_id=account.channel_id, name=name)
            self._count(f"counted_{name}")
        return parsed.reply, outcome

    def _count(self, outcome: str) -> None:
        counter = self._counters.get(outcome)
        if counter is None:
            # Finding the child by its labels costs more than counting.
            counter = metrics.webhook_requests_total.labels(kind=self._kind, outcome=outcome)
            self._counters[outcome] = counter
        counter.inc()


class PublicApp(FastAPI):
    """The public side of an ingest service: webhooks go straight to their door.

    The frame's middleware stack would take a tenth of the rate. Everything else, errors of the door's address
    included, is ordinary.
    """

    def __init__(self, door: WebhookDoor, title: str) -> None:
        super().__init__(title=title, openapi_url=None)
        self._door = door
        self.router.routes.append(door.route())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            prefix, path = self._door.prefix, scope["path"]
            channel_id = path[len(prefix) :]
            if path.startswith(prefix) and channel_id and "/" not in channel_id:
                scope["path_params"] = {"channel_id": channel_id}
                await self._door(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
    else:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read_chunks(_announced_bytes(scope), message, receive)
        except TimeoutError as exc:
            raise _Refused(408, "too_slow") from exc
    if len(body) > BODY_MAX_BYTES:
        raise _Refused(413, "too_big")
    return body


async def _read_chunks(announced: int, message: Message, receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= BODY_MAX_BYTES:
            chunks.append(chunk)
        elif max(size, announced) > _DISCARDED_MAX_BYTES:
            raise _Refused(413, "too_big")
        else:
            chunks.clear()
        if not message.get("more_body", False):
            break
        message = await receive()
    if size > BODY_MAX_BYTES:
        raise _Refused(413, "too_big")
    return b"".join(chunks)


def _announced_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 19 else _DISCARDED_MAX_BYTES + 1
    return 0


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    if body:
        headers.append((b"content-type", b"application/json"))
    if status == 503:
        headers.append((b"retry-after", RETRY_AFTER_SECONDS))
    elif status in {408, 413}:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
