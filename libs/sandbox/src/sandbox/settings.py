"""Settings of the sandbox, read once from the environment."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class BotSettings(BaseModel):
    """One bot that exists in the sandbox, as if BotFather had made it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: str = Field(
        pattern=r"^[1-9]\d{0,15}:[A-Za-z0-9_-]{3,64}$", repr=False, description="Bot token `<id>:<secret>`"
    )
    username: str = Field(min_length=1, description="Username without @")
    name: str = Field(min_length=1, description="Name the clients see")


class ViberBotSettings(BaseModel):
    """One Viber bot that exists in the sandbox, as if Viber had approved it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: str = Field(
        pattern=r"^[A-Za-z0-9_-]{8,100}$", repr=False, description="Authentication token («Your app key»)"
    )
    name: str = Field(min_length=1, description="Name the clients see")
    uri: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Address of its deep link")


class WhatsAppNumberSettings(BaseModel):
    """One WhatsApp number that exists in the sandbox, with the app that serves it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    phone_number_id: str = Field(pattern=r"^[0-9]{5,20}$", description="Id of the number in the API")
    display_phone_number: str = Field(min_length=7, description="The number as people write it")
    waba_id: str = Field(pattern=r"^[0-9]{5,20}$", description="WhatsApp Business Account it belongs to")
    token: str = Field(pattern=r"^[A-Za-z0-9_-]{8,400}$", repr=False, description="Token of a system user")
    app_secret: str = Field(
        min_length=8, repr=False, description="Signs webhooks; numbers with the same secret are one app's"
    )
    verify_token: str = Field(min_length=1, repr=False, description="The app's, for the handshake")
    name: str = Field(min_length=1, description="Name the clients see")
    coexistence: bool = Field(False, description="The owner uses the WhatsApp Business app as well")
    callback_url: str | None = Field(
        None, description="Callback of the app, as already saved in its dashboard"
    )
    channel_id: str | None = Field(None, description="What the control API calls the number")
    hidden_clients: dict[str, str] = Field(
        default={}, description="Clients who show a username in the place of their phone, by their short ids"
    )


class _MetaSettings(BaseModel):
    """What a page and an Instagram account have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1, description="Name the clients see")
    token: str = Field(pattern=r"^[A-Za-z0-9_-]{8,400}$", repr=False, description="Access token")
    app_id: str = Field(pattern=r"^[0-9]{5,20}$", description="Id of the app that serves it")
    app_secret: str = Field(min_length=8, repr=False, description="Signs webhooks of the app")
    verify_token: str = Field(min_length=1, repr=False, description="The app's, for the handshake")
    callback_url: str | None = Field(
        None, description="Callback of the app for this object, as already saved in its dashboard"
    )
    channel_id: str | None = Field(None, description="What the control API calls it")
    human_agent: bool = Field(False, description="The app was granted the feature Human Agent")


class PageSettings(_MetaSettings):
    """One Facebook page that exists in the sandbox, with the app that serves it."""

    page_id: str = Field(pattern=r"^[0-9]{5,20}$", description="Id of the page")
    username: str = Field("", description="Its name in addresses, without @")


class InstagramSettings(_MetaSettings):
    """One Instagram professional account that exists in the sandbox."""

    ig_id: str = Field(pattern=r"^[0-9]{5,20}$", description="Id of the professional account")
    username: str = Field(min_length=1, description="Without @")
    login: Literal["page", "instagram"] = Field("page", description="Through a page, or Instagram Login")
    page_id: str | None = Field(None, pattern=r"^[0-9]{5,20}$", description="The page, if through one")

    @model_validator(mode="after")
    def _page_as_said(self) -> "InstagramSettings":
        if (self.login == "page") != (self.page_id is not None):
            raise ValueError("login page needs page_id, login instagram has none")
        return self


class Settings(BaseSettings):
    """Everything the sandbox can be told from outside."""

    model_config = SettingsConfigDict(env_prefix="ROZMOVA_", frozen=True, hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="Address to listen on")
    public_port: int = Field(8090, ge=0, le=65535, description="Port to listen on; 0 takes a free one")
    log_level: str = Field("INFO", description="Level of the process log")
    sandbox_bots: tuple[BotSettings, ...] = Field((), description="JSON list of the bots that exist")
    sandbox_viber_bots: tuple[ViberBotSettings, ...] = Field(
        (), description="JSON list of the Viber bots that exist; none: nothing of Viber appears"
    )
    sandbox_whatsapp_numbers: tuple[WhatsAppNumberSettings, ...] = Field(
        (), description="JSON list of the WhatsApp numbers that exist; none: nothing of WhatsApp appears"
    )
    sandbox_pages: tuple[PageSettings, ...] = Field(
        (), description="JSON list of the Facebook pages that exist; none: nothing of Messenger appears"
    )
    sandbox_instagram_accounts: tuple[InstagramSettings, ...] = Field(
        (), description="JSON list of the Instagram accounts that exist; none: nothing of Instagram appears"
    )
    sandbox_state: Path | None = Field(
        None,
        description="JSON file that keeps webhooks, people and id counters over a restart; Viber's, "
        "WhatsApp's and Meta's stand beside it with the endings .viber.json, .whatsapp.json and .meta.json; "
        "none: memory only",
    )
    sandbox_retry_divisor: float = Field(
        1.0,
        ge=1.0,
        le=1_000_000.0,
        description="Waiting times between webhook retries, Viber's hour, WhatsApp's seven days, pair "
        "limit and addresses of media, and Meta's hour and addresses of files are divided by this",
    )
