"""What the window and the CRM see: rows and messages, as in REST answers and in socket events."""

from __future__ import annotations

from pydantic import AwareDatetime

from msgkit.contracts.events import Failure, Frozen, Place, SharedContact, SharedLink
from msgkit.contracts.words import (
    AttachmentState,
    AuthorKind,
    Box,
    Direction,
    Handler,
    MessageKind,
    MessageState,
    Status,
)


class ChannelRef(Frozen):
    id: str
    kind: str
    title: str


class ContactView(Frozen):
    name: str
    username: str | None = None
    phone: str | None = None
    avatar_url: str | None = None
    blocked: bool = False


class ClientRef(Frozen):
    id: str
    name: str
    status: str | None = None


class UserRef(Frozen):
    id: str
    name: str


class RequestRef(Frozen):
    id: str
    number: int
    opened_at: AwareDatetime
    first_reply_at: AwareDatetime | None = None


class AuthorView(Frozen):
    kind: AuthorKind
    id: str | None = None
    name: str | None = None


class LastMessage(Frozen):
    id: str
    n: int
    text: str
    kind: MessageKind
    direction: Direction
    author: AuthorView
    at: AwareDatetime
    state: MessageState


class ReplyWindow(Frozen):
    """Whether an answer may go out now, and until when."""

    open: bool
    until: AwareDatetime | None = None
    code: str | None = None


class ConversationRow(Frozen):
    """A row of the chat list, the same for everybody who may see it."""

    id: str
    v: int
    title: str
    channel: ChannelRef
    contact: ContactView
    client: ClientRef | None
    handler: Handler
    status: Status
    box: Box
    assignee: UserRef | None
    request: RequestRef | None
    last_message: LastMessage | None
    activity_at: AwareDatetime
    in_seq: int
    answered_seq: int
    window: ReplyWindow
    rev: int


class ViewerRow(ConversationRow):
    """A row with what belongs to one viewer; only over REST."""

    unread: int
    mark_in_seq: int
    first_unread_id: str | None = None


class AttachmentView(Frozen):
    """A file of a message. `url` and `thumb_url` are API paths that give a signed reading address."""

    id: str
    kind: MessageKind
    name: str | None = None
    mime: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    state: AttachmentState = AttachmentState.PENDING
    problem: str | None = None
    """For the operator, in Ukrainian: why the file is lost."""
    url: str | None = None
    thumb_url: str | None = None


class ButtonView(Frozen):
    """A button under a message of ours; `url` for one that opens a page."""

    text: str
    url: str | None = None


class Quote(Frozen):
    text: str
    author: str


class MessageVersion(Frozen):
    text: str
    at: AwareDatetime


class MessageView(Frozen):
    """A message as the window shows it. `in_seq` counts inbound ones, for marks of reading."""

    id: str
    n: int
    in_seq: int
    pos_at: AwareDatetime
    conversation_id: str
    request_id: str
    client_msg_id: str | None = None
    direction: Direction
    author: AuthorView
    kind: MessageKind
    text: str
    attachments: tuple[AttachmentView, ...] = ()
    place: Place | None = None
    shared_contact: SharedContact | None = None
    shared_link: SharedLink | None = None
    buttons: tuple[tuple[ButtonView, ...], ...] = ()
    group_id: str | None = None
    unsupported: str | None = None
    reply_to: str | None = None
    quote: Quote | None = None
    reactions: tuple[str, ...] = ()
    provider_id: str | None = None
    provider_time: AwareDatetime
    created_at: AwareDatetime
    late: bool = False
    state: MessageState
    failure: Failure | None = None
    edited: bool = False
    versions: tuple[MessageVersion, ...] = ()
    deleted: bool = False
    replaced_by: str | None = None
    """It seemed to be typed elsewhere and turned out to be that answer: only that one is to be shown."""
    rev: int


class Counters(Frozen):
    """Absolute counts of what one viewer may see, capped at COUNTER_CAP."""

    lists: dict[str, int]
    red: int
    blue: int


COUNTER_CAP = 1000
"""Counting stops here; the window shows «999+»."""


class ChannelView(Frozen):
    """A connected account, without secrets."""

    id: str
    kind: str
    title: str
    state: str
    connected: bool
    account_name: str | None
    credentials_hint: str | None
    webhook_url: str | None
    problem: str | None
    settings: ChannelSettings
    created_at: AwareDatetime
    rev: int


class ChannelButton(Frozen):
    text: str
    value: str


class Welcome(Frozen):
    text: str = ""
    buttons: tuple[ChannelButton, ...] = ()


class Autoresponder(Frozen):
    enabled: bool = False
    text: str = ""
    off_hours_text: str = ""


class BotCommand(Frozen):
    """An entry of the bot's menu of commands: `command` without its slash."""

    command: str
    description: str


class ChannelSettings(Frozen):
    """What the tenant decides about a channel. `roles` None: the tenant's default roles."""

    roles: list[str] | None = None
    bot_enabled: bool = False
    welcome: Welcome = Welcome()
    commands: tuple[BotCommand, ...] = ()
    autoresponder: Autoresponder = Autoresponder()
    hours: dict[str, str] | None = None
    human_agent: bool = False
    auto_close_hours: int = 72


ChannelView.model_rebuild()
