"""What a client may do in WhatsApp, and the owner in the Business app, as the control API is told it."""

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from sandbox.picking import MAX_ALBUM, Body, one_text
from sandbox.studio import FileOrder
from sandbox.whatsapp.identity import Variant

MediaKind = Literal["photo", "video", "voice", "audio", "document", "sticker"]
Kind = Literal[MediaKind, "text", "location", "contact", "unsupported"]
_OTHER_NAMES = {"image": "photo", "picture": "photo", "file": "document", "contacts": "contact"}
"""The API and the operator's window call these kinds so; the phone understands them."""


def _phones_name(kind: object) -> object:
    return _OTHER_NAMES.get(kind, kind) if isinstance(kind, str) else kind


class AlbumItem(BaseModel):
    """One file of several picked at once; WhatsApp sends each as a message of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[MediaKind, BeforeValidator(_phones_name)] = "photo"
    file: FileOrder | str | None = None
    caption: str | None = None


class Writing(Body):
    """What the client writes. `text` of a file is its caption, and may be called so."""

    text: str | None = Field(None, validation_alias=AliasChoices("text", "caption"))
    kind: Annotated[Kind, BeforeValidator(_phones_name)] = "text"
    file: FileOrder | str | None = Field(None, description="The file; a string is only its name")
    album: tuple[AlbumItem, ...] | None = Field(None, min_length=1, max_length=MAX_ALBUM)
    reply_to: str | None = Field(None, description="Id of the message that is quoted")
    forwarded: bool = False
    latitude: float = Field(50.4501, ge=-90, le=90)
    longitude: float = Field(30.5234, ge=-180, le=180)
    place_name: str | None = None
    address: str | None = None
    phone_number: str | None = Field(None, description="For kind=contact: somebody else's number")
    contact_name: str = Field("Знайомий", description="For kind=contact: the name on the card")
    unsupported: str = Field("poll", description="For kind=unsupported: what it was")
    code: int = Field(131051, description="For kind=unsupported: 131051, 131052 (too big), 131060")
    hours_ago: float = Field(
        0.0, ge=0, le=7 * 24, description="Written so long ago: the webhook was away until now"
    )
    standby: bool = Field(False, description="Meta's own agent holds the thread: field `standby`")
    extra: dict[str, JsonValue] | None = Field(
        None, description="Further keys of the message: referral, group_id, a type nobody knows"
    )

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: object) -> object:
        return one_text(data, _IMPLIED)


_IMPLIED = {"unsupported": "unsupported", "phone_number": "contact", "latitude": "location"}
"""A key that only one kind has says the kind."""


class Editing(Body):
    """The client changes a text of his: the given one, or his last."""

    text: str = Field(min_length=1)
    provider_id: str | None = None


class Deleting(Body):
    """The client takes a message back: the given one, or his last."""

    provider_id: str | None = None


class Pressing(Body):
    """The client presses a button, found by its label or its id, under the newest message that has it."""

    text: str | None = Field(None, validation_alias=AliasChoices("text", "button"))
    data: str | None = None
    provider_id: str | None = None


class Reacting(Body):
    """The client reacts to a message of the business; without an emoji the reaction goes away."""

    emoji: str | None = Field(None, description='"" and nothing both take it away, in Meta\'s two ways')
    provider_id: str | None = None


class Naming(Body):
    """By which ids Meta names the client from now on."""

    variant: Variant | None = None
    username: str | None = Field(None, description='Without @; "" takes it away')
    parent: bool | None = Field(None, description="Parent ids beside the user id")
    phone_number: str | None = Field(None, pattern=r"^[0-9]{7,15}$", description="Digits, as Meta has them")


class Moving(Body):
    """The client gets another number: Meta tells of it in a system message."""

    phone_number: str | None = Field(None, pattern=r"^[0-9]{7,15}$")


class Waiting(Body):
    """So many hours more have passed since the client's last message."""

    hours: float = Field(25.0, gt=0, le=24 * 365)


class Echoing(Body):
    """The owner writes to this client in the Business app, or takes back what he wrote there."""

    text: str = Field("Доброго дня!", min_length=1)
    revoke: str | None = Field(
        None, description="Id of the message he takes back; `text` does not count then"
    )


class Remembering(Body):
    """The owner shares what was said with this client before; all at once, in chunks out of order."""

    count: int = Field(6, ge=0, le=50_000)
    days: float = Field(30.0, gt=0, le=180)
    chunk: int = Field(500, ge=1, le=10_000, description="Messages in a chunk")
    files: int = Field(0, ge=0, le=20, description="So many of the newest are photos")
    declined: bool = Field(False, description="The owner shares nothing: 2593109")
    later: bool = Field(False, description="Only remembered: `smb_app_data` sends it")


class Raw(Body):
    """What nobody has thought of yet, signed like a real webhook: one of the three.

    `message` is an element of `messages[]` (ids and time are filled in unless given), `field` with `value` a
    change, `payload` a whole POST.
    """

    message: dict[str, JsonValue] | None = None
    field: str | None = None
    value: dict[str, JsonValue] | None = None
    payload: JsonValue = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "Raw":
        given = [self.message is not None, self.field is not None and self.value is not None,
                 self.payload is not None]  # fmt: skip
        if sum(given) != 1:
            raise ValueError("give message, or field and value, or payload")
        return self
