"""What a client may do in Viber, as the control API is told it."""

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from sandbox.picking import MAX_ALBUM, Body, one_text
from sandbox.studio import FileOrder

MediaKind = Literal["photo", "video", "document"]
Kind = Literal[MediaKind, "text", "sticker", "location", "contact", "url", "unsupported"]
_OTHER_NAMES = {"image": "photo", "picture": "photo", "file": "document"}
"""Viber and the operator's window call these kinds so; the phone understands them."""


def _phones_name(kind: object) -> object:
    return _OTHER_NAMES.get(kind, kind) if isinstance(kind, str) else kind


class AlbumItem(BaseModel):
    """One file of several picked at once; Viber sends each as a message of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[MediaKind, BeforeValidator(_phones_name)] = "photo"
    file: FileOrder | str | None = None
    caption: str | None = None


class Writing(Body):
    """What the client writes. `text` of a photo or a video is its caption, and may be called so."""

    text: str | None = Field(None, validation_alias=AliasChoices("text", "caption"))
    kind: Annotated[Kind, BeforeValidator(_phones_name)] = "text"
    file: FileOrder | str | None = Field(None, description="The file; a string is only its name")
    album: tuple[AlbumItem, ...] | None = Field(None, min_length=1, max_length=MAX_ALBUM)
    latitude: float = Field(50.4501, ge=-90, le=90)
    longitude: float = Field(30.5234, ge=-180, le=180)
    phone_number: str | None = Field(None, description="For kind=contact: somebody else's number")
    contact_name: str = Field("Знайомий", description="For kind=contact: the name on the card")
    sticker_id: int = Field(153500, ge=1)
    url: str = Field("https://example.com/", description="For kind=url")
    silent: bool = Field(False, description="As a press on a button with Silent")
    extra: dict[str, JsonValue] | None = Field(
        None, description="Further keys of Viber's `message`, e.g. a type nobody knows"
    )

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: object) -> object:
        return one_text(data, _IMPLIED)


_IMPLIED = {"url": "url", "sticker_id": "sticker", "phone_number": "contact", "latitude": "location"}
"""A key that only one kind has says the kind."""


class Opening(Body):
    """The client opens the chat; `context` comes from a deep link."""

    context: str | None = None


class Pressing(Body):
    """The client presses a button of the keyboard, found by its label or its ActionBody."""

    text: str | None = Field(None, validation_alias=AliasChoices("text", "button"))
    data: str | None = None


class Devices(Body):
    """On how many devices the client has Viber: each of them reports `delivered`."""

    count: int = Field(ge=1, le=5)


class Raw(Body):
    """A callback of any shape, signed like a real one: what nobody has thought of yet.

    `event`, `timestamp` and `message_token` are filled in unless they are given.
    """

    callback: dict[str, JsonValue]
