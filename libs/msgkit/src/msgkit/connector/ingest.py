"""Builds a whole ingest service from a connector: webhook, accounts, sends, announcements."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI

from msgkit.connector.acceptance import Acceptance
from msgkit.connector.account_alerts import AccountAlerts
from msgkit.connector.account_api import account_routes
from msgkit.connector.account_desk import AccountDesk
from msgkit.connector.accounts import AccountStore
from msgkit.connector.acknowledgements import Acknowledgements
from msgkit.connector.announcements import Announcer, offering
from msgkit.connector.app_webhook import AppDoor
from msgkit.connector.contract import Acknowledges, Connector, Polls, ResolvesUnknown, ServesApp, SignalsChats
from msgkit.connector.health_watch import HealthWatch
from msgkit.connector.media_jobs import MediaJobs
from msgkit.connector.media_store import MediaStore
from msgkit.connector.people import People
from msgkit.connector.polling import Poller
from msgkit.connector.public_media import public_addresses, public_media_route
from msgkit.connector.quarantine import Quarantine
from msgkit.connector.receipts import Receipts
from msgkit.connector.receiving import PollStore, Receiving
from msgkit.connector.send_attempts import Attempts
from msgkit.connector.send_intake import SendIntake
from msgkit.connector.send_loop import SendLoop
from msgkit.connector.send_reports import SendReports
from msgkit.connector.send_store import SendStore
from msgkit.connector.settings import AppKeys, IngestSettings
from msgkit.connector.signals import Signals, listen_to_typing
from msgkit.connector.spool import Spool
from msgkit.connector.webhook import PublicApp, WebhookDoor
from msgkit.contracts import topology
from msgkit.runtime import bus
from msgkit.runtime.bus import AMQP_ERRORS, Publisher, PublishUnknown
from msgkit.runtime.health import Health
from msgkit.runtime.leases import Leases
from msgkit.runtime.logs import get_logger
from msgkit.runtime.media import MediaInspector, Workspace
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import Mongo
from msgkit.runtime.objects import ObjectStore
from msgkit.runtime.partition_reader import Delivery, PartitionReader
from msgkit.runtime.problems import install_problem_handlers
from msgkit.runtime.service import Background, Service
from msgkit.runtime.tokens import ServiceTokens

log = get_logger(__name__)

_BROKER_AWAY: tuple[type[Exception], ...] = (*AMQP_ERRORS, PublishUnknown)


@dataclass(frozen=True, slots=True)
class _Part:
    """Something that runs for ever beside HTTP, and how it finishes what it has in hand."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    drain: Callable[[], Coroutine[Any, Any, None]] | None = None


class _Store(Protocol):
    async def prepare(self) -> None:
        """Make indexes or folders."""


def build_ingest(  # noqa: PLR0915 - the one place where everything is made
    connector: Connector[Any],
    settings: IngestSettings,
    *,
    has_spool: bool = False,
    has_people: bool = False,
    app: AppKeys | None = None,
) -> Service:
    """Wire an ingest service. Nothing runs before `Service.start`.

    Args:
        connector: the messenger.
        settings: read from the environment by the caller.
        has_spool: for a messenger that repeats a webhook for a short time only: while RabbitMQ is away
            webhooks are kept in MongoDB. Such a service starts without RabbitMQ, and stays ready without it:
            what is not ready gets no webhooks, and that is what would lose them.
        has_people: for a messenger whose ids of people change: `Parsed.people` is kept, contacts are found
            again by any of their ids, and `plan` gets the address by which a contact is reached now.
        app: for a connector that is `ServesApp`: the keys of the messenger's app, see `AppSettings`. Without
            any, only accounts with an app of their own can be connected.
    """
    manifest = connector.manifest
    name = manifest.service
    rabbitmq_url = settings.rabbitmq_url.get_secret_value()
    mongo = Mongo(settings.mongo_url.get_secret_value(), settings.database_name(name))
    publisher = Publisher(rabbitmq_url, name)
    # Confirms of webhooks must not wait behind a batch of reports.
    report_publisher = Publisher(rabbitmq_url, f"{name} reports")
    membership = Membership(mongo.database, name, settings.instance)
    accounts = AccountStore(mongo.database, settings.credential_keys.keyring())
    alerts = AccountAlerts(mongo.database, accounts)
    quarantine = Quarantine(mongo.database, name)
    queues = (*topology.sends_queues(name, (manifest.kind,)), *topology.inbound_queues())
    declare = partial(bus.declare, rabbitmq_url, queues)
    receipts = Receipts(mongo.database, manifest.kind) if manifest.abilities.receipts else None
    people = People(mongo.database) if has_people else None
    drainer = Publisher(rabbitmq_url, f"{name} spool")
    spool = (
        Spool(
            mongo.database,
            kind=manifest.kind,
            publisher=publisher,
            drainer=drainer,
            membership=membership,
            declare=declare,
            quarantine=quarantine,
        )
        if has_spool
        else None
    )
    sends = SendStore(mongo.database)
    intake = SendIntake(mongo.database, sends)
    acknowledgements = (
        Acknowledgements(connector, manifest.kind) if isinstance(connector, Acknowledges) else None
    )
    objects = ObjectStore(settings.objects_url)
    media = MediaJobs(
        connector=connector,
        accounts=accounts,
        store=MediaStore(mongo.database),
        objects=objects,
        inspector=MediaInspector(),
        workspace=Workspace(name),
        # Behind the spool: inbox can do nothing with the report of a message that still waits there.
        publisher=report_publisher if spool is None else spool,
    )
    acceptance = Acceptance(
        connector=connector,
        road=publisher if spool is None else spool,
        quarantine=quarantine,
        acknowledgements=acknowledgements,
        media=media,
        alerts=alerts,
        receipts=receipts,
        people=people,
    )
    door = WebhookDoor(connector=connector, accounts=accounts, acceptance=acceptance)
    app_door = (
        AppDoor(
            connector=connector,
            kind=manifest.kind,
            keys=app or AppKeys(),
            accounts=accounts,
            acceptance=acceptance,
            quarantine=quarantine,
        )
        if isinstance(connector, ServesApp)
        else None
    )
    polls = PollStore(mongo.database)
    receiving = Receiving(
        connector=connector, polls=polls, public_url=settings.public_url, choice=settings.receive
    )
    desk = AccountDesk(
        connector=connector,
        accounts=accounts,
        sends=sends,
        public_url=settings.public_url,
        api_bases=settings.api_bases,
        receiving=receiving,
        alerts=alerts,
        app=app,
    )
    reports = SendReports(sends=sends, publisher=report_publisher, membership=membership, receipts=receipts)
    doubt_for = (
        timedelta(seconds=connector.resolves_unknown_s)
        if receipts is not None and isinstance(connector, ResolvesUnknown)
        else None
    )
    attempts = Attempts(
        connector=connector,
        accounts=accounts,
        sends=sends,
        reports=reports,
        people=people,
        doubt_for=doubt_for,
    )
    loop = SendLoop(
        manifest=manifest,
        accounts=accounts,
        sends=sends,
        attempts=attempts,
        reports=reports,
        membership=membership,
        receipts=receipts,
        doubt_for=doubt_for,
    )
    signals = _signals(connector, settings, accounts, membership, people)

    async def take_orders(deliveries: Sequence[Delivery]) -> None:
        accepted = await intake.accept(deliveries)
        loop.wake(accepted.touched)
        if signals is not None:
            signals.read(accepted.reads)

    reader = PartitionReader(
        rabbitmq_url,
        service=name,
        queue_name=lambda partition: topology.sends_queue_name(name, partition),
        membership=membership,
        handle=take_orders,
        quarantine=quarantine.keep_delivery,
        attempts=mongo.database["attempts"],
    )
    watch = HealthWatch(
        desk=desk,
        accounts=accounts,
        alerts=alerts,
        publisher=report_publisher,
        membership=membership,
        people=people,
        every_s=settings.health_every_s,
    )
    announcer = Announcer(
        manifest=offering(manifest, settings.api_bases),
        internal_url=settings.internal_url,
        instance=settings.instance,
        publisher=report_publisher,
    )
    parts: list[_Part] = [
        _Part("membership", membership.run),
        _Part("orders", reader.run, reader.drain),
        _Part("sends", loop.run, loop.drain),
        _Part("media", media.run, media.drain),
        _Part("announcements", announcer.run),
        _Part("health", watch.run),
    ]
    if spool is not None:
        parts.append(_Part("spool", spool.run, spool.drain))
    if signals is not None:
        parts.append(_Part("signals", signals.run, signals.drain))
    if acknowledgements is not None:
        parts.append(_Part("acknowledgements", acknowledgements.run, acknowledgements.drain))
    if isinstance(connector, Polls):
        poller = Poller(
            connector=connector,
            kind=manifest.kind,
            accounts=accounts,
            acceptance=acceptance,
            receiving=receiving,
            polls=polls,
            membership=membership,
            leases=Leases(mongo.database, settings.instance),
        )
        parts.append(_Part("polling", poller.run, poller.drain))
    life = _Life(
        declare=declare,
        mongo=mongo,
        stores=[
            store
            for store in (accounts, quarantine, sends, media, receipts, people, spool)
            if store is not None
        ],
        publishers=(publisher, report_publisher, drainer),
        spool=spool,
        membership=membership,
        connector=connector,
        parts=parts,
    )
    health = Health()
    health.add("mongodb", mongo.ping)
    health.add("rabbitmq", partial(_answers, publisher), is_needed=spool is None)
    public = PublicApp(door, name, app_door)
    public.router.routes.append(public_media_route(public_addresses(settings), objects))
    install_problem_handlers(public)
    tokens = ServiceTokens(name, settings.service_key.get_secret_value(), settings.service_public_keys)
    return Service(
        name=name,
        internal=_internal_app(name, account_routes(desk, tokens)),
        public=public,
        health=health,
        start=life.start,
        drain=life.drain,
        stop=life.stop,
    )


def _signals(
    connector: Connector[Any],
    settings: IngestSettings,
    accounts: AccountStore,
    membership: Membership,
    people: People | None,
) -> Signals | None:
    """What shows clients that we read and type; None for a messenger without such."""
    if not isinstance(connector, SignalsChats):
        return None
    manifest = connector.manifest
    broker = (
        bus.faststream_broker(settings.rabbitmq_url.get_secret_value()) if manifest.abilities.typing else None
    )
    signals = Signals(
        connector=connector,
        kind=manifest.kind,
        accounts=accounts,
        membership=membership,
        people=people,
        broker=broker,
    )
    if broker is not None:
        listen_to_typing(broker, signals, manifest.service, settings.instance)
    return signals


class _Life:
    """The order in which an ingest service starts, finishes and ends."""

    def __init__(
        self,
        *,
        declare: Callable[[], Coroutine[Any, Any, None]],
        mongo: Mongo,
        stores: Sequence[_Store],
        publishers: Sequence[Publisher],
        spool: Spool | None,
        membership: Membership,
        connector: Connector[Any],
        parts: Sequence[_Part],
    ) -> None:
        self._declare = declare
        self._mongo = mongo
        self._stores = stores
        self._publishers = publishers
        self._spool = spool
        self._membership = membership
        self._connector = connector
        self._parts = parts
        self._background = Background()

    async def start(self) -> None:
        await self._mongo.require_replica_set()
        for store in self._stores:
            await store.prepare()
        await self._reach_broker()
        await self._membership.join()
        for part in self._parts:
            self._background.spawn(part.name, part.run())

    async def _reach_broker(self) -> None:
        """With a spool webhooks can be taken without it; the rest follows when it is there."""
        try:
            await self._declare()
            await self._publishers[0].connect()
        except _BROKER_AWAY as exc:
            if self._spool is None:
                raise
            log.warning("started_without_rabbitmq", reason=type(exc).__name__, fix="make status")
        else:
            if self._spool is not None:
                self._spool.broker_is_there()

    async def drain(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for part in self._parts:
                if part.drain is not None:
                    tasks.create_task(part.drain())
        await self._membership.leave()

    async def stop(self) -> None:
        await self._background.cancel_all()
        await self._connector.aclose()
        for publisher in self._publishers:
            await publisher.close()
        self._mongo.close()


def _internal_app(name: str, routes: APIRouter) -> FastAPI:
    app = FastAPI(title=f"{name} internal", openapi_url=None)
    app.include_router(routes)
    install_problem_handlers(app)
    return app


async def _answers(publisher: Publisher) -> bool:
    try:
        await publisher.connect()
    except PublishUnknown:
        return False
    return publisher.connected
