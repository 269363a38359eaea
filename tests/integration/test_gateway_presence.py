"""Typing and viewing of colleagues: over two replicas, only for those who may see the channel, never kept."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from gateway_stage import CLINIC, TELEGRAM, VIBER, Gateway, Stage, Window, stage

from msgkit.contracts.ids import new_id
from msgkit.runtime.bus import Outgoing
from msgkit.testing.servers import VirtualHosts, drop_databases

pytestmark = pytest.mark.servers

_ids = (f"c-presence-{n}" for n in itertools.count())
OLENA, IVAN = {"id": "u-olena", "name": "Olena"}, {"id": "u-ivan", "name": "Ivan"}


@pytest_asyncio.fixture(scope="module")
async def on(
    tmp_path_factory: pytest.TempPathFactory, vhosts: VirtualHosts, mongo_url: str
) -> AsyncIterator[Stage]:
    prefix = "tgwpresence_"
    with vhosts.fresh() as amqp_url:
        async with stage(tmp_path_factory.mktemp("gateway"), amqp_url, mongo_url, prefix) as ready:
            yield ready
    drop_databases(mongo_url, prefix)


@pytest_asyncio.fixture(scope="module")
async def twin(on: Stage) -> AsyncIterator[Gateway]:
    async with on.gateway.twin() as twin:
        yield twin


@pytest_asyncio.fixture
async def desks(on: Stage, twin: Gateway) -> AsyncIterator[dict[str, Window]]:
    """Windows of olena (two), ivan on the other replica, viktor (viber only) and maria (clinic)."""
    async with AsyncExitStack() as stack:
        windows = {}
        for name, login, gateway in [
            ("olena", "olena", on.gateway),
            ("olena's other tab", "olena", on.gateway),
            ("ivan", "ivan", twin),
            ("viktor", "viktor", on.gateway),
            ("maria", "maria", on.gateway),
        ]:
            token = await on.gateway.login(login)
            windows[name] = await stack.enter_async_context(gateway.window(token))
        yield windows


def _heard(window: Window, conversation_id: str) -> list[dict[str, Any]]:
    """What a window was told of this dialogue beside the stream."""
    return [
        event
        for event in window.events
        if event["type"] in ("typing", "presence") and event["data"]["conversation_id"] == conversation_id
    ]


async def _all_told(on: Stage, desks: dict[str, Window]) -> None:
    """Whatever was said before this has reached every window."""
    ends = {
        await on.tell(tenant="clinic" if name == "maria" else "salon", channel=channel)
        for name, channel in [("olena", None), ("maria", CLINIC)]
    }
    for window in desks.values():
        async with asyncio.timeout(10):
            while not ends & set(window.ids()):
                await window.next()


async def test_typing_reaches_colleagues_on_both_replicas_and_nobody_else(
    on: Stage, desks: dict[str, Window]
) -> None:
    conversation = next(_ids)
    on.inbox.add_row(conversation, TELEGRAM)
    await desks["ivan"].say(type="typing", conversation_id=conversation)
    for name in ("olena", "olena's other tab"):
        told = await desks[name].until_told("typing", conversation_id=conversation)
        assert told == {"conversation_id": conversation, "user": IVAN, "ttl_s": 6}
    await desks["olena"].say(type="typing", conversation_id=conversation)
    assert (await desks["ivan"].until_told("typing", conversation_id=conversation))["user"] == OLENA
    await _all_told(on, desks)
    assert _heard(desks["viktor"], conversation) == []
    assert _heard(desks["maria"], conversation) == []
    authors = [event["data"]["user"]["id"] for event in _heard(desks["olena's other tab"], conversation)]
    assert authors == ["u-ivan"], "nobody is a colleague of themselves"


async def test_viewers_are_told_and_taken_back(on: Stage, desks: dict[str, Window]) -> None:
    first, second = next(_ids), next(_ids)
    on.inbox.add_row(first, TELEGRAM)
    on.inbox.add_row(second, TELEGRAM)
    olena, ivan = desks["olena"], desks["ivan"]
    await olena.say(type="viewing", conversation_id=first)
    assert (await olena.until_told("presence", conversation_id=first))["viewers"] == []
    assert (await ivan.until_told("presence", conversation_id=first))["viewers"] == [OLENA]
    await ivan.say(type="viewing", conversation_id=first)
    # The answer to one's own glance: who is there already.
    assert (await ivan.until_told("presence", conversation_id=first))["viewers"] == [OLENA]
    assert (await olena.until_told("presence", conversation_id=first))["viewers"] == [IVAN]
    assert (await desks["olena's other tab"].until_told("presence", viewers=[IVAN]))[
        "conversation_id"
    ] == first

    await ivan.say(type="viewing", conversation_id=second)
    assert (await olena.until_told("presence", conversation_id=first))["viewers"] == []
    assert (await olena.until_told("presence", conversation_id=second))["viewers"] == [IVAN]
    await ivan.say(type="viewing", conversation_id=None)
    assert (await olena.until_told("presence", conversation_id=second))["viewers"] == []
    await _all_told(on, desks)
    for name in ("viktor", "maria"):
        assert _heard(desks[name], first) == _heard(desks[name], second) == []


async def test_a_window_that_closes_says_goodbye(on: Stage, twin: Gateway, desks: dict[str, Window]) -> None:
    conversation = next(_ids)
    on.inbox.add_row(conversation, TELEGRAM)
    token = await on.gateway.login("ivan")
    async with twin.window(token) as ivan:
        await ivan.say(type="viewing", conversation_id=conversation)
        assert (await desks["olena"].until_told("presence", conversation_id=conversation))["viewers"] == [
            IVAN
        ]
    assert (await desks["olena"].until_told("presence", conversation_id=conversation))["viewers"] == []


async def test_a_window_that_comes_in_learns_who_is_where(on: Stage, desks: dict[str, Window]) -> None:
    conversation = next(_ids)
    on.inbox.add_row(conversation, TELEGRAM)
    await desks["ivan"].say(type="viewing", conversation_id=conversation)
    await desks["olena"].until_told("presence", conversation_id=conversation)
    async with on.gateway.window(await on.gateway.login("olena")) as late:
        assert (await late.until_told("presence", conversation_id=conversation))["viewers"] == [IVAN]
        assert late.frames[0]["type"] == "ready"
    async with on.gateway.window(await on.gateway.login("maria")) as foreign:
        await foreign.until_event(await on.tell(tenant="clinic", channel=CLINIC))
        assert _heard(foreign, conversation) == []


async def test_glances_have_no_place_in_the_stream(on: Stage, desks: dict[str, Window]) -> None:
    conversation = next(_ids)
    on.inbox.add_row(conversation, TELEGRAM)
    olena = desks["olena"]
    await desks["ivan"].say(type="typing", conversation_id=conversation)
    await olena.until_told("typing", conversation_id=conversation)
    async with on.gateway.window(await on.gateway.login("olena"), resume=olena) as again:
        known = len(olena.events)
        assert again.ready["mode"] == "resumed"
        await again.until_event(await on.tell())
        assert "typing" not in {event["type"] for event in again.events[known:]}


async def test_what_one_may_not_see_one_neither_types_nor_looks_at(
    on: Stage, desks: dict[str, Window]
) -> None:
    """An unknown, a forbidden and a foreign dialogue: nobody hears of it, and nobody is told which it was."""
    forbidden = next(_ids)
    on.inbox.add_row(forbidden, VIBER)
    allowed = next(_ids)
    on.inbox.add_row(allowed, TELEGRAM)
    asking = [("ivan", forbidden), ("maria", allowed), ("ivan", next(_ids))]
    for name, conversation in asking:
        await desks[name].say(type="typing", conversation_id=conversation)
        await desks[name].say(type="viewing", conversation_id=conversation)
    await desks["olena"].say(type="viewing", conversation_id=forbidden)
    assert (await desks["viktor"].until_told("presence", conversation_id=forbidden))["viewers"] == [OLENA]
    await desks["olena"].say(type="viewing", conversation_id=allowed)
    assert (await desks["olena"].until_told("presence", conversation_id=allowed))["viewers"] == []
    await _all_told(on, desks)
    for name, conversation in asking:
        assert all(
            user["id"] != f"u-{name}"
            for window in desks.values()
            for event in _heard(window, conversation)
            for user in event["data"].get("viewers", [event["data"].get("user")])
        )
    assert _heard(desks["ivan"], forbidden) == []
    assert _heard(desks["maria"], allowed) == []


async def test_typing_is_passed_on_once_in_a_while(on: Stage, desks: dict[str, Window]) -> None:
    conversation = next(_ids)
    on.inbox.add_row(conversation, TELEGRAM)
    async with on.gateway.window(await on.gateway.login("ivan")) as ivan:
        # As a window does: it looks at what it types into.
        await ivan.say(type="viewing", conversation_id=conversation)
        await desks["olena"].until_told("presence", conversation_id=conversation)
        for _ in range(20):
            await ivan.say(type="typing", conversation_id=conversation)
        # Of somebody who does not look any more it would not be shown at all.
        await desks["olena"].until_told("typing", conversation_id=conversation)
        await ivan.say(type="viewing", conversation_id=None)
        await desks["olena"].until_told("presence", conversation_id=conversation, viewers=[])
    assert len([e for e in _heard(desks["olena"], conversation) if e["type"] == "typing"]) == 1


async def test_typing_ends_with_the_answer(on: Stage, desks: dict[str, Window]) -> None:
    """A word of typing that is overtaken by the answer it was typed for is not shown any more."""
    conversation = next(_ids)
    on.inbox.add_row(conversation, TELEGRAM)
    answer = await on.tell(
        conversation=conversation, data={"author": {"kind": "operator", "id": "u-ivan", "name": "Ivan"}}
    )
    await desks["olena"].until_event(answer)
    await desks["ivan"].say(type="typing", conversation_id=conversation)
    await desks["ivan"].say(type="viewing", conversation_id=conversation)
    await desks["olena"].until_told("presence", conversation_id=conversation)
    assert [e for e in _heard(desks["olena"], conversation) if e["type"] == "typing"] == []


async def test_typing_by_rest_for_callers_without_a_socket(on: Stage, desks: dict[str, Window]) -> None:
    conversation = next(_ids)
    on.inbox.add_row(conversation, TELEGRAM)

    async def typing(login: str, conversation_id: str) -> int:
        bearer = {"Authorization": f"Bearer {await on.gateway.login(login)}"}
        path = f"/api/v1/conversations/{conversation_id}/typing"
        return (await on.gateway.http.post(path, headers=bearer)).status_code

    assert await typing("ivan", conversation) == 204
    assert (await desks["olena"].until_told("typing", conversation_id=conversation))["user"] == IVAN
    assert await typing("maria", conversation) == 404
    assert await typing("ivan", next(_ids)) == 404


async def test_garbage_on_the_exchange_stops_nobody(on: Stage, desks: dict[str, Window]) -> None:

    conversation = next(_ids)
    on.inbox.add_row(conversation, TELEGRAM)
    for body in (b"", b"{}", b"[]", json.dumps({"type": "viewing.v1", "tenant_id": None}).encode()):
        for type_ in ("typing.v1", "viewing.v1", "something.else.v1"):
            await on.publisher.publish(
                Outgoing("presence", type_, body, new_id(), type_, persistent=False, mandatory=False)
            )
    await desks["ivan"].say(type="typing", conversation_id=conversation)
    await desks["olena"].until_told("typing", conversation_id=conversation)
