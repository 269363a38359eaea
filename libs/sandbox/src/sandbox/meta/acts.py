"""What clients and the business's own staff may do, as the control API is told it."""

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from sandbox.meta.state import ProfileVariant
from sandbox.picking import MAX_ALBUM, Body, one_text
from sandbox.studio import FileOrder

MediaKind = Literal["photo", "video", "voice", "audio", "document", "sticker"]
Kind = Literal[
    MediaKind, "text", "like", "location", "post", "reel", "ig_reel", "share", "story", "story_reply",
    "story_mention", "ephemeral", "unsupported", "appointment", "product",
]  # fmt: skip
_OTHER_NAMES = {
    "image": "photo",
    "picture": "photo",
    "file": "document",
    "like_heart": "like",
    "fallback": "share",
}
"""The API and the operator's window call these kinds so; the phone understands them."""


def _phones_name(kind: object) -> object:
    return _OTHER_NAMES.get(kind, kind) if isinstance(kind, str) else kind


class AlbumItem(BaseModel):
    """One file of several picked at once; they are one message with several attachments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[MediaKind, BeforeValidator(_phones_name)] = "photo"
    file: FileOrder | str | None = None
    caption: str | None = None


class Timed(Body):
    """Something that may have happened earlier: the windows count from then."""

    sent_at: int | None = Field(None, ge=0, description="When it was written, in ms; the webhook comes now")
    seconds_ago: float = Field(0.0, ge=0, le=400 * 24 * 3600, description="The same, as its age")

    def at(self, now: float) -> float:
        """When it happened, in seconds."""
        return self.sent_at / 1000 if self.sent_at is not None else now - self.seconds_ago


class Writing(Timed):
    """What the client writes. `text` goes with files too, and may be called caption."""

    text: str | None = Field(None, validation_alias=AliasChoices("text", "caption"))
    kind: Annotated[Kind, BeforeValidator(_phones_name)] = "text"
    file: FileOrder | str | None = Field(None, description="The file; a string is only its name")
    album: tuple[AlbumItem, ...] | None = Field(None, min_length=1, max_length=MAX_ALBUM)
    reply_to: str | None = Field(None, description="mid of the message that is quoted")
    url: str | None = Field(None, description="For share, reel, post: where it lies")
    title: str | None = Field(None, description="For share, reel, post: its title")
    sticker_id: int | None = Field(None, description="For sticker: 369239263222822 is a thumb up")
    doubled: bool = Field(False, description="For sticker: as image and as sticker, as before August 2026")
    latitude: float = Field(50.4501, ge=-90, le=90)
    longitude: float = Field(30.5234, ge=-180, le=180)
    referral: dict[str, JsonValue] | None = Field(None, description="message.referral: from an ad or a shop")
    in_seconds: bool = Field(False, description="Its timestamp is in seconds, as happens")
    standby: bool = Field(False, description="Another app holds the thread from now on")
    extra: dict[str, JsonValue] | None = Field(None, description="Further keys of `message`")

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: object) -> object:
        return one_text(data, {"latitude": "location", "sticker_id": "sticker"})


class Desk(Timed):
    """The staff answer in the messenger's own application: Meta Business Suite, the Instagram app."""

    text: str | None = Field(None, validation_alias=AliasChoices("text", "caption"))
    kind: Annotated[Literal[MediaKind, "text"], BeforeValidator(_phones_name)] = "text"
    file: FileOrder | str | None = None
    album: tuple[AlbumItem, ...] | None = None
    reply_to: str | None = None


class Pressing(Timed):
    """The client presses a quick reply or a button."""

    text: str | None = Field(None, validation_alias=AliasChoices("text", "button"))
    data: str | None = Field(None, description="Its payload")
    provider_id: str | None = Field(None, validation_alias=AliasChoices("provider_id", "message_id"))


class Starting(Timed):
    """«Почати» or an item of the menu: a postback, with where the client came from."""

    payload: str = "GET_STARTED"
    title: str = "Почати"
    ref: str | None = None
    without_mid: bool = Field(False, description="Old postbacks have none")
    as_text: bool = Field(False, description="All values are strings, as Meta warns")


class Coming(Timed):
    """A known client comes by a link: a bare referral, no message."""

    ref: str = "qr-shop-7"
    source: str | None = None
    in_seconds: bool = False
    extra: dict[str, JsonValue] = Field({}, description="ad_id, referer_uri, ads_context_data…")


class Reacting(Body):
    """The client reacts to a message, or takes the reaction away."""

    emoji: str | None = Field("❤️", description='"" takes it away')
    provider_id: str | None = None


class Editing(Body):
    """The client changes a text of his: the given one, or his last."""

    text: str = Field(min_length=1)
    provider_id: str | None = None
    as_text: bool = Field(False, description="`num_edit` is a string")


class Deleting(Body):
    """The client unsends a message: the given one, or his last."""

    provider_id: str | None = None
    web: bool = Field(False, description="In a browser: Instagram tells nobody")


class Reading(Body):
    """The client reads everything, or up to a message or a time."""

    provider_id: str | None = None
    watermark: int | None = Field(None, description="ms; a page's clients only")


class Receiving(Body):
    """The phone reports what it has; a page's only."""

    mids: bool = Field(True, description="False: the watermark alone")
    watermark: int | None = Field(None, description="ms; left out: of the newest")


class Waiting(Body):
    """So much more time has passed since the client's last message."""

    hours: float = Field(25.0, ge=0, le=24 * 365)
    seconds: float = Field(0.0, ge=0)


class Showing(Body):
    """What the API says when it is asked who the client is."""

    variant: ProfileVariant = "ok"


class Handing(Body):
    """Who holds the thread from now on."""

    to: Literal["inbox", "app", "nobody"] = "inbox"
    metadata: str | None = Field(None, description="Given: our app is told by an event")


class Filing(Body):
    """The conversation lies in the folder of requests, or not any more."""

    on: bool = True


class Policing(Body):
    """Meta warns, blocks or unblocks the page."""

    action: Literal["warning", "block", "unblock"] = "warning"
    reason: str = "The page sends messages that violate the policy."


class Opting(Body):
    """An opt-in; who it is may be known by a reference only."""

    user_ref: str | None = None
    payload: str = "x"


class Raw(Body):
    """What nobody has thought of yet, signed like a real webhook: one of the three.

    `message` and `element` go into `messaging[]` (sender, recipient and time are filled in unless given),
    `payload` is a whole POST.
    """

    message: dict[str, JsonValue] | None = None
    element: dict[str, JsonValue] | None = None
    payload: JsonValue = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "Raw":
        if sum(given is not None for given in (self.message, self.element, self.payload)) != 1:
            raise ValueError("give message, element or payload")
        return self
