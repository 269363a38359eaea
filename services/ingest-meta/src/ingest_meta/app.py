"""ingest-meta: how the service is put together."""

from __future__ import annotations

from ingest_meta.client import GraphClient
from ingest_meta.connector import MetaConnector
from ingest_meta.settings import Settings
from msgkit.connector.ingest import build_ingest
from msgkit.runtime.objects import ObjectStore
from msgkit.runtime.service import Service, run


def build() -> Service:
    """The service, wired and not yet running."""
    settings = Settings()
    client = GraphClient(ObjectStore(settings.objects_url))
    # Meta repeats a webhook a few times, and after an hour of failures it takes the app off the page.
    return build_ingest(MetaConnector(client), settings, has_spool=True, app=settings.app_keys())


if __name__ == "__main__":
    run(build)
