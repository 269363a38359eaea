"""Settings of the sandbox, read once from the environment."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
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
    sandbox_state: Path | None = Field(
        None,
        description="JSON file that keeps webhooks, people and id counters over a restart; Viber's stands "
        "beside it with the ending .viber.json; none: memory only",
    )
    sandbox_retry_divisor: float = Field(
        1.0,
        ge=1.0,
        le=1000.0,
        description="Waiting times between webhook retries, and Viber's hour, are divided by this",
    )
