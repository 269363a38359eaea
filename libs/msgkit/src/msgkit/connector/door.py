"""What all doors for messengers share: the body within limits, the answer, the count.

Plain ASGI: this is the hottest path of the house, and the frame's request parsing costs more than our own
work.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import TypeVar

from opentelemetry.trace import SpanKind
from prometheus_client import Counter
from starlette.types import Message, Receive, Scope, Send

from msgkit.connector.contract import WebhookRequest
from msgkit.connector.credentials import EnvelopeInvalid
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

T = TypeVar("T")


class Refused(Exception):
    """The answer is no success; nothing was stored."""

    def __init__(self, status: int, outcome: str) -> None:
        super().__init__(outcome)
        self.status = status
        self.outcome = outcome


class _Gone(Exception):
    """The caller hung up."""


class Door(ABC):
    """An address of one messenger's webhooks."""

    def __init__(self, kind: str, clock: Clock = utc_now) -> None:
        self._kind = kind
        self._clock = clock
        self._counters: dict[str, Counter] = {}

    @abstractmethod
    async def take(self, scope: Scope, receive: Receive) -> tuple[bytes, str]:
        """Make the webhook durable; the body of the 200, and what happened in one word for the counter.

        Raises:
            Refused: another answer than 200.
        """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with span("webhook", kind=SpanKind.SERVER, attributes={"kind": self._kind}) as current:
            try:
                status, (reply, outcome) = 200, await self.take(scope, receive)
            except Refused as exc:
                status, reply, outcome = exc.status, b"", exc.outcome
            except _Gone:
                self.count("gone")
                return
            self.count(outcome)
            if current.is_recording():
                current.set_attribute("http.response.status_code", status)
                current.set_attribute("outcome", outcome)
        await _send(send, status, reply)

    async def read(self, scope: Scope, receive: Receive) -> WebhookRequest:
        """The webhook as it came.

        Raises:
            Refused: too big, or too slow.
        """
        body = await _read_body(scope, receive)
        return WebhookRequest(
            dict(scope["headers"]), body, new_id(), self._clock(), scope.get("query_string", b"")
        )

    def count(self, outcome: str) -> None:
        """One more webhook that ended so."""
        counter = self._counters.get(outcome)
        if counter is None:
            # Finding the child by its labels costs more than counting.
            counter = metrics.webhook_requests_total.labels(kind=self._kind, outcome=outcome)
            self._counters[outcome] = counter
        counter.inc()


async def looked_up(question: Awaitable[T]) -> T:
    """An answer of the accounts' store.

    Raises:
        Refused: 503, never 404: the messenger must repeat what we could not look up.
    """
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            return await question
    except (StoreUnavailable, TimeoutError) as exc:
        log.warning("webhook_account_not_looked_up", reason=type(exc).__name__)
        raise Refused(503, "store_unavailable") from exc
    except EnvelopeInvalid as exc:
        log.critical("account_secrets_do_not_open", reason=str(exc))
        raise Refused(503, "secrets_unavailable") from exc


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
    else:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read_chunks(_announced_bytes(scope), message, receive)
        except TimeoutError as exc:
            raise Refused(408, "too_slow") from exc
    if len(body) > BODY_MAX_BYTES:
        raise Refused(413, "too_big")
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
            raise Refused(413, "too_big")
        else:
            chunks.clear()
        if not message.get("more_body", False):
            break
        message = await receive()
    if size > BODY_MAX_BYTES:
        raise Refused(413, "too_big")
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
