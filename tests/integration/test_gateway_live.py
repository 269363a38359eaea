"""The live half of the gateway on a real broker and store: who gets what, and that nothing is missed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from gateway_stage import (
    CLINIC,
    TELEGRAM,
    VIBER,
    InboxWire,
    Keys,
    Stage,
    Window,
    as_fact,
    channel_view,
    serving,
    stage,
)
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from gateway.clients import Channels, Inbox
from gateway.consumers import Manifests
from gateway.live import Live
from gateway.store import Revocation, Store
from msgkit.contracts.facts import Change, UiEvent
from msgkit.contracts.ids import new_id
from msgkit.contracts.topology import live_stream
from msgkit.contracts.views import Counters
from msgkit.runtime import bus
from msgkit.runtime.bus import Publisher, declare
from msgkit.runtime.clock import utc_now
from msgkit.runtime.http import InternalClient
from msgkit.runtime.mongo import Mongo
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.servers import RabbitMQServer, VirtualHosts, drop_databases

pytestmark = pytest.mark.servers

EVENT_TYPES = [
    "conversation.upserted", "conversation.removed", "message.created", "message.updated", "read.updated",
    "draft.updated", "counters.updated", "client.updated", "note.created", "note.updated", "note.deleted",
    "settings.updated", "session.revoked", "build.changed", "something.new",
]  # fmt: skip
_prefixes = (f"tgw{n}_" for n in itertools.count())


@pytest_asyncio.fixture(scope="module")
async def on(
    tmp_path_factory: pytest.TempPathFactory, vhosts: VirtualHosts, mongo_url: str
) -> AsyncIterator[Stage]:
    """One gateway for the tests that do not break it."""
    prefix = next(_prefixes)
    with vhosts.fresh() as amqp_url:
        folder = tmp_path_factory.mktemp("gateway")
        async with stage(folder, amqp_url, mongo_url, prefix) as ready:
            yield ready
    drop_databases(mongo_url, prefix)


@pytest.fixture
def own_prefix(mongo_url: str) -> Iterator[str]:
    prefix = next(_prefixes)
    yield prefix
    drop_databases(mongo_url, prefix)


# Who gets what


@pytest.mark.parametrize("event_type", EVENT_TYPES)
async def test_a_tenant_never_hears_of_another(on: Stage, event_type: str) -> None:
    salon, clinic = await on.gateway.login("olena"), await on.gateway.login("maria")
    async with on.gateway.window(salon) as olena, on.gateway.window(clinic) as maria:
        ours = await on.tell(event_type)
        for_all = await on.tell(event_type, channel=None)
        for_her = await on.tell(event_type, channel=None, user="u-olena")
        same_ids = await on.tell(event_type, channel=CLINIC)  # salon naming a channel of the clinic
        theirs = await on.tell(event_type, tenant="clinic", channel=CLINIC)
        await maria.until_event(theirs)
        end = await on.tell(event_type)
        await olena.until_event(end)
        seen = {key for key in maria.ids() if key}
        assert theirs in seen
        assert not seen & {ours, for_all, for_her, same_ids}
        assert theirs not in olena.ids()
        assert {ours, for_all, for_her} <= set(olena.ids())
        assert same_ids not in olena.ids()


async def test_a_role_sees_its_channels_only(on: Stage) -> None:
    tokens = {name: await on.gateway.login(name) for name in ("olena", "ivan", "viktor")}
    async with (
        on.gateway.window(tokens["olena"]) as olena,
        on.gateway.window(tokens["ivan"]) as ivan,
        on.gateway.window(tokens["viktor"]) as viktor,
    ):
        viber, telegram = await on.tell(channel=VIBER), await on.tell(channel=TELEGRAM)
        end = await on.tell(channel=None)
        for window in (olena, ivan, viktor):
            await window.until_event(end)
        shown = [{viber, telegram} & set(window.ids()) for window in (olena, ivan, viktor)]
        assert shown == [{viber, telegram}, {telegram}, {viber}]


async def test_what_is_for_one_user_reaches_all_their_windows_and_nobody_else(on: Stage) -> None:
    olena, ivan = await on.gateway.login("olena"), await on.gateway.login("ivan")
    async with (
        on.gateway.window(olena) as first,
        on.gateway.window(olena) as second,
        on.gateway.window(ivan) as other,
    ):
        mark = await on.tell("read.updated", user="u-olena")
        end = await on.tell()
        for window in (first, second, other):
            await window.until_event(end)
        assert [mark in window.ids() for window in (first, second, other)] == [True, True, False]


async def test_what_was_published_twice_is_shown_once(on: Stage) -> None:
    conversation = new_id()
    async with on.gateway.window(await on.gateway.login("olena")) as window:
        first = await on.tell(conversation=conversation, v=7)
        again = await on.tell(conversation=conversation, v=7)
        older = await on.tell(conversation=conversation, v=6)
        newer = await on.tell(conversation=conversation, v=8)
        await window.until_event(newer)
        assert [key for key in window.ids() if key in {first, again, older, newer}] == [first, newer]


async def test_an_unreadable_envelope_stops_nobody(on: Stage) -> None:
    async with on.gateway.window(await on.gateway.login("olena")) as window:
        for body in (b"\xff\x00", b"{}", b"[]", b'{"type":"facts.v1","changes":null}'):
            await on.publisher.publish(bus.Outgoing("facts", "inbox.p00", body, new_id(), "facts.v1"))
        await window.until_event(await on.tell())


# Resume


async def test_a_lost_socket_resumes_where_it_was(on: Stage) -> None:
    token = await on.gateway.login("olena")
    async with on.gateway.window(token) as window:
        before = await on.tell()
        await window.until_event(before)
    missed = [await on.tell() for _ in range(30)]
    foreign = await on.tell(tenant="clinic", channel=CLINIC)
    async with on.gateway.window(token, resume=window) as again:
        assert again.ready["mode"] == "resumed"
        await again.until_event(missed[-1])
        after = await on.tell()
        await again.until_event(after)
        assert [key for key in again.ids() if key in {before, after, *missed}] == [before, *missed, after]
        assert foreign not in again.ids()


@pytest.mark.parametrize(
    "changed",
    [{"epoch": "another"}, {"id": "another"}, {"id": None}, {"pos": 10**12}, {"pos": -1}, {"epoch": None}],
    ids=str,
)
async def test_a_place_that_is_not_ours_is_a_new_start(on: Stage, changed: dict[str, Any]) -> None:
    token = await on.gateway.login("olena")
    async with on.gateway.window(token) as window:
        await window.until_event(await on.tell())
    for name, value in changed.items():
        setattr(window, name, value)
    async with on.gateway.window(token, resume=window) as again:
        assert again.ready["mode"] == "resync"
        await again.until_event(await on.tell())


async def test_a_new_window_starts_a_little_back(on: Stage) -> None:
    """What inbox published just now it may not have written to the lists yet."""
    token = await on.gateway.login("olena")
    key = await on.tell()
    async with on.gateway.window(token) as first:
        await first.until_event(key)
    async with on.gateway.window(token) as window:
        await window.until_event(key)


async def test_many_windows_that_come_and_go_miss_nothing(on: Stage) -> None:
    token = await on.gateway.login("olena")
    told: list[str] = []
    done = asyncio.Event()

    async def publish() -> None:
        for _ in range(300):
            told.append(await on.tell())
        done.set()

    async def come_and_go(stay_for: int) -> list[str]:
        async with on.gateway.window(token) as window:
            start = window.pos
        while not (done.is_set() and told[-1] in window.ids()):
            async with on.gateway.window(token, resume=window) as window:
                assert window.ready["mode"] == "resumed"
                for _ in range(stay_for):
                    if done.is_set() and told[-1] in window.ids():
                        break
                    await window.next()
        assert window.pos > start
        return window.ids()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publish())
        windows = [tasks.create_task(come_and_go(n)) for n in (1, 2, 3, 5)]
    for window in windows:
        seen = [key for key in window.result() if key in set(told)]
        assert seen == told


# Doors


@pytest.mark.parametrize(
    "origin", [None, "http://evil.example", "null", "http://127.0.0.1.evil.example", "https://127.0.0.1"]
)
async def test_foreign_pages_get_no_socket(on: Stage, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(
            on.gateway.url.replace("http", "ws") + "/api/v1/ws",
            origin=None if origin is None else Origin(origin),
            subprotocols=[Subprotocol("rozmova.v1")],
            proxy=None,
        ):
            pass
    assert refused.value.response.status_code == 403


async def test_another_protocol_gets_no_socket(on: Stage) -> None:
    with pytest.raises(InvalidStatus):
        async with connect(
            on.gateway.url.replace("http", "ws") + "/api/v1/ws", origin=Origin(on.gateway.url), proxy=None
        ):
            pass


async def test_a_ticket_opens_one_socket(on: Stage) -> None:
    token = await on.gateway.login("olena")
    hello = json.dumps({"type": "hello", "ticket": await on.gateway.ticket(token)})
    opened = []

    async def try_it() -> None:
        async with on.gateway.socket() as window:
            await window.socket.send(hello)
            opened.append((await window.next())["type"])

    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(try_it())
    assert sorted(opened) == ["error"] * 9 + ["ready"]


@pytest.mark.parametrize("ticket", ["unknown", "x" * 200, "'$ne'"])
async def test_an_unknown_ticket_opens_none(on: Stage, ticket: str) -> None:
    async with on.gateway.socket() as window:
        await window.socket.send(json.dumps({"type": "hello", "ticket": ticket}))
        assert (await window.next())["code"] == "unauthorized"
        assert await window.until_closed() == 4401


async def test_who_works_with_no_channel_gets_no_ticket(on: Stage) -> None:
    token = await on.gateway.login("nobody")
    answer = await on.gateway.http.post("/api/v1/ws-ticket", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "no_access")


BAD_FRAMES: list[tuple[str | bytes, int]] = [
    (b"\x00\x01", 4400),
    ("garbage", 4400),
    ("[]", 4400),
    ('{"type":"subscribe","tenant":"clinic"}', 4400),
    ('{"type":"typing","conversation_id":{"$ne":null}}', 4400),
    ('{"type":"hello","ticket":"again"}', 4400),
    ('{"type":"pong","x":"' + "y" * 10_000 + '"}', 1009),
    ('{"type":"pong","x":"' + "y" * 100_000 + '"}', 1009),
]


@pytest.mark.parametrize(("frame", "code"), BAD_FRAMES, ids=range(len(BAD_FRAMES)))
async def test_what_no_window_sends_closes_the_socket(on: Stage, frame: str | bytes, code: int) -> None:
    token = await on.gateway.login("olena")
    async with on.gateway.window(token) as other, on.gateway.window(token) as window:
        await window.socket.send(frame)
        assert await window.until_closed() == code
        await other.until_event(await on.tell())


async def test_a_first_frame_that_is_no_hello_closes(on: Stage) -> None:
    async with on.gateway.socket() as window:
        await window.socket.send('{"type":"pong"}')
        assert await window.until_closed() == 4400


async def test_a_flood_of_frames_closes_the_socket(on: Stage) -> None:
    token = await on.gateway.login("olena")
    async with on.gateway.window(token) as other, on.gateway.window(token) as window:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(500):
                await window.socket.send('{"type":"typing","conversation_id":"c1"}')
        assert await window.until_closed() == 4429
        await other.until_event(await on.tell())


# The end of a session, a change of rights


async def test_logout_closes_the_windows_of_the_session(on: Stage) -> None:
    ending, staying = await on.gateway.login("olena"), await on.gateway.login("olena")
    async with on.gateway.window(ending) as window, on.gateway.window(staying) as other:
        bearer = {"Authorization": f"Bearer {ending}"}
        assert (await on.gateway.http.post("/api/v1/auth/logout", headers=bearer)).status_code == 204
        assert await window.until_closed(5) == 4401
        assert window.events[-1]["type"] == "session.revoked"
        assert (await on.gateway.http.get("/api/v1/bootstrap", headers=bearer)).status_code == 401
        await other.until_event(await on.tell())


async def test_what_another_replica_took_back_closes_windows_too(on: Stage, mongo_url: str) -> None:
    token = await on.gateway.login("ivan")
    async with on.gateway.window(token) as window:
        mongo = Mongo(mongo_url, on.gateway.database)
        try:
            store = Store(mongo.database)
            await store.revoke(Revocation("salon", None, "u-ivan", utc_now()), timedelta(hours=1))
        finally:
            mongo.close()
        assert await window.until_closed(5) == 4401
        answer = await on.gateway.http.get("/api/v1/users", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    async with on.gateway.window(await on.gateway.login("ivan")) as again:
        await again.until_event(await on.tell())


async def test_a_change_of_a_channels_roles_reaches_open_windows(on: Stage) -> None:
    channels = list(on.inbox.channels["salon"])
    token = await on.gateway.login("ivan")
    try:
        async with on.gateway.window(token) as ivan:
            opened = channel_view(VIBER, ["admin", "reception"])
            on.inbox.channels["salon"] = [channels[0], opened]
            await on.tell("channel.updated", channel=VIBER, data=opened.model_dump(mode="json"))
            assert (await ivan.until("ready", 5))["mode"] == "resync"
            await ivan.until_event(await on.tell(channel=VIBER))

            on.inbox.channels["salon"] = [channel_view(TELEGRAM, ["admin"]), channels[1]]
            await on.tell("channel.updated", channel=VIBER, data=channels[1].model_dump(mode="json"))
            assert await ivan.until_closed(5) == 4403
            assert ivan.frames[-1] == {"type": "error", "code": "no_access"}
    finally:
        on.inbox.channels["salon"] = channels
        await on.tell("channel.updated", channel=VIBER, data=channels[1].model_dump(mode="json"))


async def test_a_channel_event_shows_no_settings(on: Stage) -> None:
    async with on.gateway.window(await on.gateway.login("olena")) as window:
        view = on.inbox.channels["salon"][0]
        await on.tell(
            "channel.updated", channel=TELEGRAM, data=view.model_dump(mode="json") | {"id": TELEGRAM}
        )
        await window.until_event(TELEGRAM)
        data = next(event["data"] for event in window.events if event["type"] == "channel.updated")
        assert set(data) == {
            "id", "kind", "kind_title", "title", "connected", "problem", "limits", "limit_units", "abilities",
            "reply_window_hours", "human_reply_window_hours",
        }  # fmt: skip


async def test_my_settings_reach_my_other_windows(on: Stage) -> None:
    olena, ivan = await on.gateway.login("olena"), await on.gateway.login("ivan")
    async with on.gateway.window(olena) as window, on.gateway.window(ivan) as other:
        for theme in ("dark", "auto"):
            changed = await on.gateway.http.patch(
                "/api/v1/me/settings", headers={"Authorization": f"Bearer {olena}"}, json={"theme": theme}
            )
            assert await window.until_told("settings.updated", theme=theme) == changed.json()
        await other.until_event(await on.tell())
        assert "settings.updated" not in {event["type"] for event in other.events if "theme" in event["data"]}


# Counters


async def test_counters_come_when_something_changed_and_not_more_than_once_a_second(on: Stage) -> None:
    async with on.gateway.window(await on.gateway.login("olena")) as window:
        on.inbox.callers.clear()
        for n in range(30):
            on.inbox.counters["u-olena"] = Counters(lists={"active": n}, red=n, blue=0)
            await on.tell()
        async with asyncio.timeout(10):
            while not any(
                event["type"] == "counters.updated" and event["data"]["red"] == 29 for event in window.events
            ):
                await window.next()
        asked = [caller for caller in on.inbox.callers if caller.user_id == "u-olena"]
        assert {caller.roles for caller in asked} == {frozenset({"admin"})}
        assert len(asked) <= 4


# What is measured


async def test_the_way_to_the_window_is_measured_and_traced(
    tmp_path: Path, amqp_url: str, mongo_url: str, own_prefix: str
) -> None:
    traces = tmp_path / "traces"
    async with stage(tmp_path, amqp_url, mongo_url, own_prefix, ROZMOVA_TRACES_DIR=str(traces)) as on:
        async with on.gateway.window(await on.gateway.login("olena")) as first:
            trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
            key = await on.tell(traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")
            await first.until_event(key)
            async with on.gateway.window(await on.gateway.login("olena")) as second:
                await second.until_event(key)
            assert await _metric(on, 'rozmova_visible_seconds_count{kind="telegram_bot"}') == 1
        assert await on.gateway.stop()
        written = "".join([file.read_text() for file in await asyncio.to_thread(list, traces.iterdir())])
        assert written.count('"socket.push"') == 1
        assert trace_id in written


# Faults


async def test_a_window_that_does_not_read_is_cut_while_others_live(
    tmp_path: Path, amqp_url: str, mongo_url: str, own_prefix: str
) -> None:
    async with stage(tmp_path, amqp_url, mongo_url, own_prefix) as on:
        token = await on.gateway.login("olena")
        async with on.gateway.window(token) as healthy:
            ticket = await on.gateway.ticket(token)
            async with connect(
                on.gateway.url.replace("http", "ws") + "/api/v1/ws",
                origin=Origin(on.gateway.url),
                subprotocols=[Subprotocol("rozmova.v1")],
                proxy=None,
                max_queue=1,
                compression=None,
            ) as slow:
                await slow.send(json.dumps({"type": "hello", "ticket": ticket}))
                reading = asyncio.create_task(_latencies(healthy, 300))
                for n in range(300):
                    await on.publish([_big_change(n)])
                assert max(await reading) < 2.0
                async with asyncio.timeout(20):
                    while await _metric(on, "rozmova_ws_connections") > 1:  # noqa: ASYNC110
                        await asyncio.sleep(0.1)  # pace: a gauge has no event
                slow.transport.abort()
            await healthy.until_event(await on.tell())
        assert on.gateway.rss_mb() < 130


async def test_gateway_starts_into_a_busy_live_stream_and_takes_itself_for_deaf(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its marker lies behind minutes of others' events: reading them takes longer than a marker may take."""
    monkeypatch.setattr("gateway.live.MARKER_WITHIN_SECONDS", 0.3)
    inbox_keys, gateway_keys = Keys.new(), Keys.new()
    public_keys = {"inbox": inbox_keys.public, "gateway": gateway_keys.public}
    wire = InboxWire(amqp_url, ServiceTokens("inbox", inbox_keys.private, public_keys))
    await declare(amqp_url, [live_stream(wire.epoch)])
    told: list[str] = []
    publisher = Publisher(amqp_url, "test")

    async def fill(envelopes: int) -> None:
        changes = [[_small_change() for _ in range(100)] for _ in range(envelopes)]
        told.extend(change.events[0].data["id"] for batch in changes for change in batch)
        await publisher.publish_all([as_fact(batch) for batch in changes], timeout_s=30)

    async def fill_on() -> None:
        for _ in range(20):
            if not live.ready.is_set():
                await fill(10)

    async with serving(wire.app()) as inbox_url:
        http = InternalClient(inbox_url, "inbox", ServiceTokens("gateway", gateway_keys.private, public_keys))
        inbox = Inbox(http)
        channels, manifests = Channels(inbox, time.monotonic), Manifests(time.monotonic)
        live = Live(amqp_url, inbox, publisher, channels, manifests, utc_now, "busy")
        for _ in range(4):
            await fill(50)
        filling = asyncio.create_task(fill_on())
        following = asyncio.create_task(live.run())
        try:
            async with asyncio.timeout(60):
                await live.ready.wait()
            assert live.generation == 1, "it must not have started anew"
            await filling
            async with asyncio.timeout(30):
                while live.ring.events < len(told):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)  # pace: the ring has no event of its own
            assert _ids_in(live) == told
        finally:
            for task in (filling, following):
                task.cancel()
            await asyncio.gather(filling, following, return_exceptions=True)
            await publisher.close()
            await http.aclose()


def _ids_in(live: Live) -> list[str]:
    entries = live.ring.after(-1, 2**40)
    return [json.loads(push.data)["data"]["id"] for entry in entries for push in entry.pushes]


def _small_change() -> Change:
    return Change(
        tenant_id="salon",
        channel_id=TELEGRAM,
        conversation_id=new_id(),
        user_id=None,
        v=1,
        traceparent=None,
        received_at=None,
        events=[UiEvent(type="message.created", data={"id": new_id(), "text": "Добрий день" * 20})],
    )


async def test_a_silent_consumer_is_attached_again_where_it_stopped(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ 3.10 may stop serving a consumer that attached while it started; nothing is missing then."""
    _impatient(monkeypatch)
    async with _following(amqp_url) as (live, publisher, _wire):
        first = [await _tell(publisher) for _ in range(5)]
        await _until_heard_in(live, first)
        async with _unbound(amqp_url, live.epoch):
            async with asyncio.timeout(20):
                while live.ready.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # pace: it has no event for not being ready
        second = [await _tell(publisher) for _ in range(5)]
        await _until_heard_in(live, first + second)
        assert live.generation == 1, "nobody had to begin anew"


async def test_a_consumer_that_stays_silent_asks_which_stream_inbox_writes_to(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _impatient(monkeypatch)
    async with _following(amqp_url) as (live, publisher, wire):
        await _until_heard_in(live, [await _tell(publisher)])
        left = live.epoch
        async with _unbound(amqp_url, left):
            await declare(amqp_url, [live_stream(new := new_id())])
            wire.epoch = new
            async with asyncio.timeout(30):
                while live.epoch != new or not live.ready.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # pace: it has no event for another stream
            await _until_heard_in(live, [await _tell(publisher)])
            assert live.generation == 2


def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.live.MARKER_WITHIN_SECONDS", 1.0)
    monkeypatch.setattr("gateway.live.MARK_EVERY_SECONDS", 0.5)


@contextlib.asynccontextmanager
async def _following(amqp_url: str) -> AsyncIterator[tuple[Live, Publisher, InboxWire]]:
    """A live half in this process that follows a stream of its own, and a publisher of facts."""
    inbox_keys, gateway_keys = Keys.new(), Keys.new()
    public_keys = {"inbox": inbox_keys.public, "gateway": gateway_keys.public}
    wire = InboxWire(amqp_url, ServiceTokens("inbox", inbox_keys.private, public_keys))
    await declare(amqp_url, [live_stream(wire.epoch)])
    publisher = Publisher(amqp_url, "test")
    async with serving(wire.app()) as inbox_url:
        http = InternalClient(inbox_url, "inbox", ServiceTokens("gateway", gateway_keys.private, public_keys))
        inbox = Inbox(http)
        channels, manifests = Channels(inbox, time.monotonic), Manifests(time.monotonic)
        live = Live(amqp_url, inbox, publisher, channels, manifests, utc_now, "alone")
        following = asyncio.create_task(live.run())
        try:
            async with asyncio.timeout(20):
                await live.ready.wait()
            yield live, publisher, wire
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await publisher.close()
            await http.aclose()


async def _tell(publisher: Publisher) -> str:
    change = _small_change()
    await publisher.publish(as_fact([change]))
    return str(change.events[0].data["id"])


async def _until_heard_in(live: Live, told: list[str]) -> None:
    async with asyncio.timeout(20):
        while _ids_in(live)[-len(told) :] != told:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # pace: the ring has no event of its own


@contextlib.asynccontextmanager
async def _unbound(amqp_url: str, epoch: str) -> AsyncIterator[None]:
    """Nothing that is published reaches the stream meanwhile, as its reader would see it."""
    stream = live_stream(epoch)
    connection = await bus.connect(amqp_url, "test")
    try:
        channel = await connection.channel()
        queue = await channel.get_queue(stream.name, ensure=False)
        for exchange, key in stream.bindings:
            await queue.unbind(exchange, key)
        yield
        for exchange, key in stream.bindings:
            await queue.bind(exchange, key)
    finally:
        await connection.close()


async def test_a_deleted_stream_makes_everybody_start_anew(
    tmp_path: Path, amqp_url: str, mongo_url: str, own_prefix: str
) -> None:
    async with stage(tmp_path, amqp_url, mongo_url, own_prefix) as on:
        token = await on.gateway.login("olena")
        async with on.gateway.window(token) as window:
            await window.until_event(await on.tell())
            old = window.epoch
            await _delete_stream(amqp_url, live_stream(old).name)
            assert (await window.until("ready", 15))["mode"] == "resync"
            assert window.epoch != old
            await window.until_event(await on.tell())
            async with on.gateway.window(token, resume=window) as again:
                assert again.ready["mode"] == "resumed"


@pytest.mark.alone
async def test_a_killed_broker_costs_no_event(tmp_path: Path, mongo_url: str, own_prefix: str) -> None:
    server = RabbitMQServer(tmp_path / "rabbitmq")
    try:
        await asyncio.to_thread(server.start)
        async with (
            stage(tmp_path, server.url, mongo_url, own_prefix) as on,
            on.gateway.window(await on.gateway.login("olena")) as window,
        ):
            first = [await on.tell() for _ in range(20)]
            await window.until_event(first[-1])
            await asyncio.to_thread(server.wait_until_streams_on_disk)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            second: list[str] = []
            async with asyncio.timeout(40):
                while len(second) < 20:
                    with contextlib.suppress(bus.PublishUnknown, bus.PublishUnroutable):
                        second.append(await on.tell())
            await window.until_event(second[-1], 30)
            seen = [key for key in window.ids() if key in {*first, *second}]
            assert seen == first + second
            assert window.resyncs == 0
    finally:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.stop)


@pytest.mark.alone
async def test_all_is_heard_after_a_broker_was_killed_that_lost_the_stream(
    tmp_path: Path, mongo_url: str, own_prefix: str
) -> None:
    server = RabbitMQServer(tmp_path / "rabbitmq")
    try:
        await asyncio.to_thread(server.start)
        async with (
            stage(tmp_path, server.url, mongo_url, own_prefix) as on,
            on.gateway.window(token := await on.gateway.login("olena")) as window,
        ):
            bearer = {"Authorization": f"Bearer {token}"}
            await _until_heard(on, "before", bearer)
            # Just after its first stream was declared RabbitMQ loses it with a kill.
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await _until_heard(on, "after", bearer)
            # What was told before the window began anew is in what it then reads; we only follow the socket.
            told: list[str] = []
            async with asyncio.timeout(90):
                while not set(told) & set(window.ids()):
                    told.append(await _told(on))
                    with contextlib.suppress(TimeoutError):
                        await window.next(1)
    finally:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.stop)


async def test_sigterm_sends_everybody_away_and_the_next_process_takes_them_back(
    tmp_path: Path, amqp_url: str, mongo_url: str, own_prefix: str
) -> None:
    async with stage(tmp_path, amqp_url, mongo_url, own_prefix) as on:
        token = await on.gateway.login("olena")
        async with contextlib.AsyncExitStack() as stack:
            windows = [await stack.enter_async_context(on.gateway.window(token)) for _ in range(10)]
            before = await on.tell()
            for window in windows:
                await window.until_event(before)
            stopping = asyncio.create_task(on.gateway.stop())
            codes = [await window.until_closed() for window in windows]
            byes = [window.frames[-1] for window in windows]
            assert await stopping
        assert codes == [1012] * 10
        assert {(bye["type"], bye["code"]) for bye in byes} == {("bye", "restart")}
        assert len({bye["reconnect_after_ms"] for bye in byes}) > 3
        assert all(0 <= bye["reconnect_after_ms"] <= 5_000 for bye in byes)

        missed = [await on.tell() for _ in range(5)]
        await on.gateway.start()
        async with on.gateway.window(token, resume=windows[0]) as again:
            assert again.ready["mode"] == "resumed"
            await again.until_event(missed[-1])
            assert [key for key in again.ids() if key in {before, *missed}] == [before, *missed]


async def _told(on: Stage) -> str:
    """Tell something as soon as somebody takes it."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(bus.PublishUnknown, bus.PublishUnroutable):
                return await on.tell()
            await asyncio.sleep(0.2)  # pace: inbox repeats itself


async def _until_heard(on: Stage, kind: str, bearer: dict[str, str]) -> None:
    """Announce as a connector does, again and again, until the gateway knows the kind."""
    async with asyncio.timeout(20):
        while kind not in {known["kind"] for known in await on.kinds(bearer)}:
            with contextlib.suppress(bus.PublishUnknown, bus.PublishUnroutable):
                await on.announce(kind)
            await asyncio.sleep(0.2)  # pace: a connector repeats itself


def _big_change(n: int) -> Change:
    data = {"id": f"big{n}", "at": datetime.now(UTC).timestamp(), "text": "б" * 30_000}
    return Change(
        tenant_id="salon",
        channel_id=TELEGRAM,
        conversation_id=None,
        user_id=None,
        v=None,
        traceparent=None,
        received_at=None,
        events=[UiEvent(type="message.created", data=data)],
    )


async def _latencies(window: Window, count: int) -> list[float]:
    """Seconds from publishing to the window, of `count` events."""
    found: list[float] = []
    while len(found) < count:
        known = len(window.events)
        await window.next(20)
        now = datetime.now(UTC).timestamp()
        found += [now - e["data"]["at"] for e in window.events[known:] if "at" in e["data"]]
    return found


async def _metric(on: Stage, name: str) -> float:
    text = (await on.gateway.http.get(f"{on.gateway.internal_url}/metrics")).text
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))


async def _delete_stream(url: str, name: str) -> None:
    connection = await bus.connect(url, "test")
    async with connection:
        channel = await connection.channel()
        await channel.queue_delete(name)
