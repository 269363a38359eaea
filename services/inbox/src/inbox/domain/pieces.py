"""What conversations and messages are made of."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgkit.contracts.values import dataclass
from msgkit.contracts.words import AttachmentState, AuthorKind, FailureCode, MessageKind


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ContactCard:
    key: str
    name: str
    username: str | None
    phone: str | None
    language: str | None


@dataclass(frozen=True, slots=True)
class Author:
    kind: AuthorKind
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a message; `ref` is what its connector needs to fetch it, or the upload it was.

    `key` and `thumb_key` are its places in the object store, `lost` is why it cannot be had any more.
    """

    id: str
    ref: str
    kind: MessageKind
    name: str | None
    mime: str | None
    size: int | None
    width: int | None
    height: int | None
    duration_s: float | None
    state: AttachmentState = AttachmentState.PENDING
    key: str | None = None
    thumb_key: str | None = None
    lost: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A point on the map; degrees, WGS 84."""

    latitude: float
    longitude: float
    title: str | None
    address: str | None


@dataclass(frozen=True, slots=True)
class SharedContact:
    """A contact card inside a message; `is_own`: the messenger proves that it is the sender's number."""

    name: str
    phone: str | None
    is_own: bool


@dataclass(frozen=True, slots=True)
class SharedLink:
    """What a message points at beside its words, e.g. the story it answers; its picture is a file."""

    kind: Literal["story_reply", "story_mention", "post", "reel", "link", "product", "ad"]
    title: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class Press:
    """The button of ours the client pressed, and the provider's id of the message it stood under."""

    value: str
    message_provider_id: str | None


@dataclass(frozen=True, slots=True)
class Button:
    """A button under a message of ours; `value` is what its action needs: an address, a callback's data."""

    text: str
    action: Literal["reply", "callback", "url", "share_phone", "share_location"]
    value: str


Buttons = tuple[tuple[Button, ...], ...]
"""Rows of buttons."""


@dataclass(frozen=True, slots=True)
class TemplateValue:
    """A place of a template filled in; without a `name` its turn in the list is its number."""

    part: Literal["header", "body", "button"]
    index: int
    name: str | None
    value: str


@dataclass(frozen=True, slots=True)
class Template:
    """A template of the messenger that goes out instead of the words of an answer."""

    name: str
    language: str
    values: tuple[TemplateValue, ...]


@dataclass(frozen=True, slots=True)
class Sign:
    """The reaction of one side to a message. One that was taken off is kept: an older one may come later."""

    is_ours: bool
    emoji: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Entity:
    kind: str
    offset: int
    length: int
    url: str | None


@dataclass(frozen=True, slots=True)
class Body:
    """What a message says."""

    kind: MessageKind
    text: str
    entities: tuple[Entity, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    unsupported: str | None = None
    place: Place | None = None
    shared_contact: SharedContact | None = None
    shared_link: SharedLink | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """What a message said before, and since when."""

    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Quoted:
    text: str
    author: str


@dataclass(frozen=True, slots=True)
class Fault:
    code: FailureCode
    text: str
