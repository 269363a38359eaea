"""What operators do through the internal API: files, mending answers, who has a chat, health of a channel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from inbox_client import KIND, Client, photo_content
from inbox_rig import Api, Rig, changes, delivery_of, running, settings_for

from inbox.cli import rebuild
from msgkit.contracts.events import ChannelHealthReported, Failure, SendMessage
from msgkit.contracts.ids import new_id, partition_of
from msgkit.contracts.internal_api import MediaRecord, Trail
from msgkit.contracts.topology import FACTS, SENDS
from msgkit.contracts.views import ChannelView, MessageView
from msgkit.contracts.words import FailureCode, MessageState
from msgkit.runtime.clock import utc_now
from msgkit.runtime.partition_reader import Delivery

pytestmark = pytest.mark.servers

FAILURE = Failure(code=FailureCode.TEMPORARY, text="Месенджер був недоступний.")


@dataclass
class Scene:
    rig: Rig
    olena: Api
    ivan: Api
    client: Client

    @property
    def path(self) -> str:
        return f"/conversations/{self.client.conversation_id}"

    async def write(self, *texts: str) -> None:
        await self.rig.receive(*[self.client.says(text) for text in texts])

    async def messages(self) -> list[MessageView]:
        found = await self.olena.messages(self.client.conversation_id, limit=100)
        return [MessageView.model_validate(one) for one in found]


@pytest.fixture
async def scene(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Scene]:
    """Whatever a test does, the projections must be what the log says in the end.

    A test that could not begin (garbage of an earlier one is an error, too) has nothing to compare: its own
    reason must not be hidden behind another.
    """
    async with running(settings_for(amqp_url, mongo_url, mongo_prefix), reads=False) as rig:
        olena = rig.api()
        scene = Scene(rig, olena, rig.api("u-ivan"), Client(await olena.connect_channel()))
        yield scene
        await rig.receive()
        verdict = await rebuild(rig.inbox.store, repair=False, pause_s=0.05)
        assert (verdict.conversations > 0) is (rig.handled > 0)
        assert verdict.differences == ()


def upload(id_: str, kind: str = "image") -> dict[str, Any]:
    return {
        "upload_id": id_,
        "key": f"objects/{id_}",
        "thumb_key": None,
        "kind": kind,
        "name": "прайс.jpg",
        "mime": "image/jpeg",
        "size_bytes": 1000,
        "width": 640,
        "height": 480,
        "duration_s": None,
    }


# ---------------------------------------------------------------- files


async def test_a_file_of_the_client_from_pending_to_its_place(scene: Scene) -> None:
    client, facts = scene.client, await scene.rig.listen(FACTS)
    await scene.rig.receive(client.says("", content=photo_content("photo")))
    file = client.file_of("1", "photo")
    waiting = await scene.olena.call("GET", f"/media/{file}")
    assert (waiting.status_code, waiting.json()["code"]) == (409, "media_pending")
    # Durable, but neither told nor projected: the window may ask already.
    finish = await scene.rig.inbox.handle([delivery_of(client.file_settled("1", "photo"))])
    record = MediaRecord.model_validate(await scene.olena.get(f"/media/{file}"))
    assert (record.key, record.thumb_key, record.mime) == (
        "objects/photo",
        "objects/photo-thumb",
        "image/png",
    )
    await finish()
    assert await scene.olena.get(f"/media/{file}") == record.model_dump(mode="json")
    told = [event for change in changes(await facts()) for event in change["events"]]
    shown = MessageView.model_validate([e["data"] for e in told if e["type"] == "message.updated"][-1])
    assert (shown.attachments[0].state, shown.attachments[0].url) == ("ready", f"/api/v1/media/{file}/url")
    assert "objects/" not in str(told)
    # A report that repeats, and one on what was never there, are no errors.
    await scene.rig.receive(
        client.file_settled("1", "photo", lost="gone"), client.file_settled("77", "photo", lost="gone")
    )
    assert await scene.rig.inbox.store._quarantine.count_documents({}) == 0
    assert (await scene.messages())[0].attachments[0].state == "ready"


async def test_a_lost_file_leaves_the_message_and_its_reason(scene: Scene) -> None:
    client = scene.client
    await scene.rig.receive(
        client.says("підпис", content=photo_content("photo", "підпис")),
        client.file_settled("1", "photo", lost="too_big"),
    )
    (message,) = await scene.messages()
    assert (message.text, message.attachments[0].state) == ("підпис", "lost")
    assert "завеликий" in (message.attachments[0].problem or "")
    lost = await scene.olena.call("GET", f"/media/{client.file_of('1', 'photo')}")
    assert (lost.status_code, lost.json()["code"]) == (409, "media_lost")


async def test_an_answer_with_files(scene: Scene) -> None:
    await scene.write("1")
    sends = await scene.rig.listen(SENDS)
    body = {"client_msg_id": new_id(), "attachments": [upload("u1"), upload("u2", "file")]}
    answer = await scene.olena.call("POST", f"{scene.path}/messages", body)
    assert answer.status_code == 202, answer.text
    shown = MessageView.model_validate(answer.json())
    assert (shown.kind, [one.state for one in shown.attachments]) == ("image", ["ready", "ready"])
    # The author's window asks for the picture at once, before anybody relayed anything.
    record = MediaRecord.model_validate(await scene.olena.get(f"/media/{shown.attachments[0].id}"))
    assert record.key == "objects/u1"
    again = await scene.olena.call("POST", f"{scene.path}/messages", body)
    assert again.json()["id"] == shown.id
    other = await scene.olena.call("POST", f"{scene.path}/messages", body | {"attachments": [upload("u1")]})
    assert (other.status_code, other.json()["code"]) == (422, "client_msg_id_reused")
    empty = await scene.olena.call("POST", f"{scene.path}/messages", {"client_msg_id": new_id()})
    assert (empty.status_code, empty.json()["code"]) == (422, "invalid")
    await scene.rig.receive()
    (order,) = [SendMessage.model_validate(one) for one in await sends()]
    assert [(one.attachment_id, one.key) for one in order.media] == [
        (shown.attachments[0].id, "objects/u1"),
        (shown.attachments[1].id, "objects/u2"),
    ]
    row = (await scene.olena.get("/conversations"))["items"][0]["last_message"]
    assert (row["text"], row["kind"], row["author"]) == (
        "", "image", {"kind": "operator", "id": "u-olena", "name": "Olena"},
    )  # fmt: skip


async def test_the_way_from_a_file_to_its_message_is_an_index_of_messages_with_files(scene: Scene) -> None:
    await scene.write("1", "2")
    await scene.rig.receive(scene.client.says("", content=photo_content("photo")))
    messages = scene.rig.inbox.store.projections._messages
    wanted = {"tenant_id": "salon", "body.attachments.id": scene.client.file_of("3", "photo")}
    plan = str((await messages.find(wanted).explain())["queryPlanner"]["winningPlan"])
    assert "'indexName': 'files'" in plan
    stats = [one async for one in messages.aggregate([{"$indexStats": {}}])]
    assert "files" in {one["name"] for one in stats}
    keys = await messages.find({}, {"_id": 1}).hint("files").to_list(None)
    assert len(keys) == 1


# ---------------------------------------------------------------- mending


async def test_a_failed_answer_is_sent_again_and_leaves_a_trail(scene: Scene) -> None:
    await scene.write("1")
    sends = await scene.rig.listen(SENDS)
    message_id = (await scene.olena.reply(scene.client.conversation_id, "привіт")).json()["id"]
    early = await scene.olena.call("POST", f"/messages/{message_id}/retry")
    assert (early.status_code, early.json()["code"]) == (409, "not_failed")
    assert early.json()["current"]["id"] == scene.client.conversation_id
    await scene.rig.receive(scene.client.gets(message_id, MessageState.FAILED, failure=FAILURE))
    again = await scene.ivan.call("POST", f"/messages/{message_id}/retry")
    assert (again.status_code, again.json()["state"], again.json()["id"]) == (200, "queued", message_id)
    await scene.rig.receive()
    orders = [(one["message_id"], one["out_seq"]) for one in await sends()]
    assert orders == [(message_id, 1), (f"{message_id}.2", 2)]
    await scene.rig.receive(
        scene.client.gets(message_id, MessageState.FAILED, failure=FAILURE),
        scene.client.gets(f"{message_id}.2", MessageState.SENT, provider_ids=("77",)),
    )
    assert (await scene.messages())[-1].state == "sent"
    trail = Trail.model_validate(await scene.olena.get(f"/messages/{message_id}/trail"))
    assert [(step.event, step.state, step.author) for step in trail.steps] == [
        ("answer.ordered", "queued", "Olena"),
        ("delivery.changed", "failed", None),
        ("answer.reordered", "queued", "Ivan"),
        ("delivery.changed", "sent", None),
    ]
    assert FAILURE.text in (trail.steps[1].detail or "")
    of_client = Trail.model_validate(
        await scene.olena.get(f"/messages/{(await scene.messages())[0].id}/trail")
    )
    assert [step.event for step in of_client.steps] == ["message.came"]


async def test_a_report_on_a_second_attempt_reaches_a_replica_that_has_not_heard_of_it(scene: Scene) -> None:
    """The owner's picture of a conversation is older than what another replica appended."""
    await scene.write("1")
    message_id = (await scene.olena.reply(scene.client.conversation_id, "привіт")).json()["id"]
    settings = scene.rig.settings.model_copy(update={"instance": "two"})
    async with running(settings, reads=False) as other:
        # It stays in hand there as failed.
        await other.receive(scene.client.gets(message_id, MessageState.FAILED, failure=FAILURE))
        await scene.ivan.call("POST", f"/messages/{message_id}/retry")
        await scene.rig.receive()
        await other.receive(scene.client.gets(f"{message_id}.2", MessageState.FAILED, failure=FAILURE))
    (message,) = [one for one in await scene.messages() if one.id == message_id]
    assert message.state == "failed"


@pytest.mark.parametrize(("action", "state"), [("failed", "failed"), ("resend", "queued")])
async def test_a_person_decides_what_nobody_knows(scene: Scene, action: str, state: str) -> None:
    await scene.write("1")
    message_id = (await scene.olena.reply(scene.client.conversation_id, "привіт")).json()["id"]
    wrong = await scene.olena.call("POST", f"/messages/{message_id}/resolve", {"as": action})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "not_unknown")
    await scene.rig.receive(scene.client.gets(message_id, MessageState.UNKNOWN, failure=FAILURE))
    done = await scene.olena.call("POST", f"/messages/{message_id}/resolve", {"as": action})
    assert (done.status_code, done.json()["state"]) == (200, state)
    bad = await scene.olena.call("POST", f"/messages/{message_id}/resolve", {"as": "lost"})
    assert bad.status_code == 422


async def test_an_answer_is_called_back_and_shown_as_deleted(scene: Scene) -> None:
    await scene.write("1")
    sends = await scene.rig.listen(SENDS)
    message_id = (await scene.olena.reply(scene.client.conversation_id, "помилка")).json()["id"]
    assert (await scene.ivan.call("DELETE", f"/messages/{message_id}")).status_code == 204
    assert (await scene.ivan.call("DELETE", f"/messages/{message_id}")).status_code == 204
    await scene.rig.receive()
    assert [one["type"] for one in await sends()] == ["send.ordered.v1", "send.cancelled.v1"]
    message = (await scene.messages())[-1]
    assert (message.deleted, message.text) == (True, "")
    gone = await scene.olena.call("POST", f"/messages/{message_id}/retry")
    assert (gone.status_code, gone.json()["code"]) == (409, "deleted")


# ---------------------------------------------------------------- who has a chat


async def test_who_has_a_chat(scene: Scene) -> None:
    await scene.write("1")

    async def does(api: Api, what: str, body: Any = None, v: int | None = None) -> Any:
        headers = {} if v is None else {"If-Match": f'"{v}"'}
        answer = await api.call("POST", f"{scene.path}/{what}", body, headers)
        return answer.status_code, answer.json()

    status, row = await does(scene.olena, "claim", v=1)
    assert (status, row["assignee"]["name"], row["v"]) == (200, "Olena", 2)
    status, refused = await does(scene.ivan, "claim", v=2)
    assert (status, refused["code"], refused["claimed_by"]) == (
        409, "claimed_by_other", {"id": "u-olena", "name": "Olena"},
    )  # fmt: skip
    assert (refused["claimed_at"] is not None, refused["current"]["v"]) == (True, 2)
    assert (await does(scene.ivan, "claim", v=1))[1]["code"] == "stale"
    status, row = await does(scene.olena, "assign", {"user_id": "u-ivan", "name": "Іван"}, v=2)
    assert (status, row["assignee"]) == (200, {"id": "u-ivan", "name": "Іван"})
    status, row = await does(scene.ivan, "release")
    assert (status, row["assignee"]) == (200, None)
    assert (await does(scene.ivan, "takeover"))[1]["code"] == "not_with_bot"
    assert (await does(scene.ivan, "return-to-bot"))[1]["code"] == "bot_disabled"
    channel = f"/channels/{scene.client.channel_id}"
    await scene.olena.call("PATCH", channel, {"settings": {"roles": None, "bot_enabled": True}})
    status, row = await does(scene.ivan, "return-to-bot")
    assert (status, row["handler"], row["box"], row["unread"]) == (200, "bot", "bot", 0)
    status, row = await does(scene.ivan, "takeover")
    assert (status, row["handler"], row["assignee"]["id"]) == (200, "operator", "u-ivan")
    status, row = await does(scene.ivan, "status", {"status": "closed"})
    assert (status, row["box"]) == (200, "done")
    assert (await does(scene.olena, "assign", {"user_id": "u-olena", "name": "О"}))[1]["code"] == (
        "conversation_closed"
    )
    await scene.rig.receive()
    lines = [one.text for one in await scene.messages() if one.direction == "system"]
    assert lines == [
        "Чат взято в роботу: Olena",
        "Чат передано: Olena → Іван",
        "Чат більше ні за ким не закріплено: Ivan",
        "Чат повернуто боту: Ivan",
        "Замість бота відповідає Ivan",
        "Чат завершено: Ivan",
    ]
    row = (await scene.olena.get("/conversations", list="done"))["items"][0]
    assert row["last_message"]["text"] == "1"


async def test_a_chat_is_marked_unread_from_a_message_on(scene: Scene) -> None:
    await scene.write("1", "2", "3")
    facts = await scene.rig.listen(FACTS)
    await scene.olena.call("POST", f"{scene.path}/read", {"n": 3})
    marked = await scene.olena.call("POST", f"{scene.path}/unread", {"n": 2})
    assert (marked.status_code, marked.json()["in_seq"]) == (200, 1)
    row = await scene.olena.get(scene.path)
    assert (row["unread"], row["mark_in_seq"]) == (2, 1)
    assert row["first_unread_id"] == (await scene.messages())[1].id
    assert (await scene.olena.get("/counters"))["blue"] == 1
    told = [event["data"]["in_seq"] for change in changes(await facts()) for event in change["events"]]
    assert told == [3, 1]
    await scene.ivan.reply(scene.client.conversation_id, "вже")
    answered = await scene.olena.call("POST", f"{scene.path}/unread", {"n": 2})
    assert (answered.status_code, answered.json()["code"]) == (409, "nothing_unread")
    assert answered.json()["current"]["answered_seq"] == 3
    assert (await scene.olena.call("POST", f"{scene.path}/unread", {"n": 0})).status_code == 422


# ---------------------------------------------------------------- channels


def health(scene: Scene, *, connected: bool, problem: str | None, later_s: float = 0.0) -> Delivery:
    event = ChannelHealthReported(
        type="channel.health.v1",
        event_id=new_id(),
        tenant_id="salon",
        channel_id=scene.client.channel_id,
        channel_kind=KIND,
        recorded_at=utc_now(),
        connected=connected,
        problem=problem,
        happened_at=utc_now() + timedelta(seconds=later_s),
    )
    body = event.model_dump_json().encode()
    return Delivery(partition_of(event.channel_id), body, event.type, event.event_id, None, 0, 0.0)


async def test_a_channels_health_is_told_when_it_changes(scene: Scene) -> None:
    await scene.write("1")
    facts = await scene.rig.listen(FACTS)
    problem = "Токен відкликано. Вставте новий у налаштуваннях каналу."
    for delivery in (
        health(scene, connected=True, problem=None),
        health(scene, connected=False, problem=problem, later_s=2),
        health(scene, connected=False, problem=problem, later_s=3),
        health(scene, connected=True, problem=None, later_s=1),
    ):
        await scene.rig.handle(delivery)
    (change,) = changes(await facts())
    view = ChannelView.model_validate(change["events"][0]["data"])
    assert (change["events"][0]["type"], change["v"]) == ("channel.updated", None)
    assert (view.connected, view.problem, view.state) == (False, problem, "active")
    refused = await scene.olena.reply(scene.client.conversation_id, "x")
    assert (refused.status_code, refused.json()["code"]) == (409, "channel_disconnected")
    await scene.rig.handle(health(scene, connected=True, problem=None, later_s=4))
    (change,) = changes(await facts())
    assert change["events"][0]["data"]["connected"] is True
    assert (await scene.olena.reply(scene.client.conversation_id, "x")).status_code == 202


async def test_health_of_another_tenants_channel_changes_nothing(scene: Scene) -> None:
    await scene.write("1")
    lie = health(scene, connected=False, problem="x")
    foreign = Delivery(
        lie.partition, lie.body.replace(b'"salon"', b'"clinic"'), lie.type, lie.event_id, None, 0, 0.0
    )
    await scene.rig.handle(foreign)
    (channel,) = await scene.olena.get("/channels")
    assert channel["connected"] is True


async def test_a_disabled_channel_sends_nothing_and_keeps_what_comes(scene: Scene) -> None:
    await scene.write("1")
    body = {"state": "disabled", "connected": False, "problem": None}
    await scene.olena.call("POST", f"/channels/{scene.client.channel_id}/state", body)
    refused = await scene.olena.reply(scene.client.conversation_id, "x")
    assert (refused.status_code, refused.json()["code"]) == (409, "channel_disconnected")
    assert "ввімкнути" in refused.json()["detail"]
    note = await scene.olena.reply(scene.client.conversation_id, "передзвонити", note=True)
    assert note.status_code == 202
    await scene.write("2")
    assert [one.text for one in await scene.messages()] == ["1", "передзвонити", "2"]
