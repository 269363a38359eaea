"""Meta's Graph API over HTTP: one request is one call, and tells our errors.

Several messengers live there. What each has of its own, addresses, tokens and the meaning of codes, is a
`Dialect`.
Source: fact sheets of Messenger, Instagram and WhatsApp, 2.1, 2.5, 2.8.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
from pydantic_core import from_json, to_json

from msgkit.connector.contract import Account
from msgkit.connector.errors import (
    PROVIDER_ERRORS,
    CredentialsInvalid,
    DeliveryUnknown,
    ProviderUnavailable,
    Throttled,
)
from msgkit.connector.http_call import Answered, call_once
from msgkit.connector.pauses import Pauses, retry_after_s, usage_wait_s
from msgkit.connector.raw import Node, integer, is_node, node, words
from msgkit.runtime import metrics
from msgkit.runtime.http import authorities, redacted_client
from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

VERSION: Final = "v25.0"
"""Lives to 2028-07-29. Webhooks must have the same version in the App Dashboard. Source: fact sheets, 0."""
USER_AGENT: Final = "Rozmova"
"""Some clients without one are refused. Source: fact sheet of WhatsApp, 2.5."""
CALL_SECONDS: Final = 20.0
"""An answer that takes longer counts as unknown."""
KEEP_ALIVE_SECONDS: Final = 4.0
"""Shorter than any server's: a connection the server closes as we write would make a delivery unknown."""
ANSWER_MAX_BYTES: Final = 8 * 1024 * 1024
"""A page of messages or of templates is the biggest answer we ask for."""
PAUSE_SECONDS: Final = 2.0
"""For a limit that does not say how long to wait: throughput is counted by the second."""

Refusal = Callable[[Node], Exception]
"""What `error` of an answer means."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the Graph API."""

    verb: str
    path: str
    """Below the version, made of fixed words and of ids the service has looked at."""
    name: str
    """For the metrics and the log."""
    params: Mapping[str, str] = field(default_factory=dict)
    json: object = None
    content: AsyncIterable[bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = CALL_SECONDS
    refusal: Refusal | None = None
    """Where an error means something else than in the dialect."""
    delivers: bool = False
    """An answer that is lost leaves it open whether it was done; else asking again harms nobody."""
    waits: bool = False
    """It counts as sending: not done while the account must wait. Looking is always allowed."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one service's messengers have of their own."""

    service: str
    """In the names of traces."""
    base_url: Callable[[Account], str]
    """Of an account without an `api_base` of its own."""
    token: Callable[[Account], str]
    """Raises CredentialsInvalid for what cannot be one."""
    refusal: Refusal
    usage_headers: tuple[str, ...]
    """Where an answer says how much of an allowance is used."""
    is_silence: Callable[[int, Node], bool] = lambda _status, _error: False
    """Whether a refusal with this status says nothing against what was asked: it is asked again."""


class Graph:
    """The connections to the Graph API, one pool for all accounts of a service."""

    def __init__(self, dialect: Dialect, monotonic: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            dialect: of the service.
            monotonic: seconds that only rise, for the pauses.
        """
        self._dialect = dialect
        self._pauses = Pauses(monotonic)
        limits = httpx2.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS)
        transport = httpx2.AsyncHTTPTransport(verify=authorities(), limits=limits, trust_env=False)
        self._http = redacted_client(dialect.service, transport=transport)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def call(self, account: Account, ask: Ask) -> Node:
        """The answer, an object without `error`. Raises the errors of `msgkit.connector.errors`."""
        outcome, started = "ended", time.perf_counter()
        try:
            answer = await self._called(account, ask)
            outcome = "ok"
        except PROVIDER_ERRORS as exc:
            outcome = type(exc).__name__
            raise
        finally:
            metrics.provider_request_seconds.labels(
                kind=account.kind, method=ask.name, outcome=outcome
            ).observe(time.perf_counter() - started)
        return answer

    async def _called(self, account: Account, ask: Ask) -> Node:
        left_s = self._pauses.left_s(account.channel_id)
        if ask.waits and left_s > 0:
            raise Throttled(left_s)
        try:
            answer = await self._asked(account, ask)
        except DeliveryUnknown as exc:
            if ask.delivers:
                raise
            raise ProviderUnavailable(str(exc)) from None
        if ask.waits:
            self._pauses.over(account.channel_id)
        return answer

    async def _asked(self, account: Account, ask: Ask) -> Node:
        base = (account.api_base or self._dialect.base_url(account)).rstrip("/")
        headers = {
            "Authorization": f"Bearer {self._dialect.token(account)}",
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
            **ask.headers,
        }
        content: Any = ask.content
        if ask.json is not None:
            content, headers["Content-Type"] = to_json(ask.json), "application/json"
        answered = await call_once(
            self._http,
            ask.verb,
            f"{base}/{VERSION}/{ask.path}",
            template=f"/{VERSION}/{{id}}/{ask.name}",
            headers=headers,
            params=ask.params,
            content=content,
            seconds=ask.seconds,
            max_bytes=ANSWER_MAX_BYTES,
        )
        return self._understood(account, ask, answered)

    def _understood(self, account: Account, ask: Ask, answered: Answered) -> Node:
        status, headers = answered.status, answered.headers
        wait_s = max(
            retry_after_s(headers.get("Retry-After")),
            usage_wait_s(*(headers.get(name) for name in self._dialect.usage_headers)),
        )
        answer = None if answered.body is None else _parsed(answered.body)
        error = node(answer.get("error")) if is_node(answer) else {}
        if error or status == 429:
            self._log(account, ask, status, error)
            raise self._refused(account, ask, status, error, wait_s)
        if ask.waits:
            self._pauses.asked(account.channel_id, wait_s)
        if not is_node(answer) or not 200 <= status < 300:
            # Meta's own refusals are JSON with `error`: this came from something before or behind it.
            self._log(account, ask, status, error)
            raise DeliveryUnknown(f"an unreadable answer with status {status}")
        return answer

    def _refused(self, account: Account, ask: Ask, status: int, error: Node, wait_s: float) -> Exception:
        meaning = ask.refusal or self._dialect.refusal
        refused = meaning(error) if error else Throttled(PAUSE_SECONDS)
        if isinstance(refused, Throttled) and refused.only_this_contact:
            return refused
        if isinstance(refused, Throttled) or status == 429:
            least_s = refused.retry_after_seconds if isinstance(refused, Throttled) else PAUSE_SECONDS
            seconds = max(least_s, wait_s)
            return Throttled(self._pauses.refused(account.channel_id, seconds) if ask.waits else seconds)
        if ask.waits:
            self._pauses.asked(account.channel_id, wait_s)
        if self._dialect.is_silence(status, error):
            return ProviderUnavailable(f"the Graph API failed with status {status}")
        return refused

    def _log(self, account: Account, ask: Ask, status: int, error: Node) -> None:
        log.warning(
            "graph_refused",
            channel_id=account.channel_id,
            method=ask.name,
            status=status,
            code=integer(error.get("code")),
            subcode=integer(error.get("error_subcode")),
            fbtrace_id=words(error.get("fbtrace_id"), 64),
        )


def access_token(account: Account, complaint: str) -> str:
    """The token of an account, if it can be sent as one at all.

    Raises:
        CredentialsInvalid: with the complaint.
    """
    token = account.credentials.get("access_token", "")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise CredentialsInvalid(complaint)
    return token


def _parsed(content: bytes) -> Any:
    try:
        return from_json(content)
    except ValueError:
        return None
