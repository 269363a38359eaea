"""Settings every service has; they come from the environment only."""

from __future__ import annotations

import base64
import binascii
import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from msgkit.runtime.redaction import redactor

ENV_PREFIX = "ROZMOVA_"
KEY_BYTES = 32
"""Length of an Ed25519 seed and of an Ed25519 public key."""


def _default_instance() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


def _is_key(value: str) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _private_key(value: SecretStr) -> SecretStr:
    if not _is_key(value.get_secret_value()):
        raise ValueError("must be the base64 of 32 bytes (an Ed25519 seed)")
    return value


def _public_keys(value: dict[str, str]) -> dict[str, str]:
    for name, key in value.items():
        if not _is_key(key):
            raise ValueError(f"the key of {name!r} must be the base64 of 32 bytes (an Ed25519 public key)")
    return value


def _amqp(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("amqp://", "amqps://")):
        raise ValueError("must start with amqp:// or amqps://")
    return value


def _mongodb(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must start with mongodb:// and name the replica set")
    return value


def _objects(value: str) -> str:
    # Here, so that only services that keep files load the library behind it.
    from msgkit.runtime.objects import require_objects_url

    return require_objects_url(value)


class ServiceSettings(BaseSettings):
    """What each service needs; a service adds its own fields in its settings.py.

    A field `x` is read from ROZMOVA_X; only RABBITMQ_URL and MONGO_URL have no prefix. An empty value counts
    as missing. Secrets have no default.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # a refused value may be a secret
    )

    rabbitmq_url: Annotated[SecretStr, AfterValidator(_amqp)] = Field(
        validation_alias="RABBITMQ_URL", description="amqp://user:password@host:port/vhost"
    )
    mongo_url: Annotated[SecretStr, AfterValidator(_mongodb)] = Field(
        validation_alias="MONGO_URL", description="mongodb://…/?replicaSet=…"
    )
    mongo_prefix: str = Field(
        default="rozmova_",
        pattern=r"^[A-Za-z0-9_-]{0,32}$",
        description="The database is named prefix + service",
    )
    host: str = Field(default="127.0.0.1", description="Address both ports listen on")
    public_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port for the outside; services without one have no public side",
    )
    internal_port: int = Field(ge=0, le=65535, description="Port for the other services, health and metrics")
    shared_ports: bool = Field(
        default=False,
        description="Replicas on this machine listen on the same public and internal port (SO_REUSEPORT)",
    )
    own_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="With shared ports: where this replica alone answers (internal routes, health, metrics)",
    )
    unready_seconds: float = Field(
        default=2.0,
        ge=0,
        le=5,
        description="After SIGTERM: how long /health/ready is 503 before new connections are refused",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is written"
    )
    instance: str = Field(default_factory=_default_instance, min_length=1, description="Name of this replica")
    traces_dir: Path | None = Field(
        default=None, description="Folder for OTLP-JSON lines when there is no OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    service_key: Annotated[SecretStr, AfterValidator(_private_key)] = Field(
        description="Own private key for calls to other services: base64 of 32 bytes"
    )
    service_public_keys: Annotated[dict[str, str], AfterValidator(_public_keys)] = Field(
        description="JSON {service: base64 of 32 bytes}: who may call whom knows these"
    )
    trace_rate_per_s: float = Field(
        default=10, ge=0, description="New traces per second at most; 0 switches tracing off"
    )

    def database_name(self, service: str) -> str:
        """The name of the service's own database."""
        return self.mongo_prefix + service.replace("-", "_")

    def model_post_init(self, context: Any, /) -> None:
        """Makes the secrets of every service unreadable in logs and traces before anybody can write them."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                redactor.register(value.get_secret_value())
                redactor.register(urlsplit(value.get_secret_value()).password or "")


class ObjectsSettings(ServiceSettings):
    """What a service needs that keeps files beside."""

    objects_url: Annotated[str, AfterValidator(_objects)] = Field(
        description="Where the bytes of files lie: file:///absolute/folder or s3://bucket/prefix; "
        "S3's credentials and endpoint stand in the usual AWS_ variables"
    )


def explain_settings_fault(fault: ValidationError | SettingsError) -> str:
    """What is wrong with the environment, one line per variable, without any value."""
    if isinstance(fault, SettingsError):
        # The message names the field between quotes, never the value.
        quoted = re.search(r'field "(\w+)"', str(fault))
        variable = _variable((quoted[1],)) if quoted else "A setting"
        return f"{variable}: the value must be JSON. Correct it and start again."
    lines = ["Settings are missing or wrong. Set these environment variables and start again:"]
    for error in fault.errors(include_url=False, include_context=False, include_input=False):
        reason = "is not set" if error["type"] == "missing" else error["msg"]
        lines.append(f"  {_variable(error['loc'])}: {reason}")
    return "\n".join(lines)


def _variable(location: tuple[int | str, ...]) -> str:
    if not location:
        return "(all)"
    first = str(location[0])
    return first if first.isupper() else ENV_PREFIX + first.upper()
