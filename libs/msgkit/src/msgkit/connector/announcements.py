"""Tells everybody which messengers this service connects: at start and every 30 s."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from msgkit.contracts import topology
from msgkit.contracts.ids import new_id
from msgkit.contracts.manifest import Manifest, ManifestAnnounced
from msgkit.runtime.bus import Outgoing, Publisher, PublishUnknown
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger

log = get_logger(__name__)

API_BASES_KEY = "x-api-bases"
"""In the credentials' schema: the addresses of `ROZMOVA_API_BASES`, so that a form can offer them."""
EVERY_SECONDS = 30.0
_AGAIN_SECONDS = 1.0


def offering(manifest: Manifest, api_bases: Collection[str]) -> Manifest:
    """The manifest with the other addresses a channel of this service may name, if there are any."""
    if not api_bases:
        return manifest
    schema = manifest.credentials_schema | {API_BASES_KEY: list(api_bases)}
    return manifest.model_copy(update={"credentials_schema": schema})


class Announcer:
    """Says each manifest on `presence`; nobody may be listening, and that is fine."""

    def __init__(
        self,
        *,
        manifests: Sequence[Manifest],
        internal_url: str,
        instance: str,
        publisher: Publisher,
        clock: Clock = utc_now,
    ) -> None:
        self._manifests = manifests
        self._internal_url = internal_url
        self._instance = instance
        self._publisher = publisher
        self._clock = clock

    async def run(self) -> None:
        """Announce for ever; often at first, when those who listen may just be starting too."""
        pause = _AGAIN_SECONDS
        while True:
            confirmed = [await self._announce(manifest) for manifest in self._manifests]
            pause = min(pause * 2, EVERY_SECONDS) if all(confirmed) else _AGAIN_SECONDS
            await asyncio.sleep(pause)

    async def _announce(self, manifest: Manifest) -> bool:
        event = ManifestAnnounced(
            type="manifest.announced.v1",
            manifest=manifest,
            internal_url=self._internal_url,
            instance=self._instance,
            at=self._clock(),
        )
        try:
            await self._publisher.publish(
                Outgoing(
                    exchange=topology.PRESENCE,
                    routing_key=topology.ANNOUNCEMENT_KEY,
                    body=event.model_dump_json().encode(),
                    event_id=new_id(),
                    type=event.type,
                    persistent=False,
                    mandatory=False,
                )
            )
        except PublishUnknown as exc:
            log.warning("manifest_not_announced", reason=str(exc))
            return False
        return True
