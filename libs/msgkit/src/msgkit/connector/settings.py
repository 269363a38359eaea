"""Settings of every ingest service beside those of any service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from msgkit.connector.credentials import Keyring
from msgkit.connector.receiving import Choice
from msgkit.runtime.redaction import redactor
from msgkit.runtime.settings import ObjectsSettings

APP_KEY_MIN_CHARS = 8
"""An empty secret would make everybody's signature right."""


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


@dataclass(frozen=True, slots=True)
class AppKeys:
    """What a messenger's app proves itself with at the address all its accounts share."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Any of them may have signed a webhook: one is being changed for another, or there are two apps."""
    verify_tokens: tuple[str, ...] = field(default=(), repr=False)
    """Any of them may stand in the handshake."""


def _long_enough(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value()) < APP_KEY_MIN_CHARS:
        raise ValueError(f"each must have at least {APP_KEY_MIN_CHARS} characters")
    return key


_AppKey = Annotated[SecretStr, AfterValidator(_long_enough)]


class AppSettings(BaseModel):
    """What an ingest service of Meta's messengers adds: `class Settings(AppSettings, IngestSettings)`."""

    meta_app_secrets: tuple[_AppKey, ...] = Field(
        default=(), description="JSON list: secrets of the Meta app; two while one is being changed"
    )
    meta_verify_tokens: tuple[_AppKey, ...] = Field(
        default=(), description="JSON list: words the Meta app's webhook settings name in the handshake"
    )

    def model_post_init(self, context: Any, /) -> None:
        """Makes them unreadable in logs and traces, as `ServiceSettings` does with single secrets."""
        super().model_post_init(context)
        for key in (*self.meta_app_secrets, *self.meta_verify_tokens):
            redactor.register(key.get_secret_value())

    def app_keys(self) -> AppKeys:
        """For `build_ingest`."""
        return AppKeys(
            tuple(key.get_secret_value() for key in self.meta_app_secrets),
            tuple(key.get_secret_value() for key in self.meta_verify_tokens),
        )
