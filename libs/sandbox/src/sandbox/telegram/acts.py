"""What a client may do, as the control API is told it."""

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from sandbox.picking import MAX_ALBUM, Body, one_text
from sandbox.studio import FileOrder

MediaKind = Literal["photo", "video", "video_note", "animation", "voice", "audio", "document", "sticker"]
Kind = Literal[MediaKind, "text", "location", "contact", "unsupported"]
_OTHER_NAMES = {"image": "photo", "file": "document"}
"""The operator's window calls these kinds so; the client's phone understands it."""


def _telegrams_name(kind: object) -> object:
    return _OTHER_NAMES.get(kind, kind) if isinstance(kind, str) else kind


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) else value


_MessageId = Annotated[str | None, BeforeValidator(_as_text)]


class AlbumItem(BaseModel):
    """One file of an album."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[MediaKind, BeforeValidator(_telegrams_name)] = "photo"
    file: FileOrder | str | None = None
    caption: str | None = None


class Writing(Body):
    """What the client writes. `text` of a message with a file is its caption, and may be called so."""

    text: str | None = Field(None, validation_alias=AliasChoices("text", "caption"))
    kind: Annotated[Kind, BeforeValidator(_telegrams_name)] = "text"
    file: FileOrder | str | None = Field(None, description="The file; a string is only its name")
    album: tuple[AlbumItem, ...] | None = Field(None, min_length=1, max_length=MAX_ALBUM)
    reply_to: int | None = Field(None, description="Message id the client answers to")
    latitude: float = Field(50.4501, ge=-90, le=90)
    longitude: float = Field(30.5234, ge=-180, le=180)
    phone_number: str | None = Field(None, description="For kind=contact: somebody else's number")
    media_group_id: str | None = None
    extra: dict[str, JsonValue] | None = Field(
        None, description="Further keys of Telegram's Message: a poll, a forward_origin, an unknown tag"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_text(cls, data: object) -> object:
        return one_text(data, {})


class Editing(Body):
    """The client edits his message, by default the last one."""

    text: str = Field(min_length=1, validation_alias=AliasChoices("text", "caption"))
    provider_id: _MessageId = Field(None, validation_alias=AliasChoices("provider_id", "message_id"))


class Pressing(Body):
    """The client presses a button, found by its label or its data, the newest keyboard first.

    `forge`: a dishonest client sends `data` that no button of the message carries.
    """

    text: str | None = Field(None, validation_alias=AliasChoices("text", "button"))
    data: str | None = None
    provider_id: _MessageId = Field(None, validation_alias=AliasChoices("provider_id", "message_id"))
    forge: bool = False


class Unblocking(Body):
    """`start`: the client presses «Перезапустити», which also sends /start, as the app does."""

    start: bool = True
