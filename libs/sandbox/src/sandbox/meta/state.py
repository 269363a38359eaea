"""Who and what there is in Meta: apps, pages, Instagram accounts, tokens, dialogues and their messages."""

import asyncio
import re
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

from sandbox.files import StoredFile
from sandbox.people import User

MAX_MESSAGES_PER_CHAT = 10_000
HOUR = 3600.0
DAY = 24 * HOUR
WINDOW_SECONDS = DAY
"""So long after the client's last message everybody may answer."""
HUMAN_WINDOW_SECONDS = 7 * DAY
"""So long a person may, with the tag HUMAN_AGENT."""
TYPING_SECONDS = 20.0
CONTROL_SECONDS = DAY
"""Whoever holds a thread loses it after so long without a word."""
INBOX_APP_ID = "263902037430900"
INSTAGRAM_INBOX_APP_ID = "1217981644879628"
"""The apps of the business's own inboxes. Source: the fact sheet, 1.2 and 1.3."""
LOGIN_TOKEN_SECONDS = 60 * DAY

_CHANNEL = re.compile(r"/webhooks/(?:facebook|instagram)/([A-Za-z0-9_-]+)/?$")
_STATES = ("sent", "delivered", "read")

Json = dict[str, object]
Kind = Literal["facebook", "instagram"]
TokenState = Literal["ok", "expired", "removed", "password", "invalid"]
ProfileVariant = Literal["ok", "consent", "no_match", "phone_account", "empty"]


@dataclass(frozen=True, slots=True)
class Account:
    """A page or an Instagram professional account, with the app that serves it."""

    kind: Kind
    id: str
    """Page id, or id of the Instagram account."""
    name: str
    username: str
    token: str = field(repr=False)
    app_id: str
    app_secret: str = field(repr=False)
    verify_token: str = field(repr=False)
    page_id: str | None = None
    """Of a page its own id; of an Instagram account reached through a page that page; else none."""
    callback_url: str | None = None
    channel_id: str | None = None
    human_agent: bool = False

    @property
    def holder_id(self) -> str:
        """The object that is called, holds the token and is subscribed: the page, or the account itself."""
        return self.page_id or self.id

    @property
    def object(self) -> str:
        """`object` of its webhooks."""
        return "page" if self.kind == "facebook" else "instagram"

    @property
    def host(self) -> Kind:
        """Whose Graph API serves it: graph.facebook.com or graph.instagram.com."""
        return "facebook" if self.page_id is not None else "instagram"

    @property
    def files_id(self) -> int:
        """A short number that names its files among all files of the sandbox."""
        return zlib.crc32(f"meta:{self.id}".encode())


class Hook(BaseModel):
    """A callback that passed the handshake."""

    model_config = ConfigDict(frozen=True)

    url: str
    fields: tuple[str, ...] | None = None
    """Fields ticked in the dashboard; None: all of them."""

    @property
    def channel_id(self) -> str | None:
        """The channel a per-channel address ends with."""
        found = _CHANNEL.search(self.url)
        return None if found is None else found.group(1)


@dataclass(slots=True)
class App:
    """The app in Meta's dashboard: one callback for each object, for all its pages and accounts."""

    id: str
    secret: str = field(repr=False)
    verify_token: str = field(repr=False)
    hooks: dict[str, Hook] = field(default_factory=dict)
    """By object: page, instagram."""


@dataclass(slots=True)
class Token:
    """A key to one page, or to one account of Instagram Login."""

    value: str = field(repr=False)
    host: Kind
    holder_id: str
    app_id: str
    issued_at: float
    expires_at: float | None
    """None: it does not end by itself."""
    state: TokenState = "ok"


@dataclass(frozen=True, slots=True)
class Button:
    """Something to press: a quick reply, or a button of a template."""

    title: str
    payload: str
    kind: str
    """text, user_phone_number, user_email, postback, web_url."""
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One attachment. `payload` is Graph's object of it, without the address of its file."""

    type: str
    payload: Json | None = field(default_factory=dict)
    file: StoredFile | None = None
    above: Json = field(default_factory=dict)
    """Keys that stand beside `payload`."""


@dataclass(frozen=True, slots=True)
class Story:
    """A story: what clients answer to, or where they mention the account."""

    id: str
    title: str
    file: StoredFile


@dataclass(slots=True)
class PhoneMessage:
    """One bubble, of the client's or of the business's."""

    id: str
    from_client: bool
    kind: str
    """What the phones call it: text, photo, video, voice, audio, document, sticker, post, reel…"""
    text: str
    at: float
    pieces: tuple[Piece, ...] = ()
    state: str = "sent"
    reply_to: str | None = None
    story: Story | None = None
    """The story it answers or shows."""
    quick_replies: tuple[Button, ...] = ()
    buttons: tuple[Button, ...] = ()
    reactions: dict[str, str] = field(default_factory=dict)
    """By who reacted: client or business."""
    app_id: str | None = None
    """Which app sent it; of the client's none."""
    metadata: str | None = None
    tag: str | None = None
    from_desk: bool = False
    """Typed by the business's staff in the messenger's own application."""
    shown: bool = True
    edits: int = 0
    deleted: bool = False

    @property
    def ms(self) -> int:
        """Its time as webhooks tell it."""
        return int(self.at * 1000)

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """The files it carries."""
        return tuple(piece.file for piece in self.pieces if piece.file is not None)

    def rise(self, state: str) -> bool:
        """Go to a later state; whether it was one."""
        if _STATES.index(state) <= _STATES.index(self.state):
            return False
        self.state = state
        return True


@dataclass(slots=True)
class Chat:
    """The dialogue of one client with one page or account."""

    user: User
    id: str
    """PSID or IGSID: who the client is here, and nowhere else."""
    thread_id: str
    username: str
    wrote_at: float | None = None
    blocked: bool = False
    gone: bool = False
    """The client has closed his account: 2018108."""
    offline: bool = False
    typing_until: float = 0.0
    seen_at: float | None = None
    """When the business marked it as seen."""
    owner: str | None = None
    """App that holds the thread; None: nobody, so everybody may answer."""
    owned_at: float = 0.0
    requests: bool = False
    """It lies in the folder of requests, where it is not listed after 30 days."""
    profile: ProfileVariant = "ok"
    updated_at: float = 0.0
    """When something was said last."""
    messages: deque[PhoneMessage] = field(default_factory=lambda: deque(maxlen=MAX_MESSAGES_PER_CHAT))
    by_id: dict[str, PhoneMessage] = field(default_factory=dict)
    watchers: set[asyncio.Event] = field(default_factory=set)

    @property
    def unread(self) -> list[PhoneMessage]:
        """What the phone shows and the client has not read."""
        return [m for m in self.messages if m.shown and not m.from_client and m.state != "read"]

    def add(self, message: PhoneMessage) -> None:
        """One more bubble; the oldest go."""
        self.updated_at = max(self.updated_at, message.at)
        if len(self.messages) == MAX_MESSAGES_PER_CHAT:
            self.by_id.pop(self.messages[0].id, None)
        self.messages.append(message)
        self.by_id[message.id] = message

    def message(self, message_id: object) -> PhoneMessage | None:
        """The message of this id."""
        return self.by_id.get(message_id) if isinstance(message_id, str) else None

    def forget(self) -> None:
        """An empty phone again; who the client is stays."""
        self.wrote_at = self.seen_at = self.owner = None
        self.blocked = self.gone = self.offline = self.requests = False
        self.typing_until = self.updated_at = 0.0
        self.profile = "ok"
        self.messages.clear()
        self.by_id.clear()
        self.changed()

    def changed(self) -> None:
        """Wake every phone page that shows this dialogue."""
        for watcher in self.watchers:
            watcher.set()


class Business:
    """One page or Instagram account: where its webhooks go, and its dialogues."""

    def __init__(self, account: Account, app: App, channel_name: str | None, base: str) -> None:
        self.account = account
        self.app = app
        self.channel_name = channel_name
        """The channel it serves, where the callback's address does not end with it."""
        self.base = base
        """Where the connector reaches this sandbox; addresses of files begin with it."""
        self.human_agent = account.human_agent
        self.permissions = True
        """Whether the app was granted messaging; without it calls are refused with 200."""
        self.details: int | None = None
        """So many of the newest messages of a dialogue the Conversations API shows whole; None: all."""
        self.chats: dict[str, Chat] = {}
        self.by_contact: dict[str, Chat] = {}
        self.story: Story | None = None

    @property
    def kind(self) -> Kind:
        """facebook or instagram."""
        return self.account.kind

    @property
    def hook(self) -> Hook | None:
        """The app's callback for this object."""
        return self.app.hooks.get(self.account.object)

    @property
    def channel_id(self) -> str | None:
        """The channel it serves."""
        own = None if self.hook is None else self.hook.channel_id
        return own or self.channel_name

    @property
    def address(self) -> str:
        """Its name in the control API: its channel, or its id."""
        return self.channel_id or self.account.id
