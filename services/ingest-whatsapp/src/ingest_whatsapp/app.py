"""ingest-whatsapp: how the service is put together."""

from __future__ import annotations

from ingest_whatsapp.client import GraphClient
from ingest_whatsapp.connector import WhatsAppConnector
from ingest_whatsapp.settings import Settings
from msgkit.connector.ingest import build_ingest
from msgkit.runtime.objects import ObjectStore
from msgkit.runtime.service import Service, run


def build() -> Service:
    """The service, wired and not yet running."""
    settings = Settings()
    client = GraphClient(ObjectStore(settings.objects_url))
    # No spool: WhatsApp repeats a webhook for seven days (fact sheet 1.1).
    return build_ingest(WhatsAppConnector(client), settings, has_people=True, app=settings.app_keys())


if __name__ == "__main__":
    run(build)
