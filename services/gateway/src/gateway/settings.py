"""Settings of the gateway, from the environment only."""

from __future__ import annotations

import base64
import json
import stat
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from msgkit.runtime.objects import require_objects_url
from msgkit.runtime.settings import KEY_BYTES, ServiceSettings


class SettingsFault(Exception):
    """A setting cannot be used; the message says which one and what to do."""


class IssuerSetting(BaseModel):
    """Somebody whose signed tokens we accept, and for which tenants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iss: str = Field(min_length=1, max_length=200)
    kid: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")
    key: str
    """Ed25519 public key: base64 of 32 bytes."""
    tenants: list[str]


class TenantSetting(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    title: str = Field(min_length=1, max_length=200)


class UserSetting(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    tenant: str
    login: str = Field(min_length=1, max_length=200)
    name: str = Field(min_length=1, max_length=200)
    password: SecretStr = Field(min_length=8, max_length=1024)
    roles: list[str]


class UsersFile(BaseModel):
    """Tenants and users of the embedded login, brought into the store at start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenants: list[TenantSetting]
    users: list[UserSetting]


def _seed(value: SecretStr) -> SecretStr:
    try:
        key = base64.b64decode(value.get_secret_value(), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("must be the base64 of 32 bytes (an Ed25519 seed)")
    return value


class Settings(ServiceSettings):
    public_port: int | None = Field(default=8080, ge=0, le=65535, description="Window, API and WebSocket")
    inbox_url: str = Field(description="Internal address of inbox, e.g. http://127.0.0.1:9085")
    session_key: Annotated[SecretStr, AfterValidator(_seed)] = Field(
        description="Private key of the access tokens: base64 of 32 bytes"
    )
    issuers: list[IssuerSetting] = Field(
        default=[], description="JSON list of {iss, kid, key, tenants[]}: CRMs that sign tokens of their own"
    )
    users_file: Path | None = Field(
        default=None, description="JSON {tenants[], users[]}, mode 0600: the embedded login"
    )
    allowed_origins: list[str] | None = Field(
        default=None, description="JSON list of exact origins; default: our own address"
    )
    static_dir: Path | None = Field(default=None, description="The built window; default: inside the package")
    login_per_minute_account: int = Field(default=5, ge=1, description="Failed logins per account and minute")
    login_per_minute_address: int = Field(
        default=20, ge=1, description="Failed logins per address and minute"
    )
    rest_per_s_user: float = Field(default=20, ge=0, description="Calls per second and user; 0: no limit")
    rest_per_s_tenant: float = Field(
        default=200, ge=0, description="Calls per second and tenant; 0: no limit"
    )
    tickets_per_minute_user: float = Field(
        default=60, ge=0, description="New sockets per minute and user; 0: no limit"
    )
    trusted_proxies: list[IPv4Network | IPv6Network] = Field(
        default=[],
        description='JSON list of networks, e.g. ["10.0.0.0/8"], whose X-Forwarded-For/-Proto are believed',
    )
    objects_url: Annotated[str, AfterValidator(require_objects_url)] = Field(
        description="Where files lie: file:///folder or s3://bucket/prefix; the same for every service"
    )
    upload_max_bytes: int = Field(default=25 * 1024**2, ge=1, le=2 * 1024**3, description="Of one file")
    upload_seconds: float = Field(default=600, gt=0, description="For one file to come in")
    uploads_per_minute_user: float = Field(
        default=60, ge=0, description="Files per minute and user; 0: no limit"
    )
    uploads_at_once_user: int = Field(default=10, ge=1, description="Files of one user coming in at once")
    uploads_at_once: int = Field(default=64, ge=1, description="Files coming in at once on one replica")
    sockets_per_user: int = Field(default=20, ge=1, description="Open windows of one user on one replica")

    def origins(self) -> frozenset[str]:
        """The origins whose pages may call us with a cookie or open a socket."""
        if self.allowed_origins is not None:
            return frozenset(self.allowed_origins)
        hosts = (
            {self.host, "127.0.0.1", "localhost"} if self.host in ("127.0.0.1", "localhost") else {self.host}
        )
        return frozenset(f"http://{host}:{self.public_port}" for host in hosts)


def read_users(path: Path) -> UsersFile:
    """Tenants and users of the file.

    Raises:
        SettingsFault: it is missing, readable for others, or not what it should be.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except OSError as exc:
        raise SettingsFault(f"ROZMOVA_USERS_FILE {path.name!r} cannot be read: {exc.strerror}.") from exc
    if stat.S_IMODE(mode) & 0o077:
        raise SettingsFault(f"ROZMOVA_USERS_FILE {path.name!r} holds passwords: run chmod 600 on it.")
    try:
        return UsersFile.model_validate(json.loads(text))
    except ValidationError as exc:
        where = ", ".join(".".join(map(str, error["loc"])) for error in exc.errors(include_input=False)[:5])
        raise SettingsFault(f"ROZMOVA_USERS_FILE {path.name!r}: correct {where}.") from None
    except ValueError as exc:
        raise SettingsFault(f"ROZMOVA_USERS_FILE {path.name!r} is not JSON.") from exc
