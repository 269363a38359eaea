"""The three steps of a channel, cut at every place: what stopped half-way is finished or taken back.

Real services in this process, a real RabbitMQ and MongoDB; only the wire between them is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpx2
import pytest
import pytest_asyncio
from connector_stage import (
    GATEWAY_PUBLIC,
    GATEWAY_SEED,
    OTHER_TOKEN,
    SERVICE_PUBLIC,
    SERVICE_SEED,
    TOKEN,
    BotApi,
    refusal,
    running,
)
from connector_stage import Stage as IngestStage

from gateway.channel_changes import LEFT_AFTER, ChannelChanges
from gateway.channel_desk import ChannelDesk
from gateway.clients import Channels, Connectors, Inbox
from gateway.consumers import Manifests
from gateway.schemas import ChannelIn, ChannelPatchIn, Session
from inbox.app import assemble
from inbox.settings import Settings as InboxSettings
from ingest_telegram.connector import KIND, MANIFEST
from msgkit.contracts.ids import new_id
from msgkit.contracts.manifest import ManifestAnnounced
from msgkit.contracts.views import ChannelView
from msgkit.runtime.clock import utc_now
from msgkit.runtime.http import InternalClient
from msgkit.runtime.mongo import Mongo
from msgkit.runtime.problems import Problem
from msgkit.runtime.service import Service
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.servers import VirtualHosts
from msgkit.testing.wire import Answer, Call

pytestmark = pytest.mark.servers

CALLS_OF_A_CREATION = 5
"""connect, settings, store, activate, state."""
CALLS_OF_A_DELETION = 2
Lost = Literal["request", "answer"]


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


class Wire(httpx2.AsyncBaseTransport):
    """Carries calls to the services by the name in their address; cut where the test says."""

    def __init__(self, services: dict[str, Service]) -> None:
        self._to = {name: httpx2.ASGITransport(service.internal) for name, service in services.items()}
        self.calls: list[str] = []
        self.cut: tuple[int, Lost] | None = None
        """Before or after which call the caller dies."""
        self.is_dead = False
        self.away: set[str] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host = request.url.host
        if self.is_dead or host in self.away:
            raise httpx2.ConnectError("nobody there")
        self.calls.append(f"{request.method} {host}")
        number = len(self.calls)
        if self.cut == (number, "request"):
            self.is_dead = True
            raise httpx2.ConnectError("cut before the call")
        response = await self._to[host].handle_async_request(request)
        if self.cut == (number, "answer"):
            await response.aread()
            self.is_dead = True
            raise httpx2.ReadError("cut before the answer")
        return response


@dataclass
class Stage:
    """Two real services, and gateways that come and go."""

    ingest: IngestStage
    services: dict[str, Service]
    mongo: Mongo
    inbox_channels: Any
    late: timedelta = field(default_factory=timedelta)

    def gateway(self, wire: Wire, instance: str = "gateway") -> ChannelDesk:
        """A replica of the gateway, as far as it deals with channels."""
        tokens = ServiceTokens("gateway", GATEWAY_SEED, {})
        manifests = Manifests(lambda: 0.0)
        manifests.hear(
            ManifestAnnounced(
                type="manifest.announced.v1",
                manifest=MANIFEST,
                internal_url="http://ingest",
                instance="test",
                at=utc_now(),
            )
        )
        inbox = Inbox(InternalClient("http://inbox", "inbox", tokens, transport=wire))
        return ChannelDesk(
            inbox,
            Channels(inbox, lambda: 0.0),
            manifests,
            Connectors(tokens, wire),
            ChannelChanges(self.mongo.database, instance, lambda: utc_now() + self.late),
        )

    def wire(self) -> Wire:
        return Wire(self.services)

    async def channels(self) -> list[ChannelView]:
        found = await self.inbox_channels.find({"deleted": False}).to_list(None)
        return [ChannelView.model_validate(document["view"]) for document in found]

    async def accounts(self) -> list[dict[str, Any]]:
        return list(await self.ingest.database["accounts"].find({}).to_list(None))

    async def unsettled(self) -> int:
        return int(await self.mongo.database["channel_changes"].count_documents({}))

    async def what_is_there(self) -> str:
        """`whole` or `nothing`; anything else is a half channel."""
        channels, accounts, webhooks = (
            await self.channels(),
            await self.accounts(),
            dict(self.ingest.api.webhooks),
        )
        parts = (
            [(view.id, view.state) for view in channels],
            [(account["_id"], account["state"]) for account in accounts],
            [webhook["url"].rsplit("/", 1)[-1] for webhook in webhooks.values() if webhook["url"]],
        )
        if not any(parts):
            return "nothing"
        ids = {view.id for view in channels}
        alike = (
            len(channels) == len(accounts) == len(parts[2]) == 1
            and {account["_id"] for account in accounts} == ids == set(parts[2])
            and channels[0].state == accounts[0]["state"] == "active"
        )
        return "whole" if alike else f"half: {parts}"

    async def settle(self) -> None:
        """What a living replica of the gateway does in time."""
        self.late = LEFT_AFTER + timedelta(seconds=1)
        desk = self.gateway(self.wire(), "another")
        while (change := await desk.changes.claim()) is not None:
            await desk.settle(change)
            if await self.unsettled():
                self.late += LEFT_AFTER
        self.late = timedelta()


@asynccontextmanager
async def _inbox(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Service]:
    settings = InboxSettings.model_validate(
        {
            "RABBITMQ_URL": amqp_url,
            "MONGO_URL": mongo_url,
            "mongo_prefix": mongo_prefix,
            "internal_port": 0,
            "instance": "inbox",
            "service_key": SERVICE_SEED,
            "service_public_keys": {"gateway": GATEWAY_PUBLIC, "ingest-telegram": SERVICE_PUBLIC},
        }
    )
    service = assemble(settings).service
    await service.start()
    try:
        yield service
    finally:
        await service.drain()
        await service.stop()


@pytest_asyncio.fixture
async def stage(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Stage]:
    api = BotApi()
    await api.wire.start()
    mongo = Mongo(mongo_url, f"{mongo_prefix}gateway")
    inbox_store = Mongo(mongo_url, f"{mongo_prefix}inbox")
    async with (
        _inbox(amqp_url, mongo_url, mongo_prefix) as inbox,
        running(api, amqp_url, mongo_url, mongo_prefix, watch=False) as ingest,
    ):
        services = {"ingest": ingest.service, "inbox": inbox}
        yield Stage(ingest, services, mongo, inbox_store.database["channels"])
    mongo.close()
    inbox_store.close()
    await api.wire.stop()


def session(tenant: str = "salon", *roles: str) -> Session:
    return Session(
        user_id="u-olena",
        tenant_id=tenant,
        name="Олена",
        roles=frozenset(roles or {"admin"}),
        sid="s",
        issued_at=0.0,
        expires_at=datetime(2100, 1, 1, tzinfo=UTC),
    )


def wanted(stage: Stage, token: str = TOKEN, **settings: Any) -> ChannelIn:
    commands = [{"command": "price", "description": "Ціни"}]
    return ChannelIn.model_validate(
        {
            "kind": KIND,
            "title": "Бот",
            "credentials": {"token": token},
            "api_base": stage.ingest.api.wire.url,
            "settings": {"commands": commands} | settings,
        }
    )


CUTS: list[tuple[int, Lost]] = [
    (number, lost) for number in range(1, CALLS_OF_A_CREATION + 1) for lost in ("request", "answer")
]
REGISTERED = {(4, "answer"), (5, "request"), (5, "answer")}
"""From here on the messenger brings us messages."""


async def test_a_creation_cut_anywhere_is_finished_or_taken_back(stage: Stage) -> None:
    """The gateway dies before or after each of its calls; another replica sweeps."""
    for number, lost in CUTS:
        wire = stage.wire()
        wire.cut = (number, lost)
        with pytest.raises(Problem):
            await stage.gateway(wire).connect(session(), wanted(stage))
        assert wire.is_dead, "there are fewer calls than the table knows"
        assert await stage.unsettled() == 1

        await stage.settle()

        # Once the messenger brings us messages, they have a home.
        is_registered = (number, lost) in REGISTERED
        assert await stage.what_is_there() == ("whole" if is_registered else "nothing"), (number, lost)
        assert await stage.unsettled() == 0
        desk = stage.gateway(stage.wire())
        for view in await stage.channels():
            await desk.delete(session(), view.id)
        view = await desk.connect(session(), wanted(stage))
        assert (view.state, view.connected) == ("active", True), "the account must not stay locked"
        assert len(wire.calls) <= CALLS_OF_A_CREATION
        await desk.delete(session(), view.id)
        assert await stage.what_is_there() == "nothing"


async def test_the_same_replica_settles_at_its_next_start_what_it_left(stage: Stage) -> None:
    wire = stage.wire()
    wire.cut = (3, "answer")
    with pytest.raises(Problem):
        await stage.gateway(wire, "one").connect(session(), wanted(stage))
    other = stage.gateway(stage.wire(), "two")
    await other.changes.prepare()
    assert await other.changes.claim() is None, "somebody else may be at it"
    again = stage.gateway(stage.wire(), "one")
    await again.changes.prepare()
    change = await again.changes.claim()
    assert change is not None
    await again.settle(change)
    assert await stage.what_is_there() == "nothing"
    assert (await again.connect(session(), wanted(stage))).connected


@pytest.mark.parametrize("away", ["ingest", "inbox"])
@pytest.mark.parametrize("after", range(CALLS_OF_A_CREATION))
async def test_a_service_that_goes_away_in_the_middle_leaves_no_half_channel(
    stage: Stage, away: str, after: int
) -> None:
    """The gateway lives and takes back what it can; the rest when the service is there again."""

    class Going(Wire):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if len(self.calls) >= after:
                self.away.add(away)
            return await super().handle_async_request(request)

    wire = Going(stage.services)
    desk = stage.gateway(wire)
    if away == "ingest" and after == CALLS_OF_A_CREATION - 1:  # the last call is to inbox
        await desk.connect(session(), wanted(stage))
        assert await stage.what_is_there() == "whole"
        return
    with pytest.raises(Problem) as refused:
        await desk.connect(session(), wanted(stage))
    assert refused.value.status == 503
    await stage.settle()
    assert await stage.what_is_there() == "nothing"
    assert await stage.unsettled() == 0
    assert (await stage.gateway(stage.wire()).connect(session(), wanted(stage))).connected


async def test_a_webhook_set_without_an_answer_does_not_stay(stage: Stage) -> None:
    respond = stage.ingest.api.wire.respond

    def drop(call: Call) -> Answer:
        answer = respond(call)
        return replace(answer, does="drop") if call.method == "setWebhook" else answer

    stage.ingest.api.wire.respond = drop
    with pytest.raises(Problem) as refused:
        await stage.gateway(stage.wire()).connect(session(), wanted(stage))
    assert refused.value.code == "provider_unavailable"
    assert await stage.what_is_there() == "nothing"


async def test_commands_the_messenger_refuses_create_nothing(stage: Stage) -> None:
    respond = stage.ingest.api.wire.respond

    def refuse(call: Call) -> Answer:
        if call.method == "setMyCommands":
            return refusal(400, "Bad Request: BOT_COMMAND_INVALID")
        return respond(call)

    stage.ingest.api.wire.respond = refuse
    desk = stage.gateway(stage.wire())
    with pytest.raises(Problem) as refused:
        await desk.connect(session(), wanted(stage))
    assert refused.value.status == 422
    assert await stage.what_is_there() == "nothing"
    assert await stage.unsettled() == 0

    view = await desk.connect(session(), wanted(stage, commands=[]))
    patch = ChannelPatchIn.model_validate(
        {"title": "Інша", "settings": {"commands": [{"command": "x", "description": "y"}]}}
    )
    with pytest.raises(Problem) as refused:
        await desk.change(session(), view.id, patch)
    assert refused.value.status == 422
    (kept,) = await stage.channels()
    assert (kept.title, kept.settings.commands, kept.rev) == ("Бот", (), view.rev)


async def test_settings_taken_back_after_a_change_that_stopped_half_way_reach_the_account(
    stage: Stage,
) -> None:
    """The account has the new ones, inbox still the old: to inbox nothing changes, to the account it does."""
    view = await stage.gateway(stage.wire()).connect(session(), wanted(stage, commands=[]))
    wire = stage.wire()
    desk = stage.gateway(wire)
    await desk.channels.of("salon")
    wire.cut = (len(wire.calls) + 2, "request")
    commands = [{"command": "x", "description": "y"}]
    with pytest.raises(Problem):
        await desk.change(session(), view.id, _with_commands(commands))
    assert await _told_to(stage, view.id) == commands
    await stage.gateway(stage.wire()).change(session(), view.id, _with_commands([]))
    assert await _told_to(stage, view.id) == []


def _with_commands(commands: list[dict[str, str]]) -> ChannelPatchIn:
    return ChannelPatchIn.model_validate({"settings": {"commands": commands}})


async def _told_to(stage: Stage, channel_id: str) -> list[dict[str, str]]:
    account = await stage.ingest.database["accounts"].find_one({"_id": channel_id})
    assert account is not None
    told: list[dict[str, str]] = account["settings"]["commands"]
    return told


@pytest.mark.parametrize("by_default", [True, False])
async def test_late_answers_are_as_the_messenger_says_unless_named_and_reach_the_account(
    stage: Stage, by_default: bool
) -> None:
    desk = stage.gateway(stage.wire())
    late = {"human_reply_window_hours": 168, "reply_window_hours": 24, "human_agent_by_default": by_default}
    known = desk.manifests.of(KIND)
    assert known is not None
    desk.manifests.hear(
        ManifestAnnounced(
            type="manifest.announced.v1",
            manifest=known.manifest.model_copy(update=late),
            internal_url=known.internal_url,
            instance="test",
            at=utc_now(),
        )
    )

    async def told(view: ChannelView) -> tuple[bool, bool, int | None]:
        account = await stage.ingest.database["accounts"].find_one({"_id": view.id})
        assert account is not None
        account_says = account.get("settings", {}).get("human_agent", False)
        return view.settings.human_agent, account_says, desk.to_admin_out(view).reply_window_hours

    on, off = (True, True, 168), (False, False, 24)
    view = await desk.connect(session(), wanted(stage, commands=[]))
    assert await told(view) == (on if by_default else off)
    other = ChannelPatchIn.model_validate({"settings": {"human_agent": not by_default}})
    assert await told(await desk.change(session(), view.id, other)) == (off if by_default else on)
    await desk.delete(session(), view.id)
    named = await desk.connect(session(), wanted(stage, human_agent=not by_default))
    assert await told(named) == (off if by_default else on)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"bot_enabled": True}},
        {"credentials": {"token": TOKEN}, "settings": {"bot_enabled": True}},
    ],
)
async def test_a_change_leaves_alone_what_it_does_not_name_and_this_gateway_has_not_heard_of(
    stage: Stage, change: dict[str, Any]
) -> None:
    desk = stage.gateway(stage.wire())
    view = await desk.connect(session(), wanted(stage, human_agent=True, auto_close_hours=5))
    await desk.channels.of("salon")
    # The messenger refuses late answers, and inbox puts them off; this replica has not heard of it yet.
    await stage.inbox_channels.update_one({"_id": view.id}, {"$set": {"view.settings.human_agent": False}})
    told = (await desk.change(session(), view.id, ChannelPatchIn.model_validate(change))).settings
    assert (told.bot_enabled, told.human_agent, told.auto_close_hours) == (True, False, 5)


async def test_a_deletion_once_begun_is_finished(stage: Stage) -> None:
    for number in range(1, CALLS_OF_A_DELETION + 1):
        for lost in ("request", "answer"):
            view = await stage.gateway(stage.wire()).connect(session(), wanted(stage))
            wire = stage.wire()
            desk = stage.gateway(wire)
            await desk.channels.of("salon")
            wire.cut = (len(wire.calls) + number, lost)
            with pytest.raises(Problem):
                await desk.delete(session(), view.id)
            assert wire.is_dead
            await stage.settle()
            assert await stage.what_is_there() == "nothing", (number, lost)
            assert await stage.unsettled() == 0


async def test_a_channel_is_switched_off_and_on(stage: Stage) -> None:
    desk = stage.gateway(stage.wire())
    view = await desk.connect(session(), wanted(stage))

    off = await desk.change(session(), view.id, ChannelPatchIn(enabled=False))
    assert (off.state, off.connected) == ("disabled", False)
    assert off.problem is not None
    assert "вимкнено" in off.problem
    assert stage.ingest.api.webhooks == {}
    on = await desk.change(session(), view.id, ChannelPatchIn(enabled=True))
    assert (on.state, on.connected, on.problem) == ("active", True, None)
    assert await stage.what_is_there() == "whole"


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("number", [1, 2])
async def test_a_switch_cut_half_way_leaves_both_sides_agreed(stage: Stage, number: int, lost: Lost) -> None:
    view = await stage.gateway(stage.wire()).connect(session(), wanted(stage))
    wire = stage.wire()
    desk = stage.gateway(wire)
    await desk.channels.of("salon")
    wire.cut = (len(wire.calls) + number, lost)
    with pytest.raises(Problem):
        await desk.change(session(), view.id, ChannelPatchIn(enabled=False))
    await stage.settle()
    (account,), (channel,) = await stage.accounts(), await stage.channels()
    assert account["state"] == channel.state == ("active" if (number, lost) == (1, "request") else "disabled")
    assert channel.connected == (channel.state == "active")
    assert await stage.unsettled() == 0


async def test_new_credentials_must_be_of_the_same_account(stage: Stage) -> None:
    desk = stage.gateway(stage.wire())
    view = await desk.connect(session(), wanted(stage))
    renewed = TOKEN[:-4] + "wxyz"

    def patch(token: str) -> ChannelPatchIn:
        return ChannelPatchIn.model_validate({"credentials": {"token": token}})

    changed = await desk.change(session(), view.id, patch(renewed))
    assert (changed.credentials_hint, changed.connected) == ("…wxyz", True)
    assert stage.ingest.api.webhooks[renewed] == stage.ingest.api.webhooks[TOKEN], "with the same secret"
    with pytest.raises(Problem) as refused:
        await desk.change(session(), view.id, patch(OTHER_TOKEN))
    assert (refused.value.status, refused.value.code) == (409, "other_account")
    with pytest.raises(Problem) as refused:
        await desk.change(session(), view.id, patch("7999999999:AAE-nobody-knows-this-token-012345"))
    assert refused.value.status == 422
    assert "Unauthorized" in refused.value.detail
    (kept,) = await stage.channels()
    assert kept == changed


async def test_what_inbox_shows_follows_the_accounts_health(stage: Stage) -> None:
    """Credentials refused at a send are shown at once, new ones mend it, and so does the messenger itself."""
    desk = stage.gateway(stage.wire())
    view = await desk.connect(session(), wanted(stage, commands=[]))
    account = await stage.ingest.database["accounts"].find_one({"_id": view.id})
    assert account is not None
    stage.ingest.api.script = [refusal(401, "Unauthorized")]

    async def shown(connected: bool) -> ChannelView:
        async with asyncio.timeout(15):
            while True:
                (channel,) = await stage.channels()
                if channel.connected is connected:
                    return channel
                await asyncio.sleep(0.05)  # pace: polls a state with a deadline

    await stage.ingest.say("не дійде одразу", channel_id=view.id, conversation_id=new_id())
    broken = await shown(connected=False)
    assert broken.problem is not None
    assert "@BotFather" in broken.problem
    patch = ChannelPatchIn.model_validate({"credentials": {"token": TOKEN}})
    await desk.change(session(), view.id, patch)
    assert (await shown(connected=True)).problem is None
    await stage.ingest.api.wire.seen("sendMessage", 2)
    assert stage.ingest.api.sent == ["не дійде одразу"] * 2, "what waited went out"


async def test_another_tenants_channel_does_not_exist(stage: Stage) -> None:
    desk = stage.gateway(stage.wire())
    view = await desk.connect(session(), wanted(stage))
    for change in (
        desk.change(session("clinic"), view.id, ChannelPatchIn(enabled=False)),
        desk.rotate_secret(session("clinic"), view.id),
        desk.delete(session("clinic"), view.id),
    ):
        with pytest.raises(Problem) as refused:
            await change
        assert refused.value.status == 404
    assert await stage.what_is_there() == "whole"
