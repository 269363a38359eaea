"""Settings of every ingest service beside those of any service."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from msgkit.connector.credentials import Keyring
from msgkit.connector.receiving import Choice
from msgkit.runtime.settings import ObjectsSettings


class CredentialKeys(BaseModel):
    """Keys of the stored credentials: old ones open, the primary one seals."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    primary: str
    keys: dict[str, SecretStr]

    def keyring(self) -> Keyring:
        return Keyring(self.primary, {kid: key.get_secret_value() for kid, key in self.keys.items()})


def _usable(value: CredentialKeys) -> CredentialKeys:
    value.keyring()
    return value


class IngestSettings(ObjectsSettings):
    """What an ingest service needs."""

    public_url: str = Field(
        pattern=r"^https?://[^/?#\s]+[^?#\s]*$",
        description="Base address the messenger calls, e.g. https://chat.example.com",
    )
    receive: Choice = Field(
        default="auto",
        description="webhook, polling, or auto: polling if the public address is not https",
    )
    internal_url: str = Field(
        pattern=r"^https?://[^/?#\s]+[^?#\s]*$", description="Address gateway reaches the internal port by"
    )
    api_bases: tuple[str, ...] = Field(
        default=(), description="JSON list: other addresses of the messenger's API a channel may name"
    )
    health_every_s: float = Field(
        default=60.0, ge=0.1, description="Seconds between two looks at each connected account"
    )
    credential_keys: Annotated[CredentialKeys, AfterValidator(_usable)] = Field(
        description='JSON {"primary": key id, "keys": {key id: base64 of 32 bytes}}'
    )
