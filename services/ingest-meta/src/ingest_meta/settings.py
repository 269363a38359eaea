"""Settings of ingest-meta."""

from __future__ import annotations

from pydantic import Field

from msgkit.connector.settings import AppSettings, IngestSettings


class Settings(AppSettings, IngestSettings):
    """What every ingest service needs, and the keys of the Meta app."""

    # Meta takes an app off a page after an hour of failures: a look every quarter of an hour finds it
    # while the gap is small (fact sheet 1.1, «Needed job»).
    health_every_s: float = Field(
        default=900.0, ge=0.1, description="Seconds between two looks at each connected account"
    )
