"""The Graph API over HTTP, at both of its hosts: one request is one call, and tells our errors.

Source: fact sheet 2.1, 2.8.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx2
from pydantic_core import from_json, to_json

from ingest_meta.flavours import FACEBOOK_URL, INSTAGRAM_URL, VERSION, flavour_of
from ingest_meta.refusals import PAUSE_SECONDS, row_of, to_error
from msgkit.connector.contract import Account
from msgkit.connector.errors import (
    PROVIDER_ERRORS,
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    Throttled,
)
from msgkit.connector.http_call import Answered, call_once
from msgkit.connector.pauses import Pauses, retry_after_s, usage_wait_s
from msgkit.connector.raw import Node, integer, is_node, node, words
from msgkit.contracts.words import FailureCode
from msgkit.runtime import metrics
from msgkit.runtime.http import authorities, redacted_client
from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

USER_AGENT: Final = "Rozmova"
CALL_SECONDS: Final = 20.0
"""An answer that takes longer counts as unknown."""
KEEP_ALIVE_SECONDS: Final = 4.0
"""Shorter than any server's: a connection the server closes as we write would make a delivery unknown."""
ANSWER_MAX_BYTES: Final = 8 * 1024 * 1024
"""A page of messages is the biggest answer we ask for."""

_ID = re.compile(r"[0-9]{1,32}")

Refusal = Callable[[Node], Exception]
"""What `error` of an answer means."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the Graph API."""

    verb: str
    path: str
    """Below the version, made of ids by `own_id` and `step` and of fixed words."""
    name: str
    """For the metrics and the log."""
    params: Mapping[str, str] = field(default_factory=dict)
    json: object = None
    content: AsyncIterable[bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = CALL_SECONDS
    refusal: Refusal = to_error
    delivers: bool = False
    """An answer that is lost leaves it open whether it was done; else asking again harms nobody."""
    waits: bool = False
    """It counts as sending: not done while the account must wait. Looking is always allowed."""


def own_id(given: str) -> str:
    """The id of a page or an account of ours as a step of a path.

    Raises:
        CredentialsInvalid: it is none, and would lead elsewhere.
    """
    if not _ID.fullmatch(given):
        raise CredentialsInvalid(
            "Ідентифікатор сторінки або акаунта має складатися з цифр. Перевірте page_id і замініть ключ."
        )
    return given


def step(given: str) -> str:
    """An opaque id of Meta's as a step of a path.

    Raises:
        MessageRejected: it would lead elsewhere.
    """
    if not given.strip("."):
        raise MessageRejected(
            FailureCode.REJECTED, "Meta дала неправильний ідентифікатор. Зверніться до підтримки."
        )
    return quote(given, safe="")


class Graph:
    """The connections to the Graph API, one pool for all accounts."""

    def __init__(
        self,
        facebook_url: str = FACEBOOK_URL,
        instagram_url: str = INSTAGRAM_URL,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            facebook_url: of pages and Instagram through pages, without an `api_base` of their own.
            instagram_url: the same of Instagram's own login.
            monotonic: seconds that only rise, for the pauses.
        """
        self._facebook_url = facebook_url
        self._instagram_url = instagram_url
        self._pauses = Pauses(monotonic)
        limits = httpx2.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS)
        transport = httpx2.AsyncHTTPTransport(verify=authorities(), limits=limits, trust_env=False)
        self._http = redacted_client("meta", transport=transport)

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
        is_by_page = flavour_of(account).is_by_page
        own = self._facebook_url if is_by_page else self._instagram_url
        base = (account.api_base or own).rstrip("/")
        headers = {
            "Authorization": f"Bearer {token_of(account)}",
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
            usage_wait_s(headers.get("X-Business-Use-Case-Usage"), headers.get("X-App-Usage")),
        )
        answer = None if answered.body is None else _parsed(answered.body)
        error = node(answer.get("error")) if is_node(answer) else {}
        if error or status == 429:
            self._log(account, ask, status, error)
            refused = ask.refusal(error) if error else Throttled(PAUSE_SECONDS)
            if isinstance(refused, Throttled) or status == 429:
                least_s = refused.retry_after_seconds if isinstance(refused, Throttled) else PAUSE_SECONDS
                seconds = max(least_s, wait_s)
                raise Throttled(self._pauses.refused(account.channel_id, seconds) if ask.waits else seconds)
            if ask.waits:
                self._pauses.asked(account.channel_id, wait_s)
            if status >= 500 and row_of(error) is None:
                # A code nobody knows on a failure of the server says nothing against the message.
                raise ProviderUnavailable(f"the Graph API failed with status {status}")
            raise refused
        if ask.waits:
            self._pauses.asked(account.channel_id, wait_s)
        if not is_node(answer) or not 200 <= status < 300:
            # Meta's own refusals are JSON with `error`: this came from something before or behind it.
            self._log(account, ask, status, error)
            raise DeliveryUnknown(f"an unreadable answer with status {status}")
        return answer

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


def token_of(account: Account) -> str:
    """The token of the account.

    Raises:
        CredentialsInvalid: it cannot be one.
    """
    token = account.credentials.get("access_token", "")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise CredentialsInvalid(
            "Токен доступу Meta має неправильний вигляд. Скопіюйте його ще раз і замініть ключ."
        )
    return token


def _parsed(content: bytes) -> Any:
    try:
        return from_json(content)
    except ValueError:
        return None
