"""ingest-viber: how the service is put together."""

from __future__ import annotations

from ingest_viber.client import ViberClient
from ingest_viber.connector import KIND, ViberBotConnector
from ingest_viber.downloads import Downloads
from ingest_viber.settings import Settings
from msgkit.connector.ingest import build_ingest
from msgkit.connector.public_media import public_addresses
from msgkit.runtime.service import Service, run


def build() -> Service:
    """The service, wired and not yet running."""
    settings = Settings()
    client = ViberClient(KIND, public_addresses(settings))
    # Viber repeats a callback for an hour only.
    return build_ingest(ViberBotConnector(client, Downloads()), settings, has_spool=True)


if __name__ == "__main__":
    run(build)
