"""The calls of the Cloud API we make: sending, set-up, signals, templates, files."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ingest_whatsapp.bodies import Request, to_body, to_read_mark
from ingest_whatsapp.downloads import Downloads
from ingest_whatsapp.graph import API_URL, graph, ids
from ingest_whatsapp.refusals import (
    BAD_PARAMETER,
    MEDIA_FAILED,
    ODD_VALUE,
    Does,
    row_of,
    to_error,
)
from ingest_whatsapp.registration import (
    CALLBACK_MAX_CHARS,
    NUMBER_FIELDS,
    Standing,
    own_hook_of,
    to_identity,
    to_report,
)
from ingest_whatsapp.templates import to_templates
from ingest_whatsapp.uploads import Uploads
from msgkit.connector.contract import Account, ConnectionReport, Identity, MediaStream, Receipt
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
)
from msgkit.connector.graph_api import Ask
from msgkit.connector.raw import Node, integer, is_node, items, node, opaque, text
from msgkit.contracts.internal_api import MessageTemplate
from msgkit.contracts.words import FailureCode
from msgkit.runtime.logs import get_logger
from msgkit.runtime.objects import ObjectStore
from msgkit.runtime.safe_fetch import SafeFetch

log = get_logger(__name__)

FILE_ATTEMPTS: Final = 3
"""A file that was not taken is tried twice more. Source: fact sheet 2.8, 131053."""
REGISTRATION_SECONDS: Final = 40.0
"""While it registers an address WhatsApp calls it, maybe through slow proxies."""
PAGE: Final = 100
PAGES_MAX: Final = 50
TROUBLE_SECONDS: Final = 3600.0
"""What only the answers to our sends tell of a number counts for so long: nobody says when it is over."""
_SEEN_BY_A_LOOK = frozenset({0, 190})
"""Codes of a token that is none: looking at the number is refused with them too."""
_ATTEMPTS_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Trouble:
    text: str
    until: float
    """Monotonic seconds."""
    stops: bool
    """Nothing at all can be sent."""


class GraphClient:
    """The Cloud API for all numbers of one ingest service."""

    def __init__(
        self,
        objects: ObjectStore,
        api_url: str = API_URL,
        outside: SafeFetch | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            objects: where files of answers lie.
            api_url: of numbers without an `api_base` of their own.
            outside: for tests: how files of clients are fetched.
            monotonic: seconds that only rise, for the pauses.
        """
        self._graph = graph(api_url, monotonic)
        self._uploads = Uploads(self._graph, objects)
        self._downloads = Downloads(self._graph, outside)
        self._monotonic = monotonic
        self._attempts: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._troubles: dict[str, _Trouble] = {}

    async def aclose(self) -> None:
        await self._downloads.aclose()
        await self._graph.aclose()

    # --- answers

    async def send(self, account: Account, request: Request) -> Receipt:
        """One message; a file is uploaded before, if that was not done yet.

        Raises the errors of `msgkit.connector.errors`.
        """
        refusal = partial(self._refused, account)
        file = request.file
        if file is None:
            return await self._say(account, to_body(request), refusal)
        media_id = self._uploads.known(account, file)
        is_known = media_id is not None
        if media_id is None:
            media_id = await self._uploads.make(account, _number(account), file)
        refusal = partial(self._file_refused, account, request, is_known)
        return await self._say(account, to_body(request, media_id), refusal)

    async def _say(
        self, account: Account, body: Mapping[str, Any], refusal: Callable[[Node], Exception]
    ) -> Receipt:
        ask = Ask(
            verb="POST",
            path=f"{ids(_number(account))}/messages",
            name="messages",
            json=body,
            refusal=refusal,
            delivers=True,
            waits=True,
        )
        answer = await self._graph.call(account, ask)
        message_id = opaque(node(next(iter(items(answer.get("messages"))), None)).get("id"))
        if message_id is None:
            raise DeliveryUnknown("a message was taken without an id")
        return Receipt(message_id)

    def _refused(self, account: Account, error: Node) -> Exception:
        code = integer(error.get("code"))
        row = row_of(code)
        stops = row is not None and row.does is Does.STOP
        if row is not None and (row.is_accounts or (stops and code not in _SEEN_BY_A_LOOK)):
            until = self._monotonic() + TROUBLE_SECONDS
            self._troubles[account.channel_id] = _Trouble(row.text, until, stops)
        return to_error(error)

    def _file_refused(self, account: Account, request: Request, is_known: bool, error: Node) -> Exception:
        """A file that could not be taken may be taken the next time, from a new upload."""
        code = integer(error.get("code"))
        # An id from before may have gone at Meta; it is then a bad parameter like any other.
        if code == MEDIA_FAILED or (is_known and code in {BAD_PARAMETER, ODD_VALUE}):
            assert request.file is not None
            self._uploads.forget(account, request.file)
            if self._may_repeat(account, request.mark):
                return ProviderUnavailable(f"the file was not taken, code {code}: once more")
        return self._refused(account, error)

    def _may_repeat(self, account: Account, mark: str) -> bool:
        key = (account.channel_id, mark)
        count = self._attempts[key] = self._attempts.pop(key, 0) + 1
        while len(self._attempts) > _ATTEMPTS_KEPT:
            self._attempts.popitem(last=False)
        return count < FILE_ATTEMPTS

    # --- signals

    async def mark_read(self, address: str, provider_id: str, account: Account) -> None:
        """The client sees that everything up to this message was read. Raises the errors."""
        await self._signal(account, provider_id, is_typing=False)

    async def show_typing(self, address: str, provider_id: str, account: Account) -> None:
        """«Typing…» for 25 s or until a message; it marks as read too. Raises the errors."""
        await self._signal(account, provider_id, is_typing=True)

    async def _signal(self, account: Account, provider_id: str, *, is_typing: bool) -> None:
        await self._graph.call(
            account,
            Ask(
                verb="POST",
                path=f"{ids(_number(account))}/messages",
                name="read",
                json=to_read_mark(provider_id, is_typing=is_typing),
                waits=True,
            ),
        )

    # --- what the business has

    async def templates(self, account: Account) -> list[MessageTemplate]:
        """The approved templates of the business account. Raises the errors."""
        return to_templates(await self._listed(account, "message_templates"))

    async def _listed(self, account: Account, edge: str) -> list[Any]:
        """All elements of an edge of the business account, page by page.

        `next` of an answer is an address, and maybe a stranger's: the position after the page is enough.
        """
        found: list[Any] = []
        after: str | None = None
        for _ in range(PAGES_MAX):
            params = {"limit": str(PAGE), **({} if after is None else {"after": after})}
            ask = Ask(verb="GET", path=f"{ids(_waba(account))}/{edge}", name=edge, params=params)
            answer = await self._graph.call(account, ask)
            found += items(answer.get("data"))
            paging = node(answer.get("paging"))
            before, after = after, text(node(paging.get("cursors")).get("after"))
            if not paging.get("next") or after is None or after == before:
                return found
        log.warning("list_cut", channel_id=account.channel_id, edge=edge, pages=PAGES_MAX)
        return found

    # --- the account

    async def who_am_i(self, account: Account) -> Identity:
        """The number behind the credentials, which must belong to the business account. Raises the errors."""
        number = await self._number_fields(account)
        return to_identity(number, _waba(account), await self._listed(account, "phone_numbers"))

    async def connect(self, account: Account, webhook_url: str) -> None:
        """Subscribe the app to the account; the same every time. Raises the errors.

        A number of an app of the tenant's own gets our address for itself alone: others of the same business
        account may be elsewhere. A number of our app loses an address of its own, which would go before the
        app's.

        Source: fact sheet 4; PYWA api.py.
        """
        await self._post(account, f"{ids(_waba(account))}/subscribed_apps", "subscribed_apps", {})
        if has_own_app(account):
            if len(webhook_url) > CALLBACK_MAX_CHARS:
                raise MessageRejected(
                    FailureCode.TOO_LONG,
                    f"Адреса вебхука довша за {CALLBACK_MAX_CHARS} символів: задайте коротшу.",
                )
            await self._set_hook(account, webhook_url)
            return
        own_hook = own_hook_of(await self._number_fields(account))
        if own_hook and own_hook.rstrip("/") != webhook_url.rstrip("/"):
            await self._set_hook(account, "")

    async def check(self, account: Account, webhook_url: str) -> ConnectionReport:
        """How the number is connected. Raises the errors."""
        trouble = self._trouble(account)
        if trouble is not None and trouble.stops and account.state == "disconnected":
            # The look finds the token good, and the account would be switched on again for one send after
            # another. A person who switches it on is not in doubt: then it is not disconnected any more.
            raise CredentialsInvalid(trouble.text)
        ask = Ask(verb="GET", path=f"{ids(_waba(account))}/subscribed_apps", name="subscribed_apps")
        standing = Standing(
            number=await self._number_fields(account),
            subscribed=items((await self._graph.call(account, ask)).get("data")),
        )
        return to_report(
            standing,
            webhook_url,
            is_own_app=has_own_app(account),
            trouble=None if trouble is None or trouble.stops else trouble.text,
        )

    def _trouble(self, account: Account) -> _Trouble | None:
        found = self._troubles.get(account.channel_id)
        return found if found is not None and found.until > self._monotonic() else None

    async def disconnect(self, account: Account) -> None:
        """No webhooks of this number any more; may be repeated. Raises the errors.

        The subscription is the business account's: while it has other numbers it stays, or their messages
        would be lost; what comes of this number then finds no account.
        """
        if has_own_app(account):
            await self._set_hook(account, "")
        numbers = [
            opaque(one.get("id")) for one in await self._listed(account, "phone_numbers") if is_node(one)
        ]
        if any(one != _number(account) for one in numbers):
            log.info("subscription_left", channel_id=account.channel_id, numbers=len(numbers))
            return
        path = f"{ids(_waba(account))}/subscribed_apps"
        await self._graph.call(account, Ask(verb="DELETE", path=path, name="subscribed_apps"))

    async def _number_fields(self, account: Account) -> Node:
        ask = Ask(
            verb="GET",
            path=ids(_number(account)),
            name="phone_number",
            params={"fields": ",".join(NUMBER_FIELDS)},
        )
        return await self._graph.call(account, ask)

    async def _set_hook(self, account: Account, url: str) -> None:
        hook = {"override_callback_uri": url}
        if url:
            hook["verify_token"] = account.webhook_secret
        await self._post(account, ids(_number(account)), "phone_number", {"webhook_configuration": hook})

    async def _post(self, account: Account, path: str, name: str, body: Mapping[str, Any]) -> None:
        await self._graph.call(
            account, Ask(verb="POST", path=path, name=name, json=body, seconds=REGISTRATION_SECONDS)
        )

    # --- files of clients

    def open_media(self, ref: str, account: Account) -> AbstractAsyncContextManager[MediaStream]:
        """The file a `MediaRef` names. Raises the errors."""
        return self._downloads.open(ref, _number(account), account)


def has_own_app(account: Account) -> bool:
    """Whether the tenant runs a Meta app of its own, whose webhooks come to an address of this account."""
    return bool(account.credentials.get("app_secret"))


def _number(account: Account) -> str:
    return account.account_id or account.credentials.get("phone_number_id", "")


def _waba(account: Account) -> str:
    return account.credentials.get("waba_id", "")
