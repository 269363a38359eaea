"""Answers on real servers: buttons, answers nobody ordered here, and what messengers say of them later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from inbox_client import Client, photo_content
from inbox_rig import Api, Rig, changes, running, settings_for

from inbox.cli import rebuild
from msgkit.contracts.events import Failure, OutboundButton, SendMessage
from msgkit.contracts.internal_api import Trail
from msgkit.contracts.topology import FACTS, SENDS
from msgkit.contracts.views import ConversationRow, MessageView
from msgkit.contracts.words import AuthorKind, FailureCode, MessageState

pytestmark = pytest.mark.servers

FAILURE = Failure(code=FailureCode.REJECTED, text="Viber не показав повідомлення.")
BUTTONS = [
    [{"text": "Сайт", "action": "url", "value": "https://mavka.example/prices"}],
    [{"text": "Записатися", "action": "reply", "value": "book"}],
]
SHOWN_BUTTONS = [
    [{"text": "Сайт", "url": "https://mavka.example/prices"}],
    [{"text": "Записатися", "url": None}],
]


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


async def messages(olena: Api, client: Client) -> list[MessageView]:
    found = await olena.messages(client.conversation_id, limit=100)
    return [MessageView.model_validate(one) for one in found]


async def listed(olena: Api) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await olena.get("/conversations", list="active"))["items"]
    return items


async def test_buttons_reach_the_connector_and_the_window_also_a_second_time(
    rig: Rig, olena: Api, client: Client
) -> None:
    await rig.receive(client.says("Добрий день"))
    facts, sends = await rig.listen(FACTS), await rig.listen(SENDS)
    answer = await olena.reply(client.conversation_id, "Оберіть", buttons=BUTTONS)
    assert answer.status_code == 202, answer.text
    assert answer.json()["buttons"] == SHOWN_BUTTONS
    await rig.receive()
    told = [event for change in changes(await facts()) for event in change["events"]]
    assert [event["data"]["buttons"] for event in told if event["type"] == "message.created"] == [
        SHOWN_BUTTONS
    ]

    await rig.receive(client.gets(answer.json()["id"], MessageState.FAILED, failure=FAILURE))
    again = await olena.call("POST", f"/messages/{answer.json()['id']}/retry")
    assert (again.status_code, again.json()["buttons"]) == (200, SHOWN_BUTTONS)
    await rig.receive()
    orders = [SendMessage.model_validate(one) for one in await sends()]
    assert [order.message_id for order in orders] == [answer.json()["id"], f"{answer.json()['id']}.2"]
    for order in orders:
        assert [[button.model_dump() for button in row] for row in order.buttons] == BUTTONS
    read = (await messages(olena, client))[-1]
    assert [[button.model_dump() for button in row] for row in read.buttons] == SHOWN_BUTTONS


@pytest.mark.parametrize(
    "body",
    [
        {"note": True, "buttons": BUTTONS},
        {"buttons": [[]]},
        {"buttons": [[{"text": "Сайт", "action": "url", "value": "javascript:alert(1)"}]]},
        {"buttons": BUTTONS * 7},
    ],
    ids=["in a note", "an empty row", "no address", "too many rows"],
)
async def test_buttons_nobody_could_show_are_refused(
    rig: Rig, olena: Api, client: Client, body: dict[str, Any]
) -> None:
    await rig.receive(client.says("Добрий день"))
    answer = await olena.reply(client.conversation_id, "Оберіть", **body)
    assert answer.status_code == 422, answer.text
    assert len(await messages(olena, client)) == 1


async def test_a_welcome_is_shown_when_the_client_writes_and_not_before(
    rig: Rig, olena: Api, client: Client
) -> None:
    buttons = [[OutboundButton(text="Ціни", action="reply", value="prices")]]
    welcome = client.hears("Вітаємо!", "welcome:1", AuthorKind.BOT, buttons=buttons)
    await rig.receive(welcome)
    nobody = await olena.call("GET", f"/conversations/{client.conversation_id}")
    assert (nobody.status_code, await listed(olena)) == (404, [])

    facts = await rig.listen(FACTS)
    await rig.receive(welcome, client.says("Скільки коштує?"))
    (change,) = changes(await facts())
    assert [event["type"] for event in change["events"]] == [
        "message.created",
        "message.created",
        "conversation.upserted",
    ]
    first, second = await messages(olena, client)
    assert (first.author.kind, first.state, first.text) == ("bot", "sent", "Вітаємо!")
    assert (first.n, second.n, first.request_id) == (1, 2, second.request_id)
    assert [[button.text for button in row] for row in first.buttons] == [["Ціни"]]
    (row,) = await listed(olena)
    assert (row["unread"], row["box"], row["last_message"]["text"]) == (1, "new", "Скільки коштує?")
    await rig.receive(welcome)
    assert len(await messages(olena, client)) == 2


async def test_an_answer_typed_elsewhere_is_shown_once_with_its_photo(
    rig: Rig, olena: Api, client: Client
) -> None:
    await rig.receive(client.says("Добрий день"))
    answer = (await olena.reply(client.conversation_id, "Вітаю")).json()["id"]
    await rig.receive(client.gets(answer, MessageState.SENT, provider_ids=("77",)))
    typed = client.hears("", "78", AuthorKind.OPERATOR, content=photo_content("photo", "Ось прайс"))
    # Another replica, which has nothing in hand: its own answer's echo, then the real one twice.
    settings = rig.settings.model_copy(update={"instance": "two"})
    async with running(settings, reads=False) as other:
        await other.receive(client.hears("Вітаю", "77", AuthorKind.OPERATOR), typed)
        await other.receive(typed)
    await rig.receive(typed, client.file_settled("78", "photo"))
    shown = await messages(olena, client)
    assert [(one.text, one.author.name, one.state) for one in shown] == [
        ("Добрий день", "Оля", "delivered"),
        ("Вітаю", "Olena", "sent"),
        ("Ось прайс", "З месенджера", "sent"),
    ]
    assert (shown[-1].attachments[0].state, shown[-1].provider_id) == ("ready", "78")
    record = await olena.get(f"/media/{shown[-1].attachments[0].id}")
    assert record["key"] == "objects/photo"
    steps = Trail.model_validate(await olena.get(f"/messages/{shown[-1].id}/trail")).steps
    assert [step.event for step in steps] == ["answer.echoed", "attachment.settled"]
    (row,) = await listed(olena)
    assert (row["unread"], row["last_message"]["author"]["name"]) == (0, "З месенджера")
    assert await rig.inbox.store._quarantine.count_documents({}) == 0


async def test_an_echo_before_the_report_of_our_answer_leaves_one_message(
    rig: Rig, olena: Api, client: Client
) -> None:
    await rig.receive(client.says("Добрий день"))
    answer = (await olena.reply(client.conversation_id, "Вітаю")).json()["id"]
    await rig.receive(client.hears("Вітаю", "77", AuthorKind.OPERATOR))
    assert len(await messages(olena, client)) == 3
    facts = await rig.listen(FACTS)
    # Another replica, which has nothing in hand.
    settings = rig.settings.model_copy(update={"instance": "two"})
    async with running(settings, reads=False) as other:
        await other.receive(client.gets(answer, MessageState.SENT, provider_ids=("77",)))
        await other.receive(client.hears("Вітаю", "77", AuthorKind.OPERATOR))
    (change,) = changes(await facts())
    assert [(event["type"], event["data"].get("replaced_by")) for event in change["events"]] == [
        ("message.updated", None),
        ("message.updated", answer),
        ("conversation.upserted", None),
    ]
    shown = await messages(olena, client)
    assert [(one.text, one.author.name, one.state) for one in shown] == [
        ("Добрий день", "Оля", "delivered"),
        ("Вітаю", "Olena", "sent"),
    ]
    page = await olena.get(f"/conversations/{client.conversation_id}/messages", limit=1)
    assert ([one["id"] for one in page["items"]], page["has_before"]) == ([answer], True)
    (row,) = await listed(olena)
    assert (row["last_message"]["id"], row["last_message"]["state"]) == (answer, "sent")


async def test_an_answer_typed_elsewhere_is_the_first_reply_of_its_request(
    rig: Rig, olena: Api, client: Client
) -> None:
    await rig.receive(client.says("Добрий день"))
    await rig.receive(client.hears("Вітаю", "77", AuthorKind.OPERATOR))
    (row,) = await listed(olena)
    (request,) = await olena.get(f"/conversations/{client.conversation_id}/requests")
    assert request["first_reply_at"] == row["request"]["first_reply_at"] is not None


async def test_what_the_messenger_refuses_late_has_failed_and_goes_out_again(
    rig: Rig, olena: Api, client: Client
) -> None:
    await rig.receive(client.says("Добрий день"))
    id_ = (await olena.reply(client.conversation_id, "Вітаю")).json()["id"]
    sent = client.gets(id_, MessageState.SENT, provider_ids=("77",))
    refused = client.gets(id_, MessageState.FAILED, failure=FAILURE, is_late_refusal=True)
    await rig.receive(sent)
    await rig.receive(refused)
    # The same said again, and by a bus that delivers twice to a replica with nothing in hand.
    settings = rig.settings.model_copy(update={"instance": "two"})
    async with running(settings, reads=False) as other:
        await other.receive(sent, refused, client.gets(id_, MessageState.SENT, provider_ids=("77",)))
    (row,) = await listed(olena)
    view = ConversationRow.model_validate(row)
    assert view.last_message is not None
    assert (view.last_message.id, view.last_message.state) == (id_, "failed")
    message = (await messages(olena, client))[-1]
    assert (message.state, message.failure) == ("failed", FAILURE)

    assert (await olena.call("POST", f"/messages/{id_}/retry")).json()["state"] == "queued"
    await rig.receive(client.gets(f"{id_}.2", MessageState.SENT, provider_ids=("78",)))
    # Receipts in any order: the row ends where the message does.
    for state in (MessageState.READ, MessageState.DELIVERED):
        await rig.receive(client.gets(f"{id_}.2", state))
    (row,) = await listed(olena)
    assert (row["last_message"]["state"], row["answered_seq"]) == ("read", 1)
    assert (await messages(olena, client))[-1].state == "read"
