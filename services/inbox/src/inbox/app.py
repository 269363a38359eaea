"""Puts inbox together: `python -m inbox.app`."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from fastapi import FastAPI

from inbox.api import BODY_LIMIT_BYTES, Doorkeeper, Rows, install_error_handlers, routes
from inbox.beside import Beside
from inbox.channels import ChannelBook, ChannelStore
from inbox.consumers import Handle, hear_manifests, partition_handler, quarantine
from inbox.conversations import Conversations
from inbox.desk import ChannelDesk
from inbox.intake import Intake
from inbox.kinds import Kinds
from inbox.lists import Lists
from inbox.live_epoch import LiveEpoch
from inbox.marks import Marks
from inbox.memory import Memory
from inbox.messages import Messages
from inbox.numbers import RequestNumbers
from inbox.readings import Readings
from inbox.relay import Relay
from inbox.settings import Settings
from inbox.store import Store
from msgkit.contracts.topology import inbound_queue_name, inbound_queues
from msgkit.runtime import bus
from msgkit.runtime.bus import Publisher, PublishUnknown, faststream_broker
from msgkit.runtime.clock import utc_now
from msgkit.runtime.headers import BodyLimit
from msgkit.runtime.health import Health
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import Mongo
from msgkit.runtime.partition_reader import PartitionReader
from msgkit.runtime.problems import install_problem_handlers
from msgkit.runtime.service import Background, Service, run
from msgkit.runtime.tokens import ServiceTokens, caller_dependency

NAME = "inbox"


@dataclass(frozen=True)
class Inbox:
    """The parts of one replica; tests reach in here, the process only takes `service`."""

    service: Service
    store: Store
    channels: ChannelStore
    publisher: Publisher
    membership: Membership
    live: LiveEpoch
    kinds: Kinds
    readings: Readings
    relay: Relay
    intake: Intake
    conversations: Conversations
    reader: PartitionReader
    handle: Handle


def build() -> Service:
    """Everything made, nothing running."""
    return assemble(Settings()).service


def assemble(settings: Settings) -> Inbox:  # noqa: PLR0915  # the one place where everything is made
    """The parts of a replica, joined; nothing is connected yet."""
    amqp_url = settings.rabbitmq_url.get_secret_value()
    mongo = Mongo(settings.mongo_url.get_secret_value(), settings.database_name(NAME))
    store = Store(mongo.database, mongo.loose_database)
    publisher = Publisher(amqp_url, NAME)
    membership = Membership(mongo.database, NAME, settings.instance)
    channel_store = ChannelStore(mongo.database)
    channels = ChannelBook(channel_store)
    live = LiveEpoch(mongo.database, amqp_url)
    bell = asyncio.Event()
    kinds = Kinds(mongo.database)
    relay = Relay(store, publisher, channels, kinds, live, membership, utc_now, bell)
    beside = Beside(publisher, relay, utc_now)
    desk = ChannelDesk(channel_store, channels, beside)
    lists = Lists(mongo.database, mongo.loose_database)
    numbers = RequestNumbers(mongo.database)
    memory = Memory(store)
    intake = Intake(store, memory, relay, channels, numbers, kinds, utc_now)
    readings = Readings(mongo.loose_database, publisher, kinds, utc_now)
    conversations = Conversations(
        store, memory, relay, publisher, channels, numbers, kinds, readings, utc_now
    )
    broker = faststream_broker(amqp_url)
    hear_manifests(broker, kinds, settings.instance)
    keep = quarantine(store)
    handle = partition_handler(intake, desk, keep)
    reader = PartitionReader(
        amqp_url,
        service=NAME,
        queue_name=inbound_queue_name,
        membership=membership,
        handle=handle,
        quarantine=keep,
        attempts=mongo.database["attempts"],
        extra=bell,
    )
    background = Background()

    async def start() -> None:
        await mongo.require_replica_set()
        await store.prepare()
        await channel_store.prepare()
        await kinds.load()
        await bus.declare(amqp_url, inbound_queues())
        await live.ensure()
        await publisher.connect()
        await broker.start()
        await membership.join()
        background.spawn("membership", membership.run())
        background.spawn("reader", reader.run())
        background.spawn("sweep", relay.sweep_forever())
        background.spawn("readings", readings.run())

    async def drain() -> None:
        await membership.leave()
        await reader.drain()

    async def stop() -> None:
        await background.cancel_all()
        await broker.stop()
        await publisher.close()
        mongo.close()

    key = settings.service_key.get_secret_value()
    tokens = ServiceTokens(NAME, key, settings.service_public_keys)
    app = FastAPI(title="inbox", docs_url=None, redoc_url=None, openapi_url=None)
    install_problem_handlers(app)
    install_error_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=BODY_LIMIT_BYTES)
    app.include_router(
        routes(
            conversations,
            Messages(store, conversations),
            Marks(conversations, lists, beside, readings),
            lists,
            desk,
            live,
            Rows(kinds, utc_now),
            Doorkeeper(
                gateway=caller_dependency(tokens, {"gateway"}),
                any_service=caller_dependency(tokens, settings.service_public_keys.keys()),
            ),
            hashlib.sha256(f"cursors {key}".encode()).digest(),
        )
    )
    service = Service(
        name=NAME,
        internal=app,
        public=None,
        health=_health(mongo, publisher, reader),
        start=start,
        drain=drain,
        stop=stop,
    )
    return Inbox(
        service=service,
        store=store,
        channels=channel_store,
        publisher=publisher,
        membership=membership,
        live=live,
        kinds=kinds,
        readings=readings,
        relay=relay,
        intake=intake,
        conversations=conversations,
        reader=reader,
        handle=handle,
    )


def _health(mongo: Mongo, publisher: Publisher, reader: PartitionReader) -> Health:
    health = Health()

    async def publishes() -> bool:
        try:
            await publisher.connect()
        except PublishUnknown:
            return False
        return True

    async def reads() -> bool:
        return reader.subscribed.is_set()

    health.add("mongodb", mongo.ping)
    health.add("rabbitmq", publishes)
    health.add("partitions", reads)
    return health


if __name__ == "__main__":
    run(build)
