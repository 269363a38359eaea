"""What WhatsApp knows: apps, business accounts, numbers, dialogues, media, and the ids it gives out.

Everything lives in memory. With a state file, callbacks and subscriptions outlive the process; dialogues,
media and pending webhooks do not. Ids come from the clock, so a restart gives none twice.
"""

import asyncio
import re
import secrets
import time
import zlib
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sandbox.files import StoredFile
from sandbox.people import People, User
from sandbox.state_file import StateFile
from sandbox.whatsapp.identity import Identity, digits_of, is_user_id, same_phone
from sandbox.whatsapp.templates import Template, first_templates

MAX_MESSAGES_PER_CHAT = 10_000
MAX_FAILURES_PER_CHAT = 50
MAX_MEDIA = 100_000
WINDOW_SECONDS = 24 * 3600.0
"""So long after the client's last message everything may be sent."""
TYPING_SECONDS = 25.0

_CHANNEL = re.compile(r"/webhooks/whatsapp/([A-Za-z0-9_-]+)/?$")
_SPENT_STATES = ("sent", "delivered", "read", "played")

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Account:
    """A number as the business has it in WhatsApp Manager, with the app that serves it."""

    phone_number_id: str
    display_phone_number: str
    waba_id: str
    token: str = field(repr=False)
    app_secret: str = field(repr=False)
    verify_token: str = field(repr=False)
    name: str
    coexistence: bool = False
    callback_url: str | None = None
    channel_id: str | None = None
    hidden_clients: Mapping[str, str] = field(default_factory=dict)
    """Short id → username: who shows it in the place of the phone from the beginning."""

    @property
    def digits(self) -> str:
        """The number, digits only."""
        return digits_of(self.display_phone_number)

    @property
    def files_id(self) -> int:
        """A short number that names its files among all files of the sandbox."""
        return zlib.crc32(f"whatsapp:{self.phone_number_id}".encode())

    @property
    def app_id(self) -> str:
        """The app's id: one app has one secret."""
        return str(10**14 + zlib.crc32(self.app_secret.encode()))


class Hook(BaseModel):
    """An address that passed the handshake."""

    model_config = ConfigDict(frozen=True)

    url: str
    fields: tuple[str, ...] | None = None
    """None: all of them."""

    @property
    def channel_id(self) -> str | None:
        """The channel a per-channel address ends with."""
        found = _CHANNEL.search(self.url)
        return None if found is None else found.group(1)


@dataclass(frozen=True, slots=True)
class Button:
    """Something to press under a message."""

    id: str
    title: str
    kind: str
    """button_reply, list_reply, template, url, request_contact_info."""
    description: str | None = None
    url: str | None = None


@dataclass(slots=True)
class PhoneMessage:
    """One bubble. `content` is Graph's object of this type, without ids of media."""

    id: str
    from_client: bool
    kind: str
    text: str
    content: Json
    at: float
    type: str = "text"
    state: str = "sent"
    file: StoredFile | None = None
    reply_to: str | None = None
    buttons: tuple[Button, ...] = ()
    reactions: dict[str, str] = field(default_factory=dict)
    """By who reacted: client or business."""
    opaque: str | None = None
    to_user_id: bool = False
    category: str = "service"
    shown: bool = True
    is_echo: bool = False
    arrived: bool = False
    """Of the business: WhatsApp has it whole; a phone that is off gets it later."""
    edited: bool = False
    deleted: bool = False
    billed: bool = False
    """`pricing` was told a second time."""
    statuses: tuple[str, ...] | None = None
    """Scripted: what is told of it when it arrives."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Header, body and footer apart, of a message that has such."""

    def say(self, words: Mapping[str, str]) -> None:
        """Header, body and footer are the text, and are known apart."""
        self.words, self.text = words, "\n".join(word for word in words.values() if word)

    def rise(self, state: str) -> bool:
        """Go to a later state; whether it was one."""
        if self.state == "failed" or _SPENT_STATES.index(state) <= _SPENT_STATES.index(self.state):
            return False
        self.state = state
        return True


@dataclass(frozen=True, slots=True)
class Failure:
    """A message the API took and that did not arrive."""

    id: str
    code: int
    reason: str
    at: float


@dataclass(slots=True)
class Chat:
    """The dialogue of one client with one number."""

    user: User
    identity: Identity
    wrote_at: float | None = None
    blocked: bool = False
    offline: bool = False
    typing_until: float = 0.0
    messages: deque[PhoneMessage] = field(default_factory=lambda: deque(maxlen=MAX_MESSAGES_PER_CHAT))
    failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=MAX_FAILURES_PER_CHAT))
    past: list[PhoneMessage] = field(default_factory=list)
    """What was said in the Business app before the number came to the API."""
    watchers: set[asyncio.Event] = field(default_factory=set)

    @property
    def unread(self) -> list[PhoneMessage]:
        """What the phone shows and the client has not read."""
        return [
            m for m in self.messages if m.shown and not m.from_client and m.state in ("sent", "delivered")
        ]

    def message(self, message_id: object) -> PhoneMessage | None:
        """The message of this id."""
        return next((m for m in reversed(self.messages) if m.id == message_id), None)

    def forget(self) -> None:
        """An empty phone again; who the client is stays."""
        self.wrote_at = None
        self.blocked = self.offline = False
        self.typing_until = 0.0
        self.messages.clear()
        self.failures.clear()
        self.past.clear()
        self.changed()

    def changed(self) -> None:
        """Wake every phone page that shows this dialogue."""
        for watcher in self.watchers:
            watcher.set()


@dataclass(frozen=True, slots=True)
class Media:
    """A file by the id the API gives for it."""

    id: str
    phone_number_id: str
    file: StoredFile
    sha256: bytes
    mime: str
    expires_at: float
    voice: bool = False


@dataclass(slots=True)
class App:
    """The app in Meta's dashboard: its callback serves all numbers without one of their own."""

    id: str
    secret: str = field(repr=False)
    verify_token: str = field(repr=False)
    hook: Hook | None = None


@dataclass(slots=True)
class Waba:
    """A WhatsApp Business Account."""

    id: str
    templates: list[Template]
    subscribed: bool = False
    hook: Hook | None = None


class _NumberMemory(BaseModel):
    hook: Hook | None = None
    channel_id: str | None = None
    base: str = ""


class _WabaMemory(BaseModel):
    subscribed: bool = False
    hook: Hook | None = None


class Memory(BaseModel):
    """What the state file keeps: numbers by id, business accounts by id, apps by id."""

    numbers: dict[str, _NumberMemory] = {}
    wabas: dict[str, _WabaMemory] = {}
    apps: dict[str, Hook] = {}


class Number:
    """One business number: its account, where its webhooks go, and its dialogues."""

    def __init__(self, account: Account, waba: Waba, app: App, memory: _NumberMemory) -> None:
        self.account = account
        self.waba = waba
        self.app = app
        self.hook = memory.hook
        self.channel_name = memory.channel_id or account.channel_id
        """The channel it serves, where the callback's address does not end with it."""
        self.base = memory.base
        """Where the connector reaches this sandbox; addresses of media begin with it."""
        self.chats: dict[str, Chat] = {}
        self.synced: set[str] = set()
        self.onboarded_at: float | None = None

    @property
    def callback(self) -> Hook | None:
        """Where its webhooks go: its own address, the account's, the app's; nowhere unless subscribed."""
        if not self.waba.subscribed:
            return None
        return self.hook or self.waba.hook or self.app.hook

    @property
    def channel_id(self) -> str | None:
        """The channel it serves."""
        own = None if self.hook is None else self.hook.channel_id
        callback = self.callback
        return own or (None if callback is None else callback.channel_id) or self.channel_name

    @property
    def address(self) -> str:
        """Its name in the control API: its channel, or its phone_number_id."""
        return self.channel_id or self.account.phone_number_id


class WhatsApp:
    """The whole of WhatsApp, as far as this sandbox goes."""

    def __init__(
        self,
        accounts: Sequence[Account],
        people: People,
        state_file: Path | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.people = people
        self.apps: dict[str, App] = {}
        self.wabas: dict[str, Waba] = {}
        self.numbers: dict[str, Number] = {}
        self.media: dict[str, Media] = {}
        self.identities: dict[tuple[str, str], Identity] = {}
        self._count = 0
        self._last_media_id = 0
        self._file = StateFile(state_file, Memory, self._memory)
        memory = self._file.load()
        for account in accounts:
            self._add(account, memory)

    def _add(self, account: Account, memory: Memory) -> None:
        app = self.apps.get(account.app_id)
        if app is None:
            app = self.apps[account.app_id] = App(account.app_id, account.app_secret, account.verify_token)
            app.hook = memory.apps.get(account.app_id)
        if app.hook is None and account.callback_url is not None:
            app.hook = Hook(url=account.callback_url)
        waba = self.wabas.get(account.waba_id)
        if waba is None:
            kept = memory.wabas.get(account.waba_id, _WabaMemory())
            waba = Waba(account.waba_id, first_templates(account.waba_id), kept.subscribed, kept.hook)
            self.wabas[account.waba_id] = waba
        number = Number(account, waba, app, memory.numbers.get(account.phone_number_id, _NumberMemory()))
        self.numbers[account.phone_number_id] = number

    def chat(self, number: Number, person: User) -> Chat:
        """The dialogue with `person`, made at the first look."""
        chat = number.chats.get(person.client)
        if chat is None:
            chat = number.chats[person.client] = Chat(person, self.identity(number, person))
        chat.user = person
        return chat

    def identity(self, number: Number, person: User) -> Identity:
        """Who a person is for the portfolio of a number."""
        key = (number.account.waba_id, person.client)
        known = self.identities.get(key)
        if known is None:
            known = self.identities[key] = Identity(
                person.client, number.account.waba_id, person.phone_number
            )
            known.username = number.account.hidden_clients.get(person.client)
            known.variant = "phone_and_user_id" if known.username is None else "user_id_only"
        return known

    def find(self, number: Number, to: str) -> Chat | None:
        """The dialogue with whoever has this phone or this business-scoped user id; None: nobody here."""
        for chat in number.chats.values():
            if to == chat.identity.user_id:
                return chat
        if is_user_id(to):
            return None
        wanted = same_phone(digits_of(to))
        for chat in number.chats.values():
            if chat.identity.wa_id in wanted:
                return chat
        for person in self.people.all().values():
            if self.identity(number, person).wa_id in wanted:
                return self.chat(number, person)
        return None

    def message_id(self, digits: str) -> str:
        """A new wamid: opaque, unique, and like the real ones not free of `/`, `+` and `=`."""
        self._count += 1
        stamp = f"{int(self.clock() * 1000):x}{self._count:x}{secrets.token_hex(4)}".upper()
        raw = b"\x1c\x18" + digits.encode() + b"\x15\x02\x00\x11\x18" + stamp.encode() + b"\xff\xef\x00"
        return f"wamid.{b64encode(raw).decode()}"

    def keep_media(self, media: Media) -> None:
        """Remember a file by its id; the oldest are forgotten."""
        self.media[media.id] = media
        while len(self.media) > MAX_MEDIA:
            del self.media[next(iter(self.media))]

    def media_id(self) -> str:
        """A new id of a file: digits."""
        self._last_media_id = max(self._last_media_id + 1, int(self.clock() * 1_000_000))
        return str(self._last_media_id)

    def changed(self) -> None:
        """Something the state file keeps is new."""
        self._file.changed()

    def revoke_token(self, number: Number) -> str:
        """A new token in the place of the old one, which is refused from now on. A restart brings it back."""
        token = f"EAA{secrets.token_hex(40)}"
        old = number.account.token
        for other in self.numbers.values():
            if other.account.token == old:
                other.account = replace(other.account, token=token)
        return token

    def number_of(self, name: str) -> Number | None:
        """The number that serves the channel; its phone_number_id names it too."""
        for number in self.numbers.values():
            if name in (number.channel_id, number.account.phone_number_id):
                return number
        return None

    async def keep_saving(self) -> None:
        """Write the state file whenever something is new."""
        await self._file.keep_saving()

    def save(self) -> None:
        """Write the state file now."""
        self._file.save()

    def _memory(self) -> Memory:
        return Memory(
            numbers={
                number.account.phone_number_id: _NumberMemory(
                    hook=number.hook, channel_id=number.channel_name, base=number.base
                )
                for number in self.numbers.values()
            },
            wabas={
                waba.id: _WabaMemory(subscribed=waba.subscribed, hook=waba.hook)
                for waba in self.wabas.values()
            },
            apps={app.id: app.hook for app in self.apps.values() if app.hook is not None},
        )
