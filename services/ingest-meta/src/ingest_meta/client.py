"""The calls of the Graph API we make: sending, set-up, signals, profiles, what was missed, files."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from ingest_meta import profiles, tokens
from ingest_meta.bodies import REPLY_WINDOW, Messaging, Request, messaging_of, to_body, to_signal
from ingest_meta.downloads import Downloads
from ingest_meta.flavours import FACEBOOK_URL, INSTAGRAM_URL, Flavour, flavour_of, node_of
from ingest_meta.graph import graph, own_id, step
from ingest_meta.recalls import CALLS_PER_SECOND, Recalls
from ingest_meta.refusals import OTHERS_THREAD, Does, beside, row_of, to_error
from ingest_meta.subscriptions import Subscriptions
from ingest_meta.uploads import Uploads
from msgkit.connector.contract import (
    Account,
    ConnectionReport,
    Identity,
    MediaStream,
    Profile,
    Recalled,
    Receipt,
)
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
)
from msgkit.connector.graph_api import Ask
from msgkit.connector.raw import Node, integer, opaque
from msgkit.contracts.words import FailureCode
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.objects import ObjectStore
from msgkit.runtime.safe_fetch import SafeFetch

log = get_logger(__name__)

FILE_ATTEMPTS: Final = 2
"""A file that was not taken is tried once more. Source: fact sheet 2.8, «re-upload; retry once»."""
NEARLY: Final = timedelta(minutes=2)
"""Before the end of the window Meta's clock may be past it already."""
TROUBLE_SECONDS: Final = 3600.0
"""What only the answers to our sends tell of an account counts for so long: nobody says when it is over."""
_SEEN_BY_A_LOOK = frozenset({0, 190})
"""Codes of a token that is none: looking at the account is refused with them too."""
_REMEMBERED: Final = 1_000
_NOT_GRANTED: Final = (
    "Meta не дозволила відповідати пізніше ніж за 24 години: застосунок не має функції Human Agent. Подайте "
    "її на App Review, а доти пишіть лише протягом доби від повідомлення клієнта."
)

_Call = tuple[str, str]
"""Channel and mark."""


@dataclass(frozen=True, slots=True)
class _Trouble:
    text: str
    until: float
    """Monotonic seconds."""


class _OthersThread(Exception):
    """Another app owns the thread: certainly not taken."""


class GraphClient:
    """The Graph API for all pages and Instagram accounts of one ingest service."""

    def __init__(
        self,
        objects: ObjectStore,
        facebook_url: str = FACEBOOK_URL,
        instagram_url: str = INSTAGRAM_URL,
        *,
        outside: SafeFetch | None = None,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        recalls_per_second: float = CALLS_PER_SECOND,
    ) -> None:
        """
        Args:
            objects: where files of answers lie.
            facebook_url: of pages and Instagram through pages, without an `api_base` of their own.
            instagram_url: the same of Instagram's own login.
            outside: for tests: how files of clients are fetched.
            clock: decides about reply windows and tokens.
            monotonic: seconds that only rise, for pauses and pace.
            recalls_per_second: calls of the Conversations API, of one account.
        """
        self._graph = graph(facebook_url, instagram_url, monotonic)
        self._uploads = Uploads(self._graph, objects, clock)
        self._downloads = Downloads(outside)
        self._subscriptions = Subscriptions(self._graph, clock)
        self._recalls = Recalls(self._graph, clock, monotonic, recalls_per_second)
        self._clock = clock
        self._monotonic = monotonic
        self._file_attempts: OrderedDict[_Call, int] = OrderedDict()
        self._surely_late: OrderedDict[_Call, None] = OrderedDict()
        self._troubles: dict[str, _Trouble] = {}

    async def aclose(self) -> None:
        await self._downloads.aclose()
        await self._graph.aclose()

    # --- answers

    async def send(self, account: Account, request: Request) -> Receipt:
        """One message; a file is uploaded before, if that was not done yet.

        Raises the errors of `msgkit.connector.errors`.
        """
        file, attachment_id, is_known = request.file, None, False
        if file is not None:
            attachment_id = self._uploads.known(account, file)
            is_known = attachment_id is not None
            if attachment_id is None:
                attachment_id = await self._uploads.make(account, file)
        messaging = self._messaging(account, request)
        body = to_body(request, messaging, attachment_id)
        refusal = partial(self._refused, account, request, messaging, is_known)
        try:
            return await self._say(account, request, body, refusal)
        except _OthersThread:
            if not request.is_by_person:
                # Whoever holds it may be a person in Meta's own inbox: a bot does not speak in between.
                raise MessageRejected(FailureCode.REJECTED, OTHERS_THREAD) from None
            await self._take_thread(account, request.recipient)
        try:
            return await self._say(account, request, body, refusal)
        except _OthersThread:
            raise MessageRejected(FailureCode.REJECTED, OTHERS_THREAD) from None

    def _messaging(self, account: Account, request: Request) -> Messaging:
        may_be_late = _may_be_late(account)
        if may_be_late and request.is_by_person and (account.channel_id, request.mark) in self._surely_late:
            return Messaging.HUMAN_AGENT
        return messaging_of(request, self._clock(), may_be_late=may_be_late)

    async def _say(
        self,
        account: Account,
        request: Request,
        body: Mapping[str, Any],
        refusal: Callable[[Node], Exception],
    ) -> Receipt:
        ask = Ask(
            verb="POST",
            path=f"{own_id(node_of(account))}/messages",
            name="messages",
            json=body,
            refusal=refusal,
            delivers=True,
            waits=True,
        )
        answer = await self._graph.call(account, ask)
        message_id = opaque(answer.get("message_id"))
        if message_id is None and request.action is None:
            raise DeliveryUnknown("a message was taken without an id")
        return Receipt(message_id)

    def _refused(
        self, account: Account, request: Request, messaging: Messaging, is_known: bool, error: Node
    ) -> Exception:
        """What a refusal of a message means; it was certainly not taken."""
        row = row_of(error)
        if row is None:
            return to_error(error)
        match row.does:
            case Does.TAKE_CONTROL:
                return _OthersThread()
            case Does.UPLOAD_AGAIN if request.file is not None:
                self._uploads.forget(account, request.file)
                if is_known or self._may_repeat(account, request.mark):
                    return ProviderUnavailable(f"the file was not taken, {row.meaning}: once more")
            case Does.CLOSED if self._is_late_after_all(account, request, messaging):
                self._remember_late(account, request)
                return ProviderUnavailable("the window has just closed by Meta's clock: once more, as late")
            case Does.STOP:
                code = integer(error.get("code"))
                if code == 10 and messaging is Messaging.HUMAN_AGENT:
                    # Nobody granted the feature; the account itself works (fact sheet 9, 3).
                    return MessageRejected(
                        FailureCode.WINDOW_CLOSED, _NOT_GRANTED, is_human_agent_refused=True
                    )
                if code not in _SEEN_BY_A_LOOK:
                    until = self._monotonic() + TROUBLE_SECONDS
                    self._troubles[account.channel_id] = _Trouble(row.text, until)
        return to_error(error)

    def _is_late_after_all(self, account: Account, request: Request, messaging: Messaging) -> bool:
        """Whether this could go out with the tag, if only our clocks were the same."""
        if messaging is not Messaging.RESPONSE or request.client_wrote_at is None:
            return False
        age = self._clock() - request.client_wrote_at
        return request.is_by_person and _may_be_late(account) and age > REPLY_WINDOW - NEARLY

    def _remember_late(self, account: Account, request: Request) -> None:
        self._surely_late[(account.channel_id, request.mark)] = None
        while len(self._surely_late) > _REMEMBERED:
            self._surely_late.popitem(last=False)

    def _may_repeat(self, account: Account, mark: str) -> bool:
        key = (account.channel_id, mark)
        count = self._file_attempts[key] = self._file_attempts.pop(key, 0) + 1
        while len(self._file_attempts) > _REMEMBERED:
            self._file_attempts.popitem(last=False)
        return count < FILE_ATTEMPTS

    async def _take_thread(self, account: Account, recipient: str) -> None:
        """Make the thread ours. Source: fact sheet 1.2, «Handover»."""
        log.info("thread_taken", channel_id=account.channel_id)
        ask = Ask(
            verb="POST",
            path=f"{own_id(node_of(account))}/take_thread_control",
            name="take_thread_control",
            json={"recipient": {"id": recipient}},
            refusal=_thread_refused,
            waits=True,
        )
        await self._graph.call(account, ask)

    # --- signals

    async def mark_read(self, address: str, provider_id: str, account: Account) -> None:
        """The client sees that what he wrote was read. Raises the errors."""
        await self._signal(account, address, "mark_seen")

    async def show_typing(self, address: str, provider_id: str, account: Account) -> None:
        """«Typing…» for about 20 s or until a message. Raises the errors."""
        await self._signal(account, address, "typing_on")

    async def _signal(self, account: Account, address: str, action: str) -> None:
        path = f"{own_id(node_of(account))}/messages"
        body = to_signal(address, action)
        await self._graph.call(
            account, Ask(verb="POST", path=path, name=action, json=body, refusal=_signal_refused, waits=True)
        )

    # --- people and what they said

    async def profile(self, contact_key: str, account: Account) -> Profile | None:
        """Who that is; None if Meta will not say. Raises the errors."""
        fields = profiles.fields_of(flavour_of(account))
        ask = Ask(
            verb="GET",
            path=step(contact_key),
            name="profile",
            params={"fields": fields},
            refusal=profiles.refused,
        )
        try:
            return profiles.to_profile(await self._graph.call(account, ask))
        except profiles.NotTold:
            return None

    async def recall(self, since: datetime, cursor: str | None, account: Account) -> Recalled:
        """One step of reading again what was said since. Raises the errors."""
        return await self._recalls.recall(since, cursor, account)

    def open_media(self, ref: str, account: Account) -> AbstractAsyncContextManager[MediaStream]:
        """The file a `MediaRef` names. Raises the errors."""
        return self._downloads.open(ref, account)

    # --- the account

    async def who_am_i(self, account: Account) -> Identity:
        """The account behind the credentials. Raises the errors."""
        return await self._subscriptions.who_am_i(account)

    async def connect(self, account: Account, webhook_url: str) -> None:
        """Subscribe the app to the account; the same every time. Raises the errors.

        The address is the app's, and set in the App Dashboard: nothing of it is said here (fact sheet 4).
        """
        await self._subscriptions.subscribe(account)

    async def check(self, account: Account, webhook_url: str) -> ConnectionReport:
        """How the account is connected. Raises the errors."""
        trouble = self._troubles.get(account.channel_id)
        if trouble is not None and trouble.until > self._monotonic() and account.state == "disconnected":
            # The look finds the token good, and the account would be switched on again for one send after
            # another. A person who switches it on is not in doubt: then it is not disconnected any more.
            raise CredentialsInvalid(trouble.text)
        return await self._subscriptions.check(account)

    async def disconnect(self, account: Account) -> None:
        """No webhooks of this account any more; may be repeated. Raises the errors."""
        await self._subscriptions.unsubscribe(account)

    async def renew(self, account: Account) -> Mapping[str, str] | None:
        """The credentials with a new token of Instagram's login; None: nothing to do yet. Raises the errors.

        Source: fact sheet 4: a token of 60 days, renewed when it is at least 24 hours old.
        """
        if flavour_of(account) is not Flavour.INSTAGRAM_LOGIN:
            return None
        now = self._clock()
        if tokens.is_young(account.credentials, now):
            return None
        params = {"grant_type": "ig_refresh_token"}
        ask = Ask(verb="GET", path="refresh_access_token", name="refresh_access_token", params=params)
        try:
            answer = await self._graph.call(account, ask)
        except (MessageRejected, RecipientUnreachable):
            if tokens.end_of(account.credentials) is None:
                # We do not know how old it is, and a new one cannot be renewed yet: tomorrow it can, or an
                # administrator hears of it.
                return tokens.dated(account.credentials, now)
            raise MessageRejected(FailureCode.REJECTED, tokens.NOT_RENEWED) from None
        found = tokens.renewed(account.credentials, answer, now)
        if found is None:
            raise ProviderUnavailable("a token was renewed without being told")
        return found


def _may_be_late(account: Account) -> bool:
    return account.settings is not None and account.settings.human_agent


def _signal_refused(error: Node) -> Exception:
    """A signal that is not taken says nothing of the account."""
    return beside(error, "Meta не показала клієнтові позначку. Нічого робити не треба.")


def _thread_refused(error: Node) -> Exception:
    """The owner of a thread may keep it: that costs this message, not the account."""
    refused = beside(error, OTHERS_THREAD)
    is_final = isinstance(refused, MessageRejected | RecipientUnreachable)
    return MessageRejected(FailureCode.REJECTED, OTHERS_THREAD) if is_final else refused
