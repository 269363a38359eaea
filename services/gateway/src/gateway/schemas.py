"""Bodies of the public API, frames of the socket, and who is signed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from msgkit.contracts.access import ADMIN
from msgkit.contracts.events import Frozen
from msgkit.contracts.internal_api import ATTACHMENTS_MAX, TEXT_MAX_CHARS
from msgkit.contracts.manifest import Abilities
from msgkit.contracts.views import Autoresponder, ChannelSettings, Counters, UserRef
from msgkit.contracts.words import MessageKind
from msgkit.runtime.tokens import Caller

SERVICE = "gateway"

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
"""An opaque id as it may stand in a path or a body."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who speaks: taken from verified claims only, never from a request's body."""

    user_id: str
    tenant_id: str
    name: str
    roles: frozenset[str]
    sid: str
    issued_at: float
    """Seconds of the epoch, with the fraction if the issuer gives one."""
    expires_at: datetime
    """When the token ends; for our own login, sockets live until the session does."""

    @property
    def caller(self) -> Caller:
        return Caller(
            service=SERVICE,
            tenant_id=self.tenant_id,
            user_id=self.user_id,
            user_name=self.name,
            roles=self.roles,
        )

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.roles


class In(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EmptyIn(In):
    pass


class LoginIn(In):
    login: str = Field(min_length=1, max_length=200)
    password: SecretStr = Field(min_length=1, max_length=1024)


class TokenOut(Frozen):
    access_token: str
    expires_in: int
    """Seconds."""


class TicketOut(Frozen):
    ticket: str
    expires_in: int
    """Seconds."""


class TenantOut(Frozen):
    id: str
    title: str


class MeOut(Frozen):
    id: str
    name: str
    roles: list[str]
    tenant: TenantOut


class UserSettings(Frozen):
    """What a user decides about the window; kept on the server, so every device has it."""

    sound: bool = True
    theme: Literal["auto", "light", "dark"] = "auto"
    send_key: Literal["enter", "ctrl_enter"] = "enter"


class UserSettingsIn(In):
    sound: bool | None = None
    theme: Literal["auto", "light", "dark"] | None = None
    send_key: Literal["enter", "ctrl_enter"] | None = None


class ChannelOut(Frozen):
    """A channel as an operator sees it: what it can, without its settings."""

    id: str
    kind: str
    kind_title: str | None
    """The messenger's name as its connector says it; None like `abilities`."""
    title: str
    connected: bool
    problem: str | None
    limits: dict[str, int]
    limit_units: dict[str, str]
    """What each of `limits` counts in: a text is measured by UTF-16 units here and by characters there."""
    abilities: Abilities | None
    """None while no connector of that kind has announced itself yet."""
    reply_window_hours: int | None
    """How long after the client's last message an operator may answer; None: always."""
    human_reply_window_hours: int | None
    """How long with the setting `human_agent`; None: it changes nothing with this messenger."""


class ChannelAdminOut(ChannelOut):
    """A channel as an administrator sees it. Credentials are write-only: only their end is shown."""

    state: str
    account_name: str | None
    credentials_hint: str | None
    webhook_url: str | None
    settings: ChannelSettings
    created_at: datetime
    rev: int


class ChannelKindOut(Frozen):
    kind: str
    title: str
    available: bool
    """Whether its connector said so in the last 90 s."""
    abilities: Abilities
    limits: dict[str, int]
    limit_units: dict[str, str]
    reply_window_hours: int | None
    human_reply_window_hours: int | None
    """How long people may answer with the setting `human_agent`; None: it changes nothing here."""
    human_agent_by_default: bool
    """What that setting is for a new channel that does not name it."""
    credentials_schema: dict[str, Any]


class BootstrapOut(Frozen):
    me: MeOut
    settings: UserSettings
    counters: Counters
    channels: list[ChannelOut]
    upload_max_bytes: int
    """No file larger than this is taken in, whatever the channel could carry."""
    epoch: str
    pos: int
    id: str | None


class ButtonIn(In):
    text: str = Field(min_length=1, max_length=100)
    value: str = Field(min_length=1, max_length=200)


class WelcomeIn(In):
    text: str = Field(default="", max_length=TEXT_MAX_CHARS)
    buttons: tuple[ButtonIn, ...] = Field(default=(), max_length=20)


class AutoresponderIn(In):
    enabled: bool = Autoresponder().enabled
    text: str = Field(default="", max_length=TEXT_MAX_CHARS)
    off_hours_text: str = Field(default="", max_length=TEXT_MAX_CHARS)


class TemplateIn(In):
    """A template of `GET /channels/{id}/templates`; `values` by the `key` of each of its places."""

    name: str = Field(min_length=1, max_length=512)
    language: str = Field(min_length=1, max_length=32)
    values: dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=4096)]] = Field(
        default={}, max_length=100
    )


class SendIn(In):
    """An answer or a note: a text, files brought before (`POST /uploads`), or both; or a template alone."""

    client_msg_id: str = Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    text: str = Field(default="", max_length=TEXT_MAX_CHARS)
    attachments: list[Id] = Field(default=[], max_length=ATTACHMENTS_MAX)
    template: TemplateIn | None = None
    """Sent alone, also where the time to answer is over."""
    reply_to: Id | None = None
    seen_n: int | None = Field(default=None, ge=0, le=2**53)
    force: bool = False
    note: bool = False


class AssignIn(In):
    user_id: Id


class UploadOut(Frozen):
    id: str
    kind: MessageKind
    name: str
    mime: str
    size: int
    width: int | None
    height: int | None
    duration_s: float | None
    thumb_url: str | None
    """A reading address for its owner's preview; good for some minutes."""


class FileVariant(StrEnum):
    FULL = "full"
    THUMB = "thumb"


class FileAddressOut(Frozen):
    url: str
    expires_at: datetime


Role = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Day = Annotated[str, Field(pattern=r"^(mon|tue|wed|thu|fri|sat|sun)$")]
Hours = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$")]


class CommandIn(In):
    """An entry of the bot's menu; what else a messenger asks of it, the messenger says."""

    command: str = Field(min_length=1, max_length=64)
    description: str = Field(min_length=1, max_length=256)


class ChannelSettingsIn(In):
    roles: list[Role] | None = Field(default=None, max_length=50)
    bot_enabled: bool = False
    welcome: WelcomeIn = WelcomeIn()
    commands: tuple[CommandIn, ...] = Field(default=(), max_length=100)
    autoresponder: AutoresponderIn = AutoresponderIn()
    hours: dict[Day, Hours] | None = None
    human_agent: bool = False
    auto_close_hours: int = Field(default=72, ge=1, le=24 * 365)

    def over(self, current: ChannelSettings) -> ChannelSettings:
        """The current settings with what this body names replaced."""
        return ChannelSettings.model_validate(current.model_dump() | self.model_dump(exclude_unset=True))

    def named(self) -> ChannelSettings:
        """What this body names; nothing else is set."""
        return ChannelSettings.model_validate(self.model_dump(exclude_unset=True))


Credentials = dict[
    Annotated[str, Field(min_length=1, max_length=64)], Annotated[SecretStr, Field(max_length=4096)]
]


class ChannelIn(In):
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,40}$")]
    title: str = Field(min_length=1, max_length=100)
    credentials: Credentials = Field(max_length=16)
    api_base: str | None = Field(default=None, max_length=500)
    settings: ChannelSettingsIn = ChannelSettingsIn()


class ChannelPatchIn(In):
    title: str | None = Field(default=None, min_length=1, max_length=100)
    settings: ChannelSettingsIn | None = None
    credentials: Credentials | None = Field(default=None, max_length=16)
    """New ones of the same account."""
    enabled: bool | None = None


class UsersOut(Frozen):
    items: list[UserRef]


class Frame(BaseModel):
    """A frame from the window; fields of newer windows are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Hello(Frame):
    type: Literal["hello"]
    ticket: str = Field(min_length=1, max_length=200)
    epoch: str | None = Field(default=None, max_length=100)
    pos: int | None = Field(default=None, ge=-1, le=2**63 - 1)
    id: str | None = Field(default=None, max_length=100)
    client_id: str = Field(default="", max_length=100)
    build: str = Field(default="", max_length=100)


class Pong(Frame):
    type: Literal["pong"]


class Typing(Frame):
    type: Literal["typing"]
    conversation_id: Id


class Viewing(Frame):
    type: Literal["viewing"]
    conversation_id: Id | None = None


ClientFrame = Annotated[Hello | Pong | Typing | Viewing, Field(discriminator="type")]
CLIENT_FRAME: TypeAdapter[ClientFrame] = TypeAdapter(ClientFrame)
