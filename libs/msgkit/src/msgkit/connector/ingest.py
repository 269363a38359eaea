"""Builds a whole ingest service from a connector: webhook, accounts, sends, announcements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI

from msgkit.connector.acceptance import Acceptance
from msgkit.connector.account_alerts import AccountAlerts
from msgkit.connector.account_api import account_routes
from msgkit.connector.account_desk import AccountDesk
from msgkit.connector.account_watch import AccountWatch
from msgkit.connector.accounts import AccountStore
from msgkit.connector.acknowledgements import Acknowledgements
from msgkit.connector.announcements import Announcer, offering
from msgkit.connector.app_webhook import AppDoor
from msgkit.connector.contract import (
    Acknowledges,
    Connector,
    HasProfiles,
    HearsItself,
    Polls,
    RecallsMissed,
    RenewsCredentials,
    ResolvesUnknown,
    ServesApp,
    SignalsChats,
    manifests_of,
)
from msgkit.connector.echo_store import EchoStore
from msgkit.connector.echoes import Echoes
from msgkit.connector.gap_filler import GapFiller
from msgkit.connector.gap_store import GapStore
from msgkit.connector.gaps import Gaps
from msgkit.connector.health_watch import HealthWatch
from msgkit.connector.ingest_life import Life, Part, broker_answers
from msgkit.connector.late_answers import LateAnswers
from msgkit.connector.media_jobs import MediaJobs
from msgkit.connector.media_store import MediaStore
from msgkit.connector.people import People
from msgkit.connector.polling import Poller
from msgkit.connector.profile_store import ProfileStore
from msgkit.connector.profiles import Profiles
from msgkit.connector.public_media import public_addresses, public_media_route
from msgkit.connector.quarantine import Quarantine
from msgkit.connector.receipts import Receipts
from msgkit.connector.receiving import PollStore, Receiving
from msgkit.connector.renewals import Renewals, RenewalStore
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
from msgkit.runtime.bus import Publisher
from msgkit.runtime.health import Health
from msgkit.runtime.leases import Leases
from msgkit.runtime.media import MediaInspector, Workspace
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import Mongo
from msgkit.runtime.objects import ObjectStore
from msgkit.runtime.partition_reader import Delivery, PartitionReader
from msgkit.runtime.problems import install_problem_handlers
from msgkit.runtime.service import Service
from msgkit.runtime.tokens import ServiceTokens


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
    manifests = manifests_of(connector)
    kinds = tuple(each.kind for each in manifests)
    name = manifests[0].service
    rabbitmq_url = settings.rabbitmq_url.get_secret_value()
    mongo = Mongo(settings.mongo_url.get_secret_value(), settings.database_name(name))
    publisher = Publisher(rabbitmq_url, name)
    # Confirms of webhooks must not wait behind a batch of reports.
    report_publisher = Publisher(rabbitmq_url, f"{name} reports")
    membership = Membership(mongo.database, name, settings.instance)
    accounts = AccountStore(mongo.database, settings.credential_keys.keyring())
    alerts = AccountAlerts(mongo.database, accounts)
    quarantine = Quarantine(mongo.database, name)
    queues = (*topology.sends_queues(name, kinds), *topology.inbound_queues())
    declare = partial(bus.declare, rabbitmq_url, queues)
    receipts = (
        Receipts(mongo.database, keeps_times=isinstance(connector, HearsItself))
        if any(each.abilities.receipts for each in manifests)
        else None
    )
    people = People(mongo.database) if has_people else None
    drainer = Publisher(rabbitmq_url, f"{name} spool")
    spool = (
        Spool(
            mongo.database,
            kinds=kinds,
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
    acknowledgements = Acknowledgements(connector) if isinstance(connector, Acknowledges) else None
    objects = ObjectStore(settings.objects_url)
    media = MediaJobs(
        connector=connector,
        manifests=manifests,
        accounts=accounts,
        store=MediaStore(mongo.database),
        objects=objects,
        inspector=MediaInspector(),
        workspace=Workspace(name),
        # Behind the spool: inbox can do nothing with the report of a message that still waits there.
        publisher=report_publisher if spool is None else spool,
    )
    road = publisher if spool is None else spool
    echoes = (
        Echoes(
            EchoStore(mongo.database),
            wait_s=connector.echo_wait_s,
            road=road,
            media=media,
            membership=membership,
        )
        if isinstance(connector, HearsItself)
        else None
    )
    profile_store = ProfileStore(mongo.database)
    profiles = (
        Profiles(
            connector=connector,
            store=profile_store,
            accounts=accounts,
            # As reports of files: a name must not pass the message that made the dialogue.
            publisher=report_publisher if spool is None else spool,
            membership=membership,
        )
        if isinstance(connector, HasProfiles)
        else None
    )
    acceptance = Acceptance(
        connector=connector,
        road=road,
        quarantine=quarantine,
        acknowledgements=acknowledgements,
        media=media,
        alerts=alerts,
        receipts=receipts,
        people=people,
        echoes=echoes,
        profiles=profiles,
    )
    watches = AccountWatch(mongo.database, accounts)
    gap_store = GapStore(mongo.database)
    gaps = Gaps(gap_store, watches) if isinstance(connector, RecallsMissed) else None
    filler = (
        GapFiller(
            connector=connector,
            gaps=gaps,
            store=gap_store,
            accounts=accounts,
            acceptance=acceptance,
            membership=membership,
        )
        if isinstance(connector, RecallsMissed) and gaps is not None
        else None
    )
    doors = [
        WebhookDoor(connector=connector, kind=kind, accounts=accounts, acceptance=acceptance)
        for kind in kinds
    ]
    app_doors = [
        AppDoor(
            connector=connector,
            kind=kind,
            keys=app or AppKeys(),
            accounts=accounts,
            acceptance=acceptance,
            quarantine=quarantine,
        )
        for kind in kinds
        if isinstance(connector, ServesApp)
    ]
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
        gaps=gaps,
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
        late_answers=LateAnswers(
            mongo.database, accounts=accounts, alerts=alerts, publisher=report_publisher
        ),
        people=people,
        echoes=echoes,
        doubt_for=doubt_for,
    )
    loop = SendLoop(
        manifests=manifests,
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
    memories = [
        memory
        for memory in (
            people,
            profile_store if profiles is not None else None,
            gap_store if gaps is not None else None,
        )
        if memory is not None
    ]
    watch = HealthWatch(
        desk=desk,
        accounts=accounts,
        watch=watches,
        alerts=alerts,
        publisher=report_publisher,
        membership=membership,
        memories=memories,
        gaps=gaps,
        filler=filler,
        every_s=settings.health_every_s,
    )
    announcer = Announcer(
        manifests=[offering(each, settings.api_bases) for each in manifests],
        internal_url=settings.internal_url,
        instance=settings.instance,
        publisher=report_publisher,
    )
    parts: list[Part] = [
        Part("membership", membership.run),
        Part("orders", reader.run, reader.drain),
        Part("sends", loop.run, loop.drain),
        Part("media", media.run, media.drain),
        Part("announcements", announcer.run),
        Part("health", watch.run),
    ]
    if spool is not None:
        parts.append(Part("spool", spool.run, spool.drain))
    if signals is not None:
        parts.append(Part("signals", signals.run, signals.drain))
    if echoes is not None:
        parts.append(Part("echoes", echoes.run, echoes.drain))
    if acknowledgements is not None:
        parts.append(Part("acknowledgements", acknowledgements.run, acknowledgements.drain))
    if filler is not None:
        parts.append(Part("gaps", filler.run, filler.drain))
    if profiles is not None:
        parts.append(Part("profiles", profiles.run, profiles.drain))
    if isinstance(connector, RenewsCredentials):
        renewals = Renewals(
            connector=connector,
            store=RenewalStore(mongo.database, accounts),
            accounts=accounts,
            membership=membership,
        )
        parts.append(Part("renewals", renewals.run, renewals.drain))
    if isinstance(connector, Polls):
        poller = Poller(
            connector=connector,
            accounts=accounts,
            acceptance=acceptance,
            receiving=receiving,
            polls=polls,
            membership=membership,
            leases=Leases(mongo.database, settings.instance),
        )
        parts.append(Part("polling", poller.run, poller.drain))
    life = Life(
        declare=declare,
        mongo=mongo,
        stores=[
            store
            for store in (accounts, quarantine, sends, media, receipts, spool, echoes, *memories)
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
    health.add("rabbitmq", partial(broker_answers, publisher), is_needed=spool is None)
    public = PublicApp(doors, name, app_doors)
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
    manifests = manifests_of(connector)
    has_typing = any(each.abilities.typing for each in manifests)
    broker = bus.faststream_broker(settings.rabbitmq_url.get_secret_value()) if has_typing else None
    signals = Signals(
        connector=connector,
        accounts=accounts,
        membership=membership,
        people=people,
        broker=broker,
    )
    if broker is not None:
        listen_to_typing(broker, signals, manifests[0].service, settings.instance)
    return signals


def _internal_app(name: str, routes: APIRouter) -> FastAPI:
    app = FastAPI(title=f"{name} internal", openapi_url=None)
    app.include_router(routes)
    install_problem_handlers(app)
    return app
