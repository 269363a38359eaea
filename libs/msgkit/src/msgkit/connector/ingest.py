"""Builds a whole ingest service from a connector: webhook, accounts, sends, announcements."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI

from msgkit.connector.account_api import AccountDesk, account_routes
from msgkit.connector.accounts import AccountStore
from msgkit.connector.announcements import Announcer
from msgkit.connector.contract import Connector
from msgkit.connector.quarantine import Quarantine
from msgkit.connector.send_loop import SendLoop
from msgkit.connector.send_store import SendStore
from msgkit.connector.settings import IngestSettings
from msgkit.connector.webhook import PublicApp, WebhookDoor
from msgkit.contracts import topology
from msgkit.runtime import bus
from msgkit.runtime.bus import Publisher, PublishUnknown
from msgkit.runtime.health import Health
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import Mongo, StoreUnavailable
from msgkit.runtime.partition_reader import Delivery, PartitionReader
from msgkit.runtime.problems import install_problem_handlers
from msgkit.runtime.service import Background, Service
from msgkit.runtime.tokens import ServiceTokens

log = get_logger(__name__)

HOUSEKEEPING_SECONDS = 3600.0


def build_ingest(connector: Connector[Any], settings: IngestSettings) -> Service:
    """Wire an ingest service. Nothing runs before `Service.start`.

    Args:
        connector: the messenger.
        settings: read from the environment by the caller.
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
    quarantine = Quarantine(mongo.database, name)
    sends = SendStore(mongo.database)
    door = WebhookDoor(connector=connector, accounts=accounts, publisher=publisher, quarantine=quarantine)
    desk = AccountDesk(
        connector=connector,
        accounts=accounts,
        sends=sends,
        public_url=settings.public_url,
        api_bases=settings.api_bases,
    )
    loop = SendLoop(
        connector=connector, accounts=accounts, sends=sends, publisher=report_publisher, membership=membership
    )

    async def take_orders(deliveries: Sequence[Delivery]) -> None:
        loop.wake(await sends.accept(deliveries))

    reader = PartitionReader(
        rabbitmq_url,
        service=name,
        queue_name=lambda partition: topology.sends_queue_name(name, partition),
        membership=membership,
        handle=take_orders,
        quarantine=quarantine.keep_delivery,
        attempts=mongo.database["attempts"],
    )
    announcer = Announcer(
        manifest=manifest,
        internal_url=settings.internal_url,
        instance=settings.instance,
        publisher=report_publisher,
    )
    background = Background()

    async def start() -> None:
        await mongo.require_replica_set()
        await accounts.prepare()
        await quarantine.prepare()
        await sends.prepare()
        await bus.declare(
            rabbitmq_url, (*topology.sends_queues(name, (manifest.kind,)), *topology.inbound_queues())
        )
        await publisher.connect()
        await membership.join()
        background.spawn("membership", membership.run())
        background.spawn("orders", reader.run())
        background.spawn("sends", loop.run())
        background.spawn("announcements", announcer.run())
        background.spawn("housekeeping", _housekeeping(accounts))

    async def drain() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reader.drain())
            tasks.create_task(loop.drain())
        await membership.leave()

    async def stop() -> None:
        await background.cancel_all()
        await connector.aclose()
        await publisher.close()
        await report_publisher.close()
        mongo.close()

    health = Health()
    health.add("mongodb", mongo.ping)
    health.add("rabbitmq", partial(_answers, publisher))
    public = PublicApp(door, name)
    install_problem_handlers(public)
    tokens = ServiceTokens(name, settings.service_key.get_secret_value(), settings.service_public_keys)
    return Service(
        name=name,
        internal=_internal_app(name, account_routes(desk, tokens)),
        public=public,
        health=health,
        start=start,
        drain=drain,
        stop=stop,
    )


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


async def _housekeeping(accounts: AccountStore) -> None:
    while True:
        try:
            removed = await accounts.remove_abandoned()
            if removed:
                log.info("abandoned_accounts_removed", count=removed)
        except StoreUnavailable as exc:
            log.warning("housekeeping_waits", reason=str(exc))
        await asyncio.sleep(HOUSEKEEPING_SECONDS)
