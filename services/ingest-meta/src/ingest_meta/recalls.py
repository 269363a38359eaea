"""Reads again what was said while Meta did not tell us, two calls a second, one step at a time.

Source: fact sheet 1.1, «Needed job»; 2.7 for the pace.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from ingest_meta import conversations
from ingest_meta.conversations import Place
from ingest_meta.flavours import flavour_of, node_of
from ingest_meta.graph import own_id, step
from ingest_meta.refusals import beside
from msgkit.connector.contract import Account, Recalled
from msgkit.connector.errors import MessageRejected, ProviderUnavailable, RecipientUnreachable
from msgkit.connector.graph_api import Ask, Graph
from msgkit.connector.raw import Node, is_node, items, node, opaque
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

LIST_PAGE: Final = 25
MESSAGES_PAGE: Final = 25
PORTION_PAGES: Final = 2
"""Of one conversation in one step, which must end within the kit's minute though every message is asked for
by itself."""
CALLS_PER_SECOND: Final = 2.0
"""Of one account. Source: MP-RATE (fact sheet 2.7)."""

_CURSOR = re.compile(r"[A-Za-z0-9_=+/.:~%-]{1,512}")


class Recalls:
    """The Conversations API of all accounts; the list, and then conversation by conversation."""

    def __init__(
        self,
        graph: Graph,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        calls_per_second: float = CALLS_PER_SECOND,
    ) -> None:
        """
        Args:
            graph: the calls.
            clock: when a pass began.
            monotonic: seconds that only rise, for the pace.
            calls_per_second: of one account.
        """
        self._graph = graph
        self._clock = clock
        self._monotonic = monotonic
        self._every_s = 1.0 / calls_per_second
        self._next: dict[str, float] = {}

    async def recall(self, since: datetime, cursor: str | None, account: Account) -> Recalled:
        """One step: a page of the list, or one conversation. Raises the errors of `errors.py`."""
        place = None if cursor is None else conversations.read_cursor(cursor)
        if place is None:
            place = conversations.first_place(since, self._clock())
        if place.todo:
            return await self._conversation(since, place, account)
        if not place.is_listed:
            place = conversations.listed(place, await self._list(place, account))
            if place.todo or not place.is_listed:
                return Recalled((), place.to_cursor())
        further = conversations.next_pass(place, self._clock())
        return Recalled((), None if further is None else further.to_cursor())

    async def _list(self, place: Place, account: Account) -> Node:
        params = {
            "platform": flavour_of(account).platform,
            "fields": conversations.LIST_FIELDS,
            "limit": str(LIST_PAGE),
        }
        if place.after is not None:
            params["after"] = place.after
        ask = Ask(
            verb="GET",
            path=f"{own_id(node_of(account))}/conversations",
            name="conversations",
            params=params,
            refusal=_refused,
        )
        return await self._paced(account, ask)

    async def _conversation(self, since: datetime, place: Place, account: Account) -> Recalled:
        """A portion of the first conversation: read on the way back, said on the way forth."""
        conversation_id, begin = place.todo[0], conversations.portion_of(place)
        messages: list[Node] = []
        further: str | None = begin or None
        # What is said meanwhile moves the newest portion on.
        pages = PORTION_PAGES + (1 if place.is_back and not begin else 0)
        for _ in range(pages):
            try:
                told = await self._messages(conversation_id, further, account)
            except RecipientUnreachable:
                # It is not there any more; the others must not wait for it until they are given up.
                log.warning("recalled_conversation_gone", channel_id=account.channel_id)
                return Recalled((), conversations.without_first(place).to_cursor())
            page = [one for one in items(told.get("data")) if is_node(one)]
            messages += [one for one in page if not conversations.is_before(one, since)]
            # Newest first: past the moment everything is older.
            is_past = bool(page) and conversations.is_before(page[-1], since)
            further = None if is_past else conversations.next_of(told, further)
            if further is None:
                break
        place, is_said = conversations.read_back(place, further)
        if not is_said:
            return Recalled((), place.to_cursor())
        whole = [await self._whole(one, account) for one in messages]
        bodies = conversations.to_bodies(flavour_of(account), account.account_id, our_ids(account), whole)
        return Recalled(bodies, place.to_cursor())

    async def _whole(self, told: Node, account: Account) -> Node:
        """A message with who said it and what; of older ones the list tells the id alone."""
        mid = opaque(told.get("id"))
        if mid is None or is_node(told.get("from")):
            return told
        params = {"fields": conversations.MESSAGE_FIELDS}
        ask = Ask(verb="GET", path=step(mid), name="message", params=params, refusal=_refused)
        try:
            return await self._paced(account, ask)
        except (MessageRejected, RecipientUnreachable):
            log.warning("recalled_message_not_told", channel_id=account.channel_id)
            return told

    async def _messages(self, conversation_id: str, after: str | None, account: Account) -> Node:
        further = ""
        if after is not None:
            if not _CURSOR.fullmatch(after):
                raise ProviderUnavailable("a page of messages has a position that is none")
            further = f".after({after})"
        fields = f"messages.limit({MESSAGES_PAGE}){further}{{{conversations.MESSAGE_FIELDS}}}"
        ask = Ask(
            verb="GET",
            path=step(conversation_id),
            name="conversation",
            params={"fields": fields},
            refusal=_refused,
        )
        return node((await self._paced(account, ask)).get("messages"))

    async def _paced(self, account: Account, ask: Ask) -> Node:
        now = self._monotonic()
        at = max(now, self._next.get(account.channel_id, now))
        self._next[account.channel_id] = at + self._every_s
        if at > now:
            await asyncio.sleep(at - now)  # pace: calls a second of one account
        return await self._graph.call(account, ask)


def _refused(error: Node) -> Exception:
    """A permission that is missing here costs the reading, not the account."""
    return beside(
        error,
        "Meta не дає прочитати пропущені повідомлення. Надайте застосунку доступ до розмов (в Instagram "
        "увімкніть «Дозволити доступ до повідомлень») або прочитайте їх у Meta Business Suite.",
    )


def our_ids(account: Account) -> frozenset[str]:
    """By which messages of the business itself are known."""
    return frozenset(filter(None, (account.account_id, account.credentials.get("page_id"))))
