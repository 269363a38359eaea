"""Answers later than a bot may give them: at the borders, refused, switched, on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import pytest
from inbox_client import KIND, Client, announcement
from inbox_rig import Api, Rig, changes, running, settings_for

from inbox.cli import rebuild
from inbox.conversations import Refused
from inbox.domain import Author, PostReply
from msgkit.contracts.events import Content, HumanAgentRefused, SendMessage, SharedLink
from msgkit.contracts.ids import new_id, partition_of
from msgkit.contracts.topology import FACTS, SENDS
from msgkit.contracts.words import AuthorKind, MessageKind
from msgkit.runtime.clock import utc_now
from msgkit.runtime.partition_reader import Delivery

pytestmark = pytest.mark.servers

DAY, WEEK, MINUTE = timedelta(hours=24), timedelta(days=7), timedelta(minutes=1)


@pytest.fixture
async def rig(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Rig]:
    """Whatever a test does, the projections must be what the log says in the end."""
    async with running(settings_for(amqp_url, mongo_url, mongo_prefix), reads=False) as found:
        await found.inbox.kinds.hear(announcement(24, human_hours=168))
        yield found
        await found.receive()
        verdict = await rebuild(found.inbox.store, repair=False, pause_s=0.05)
        assert verdict.conversations > 0
        assert verdict.differences == ()


@pytest.fixture
def olena(rig: Rig) -> Api:
    return rig.api()


async def window(olena: Api, client: Client) -> dict[str, Any]:
    found = await olena.get(f"/conversations/{client.conversation_id}")
    told: dict[str, Any] = found["window"]
    return told


def refused_at(client: Client, at: datetime) -> Delivery:
    event = HumanAgentRefused(
        type="channel.human_agent_refused.v1",
        event_id=new_id(),
        tenant_id="salon",
        channel_id=client.channel_id,
        channel_kind=KIND,
        recorded_at=at,
        happened_at=at,
    )
    body = event.model_dump_json().encode()
    return Delivery(partition_of(event.channel_id), body, event.type, event.event_id, None, 0, 0.0)


@pytest.mark.parametrize("granted", [True, False])
async def test_people_and_bots_at_the_borders(rig: Rig, olena: Api, granted: bool) -> None:
    channel = await olena.connect_channel(human_agent=granted)
    sends = await rig.listen(SENDS)
    for age, person, bot in (
        (DAY - MINUTE, 202, True),
        (DAY + MINUTE, 202 if granted else 409, False),
        (WEEK - MINUTE, 202 if granted else 409, False),
        (WEEK + MINUTE, 409, False),
    ):
        client = Client(channel, key=new_id())
        wrote_at = utc_now() - age
        await rig.receive(client.says("Добрий день", sent_at=wrote_at))
        assert (await window(olena, client))["open"] is (person == 202)
        said = PostReply(author=Author(AuthorKind.BOT, "bot"), client_msg_id=new_id(), text="Вітаю")
        post = rig.inbox.conversations.post_reply
        with nullcontext() if bot else pytest.raises(Refused, match="window_closed"):
            await post("salon", client.conversation_id, said, {channel})
        answer = await olena.reply(client.conversation_id, "Вітаю")
        assert answer.status_code == person, answer.text
        await rig.receive()
        orders = [
            SendMessage.model_validate(one) for one in await sends() if one["type"] == "send.ordered.v1"
        ]
        assert [one.author_kind for one in orders] == ["bot"] * bot + ["operator"] * (person == 202)
        assert all(abs(one.client_wrote_at - wrote_at) < timedelta(milliseconds=2) for one in orders)  # type: ignore[operator]


async def test_a_refusal_of_the_messenger_puts_the_setting_off_once_and_an_administrator_on_again(
    rig: Rig, olena: Api
) -> None:
    client = Client(await olena.connect_channel(human_agent=True))
    await rig.receive(client.says("Добрий день", sent_at=utc_now() - timedelta(hours=30)))
    assert (await window(olena, client))["open"]
    facts, refusal = await rig.listen(FACTS), refused_at(client, utc_now())
    await rig.handle(refusal)
    await rig.handle(refusal)
    (told,) = [event for change in changes(await facts()) for event in change["events"]]
    assert (told["type"], told["data"]["settings"]["human_agent"]) == ("channel.updated", False)
    assert not (await window(olena, client))["open"]
    refused = await olena.reply(client.conversation_id, "Вітаю")
    assert refused.status_code == 409
    assert "Human Agent" in refused.json()["detail"]

    # An administrator has it granted and puts the setting on; the refusal of before comes once more.
    (channel,) = await olena.get("/channels")
    on = {"settings": channel["settings"] | {"human_agent": True}}
    assert (await olena.call("PATCH", f"/channels/{client.channel_id}", on)).status_code == 200
    assert (await window(olena, client))["open"]
    await rig.handle(refusal)
    assert (await window(olena, client))["open"]
    await rig.handle(refused_at(client, utc_now() + timedelta(seconds=1)))
    assert not (await window(olena, client))["open"]


async def test_a_change_of_something_else_leaves_the_decision_as_old_as_it_is(rig: Rig, olena: Api) -> None:
    client = Client(await olena.connect_channel(human_agent=True))
    await rig.receive(client.says("Добрий день"))
    refused = utc_now()
    other = {"settings": {"bot_enabled": True}}
    assert (await olena.call("PATCH", f"/channels/{client.channel_id}", other)).status_code == 200
    await rig.handle(refused_at(client, refused))
    (channel,) = await olena.get("/channels")
    assert (channel["settings"]["human_agent"], channel["settings"]["bot_enabled"]) == (False, True)


async def test_the_next_live_row_follows_the_setting(rig: Rig, olena: Api) -> None:
    client = Client(await olena.connect_channel(human_agent=True))
    facts = await rig.listen(FACTS)
    await rig.receive(client.says("Добрий день", sent_at=utc_now() - timedelta(hours=30)))
    (channel,) = await olena.get("/channels")
    for granted in (True, False):
        settings = {"settings": channel["settings"] | {"human_agent": granted}}
        assert (await olena.call("PATCH", f"/channels/{client.channel_id}", settings)).status_code == 200
        await facts()
        await olena.reply(client.conversation_id, "для колег", note=True)
        await rig.receive()
        (change,) = changes(await facts())
        assert change["events"][-1]["data"]["window"]["open"] is granted


async def test_a_reply_to_a_story_is_told_kept_and_rebuilt(rig: Rig, olena: Api) -> None:
    client = Client(await olena.connect_channel())
    story = SharedLink(kind="story_reply", title=None, url="https://www.instagram.com/stories/salon/1")
    content = Content(
        kind=MessageKind.TEXT,
        text="",
        entities=[],
        media=[],
        place=None,
        shared_contact=None,
        shared_link=story,
        unsupported=None,
    )
    facts = await rig.listen(FACTS)
    await rig.receive(client.says("", content=content), client.says("А ще?"))
    (change,) = changes(await facts())
    assert change["events"][0]["data"]["shared_link"] == story.model_dump()
    first, second = await olena.messages(client.conversation_id)
    assert (first["shared_link"], second["shared_link"]) == (story.model_dump(), None)
