"""Templates over the public API: read from the connector, filled in, ordered; and refused, with why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from gateway_stage import (
    TELEGRAM,
    VIBER,
    WHATSAPP,
    ConnectorWire,
    InboxWire,
    Keys,
    Stage,
    announced,
    channel_view,
    serving,
    stage,
)

from gateway.channel_changes import ChannelChanges
from gateway.channel_desk import ChannelDesk
from gateway.clients import Channels, Connectors, Inbox
from gateway.consumers import Manifests
from gateway.schemas import Session
from gateway.templates import TTL_SECONDS, Templates
from msgkit.contracts.internal_api import MessageTemplate
from msgkit.runtime.clock import utc_now
from msgkit.runtime.http import InternalClient
from msgkit.runtime.mongo import Mongo
from msgkit.runtime.problems import Problem
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.servers import VirtualHosts, drop_databases

pytestmark = pytest.mark.servers

API = "/api/v1"
TABLE = json.loads((Path(__file__).parents[1] / "fixtures/gateway/templates.json").read_text())
TEMPLATES = [MessageTemplate.model_validate(one) for one in TABLE["templates"].values()]
REMINDER = {
    "name": "appointment_reminder",
    "language": "uk",
    "values": {"header.1": "Калина", "body.1": "Ірино", "body.2": "у п'ятницю"},
}


@pytest_asyncio.fixture(scope="module")
async def on(
    tmp_path_factory: pytest.TempPathFactory, vhosts: VirtualHosts, mongo_url: str
) -> AsyncIterator[Stage]:
    prefix = "tgwtemplates_"
    with vhosts.fresh() as amqp_url:
        async with stage(tmp_path_factory.mktemp("gateway"), amqp_url, mongo_url, prefix) as ready:
            view = channel_view(WHATSAPP, ["admin", "reception"], ConnectorWire.KIND)
            ready.inbox.channels["salon"].append(view)
            ready.inbox.channels["salon"].append(channel_view("silent", None, "unheard_of"))
            for conversation, channel in [("c1", TELEGRAM), ("c2", VIBER), ("c3", WHATSAPP)]:
                ready.inbox.add_row(conversation, channel)
            ready.connector.templates = TEMPLATES
            for kind in (ConnectorWire.KIND, "telegram_bot"):
                await ready.announce(kind)
            bearer = {"Authorization": f"Bearer {await ready.gateway.login('olena')}"}
            async with asyncio.timeout(10):
                while len(await ready.kinds(bearer)) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)  # pace: an announcement has no answer
            yield ready
    drop_databases(mongo_url, prefix)


@pytest_asyncio.fixture(scope="module")
async def tokens(on: Stage) -> dict[str, str]:
    return {login: await on.gateway.login(login) for login in ("olena", "ivan", "viktor", "maria")}


@pytest.fixture
def call(on: Stage, tokens: dict[str, str]) -> Any:
    async def call(method: str, path: str, body: object = None, *, login: str = "ivan") -> httpx2.Response:
        headers = {"Authorization": f"Bearer {tokens[login]}"}
        return await on.gateway.http.request(method, API + path, headers=headers, json=body)

    on.inbox.refusal = None
    return call


async def test_whoever_works_with_the_channel_reads_its_templates_and_the_messenger_is_asked_once(
    on: Stage, call: Any
) -> None:
    answers = await asyncio.gather(*(call("GET", f"/channels/{WHATSAPP}/templates") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert [MessageTemplate.model_validate(one) for one in answers[0].json()] == TEMPLATES
    assert len(on.connector.asked) == 1
    assert (on.connector.asked[0].tenant_id, on.connector.asked[0].user_id) == ("salon", "u-ivan")
    for login, channel in [("viktor", WHATSAPP), ("maria", WHATSAPP), ("ivan", "nowhere")]:
        answer = await call("GET", f"/channels/{channel}/templates", login=login)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_messenger_without_templates_has_none_and_is_not_asked(on: Stage, call: Any) -> None:
    asked = len(on.connector.asked)
    answer = await call("GET", f"/channels/{TELEGRAM}/templates")
    assert (answer.status_code, answer.json()) == (200, [])
    wanted = {"client_msg_id": "template-none", "template": REMINDER}
    answer = await call("POST", "/conversations/c1/messages", wanted)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_template")
    assert len(on.connector.asked) == asked


async def test_a_connector_nobody_has_heard_of_is_away_for_now(call: Any) -> None:
    answer = await call("GET", "/channels/silent/templates")
    assert (answer.status_code, answer.json()["code"]) == (503, "connector_away")
    assert answer.headers["retry-after"]


async def test_a_template_is_ordered_with_its_values_and_its_words(on: Stage, call: Any) -> None:
    body = {"client_msg_id": "template-0001", "template": REMINDER, "seen_n": 4}
    answer = await call("POST", "/conversations/c3/messages", body)
    assert answer.status_code == 202, answer.text
    text = next(case["text"] for case in TABLE["cases"] if case["template"] == "numbered")
    assert answer.json()["text"] == text
    asked = on.inbox.asked[-1].body or {}
    assert (asked["text"], asked["seen_n"], asked["client_msg_id"]) == (text, 4, "template-0001")
    assert asked["template"] == {
        "name": "appointment_reminder",
        "language": "uk",
        "values": [
            {"part": "header", "index": 0, "name": None, "value": "Калина"},
            {"part": "body", "index": 0, "name": None, "value": "Ірино"},
            {"part": "body", "index": 0, "name": None, "value": "у п'ятницю"},
        ],
    }


@pytest.mark.parametrize(
    ("conversation", "body", "status", "code"),
    [
        ("c3", {"template": REMINDER, "text": "і ще слово"}, 422, "invalid"),
        ("c3", {"template": REMINDER, "note": True}, 422, "invalid"),
        ("c3", {"template": REMINDER, "attachments": ["u1"]}, 422, "invalid"),
        ("c3", {"template": REMINDER | {"language": "en_US"}}, 422, "unknown_template"),
        ("c3", {"template": REMINDER | {"values": {"body.1": "Ірино"}}}, 422, "template_value"),
        ("c3", {"template": {"name": "photo_ready", "language": "uk"}}, 422, "template_unusable"),
        ("c3", {"template": REMINDER | {"values": {"body.1": 5}}}, 422, "invalid"),
        ("c2", {"template": REMINDER}, 404, "not_found"),
        ("nowhere", {"template": REMINDER}, 404, "not_found"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_inbox_hears_of_it(
    on: Stage, call: Any, conversation: str, body: dict[str, Any], status: int, code: str
) -> None:
    asked = len(on.inbox.asked)
    answer = await call(
        "POST", f"/conversations/{conversation}/messages", {"client_msg_id": "template-no", **body}
    )
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert problem["detail"]
    assert len(on.inbox.asked) == asked


async def test_a_closed_window_comes_back_as_inbox_says_it(on: Stage, call: Any) -> None:
    current = on.inbox.rows["c3"].model_dump(mode="json")
    on.inbox.refusal = Problem(409, "window_closed", "Час для відповіді минув.", current=current)
    answer = await call(
        "POST", "/conversations/c3/messages", {"client_msg_id": "late-0001", "text": "ще тут?"}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "window_closed")
    assert answer.json()["current"]["id"] == "c3"


async def test_a_channel_says_how_long_one_may_answer_in_it(call: Any) -> None:
    hours = {one["id"]: one["reply_window_hours"] for one in (await call("GET", "/channels")).json()}
    assert (hours[WHATSAPP], hours[TELEGRAM]) == (24, None)


async def test_a_minute_later_the_messenger_is_asked_again_and_its_refusal_is_not_kept(
    mongo_url: str,
) -> None:
    """In this process, with a clock of its own."""
    ours, inboxs, connectors = Keys.new(), Keys.new(), Keys.new()
    public = {"gateway": ours.public}
    wire = InboxWire("", ServiceTokens("inbox", inboxs.private, public))
    wire.channels = {"salon": [channel_view(WHATSAPP, None, ConnectorWire.KIND)]}
    connector = ConnectorWire(ServiceTokens("ingest-whatsapp", connectors.private, public), TEMPLATES)
    session = Session("u", "salon", "Olena", frozenset({"admin"}), "s", 0, utc_now())
    now = 0.0
    async with serving(wire.app()) as inbox_url, serving(connector.app()) as connector_url:
        tokens = ServiceTokens("gateway", ours.private, {})
        mongo = Mongo(mongo_url, "tgwtemplates_unused")
        http = InternalClient(inbox_url, "inbox", tokens)
        clients = Connectors(tokens)
        inbox, manifests = Inbox(http), Manifests(lambda: 0.0)
        manifests.hear(announced(ConnectorWire.KIND, connector_url))
        changes = ChannelChanges(mongo.database, "test")
        desk = ChannelDesk(inbox, Channels(inbox, lambda: 0.0), manifests, clients, changes)
        templates = Templates(desk, lambda: now)
        try:
            connector.refusal = Problem(503, "unavailable", "Месенджер не відповідає. Спробуйте за хвилину.")
            with pytest.raises(Problem) as refused:
                await templates.of(session, WHATSAPP)
            assert (refused.value.status, refused.value.detail) == (503, connector.refusal.detail)
            connector.refusal = None
            assert await templates.of(session, WHATSAPP) == TEMPLATES
            now = TTL_SECONDS
            await templates.of(session, WHATSAPP)
            assert len(connector.asked) == 2
            now += 1
            connector.templates = TEMPLATES[:1]
            assert await templates.of(session, WHATSAPP) == TEMPLATES[:1]
        finally:
            await clients.aclose()
            await http.aclose()
            mongo.close()
