"""The calls of Viber's REST API we make: each is one request, and tells our errors."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic_core import from_json

from ingest_viber import payloads
from ingest_viber.bodies import to_body, to_bytes
from ingest_viber.payloads import Request, message_token
from ingest_viber.refusals import TOO_MANY_REQUESTS, WEBHOOK_NOT_SET, to_error, token_refused
from msgkit.connector.contract import Account, Identity, Receipt
from msgkit.connector.errors import (
    PROVIDER_ERRORS,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    Throttled,
)
from msgkit.connector.http_call import Answered, call_once
from msgkit.connector.public_media import PublicAddresses
from msgkit.connector.raw import Node, integer, is_node, text
from msgkit.contracts.words import FailureCode
from msgkit.runtime import metrics
from msgkit.runtime.http import authorities, redacted_client

API_URL = "https://chatapi.viber.com"
CALL_SECONDS = 20.0
"""An answer that takes longer counts as unknown."""
REGISTRATION_SECONDS = 40.0
"""While it registers a webhook Viber asks us back, maybe through slow proxies."""
ANSWER_MAX_BYTES = 1024 * 1024
"""Far above anything Viber answers."""
KEEP_ALIVE_SECONDS = 4.0
"""Shorter than any server's: a connection the server closes as we write would make a delivery unknown."""
PAUSE_FIRST_S = 2.0
PAUSE_MAX_S = 60.0
"""Viber does not say how long to wait. Source: fact sheet 3.7."""

_RETRY_AFTER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """What Viber says of a bot."""

    account_id: str
    name: str | None
    webhook: str | None
    """Our address there; empty if there is none, None if Viber did not say."""
    event_types: tuple[str, ...] | None


@dataclass(slots=True)
class _Pause:
    """How long a bot waits after «too many requests», each time twice as long."""

    seconds: float
    until: float
    """Monotonic seconds."""


class ViberClient:
    """The calls we make. One pool of connections for all bots."""

    def __init__(
        self,
        kind: str,
        addresses: PublicAddresses,
        api_url: str = API_URL,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            kind: for the metrics.
            addresses: makes the ones where phones fetch our files.
            api_url: of bots without an `api_base` of their own.
            monotonic: seconds that only rise, for the pauses.
        """
        self._kind = kind
        self._addresses = addresses
        self._api_url = api_url
        self._monotonic = monotonic
        self._pauses: dict[str, _Pause] = {}
        limits = httpx2.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS)
        transport = httpx2.AsyncHTTPTransport(verify=authorities(), limits=limits, trust_env=False)
        self._http = redacted_client("viber", transport=transport)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def send(self, account: Account, request: Request) -> Receipt:
        """One message. Raises the errors of `msgkit.connector.errors`."""
        file = request.file
        # Made now and not before: an address lives for a week.
        url = None if file is None else self._addresses.of(file.key, file.mime, file.address_name)
        answer = await self._call(account, "send_message", to_body(request, url))
        return Receipt(message_token(answer.get("message_token")))

    async def account_info(self, account: Account) -> AccountInfo:
        """get_account_info: the bot behind a token, and how it is connected."""
        answer = await self._call(account, "get_account_info", {})
        account_id = text(answer.get("id")) or text(answer.get("uri"))
        if not account_id:
            raise DeliveryUnknown("get_account_info answered without an id")
        events = answer.get("event_types")
        # With neither of the two there is no webhook; with one of them Viber only did not say the other.
        is_silent = "webhook" not in answer and events is not None
        return AccountInfo(
            account_id=account_id,
            name=text(answer.get("name")) or text(answer.get("uri")),
            webhook=None if is_silent else text(answer.get("webhook")) or "",
            event_types=tuple(kind for kind in events if isinstance(kind, str))
            if isinstance(events, list)
            else None,
        )

    async def who_am_i(self, account: Account) -> Identity:
        """The bot behind a token."""
        info = await self.account_info(account)
        return Identity(info.account_id, info.name)

    async def set_webhook(self, account: Account, url: str) -> None:
        """set_webhook with every option every time; Viber calls the address before it answers."""
        body = {
            "url": url,
            "event_types": list(payloads.EVENT_TYPES),
            "send_name": True,
            "send_photo": True,
        }
        await self._call(account, "set_webhook", body, REGISTRATION_SECONDS)

    async def delete_webhook(self, account: Account) -> None:
        """set_webhook with an empty address."""
        try:
            await self._call(account, "set_webhook", {"url": ""}, ignored=WEBHOOK_NOT_SET)
        except MessageRejected as exc:
            # An empty address cannot be a wrong one: nothing for a person to correct.
            raise ProviderUnavailable(f"the webhook was not removed: {exc.text}") from None

    # --- shared by the calls

    async def _call(
        self,
        account: Account,
        method: str,
        body: Node,
        seconds: float | None = None,
        ignored: int = 0,
    ) -> Node:
        """One call; the answer with status 0, or with the `ignored` one."""
        outcome, started = "ended", time.perf_counter()
        try:
            answer = await self._asked(account, method, body, CALL_SECONDS if seconds is None else seconds)
            status = _checked(answer, ignored)
            if status == TOO_MANY_REQUESTS:
                raise Throttled(self._pause(account))
            self._pauses.pop(account.channel_id, None)
            outcome = "ok"
        except PROVIDER_ERRORS as exc:
            outcome = type(exc).__name__
            raise
        finally:
            metrics.provider_request_seconds.labels(kind=self._kind, method=method, outcome=outcome).observe(
                time.perf_counter() - started
            )
        return answer

    async def _asked(self, account: Account, method: str, body: Node, seconds: float) -> Node:
        token = account.credentials.get("token", "")
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise token_refused("неправильний вигляд")
        base = (account.api_base or self._api_url).rstrip("/")
        answered = await call_once(
            self._http,
            "POST",
            f"{base}/pa/{method}",
            template=f"/pa/{method}",
            headers={payloads.AUTH_HEADER: token, "Content-Type": "application/json"},
            params=None,
            content=to_bytes(body),
            seconds=seconds,
            max_bytes=ANSWER_MAX_BYTES,
        )
        return self._read(account, answered)

    def _read(self, account: Account, answered: Answered) -> Node:
        status = answered.status
        if status == 429:
            told = _RETRY_AFTER.fullmatch(answered.headers.get("Retry-After", ""))
            raise Throttled(max(1.0, float(told.group())) if told else self._pause(account))
        if status == 413:
            raise MessageRejected(FailureCode.TOO_LONG, "Повідомлення задовге для Viber. Скоротіть його.")
        answer = None if answered.body is None else _parsed(answered.body)
        if not is_node(answer) or status >= 500:
            # Viber says 200 also of refusals, so this came from something before or behind it.
            raise DeliveryUnknown(f"an unreadable answer with status {status}")
        return answer

    def _pause(self, account: Account) -> float:
        """Seconds to wait; answers that were under way side by side count as one."""
        now = self._monotonic()
        before = self._pauses.get(account.channel_id)
        if before is not None and now < before.until:
            return before.seconds
        is_again = before is not None and now < before.until + before.seconds
        seconds = min(PAUSE_MAX_S, before.seconds * 2) if before and is_again else PAUSE_FIRST_S
        self._pauses[account.channel_id] = _Pause(seconds, now + seconds)
        return seconds


def _checked(answer: Node, ignored: int) -> int:
    """The status of an answer that is no refusal, or «too many requests»."""
    status = integer(answer.get("status"))
    if status is None:
        raise DeliveryUnknown("an answer without a status")
    if status in {0, TOO_MANY_REQUESTS, ignored}:
        return status
    raise to_error(status, _readable(answer.get("status_message")))


def _parsed(content: bytes) -> Any:
    try:
        return from_json(content)
    except ValueError:
        return None


def _readable(message: object) -> str:
    return (text(message) or "").encode("utf-8", "replace").decode()
