"""Reply windows, readings told to clients, histories, and what is taken back, on real servers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from inbox_client import Client, announcement, photo_content
from inbox_rig import Api, Rig, changes, eventually, running, settings_for

from inbox.cli import rebuild
from inbox.projections import Key
from inbox.readings import Readings
from msgkit.contracts.events import Failure, ReadChat, SendMessage
from msgkit.contracts.ids import inbound_message_id, new_id
from msgkit.contracts.topology import ANNOUNCEMENT_KEY, FACTS, PRESENCE, SENDS
from msgkit.contracts.views import MessageView
from msgkit.contracts.words import Direction, FailureCode, MessageState
from msgkit.runtime.bus import Outgoing, Publisher
from msgkit.runtime.clock import utc_now

pytestmark = pytest.mark.servers

TEMPLATE = {
    "name": "visit",
    "language": "uk",
    "values": [{"part": "body", "index": 0, "name": None, "value": "Оля"}],
}

WINDOW_SHUT = {"open": False, "until": None, "code": "window_closed"}


@pytest.fixture
async def rig(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Rig]:
    """Whatever a test does, the projections must be what the log says in the end."""
    async with running(settings_for(amqp_url, mongo_url, mongo_prefix), reads=False) as found:
        yield found
        await found.receive()
        verdict = await rebuild(found.inbox.store, repair=False, pause_s=0.05)
        assert (verdict.conversations > 0) is (found.handled > 0)
        assert verdict.differences == ()


@pytest.fixture
def olena(rig: Rig) -> Api:
    return rig.api()


@pytest.fixture
async def client(olena: Api) -> Client:
    return Client(await olena.connect_channel())


async def row(olena: Api, client: Client) -> dict[str, Any]:
    found: dict[str, Any] = await olena.get(f"/conversations/{client.conversation_id}")
    return found


async def shown(olena: Api, client: Client, **page: Any) -> list[MessageView]:
    found = await olena.messages(client.conversation_id, **{"limit": 100, **page})
    return [MessageView.model_validate(one) for one in found]


async def test_a_closed_window_refuses_an_answer_and_lets_a_template_pass(
    rig: Rig, olena: Api, client: Client
) -> None:
    await rig.inbox.kinds.hear(announcement(24, templates=True))
    facts, sends = await rig.listen(FACTS), await rig.listen(SENDS)
    long_ago = utc_now() - timedelta(hours=25)
    await rig.receive(client.says("Добрий день", sent_at=long_ago))
    (change,) = changes(await facts())
    told = change["events"][-1]["data"]["window"]
    read = (await row(olena, client))["window"]
    assert told == read
    assert (read["open"], read["code"]) == (False, "window_closed")

    refused = await olena.reply(client.conversation_id, "Вітаю")
    assert (refused.status_code, refused.json()["code"]) == (409, "window_closed")
    assert refused.json()["current"]["window"] == read
    assert "надішліть шаблон" in refused.json()["detail"]
    note = await olena.reply(client.conversation_id, "Перетелефонувати", note=True)
    assert note.status_code == 202, note.text
    sent = await olena.reply(client.conversation_id, "Вітаємо, Оля!", template=TEMPLATE)
    assert (sent.status_code, sent.json()["text"]) == (202, "Вітаємо, Оля!")
    await rig.receive(client.gets(sent.json()["id"], MessageState.FAILED))
    again = await olena.call("POST", f"/messages/{sent.json()['id']}/retry")
    assert again.status_code == 200, again.text
    await rig.receive()
    orders = [SendMessage.model_validate(one) for one in await sends()]
    assert [one.template.model_dump() for one in orders if one.template] == [TEMPLATE, TEMPLATE]
    assert [one.out_seq for one in orders] == [1, 2]

    await rig.receive(client.says("Так, чекаю"))
    assert (await row(olena, client))["window"]["open"] is True
    sent = await olena.reply(client.conversation_id, "Дякую")
    assert sent.status_code == 202

    # The messenger may see it otherwise: its word counts until the client writes.
    await facts()
    too_late = Failure(code=FailureCode.WINDOW_CLOSED, text="Минуло понад 24 години.")
    await rig.receive(client.gets(sent.json()["id"], MessageState.FAILED, failure=too_late))
    told = changes(await facts())[-1]["events"][-1]["data"]["window"]
    assert told == (await row(olena, client))["window"] == WINDOW_SHUT
    assert (await olena.reply(client.conversation_id, "Ще раз")).json()["current"]["window"] == WINDOW_SHUT
    await rig.receive(client.says("Я тут"))
    assert (await row(olena, client))["window"]["open"] is True


async def test_what_a_messenger_can_is_known_after_a_restart_of_inbox(
    amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    settings = settings_for(amqp_url, mongo_url, mongo_prefix)
    async with running(settings) as rig:
        said = announcement(24, templates=True, read_marks=True)
        body = said.model_dump_json().encode()
        await rig.inbox.publisher.publish(
            Outgoing(PRESENCE, ANNOUNCEMENT_KEY, body, new_id(), said.type, persistent=False)
        )

        async def known() -> Any:
            return rig.inbox.kinds.of(said.manifest.kind)

        heard = await eventually(known, lambda one: one.reply_window_hours is not None)
        assert (heard.reply_window_hours, heard.has_templates, heard.tells_reading) == (24, True, True)

        async def kept() -> Any:
            return await rig.inbox.store._database["manifests"].find_one({"_id": said.manifest.kind})

        await eventually(kept, bool)
    async with running(settings, reads=False) as rig:
        assert rig.inbox.kinds.of(said.manifest.kind) == heard


async def test_a_history_of_300_messages_and_then_a_live_one(rig: Rig, olena: Api, client: Client) -> None:
    began = utc_now() - timedelta(days=90)
    history = [
        client.said_once(
            f"рядок {number}",
            f"h{number}",
            began + timedelta(minutes=number),
            Direction.OUT if number % 3 == 0 else Direction.IN,
        )
        for number in range(300)
    ]
    random.Random(11).shuffle(history)
    facts = await rig.listen(FACTS)
    for start in range(0, 300, 150):
        await rig.receive(*history[start : start + 150])
    await rig.receive(*history[:50])
    for change in changes(await facts()):
        assert change["events"][-1]["type"] == "conversation.upserted"
        assert len(change["events"]) <= 101
    counters = await olena.get("/counters")
    assert (counters["red"], counters["blue"]) == (0, 0)
    assert (await olena.get("/conversations", list="active"))["items"] == []
    (found,) = (await olena.get("/conversations", list="done"))["items"]
    assert (found["unread"], found["in_seq"], found["request"]) == (0, 0, None)
    assert found["last_message"]["text"] == "рядок 299"

    # The files of one follow, told as the same message once more.
    photo = client.said_once("", "h7", began + timedelta(minutes=7), content=photo_content("p", "рядок 7"))
    await rig.receive(photo, client.file_settled("h7", "p"))
    await rig.receive(client.says("Я знову з вами", provider_id="live"))
    read: list[MessageView] = []
    page = await olena.get(f"/conversations/{client.conversation_id}/messages", limit=100)
    while True:
        read = [MessageView.model_validate(one) for one in page["items"]] + read
        if not page["has_before"]:
            break
        page = await olena.get(
            f"/conversations/{client.conversation_id}/messages", limit=100, before=page["items"][0]["id"]
        )
    assert [one.text for one in read] == [f"рядок {number}" for number in range(300)] + ["Я знову з вами"]
    assert read[7].attachments[0].state == "ready"
    found = await row(olena, client)
    assert (found["box"], found["unread"], found["first_unread_id"]) == ("new", 1, read[-1].id)
    await olena.call("POST", f"/conversations/{client.conversation_id}/read", {"n": read[-1].n})
    assert (await row(olena, client))["unread"] == 0


async def test_a_reaction_and_a_deletion_over_the_bus(
    amqp_url: str, mongo_url: str, mongo_prefix: str
) -> None:
    async with running(settings_for(amqp_url, mongo_url, mongo_prefix)) as rig:
        olena = rig.api()
        client = Client(await olena.connect_channel())
        await rig.publish(client.says("Секрет", provider_id="1"), client.says("Ще", provider_id="2"))

        async def texts() -> list[MessageView]:
            answer = await olena.call("GET", f"/conversations/{client.conversation_id}")
            return await shown(olena, client) if answer.status_code == 200 else []

        await eventually(texts, lambda found: len(found) == 2)
        answer = (await olena.reply(client.conversation_id, "Вітаю")).json()["id"]
        await rig.publish(client.gets(answer, MessageState.SENT, provider_ids=("77",)))
        await rig.publish(client.reacts("77", "👍"), client.reacts("2", "❤"), client.withdraws("1"))
        target = inbound_message_id(client.conversation_id, "2")
        mine = {"client_msg_id": new_id(), "text": "🙏", "is_reaction": True, "reply_to": target}
        sent = await olena.call("POST", f"/conversations/{client.conversation_id}/messages", mine)
        assert sent.status_code == 202, sent.text
        await rig.publish(client.gets(sent.json()["id"], MessageState.SENT, provider_ids=("78",)))
        first, second, third = await eventually(
            texts, lambda found: len(found) == 3 and len(found[1].reactions) == 2 and found[0].deleted
        )
        assert (first.text, second.reactions, third.reactions) == ("", ("❤", "🙏"), ("👍",))
        unknown = client.reacts("nobody-knows", "👍")
        await rig.publish(unknown, client.withdraws("77"))
        await eventually(texts, lambda found: found[2].deleted)
        verdict = await rebuild(rig.inbox.store, repair=False, pause_s=0.1)
        assert verdict.differences == ()
        stored = await rig.inbox.store._database["messages"].find_one({"_id": first.id})
        assert "Секрет" not in repr(stored)


async def test_a_client_is_told_once_that_two_operators_have_read(
    rig: Rig, olena: Api, client: Client
) -> None:
    ivan = rig.api("u-ivan")
    conversation, sends = f"/conversations/{client.conversation_id}", await rig.listen(SENDS)

    async def told() -> list[str]:
        await rig.inbox.readings.tell()
        return [ReadChat.model_validate(one).provider_id for one in await sends() if "read_at" in one]

    await rig.receive(client.says("раз", provider_id="1"))
    await olena.call("POST", f"{conversation}/read", {"n": 1})
    assert await told() == []  # nobody said that this messenger can
    await rig.inbox.kinds.hear(announcement(read_marks=True))
    await olena.call("POST", f"{conversation}/read", {"n": 1})
    await ivan.call("POST", f"{conversation}/read", {"n": 1})
    assert await told() == ["1"]
    await ivan.call("POST", f"{conversation}/read", {"n": 1})
    assert await told() == []

    # An answer reads what it answers; another replica knows what was told.
    await rig.receive(client.says("два", provider_id="2"), client.says("три", provider_id="3"))
    await rig.receive(client.said_once("давно", "h1", utc_now() - timedelta(days=3)))
    assert (await olena.reply(client.conversation_id, "Вітаю", seen_n=9)).status_code == 202
    assert await told() == ["3"]
    settings = rig.settings.model_copy(update={"instance": "two"})
    async with running(settings, reads=False) as other:
        await other.api("u-ivan").call("POST", f"{conversation}/read", {"n": 99})
        await other.inbox.readings.tell()
        assert await told() == []
    assert await rig.inbox.store._database["commits"].count_documents({"events.type": "chat.read.v1"}) == 0


async def test_a_broker_that_is_away_costs_one_reading_and_not_all_that_wait(rig: Rig, olena: Api) -> None:
    await rig.inbox.kinds.hear(announcement(read_marks=True))
    channel = await olena.connect_channel()
    clients = [Client(channel, key=str(number)) for number in range(3)]
    await rig.receive(*(one.says("раз") for one in clients))
    database = rig.inbox.store._database
    nowhere = Publisher("amqp://nobody:nothing@127.0.0.1:1/", "test")
    readings = Readings(database, nowhere, rig.inbox.kinds, utc_now)
    for one in clients:
        state = await rig.inbox.conversations.row(Key("salon", one.conversation_id), {channel})
        readings.note(state, state.in_seq)
    await readings.tell()
    # What was not noted as told is told with the next rise.
    assert await database["readings"].count_documents({}) == 1
