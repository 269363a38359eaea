"""An account's subscription to webhooks, and what its token says of itself.

Source: fact sheet 4.
"""

from __future__ import annotations

from typing import Final

from ingest_meta import registration, tokens
from ingest_meta.flavours import Flavour, flavour_of, has_own_app, node_of
from ingest_meta.graph import own_id, token_of
from ingest_meta.refusals import of_account
from msgkit.connector.contract import Account, ConnectionReport, Identity
from msgkit.connector.errors import MessageRejected, ProviderUnavailable, Throttled
from msgkit.connector.graph_api import Ask, Graph
from msgkit.connector.raw import Node, integer, items, node
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

SUBSCRIBING_SECONDS: Final = 40.0
ASKED_AGAIN_MAX: Final = 12
"""How often fields are left out; each time Meta names at least one of them."""
_BAD_TOKEN: Final = 190


class _FieldsRefused(Exception):
    """Some of the fields are not taken here."""

    def __init__(self, bad: frozenset[str], legal: frozenset[str] | None) -> None:
        super().__init__("some fields are not taken")
        self.bad = bad
        self.legal = legal


class _NotTold(Exception):
    """Meta does not tell of the token; nothing is wrong with it."""


class Subscriptions:
    """Who an account is, what it is subscribed to, how its token is doing."""

    def __init__(self, graph: Graph, clock: Clock = utc_now) -> None:
        self._graph = graph
        self._clock = clock
        self._refused: dict[Flavour, frozenset[str]] = {}
        """Fields Meta did not take, as learned by this process."""

    async def who_am_i(self, account: Account) -> Identity:
        """The account behind the credentials. Raises the errors of `msgkit.connector.errors`."""
        flavour = flavour_of(account)
        # A token of a page is itself the page. So the token proves whose it is, and a page_id alone does not.
        params = {"fields": registration.ID_FIELDS[flavour]}
        ask = Ask(verb="GET", path="me", name="account", params=params, refusal=of_account)
        return registration.to_identity(account, flavour, await self._graph.call(account, ask))

    async def subscribe(self, account: Account) -> None:
        """Subscribe the app to all we need; a field Meta does not take is left out. Raises the errors."""
        flavour = flavour_of(account)
        fields = registration.wanted_fields(flavour)
        if flavour is Flavour.INSTAGRAM_BY_PAGE and await self._is_messengers(account):
            # The page is connected as Messenger too: subscribing it to less would take that away.
            fields = registration.PAGE_FIELDS
        await self._subscribe(account, flavour, fields)
        if flavour is Flavour.INSTAGRAM_BY_PAGE:
            log.info(
                "instagram_fields_are_of_the_app",
                channel_id=account.channel_id,
                todo="in the App Dashboard subscribe the object instagram to the same fields",
            )

    async def check(self, account: Account) -> ConnectionReport:
        """How the account is connected. Raises the errors."""
        flavour = flavour_of(account)
        token = await self._token(account, flavour)
        problem = tokens.problem_of(flavour, token, self._clock())
        if flavour is Flavour.INSTAGRAM_LOGIN:
            problem = tokens.ending(tokens.end_of(account.credentials), self._clock())
        subscribed = await self._subscribed(account)
        return registration.to_report(
            flavour,
            registration.our_fields(subscribed, tokens.app_of(token)),
            self._refused.get(flavour, frozenset()),
            problem,
        )

    async def unsubscribe(self, account: Account) -> None:
        """No webhooks of this account any more; may be repeated. Raises the errors.

        A page may be connected as Messenger and lead to an Instagram account as well, and both have one
        subscription: while the other may need it, it stays, or messages would be lost.
        """
        flavour = flavour_of(account)
        if flavour is Flavour.INSTAGRAM_BY_PAGE and await self._is_messengers(account):
            log.info("subscription_left", channel_id=account.channel_id, to="messenger")
            return
        if flavour is Flavour.PAGE and not has_own_app(account) and await self._has_instagram(account):
            log.info("subscription_left", channel_id=account.channel_id, to="instagram")
            await self._subscribe(account, flavour, registration.PAGE_OF_INSTAGRAM_FIELDS)
            return
        await self._graph.call(
            account, Ask(verb="DELETE", path=_edge(account), name="subscribed_apps", refusal=of_account)
        )

    async def _subscribe(self, account: Account, flavour: Flavour, fields: registration.Fields) -> None:
        refused = self._refused.get(flavour, frozenset())
        legal: frozenset[str] | None = None
        for _ in range(ASKED_AGAIN_MAX):
            asked = registration.chosen(fields, legal, refused)
            try:
                await self._ask_for(account, asked)
            except _FieldsRefused as exc:
                refused |= exc.bad
                legal = exc.legal or legal
                self._refused[flavour] = refused
                log.warning(
                    "fields_not_taken",
                    channel_id=account.channel_id,
                    fields=sorted(exc.bad),
                    legal=sorted(exc.legal or ()),
                )
                continue
            return
        raise ProviderUnavailable("Meta refused one field after another")

    async def _ask_for(self, account: Account, fields: tuple[str, ...]) -> None:
        def refusal(error: Node) -> Exception:
            found = registration.illegal_of(error, fields)
            return of_account(error) if found is None else _FieldsRefused(*found)

        ask = Ask(
            verb="POST",
            path=_edge(account),
            name="subscribed_apps",
            params={"subscribed_fields": ",".join(fields)},
            seconds=SUBSCRIBING_SECONDS,
            refusal=refusal,
        )
        await self._graph.call(account, ask)

    async def _subscribed(self, account: Account) -> list[object]:
        ask = Ask(verb="GET", path=_edge(account), name="subscribed_apps", refusal=of_account)
        return items((await self._graph.call(account, ask)).get("data"))

    async def _is_messengers(self, account: Account) -> bool:
        """Whether the page behind an Instagram account is subscribed for Messenger by our app."""
        token = await self._token(account, flavour_of(account))
        subscribed = await self._subscribed(account)
        ours = registration.our_fields(subscribed, tokens.app_of(token)) or frozenset()
        return bool(ours & set(registration.MESSENGER_ONLY))

    async def _has_instagram(self, account: Account) -> bool:
        ask = Ask(
            verb="GET",
            path=own_id(node_of(account)),
            name="account",
            params={"fields": registration.LINKED},
            refusal=lambda _: _NotTold(),
        )
        try:
            return bool(node((await self._graph.call(account, ask)).get("instagram_business_account")))
        except _NotTold:
            return False

    async def _token(self, account: Account, flavour: Flavour) -> Node:
        """`data` of `debug_token`; empty where Meta does not tell.

        The one address with a token in it: Meta takes it no other way, and our client shows addresses in no
        log, no span and no error.
        """
        if flavour is Flavour.INSTAGRAM_LOGIN:
            return {}
        ask = Ask(
            verb="GET",
            path="debug_token",
            name="debug_token",
            params={"input_token": token_of(account)},
            refusal=_token_refused,
        )
        try:
            return node((await self._graph.call(account, ask)).get("data"))
        except (_NotTold, MessageRejected, ProviderUnavailable, Throttled):
            return {}


def _token_refused(error: Node) -> Exception:
    return of_account(error) if integer(error.get("code")) == _BAD_TOKEN else _NotTold()


def _edge(account: Account) -> str:
    return f"{own_id(node_of(account))}/subscribed_apps"
