"""Settings of ingest-viber."""

from __future__ import annotations

from msgkit.connector.settings import IngestSettings


class Settings(IngestSettings):
    """Nothing beside what every ingest service needs."""
