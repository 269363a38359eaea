"""Settings of ingest-whatsapp."""

from __future__ import annotations

from pydantic import Field

from msgkit.connector.settings import AppSettings, IngestSettings


class Settings(AppSettings, IngestSettings):
    """What every ingest service needs, and the keys of the Meta app."""

    # A business account has 200 calls an hour beside messages (fact sheet 2.7), a look takes two of them, and
    # what breaks in between is told by webhooks and by the answers to our sends.
    health_every_s: float = Field(
        default=300.0, ge=0.1, description="Seconds between two looks at each connected account"
    )
