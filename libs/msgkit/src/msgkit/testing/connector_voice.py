"""What a connector would tell on the bus, for states that no messenger of the sandbox brings about."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgkit.contracts import topology
from msgkit.contracts.events import ChannelHealthReported
from msgkit.contracts.ids import new_id
from msgkit.contracts.manifest import Abilities, Manifest, ManifestAnnounced
from msgkit.runtime.bus import Outgoing, Publisher
from msgkit.runtime.clock import utc_now
from msgkit.testing.system import System


class ConnectorVoice:
    """Publishes as an ingest service does."""

    def __init__(self, system: System) -> None:
        self._url = system.rabbitmq.url

    def channel_fails(self, channel: dict[str, Any], problem: str) -> None:
        """The account does not work any more."""
        event = ChannelHealthReported(
            type="channel.health.v1",
            event_id=new_id(),
            tenant_id="salon",
            channel_id=channel["id"],
            channel_kind=channel["kind"],
            recorded_at=utc_now(),
            connected=False,
            problem=problem,
            happened_at=utc_now(),
        )
        key = topology.channel_key(channel["kind"], channel["id"])
        body = event.model_dump_json().encode()
        self._publish(Outgoing(topology.INBOUND, key, body, event.event_id, event.type))

    def announce(self, kind: str, title: str, credentials_schema: dict[str, Any]) -> None:
        """A messenger nobody has heard of can be connected from now on."""
        manifest = Manifest(
            kind=kind,
            title=title,
            service="ingest-unheard-of",
            abilities=Abilities(
                bot=False,
                buttons=False,
                edit=False,
                delete=False,
                typing=False,
                receipts=True,
                knows_phone=True,
                needs_prior_inbound=False,
                read_marks=False,
                reactions=False,
                templates=False,
                media_kinds=[],
            ),
            limits={},
            reply_window_hours=None,
            human_reply_window_hours=None,
            human_agent_by_default=False,
            credentials_schema=credentials_schema,
        )
        announced = ManifestAnnounced(
            type="manifest.announced.v1",
            manifest=manifest,
            internal_url="http://127.0.0.1:1",
            instance="a test",
            at=utc_now(),
        )
        key = topology.ANNOUNCEMENT_KEY
        body = announced.model_dump_json().encode()
        self._publish(Outgoing(topology.PRESENCE, key, body, new_id(), announced.type, persistent=False))

    def _publish(self, message: Outgoing) -> None:
        async def publish() -> None:
            publisher = Publisher(self._url, "a test's connector")
            try:
                await publisher.publish(message)
            finally:
                await publisher.close()

        # The browser's own loop runs in this thread.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, publish()).result()
