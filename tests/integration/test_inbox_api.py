"""The internal API: what a viewer sees and may do, and that others' things do not exist."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from inbox_client import KIND, Client, photo_content
from inbox_rig import Api, Rig, changes, running, settings_for

from msgkit.contracts.events import Contact
from msgkit.contracts.ids import new_id
from msgkit.contracts.topology import FACTS
from msgkit.contracts.views import ChannelView

pytestmark = pytest.mark.servers


@dataclass
class Scene:
    """A tenant with one ordinary channel and one only the role viber-only reaches; and a stranger."""

    rig: Rig
    olena: Api
    ivan: Api
    viktor: Api
    maria: Api
    client: Client

    async def write(self, *texts: str) -> None:
        await self.rig.receive(*[self.client.says(text) for text in texts])


@pytest.fixture
async def scene(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Scene]:
    async with running(settings_for(amqp_url, mongo_url, mongo_prefix), reads=False) as rig:
        olena = rig.api()
        channel_id = await olena.connect_channel(roles=["admin", "reception"])
        yield Scene(
            rig=rig,
            olena=olena,
            ivan=rig.api("u-ivan", roles=("reception",)),
            viktor=rig.api("u-viktor", roles=("viber-only",)),
            maria=rig.api("u-maria", tenant_id="clinic"),
            client=Client(channel_id),
        )


async def test_others_things_do_not_exist(scene: Scene) -> None:
    """Every route, with ids of another tenant and with ids the caller's roles do not reach."""
    client = scene.client
    await scene.write("таємниця")
    await scene.rig.receive(
        client.says("", content=photo_content("photo")), client.file_settled("2", "photo")
    )
    conversation, channel = scene.client.conversation_id, scene.client.channel_id
    message = (await scene.olena.messages(conversation))[0]["id"]
    send = {"client_msg_id": new_id(), "text": "x"}
    state = {"state": "disabled", "connected": False, "problem": None}
    routes: list[tuple[str, str, Any]] = [
        ("GET", f"/conversations/{conversation}", None),
        ("GET", f"/conversations/{conversation}/messages", None),
        ("GET", f"/conversations/{conversation}/messages?around={message}", None),
        ("GET", f"/conversations/{conversation}/requests", None),
        ("POST", f"/conversations/{conversation}/messages", send),
        ("POST", f"/conversations/{conversation}/messages", {**send, "note": True}),
        ("POST", f"/conversations/{conversation}/read", {"n": 1}),
        ("POST", f"/conversations/{conversation}/status", {"status": "closed"}),
        ("POST", f"/conversations/{conversation}/claim", None),
        ("POST", f"/conversations/{conversation}/takeover", None),
        ("POST", f"/conversations/{conversation}/assign", {"user_id": "u-x", "name": "X"}),
        ("POST", f"/conversations/{conversation}/release", None),
        ("POST", f"/conversations/{conversation}/return-to-bot", None),
        ("POST", f"/conversations/{conversation}/unread", {"n": 1}),
        ("POST", f"/messages/{message}/retry", None),
        ("POST", f"/messages/{message}/resolve", {"as": "sent"}),
        ("DELETE", f"/messages/{message}", None),
        ("GET", f"/messages/{message}/trail", None),
        ("GET", f"/media/{scene.client.file_of('2', 'photo')}", None),
    ]
    of_channels: list[tuple[str, str, Any]] = [
        ("PATCH", f"/channels/{channel}", {"title": "моє"}),
        ("POST", f"/channels/{channel}/state", state),
        ("DELETE", f"/channels/{channel}", None),
    ]
    missing = new_id()
    for api, wanted in ((scene.maria, routes + of_channels), (scene.viktor, routes)):
        for method, path, body in wanted:
            answer = await api.call(method, path, body)
            elsewhere = path
            for id_ in (conversation, channel, message, client.file_of("2", "photo")):
                elsewhere = elsewhere.replace(id_, missing)
            nowhere = await api.call(method, elsewhere, body)
            assert answer.status_code == 404, (method, path, answer.text)
            assert answer.content == nowhere.content
        assert (await api.get("/conversations"))["items"] == []
        assert (await api.get("/conversations", channel=channel))["items"] == []
        assert (await api.get("/counters"))["red"] == 0
        assert (await api.get("/overview"))["channels"] == []
    assert await scene.maria.get("/channels") == []
    assert [m["text"] for m in await scene.olena.messages(conversation)] == ["таємниця", ""]
    row = await scene.olena.get(f"/conversations/{conversation}")
    assert (row["status"], row["assignee"], row["mark_in_seq"]) == ("open", None, 0)


async def test_a_channel_id_of_another_tenant_cannot_be_taken(scene: Scene) -> None:
    body: dict[str, Any] = {
        "kind": KIND,
        "title": "чужий",
        "account_id": "other",
        "account_name": None,
        "credentials_hint": None,
        "webhook_url": None,
        "settings": {},
    }
    taken = await scene.maria.call("PUT", f"/channels/{scene.client.channel_id}", body)
    assert (taken.status_code, taken.json()["code"]) == (409, "already_connected")
    assert "salon" not in taken.text


async def test_an_account_is_one_channel_over_all_tenants_until_it_is_deleted(scene: Scene) -> None:
    body = {
        "kind": KIND,
        "title": "Бот",
        "account_id": "bot-1",
        "account_name": "@bot",
        "credentials_hint": "1234",
        "webhook_url": "https://example.test/hook",
        "settings": {"roles": ["admin"]},
    }
    mine, theirs = new_id(), new_id()
    first = await scene.olena.call("PUT", f"/channels/{mine}", body)
    again = await scene.olena.call("PUT", f"/channels/{mine}", body)
    assert (first.status_code, again.status_code) == (200, 200)
    assert ChannelView.model_validate(first.json()).state == "pending"
    assert (await scene.maria.call("PUT", f"/channels/{theirs}", body)).status_code == 409
    assert (await scene.olena.call("DELETE", f"/channels/{mine}")).status_code == 204
    assert (await scene.olena.call("DELETE", f"/channels/{mine}")).status_code == 404
    assert (await scene.maria.call("PUT", f"/channels/{theirs}", body)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/channels/x", {"kind": KIND, "title": "t", "account_id": "a", "account_name": None,
                                "credentials_hint": None, "webhook_url": None, "settings": {}}),
        ("PATCH", "/channels/x", {"title": "t"}),
        ("DELETE", "/channels/x", None),
    ],
)  # fmt: skip
async def test_only_an_administrator_changes_channels(
    scene: Scene, method: str, path: str, body: Any
) -> None:
    answer = await scene.ivan.call(method, path, body)
    assert (answer.status_code, answer.json()["code"]) == (403, "role_required")


async def test_without_a_token_of_ours_nobody_comes_in(scene: Scene) -> None:
    transport = httpx2.ASGITransport(app=scene.rig.inbox.service.internal)
    async with httpx2.AsyncClient(transport=transport, base_url="http://inbox") as http:
        for path in ("/overview", "/conversations", "/channels", "/live", "/counters"):
            answer = await http.get(f"/internal{path}")
            assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
            answer = await http.get(f"/internal{path}", headers={"Authorization": "Bearer x.y.z"})
            assert answer.status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"client_msg_id": "short", "text": "x"},
        {"client_msg_id": "key-00000001", "text": ""},
        {"client_msg_id": "key-00000001", "text": "   "},
        {"client_msg_id": "key-00000001", "text": "x" * 20_001},
        {"client_msg_id": "key-00000001", "text": "x", "seen_n": -1},
        {"client_msg_id": "key-00000001", "text": "x", "unknown": 1},
        {"client_msg_id": "key-00000001", "text": "x", "reply_to": "nothing"},
        {"client_msg_id": "key/00000001", "text": "x"},
    ],
    ids=lambda body: ",".join(body)[:30],
)
async def test_wrong_bodies_are_refused_without_an_echo(scene: Scene, body: dict[str, Any]) -> None:
    await scene.write("раз")
    answer = await scene.olena.call("POST", f"/conversations/{scene.client.conversation_id}/messages", body)
    assert answer.status_code == 422
    assert "x" * 100 not in answer.text
    assert len(await scene.olena.messages(scene.client.conversation_id)) == 1


async def test_pages_of_the_list_follow_each_other_without_a_gap(scene: Scene) -> None:
    clients = [Client(scene.client.channel_id, key=str(number)) for number in range(7)]
    for client in clients:
        await scene.rig.receive(client.says("привіт"))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await scene.olena.get("/conversations", limit=3, **cursor)
        seen += [row["id"] for row in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == [client.conversation_id for client in reversed(clients)]


async def test_a_forged_or_foreign_cursor_is_refused(scene: Scene) -> None:
    for number in range(3):
        await scene.rig.receive(Client(scene.client.channel_id, key=str(number)).says("привіт"))
    cursor = (await scene.olena.get("/conversations", limit=1))["next_cursor"]
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=="))
    raw[-3] ^= 1
    forged = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    for api, params in (
        (scene.olena, {"cursor": forged}),
        (scene.olena, {"cursor": "не base64"}),
        (scene.olena, {"cursor": ""}),
        (scene.olena, {"cursor": cursor, "list": "new"}),
        (scene.ivan, {"cursor": cursor}),
        (scene.maria, {"cursor": cursor}),
    ):
        answer = await api.call("GET", "/conversations", **params)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor"), params
    for limit in (0, 101, "x"):
        assert (await scene.olena.call("GET", "/conversations", limit=limit)).status_code == 422


async def test_pages_of_a_dialogue(scene: Scene) -> None:
    await scene.write(*[str(number) for number in range(1, 21)])
    conversation = scene.client.conversation_id

    async def page(**params: Any) -> tuple[list[str], bool, bool]:
        found = await scene.olena.get(f"/conversations/{conversation}/messages", **params)
        return [m["text"] for m in found["items"]], found["has_before"], found["has_after"]

    ids = {m["text"]: m["id"] for m in await scene.olena.messages(conversation)}
    assert await page(limit=3) == (["18", "19", "20"], True, False)
    assert await page(limit=3, before=ids["3"]) == (["1", "2"], False, True)
    assert await page(limit=2, before=ids["4"]) == (["2", "3"], True, True)
    assert await page(limit=2, after=ids["4"]) == (["5", "6"], True, True)
    assert await page(limit=5, after=ids["18"]) == (["19", "20"], True, False)
    assert await page(limit=4, around=ids["10"]) == (["8", "9", "10", "11"], True, True)
    assert await page(limit=1, around=ids["1"]) == (["1"], True, True)
    other = Client(scene.client.channel_id, key="502")
    await scene.rig.receive(other.says("чуже"))
    foreign = (await scene.olena.messages(other.conversation_id))[0]["id"]
    for anchor in ("nothing", foreign):
        path = f"/conversations/{conversation}/messages"
        answer = await scene.olena.call("GET", path, before=anchor)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")
    both = await scene.olena.call(
        "GET", f"/conversations/{conversation}/messages", before=ids["1"], after=ids["2"]
    )
    assert both.status_code == 422


async def test_a_writer_reads_what_it_wrote_before_it_is_relayed(scene: Scene) -> None:
    await scene.write(*[str(number) for number in range(1, 6)])
    conversation = scene.client.conversation_id
    for number in range(3):
        assert (await scene.olena.reply(conversation, f"відповідь {number}")).status_code == 202
    assert [m["text"] for m in await scene.olena.messages(conversation, limit=4)] == [
        "5", "відповідь 0", "відповідь 1", "відповідь 2",
    ]  # fmt: skip
    last = (await scene.olena.messages(conversation))[-2]["id"]
    after = await scene.olena.get(f"/conversations/{conversation}/messages", after=last)
    assert ([m["text"] for m in after["items"]], after["has_after"]) == (["відповідь 2"], False)
    row = await scene.olena.get(f"/conversations/{conversation}")
    assert (row["v"], row["last_message"]["text"], row["answered_seq"]) == (4, "відповідь 2", 5)


async def test_marks_of_reading_are_each_operators_own_and_only_rise(scene: Scene) -> None:
    await scene.write("1", "2", "3")
    conversation = scene.client.conversation_id
    facts = await scene.rig.listen(FACTS)
    path = f"/conversations/{conversation}/read"
    for n, wanted in ((2, 2), (1, 2), (3, 3), (999, 3)):
        answer = await scene.olena.call("POST", path, {"n": n})
        assert answer.json() == {"conversation_id": conversation, "in_seq": wanted}
    told = changes(await facts())
    assert {(change["user_id"], change["channel_id"], change["v"]) for change in told} == {
        ("u-olena", scene.client.channel_id, None)
    }
    assert told[-1]["events"] == [
        {"type": "read.updated", "data": {"conversation_id": conversation, "in_seq": 3}}
    ]
    assert (await scene.olena.get("/counters"))["blue"] == 0
    ivans = await scene.ivan.get(f"/conversations/{conversation}")
    assert (ivans["unread"], ivans["mark_in_seq"]) == (3, 0)
    assert ivans["first_unread_id"] == (await scene.ivan.messages(conversation))[0]["id"]
    await scene.ivan.reply(conversation, "вже")
    await scene.rig.receive()
    assert (await scene.ivan.get("/counters"))["blue"] == 0


async def test_status_and_claim_decide_on_the_version_the_caller_saw(scene: Scene) -> None:
    await scene.write("1")
    path = f"/conversations/{scene.client.conversation_id}"
    stale = await scene.olena.call("POST", f"{path}/status", {"status": "waiting"}, {"If-Match": "7"})
    assert (stale.status_code, stale.json()["code"], stale.json()["current"]["v"]) == (409, "stale", 1)
    wrong = await scene.olena.call("POST", f"{path}/status", {"status": "waiting"}, {"If-Match": "x"})
    assert wrong.status_code == 422
    done = await scene.olena.call("POST", f"{path}/status", {"status": "waiting"}, {"If-Match": '"1"'})
    assert (done.status_code, done.json()["box"], done.json()["v"]) == (200, "waiting", 2)
    claimed = await scene.ivan.call("POST", f"{path}/claim")
    assert claimed.json()["assignee"]["id"] == "u-ivan"
    other = await scene.olena.call("POST", f"{path}/claim")
    assert (other.status_code, other.json()["code"]) == (409, "claimed_by_other")
    await scene.rig.receive()
    mine = (await scene.ivan.get("/conversations", list="mine"))["items"]
    assert [row["id"] for row in mine] == [scene.client.conversation_id]
    assert (await scene.olena.get("/conversations", list="waiting", assignee="u-ivan"))["items"] == mine


async def test_a_search_finds_by_name_and_takes_no_patterns(scene: Scene) -> None:
    client = scene.client
    event = client.says("привіт")
    event = event.model_copy(
        update={
            "contact": Contact(key=client.key, name="Оля (.*)", username="olya", phone=None, language=None)
        }
    )
    await scene.rig.receive(event)
    for words, count in (("оля", 1), ("(.*)", 1), ("OLYA", 1), (".*", 1), ("nobody", 0), ("^", 0)):
        assert len((await scene.olena.get("/conversations", q=words))["items"]) == count, words


async def test_a_changed_channel_is_told_to_those_who_see_it(scene: Scene) -> None:
    await scene.write("1")
    facts = await scene.rig.listen(FACTS)
    channel = scene.client.channel_id
    patched = await scene.olena.call("PATCH", f"/channels/{channel}", {"title": "Новий бот"})
    assert patched.json()["title"] == "Новий бот"
    (change,) = changes(await facts())
    assert (change["channel_id"], change["events"][0]["type"]) == (channel, "channel.updated")
    assert ChannelView.model_validate(change["events"][0]["data"]).rev == patched.json()["rev"]
    row = (await scene.olena.get("/conversations"))["items"][0]
    assert row["channel"]["title"] == "Новий бот"
    settings = {"settings": {"roles": ["viber-only"]}}
    await scene.olena.call("PATCH", f"/channels/{channel}", settings)
    assert (await scene.olena.get("/conversations"))["items"] == []
    assert len((await scene.viktor.get("/conversations"))["items"]) == 1
    gone = await scene.olena.call("POST", f"/conversations/{scene.client.conversation_id}/read", {"n": 1})
    assert gone.status_code == 404


async def test_an_answer_waits_for_a_connected_channel(scene: Scene) -> None:
    await scene.write("1")
    path = f"/channels/{scene.client.channel_id}/state"
    body = {"state": "active", "connected": False, "problem": "Токен відкликано."}
    assert (await scene.olena.call("POST", path, body)).json()["problem"] == "Токен відкликано."
    refused = await scene.olena.reply(scene.client.conversation_id, "x")
    assert (refused.status_code, refused.json()["code"]) == (409, "channel_disconnected")


async def test_the_overview_is_the_start_of_a_window(scene: Scene) -> None:
    overview = await scene.olena.get("/overview")
    assert [channel["id"] for channel in overview["channels"]] == [scene.client.channel_id]
    assert overview["epoch"] == (await scene.olena.get("/live"))["epoch"]
    assert overview["counters"]["lists"].keys() == {"active", "mine", "new", "bot", "waiting"}
