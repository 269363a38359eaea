"""One HTTP call to a messenger: bounded, and its failure says whether it may have arrived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from msgkit.connector.errors import DeliveryUnknown, ProviderUnavailable
from msgkit.runtime.http import URL_TEMPLATE

CONNECT_SECONDS: Final = 5.0
_CERTAINLY_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    """None: more than anything the caller asks for."""


async def call_once(
    http: httpx2.AsyncClient,
    verb: str,
    url: str,
    *,
    template: str,
    headers: Mapping[str, str],
    params: Mapping[str, Any] | None,
    content: bytes | AsyncIterable[bytes] | None,
    seconds: float,
    max_bytes: int,
) -> Answered:
    """Exactly one call.

    Args:
        http: the client to use.
        verb: `GET`, `POST`, …
        url: the whole address; it is in no error.
        template: the address as traces and metrics may show it.
        headers: with the credentials; they are in no error.
        params: of the query.
        content: the body.
        seconds: for all of it.
        max_bytes: of an answer.

    Raises:
        ProviderUnavailable: it certainly did not reach the messenger.
        DeliveryUnknown: it may have.
    """
    # `from None` throughout: what the library raises carries the request, and with it the token.
    try:
        async with (
            asyncio.timeout(seconds),
            http.stream(
                verb,
                url,
                params=params,
                content=content,
                headers=headers,
                timeout=httpx2.Timeout(seconds, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),
                extensions={URL_TEMPLATE: template},
            ) as response,
        ):
            body = await _read(response, max_bytes)
    except _CERTAINLY_NOT_SENT as exc:
        raise ProviderUnavailable(f"no connection to the messenger: {type(exc).__name__}") from None
    except (httpx2.TimeoutException, TimeoutError):
        raise DeliveryUnknown(f"no answer within {seconds:g} s") from None
    except (httpx2.TransportError, httpx2.DecodingError) as exc:
        raise DeliveryUnknown(f"the connection broke: {type(exc).__name__}") from None
    return Answered(response.status_code, response.headers, body)


async def _read(response: httpx2.Response, max_bytes: int) -> bytes | None:
    chunks, size = [], 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
