"""What inbox promises when things repeat, race, die or lie: each on a real broker and a real database."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from inbox_client import Client
from inbox_rig import Rig, changes, eventually, running, settings_for

from inbox.cli import rebuild
from inbox.conversations import NotFound, Refused
from inbox.domain import Author, Commit, Door, Moment, Person, PostReply, SetStatus, decide, fold
from inbox.intake import Received
from inbox.projections import Key
from inbox.relay import start_of
from inbox.settings import Settings
from msgkit.contracts.events import Contact
from msgkit.contracts.ids import new_id, partition_of
from msgkit.contracts.topology import FACTS, SENDS, live_stream
from msgkit.contracts.words import AuthorKind, MessageState, Status
from msgkit.runtime import bus
from msgkit.runtime.clock import utc_now
from msgkit.runtime.partition_reader import Delivery

pytestmark = pytest.mark.servers


@pytest.fixture
def settings(amqp_url: str, mongo_url: str, mongo_prefix: str) -> Settings:
    return settings_for(amqp_url, mongo_url, mongo_prefix)


@pytest.fixture
async def rig(settings: Settings) -> AsyncIterator[Rig]:
    """An inbox whose batches the test hands over itself, so that it decides what happens between steps."""
    async with running(settings, reads=False) as found:
        yield found


@pytest.fixture
async def client(rig: Rig) -> Client:
    return Client(await rig.api().connect_channel())


async def nothing_differs(rig: Rig) -> bool:
    verdict = await rebuild(rig.inbox.store, repair=False, pause_s=0.05)
    assert verdict.differences == ()
    return verdict.conversations > 0


async def texts(rig: Rig, client: Client) -> list[str]:
    return [message["text"] for message in await rig.api().messages(client.conversation_id, limit=100)]


def answer(by: str = "u-olena", text: str = "Вітаю", key: str | None = None, **more: Any) -> PostReply:
    return PostReply(
        author=Author(AuthorKind.OPERATOR, by, by), client_msg_id=key or new_id(), text=text, **more
    )


async def post(rig: Rig, client: Client, command: PostReply) -> str:
    message = await rig.inbox.conversations.post_reply(
        client.tenant_id, client.conversation_id, command, {client.channel_id}
    )
    return message.id


# ---------------------------------------------------------------- repeats


async def test_a_batch_delivered_twice_shows_once(rig: Rig, client: Client) -> None:
    first, second = client.says("раз"), client.says("два")
    await rig.receive(first, second, first)
    await rig.receive(second, first, client.says("три"))
    assert await texts(rig, client) == ["раз", "два", "три"]
    assert await nothing_differs(rig)


async def test_one_known_message_does_not_hold_up_its_neighbours(rig: Rig, settings: Settings) -> None:
    """A fresh replica knows nothing of what the last one stored: its first batch is half known."""
    channel_id = await rig.api().connect_channel()
    clients = [Client(channel_id, key=str(number)) for number in range(20)]
    old = [client.says("було") for client in clients]
    await rig.receive(*old)
    other = settings.model_copy(update={"instance": "two"})
    async with running(other, reads=False) as fresh:
        await fresh.receive(
            *[
                event
                for client, known in zip(clients, old, strict=True)
                for event in (known, client.says("нове"))
            ]
        )
        for client in clients:
            assert await texts(fresh, client) == ["було", "нове"]
        assert await nothing_differs(fresh)


async def test_edits_reports_and_blocks_repeated_and_shuffled_have_one_effect(
    rig: Rig, client: Client
) -> None:
    await rig.receive(client.edits("1", "раніше за повідомлення", utc_now() + timedelta(seconds=1)))
    await rig.receive(client.says("перше"))
    message_id = await post(rig, client, answer())
    events = [
        client.gets(message_id, MessageState.SENDING),
        client.gets(message_id, MessageState.SENT, provider_ids=("9",)),
        client.gets(message_id, MessageState.DELIVERED),
        client.gets(message_id, MessageState.READ),
        client.edits("1", "після", utc_now() + timedelta(seconds=2)),
    ]
    shuffled = random.Random(5).sample(events * 3, 15)
    for event in shuffled:
        await rig.receive(event)
    messages = await rig.api().messages(client.conversation_id)
    assert [(m["text"], m["state"], len(m["versions"])) for m in messages] == [
        ("після", "delivered", 2),
        ("Вітаю", "read", 0),
    ]
    assert await nothing_differs(rig)


async def test_a_forgotten_message_is_found_again_for_its_report_and_edit(rig: Rig, client: Client) -> None:
    """Only a few messages are kept in hand; the rest comes from the projection."""
    await rig.receive(client.says("перше"))
    message_id = await post(rig, client, answer())
    for _ in range(3):
        await rig.receive(*[client.says(f"ще {number}") for number in range(20)])
    await rig.receive(
        client.gets(message_id, MessageState.SENT, provider_ids=("77",)), client.edits("1", "перше!")
    )
    await rig.receive(client.says("відповідаю на ваше", reply_to="77"))
    messages = {m["n"]: m for m in await rig.api().messages(client.conversation_id, limit=100)}
    assert (messages[1]["text"], messages[2]["state"]) == ("перше!", "sent")
    assert messages[63]["reply_to"] == message_id
    assert messages[63]["quote"] == {"text": "Вітаю", "author": "u-olena"}
    assert await nothing_differs(rig)


# ---------------------------------------------------------------- races


async def test_two_replicas_racing_for_the_next_version_lose_nothing(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(settings, reads=False))
        two = await stack.enter_async_context(
            running(settings.model_copy(update={"instance": "two"}), reads=False)
        )
        client = Client(await one.api().connect_channel())
        await one.receive(client.says("початок"))

        async def messages() -> None:
            for number in range(10):
                await one.receive(client.says(f"клієнт {number}"))

        async def answers(rig: Rig, by: str) -> None:
            for number in range(10):
                await post(rig, client, answer(by, f"{by} {number}"))

        async with asyncio.TaskGroup() as group:
            group.create_task(messages())
            group.create_task(answers(one, "u-olena"))
            group.create_task(answers(two, "u-ivan"))
        await one.receive()  # what the sweep would have asked for
        key = Key(client.tenant_id, client.conversation_id)
        one.inbox.relay.poke([key])
        await one.receive()
        got = await one.api().messages(client.conversation_id, limit=100)
        assert sorted(m["n"] for m in got) == list(range(1, 32))
        assert len({m["text"] for m in got}) == 31
        for by in ("u-olena", "u-ivan", "клієнт"):
            mine = [m["text"] for m in sorted(got, key=lambda m: m["n"]) if m["text"].startswith(by)]
            assert mine == [f"{by} {number}" for number in range(10)]
        assert await nothing_differs(one)


async def test_of_two_operators_who_answer_at_once_one_is_told(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(settings, reads=False))
        two = await stack.enter_async_context(
            running(settings.model_copy(update={"instance": "two"}), reads=False)
        )
        client = Client(await one.api().connect_channel())
        await one.receive(client.says("питання"))
        results = await asyncio.gather(
            one.api("u-olena").reply(client.conversation_id, "я", seen_n=1),
            two.api("u-ivan").reply(client.conversation_id, "ні, я", seen_n=1),
        )
        assert sorted(result.status_code for result in results) == [202, 409]
        refused = next(result.json() for result in results if result.status_code == 409)
        accepted = next(result.json() for result in results if result.status_code == 202)
        assert refused["code"] == "colleague_replied"
        assert [message["id"] for message in refused["new_messages"]] == [accepted["id"]]
        assert refused["current"]["assignee"]["id"] == accepted["author"]["id"]


async def test_the_same_send_on_two_replicas_is_one_message(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(settings, reads=False))
        two = await stack.enter_async_context(
            running(settings.model_copy(update={"instance": "two"}), reads=False)
        )
        client = Client(await one.api().connect_channel())
        await one.receive(client.says("питання"))
        command = answer(key="same-key-0001")
        ids = await asyncio.gather(*(post(rig, client, command) for rig in (one, two, one, two)))
        assert len(set(ids)) == 1
        assert len(await texts(one, client)) == 2
        with pytest.raises(Refused, match="client_msg_id_reused"):
            await post(two, client, replace(command, text="інше"))
        other = Client(client.channel_id, key="502")
        await one.receive(other.says("я теж"))
        with pytest.raises(Refused, match="client_msg_id_reused"):
            await post(one, other, command)


# ---------------------------------------------------------------- deaths


async def append_only(rig: Rig, client: Client, *commands: Any, relayed: bool) -> list[Commit]:
    """What a replica leaves that dies right after its insert."""
    key = Key(client.tenant_id, client.conversation_id)
    state = (await rig.inbox.store.projections.states([key])).get(key)
    commits = []
    for command in commands:
        empty = Commit(
            tenant_id=client.tenant_id,
            conversation_id=client.conversation_id,
            channel_id=client.channel_id,
            channel_kind="telegram_bot",
            v=0,
            events=(),
            at=utc_now(),
            partition=partition_of(client.conversation_id),
            relayed=relayed,
        )
        before = state or start_of(empty)
        moment = Moment(before.v + 1, utc_now() - timedelta(seconds=2), 900)
        door = await rig.inbox.channels.channel(client.tenant_id, client.channel_id)
        assert door is not None
        decision = decide(before, command, moment, Door())
        assert isinstance(decision, tuple)
        commit = replace(empty, v=moment.v, events=decision, at=moment.at)
        assert await rig.inbox.store.insert_commit(commit)
        state = fold(before, commit)
        commits.append(commit)
    return commits


async def test_a_death_between_insert_and_publish_is_made_good_by_the_redelivery(
    rig: Rig, client: Client
) -> None:
    await rig.receive(client.says("перше"))
    lost = client.says("друге")
    await append_only(rig, client, lost, relayed=True)
    facts = await rig.listen(FACTS)
    await rig.receive(lost)
    assert [change["v"] for change in changes(await facts())] == [2]
    rows = (await rig.api().get("/conversations"))["items"]
    assert (rows[0]["v"], rows[0]["last_message"]["text"]) == (2, "друге")
    assert await nothing_differs(rig)


async def test_a_death_of_the_whole_replica_is_made_good_by_who_takes_the_partition(
    rig: Rig, settings: Settings, client: Client
) -> None:
    """Without a redelivery: the broker, too, has forgotten."""
    await rig.receive(client.says("перше"))
    await append_only(rig, client, client.says("друге"), client.says("третє"), relayed=True)
    other = settings.model_copy(update={"instance": "two"})
    async with running(other) as fresh:

        async def listed() -> Any:
            return (await fresh.api().get("/conversations"))["items"][0]["v"]

        # Both are members: the partition is the new one's or stays ours, whose sweep comes with the test.
        await rig.inbox.membership.leave()
        assert await eventually(listed, lambda v: v == 3) == 3
        assert await nothing_differs(fresh)


async def test_an_answer_nobody_poked_for_is_found_by_the_sweep(rig: Rig, client: Client) -> None:
    await rig.receive(client.says("перше"))
    (commit,) = await append_only(rig, client, answer(text="відповідь"), relayed=False)
    facts, sends = await rig.listen(FACTS), await rig.listen(SENDS)
    await rig.inbox.relay.sweep()
    await rig.receive()
    assert [change["v"] for change in changes(await facts())] == [2]
    assert [order["text"] for order in await sends()] == ["відповідь"]
    assert await rig.inbox.store.unrelayed([commit.partition], utc_now(), 10) == []
    assert await nothing_differs(rig)


async def test_an_order_no_connector_takes_waits_and_goes_later(rig: Rig, client: Client) -> None:
    await rig.receive(client.says("перше"))
    await post(rig, client, answer(text="зачекає"))
    sends_missing = await rig.channel.declare_queue("journal", passive=True)
    await sends_missing.unbind(SENDS, "#")  # now nothing at all takes orders
    await rig.receive()
    partition = partition_of(client.conversation_id)
    later = utc_now() + timedelta(seconds=5)
    assert len(await rig.inbox.store.unrelayed([partition], later, 10)) == 1
    rows = (await rig.api().get("/conversations"))["items"]
    assert rows[0]["last_message"]["state"] == "queued"
    sends = await rig.listen(SENDS)
    rig.inbox.relay._clock = lambda: later  # two seconds later
    await rig.inbox.relay.sweep()
    await rig.receive()
    assert [order["text"] for order in await sends()] == ["зачекає"]
    assert await rig.inbox.store.unrelayed([partition], later, 10) == []


async def test_a_poke_brings_an_answer_of_another_replica_at_once(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(running(settings))
        client = Client(await owner.api().connect_channel())
        await owner.receive(client.says("перше"))
        # Built, but no member: whatever it appends is for the owner to relay.
        other = await stack.enter_async_context(
            running(settings.model_copy(update={"instance": "two"}), reads=False)
        )
        await other.inbox.membership.leave()
        facts = await owner.listen(FACTS)
        await post(other, client, answer(text="з іншої репліки"))
        told = changes(await eventually(facts, bool, timeout_s=5))
        assert told[0]["v"] == 2
        assert (await other.api().messages(client.conversation_id))[-1]["text"] == "з іншої репліки"


async def test_a_projection_that_fell_back_is_written_again(rig: Rig, client: Client) -> None:
    """A server that dies loses its last w:1 writes; the next batch must not build on them."""
    await rig.receive(client.says("перше"))
    key = Key(client.tenant_id, client.conversation_id)
    before = await rig.inbox.store.projections.documents(key)
    await rig.receive(client.says("друге"))
    database = rig.inbox.store._database  # the server's loss is played here
    await database["conversations"].replace_one({"_id": client.conversation_id}, before[0] or {})
    await database["messages"].delete_one({"conversation_id": client.conversation_id, "n": 2})
    await rig.receive(client.says("третє"))
    assert await texts(rig, client) == ["перше", "друге", "третє"]
    assert await nothing_differs(rig)


async def test_a_server_that_is_another_process_than_before_is_looked_through(
    rig: Rig, client: Client
) -> None:
    await rig.inbox.relay.sweep()
    await rig.receive(client.says("перше"))
    database = rig.inbox.store._database
    await database["conversations"].delete_one({"_id": client.conversation_id})
    await database["messages"].delete_many({"conversation_id": client.conversation_id})
    rig.inbox.relay._server = "the process before"
    await rig.inbox.relay.sweep()
    await rig.receive()
    assert await nothing_differs(rig)


# ---------------------------------------------------------------- lies


async def test_what_cannot_be_true_is_kept_aside_and_stops_nobody(rig: Rig, client: Client) -> None:
    good = client.says("справжнє")
    foreign = client.says("чуже").model_copy(update={"tenant_id": "clinic"})
    misplaced = client.says("не туди").model_copy(
        update={"contact": Contact(key="999", name="x", username=None, phone=None, language=None)}
    )
    unknown = client.gets("nothing", MessageState.SENT)
    await rig.receive(foreign, misplaced, good, unknown)
    garbage = Delivery(3, b'{"type": "message.received.v1", "tenant_id": null}', "?", new_id(), None, 0, 0.0)
    await rig.handle(garbage)
    assert await texts(rig, client) == ["справжнє"]
    kept = await rig.inbox.store._quarantine.find({}).to_list(None)
    assert {row["_id"] for row in kept} == {
        foreign.event_id, misplaced.event_id, unknown.event_id, garbage.event_id,
    }  # fmt: skip
    assert all(row["reason"] for row in kept)


async def test_a_difference_is_found_and_repaired(rig: Rig, client: Client) -> None:
    await rig.receive(client.says("перше"), client.says("друге"))
    database = rig.inbox.store._database
    plants: list[tuple[str, Any, Any]] = [
        ("messages", {"n": 1}, {"$set": {"body.text": "підроблено"}}),
        ("conversations", {"_id": client.conversation_id}, {"$set": {"in_seq": 7}}),
        ("conversations", {"_id": client.conversation_id}, {"$set": {"v": 9}}),
    ]
    for collection, wanted, change in plants:
        await database[collection].update_one(wanted, change)
        found = await rebuild(rig.inbox.store, repair=False, pause_s=0.01)
        assert [one.key.conversation_id for one in found.differences] == [client.conversation_id]
        await rebuild(rig.inbox.store, repair=True, pause_s=0.01)
        assert await nothing_differs(rig)
    await database["conversations"].insert_one({"_id": "ghost", "tenant_id": "salon", "v": 1})
    found = await rebuild(rig.inbox.store, repair=False, pause_s=0.01)
    assert [one.key.conversation_id for one in found.differences] == ["ghost"]


async def test_the_command_rebuild_says_what_differs_and_repairs(rig: Rig, client: Client) -> None:
    await rig.receive(client.says("перше"), client.says("друге"))
    url = rig.settings.mongo_url.get_secret_value()
    environment = {"MONGO_URL": url, "ROZMOVA_MONGO_PREFIX": rig.settings.mongo_prefix}

    async def rozmova(*arguments: str, **more: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "inbox.cli", *arguments,
            env=environment | more, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    assert (await rozmova("rebuild"))[0] == 0
    database = rig.inbox.store._database
    await database["messages"].delete_one({"n": 2})
    code, said = await rozmova("rebuild")
    assert (code, client.conversation_id in said, "1 messages missing" in said) == (1, True, True)
    assert (await rozmova("rebuild", "--repair"))[0] == 1
    assert (await rozmova("rebuild"))[0] == 0
    code, said = await rozmova("rebuild", MONGO_URL="")
    assert (code, "MONGO_URL" in said) == (2, True)


# ---------------------------------------------------------------- the live stream


async def test_a_deleted_live_stream_is_replaced_and_nothing_is_lost(rig: Rig, client: Client) -> None:
    first = await rig.inbox.live.current()
    await rig.channel.queue_delete(live_stream(first).name)
    await rig.receive(client.says("перше"))
    second = await rig.inbox.live.current()
    assert second != first
    assert await bus.queue_exists(rig.settings.rabbitmq_url.get_secret_value(), live_stream(second).name)
    assert await texts(rig, client) == ["перше"]
    gateway = rig.api()
    renewed = await gateway.call("POST", "/live/renew", {"epoch": first})
    assert renewed.json() == {"epoch": second}
    assert (await gateway.call("POST", "/live/renew", {"epoch": second})).json() == {"epoch": second}
    await rig.channel.queue_delete(live_stream(second).name)
    third = (await gateway.call("POST", "/live/renew", {"epoch": second})).json()["epoch"]
    assert third not in (first, second)


async def test_replicas_that_find_the_stream_gone_agree_on_one(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        rigs = [
            await stack.enter_async_context(
                running(settings.model_copy(update={"instance": name}), reads=False)
            )
            for name in ("one", "two")
        ]
        epoch = await rigs[0].inbox.live.current()
        await rigs[0].channel.queue_delete(live_stream(epoch).name)
        renewed = await asyncio.gather(*(rig.inbox.live.renew(epoch) for rig in rigs))
        assert len(set(renewed)) == 1
        assert renewed[0] == await rigs[1].inbox.live.current()


# ---------------------------------------------------------------- small rules that need the whole


async def test_a_long_batch_is_split_into_envelopes_of_a_megabyte(rig: Rig, client: Client) -> None:
    facts = await rig.listen(FACTS)
    channel_id = client.channel_id
    # 20 clients whose conversations lie anywhere, each with 100 KB.
    await rig.receive(*[Client(channel_id, key=str(n)).says("я" * 50_000) for n in range(40)])
    envelopes = await facts()
    seen = [change["conversation_id"] for change in changes(envelopes)]
    assert len(seen) == len(set(seen)) == 40


async def test_close_opens_a_new_request_with_the_next_number(rig: Rig, client: Client) -> None:
    await rig.receive(client.says("перше"))
    closed = await rig.inbox.conversations.act(
        client.tenant_id,
        client.conversation_id,
        SetStatus(Status.CLOSED, Person("u-olena", "Олена")),
        {client.channel_id},
        expected_v=1,
    )
    assert closed.v == 2
    await rig.receive(client.says("знову"))
    requests = await rig.api().get(f"/conversations/{client.conversation_id}/requests")
    assert [request["number"] for request in requests] == [1, 2]
    with pytest.raises(NotFound):
        await rig.inbox.conversations.row(Key("clinic", client.conversation_id), {client.channel_id})
    written = await rig.inbox.intake.receive_batch([Received(client.says("третє"), None)])
    assert written.rejected == []
