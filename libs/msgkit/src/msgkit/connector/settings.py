"""Settings of every ingest service beside those of any service."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from msgkit.connector.credentials import Keyring
from msgkit.runtime.settings import ServiceSettings


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


class IngestSettings(ServiceSettings):
    """What an ingest service needs."""

    public_url: str = Field(
        pattern=r"^https?://[^/?#\s]+[^?#\s]*$",
        description="Base address the messenger calls, e.g. https://chat.example.com",
    )
    internal_url: str = Field(
        pattern=r"^https?://[^/?#\s]+[^?#\s]*$", description="Address gateway reaches the internal port by"
    )
    api_bases: tuple[str, ...] = Field(
        default=(), description="JSON list: other addresses of the messenger's API a channel may name"
    )
    credential_keys: Annotated[CredentialKeys, AfterValidator(_usable)] = Field(
        description='JSON {"primary": key id, "keys": {key id: base64 of 32 bytes}}'
    )
