"""Settings of inbox; read by app.py and cli.py only."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from msgkit.runtime.settings import ENV_PREFIX, ServiceSettings


class Settings(ServiceSettings):
    """Inbox needs nothing beyond what every service needs."""


class StoreSettings(BaseSettings):
    """What `rozmova rebuild` needs: where the database is, and nothing else."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    mongo_url: SecretStr = Field(
        validation_alias="MONGO_URL", description="mongodb://…/?replicaSet=… of the service inbox"
    )
    mongo_prefix: str = Field(default="rozmova_", description="The database is named prefix + inbox")
